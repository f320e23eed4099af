//! Metrics endpoint: encodes all counters as one OpenMetrics text.
//!
//! Label values come from closed sets: routes, providers and certificates of the config, reasons, stages, kinds. A
//! label must never hold an address, an event id or anything else that an untrusted client chooses, because each value
//! is a new time series. Encoding takes no lock that a request would wait for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text as open_metrics};
use prometheus_client::registry::Registry;

use crate::gate::filter::FilterKind;
use crate::gate::reject::RejectReason;
use crate::model::clock;
use crate::model::route_scope::RouteScope;
use crate::record::counters::{RequestStage, RouteCounters, STATUS_CLASSES};
use crate::record::family_encoder::{FamilyEncoder, single};
use crate::record::metric_table::{operation, traffic};
use crate::record::metrics_scope::{NO_ROUTE, limit_text};
use crate::record::recorder::TelemetryRecorder;
use crate::record::{connections, deliveries, process, store_metrics};

/// Value of the label `reason` for requests that were not rejected.
const NO_REASON: &str = "-";

impl TelemetryRecorder {
    /// Renders all metrics in the OpenMetrics text format.
    #[cfg(test)]
    pub(crate) fn metrics_text(self: &Arc<Self>) -> String {
        text(self)
    }

    /// Renders the metrics that a caller may see.
    pub(crate) fn metrics_text_within(self: &Arc<Self>, scope: &RouteScope) -> String {
        limit_text(text(self), scope)
    }
}

fn text(recorder: &Arc<TelemetryRecorder>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(MetricsScrape(Arc::clone(recorder))));
    let mut text = String::with_capacity(16 * 1024);
    // Writing to a string cannot fail. If an encoder did, `# EOF` would be missing and every scraper would reject the
    // text.
    let _ = open_metrics::encode(&mut text, &registry);
    text
}

/// Collector that reads the recorder's counters at the moment of a scrape.
#[derive(Debug)]
struct MetricsScrape(Arc<TelemetryRecorder>);

impl Collector for MetricsScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Cloned, so that the lock is not held while the text is built.
        let routes: Vec<_> = self
            .0
            .routes
            .lock()
            .iter()
            .map(|(name, counters)| (name.clone(), Arc::clone(counters)))
            .collect();
        // Requests without a route come first, under a label that no route can have.
        let mut rows = vec![(NO_ROUTE, &self.0.unrouted)];
        rows.extend(
            routes
                .iter()
                .map(|(name, counters)| (name.as_str(), &**counters)),
        );
        requests(&mut encoder, &rows)?;
        limits_and_dedup(&mut encoder, &rows)?;
        replayed_bodies(&mut encoder, &rows)?;
        stages(&mut encoder, &rows)?;
        upstream(&mut encoder, &rows)?;
        deliveries::encode(&self.0, &mut encoder)?;
        let watch = self.0.store.lock().clone();
        if let Some(watch) = watch {
            let known = self.0.destinations.lock().keys().cloned().collect();
            store_metrics::encode(&watch, &known, &mut encoder)?;
        }
        self.0.admin.encode(&mut encoder)?;
        if let Some(tracer) = self.0.tracer.get() {
            tracer.encode(&mut encoder)?;
        }
        if let Some(counters) = self.0.edge.lock().as_ref() {
            connections::encode(&mut encoder, counters)?;
        }
        self.config(&mut encoder)?;
        self.ranges(&mut encoder)?;
        self.log(&mut encoder)?;
        self.registered(&mut encoder)?;
        self.process(&mut encoder)
    }
}

type RouteCounterRows<'a> = [(&'a str, &'a RouteCounters)];

fn requests(encoder: &mut DescriptorEncoder<'_>, rows: &RouteCounterRows<'_>) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, &traffic::REQUESTS)?;
    for (route, counters) in rows {
        let mut row = |verdict, reason, count| family.count(&[*route, verdict, reason], count);
        // Without a route there are no checks that a request could pass.
        if *route != NO_ROUTE {
            row("accepted", NO_REASON, read(&counters.accepted))?;
            row("duplicate", NO_REASON, read(&counters.duplicate))?;
            row("challenge", NO_REASON, read(&counters.challenge))?;
            for (by, count) in FilterKind::ALL.into_iter().zip(&counters.filtered) {
                row("filtered", by.code(), read(count))?;
            }
        }
        for (reason, count) in counters.refused.iter() {
            // Routes always show all reasons, so that `rate` sees the first reject; without a route most cannot occur.
            if *route != NO_ROUTE || count > 0 || reason == RejectReason::NoRoute {
                row("refused", reason.explanation().code, count)?;
            }
        }
        for (reason, count) in counters.monitored.iter() {
            if count > 0 {
                row("monitored", reason.explanation().code, count)?;
            }
        }
    }
    let mut family = FamilyEncoder::begin(encoder, &traffic::REQUEST_BODY_BYTES)?;
    for (route, counters) in rows {
        family.count(&[*route], read(&counters.body_bytes))?;
    }
    Ok(())
}

fn limits_and_dedup(
    encoder: &mut DescriptorEncoder<'_>,
    rows: &RouteCounterRows<'_>,
) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, &traffic::LIMITER_DROPS)?;
    for (route, counters) in rows {
        for (limiter, reason) in [
            ("source", RejectReason::SourceRate),
            ("route", RejectReason::RouteRate),
        ] {
            family.count(&[*route, limiter], refused(counters, reason))?;
        }
    }
    let mut family = FamilyEncoder::begin(encoder, &traffic::DEDUP_HITS)?;
    for (route, counters) in rows {
        for (outcome, count) in [
            ("answered", read(&counters.duplicate)),
            ("forwarded", read(&counters.copies)),
            ("timed-out", refused(counters, RejectReason::InFlight)),
            ("failed", refused(counters, RejectReason::FirstFailed)),
        ] {
            family.count(&[*route, outcome], count)?;
        }
    }
    Ok(())
}

fn replayed_bodies(
    encoder: &mut DescriptorEncoder<'_>,
    rows: &RouteCounterRows<'_>,
) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, &traffic::REPLAYED_BODIES)?;
    for (route, counters) in rows {
        family.count(&[*route, "flagged"], read(&counters.replays))?;
        let blocked = refused(counters, RejectReason::Replayed);
        family.count(&[*route, "blocked"], blocked)?;
    }
    Ok(())
}

/// Returns the number of requests that were rejected for one reason.
fn refused(counters: &RouteCounters, wanted: RejectReason) -> u64 {
    let mut counts = counters.refused.iter();
    let found = counts.find(|(reason, _)| *reason == wanted);
    found.map_or(0, |(_, count)| count)
}

fn stages(encoder: &mut DescriptorEncoder<'_>, rows: &RouteCounterRows<'_>) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, &traffic::REQUEST_STAGE_SECONDS)?;
    for (route, counters) in rows {
        for stage in RequestStage::ALL.iter().copied() {
            family.histogram(&[*route, stage.name()], &counters.stage(stage).snapshot())?;
        }
    }
    Ok(())
}

fn upstream(encoder: &mut DescriptorEncoder<'_>, rows: &RouteCounterRows<'_>) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, &traffic::UPSTREAM_ANSWERS)?;
    for (route, counters) in rows.iter().filter(|(route, _)| *route != NO_ROUTE) {
        for (class, count) in STATUS_CLASSES.into_iter().zip(&counters.upstream_status) {
            family.count(&[*route, class], read(count))?;
        }
    }
    let mut family = FamilyEncoder::begin(encoder, &traffic::STORED_EVENTS)?;
    for (route, counters) in rows.iter().filter(|(route, _)| *route != NO_ROUTE) {
        family.count(&[*route], read(&counters.stored))?;
    }
    let mut family = FamilyEncoder::begin(encoder, &traffic::FORWARD_ERRORS)?;
    for (route, counters) in rows {
        for (kind, count) in counters.forward_errors.iter() {
            family.count(&[*route, kind], count)?;
        }
    }
    Ok(())
}

impl MetricsScrape {
    fn config(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = FamilyEncoder::begin(encoder, &operation::CONFIG_RELOADS)?;
        family.count(&["applied"], read(&self.0.reloads_applied))?;
        family.count(&["refused"], read(&self.0.reloads_refused))?;
        let loaded = self.0.last_reload.load(Ordering::Relaxed);
        FamilyEncoder::begin(encoder, &operation::CONFIG_LOADED_TIMESTAMP_SECONDS)?
            .moment(&[], loaded)?;
        let certificates = self.0.certificates.lock();
        // Read at the scrape, because certificates are renewed while the gate runs.
        let infos = certificates.as_ref().map(|infos| infos());
        let infos = infos.unwrap_or_default();
        let mut family =
            FamilyEncoder::begin(encoder, &operation::CERTIFICATE_NOT_AFTER_TIMESTAMP_SECONDS)?;
        for info in &infos {
            // A certificate that does not exist yet has no expiry to show.
            if let Some(not_after) = info.not_after {
                family.moment(&[info.names.join(",").as_str()], not_after)?;
            }
        }
        let mut family =
            FamilyEncoder::begin(encoder, &operation::CERTIFICATE_RENEWAL_TIMESTAMP_SECONDS)?;
        for info in &infos {
            if let Some(renewal_ms) = info.next_renewal_ms {
                let renewal = renewal_ms.div_euclid(1000);
                family.moment(&[info.names.join(",").as_str()], renewal)?;
            }
        }
        let mut family = FamilyEncoder::begin(encoder, &operation::CERTIFICATE_RENEWAL_FAILURES)?;
        // Certificates of files have no series, since hookgate does not renew them.
        for info in infos.iter().filter(|info| info.next_renewal_ms.is_some()) {
            let count = info.failure.as_ref().map_or(0, |failure| failure.count);
            family.count(&[info.names.join(",").as_str()], u64::from(count))?;
        }
        let mut family = FamilyEncoder::begin(encoder, &operation::SECRET_UNTIL_TIMESTAMP_SECONDS)?;
        for end in self.0.secrets.lock().iter() {
            // OpenMetrics counts time in seconds.
            let until = end.until_ms.div_euclid(1000);
            family.moment(&[end.route.as_str(), &*end.label], until)?;
        }
        Ok(())
    }

    fn ranges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ranges = self.0.ranges.lock();
        let live = ranges.as_ref().map(|read| read()).unwrap_or_default();
        let mut family =
            FamilyEncoder::begin(encoder, &operation::IP_RANGES_READ_TIMESTAMP_SECONDS)?;
        for (id, live) in &live {
            // A day that cannot be parsed has no timestamp to show.
            if let Some(read) = clock::day_start(&live.ranges().read) {
                family.moment(&[id.as_str()], read)?;
            }
        }
        let mut family = FamilyEncoder::begin(encoder, &operation::IP_RANGES_REFRESHES)?;
        for (id, live) in &live {
            for (outcome, count) in live.refreshes() {
                family.count(&[id.as_str(), outcome], count)?;
            }
        }
        Ok(())
    }

    fn log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let dropped = self.0.logger.dropped();
        single(encoder, &operation::LOG_LINES_DROPPED, dropped)?;
        let withheld = self.0.suppressor.total();
        single(encoder, &operation::LOG_LINES_WITHHELD, withheld)?;
        single(encoder, &operation::PANICS, read(&self.0.panics))
    }

    /// Encodes the metrics that other modules registered.
    fn registered(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for source in self.0.sources.lock().iter() {
            single(encoder, source.row, (source.read)())?;
        }
        for source in self.0.families.lock().iter() {
            let mut family = FamilyEncoder::begin(encoder, source.row)?;
            for (labels, count) in (source.read)() {
                let labels: Vec<_> = labels.iter().map(String::as_str).collect();
                family.count(&labels, count)?;
            }
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        FamilyEncoder::begin(encoder, &operation::BUILD)?.info(&[env!("CARGO_PKG_VERSION")])?;
        if let Some(seconds) = process::cpu_seconds() {
            FamilyEncoder::begin(encoder, &operation::PROCESS_CPU_SECONDS)?
                .seconds(&[], seconds)?;
        }
        let started = u64::try_from(self.0.started).ok();
        for (row, value) in [
            (&operation::PROCESS_MAX_FDS, process::most_files()),
            (&operation::PROCESS_START_TIME_SECONDS, started),
            (
                &operation::PROCESS_RESIDENT_MEMORY_BYTES,
                process::resident_bytes(),
            ),
            (&operation::PROCESS_OPEN_FDS, process::open_files()),
        ] {
            // Values that the kernel did not give are left out.
            if let Some(value) = value {
                single(encoder, row, value)?;
            }
        }
        Ok(())
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
