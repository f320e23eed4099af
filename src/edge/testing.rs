//! Test helpers of the edge: certificates, socket pairs, and a running edge with clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::TextSpan;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::config::model::{
    CertificateFiles, ProxyProtocol, ServerSection, TlsSection, TlsVersion,
};
use crate::edge::listener;
use crate::edge::server_state::EdgeServer;
use crate::edge::settings::EdgeSettings;
use crate::model::source::RequestSource;
use crate::net::response::{HttpResponse, ResponseBody};
use crate::test_rig::tls::{trust_any_server, write_self_signed};
use crate::test_rig::{let_time_pass, silent_listener};

/// Writes a self-signed pair for the names, valid for this many days from now.
pub(super) fn write_pair(folder: &Path, stem: &str, names: &[&str], days: i64) -> CertificateFiles {
    write_pair_of(
        &rcgen::KeyPair::generate().unwrap(),
        folder,
        stem,
        names,
        days,
    )
}

/// Writes the same pair with an RSA key.
pub(super) fn write_rsa_pair(folder: &Path, stem: &str, names: &[&str]) -> CertificateFiles {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    write_pair_of(&key, folder, stem, names, 30)
}

fn write_pair_of(
    key: &rcgen::KeyPair,
    folder: &Path,
    stem: &str,
    names: &[&str],
    days: i64,
) -> CertificateFiles {
    let (cert, key) = write_self_signed(folder, stem, names, days, key);
    CertificateFiles {
        cert,
        key,
        cert_span: TextSpan::default(),
        key_span: TextSpan::default(),
    }
}

/// Returns the two ends of one connection over loopback.
pub(super) async fn socket_pair() -> (TcpStream, TcpStream) {
    let (listener, address) = silent_listener();
    let theirs = TcpStream::connect(address).await.unwrap();
    let ours = listener.accept().unwrap().0;
    ours.set_nonblocking(true).unwrap();
    (TcpStream::from_std(ours).unwrap(), theirs)
}

/// Returns the default settings with short deadlines.
pub(super) fn server() -> ServerSection {
    ServerSection {
        listen: Vec::new(),
        insecure_http: true,
        trusted_proxies: Vec::new(),
        proxy_protocol: ProxyProtocol::Off,
        max_connections: 100,
        max_connections_per_source: 100,
        max_in_flight: 100,
        per_source_rate_limit: None,
        handshake_timeout: Duration::from_millis(300),
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        shutdown_delay: None,
        shutdown_timeout: Duration::from_secs(5),
        max_header_size: 16 * 1024,
        health: None,
        refresh_ranges: None,
        state_dir: None,
        keep_verdicts: 0,
        keep_rejected: 0,
        http: None,
    }
}

/// Time that the handler takes for `/slow`.
const SLOW: Duration = Duration::from_millis(500);

/// A running edge, whose handler echoes method, path, source and body.
pub(super) struct Rig {
    pub(super) edge: Arc<EdgeServer>,
    pub(super) address: SocketAddr,
    pub(super) events: Arc<Mutex<Vec<String>>>,
    pub(super) drain: CancellationToken,
    pub(super) abort: CancellationToken,
    pub(super) served: tokio::task::JoinHandle<()>,
    connector: Option<TlsConnector>,
}

/// The client's end of a connection, TLS or plain.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Rig {
    pub(super) async fn plain(server: ServerSection) -> Self {
        Self::start(server, false).await
    }

    pub(super) async fn tls(server: ServerSection) -> Self {
        Self::start(server, true).await
    }

    async fn start(server: ServerSection, is_tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = write_pair(folder.path(), "a", &["localhost"], 30);
        let tls = TlsSection {
            certificates: vec![files.clone()],
            client_ca: None,
            min_version: TlsVersion::Tls12,
            acme: None,
        };
        let settings =
            EdgeSettings::build(&server, is_tls.then_some(&tls), &[], &Arc::default()).unwrap();
        Self::run(settings, is_tls.then(|| connector(&files)))
    }

    /// Starts an edge with these certificates. With `client_ca`, clients must present a certificate of that authority.
    pub(super) async fn with_certificates(
        certificates: Vec<CertificateFiles>,
        client_ca: Option<PathBuf>,
    ) -> Self {
        let tls = TlsSection {
            certificates,
            client_ca: client_ca.map(|path| (path, TextSpan::default())),
            min_version: TlsVersion::Tls12,
            acme: None,
        };
        Self::run(
            EdgeSettings::build(&server(), Some(&tls), &[], &Arc::default()).unwrap(),
            None,
        )
    }

    /// Starts an edge with this version of TLS as the minimum.
    pub(super) async fn with_min_version(min_version: TlsVersion) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = TlsSection {
            certificates: vec![write_pair(folder.path(), "a", &["localhost"], 30)],
            client_ca: None,
            min_version,
            acme: None,
        };
        Self::run(
            EdgeSettings::build(&server(), Some(&tls), &[], &Arc::default()).unwrap(),
            None,
        )
    }

    fn run(settings: EdgeSettings, connector: Option<TlsConnector>) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let observer = move |event| seen.lock().push(format!("{event:?}"));
        let edge = EdgeServer::new(settings, Arc::new(observer));
        let listener = listener::bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
        let serving = Arc::clone(&edge).serve(listener, echo, drain.clone(), abort.clone());
        Self {
            edge,
            address,
            events,
            drain,
            abort,
            served: tokio::spawn(serving),
            connector,
        }
    }

    /// Opens a connection, with TLS where the rig has it.
    pub(super) async fn connect(&self, alpn: &[u8]) -> Box<dyn Wire> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.wrap(stream, alpn).await
    }

    pub(super) async fn wrap(&self, stream: TcpStream, alpn: &[u8]) -> Box<dyn Wire> {
        let Some(connector) = &self.connector else {
            return Box::new(stream);
        };
        let mut config = connector.config().as_ref().clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let name = "localhost".try_into().unwrap();
        Box::new(connector.connect(name, stream).await.unwrap())
    }

    /// Opens a TLS connection to a name with any server certificate, and presents the given client certificate.
    pub(super) async fn connect_unchecked(
        &self,
        name: &str,
        shown: &[CertificateFiles],
    ) -> std::io::Result<Box<dyn Wire>> {
        let stream = self.unchecked(name, shown).await?;
        Ok(Box::new(stream))
    }

    /// Returns the certificate that a client gets for a name.
    pub(super) async fn served_certificate(&self, name: &str) -> Vec<u8> {
        let stream = self.unchecked(name, &[]).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// Returns the certificate for a client with one TLS version and certain signature schemes: those of one type
    /// (`RSA`, `ECDSA`), all but one (`!RSA_PSS`), or all. Returns `None` where the handshake fails.
    pub(super) async fn shown_certificate(
        &self,
        name: &str,
        version: &'static rustls::SupportedProtocolVersion,
        kind: &str,
    ) -> Option<Vec<u8>> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let is_wanted = |scheme: &SignatureScheme| {
            let name = format!("{scheme:?}");
            match kind.strip_prefix('!') {
                Some(unwanted) => !name.starts_with(unwanted),
                None => name.starts_with(kind),
            }
        };
        let algorithms = &mut provider.signature_verification_algorithms;
        let wanted: Vec<_> = algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| is_wanted(scheme))
            .copied()
            .collect();
        algorithms.mapping = Vec::leak(wanted);
        let stream = self.speaking(provider, name, &[version]).await?;
        Some(stream.get_ref().1.peer_certificates()?.first()?.to_vec())
    }

    /// Returns the version that the edge agrees on with a client of these versions.
    pub(super) async fn agreed_version(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Option<rustls::ProtocolVersion> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let stream = self.speaking(provider, "localhost", versions).await?;
        stream.get_ref().1.protocol_version()
    }

    /// Connects as a client with these algorithms and versions. Returns `None` where the handshake fails.
    async fn speaking(
        &self,
        provider: rustls::crypto::CryptoProvider,
        name: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Option<tokio_rustls::client::TlsStream<TcpStream>> {
        let config = trust_any_server(provider, versions).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let name = name.to_owned().try_into().unwrap();
        connector.connect(name, stream).await.ok()
    }

    async fn unchecked(
        &self,
        name: &str,
        shown: &[CertificateFiles],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let builder = trust_any_server(provider, rustls::DEFAULT_VERSIONS);
        let config = match shown.first() {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let key = std::fs::read(&files.key).unwrap();
                let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(&key).unwrap();
                builder
                    .with_client_auth_cert(vec![der(files).into()], key)
                    .unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await?;
        let name = name.to_owned().try_into().unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// Sends bytes, and reads until the edge closes the connection.
    pub(super) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut wire = self.connect(b"http/1.1").await;
        wire.write_all(bytes).await.unwrap();
        read_all(&mut wire).await
    }

    /// Asserts that a valid request still gets its response.
    pub(super) async fn check_alive(&self) {
        let answer = self
            .exchange(
                b"POST /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
            )
            .await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("POST /ok 127.0.0.1 hi"), "{answer}");
    }

    pub(super) fn has_event(&self, begin: &str) -> bool {
        let events = self.events.lock();
        events.iter().any(|event| event.starts_with(begin))
    }
}

/// Reads to the end, or fails after 5 seconds.
pub(super) async fn read_all(wire: &mut Box<dyn Wire>) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), wire.read_to_end(&mut bytes));
    let _ = read.await.expect("the connection stays open");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until the text has arrived, or fails after 5 seconds.
pub(super) async fn read_until(wire: &mut Box<dyn Wire>, end: &str) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&bytes).ends_with(end) {
            let byte = wire.read_u8().await.unwrap();
            bytes.push(byte);
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(5), reading).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(done.is_ok(), "{text:?}");
    text
}

fn connector(files: &CertificateFiles) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(&files.cert).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Reads the certificate in a file, as DER.
pub(super) fn der(files: &CertificateFiles) -> Vec<u8> {
    let pem = std::fs::read(&files.cert).unwrap();
    let parsed = CertificateDer::from_pem_slice(&pem);
    parsed.unwrap().to_vec()
}

async fn echo(request: Request<Incoming>, source: RequestSource) -> HttpResponse {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if path == "/panic" {
        panic!("asked for");
    }
    if path == "/slow" {
        let_time_pass("a slow handler", SLOW).await;
    }
    if path == "/large" {
        return HttpResponse::new(ResponseBody::whole(vec![b'x'; 8 << 20].into()));
    }
    let Ok(body) = request.into_body().collect().await else {
        let mut answer = HttpResponse::new(ResponseBody::empty());
        *answer.status_mut() = http::StatusCode::BAD_REQUEST;
        return answer;
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let text = format!("{method} {path} {} {body}", source.ip);
    HttpResponse::new(ResponseBody::whole(text.into()))
}
