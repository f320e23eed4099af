//! Builds everything from a config, runs it, and changes it alive.

pub mod hardening;
pub mod systemd;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Level;

use crate::admin::{AdminListener, AdminState};
use crate::config::{self, Loaded, model::Config};
use crate::document::report::Style;
use crate::edge::settings::Settings;
use crate::edge::{Edge, listener};
use crate::forward::Target;
use crate::gate::dedup::Claims;
use crate::gate::rate_limit::{Limiter, SourceLimiters};
use crate::gate::route::RouteTable;
use crate::gate::{Gate, Rules};
use crate::model::clock::Now;
use crate::net::client::Client;
use crate::pipeline::{Generation, Pipeline};
use crate::record::Recorder;
use crate::record::log::Logger;

#[derive(Default)]
struct Lasting {
    claims: HashMap<String, Arc<Claims>>,
    limiters: HashMap<String, Arc<Limiter>>,
    sources: Option<Arc<SourceLimiters>>,
}

/// The running gate.
pub struct App {
    edge: Arc<Edge>,
    generation: Arc<ArcSwap<Generation>>,
    recorder: Arc<Recorder>,
    logger: Arc<Logger>,
    admin: Arc<AdminState>,
    client: Client,
    lasting: Mutex<Lasting>,
    exchanges: TaskTracker,
    addresses: Vec<SocketAddr>,
    drain: CancellationToken,
    abort: CancellationToken,
    admin_stop: CancellationToken,
    serving: TaskTracker,
    shutdown: Mutex<Duration>,
}

impl App {
    /// Starts with a config.
    ///
    /// # Errors
    /// What cannot be built or bound.
    pub async fn start_with(loaded: Loaded, logger: Arc<Logger>) -> anyhow::Result<Self> {
        let config = loaded.config;
        let recorder = Recorder::new(Arc::clone(&logger), config.log.accepted);
        let settings = Settings::build(&config.server, config.tls.as_ref())?;
        let told = Arc::clone(&recorder);
        let edge = Edge::new(settings, Arc::new(move |event| told.edge_event(&event)));
        recorder.register_edge(edge.counters());
        let client = Client::new();
        let mut lasting = Lasting::default();
        let admin_listen = config.admin.as_ref().map(|admin| admin.listen.clone());
        let admin = AdminState::new(
            Arc::clone(&recorder),
            config.admin.as_ref().and_then(|admin| admin.token.clone()),
        );
        let listen = config.server.listen.clone();
        let shutdown = Mutex::new(config.server.shutdown_timeout);
        let generation = Arc::new(ArcSwap::from_pointee(generation(
            config,
            &client,
            &recorder,
            &mut lasting,
        )?));
        let exchanges = TaskTracker::new();
        let in_flight = Arc::<AtomicU64>::default();
        let gauge = Arc::clone(&in_flight);
        recorder.register_gauge(
            "hookgate_requests_in_flight",
            "Requests under way",
            move || gauge.load(std::sync::atomic::Ordering::Relaxed),
        );
        let pipeline = Arc::new(Pipeline {
            recorder: Arc::clone(&recorder),
            exchanges: exchanges.clone(),
            in_flight,
        });
        let mut app = Self {
            edge,
            generation,
            recorder,
            logger,
            admin,
            client,
            lasting: Mutex::new(lasting),
            exchanges,
            addresses: Vec::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            admin_stop: CancellationToken::new(),
            serving: TaskTracker::new(),
            shutdown,
        };
        for address in listen {
            let listener =
                listener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
            let address = listener.local_addr()?;
            app.addresses.push(address);
            let (current, pipeline) = (Arc::clone(&app.generation), Arc::clone(&pipeline));
            let handler = move |request, source| {
                let (generation, pipeline) = (current.load_full(), Arc::clone(&pipeline));
                async move { pipeline.serve(generation, request, source).await }
            };
            app.serving.spawn(Arc::clone(&app.edge).serve(
                listener,
                handler,
                app.drain.clone(),
                app.abort.clone(),
            ));
            app.tell("listening", address);
        }
        if let Some(listen) = admin_listen {
            let listener = AdminListener::bind(&listen)?;
            if let Some(address) = listener.address() {
                app.tell("admin listening", address);
            }
            tokio::spawn(crate::admin::serve(
                listener,
                Arc::clone(&app.admin),
                app.admin_stop.clone(),
            ));
        }
        app.admin.set_ready(true);
        Ok(app)
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Drains and ends.
    pub async fn stop(self) {
        self.drain.cancel();
        self.serving.close();
        self.exchanges.close();
        let limit = *self.shutdown.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = async {
            self.serving.wait().await;
            self.exchanges.wait().await
        };
        if tokio::time::timeout(limit, ended).await.is_err() {
            self.abort.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(1), self.serving.wait()).await;
        }
        self.admin_stop.cancel();
        self.recorder.close();
    }

    fn reload(&self, path: &Path) -> anyhow::Result<usize> {
        let loaded =
            config::load(path).map_err(|report| anyhow!("{}", report.render(Style::Plain)))?;
        let settings = Settings::build(&loaded.config.server, loaded.config.tls.as_ref())?;
        settings.deny_expired()?;
        let log = (loaded.config.log.level, loaded.config.log.accepted);
        let mut lasting = self.lasting.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = generation(loaded.config, &self.client, &self.recorder, &mut lasting)?;
        let routes = generation.targets.len();
        self.edge.replace(settings);
        self.generation.store(Arc::new(generation));
        self.recorder.set_log(log.0, log.1);
        Ok(routes)
    }

    fn tell(&self, message: &str, address: SocketAddr) {
        let mut line = self.logger.line(Now::read(), Level::INFO, "app", message);
        line.text("address", &address);
        self.logger.write(line);
    }
}

fn generation(
    config: Config,
    client: &Client,
    recorder: &Arc<Recorder>,
    lasting: &mut Lasting,
) -> anyhow::Result<Generation> {
    let table = RouteTable::build(&config.routes);
    let (mut rules, mut targets, mut counters) = (Vec::new(), Vec::new(), Vec::new());
    for route in config.routes {
        let name = route.name.as_str().to_owned();
        targets.push(Arc::new(Target::build(&route, client)?));
        counters.push(recorder.route_counters(&route.name));
        let claims = route.dedup.as_ref().map(|dedup| {
            Arc::clone(
                lasting
                    .claims
                    .entry(name.clone())
                    .or_insert_with(|| Claims::new(dedup.window, dedup.max_entries)),
            )
        });
        let limiter = route.rate_limit.map(|rate| {
            let kept = lasting
                .limiters
                .get(&name)
                .filter(|kept| kept.rate() == rate)
                .cloned();
            let limiter = kept.unwrap_or_else(|| Arc::new(Limiter::new(rate)));
            lasting.limiters.insert(name, Arc::clone(&limiter));
            limiter
        });
        rules.push(Rules::compile(route, claims, limiter)?);
    }
    let sources = config.server.per_source_rate_limit.map(|rate| {
        let kept = lasting.sources.clone().filter(|kept| kept.rate() == rate);
        let sources = kept.unwrap_or_else(|| Arc::new(SourceLimiters::new(rate)));
        lasting.sources = Some(Arc::clone(&sources));
        sources
    });
    Ok(Generation {
        gate: Gate::new(table, rules, sources, config.server.body_timeout),
        targets,
        counters,
        health: config.server.health,
        slots: Arc::new(Semaphore::new(config.server.max_in_flight)),
    })
}

/// Runs until a signal says stop.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(report) => {
            eprintln!("{}", report.render(Style::Plain));
            return ExitCode::from(2);
        }
    };
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let logger = match crate::record::log::init(&loaded.config.log, systemd::stderr()) {
            Ok(logger) => logger,
            Err(_) => return ExitCode::FAILURE,
        };
        let app = match App::start_with(loaded, logger).await {
            Ok(app) => app,
            Err(err) => {
                eprintln!("{err:#}");
                return ExitCode::FAILURE;
            }
        };
        let (Ok(mut hup), Ok(mut term), Ok(mut int)) = (
            signal(SignalKind::hangup()),
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            return ExitCode::FAILURE;
        };
        loop {
            tokio::select! {
                _ = hup.recv() => match app.reload(path) {
                    Ok(routes) => app.recorder.reload_applied(routes),
                    Err(err) => app.recorder.reload_refused(&format!("{err:#}")),
                },
                _ = term.recv() => break,
                _ = int.recv() => break,
            }
        }
        app.stop().await;
        ExitCode::SUCCESS
    })
}
