//! The recorder: log lines, counters and the recent history of everything that happens.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;
use tracing::Level;

use crate::acme::CertificateHealth;
use crate::edge::counters::EdgeCounters;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::model::clock::{ClockReading, instant};
use crate::model::ids::RouteName;
use crate::model::source::SourceKey;
use crate::ranges::LiveRanges;
use crate::record::admin_counters::AdminCounters;
use crate::record::counters::RouteCounters;
use crate::record::destination_counters::{DestinationCounters, DestinationKey};
use crate::record::exchange_summary::ExchangeSummary;
use crate::record::log::LineLogger;
use crate::record::log_suppression::{
    LineDecision, LineKey, LineKind, LogSuppressor, SuppressedLines,
};
use crate::record::metric_table::MetricRow;
use crate::record::otlp::SpanTracer;
use crate::record::recent_verdicts::RecentVerdicts;
use crate::record::rejected_requests::RejectedRequests;
use crate::record::request_line;
use crate::record::store_metrics::{StoreBounds, StoreWatch};
use crate::store::Store;

/// Interval at which the log reports how many lines were suppressed.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

/// Sink for everything that happens: writes log lines, updates counters and keeps the recent history.
pub(crate) struct TelemetryRecorder {
    pub(super) logger: Arc<LineLogger>,
    pub(super) logs_accepted: AtomicBool,
    pub(super) routes: Mutex<BTreeMap<RouteName, Arc<RouteCounters>>>,
    pub(super) unrouted: RouteCounters,
    pub(super) destinations: Mutex<BTreeMap<DestinationKey, Arc<DestinationCounters>>>,
    pub(super) suppressor: LogSuppressor,
    pub(super) recent: RecentVerdicts,
    pub(super) rejected: RejectedRequests,
    pub(super) sources: Mutex<Vec<ExternalMetric>>,
    pub(super) families: Mutex<Vec<ExternalFamily>>,
    pub(super) store: Mutex<Option<Arc<StoreWatch>>>,
    pub(super) admin: AdminCounters,
    pub(super) secrets: Mutex<Vec<SecretEnd>>,
    pub(super) certificates: Mutex<Option<CertificateSource>>,
    pub(super) ranges: Mutex<Option<RangeSource>>,
    pub(super) edge: Mutex<Option<Arc<EdgeCounters>>>,
    pub(super) reloads_applied: AtomicU64,
    pub(super) reloads_refused: AtomicU64,
    pub(super) last_reload: AtomicI64,
    pub(super) panics: AtomicU64,
    pub(super) started: i64,
    pub(super) tracer: OnceLock<SpanTracer>,
}

/// A metric whose value another module counts; a scrape reads it by a callback.
pub(super) struct ExternalMetric {
    pub(super) row: &'static MetricRow,
    pub(super) read: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// A metric with labels whose values another module counts.
pub(super) struct ExternalFamily {
    pub(super) row: &'static MetricRow,
    /// Returns the values of the labels with each count.
    pub(super) read: Box<dyn Fn() -> Vec<(Vec<String>, u64)> + Send + Sync>,
}

/// Callback that returns the health of the certificates of the public listeners.
pub(super) type CertificateSource = Box<dyn Fn() -> Vec<CertificateHealth> + Send + Sync>;

/// Expiry of a route's secret, as the config sets it with `until`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SecretEnd {
    /// The route that the secret belongs to.
    pub route: RouteName,
    /// Name of the secret, or its position from "1" where the config gives no name.
    pub label: Arc<str>,
    /// Moment from which the secret is rejected, in milliseconds since the Unix epoch.
    pub until_ms: i64,
}

/// Callback that returns the address ranges in use, by provider.
pub(super) type RangeSource = Box<dyn Fn() -> Vec<(String, Arc<LiveRanges>)> + Send + Sync>;

impl TelemetryRecorder {
    /// Creates a recorder without routes; `logs_accepted` is `[log] accepted`.
    pub(crate) fn new(logger: Arc<LineLogger>, logs_accepted: bool) -> Arc<Self> {
        let now = ClockReading::read();
        Arc::new(Self {
            logger,
            logs_accepted: AtomicBool::new(logs_accepted),
            routes: Mutex::default(),
            unrouted: RouteCounters::default(),
            destinations: Mutex::default(),
            suppressor: LogSuppressor::new(now.mono),
            recent: RecentVerdicts::new(0),
            rejected: RejectedRequests::default(),
            sources: Mutex::default(),
            families: Mutex::default(),
            store: Mutex::default(),
            admin: AdminCounters::default(),
            secrets: Mutex::default(),
            certificates: Mutex::default(),
            ranges: Mutex::default(),
            edge: Mutex::default(),
            reloads_applied: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            last_reload: AtomicI64::new(now.unix_seconds()),
            panics: AtomicU64::new(0),
            started: now.unix_seconds(),
            tracer: OnceLock::new(),
        })
    }

    /// Returns the counters of a route. They are the same ones after a reload, so that counts go on.
    pub(crate) fn route_counters(&self, name: &RouteName) -> Arc<RouteCounters> {
        // Requests do not take this lock: the pipeline holds the counters of its snapshot.
        let mut routes = self.routes.lock();
        Arc::clone(routes.entry(name.clone()).or_default())
    }

    /// Drops the counters of all routes for which `is_there` is false, because a reload removed them.
    pub(crate) fn retain_routes(&self, is_there: impl Fn(&RouteName) -> bool) {
        self.routes.lock().retain(|name, _| is_there(name));
    }

    /// Returns the counters of a known route; `None` if this process never had the route.
    pub(crate) fn find_route(&self, name: &str) -> Option<Arc<RouteCounters>> {
        let routes = self.routes.lock();
        routes.get(&RouteName::new(name)).cloned()
    }

    /// Counts one request and writes its log line. `route` is `None` where no route matched.
    pub(crate) fn request(
        &self,
        route: Option<&RouteCounters>,
        verdict: &Verdict,
        exchange: &ExchangeSummary,
    ) {
        route.unwrap_or(&self.unrouted).add(verdict, exchange);
        // Counts, spans and history take every request; only the log line below is subject to the level and the rate
        // limit.
        self.trace_request(verdict, exchange);
        self.recent.push(verdict, exchange);
        let Some(withheld) = self.lines_to_log(verdict, exchange) else {
            return;
        };
        request_line::write(&self.logger, verdict, exchange, withheld);
    }

    /// Returns the recent verdicts that are kept in memory.
    pub(crate) fn recent(&self) -> &RecentVerdicts {
        &self.recent
    }

    /// Returns the recently rejected requests that are kept in memory.
    pub(crate) fn rejected(&self) -> &RejectedRequests {
        &self.rejected
    }

    /// Counts and logs a config that was loaded and is now in use.
    pub(crate) fn reload_applied(&self, routes: usize) {
        let now = ClockReading::read();
        self.reloads_applied.fetch_add(1, Ordering::Relaxed);
        self.last_reload
            .store(now.unix_seconds(), Ordering::Relaxed);
        if self.logger.is_enabled(Level::INFO) {
            let mut line = self
                .logger
                .line(now, Level::INFO, "reload", "config reloaded");
            line.count("routes", u64::try_from(routes).unwrap_or(u64::MAX));
            line.mark_urgent();
            self.logger.write(line);
        }
    }

    /// Counts and logs a config that was rejected; the previous one stays in use. The line holds the start of `error`.
    pub(crate) fn reload_refused(&self, error: &dyn fmt::Display) {
        self.reloads_refused.fetch_add(1, Ordering::Relaxed);
        let message = "config rejected, the previous one stays in use";
        let mut line = self
            .logger
            .line(ClockReading::read(), Level::ERROR, "reload", message);
        line.message("error", error);
        self.logger.write(line);
    }

    /// Applies `[log]` of a new config. The format does not change while the process runs.
    pub(crate) fn set_log(&self, level: Level, logs_accepted: bool) {
        self.logger.set_level(level);
        self.logs_accepted.store(logs_accepted, Ordering::Relaxed);
    }

    /// Sets how many verdicts and how many rejected requests are kept in memory.
    pub(crate) fn set_capacities(&self, verdicts: usize, rejected: usize) {
        self.recent.set_capacity(verdicts);
        self.rejected.set_capacity(rejected);
    }

    /// Counts and logs a panic; the panic hook of the process calls it.
    pub(crate) fn panic(&self, info: &PanicHookInfo<'_>) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        let mut line = self.logger.line(
            ClockReading::read(),
            Level::ERROR,
            "panic",
            "a thread panicked",
        );
        if let Some(place) = info.location() {
            line.text("place", place);
        }
        line.text("panic", &info.payload_as_str().unwrap_or("no text"));
        self.logger.write(line);
        // A panic on the main thread, or while another one unwinds, ends the process without closing the log.
        self.logger.flush_for_panic();
    }

    /// Adds a counter or gauge without labels that another module maintains.
    pub(crate) fn register_metric(
        &self,
        row: &'static MetricRow,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let mut sources = self.sources.lock();
        // A row that is registered again replaces the first one: OpenMetrics forbids a family that appears twice.
        sources.retain(|source| source.row.name != row.name);
        sources.push(ExternalMetric {
            row,
            read: Box::new(read),
        });
    }

    /// Adds a counter or gauge with labels that another module maintains.
    pub(crate) fn register_family(
        &self,
        row: &'static MetricRow,
        read: impl Fn() -> Vec<(Vec<String>, u64)> + Send + Sync + 'static,
    ) {
        self.families.lock().push(ExternalFamily {
            row,
            read: Box::new(read),
        });
    }

    /// Adds the expiry, the next renewal and the failures of each certificate, by name.
    pub(crate) fn register_certificates(
        &self,
        read: impl Fn() -> Vec<CertificateHealth> + Send + Sync + 'static,
    ) {
        *self.certificates.lock() = Some(Box::new(read));
    }

    /// Replaces the expiry times of secrets with those of the config in use.
    pub(crate) fn set_secret_ends(&self, ends: Vec<SecretEnd>) {
        *self.secrets.lock() = ends;
    }

    /// Adds the address ranges that providers publish: when they were read, and the outcomes of refreshes.
    pub(crate) fn register_ranges(
        &self,
        read: impl Fn() -> Vec<(String, Arc<LiveRanges>)> + Send + Sync + 'static,
    ) {
        *self.ranges.lock() = Some(Box::new(read));
    }

    /// Counts a response of the admin listener under its resource, a label of a closed set.
    pub(crate) fn admin_answer(&self, resource: &'static str, status: StatusCode) {
        self.admin.count(resource, status);
    }

    /// Adds the metrics of this store.
    pub(crate) fn register_store(&self, store: Store, bounds: StoreBounds) {
        *self.store.lock() = Some(Arc::new(StoreWatch::new(store, bounds)));
    }

    /// Queries the store if the last values are too old. A scrape calls it before it renders the metrics.
    pub(crate) async fn refresh_store_reading(&self) {
        let watch = self.store.lock().clone();
        if let Some(watch) = watch {
            watch.refresh_reading().await;
        }
    }

    /// Logs the counts of suppressed lines every `SWEEP_PERIOD`, until the future is dropped.
    pub(crate) async fn tend(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_PERIOD).await;
            self.sweep(instant());
        }
    }

    /// Logs the remaining counts of suppressed lines and ends the log. Blocks for two seconds at most.
    pub(crate) fn close(&self) {
        // Without this the last counts would be lost with the process.
        for withheld in self.suppressor.drain() {
            self.log_suppressed(&withheld);
        }
        self.log_forgotten();
        self.logger.close();
    }

    fn sweep(&self, now: Instant) {
        for withheld in self.suppressor.sweep(now) {
            self.log_suppressed(&withheld);
        }
        self.log_forgotten();
    }

    /// Decides about the log line of a request: `None` means no line, otherwise the count of lines about this source
    /// that were suppressed before it.
    fn lines_to_log(&self, verdict: &Verdict, exchange: &ExchangeSummary) -> Option<u64> {
        let level = request_line::level(verdict, exchange);
        if !self.logger.is_enabled(level) {
            return None;
        }
        let kind = match &verdict.decision {
            GateDecision::Refused(reject) if reject.is_security() => LineKind::Security,
            GateDecision::Refused(_) | GateDecision::Monitored(_) => LineKind::Plain,
            // An attacker who captured a genuine request can have its bytes forwarded as often as they like.
            GateDecision::Accepted if verdict.is_replay => LineKind::Security,
            GateDecision::Accepted
            | GateDecision::Challenge
            | GateDecision::Duplicate
            | GateDecision::Filtered(_) => {
                // `accepted = false` silences only what is in order; warnings and errors always get a line.
                let is_logged = level < Level::INFO || self.logs_accepted.load(Ordering::Relaxed);
                // A URL check without a signature costs its client nothing, so its lines are rate-limited by source.
                let is_open =
                    verdict.decision == GateDecision::Challenge && verdict.secret.is_none();
                match is_logged && is_open {
                    true => LineKind::Unsigned,
                    false => return is_logged.then_some(0),
                }
            }
        };
        self.allowance((SourceKey::of(verdict.source.ip), kind))
    }

    /// Returns true if `[log] accepted` asks for lines about accepted requests too.
    pub(super) fn logs_accepted(&self) -> bool {
        self.logs_accepted.load(Ordering::Relaxed)
    }

    pub(super) fn allowance(&self, key: LineKey) -> Option<u64> {
        match self.suppressor.count(key, instant()) {
            LineDecision::Tell {
                suppressed: withheld,
            } => Some(withheld),
            LineDecision::Withhold => None,
        }
    }

    fn log_suppressed(&self, withheld: &SuppressedLines) {
        let (source, kind) = withheld.key;
        let (level, target) = match kind {
            LineKind::Security => (Level::WARN, "security"),
            LineKind::Plain | LineKind::Unsigned => (Level::INFO, "request"),
        };
        if self.logger.is_enabled(level) {
            let message = "log lines about this source were suppressed by the rate limit";
            let mut line = self
                .logger
                .line(ClockReading::read(), level, target, message);
            line.text("source", &source.ip());
            line.count("withheld", withheld.count);
            self.logger.write(line);
        }
    }

    fn log_forgotten(&self) {
        let count = self.suppressor.take_forgotten();
        if count > 0 && self.logger.is_enabled(Level::WARN) {
            let message = "log lines about many sources were suppressed by the rate limit";
            let mut line = self
                .logger
                .line(ClockReading::read(), Level::WARN, "security", message);
            line.count("withheld", count);
            self.logger.write(line);
        }
    }
}

impl fmt::Debug for TelemetryRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}
