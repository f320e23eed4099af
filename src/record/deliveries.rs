//! Log lines and metrics about delivery attempts.
//!
//! `deliver` reports each attempt once. Counters belong to a destination and survive a reload.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::DescriptorEncoder;
use tracing::Level;

use crate::model::clock::ClockReading;
use crate::model::delivery::DeliveryState;
use crate::model::ids::{DestinationName, RouteName};
pub(crate) use crate::record::attempt_report::{AttemptReport, AttemptedEvent};
pub(crate) use crate::record::destination_counters::DestinationCounters;
use crate::record::destination_counters::DestinationKey;
use crate::record::family_encoder::FamilyEncoder;
use crate::record::metric_table::storage;
use crate::record::recorder::TelemetryRecorder;

impl TelemetryRecorder {
    /// Returns the counters of a destination. They are the same ones after a reload, so that counts go on.
    pub(crate) fn destination_counters(
        &self,
        route: &RouteName,
        destination: &DestinationName,
    ) -> Arc<DestinationCounters> {
        let mut all = self.destinations.lock();
        let key = (route.clone(), destination.clone());
        Arc::clone(all.entry(key).or_default())
    }

    /// Counts one attempt, exports its span and writes its log line.
    pub(crate) fn attempt(&self, counters: &DestinationCounters, attempted: &AttemptReport<'_>) {
        counters.add(attempted);
        self.trace_attempt(attempted);
        let is_delivered = attempted.state == DeliveryState::Delivered;
        let (level, message) = match attempted.state {
            _ if attempted.is_alarming => (Level::ERROR, "stored event is damaged"),
            DeliveryState::Delivered => (Level::INFO, "event delivered"),
            DeliveryState::Dead => (Level::ERROR, "delivery moved to dead letters"),
            _ => (Level::WARN, "delivery attempt failed"),
        };
        // Counted and traced already; only the line depends on the level.
        if !self.logger.is_enabled(level) || (is_delivered && !self.logs_accepted()) {
            return;
        }
        let mut line = self
            .logger
            .line(ClockReading::read(), level, "delivery", message);
        line.text("route", attempted.route)
            .text("destination", attempted.destination)
            .number("delivery", attempted.delivery.0)
            .number("attempt", attempted.attempt);
        // The id of the event's own request joins the lines of its acceptance and of its attempts.
        let event = attempted.event;
        line.text("request_id", &event.uid);
        if let Some(event_id) = &event.event_id {
            line.text("event_id", event_id);
        }
        if let Some(event_type) = &event.event_type {
            line.text("event_type", event_type);
        }
        if attempted.is_replay {
            line.flag("replay", true);
        }
        if let Some(status) = attempted.status {
            line.number("status", status);
        }
        if let Some((word, text)) = attempted.error {
            line.text("error_kind", &word).message("error", &text);
        }
        line.text("state", &attempted.state.word());
        line.count("duration_us", micros(attempted.took));
        if let Some(due_ms) = attempted.due_ms {
            // A duration is easier to read in a log than a moment.
            let now_ms = ClockReading::read().unix_ms;
            // A short pause can be over before its line is written.
            line.number("retry_in_ms", due_ms.saturating_sub(now_ms).max(0));
        }
        self.logger.write(line);
    }

    /// Logs that a destination was disabled, because its response asked for no more events.
    pub(crate) fn destination_disabled(
        &self,
        route: &RouteName,
        destination: &DestinationName,
        reason: &str,
    ) {
        let message = "destination disabled";
        let mut line = self
            .logger
            .line(ClockReading::read(), Level::ERROR, "delivery", message);
        line.text("route", route)
            .text("destination", destination)
            .text("reason", &reason);
        self.logger.write(line);
    }
}

impl DestinationCounters {
    fn add(&self, attempted: &AttemptReport<'_>) {
        self.attempts.add(attempted.outcome);
        self.took.observe(attempted.took);
        if attempted.state == DeliveryState::Delivered && !attempted.is_replay {
            // The wall clock may have been set back since; a negative lag counts as zero.
            let lag_ms = ClockReading::read()
                .unix_ms
                .saturating_sub(attempted.accepted_ms);
            let lag_ms = u64::try_from(lag_ms).unwrap_or(0);
            self.lag.observe(Duration::from_millis(lag_ms));
        }
        let count = match attempted.state {
            DeliveryState::Delivered => &self.delivered,
            DeliveryState::Dead => &self.dead,
            _ => &self.delayed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Encodes the metrics of all destinations.
pub(super) fn encode(
    recorder: &TelemetryRecorder,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    // Cloned, so that no attempt waits for the lock while a slow scrape is encoded.
    let rows: Vec<(DestinationKey, Arc<DestinationCounters>)> = recorder
        .destinations
        .lock()
        .iter()
        .map(|(key, counters)| (key.clone(), Arc::clone(counters)))
        .collect();
    let mut family = FamilyEncoder::begin(encoder, &storage::DELIVERY_ATTEMPTS)?;
    for (key, counters) in &rows {
        let [route, destination] = labels(key);
        for (outcome, count) in counters.attempts.iter() {
            family.count(&[route, destination, outcome], count)?;
        }
    }
    let mut family = FamilyEncoder::begin(encoder, &storage::DELIVERIES)?;
    for (key, counters) in &rows {
        let [route, destination] = labels(key);
        for (state, count) in [
            (DeliveryState::Delivered, &counters.delivered),
            (DeliveryState::Waiting, &counters.delayed),
            (DeliveryState::Dead, &counters.dead),
        ] {
            family.count(&[route, destination, state.word()], load(count))?;
        }
    }
    let mut family = FamilyEncoder::begin(encoder, &storage::DELIVERY_ATTEMPT_SECONDS)?;
    for (key, counters) in &rows {
        family.histogram(&labels(key), &counters.took.snapshot())?;
    }
    let mut family = FamilyEncoder::begin(encoder, &storage::DELIVERY_LAG_SECONDS)?;
    for (key, counters) in &rows {
        family.histogram(&labels(key), &counters.lag.snapshot())?;
    }
    let mut family = FamilyEncoder::begin(encoder, &storage::DELIVERIES_IN_FLIGHT)?;
    for (key, counters) in &rows {
        family.count(&labels(key), load(&counters.in_flight))?;
    }
    let mut family = FamilyEncoder::begin(encoder, &storage::DESTINATION_BREAKER)?;
    for (key, counters) in &rows {
        family.count(&labels(key), load(&counters.breaker))?;
    }
    Ok(())
}

fn labels(key: &DestinationKey) -> [&str; 2] {
    [key.0.as_str(), key.1.as_str()]
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use hookgate_verify::identity::event_id::EventId;

    use super::*;
    use crate::model::delivery::DeliveryId;
    use crate::model::ids::RequestId;
    use crate::record::log::LineLogger;
    use crate::record::log_line::LineEncoding;
    use crate::record::testing::Kept;

    fn lines(logs_accepted: bool) -> Vec<String> {
        let kept = Kept::default();
        let logger =
            LineLogger::to_writer(LineEncoding::Text, Level::INFO, Box::new(kept.clone())).unwrap();
        let recorder = TelemetryRecorder::new(logger, logs_accepted);
        let (route, destination) = (RouteName::new("shop"), DestinationName::new("app"));
        let counters = recorder.destination_counters(&route, &destination);
        let event = AttemptedEvent {
            uid: RequestId::new(0, [0; 10]),
            event_id: EventId::parse("evt_1"),
            event_type: Some("push".into()),
        };
        let delivered = AttemptReport {
            route: &route,
            destination: &destination,
            delivery: DeliveryId(7),
            attempt: 2,
            event: &event,
            is_replay: false,
            trace: None,
            accepted_ms: 0,
            outcome: "2xx",
            status: Some(204),
            error: None,
            took: Duration::from_micros(1500),
            state: DeliveryState::Delivered,
            due_ms: None,
            is_alarming: false,
        };
        recorder.attempt(&counters, &delivered);
        let failed = AttemptReport {
            outcome: "garbage",
            status: None,
            error: Some(("garbage", "odd\n\u{1b}[31m")),
            state: DeliveryState::Dead,
            is_replay: true,
            ..delivered
        };
        recorder.attempt(&counters, &failed);
        let damaged = AttemptReport {
            is_alarming: true,
            ..failed
        };
        recorder.attempt(&counters, &damaged);
        recorder.close();
        let text = kept.text();
        text.lines().map(|line| line[25..].to_owned()).collect()
    }

    #[test]
    fn an_attempt_is_one_line_whatever_the_destination_says() {
        let lines = lines(true);
        assert_eq!(
            lines[0],
            " INFO delivery: event delivered route=shop destination=app delivery=7 attempt=2 request_id=00000000-0000-7000-8000-000000000000 event_id=evt_1 event_type=push status=204 state=delivered duration_us=1500"
        );
        assert!(lines[1].starts_with("ERROR delivery: delivery moved to dead letters route=shop"));
        assert!(
            lines[1].ends_with(
                " replay=true error_kind=garbage error=\"odd\\n\\u001b[31m\" state=dead duration_us=1500"
            ),
            "{}",
            lines[1]
        );
        assert!(lines[2].starts_with("ERROR delivery: stored event is damaged"));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn what_is_in_order_gets_no_line_where_that_is_off() {
        assert_eq!(lines(false).len(), 2);
    }
}
