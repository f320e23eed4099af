//! Refreshes the address ranges that providers publish while the gate runs (`refresh_ranges`).
//!
//! One task serves all providers. It fetches each list once per period, with some jitter so that many gates do not ask
//! at the same moment, and sooner after a failure. Outcomes are logged. If a list cannot be fetched or is not
//! plausible, the old ranges stay in use.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::app::cross_reload::CrossReloadState;
use crate::config::model::GateConfig;
use crate::model::clock::instant;
use crate::model::error::chain;
use crate::net::client::OutgoingClient;
use crate::net::fetch::{EgressRoute, HttpsFetcher};
use crate::ranges::{LiveRanges, RangeBook, RangeChange, RangeRefresh, RefreshError};

/// Pause after the first failure; it doubles after each further one, up to the period.
const RETRY: Duration = Duration::from_secs(300);

/// Maximum delay of the first refresh after the start.
const FIRST: Duration = Duration::from_secs(30);

/// Providers to refresh, and the period.
#[derive(Default)]
pub(super) struct RefreshPlan {
    period: Option<Duration>,
    live: Vec<(String, Arc<LiveRanges>)>,
}

/// Refresh task and the handle by which a reload changes its plan.
pub(super) struct RangeRefresher {
    book: Arc<RangeBook>,
    refresh: RangeRefresh,
    plan: Mutex<RefreshPlan>,
    changed: Notify,
}

/// Time of a provider's next refresh, and its failures in a row.
struct RefreshState {
    next: Instant,
    failures: u32,
}

impl RangeRefresher {
    /// Creates a refresher that refreshes nothing until it gets a plan.
    pub(super) fn new(book: &Arc<RangeBook>, proxy: EgressRoute) -> Arc<Self> {
        Arc::new(Self {
            book: Arc::clone(book),
            refresh: RangeRefresh {
                // A client of its own, because the connections of the upstreams' client are a metric.
                fetcher: HttpsFetcher::new(OutgoingClient::new()).through(proxy),
                accepts_any_change: false,
            },
            plan: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Returns the plan of a config: providers whose ranges a route uses and that can be refreshed.
    pub(super) fn planned(config: &GateConfig, state: &CrossReloadState) -> RefreshPlan {
        // A map, because several routes may use the same provider.
        let mut live = HashMap::new();
        for route in &config.routes {
            if let (Some(own), Some(provider)) = (state.provider_ips(route), &route.provider)
                && own.can_be_refreshed()
            {
                live.insert(provider.id.clone(), own);
            }
        }
        RefreshPlan {
            period: config.server.refresh_ranges,
            live: live.into_iter().collect(),
        }
    }

    /// Returns the providers whose ranges are refreshed, each with the day of its list. Empty if refreshing is off.
    pub(super) fn days(&self) -> Vec<(String, String)> {
        let plan = self.plan.lock();
        let live = plan.live.iter().filter(|_| plan.period.is_some());
        live.map(|(id, live)| (id.clone(), live.ranges().read.clone()))
            .collect()
    }

    pub(super) fn book(&self) -> &Arc<RangeBook> {
        &self.book
    }

    /// Replaces the plan and wakes the task.
    pub(super) fn follow(&self, plan: RefreshPlan) {
        *self.plan.lock() = plan;
        self.changed.notify_one();
    }

    /// Refreshes by the plan until the future is dropped.
    pub(super) async fn run(self: Arc<Self>) {
        let mut turns: HashMap<String, RefreshState> = HashMap::new();
        loop {
            let (period, live) = {
                let plan = self.plan.lock();
                (plan.period, plan.live.clone())
            };
            let Some(period) = period else {
                // Refreshing is off; with the next plan every provider starts again.
                turns.clear();
                self.changed.notified().await;
                continue;
            };
            let now = instant();
            for (id, live) in live {
                let turn = turns.entry(id.clone()).or_insert_with(|| RefreshState {
                    next: now + random_part(FIRST.min(period / 10)),
                    failures: 0,
                });
                // A reload with a shorter period takes effect at once.
                turn.next = turn.next.min(now + period + period / 10);
                if turn.next > now {
                    continue;
                }
                let outcome = self.book.refresh(&self.refresh, &live).await;
                log_refresh(&id, &live, &outcome);
                turn.failures = match outcome {
                    // The fetch worked; only saving failed, which a retry would not fix.
                    Ok(_) | Err(RefreshError::Keep { .. }) => 0,
                    Err(_) => turn.failures.saturating_add(1),
                };
                turn.next = instant() + pause(period, turn.failures);
            }
            // A provider that is planned again later starts with a new turn.
            let planned = |id: &String| {
                self.plan
                    .lock()
                    .live
                    .iter()
                    .any(|(planned, _)| planned == id)
            };
            turns.retain(|id, _| planned(id));
            let next = turns.values().map(|turn| turn.next).min();
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

/// Returns the time until the next refresh after this many failures in a row, with 10 % jitter.
fn pause(period: Duration, failures: u32) -> Duration {
    let pause = match failures {
        0 => period,
        _ => period.min(RETRY * (1 << (failures.min(10) - 1))),
    };
    pause - pause / 10 + random_part(pause / 5)
}

/// Returns a random duration below `whole`.
fn random_part(whole: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without a random source there is no jitter; the refresh itself still works.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    whole * u32::from(u16::from_le_bytes(bytes)) / (1 << 16)
}

/// Logs the outcome of a refresh.
fn log_refresh(id: &str, live: &LiveRanges, outcome: &Result<RangeChange, RefreshError>) {
    match outcome {
        Ok(change) if change.is_empty() => {
            tracing::debug!(provider = id, "IP ranges are unchanged");
        }
        Ok(change) => tracing::info!(
            provider = id,
            added = change.added.len() as u64,
            removed = change.removed.len() as u64,
            "IP ranges refreshed"
        ),
        Err(error @ RefreshError::Keep { .. }) => {
            tracing::warn!(
                provider = id,
                error = chain(error),
                "IP ranges refreshed, but not saved: a restart loses them"
            );
        }
        Err(error) => tracing::warn!(
            provider = id,
            read = live.ranges().read,
            error = chain(error),
            "IP ranges not refreshed, the previous ones stay in use"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_sooner_than_the_period_and_not_in_a_hurry() {
        let day = Duration::from_secs(86_400);
        for (failures, least, most) in [
            (0, 77_760, 95_040),
            (1, 270, 330),
            (2, 540, 660),
            (40, 77_760, 95_040),
        ] {
            for _ in 0..100 {
                let pause = pause(day, failures).as_secs();
                assert!((least..=most).contains(&pause), "{failures}: {pause}");
            }
        }
        assert!(pause(Duration::from_secs(60), 1) <= Duration::from_secs(66));
    }
}
