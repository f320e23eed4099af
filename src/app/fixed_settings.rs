//! Settings that only a restart can change, and the start of a gate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::admin::controls::{GateSource, GateStatus, StoreLimitSettings};
use crate::admin::tls::AdminTls;
use crate::admin::{self, AdminError, AdminListener};
use crate::app::certificates::CertificateSources;
use crate::app::error::StartError;
use crate::app::succession::socket_book::SocketBook;
use crate::app::succession::sockets::{InheritedSockets, SocketPurpose};
use crate::app::{local, systemd};
use crate::config::model::{AdminListen, AdminToken, GateConfig, TelemetrySection};
use crate::edge::listener;
use crate::model::clock::ClockReading;
use crate::model::database::{CommitDurability, DatabaseLocation, PostgresTls};
use crate::pipeline::{Generation, Pipeline};

/// Time for tasks to notice that they were aborted, after `shutdown_timeout` is over.
pub(crate) const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Settings that only a restart can change.
#[derive(PartialEq)]
pub(crate) struct FixedSettings {
    listen: Vec<SocketAddr>,
    admin: Option<(AdminListen, Option<(PathBuf, PathBuf)>)>,
    store: Option<FixedStore>,
    telemetry: Option<TelemetrySection>,
    sockets: Vec<PathBuf>,
    http: Vec<SocketAddr>,
}

/// Settings of `[store]` that only a restart can change.
#[derive(PartialEq, Eq)]
pub(crate) struct FixedStore {
    /// The URL, without its password.
    location: String,
    postgres: Option<FixedPostgres>,
    keep_body: bool,
    limits: [Option<u64>; 3],
    /// Digests of the encryption keys, because a copy of the keys must not stay in memory.
    keys: Vec<[u8; 32]>,
}

/// Settings of a PostgreSQL store beside its URL. Its sessions are opened with them again and again, so that a change in
/// the middle would divide the node. Certificates are not among them: their files are read for each session.
#[derive(PartialEq, Eq)]
struct FixedPostgres {
    schema: String,
    node: String,
    durability: CommitDurability,
    tls: PostgresTls,
    /// Digest of the password, because a copy of it must not stay in memory.
    password: Option<[u8; 32]>,
}

impl FixedPostgres {
    fn of(location: &DatabaseLocation) -> Option<Self> {
        let DatabaseLocation::Postgres(settings) = location else {
            return None;
        };
        let password = settings.password.as_ref();
        Some(Self {
            schema: settings.schema.clone(),
            node: settings.node.clone(),
            durability: settings.durability,
            tls: settings.tls.clone(),
            password: password.map(|password| Sha256::digest(password.expose()).into()),
        })
    }
}

impl FixedSettings {
    pub(super) fn of(config: &GateConfig) -> Self {
        Self {
            listen: config.server.listen.clone(),
            admin: config.admin.as_ref().map(|admin| {
                let tls = admin.tls.as_ref();
                let files = tls.map(|files| (files.cert.clone(), files.key.clone()));
                (admin.listen.clone(), files)
            }),
            store: config.store.as_ref().map(|store| FixedStore {
                location: store.location.to_string(),
                postgres: FixedPostgres::of(&store.location),
                keep_body: store.keep_body,
                limits: [store.max_size, store.max_events, store.location.min_free()],
                keys: store
                    .encryption_keys
                    .iter()
                    .map(|key| Sha256::digest(key.expose()).into())
                    .collect(),
            }),
            telemetry: config.telemetry.clone(),
            sockets: local::paths(config),
            http: config
                .server
                .http
                .as_ref()
                .map_or_else(Vec::new, |http| http.listen.clone()),
        }
    }
}

/// Returns the address of the admin listener. With a store there always is one, because the commands need it.
pub(crate) fn admin_listen(config: &GateConfig) -> Option<AdminListen> {
    match &config.admin {
        Some(admin) => Some(admin.listen.clone()),
        None if config.store.is_some() => admin::default_listen(systemd::runtime_dir().as_deref()),
        None => None,
    }
}

/// Opens the admin listener, or takes that of a former process.
pub(super) fn open_admin(
    listen: &AdminListen,
    inherited: &mut InheritedSockets,
    book: &SocketBook,
) -> Result<AdminListener, AdminError> {
    let (purpose, name) = match listen {
        AdminListen::Tcp(address) => (SocketPurpose::Admin, address.to_string()),
        AdminListen::Unix(path) => (SocketPurpose::Path, path.display().to_string()),
    };
    let opened = match listen {
        AdminListen::Tcp(address) => inherited
            .take_tcp(purpose, *address)
            .map(|listener| AdminListener::adopt_tcp(listener, *address)),
        AdminListen::Unix(path) => inherited
            .take_path(path)
            .map(|listener| AdminListener::adopt_path(listener, path)),
    };
    let opened = opened.unwrap_or_else(|| AdminListener::bind(listen))?;
    book.add(purpose, name, opened.descriptor());
    Ok(opened)
}

/// Returns the function by which the admin API reads the state of the public listeners.
pub(crate) fn gate_now(
    certificates: &CertificateSources,
    pipeline: &Arc<Pipeline>,
    generation: &Arc<ArcSwap<Generation>>,
) -> GateSource {
    let (sources, pipeline) = (certificates.clone(), Arc::clone(pipeline));
    let generation = Arc::clone(generation);
    Arc::new(move || GateStatus {
        in_flight: pipeline.in_flight() as u64,
        connections: sources.edge.counters().open.read() as u64,
        certificates: sources.health(),
        missing_certificate: sources.missing(),
        revocation_lists: generation
            .load()
            .routes
            .iter()
            .filter_map(|compiled| {
                let route = compiled.rules.route();
                let until = route.client_cert.as_ref()?.crl_until()?;
                Some((route.name.clone(), until))
            })
            .collect(),
    })
}

/// Returns the limits of the store, for the problem that it is nearly full.
pub(crate) fn store_limits(config: &GateConfig) -> StoreLimitSettings {
    let store = config.store.as_ref();
    store.map_or_else(StoreLimitSettings::default, |store| StoreLimitSettings {
        min_free: store.location.min_free(),
        max_size: store.max_size,
        max_events: store.max_events,
    })
}

pub(crate) fn admin_tls(config: &GateConfig) -> Result<Option<Arc<AdminTls>>, AdminError> {
    let files = config.admin.as_ref().and_then(|admin| admin.tls.clone());
    let tls = files.map(AdminTls::load).transpose()?;
    Ok(tls.map(Arc::new))
}

pub(crate) fn admin_hosts(config: &GateConfig) -> Vec<String> {
    let admin = config.admin.as_ref();
    admin.map_or_else(Vec::new, |admin| admin.hosts.clone())
}

pub(crate) fn admin_tokens(config: &GateConfig) -> Vec<AdminToken> {
    let admin = config.admin.as_ref();
    admin.map_or_else(Vec::new, |admin| admin.tokens.clone())
}

/// Opens the public listeners: those that systemd handed over, else those of `listen`. Takes those of a former process
/// where it has them.
pub(super) fn open_listeners(
    config: &GateConfig,
    mut handed: Vec<std::net::TcpListener>,
    inherited: &mut InheritedSockets,
    book: &SocketBook,
) -> Result<Vec<TcpListener>, StartError> {
    if handed.is_empty() {
        handed = inherited.take_activated();
    }
    if handed.is_empty() && config.server.listen.is_empty() {
        return Err(StartError::NoListener);
    }
    if handed.is_empty() {
        let bind = |address: &SocketAddr| {
            let is_v6_only = config.server.is_v6_only(*address);
            let opened = match inherited.take_tcp(SocketPurpose::Public, *address) {
                Some(listener) => listener::adopt(listener),
                None => listener::bind(*address, is_v6_only),
            };
            let opened = opened.map_err(|source| StartError::Listen {
                address: *address,
                source,
            })?;
            book.add(SocketPurpose::Public, address.to_string(), &opened);
            Ok(opened)
        };
        return config.server.listen.iter().map(bind).collect();
    }
    let adopt = |listener: std::net::TcpListener| {
        let address = listener.local_addr().map_err(StartError::Adopt)?;
        // The config check did not know this address, so plain HTTP in public is rejected here.
        let is_safe = config.tls.is_some() || config.server.insecure_http;
        if !is_safe && !address.ip().to_canonical().is_loopback() {
            return Err(StartError::Insecure { address });
        }
        book.add(SocketPurpose::Activated, address.to_string(), &listener);
        listener::adopt(listener).map_err(StartError::Adopt)
    };
    handed.into_iter().map(adopt).collect()
}

/// Returns a random seed for request ids.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0; 8];
    let random = aws_lc_rs::rand::fill(&mut bytes);
    // Without a random source TLS cannot work either. The clock still makes ids differ between processes.
    if random.is_err() {
        bytes = ClockReading::read().unix_ms.to_le_bytes();
    }
    u64::from_le_bytes(bytes)
}
