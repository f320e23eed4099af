//! What happened, told once: a log line, counts, a security event.
//!
//! `pipeline` calls `request` for each verdict, whatever became of it; `app` tells of reloads and panics and wires the
//! callbacks of gauges. Nothing here waits: counts are atomics, lines go through a bounded queue. `Recorder` outlives
//! reloads, so counters go on.

pub mod audit;
mod connections;
pub mod counters;
pub mod deliveries;
mod door;
pub mod histogram;
pub mod history;
pub mod line;
pub mod log;
mod metrics;
pub mod otlp;
mod process;
pub mod recent;
pub mod rejected;
mod request_line;
mod security;
pub mod store;
mod tell;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use tracing::Level;

use crate::edge::counters::Counters;
use crate::gate::verdict::{Decision, Verdict};
use crate::model::clock::{Now, instant};
use crate::model::ids::RouteName;
use crate::model::source::SourceKey;
use crate::ranges::Live;
use crate::record::counters::RouteCounters;
use crate::record::deliveries::DestinationCounters;
use crate::record::log::Logger;
use crate::record::recent::Recent;
use crate::record::rejected::Rejected;
use crate::record::security::{Kind, Telling, Withheld, Withholder};

/// How often withheld lines are told of.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

/// What the exchange with sender and app came to, beside the verdict.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What the sender got.
    pub answer_status: StatusCode,
    /// What the app answered.
    pub upstream_status: Option<StatusCode>,
    /// Time from the hand-over to the app to the head of its answer; zero where nothing was forwarded.
    pub upstream_time: Duration,
    /// Why forwarding failed: its kind, and the error with its causes.
    pub forward_error: Option<(&'static str, String)>,
    /// Whether the event is in the store.
    pub is_stored: bool,
    /// From the head to the answer.
    pub total: Duration,
}

/// Takes in what happened.
pub struct Recorder {
    logger: Arc<Logger>,
    logs_accepted: AtomicBool,
    routes: Mutex<BTreeMap<RouteName, Arc<RouteCounters>>>,
    unrouted: RouteCounters,
    destinations: Mutex<BTreeMap<deliveries::Key, Arc<DestinationCounters>>>,
    withholder: Withholder,
    recent: Recent,
    rejected: Rejected,
    sources: Mutex<Vec<Metric>>,
    store: Mutex<Option<Arc<store::Watch>>>,
    door: door::DoorCounters,
    secrets: Mutex<Vec<SecretEnd>>,
    certificates: Mutex<Option<CertificateSource>>,
    ranges: Mutex<Option<RangeSource>>,
    edge: Mutex<Option<Arc<Counters>>>,
    reloads_applied: AtomicU64,
    reloads_refused: AtomicU64,
    last_reload: AtomicI64,
    panics: AtomicU64,
    started: i64,
    tracer: OnceLock<otlp::Tracer>,
}

/// Where a number that another room counts comes from.
struct Metric {
    name: &'static str,
    help: &'static str,
    growth: Growth,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Growth {
    Counter,
    Gauge,
}

/// Names and ends of the certificates in use.
type CertificateSource = Box<dyn Fn() -> Vec<(String, i64)> + Send + Sync>;

/// A secret that stops to count, as the config says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretEnd {
    /// Its route.
    pub route: RouteName,
    /// Its name, or its position.
    pub label: Arc<str>,
    /// From when on. Milliseconds since the epoch.
    pub until_ms: i64,
}

/// The ranges of addresses in use, by provider.
type RangeSource = Box<dyn Fn() -> Vec<(String, Arc<Live>)> + Send + Sync>;

impl Recorder {
    /// A recorder without routes; `logs_accepted` is `[log] accepted`.
    #[must_use]
    pub fn new(logger: Arc<Logger>, logs_accepted: bool) -> Arc<Self> {
        let now = Now::read();
        Arc::new(Self {
            logger,
            logs_accepted: AtomicBool::new(logs_accepted),
            routes: Mutex::default(),
            unrouted: RouteCounters::default(),
            destinations: Mutex::default(),
            withholder: Withholder::new(now.mono),
            recent: Recent::new(0),
            rejected: Rejected::default(),
            sources: Mutex::default(),
            store: Mutex::default(),
            door: door::DoorCounters::default(),
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

    /// The counters of a route, for the pipeline to keep with each generation: they are the same ones after a reload.
    #[must_use]
    pub fn route_counters(&self, name: &RouteName) -> Arc<RouteCounters> {
        let mut routes = lock(&self.routes);
        Arc::clone(routes.entry(name.clone()).or_default())
    }

    /// Forgets what was counted on other routes than these: a reload has removed them.
    pub fn keep_routes(&self, is_there: impl Fn(&RouteName) -> bool) {
        lock(&self.routes).retain(|name, _| is_there(name));
    }

    /// The counters of a route that is known; none where this process never had it.
    #[must_use]
    pub fn find_route(&self, name: &str) -> Option<Arc<RouteCounters>> {
        let routes = lock(&self.routes);
        routes.get(&RouteName::new(name)).cloned()
    }

    /// Counts one request and writes its line. `route` is none where no route was found.
    pub fn request(&self, route: Option<&RouteCounters>, verdict: &Verdict, exchange: &Exchange) {
        route.unwrap_or(&self.unrouted).add(verdict, exchange);
        self.trace_request(verdict, exchange);
        self.recent.keep(verdict, exchange);
        let Some(withheld) = self.is_told(verdict, exchange) else {
            return;
        };
        request_line::write(&self.logger, verdict, exchange, withheld);
    }

    /// The last verdicts.
    #[must_use]
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    /// The last refused requests.
    #[must_use]
    pub fn rejected(&self) -> &Rejected {
        &self.rejected
    }

    /// A config was loaded and is in use.
    pub fn reload_applied(&self, routes: usize) {
        let now = Now::read();
        self.reloads_applied.fetch_add(1, Ordering::Relaxed);
        self.last_reload
            .store(now.unix_seconds(), Ordering::Relaxed);
        if self.logger.is_enabled(Level::INFO) {
            let mut line = self
                .logger
                .line(now, Level::INFO, "reload", "config reloaded");
            line.count("routes", u64::try_from(routes).unwrap_or(u64::MAX));
            self.logger.write(line);
        }
    }

    /// A config could not be used; the old one goes on. `error` is told, cut to what a line holds.
    pub fn reload_refused(&self, error: &dyn fmt::Display) {
        self.reloads_refused.fetch_add(1, Ordering::Relaxed);
        let message = "config refused";
        let mut line = self
            .logger
            .line(Now::read(), Level::ERROR, "reload", message);
        line.message("error", error);
        self.logger.write(line);
    }

    /// Takes over `[log]` of a new config; the format stays.
    pub fn set_log(&self, level: Level, logs_accepted: bool) {
        self.logger.set_level(level);
        self.logs_accepted.store(logs_accepted, Ordering::Relaxed);
    }

    /// Keeps so many verdicts and refused requests in memory from now on.
    pub fn set_kept(&self, verdicts: usize, rejected: usize) {
        self.recent.set_capacity(verdicts);
        self.rejected.set_capacity(rejected);
    }

    /// A panic, as the hook of the process is told of it.
    pub fn panic(&self, info: &PanicHookInfo<'_>) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        let mut line = self
            .logger
            .line(Now::read(), Level::ERROR, "panic", "a thread panicked");
        if let Some(place) = info.location() {
            line.text("place", place);
        }
        line.text("panic", &info.payload_as_str().unwrap_or("no text"));
        self.logger.write(line);
    }

    /// Shows a number of another room that goes up and down. Names follow `hookgate_<noun>_<unit>`.
    pub fn register_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.register(name, help, Growth::Gauge, Box::new(read));
    }

    /// Shows a number of another room that only grows; its name is given without `_total`.
    pub fn register_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.register(name, help, Growth::Counter, Box::new(read));
    }

    /// Shows the ends of the certificates in use, in seconds since the epoch, by name.
    pub fn register_certificates(
        &self,
        read: impl Fn() -> Vec<(String, i64)> + Send + Sync + 'static,
    ) {
        *lock(&self.certificates) = Some(Box::new(read));
    }

    /// Shows when the secrets of the config in use stop to count.
    pub fn set_secret_ends(&self, ends: Vec<SecretEnd>) {
        *lock(&self.secrets) = ends;
    }

    /// Shows the ranges of addresses that providers publish: when they were read, and how refreshing went.
    pub fn register_ranges(
        &self,
        read: impl Fn() -> Vec<(String, Arc<Live>)> + Send + Sync + 'static,
    ) {
        *lock(&self.ranges) = Some(Box::new(read));
    }

    /// Everything that was counted, in the OpenMetrics text format.
    #[must_use]
    pub fn metrics_text(self: &Arc<Self>) -> String {
        metrics::text(self)
    }

    /// Tells now and then of lines that were withheld; runs until it is dropped.
    pub async fn tend(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_PERIOD).await;
            self.sweep(instant());
        }
    }

    /// Tells what is still untold and ends the log. Blocks for two seconds at most.
    pub fn close(&self) {
        for withheld in self.withholder.drain() {
            self.tell_withheld(&withheld);
        }
        self.tell_forgotten();
        self.logger.close();
    }

    fn register(
        &self,
        name: &'static str,
        help: &'static str,
        growth: Growth,
        read: Box<dyn Fn() -> u64 + Send + Sync>,
    ) {
        let mut sources = lock(&self.sources);
        sources.retain(|source| source.name != name);
        sources.push(Metric {
            name,
            help,
            growth,
            read,
        });
    }

    fn sweep(&self, now: Instant) {
        for withheld in self.withholder.sweep(now) {
            self.tell_withheld(&withheld);
        }
        self.tell_forgotten();
    }

    /// None: no line. Otherwise the number of lines about this source that were withheld before it.
    fn is_told(&self, verdict: &Verdict, exchange: &Exchange) -> Option<u64> {
        let level = request_line::level(verdict, exchange);
        if !self.logger.is_enabled(level) {
            return None;
        }
        let kind = match &verdict.decision {
            Decision::Refused(reject) if reject.is_security() => Kind::Security,
            Decision::Refused(_) | Decision::Monitored(_) => Kind::Plain,
            Decision::Accepted
            | Decision::Challenge
            | Decision::Duplicate
            | Decision::Filtered(_) => {
                let is_told = level < Level::INFO || self.logs_accepted.load(Ordering::Relaxed);
                let is_open = verdict.decision == Decision::Challenge && verdict.secret.is_none();
                match is_told && is_open {
                    true => Kind::Unsigned,
                    false => return is_told.then_some(0),
                }
            }
        };
        self.allowance((SourceKey::of(verdict.source.ip), kind))
    }

    /// Whether what is in order gets a line.
    fn logs_accepted(&self) -> bool {
        self.logs_accepted.load(Ordering::Relaxed)
    }

    fn allowance(&self, key: security::Key) -> Option<u64> {
        match self.withholder.note(key, instant()) {
            Telling::Tell { withheld } => Some(withheld),
            Telling::Withhold => None,
        }
    }

    fn tell_withheld(&self, withheld: &Withheld) {
        let (source, kind) = withheld.key;
        let (level, target) = match kind {
            Kind::Security => (Level::WARN, "security"),
            Kind::Plain | Kind::Unsigned => (Level::INFO, "request"),
        };
        if self.logger.is_enabled(level) {
            let message = "lines about this source were withheld";
            let mut line = self.logger.line(Now::read(), level, target, message);
            line.text("source", &source.ip());
            line.count("withheld", withheld.count);
            self.logger.write(line);
        }
    }

    fn tell_forgotten(&self) {
        let count = self.withholder.take_forgotten();
        if count > 0 && self.logger.is_enabled(Level::WARN) {
            let message = "lines about many sources were withheld";
            let mut line = self
                .logger
                .line(Now::read(), Level::WARN, "security", message);
            line.count("withheld", count);
            self.logger.write(line);
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is only ever added to, so a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
