//! `send --count`: sends many events at a rate, and summarizes responses and latency.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::task::JoinSet;

use crate::cli::confirm::interrupted;
use crate::cli::exchange::{millis, took};
use crate::cli::failure::CommandFailure;
use crate::cli::output::{BAD, GOOD, print, print_json, styled};
use crate::cli::send::recipe::EventRecipe;
use crate::model::clock::instant;
use crate::testing::SendTarget;

/// Plan of a load: number of events, rate and concurrency.
pub(super) struct LoadPlan {
    pub(super) count: u32,
    pub(super) rate: Option<u32>,
    pub(super) concurrency: u32,
    pub(super) json: bool,
}

/// Results of a load: responses, errors and latencies.
#[derive(Default)]
struct LoadSummary {
    /// Number of responses by status.
    statuses: BTreeMap<u16, u64>,
    errors: BTreeMap<String, u64>,
    times: Vec<Duration>,
    wrong: u64,
    lasted: Duration,
}

impl LoadPlan {
    /// Sends all events, or until Ctrl-C, and prints the summary. Fails if a response was not as expected.
    pub(super) async fn run(
        self,
        recipe: EventRecipe,
        target: SendTarget,
    ) -> Result<(), CommandFailure> {
        let mut stopped = pin!(interrupted()?);
        let bar = bar(self.count);
        let started = instant();
        let shared = Arc::new((recipe, target, AtomicU32::new(0), bar.clone()));
        let mut workers = JoinSet::new();
        // More workers than events would have nothing to do.
        for _ in 0..self.concurrency.min(self.count) {
            let shared = Arc::clone(&shared);
            let (count, rate) = (self.count, self.rate);
            workers.spawn(async move {
                let (recipe, target, next, bar) = &*shared;
                let mut summary = LoadSummary::default();
                loop {
                    // One counter for all workers, so that a slow worker does not delay events that others could send.
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return Ok::<_, CommandFailure>(summary);
                    }
                    if let Some(rate) = rate {
                        // Each event has its own time of departure, counted from the start: a slow response does not
                        // lower the rate of the events behind it, as long as a worker is free.
                        let at = Duration::from_secs_f64(f64::from(index) / f64::from(rate));
                        tokio::time::sleep_until((started + at).into()).await;
                    }
                    let exchanges = recipe.exchange(target).await?;
                    for (_, answer) in &exchanges {
                        summary.add(answer.as_ref());
                    }
                    let last = exchanges.last().map(|(_, answer)| answer);
                    if !last.is_some_and(|answer| recipe.is_as_it_should(answer)) {
                        summary.wrong += 1;
                    }
                    bar.inc(1);
                }
            });
        }
        let mut summary = LoadSummary::default();
        let mut is_stopped = false;
        loop {
            tokio::select! {
                ended = workers.join_next() => match ended {
                    Some(Ok(ended)) => summary.join(ended?),
                    Some(Err(_)) => return Err(CommandFailure::new("a worker that sends events panicked")),
                    None => break,
                },
                // Workers see that no event is left, finish those in flight, and end.
                () = &mut stopped, if !is_stopped => {
                    is_stopped = true;
                    shared.2.store(self.count, Ordering::Relaxed);
                }
            }
        }
        bar.finish_and_clear();
        summary.lasted = instant().saturating_duration_since(started);
        // `percentile` reads them in order.
        summary.times.sort_unstable();
        match self.json {
            true => print_json(&summary.document()),
            false => {
                print(&summary.text());
            }
        }
        match summary.wrong {
            0 => Ok(()),
            wrong => Err(CommandFailure::new(format!(
                "{wrong} responses were not as expected"
            ))),
        }
    }
}

impl LoadSummary {
    fn add(&mut self, answer: Result<&crate::testing::ReceivedResponse, &String>) {
        match answer {
            Ok(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                self.times.push(answer.took);
            }
            Err(error) => *self.errors.entry(error.clone()).or_default() += 1,
        }
    }

    fn join(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        self.times.extend(other.times);
        self.wrong += other.wrong;
    }

    /// Returns the latency that this fraction of responses did not exceed (nearest-rank percentile).
    fn percentile(&self, part: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of a length is a length"
        )]
        let index = (self.times.len() as f64 * part).ceil() as usize;
        let time = self.times.get(index.saturating_sub(1).min(last));
        time.copied().unwrap_or_default()
    }

    fn rate(&self) -> f64 {
        let answered = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        f64::from(answered) / self.lasted.as_secs_f64().max(0.001)
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} responses in {:.1} s, {:.0} per second\n",
            self.times.len(),
            self.lasted.as_secs_f64(),
            self.rate()
        );
        for (status, count) in &self.statuses {
            // Not by `EventRecipe`: with `--bad`, a 4xx is a success, but its color is that of the status.
            let style = if (200..300).contains(status) {
                GOOD
            } else {
                BAD
            };
            text.push_str(&format!(
                "  {}  {count}\n",
                styled(style, &status.to_string())
            ));
        }
        for (error, count) in &self.errors {
            text.push_str(&format!("  {}  {count}\n", styled(BAD, error)));
        }
        if !self.times.is_empty() {
            let at = |part| took(self.percentile(part));
            text.push_str(&format!(
                "  p50 {}, p90 {}, p99 {}, max {}\n",
                at(0.5),
                at(0.9),
                at(0.99),
                at(1.0)
            ));
        }
        text
    }

    fn document(&self) -> serde_json::Value {
        let at = |part| millis(self.percentile(part));
        let statuses = self
            .statuses
            .iter()
            .map(|(status, count)| (status.to_string(), *count));
        json!({
            "answers": self.times.len(),
            "wrong": self.wrong,
            "seconds": self.lasted.as_secs_f64(),
            "per_second": self.rate(),
            "statuses": statuses.collect::<BTreeMap<_, _>>(),
            "errors": self.errors,
            "milliseconds": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) },
        })
    }
}

/// Creates a progress bar. It appears on standard error, and only if that is a terminal.
fn bar(count: u32) -> ProgressBar {
    let bar = ProgressBar::new(count.into());
    let style = "{bar:40} {pos}/{len} {per_sec}, {eta} left; Ctrl-C stops it";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let summary = LoadSummary {
            times: (1..=100).map(Duration::from_millis).collect(),
            ..LoadSummary::default()
        };
        let at = |part| summary.percentile(part).as_millis();
        assert_eq!([at(0.5), at(0.9), at(0.99), at(1.0)], [50, 90, 99, 100]);
        assert_eq!(LoadSummary::default().percentile(0.5), Duration::ZERO);
    }
}
