//! Rig of the tests: Pebble, an edge that answers its challenges, and a manager with a clock of the test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::acme::health::CertificateHealth;
use crate::acme::manager::CertificateManager;
use crate::acme::plan::AcmePlan;
use crate::config;
use crate::edge::EdgeServer;
use crate::edge::certificates::CertificateInfo;
use crate::edge::managed::ManagedCertificates;
use crate::edge::settings::EdgeSettings;
use crate::model::clock::ClockReading;
use crate::net::response::{HttpResponse, ResponseBody};
use crate::test_rig::pebble::{Pebble, PebbleSettings, free_port};
use crate::test_rig::tls::trust_any_server;

pub(super) const HOUR: i64 = 3600;

/// Options of a rig.
pub(super) struct RigOptions {
    names: Vec<String>,
    settings: PebbleSettings,
    /// More keys of `[tls.acme]`.
    more: String,
    file: Option<String>,
}

impl RigOptions {
    pub(super) fn new(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(ToString::to_string).collect(),
            settings: PebbleSettings::new(free_port(), free_port()),
            more: String::new(),
            file: None,
        }
    }

    pub(super) fn pebble(mut self, change: impl FnOnce(&mut PebbleSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub(super) fn more(mut self, more: &str) -> Self {
        self.more = more.to_owned();
        self
    }

    /// Adds a certificate of a file for this name.
    pub(super) fn file(mut self, name: &str) -> Self {
        self.file = Some(name.to_owned());
        self
    }
}

pub(super) struct AcmeRig {
    pub(super) pebble: Pebble,
    pub(super) manager: Arc<CertificateManager>,
    folder: tempfile::TempDir,
    more: String,
    edge: Arc<ManagedCertificates>,
    address: SocketAddr,
    ahead_ms: Arc<AtomicI64>,
    files: Arc<Mutex<Vec<CertificateInfo>>>,
    stop: CancellationToken,
}

impl AcmeRig {
    /// Starts everything, or returns `None` where Pebble is not installed.
    pub(super) async fn start(options: RigOptions) -> Option<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], options.settings.tls_port));
        let pebble = Pebble::start(options.settings)?;
        let folder = tempfile::tempdir().unwrap();
        let edge = Arc::<ManagedCertificates>::default();
        let (ahead_ms, files) = (Arc::default(), Arc::default());
        let rig = Self {
            manager: manager(folder.path(), &edge, &ahead_ms, &files),
            pebble,
            folder,
            more: options.more,
            edge,
            address,
            ahead_ms,
            files,
            stop: CancellationToken::new(),
        };
        if let Some(name) = options.file {
            rig.files.lock().push(CertificateInfo {
                names: vec![name],
                not_before: 0,
                not_after: i64::MAX,
            });
        }
        let names: Vec<_> = options.names.iter().map(String::as_str).collect();
        rig.manager.prepare().unwrap();
        rig.serve(&names).await;
        rig.follow(&names);
        Some(rig)
    }

    /// Returns a manager on the same folder, as the next process would have it. It has the same names.
    pub(super) fn another_manager(&self) -> Arc<CertificateManager> {
        let next = manager(self.folder.path(), &self.edge, &self.ahead_ms, &self.files);
        next.prepare().unwrap();
        let health = self.manager.health();
        let names: Vec<_> = health.iter().flat_map(|one| &one.names).collect();
        let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        if !names.is_empty() {
            next.follow(Some(self.plan(&self.pebble.directory(), &names)));
        }
        next
    }

    /// Gives the manager these names.
    pub(super) fn follow(&self, names: &[&str]) {
        let directory = self.pebble.directory();
        self.follow_at(&directory, names);
    }

    /// Gives the manager these names at another directory.
    pub(super) fn follow_at(&self, directory: &str, names: &[&str]) {
        self.manager.follow(Some(self.plan(directory, names)));
    }

    fn plan(&self, directory: &str, names: &[&str]) -> AcmePlan {
        let config = self.config(directory, names);
        let acme = config.tls.unwrap().acme.unwrap();
        AcmePlan::build(&acme, None).unwrap()
    }

    fn config(&self, directory: &str, names: &[&str]) -> config::model::GateConfig {
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[tls.acme]\nnames = {names:?}\ndirectory = \"{directory}\"\nca = \
            \"{}\"\n{}\n[routes.a]\npath = \"/a\"\nprovider = \"github\"\nsecret = \"f3b8c1d09e7a4b52\"\nupstream = \
            \"http://127.0.0.1:1/\"\n",
            self.pebble.api_ca().display(),
            self.more,
        );
        let loaded = config::load_text("hookgate.toml", text);
        loaded.unwrap_or_else(|report| panic!("{report:?}")).config
    }

    /// Serves TLS on the port where the CA checks.
    async fn serve(&self, names: &[&str]) {
        let config = self.config(&self.pebble.directory(), names);
        let settings = EdgeSettings::build(&config.server, config.tls.as_ref(), &[], &self.edge);
        let observer = Arc::new(|_| {});
        let edge = EdgeServer::with_managed(settings.unwrap(), observer, Arc::clone(&self.edge));
        let listener = TcpListener::bind(self.address).await.unwrap();
        let handler = |_request, _source| async { HttpResponse::new(ResponseBody::empty()) };
        let (stop, abort) = (self.stop.clone(), CancellationToken::new());
        tokio::spawn(edge.serve(listener, handler, stop, abort));
    }

    /// Runs rounds until nothing is due for some time.
    pub(super) async fn settle(&self) {
        self.settle_manager(&self.manager).await;
    }

    /// Runs rounds of this manager. What follows from a round, such as the question for the renewal window, comes in the
    /// next one, and a rejected nonce is tried again after a second.
    pub(super) async fn settle_manager(&self, manager: &CertificateManager) {
        for _ in 0..30 {
            let pause = manager.round().await;
            if pause > Duration::from_secs(5) {
                return;
            }
            let pause_ms = i64::try_from(pause.as_millis()).unwrap();
            self.ahead_ms.fetch_add(pause_ms, Ordering::SeqCst);
        }
        panic!("the manager does not settle");
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn issued(&self) -> usize {
        self.pebble.issued()
    }

    /// Drops the certificate of a file.
    pub(super) fn without_file(&self) {
        self.files.lock().clear();
    }

    /// Returns the time of the manager, in seconds since the epoch.
    pub(super) fn seconds(&self) -> i64 {
        reading(&self.ahead_ms).unix_seconds()
    }

    /// Sets the clock of the manager.
    pub(super) fn set_seconds(&self, seconds: i64) {
        let now_ms = ClockReading::read().unix_ms;
        self.ahead_ms
            .store(seconds * 1000 - now_ms, Ordering::SeqCst);
    }

    pub(super) fn health(&self, name: &str) -> CertificateHealth {
        let all = self.manager.health();
        let found = all.into_iter().find(|one| one.names == [name]);
        found.unwrap()
    }

    /// Connects as a client and returns the certificate that it got.
    pub(super) async fn handshake(&self, name: &str) -> std::io::Result<Vec<u8>> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = trust_any_server(provider, rustls::ALL_VERSIONS).with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TcpStream::connect(self.address).await?;
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let (_, session) = tls.get_ref();
        Ok(session.peer_certificates().unwrap()[0].to_vec())
    }
}

impl Drop for AcmeRig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn manager(
    folder: &Path,
    edge: &Arc<ManagedCertificates>,
    ahead_ms: &Arc<AtomicI64>,
    files: &Arc<Mutex<Vec<CertificateInfo>>>,
) -> Arc<CertificateManager> {
    let (ahead_ms, files) = (Arc::clone(ahead_ms), Arc::clone(files));
    CertificateManager::new(
        folder,
        None,
        Arc::clone(edge),
        Arc::new(move || files.lock().clone()),
        Arc::new(move || reading(&ahead_ms)),
    )
}

fn reading(ahead_ms: &AtomicI64) -> ClockReading {
    let now = ClockReading::read();
    let unix_ms = now.unix_ms + ahead_ms.load(Ordering::SeqCst);
    ClockReading { unix_ms, ..now }
}
