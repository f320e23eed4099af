//! Metrics endpoint: encodes all counters as one OpenMetrics text.
//!
//! Label values come from closed sets: routes, providers and certificates of the config, reasons, stages, kinds. A
//! label must never hold an address, an event id or anything else that an untrusted client chooses, because each value
//! is a new time series. Encoding takes no lock that a request would wait for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, text as open_metrics,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::gate::filter::FilterKind;
use crate::gate::reject::RejectReason;
use crate::model::clock;
use crate::record::counters::{RequestStage, RouteCounters};
use crate::record::{
    MetricGrowth, TelemetryRecorder, admin_counters, connections, deliveries, lock, otlp, process,
    store_metrics,
};

/// Value of the label `route` for requests that matched no route.
const NO_ROUTE: &str = "-";

/// Value of the label `reason` for requests that were not rejected.
const NO_REASON: &str = "-";

/// Encodes all metrics in the OpenMetrics text format.
pub(super) fn text(recorder: &Arc<TelemetryRecorder>) -> String {
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
        let routes: Vec<_> = lock(&self.0.routes)
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
        store_metrics::encode(&self.0, &mut encoder)?;
        admin_counters::encode(&self.0, &mut encoder)?;
        otlp::encode(&self.0, &mut encoder)?;
        if let Some(counters) = lock(&self.0.edge).as_ref() {
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
    let mut metric = encoder.encode_descriptor(
        "hookgate_requests",
        "Requests by verdict and reason",
        None,
        MetricType::Counter,
    )?;
    for (route, counters) in rows {
        let mut row = |verdict, reason, count| {
            let labels = [("route", *route), ("verdict", verdict), ("reason", reason)];
            counter(&mut metric, &labels, count)
        };
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
    let mut metric = encoder.encode_descriptor(
        "hookgate_request_body_bytes",
        "Bytes of request bodies that the gate read",
        None,
        MetricType::Counter,
    )?;
    for (route, counters) in rows {
        counter(
            &mut metric,
            &[("route", *route)],
            read(&counters.body_bytes),
        )?;
    }
    Ok(())
}

fn limits_and_dedup(
    encoder: &mut DescriptorEncoder<'_>,
    rows: &RouteCounterRows<'_>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "hookgate_limiter_drops",
        "Requests rejected by a rate limit, by limiter",
        None,
        MetricType::Counter,
    )?;
    for (route, counters) in rows {
        for (limiter, reason) in [
            ("source", RejectReason::SourceRate),
            ("route", RejectReason::RouteRate),
        ] {
            let labels = [("route", *route), ("limiter", limiter)];
            counter(&mut metric, &labels, refused(counters, reason))?;
        }
    }
    let mut metric = encoder.encode_descriptor(
        "hookgate_dedup_hits",
        "Requests for an event that was already spent or in flight, by outcome",
        None,
        MetricType::Counter,
    )?;
    for (route, counters) in rows {
        let answers = [
            ("answered", read(&counters.duplicate)),
            ("forwarded", read(&counters.copies)),
            ("timed-out", refused(counters, RejectReason::InFlight)),
            ("failed", refused(counters, RejectReason::FirstFailed)),
        ];
        outcomes(&mut metric, route, &answers)?;
    }
    Ok(())
}

fn replayed_bodies(
    encoder: &mut DescriptorEncoder<'_>,
    rows: &RouteCounterRows<'_>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "hookgate_replayed_bodies",
        "Requests whose signed bytes the upstream had already accepted under another dedup key, by outcome",
        None,
        MetricType::Counter,
    )?;
    for (route, counters) in rows {
        let blocked = refused(counters, RejectReason::Replayed);
        let replays = [("flagged", read(&counters.replays)), ("blocked", blocked)];
        outcomes(&mut metric, route, &replays)?;
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
    let mut metric = encoder.encode_descriptor(
        "hookgate_request_stage_seconds",
        "Duration of each stage of a request, for requests that reached the stage",
        None,
        MetricType::Histogram,
    )?;
    for (route, counters) in rows {
        for stage in RequestStage::ALL {
            let snapshot = counters.stage(stage).snapshot();
            // Most routes never reach some stages; their empty histograms would only add series.
            if snapshot.count > 0 {
                metric
                    .encode_family(&[("route", *route), ("stage", stage.name())])?
                    .encode_histogram::<NoLabelSet>(
                        snapshot.sum,
                        snapshot.count,
                        &snapshot.buckets,
                        None,
                    )?;
            }
        }
    }
    Ok(())
}

fn upstream(encoder: &mut DescriptorEncoder<'_>, rows: &RouteCounterRows<'_>) -> fmt::Result {
    const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    let mut metric = encoder.encode_descriptor(
        "hookgate_upstream_answers",
        "Responses of the upstream, by status class",
        None,
        MetricType::Counter,
    )?;
    for (route, counters) in rows.iter().filter(|(route, _)| *route != NO_ROUTE) {
        for (class, count) in CLASSES.into_iter().zip(&counters.upstream_status) {
            let labels = [("route", *route), ("status", class)];
            counter(&mut metric, &labels, read(count))?;
        }
    }
    let mut metric = encoder.encode_descriptor(
        "hookgate_stored_events",
        "Events committed to the store",
        None,
        MetricType::Counter,
    )?;
    for (route, counters) in rows.iter().filter(|(route, _)| *route != NO_ROUTE) {
        counter(&mut metric, &[("route", *route)], read(&counters.stored))?;
    }
    let mut metric = encoder.encode_descriptor(
        "hookgate_forward_errors",
        "Events that could not be forwarded to the upstream, by kind of error",
        None,
        MetricType::Counter,
    )?;
    for (route, counters) in rows {
        for (kind, count) in counters.forward_errors.iter() {
            counter(&mut metric, &[("route", *route), ("kind", kind)], count)?;
        }
    }
    Ok(())
}

impl MetricsScrape {
    fn config(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "hookgate_config_reloads",
            "Config reloads, by outcome",
            None,
            MetricType::Counter,
        )?;
        let outcomes = [
            ("applied", &self.0.reloads_applied),
            ("refused", &self.0.reloads_refused),
        ];
        for (outcome, count) in outcomes {
            counter(&mut metric, &[("outcome", outcome)], read(count))?;
        }
        encoder
            .encode_descriptor(
                "hookgate_config_loaded_timestamp_seconds",
                "Time at which the config in use was loaded",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&self.0.last_reload.load(Ordering::Relaxed))?;
        let certificates = lock(&self.0.certificates);
        // Read at the scrape, because certificates are renewed while the gate runs.
        let infos = certificates.as_ref().map(|infos| infos());
        let mut metric = encoder.encode_descriptor(
            "hookgate_certificate_not_after_timestamp_seconds",
            "Expiry time of each certificate in use",
            None,
            MetricType::Gauge,
        )?;
        for (name, not_after) in infos.unwrap_or_default() {
            let labels = [("name", name.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&not_after)?;
        }
        let mut metric = encoder.encode_descriptor(
            "hookgate_secret_until_timestamp_seconds",
            "Expiry time of a route's secret, for secrets with `until`",
            None,
            MetricType::Gauge,
        )?;
        for end in lock(&self.0.secrets).iter() {
            let labels = [("route", end.route.as_str()), ("secret", &*end.label)];
            // OpenMetrics counts time in seconds.
            let until = end.until_ms.div_euclid(1000);
            metric.encode_family(&labels)?.encode_gauge(&until)?;
        }
        Ok(())
    }

    fn ranges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ranges = lock(&self.0.ranges);
        let live = ranges.as_ref().map(|read| read()).unwrap_or_default();
        let mut metric = encoder.encode_descriptor(
            "hookgate_ip_ranges_read_timestamp_seconds",
            "Day on which the address ranges of each provider were last read",
            None,
            MetricType::Gauge,
        )?;
        for (id, live) in &live {
            // A day that cannot be parsed has no timestamp to show.
            let Some(read) = clock::day_start(&live.ranges().read) else {
                continue;
            };
            let labels = [("provider", id.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&read)?;
        }
        let mut metric = encoder.encode_descriptor(
            "hookgate_ip_ranges_refreshes",
            "Refreshes of published address ranges, by outcome; `kept`: the list was not accepted",
            None,
            MetricType::Counter,
        )?;
        for (id, live) in &live {
            for (outcome, count) in live.refreshes() {
                let labels = [("provider", id.as_str()), ("outcome", outcome)];
                counter(&mut metric, &labels, count)?;
            }
        }
        Ok(())
    }

    fn log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = [
            (
                "hookgate_log_lines_dropped",
                "Log lines dropped because the log queue was full",
                self.0.logger.dropped(),
            ),
            (
                "hookgate_log_lines_withheld",
                "Log lines suppressed by the rate limit per source",
                self.0.suppressor.total(),
            ),
            (
                "hookgate_panics",
                "Panics; each ended at most one request",
                read(&self.0.panics),
            ),
        ];
        for (name, help, count) in counts {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, u64, f64>(&count, None)?;
        }
        Ok(())
    }

    /// Encodes the metrics that other modules registered.
    fn registered(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for source in lock(&self.0.sources).iter() {
            let kind = match source.growth {
                MetricGrowth::Counter => MetricType::Counter,
                MetricGrowth::Gauge => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(source.name, source.help, None, kind)?;
            let value = (source.read)();
            match source.growth {
                MetricGrowth::Counter => {
                    metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)?
                }
                MetricGrowth::Gauge => metric.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "hookgate_build",
            "Version of the running program",
            None,
            MetricType::Info,
        )?;
        metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        // The client libraries of Prometheus use the same names, so common dashboards find them.
        if let Some(seconds) = process::cpu_seconds() {
            encoder
                .encode_descriptor(
                    "process_cpu_seconds",
                    "CPU time of all threads",
                    None,
                    MetricType::Counter,
                )?
                .encode_counter::<NoLabelSet, f64, f64>(&seconds, None)?;
        }
        let gauges = [
            (
                "process_max_fds",
                "Maximum number of open file descriptors",
                process::most_files(),
            ),
            (
                "process_start_time_seconds",
                "Time at which the process started",
                u64::try_from(self.0.started).ok(),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory",
                process::resident_bytes(),
            ),
            (
                "process_open_fds",
                "Number of open file descriptors",
                process::open_files(),
            ),
        ];
        for (name, help, value) in gauges {
            // Values that the kernel did not give are left out.
            let Some(value) = value else {
                continue;
            };
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
        Ok(())
    }
}

/// Encodes one row for each outcome of a route's requests.
fn outcomes(metric: &mut MetricEncoder<'_>, route: &str, counts: &[(&str, u64)]) -> fmt::Result {
    for &(outcome, count) in counts {
        counter(metric, &[("route", route), ("outcome", outcome)], count)?;
    }
    Ok(())
}

/// Encodes one row of a counter family.
pub(super) fn counter<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    count: u64,
) -> fmt::Result {
    metric
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, u64, f64>(&count, None)
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
