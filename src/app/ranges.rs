//! Keeps the ranges of addresses that senders publish up to date while the gate runs (`refresh_ranges`).
//!
//! One task for all: each sender is asked once in a period, spread a little so that many gates do not ask at one moment,
//! and soon again after a failure. What came of it is told in the log; without a good answer the old ranges stay.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::app::state::State;
use crate::config::model::Config;
use crate::model::clock::instant;
use crate::model::error::chain;
use crate::net::client::Client;
use crate::net::fetch::Fetcher;
use crate::ranges::{Change, Live, RangeBook, Refresh, RefreshError};

/// After a first failure, and twice as long after each further one.
const RETRY: Duration = Duration::from_secs(300);

/// The first refresh comes this long after the start at the latest.
const FIRST: Duration = Duration::from_secs(30);

/// Who is asked, and how often.
pub(super) struct Plan {
    period: Option<Duration>,
    live: Vec<(String, Arc<Live>)>,
}

/// The task, and what tells it that the config has changed.
pub(super) struct Refresher {
    book: Arc<RangeBook>,
    refresh: Refresh,
    plan: Mutex<Plan>,
    changed: Notify,
}

/// When a sender is asked next, and how often it failed since the last good answer.
struct Turn {
    next: Instant,
    failures: u32,
}

impl Refresher {
    pub(super) fn new(config: &Config, state: &State) -> Arc<Self> {
        Arc::new(Self {
            book: Arc::clone(state.ranges()),
            refresh: Refresh {
                // Not the client of the upstreams, whose connections are counted.
                fetcher: Fetcher::new(Client::new()),
                accepts_any_change: false,
            },
            plan: Mutex::new(Self::planned(config, state)),
            changed: Notify::new(),
        })
    }

    /// What a config asks for.
    pub(super) fn planned(config: &Config, state: &State) -> Plan {
        let mut live = HashMap::new();
        for route in &config.routes {
            if let (Some(own), Some(provider)) = (state.provider_ips(route), &route.provider)
                && own.can_be_refreshed()
            {
                live.insert(provider.id.clone(), own);
            }
        }
        Plan {
            period: config.server.refresh_ranges,
            live: live.into_iter().collect(),
        }
    }

    pub(super) fn book(&self) -> &Arc<RangeBook> {
        &self.book
    }

    /// Goes on by another plan.
    pub(super) fn follow(&self, plan: Plan) {
        *self.plan() = plan;
        self.changed.notify_one();
    }

    /// Refreshes until it is dropped.
    pub(super) async fn run(self: Arc<Self>) {
        let mut turns: HashMap<String, Turn> = HashMap::new();
        loop {
            let (period, live) = {
                let plan = self.plan();
                (plan.period, plan.live.clone())
            };
            let Some(period) = period else {
                turns.clear();
                self.changed.notified().await;
                continue;
            };
            let now = instant();
            for (id, live) in live {
                let turn = turns.entry(id.clone()).or_insert_with(|| Turn {
                    next: now + random_part(FIRST.min(period / 10)),
                    failures: 0,
                });
                // A shorter period than before counts at once.
                turn.next = turn.next.min(now + period + period / 10);
                if turn.next > now {
                    continue;
                }
                let outcome = self.book.refresh(&self.refresh, &live).await;
                tell(&id, &live, &outcome);
                turn.failures = match outcome {
                    Ok(_) | Err(RefreshError::Keep { .. }) => 0,
                    Err(_) => turn.failures.saturating_add(1),
                };
                turn.next = instant() + pause(period, turn.failures);
            }
            let planned = |id: &String| self.plan().live.iter().any(|(planned, _)| planned == id);
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

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the next refresh of a sender that failed so often in a row.
fn pause(period: Duration, failures: u32) -> Duration {
    let pause = match failures {
        0 => period,
        _ => period.min(RETRY * (1 << (failures.min(10) - 1))),
    };
    pause - pause / 10 + random_part(pause / 5)
}

/// Some part of it.
fn random_part(whole: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without a random source all ask at one moment; that is no reason not to ask.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    whole * u32::from(u16::from_le_bytes(bytes)) / (1 << 16)
}

fn tell(id: &str, live: &Live, outcome: &Result<Change, RefreshError>) {
    match outcome {
        Ok(change) if change.is_empty() => {
            tracing::debug!(provider = id, "ip ranges are unchanged");
        }
        Ok(change) => tracing::info!(
            provider = id,
            added = change.added.len() as u64,
            removed = change.removed.len() as u64,
            "ip ranges refreshed"
        ),
        Err(error @ RefreshError::Keep { .. }) => {
            tracing::warn!(
                provider = id,
                error = chain(error),
                "ip ranges refreshed, and will be lost with the process"
            );
        }
        Err(error) => tracing::warn!(
            provider = id,
            read = live.ranges().read,
            error = chain(error),
            "ip ranges kept as they were"
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
