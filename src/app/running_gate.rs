//! A running gate: its parts, and how they end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hookgate_verify::document::report::DiagnosticReport;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Level;

use crate::admin::controls::ReloadRequest;
use crate::admin::tls::AdminTls;
use crate::admin::{self, AdminApi, AdminControls, AdminListener, AdminState};
use crate::alerts::{AlertCenter, AlertKeeper};
use crate::app::certificates::CertificateSources;
use crate::app::cross_reload::{CrossReloadHandle, CrossReloadState};
use crate::app::error::StartError;
use crate::app::fixed_settings::{
    ABORT_GRACE, FixedSettings, admin_listen, admin_tls, gate_now, open_admin, open_listeners,
    seed, store_limits,
};
use crate::app::http_listener::HttpRulesHandle;
use crate::app::ranges::RangeRefresher;
use crate::app::reported_lists::ReportedLists;
use crate::app::store_runtime::StoreRuntime;
use crate::app::succession::error::SuccessionError;
use crate::app::succession::socket_book::SocketBook;
use crate::app::succession::successor::{Predecessor, follow_claims};
use crate::app::{
    certificates, cross_reload, explain, generation, http_listener, local, store_runtime, systemd,
    traces,
};
use crate::config::LoadedConfig;
use crate::console;
use crate::edge::managed::ManagedCertificates;
use crate::edge::settings::EdgeSettings;
use crate::edge::{EdgeObserver, EdgeServer};
use crate::model::clock::ClockReading;
use crate::model::error::chain;
use crate::net::client::OutgoingClient;
use crate::pipeline::{Generation, Pipeline};
use crate::record::TelemetryRecorder;
use crate::record::log::LineLogger;
use crate::record::metric_table::{operation, traffic};

/// Time for which idle connections stay open after another process has taken over. A sender that uses its connection all
/// the time sends the next request in it, and the response closes the connection.
const IDLE_GRACE: Duration = Duration::from_secs(3);

/// The running gate with all its parts.
pub(crate) struct RunningGate {
    pub(super) edge: Arc<EdgeServer>,
    /// Limits of `[server.http]`, whose listeners serve no route.
    pub(super) http_edge: Arc<EdgeServer>,
    pub(super) http_rules: HttpRulesHandle,
    pub(super) certificates: CertificateSources,
    pub(super) generation: Arc<ArcSwap<Generation>>,
    pipeline: Arc<Pipeline>,
    /// Store, deliverer and retention; `None` without `[store]`.
    pub(super) store_runtime: Option<StoreRuntime>,
    pub(super) recorder: Arc<TelemetryRecorder>,
    logger: Arc<LineLogger>,
    pub(super) admin: Arc<AdminState>,
    pub(super) admin_tls: Option<Arc<AdminTls>>,
    pub(super) alerts: Arc<AlertCenter>,
    pub(super) reported_lists: Mutex<ReportedLists>,
    /// Reload requests of operators, until the task that knows the config file takes them over.
    reload_asks: Mutex<Option<mpsc::Receiver<ReloadRequest>>>,
    pub(super) client: OutgoingClient,
    pub(super) refresher: Arc<RangeRefresher>,
    pub(super) state: CrossReloadHandle,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) fixed: FixedSettings,
    serving: TaskTracker,
    drain: CancellationToken,
    abort: CancellationToken,
    admin_stop: CancellationToken,
    pub(super) shutdown_timeout: Mutex<Duration>,
    pub(super) shutdown_delay: Mutex<Option<Duration>>,
    /// Listening sockets for a successor.
    pub(super) sockets: SocketBook,
    /// Is cancelled when the process that this one follows has ended its exchanges.
    predecessor_ended: CancellationToken,
}

impl RunningGate {
    /// Starts the gate on sockets of its own. Needs a tokio runtime.
    ///
    /// # Errors
    /// If a part cannot be built or bound. Nothing is left running then.
    pub(crate) async fn start(
        loaded: LoadedConfig,
        logger: Arc<LineLogger>,
    ) -> Result<Self, StartError> {
        let app = Self::start_on(loaded, logger, Vec::new(), None).await?;
        // There may be no config file, so a reload request gets the error that reloads are not available.
        drop(app.take_reload_requests());
        Ok(app)
    }

    /// Starts the gate on the sockets that systemd handed over, on those of the process that it follows, or on its own.
    pub(super) async fn start_on(
        loaded: LoadedConfig,
        logger: Arc<LineLogger>,
        handed: Vec<std::net::TcpListener>,
        mut predecessor: Option<Predecessor>,
    ) -> Result<Self, StartError> {
        let LoadedConfig { config, report } = loaded;
        let managed = Arc::<ManagedCertificates>::default();
        let (server, tls) = (&config.server, config.tls.as_ref());
        let settings = EdgeSettings::build(server, tls, &config.routes, &managed);
        let settings = settings.map_err(StartError::Edge)?;
        let (handed, handed_http) = http_listener::divide(&config, handed);
        // Sockets come first: an address in use is the most common error, and it must leave no trace in the store.
        let inherited = predecessor.as_mut().map(Predecessor::take_sockets);
        let (mut inherited, sockets) = (inherited.unwrap_or_default(), SocketBook::default());
        let listeners = open_listeners(&config, handed, &mut inherited, &sockets)?;
        let http_listeners = http_listener::open(&config, handed_http)?;
        let admin_listener = admin_listen(&config)
            .map(|listen| open_admin(&listen, &mut inherited, &sockets))
            .transpose()
            .map_err(StartError::Admin)?;
        let admin_tls = admin_tls(&config).map_err(StartError::Admin)?;
        let admin_listener = admin_listener.map(|listener| listener.with_tls(admin_tls.clone()));

        let locals = local::bind(&config, &mut inherited, &sockets)?;

        let recorder = TelemetryRecorder::new(Arc::clone(&logger), config.log.accepted);
        let client = OutgoingClient::new();
        if let Some(telemetry) = &config.telemetry {
            recorder.start_tracing(traces::settings(telemetry, &client)?);
        }
        if let Some(predecessor) = &mut predecessor {
            let freed = predecessor.want_store().await;
            freed.map_err(StartError::Succession)?;
        }
        let keeping = StoreRuntime::open(&config, &client, &recorder).await?;
        let store = keeping.as_ref().map(|keeping| keeping.store.clone());
        let state_dir = config.server.state_dir.clone();
        let state_dir = state_dir.unwrap_or_else(systemd::state_dir);
        let keeper = AlertKeeper::new(&state_dir, store.clone());
        let state = CrossReloadState::new(state_dir.clone(), store.clone());
        let generation = Arc::new(ArcSwap::from_pointee(generation::empty(&state)));
        let observer = Arc::clone(&recorder);
        let mut controls = keeping
            .as_ref()
            .map_or_else(AdminControls::without_store, StoreRuntime::controls);
        let (asks, reload_asks) = mpsc::channel(1);
        let reload = asks.clone();
        controls.reload = Some(asks);
        controls.explain = explain::source(&generation, &recorder);
        controls.host = systemd::host_name();
        controls.bounds = store_limits(&config);
        let alerts = AlertCenter::new(keeper, Arc::clone(&controls.host));
        controls.alerts = Arc::clone(&alerts);
        let refresher = RangeRefresher::new(state.ranges(), state.egress().clone());
        let refreshed = Arc::clone(&refresher);
        controls.ranges = Arc::new(move || refreshed.days());
        let kept = keeping
            .as_ref()
            .map(|keeping| (keeping.inbox(), Arc::clone(&keeping.deliverer)));
        let observer: EdgeObserver = Arc::new(move |event| observer.edge_event(&event));
        let edge = EdgeServer::with_managed(settings, Arc::clone(&observer), managed);
        let http_settings = EdgeSettings::build(&config.server, None, &[], edge.managed());
        let http_edge = EdgeServer::new(http_settings.map_err(StartError::Edge)?, observer);
        let certificates = CertificateSources {
            manager: certificates::manager(&edge, &state_dir, store),
            edge: Arc::clone(&edge),
            admin: admin_tls.clone(),
        };
        let pipeline = Pipeline::new(Arc::clone(&recorder), seed(), kept);
        controls.gate = gate_now(&certificates, &pipeline, &generation);
        // Without tokens until the config is in use; nothing can connect before that.
        let admin = AdminState::new(Arc::clone(&recorder), &[], controls.clone());
        let mut app = Self {
            edge,
            http_edge,
            http_rules: HttpRulesHandle::default(),
            certificates,
            generation,
            pipeline,
            store_runtime: keeping,
            admin,
            admin_tls,
            reported_lists: Mutex::default(),
            reload_asks: Mutex::new(Some(reload_asks)),
            recorder,
            logger,
            client,
            refresher,
            alerts,
            state: Arc::new(Mutex::new(state)),
            addresses: Vec::new(),
            fixed: FixedSettings::of(&config),
            serving: TaskTracker::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            admin_stop: CancellationToken::new(),
            shutdown_timeout: Mutex::default(),
            shutdown_delay: Mutex::default(),
            sockets,
            predecessor_ended: CancellationToken::new(),
        };
        // All parts exist and serve nothing yet: from here on the start is like a reload.
        let prepared = app.prepare(config).await?;
        if let Some(predecessor) = &mut predecessor {
            let taken = predecessor.take_over(prepared.state()).await;
            taken.map_err(StartError::Succession)?;
        }
        app.put_in_use(prepared).await;
        app.log_warnings(&report);
        app.register_metrics();
        for listener in listeners {
            app.serve(listener);
        }
        for listener in http_listeners {
            app.serve_http(listener);
        }
        let (manager, drain) = (Arc::clone(&app.certificates.manager), app.drain.clone());
        tokio::spawn(async move { drain.run_until_cancelled(manager.run()).await });
        let (watched, drain) = (Arc::clone(&app.admin), app.drain.clone());
        tokio::spawn(async move {
            drain
                .run_until_cancelled(admin::watch_secrets(watched))
                .await
        });
        let (watched, drain) = (Arc::clone(&app.admin), app.drain.clone());
        tokio::spawn(async move {
            drain
                .run_until_cancelled(admin::watch_problems(watched))
                .await
        });
        let (refresher, drain) = (Arc::clone(&app.refresher), app.drain.clone());
        tokio::spawn(async move { drain.run_until_cancelled(refresher.run()).await });
        if let Some(keeping) = &app.store_runtime {
            keeping.tend(app.drain.clone());
            if keeping.store.node_name().is_some() {
                let publishing =
                    store_runtime::publish(keeping.store.clone(), Arc::clone(&app.admin));
                let stop = app.admin_stop.clone();
                tokio::spawn(async move { stop.run_until_cancelled(publishing).await });
            }
            tokio::spawn(admin::run_replays(controls, app.drain.clone()));
            // The disk was full at the start. The gate runs without the store until there is room.
            if !keeping.store.was_opened() {
                let late =
                    store_runtime::take_up_late(keeping.store.clone(), app.state.clone(), reload);
                let drain = app.drain.clone();
                tokio::spawn(async move { drain.run_until_cancelled(late).await });
            }
        }
        for socket in locals {
            let (generation, pipeline) = (Arc::clone(&app.generation), Arc::clone(&app.pipeline));
            let (tracker, drain) = (app.serving.clone(), app.drain.clone());
            let serving = local::serve(socket, generation, pipeline, tracker, drain);
            app.serving.spawn(serving);
        }
        app.admin.set_ready(true);
        // Last, so that a client that reads the admin address from the log finds `/readyz` ready.
        if let Some(listener) = admin_listener {
            app.serve_admin(listener);
        }
        match predecessor {
            Some(predecessor) => app.follow(predecessor).await,
            None => app.predecessor_ended.cancel(),
        }
        Ok(app)
    }

    /// Takes up the work of the process that this one follows, until that has ended its exchanges.
    async fn follow(&self, mut predecessor: Predecessor) {
        predecessor.become_main(&self.state).await;
        self.log(Level::INFO, "took over from the former process", |_| {});
        let (state, ended) = (self.state.clone(), self.predecessor_ended.clone());
        tokio::spawn(async move {
            follow_claims(predecessor, state).await;
            ended.cancel();
        });
        if let Some(StoreRuntime {
            store, deliverer, ..
        }) = &self.store_runtime
        {
            let (store, deliverer) = (store.clone(), Arc::clone(deliverer));
            let following = store_runtime::follow_predecessor(store, deliverer);
            let drain = self.drain.clone();
            tokio::spawn(async move { drain.run_until_cancelled(following).await });
        }
    }

    /// Returns the addresses of the public listeners.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting connections, finishes requests and deliveries within `shutdown_timeout`, and ends.
    pub(crate) async fn stop(self) {
        // First, so that a load balancer stops sending before connections close.
        self.admin.set_ready(false);
        self.sockets.close();
        self.drained().await;
        self.end().await;
    }

    /// Fails health checks, and serves for this time.
    pub(super) async fn delay_shutdown(&self, delay: Duration) {
        self.admin.set_ready(false);
        self.pipeline.fail_health_checks();
        self.log(Level::INFO, "shutdown_delay begins", |line| {
            line.count("seconds", delay.as_secs());
        });
        tokio::time::sleep(delay).await;
    }

    /// Begins to leave, before a process that follows exists. Its sockets stay open, so that connections wait for it.
    pub(super) fn begin_restart(&self) {
        admin::leave_socket_files();
        self.edge.set_idle_grace(IDLE_GRACE);
        self.drain.cancel();
        self.admin_stop.cancel();
    }

    /// Leaves the sockets to another process: accepts no more connections, and finishes what is in flight.
    pub(super) fn begin_departure(&self) {
        admin::leave_socket_files();
        self.edge.set_idle_grace(IDLE_GRACE);
        self.drain.cancel();
        // Its clients reach the other process from now on.
        self.admin_stop.cancel();
    }

    /// Lets the process that follows open the store.
    pub(super) async fn share_store(&self) -> Result<(), SuccessionError> {
        match &self.store_runtime {
            Some(keeping) => {
                let shared = keeping.store.share().await;
                shared.map_err(SuccessionError::Store)
            }
            None => Ok(()),
        }
    }

    /// Takes the store back after a process that was to follow has failed.
    pub(super) async fn take_back_store(&self) {
        let Some(keeping) = &self.store_runtime else {
            return;
        };
        match keeping.store.take_back().await {
            Ok(true) => {}
            Ok(false) => self.log(
                Level::ERROR,
                "the store stays shared, because another process has it open: restart hookgate",
                |_| {},
            ),
            Err(error) => self.log(Level::ERROR, "cannot take the store back", |line| {
                line.message("error", &chain(&error));
            }),
        }
    }

    /// Returns the claims of this process.
    pub(super) fn claim_state(&self) -> CrossReloadState {
        self.state.lock().clone()
    }

    /// Finishes requests and deliveries, within `shutdown_timeout`.
    pub(super) async fn drained(&self) {
        self.drain.cancel();
        self.serving.close();
        let requests = async {
            self.serving.wait().await;
            self.pipeline.drained().await;
        };
        // Both drain at once: otherwise deliveries would begin until a slow request ends, and their outcomes might not
        // be stored in time.
        let deliveries = async {
            if let Some(keeping) = &self.store_runtime {
                keeping.deliverer.stop().await;
            }
        };
        // What it reports has to be passed on, and its process must not outlive the service.
        let predecessor = self.predecessor_ended.cancelled();
        let ended = async { tokio::join!(requests, deliveries, predecessor) };
        if tokio::time::timeout(self.shutdown_timeout(), ended)
            .await
            .is_err()
        {
            self.log(
                Level::WARN,
                "shutdown_timeout is over, aborting the requests in flight",
                |line| {
                    line.count("in_flight", self.pipeline.in_flight() as u64);
                },
            );
            self.abort.cancel();
            let _ = tokio::time::timeout(ABORT_GRACE, self.serving.wait()).await;
        }
    }

    /// Ends everything that is left after the drain.
    pub(super) async fn end(self) {
        self.recorder.end_tracing().await;
        self.alerts.close().await;
        // The admin listener stays up until here, so that operators can watch the drain.
        self.admin_stop.cancel();
        if let Some(StoreRuntime { store, .. }) = &self.store_runtime {
            // Writes what is queued. The next start finds attempts that were aborted.
            let store = store.clone();
            let _ = tokio::task::spawn_blocking(|| store.close()).await;
        }
        self.log(Level::INFO, "stopped", |_| {});
        self.recorder.close();
    }

    /// Takes the reload requests of operators, for the task that knows the config file. Returns `None` the second time.
    pub(super) fn take_reload_requests(&self) -> Option<mpsc::Receiver<ReloadRequest>> {
        self.reload_asks.lock().take()
    }

    fn serve(&mut self, listener: TcpListener) {
        if let Ok(address) = listener.local_addr() {
            self.addresses.push(address);
            self.log(Level::INFO, "listening", |line| {
                line.text("address", &address);
            });
        }
        let (generation, pipeline) = (Arc::clone(&self.generation), Arc::clone(&self.pipeline));
        let handler = move |request, source| {
            let (generation, pipeline) = (generation.load_full(), Arc::clone(&pipeline));
            async move { pipeline.serve(generation, request, source).await }
        };
        let (drain, abort) = (self.drain.clone(), self.abort.clone());
        let edge = Arc::clone(&self.edge);
        self.serving
            .spawn(edge.serve(listener, handler, drain, abort));
    }

    /// Serves a listener of `[server.http]`.
    fn serve_http(&self, listener: TcpListener) {
        if let Ok(address) = listener.local_addr() {
            self.log(Level::INFO, "listening for plain HTTP", |line| {
                line.text("address", &address);
            });
        }
        let (rules, edge) = (Arc::clone(&self.http_rules), Arc::clone(&self.edge));
        let handler = move |request, _source| {
            let (rules, edge) = (rules.load_full(), Arc::clone(&edge));
            let managed = Arc::clone(edge.managed());
            http_listener::answer(request, rules, managed, edge)
        };
        let (drain, abort) = (self.drain.clone(), self.abort.clone());
        let http_edge = Arc::clone(&self.http_edge);
        self.serving
            .spawn(http_edge.serve(listener, handler, drain, abort));
    }

    fn serve_admin(&self, listener: AdminListener) {
        self.log(Level::INFO, "admin listening", |line| {
            line.text("address", &listener.local_address());
        });
        let (state, stop) = (Arc::clone(&self.admin), self.admin_stop.clone());
        let console = console::router(AdminApi::new(Arc::clone(&state)));
        tokio::spawn(admin::serve(listener, state, Some(console), stop));
        let (recorder, stop) = (Arc::clone(&self.recorder), self.admin_stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(recorder.tend()).await });
    }

    fn register_metrics(&self) {
        let recorder = &self.recorder;
        recorder.register_edge(self.edge.counters());
        let sources = self.certificates.clone();
        recorder.register_certificates(move || sources.public_health());
        let alerts = Arc::clone(&self.alerts);
        recorder.register_family(&operation::ALERTS_OPEN, move || alerts.open_by_kind());
        let alerts = Arc::clone(&self.alerts);
        recorder.register_family(&operation::ALERT_MESSAGES, move || {
            alerts.messages_by_outcome()
        });
        let book = Arc::clone(self.refresher.book());
        recorder.register_ranges(move || book.list());
        if let Some(keeping) = &self.store_runtime {
            keeping.register_metrics(recorder);
        }
        let pipeline = Arc::clone(&self.pipeline);
        recorder.register_metric(&traffic::REQUESTS_IN_FLIGHT, move || {
            pipeline.in_flight() as u64
        });
        let pipeline = Arc::clone(&self.pipeline);
        recorder.register_metric(&traffic::BUDGET_SOURCES, move || {
            pipeline.budgets().entries() as u64
        });
        let client = self.client.clone();
        recorder.register_metric(&traffic::UPSTREAM_CONNECTIONS_OPEN, move || {
            client.open_connections() as u64
        });
        let state = Arc::clone(&self.state);
        recorder.register_metric(&traffic::DEDUP_ENTRIES, move || {
            cross_reload::sum_claims(&state, |claims| claims.entries())
        });
        let state = Arc::clone(&self.state);
        recorder.register_metric(&traffic::DEDUP_EVICTED, move || {
            cross_reload::sum_claims(&state, |claims| claims.evicted())
        });
        let state = Arc::clone(&self.state);
        recorder.register_metric(&traffic::LIMITER_SOURCES, move || {
            cross_reload::count_sources(&state)
        });
    }

    /// Logs the warnings that `hookgate check` prints.
    pub(super) fn log_warnings(&self, report: &DiagnosticReport) {
        for diagnostic in report.diagnostics() {
            self.log(Level::WARN, "config warning", |line| {
                line.message("warning", &diagnostic.message);
                line.text("place", &report.location(diagnostic));
            });
        }
    }

    pub(super) fn shutdown_delay(&self) -> Option<Duration> {
        *self.shutdown_delay.lock()
    }

    pub(super) fn shutdown_timeout(&self) -> Duration {
        *self.shutdown_timeout.lock()
    }

    pub(super) fn log(
        &self,
        level: Level,
        message: &str,
        add: impl FnOnce(&mut crate::record::log_line::LogLine),
    ) {
        let mut line = self
            .logger
            .line(ClockReading::read(), level, "app", message);
        // Lines about the life of the process: scripts wait for them, and there are few.
        line.mark_urgent();
        add(&mut line);
        self.logger.write(line);
    }
}
