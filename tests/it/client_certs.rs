//! Tests of client certificates that routes demand: authorities, names, revocation, resumption, and HTTP/2.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber,
};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::app::{App, ok};
use crate::harness::client::Client;
use crate::harness::gate::Gate;
use crate::harness::sender::{Provider, Sender};
use crate::harness::{LIMIT, poll_for};

const TOKEN: &str = "zQ4v9Jm2Lr7Xw1Bt";

/// An authority for clients, with its revocation list.
struct ClientAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl ClientAuthority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Writes a client's certificate as `NAME.pem` and `NAME.key`.
    fn issue(
        &self,
        folder: &Path,
        name: &str,
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let dns = format!("{name}.sender.example");
        let mut params = CertificateParams::new(vec![dns]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), leaf.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Returns a revocation list in PEM that names these serial numbers and ends in this year.
    fn crl(&self, revoked: &[u64], until_year: i32) -> String {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(until_year, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: rcgen::date_time_ymd(2020, 1, 2),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        params.signed_by(issuer).unwrap().pem().unwrap()
    }
}

/// Returns the TLS of a client with this certificate.
fn tls_as(gate: &Gate, folder: &Path, name: &str, alpn: &str) -> Arc<ClientConfig> {
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let chain = vec![CertificateDer::from_pem_file(path("pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(path("key")).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(gate.authority().roots())
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

struct Rig {
    app: App,
    gate: Gate,
    authority: ClientAuthority,
    folder: tempfile::TempDir,
}

/// A gate with the route `plain`, and `bank`, which demands a certificate with these further keys.
async fn rig(more: &str, crl: Option<&dyn Fn(&ClientAuthority) -> String>) -> Rig {
    let app = App::start(ok());
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (
        ClientAuthority::new("bank ca"),
        ClientAuthority::new("other ca"),
    );
    authority.issue(folder.path(), "good", 1, |_| {});
    authority.issue(folder.path(), "revoked", 2, |_| {});
    authority.issue(folder.path(), "visitor", 3, |_| {});
    authority.issue(folder.path(), "expired", 4, |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    authority.issue(folder.path(), "server", 5, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    other.issue(folder.path(), "stray", 6, |_| {});
    let text = config(&app, more);
    let mut options = Gate::options(&text).file("bank-ca.pem", authority.issuer.pem().as_bytes());
    if let Some(crl) = crl {
        options = options.file("bank.crl", crl(&authority).as_bytes());
    }
    Rig {
        gate: options.start().await,
        app,
        authority,
        folder,
    }
}

fn config(app: &App, more: &str) -> String {
    let plain = Provider::Github.route("plain", &app.url("/plain"), "");
    let bank = Provider::Github.route(
        "bank",
        &app.url("/bank"),
        &format!("host = \"localhost\"\nclient_cert = {{ ca = \"bank-ca.pem\"{more} }}\n"),
    );
    format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n{plain}{bank}")
}

impl Rig {
    fn client(&self, name: &str) -> Client {
        let tls = tls_as(&self.gate, self.folder.path(), name, "http/1.1");
        Client::new(self.gate.address(), Some(tls))
    }

    /// Sends an event to `/bank` with this certificate. Returns the status.
    async fn status(&self, name: &str) -> u16 {
        let hook = Sender::new(Provider::Github).event("/bank");
        self.client(name).send(&hook).await.status
    }

    async fn reason(&self, code: &str) -> Value {
        let line = self.gate.wait_for_line(&[&format!("\"{code}\"")]).await;
        serde_json::from_str(&line).unwrap()
    }
}

/// Fails when a request without a valid certificate reaches the app, when the reason is not the right one, or when the
/// other route is affected.
#[tokio::test]
async fn only_an_admitted_client_reaches_the_route() {
    let rig = rig(
        ", names = [\"good.*\", \"expired.*\", \"server.*\", \"stray.*\"], forward = true",
        None,
    )
    .await;
    assert_eq!(rig.status("good").await, 200);
    let request = rig.app.only_request();
    let subject = request.header("hookgate-client-cert-subject").unwrap();
    assert!(subject.contains("CN=good"), "{subject}");
    let fingerprint = request.header("hookgate-client-cert-fingerprint").unwrap();
    assert_eq!(fingerprint.len(), 64);
    // No certificate at all.
    let hook = Sender::new(Provider::Github).event("/bank");
    let forged = hook.with("Hookgate-Client-Cert-Subject", "CN=good");
    assert_eq!(rig.gate.send(&forged).await.status, 401);
    rig.reason("client-cert-missing").await;
    for (name, code) in [
        ("visitor", "client-cert-not-allowed"),
        ("expired", "client-cert-invalid"),
        ("stray", "client-cert-invalid"),
        ("server", "client-cert-invalid"),
    ] {
        assert_eq!(rig.status(name).await, 401, "{name}");
        rig.reason(code).await;
        // A certificate of any kind does no harm on a route that demands none.
        let hook = Sender::new(Provider::Github).event("/plain");
        assert_eq!(rig.client(name).send(&hook).await.status, 200, "{name}");
    }
    // The signature still counts.
    let forged = Sender::new(Provider::Github)
        .event("/bank")
        .flip_body_byte();
    assert_eq!(rig.client("good").send(&forged).await.status, 401);
    let to_bank = rig.app.requests();
    let to_bank = to_bank.iter().filter(|request| request.target() == "/bank");
    assert_eq!(to_bank.count(), 1);
    // The header of an untrusted client never counts.
    let to_plain = rig.app.requests();
    assert!(to_plain.iter().all(|request| {
        request.target() == "/bank" || request.header("hookgate-client-cert-subject").is_none()
    }));
}

/// Fails when a revoked client passes, when a new list needs a restart, or when an expired list is ignored by default.
#[tokio::test]
async fn revocation_lists_count_and_are_read_again() {
    let rig = rig(
        ", crl = \"bank.crl\"",
        Some(&|authority: &ClientAuthority| authority.crl(&[2], 2999)),
    )
    .await;
    assert_eq!(rig.status("good").await, 200);
    assert_eq!(rig.status("revoked").await, 401);
    rig.reason("client-cert-revoked").await;
    // The list is replaced while a connection is open, whose next request is refused.
    let mut open = rig.client("visitor").connect().await.unwrap();
    let hook = Sender::new(Provider::Github).event("/bank");
    assert_eq!(open.send(&hook).await.status, 200);
    let list = rig.gate.folder().join("bank.crl");
    std::fs::write(&list, rig.authority.crl(&[2, 3], 2999)).unwrap();
    assert!(rig.gate.reload_as_it_is().await);
    let hook = Sender::new(Provider::Github).event("/bank");
    assert_eq!(open.send(&hook).await.status, 401);
    // Without a reload too: the gate looks at the files by itself.
    std::fs::write(&list, rig.authority.crl(&[1, 2, 3], 2999)).unwrap();
    poll_for("the new list", 3 * LIMIT, async || {
        (rig.status("good").await == 401).then_some(())
    })
    .await;
    // A list past its end refuses all, with a status that makes senders retry, and says so.
    std::fs::write(&list, rig.authority.crl(&[2], 2021)).unwrap();
    assert!(rig.gate.reload_as_it_is().await);
    assert_eq!(rig.status("good").await, 503);
    let line = rig.reason("client-cert-unchecked").await;
    assert!(line.to_string().contains("past its end"), "{line}");
    rig.gate
        .wait_for_line(&["a revocation list is past its end"])
        .await;
    let output = rig.gate.hookgate(TOKEN, &["status", "--json"]).await;
    let status = String::from_utf8(output.stdout).unwrap();
    assert!(status.contains("\"revocation_list\""), "{status}");
    // A broken list changes nothing, and is reported.
    std::fs::write(&list, "no list").unwrap();
    rig.gate
        .wait_for_line(&["revocation lists of client certificates rejected"])
        .await;
    assert_eq!(rig.status("revoked").await, 503);
}

/// Fails when `expired_crl = "accept"` refuses a good client, or lets a revoked one pass.
#[tokio::test]
async fn an_expired_list_can_be_accepted() {
    let more = ", crl = \"bank.crl\", expired_crl = \"accept\"";
    let rig = rig(
        more,
        Some(&|authority: &ClientAuthority| authority.crl(&[2], 2021)),
    )
    .await;
    assert_eq!(rig.status("good").await, 200);
    assert_eq!(rig.status("revoked").await, 401);
}

/// Fails when a resumed session passes without the check of its certificate, or when a genuine one is refused.
#[tokio::test]
async fn a_resumed_session_is_checked_like_a_new_one() {
    let rig = rig(
        ", crl = \"bank.crl\"",
        Some(&|authority: &ClientAuthority| authority.crl(&[2], 2999)),
    )
    .await;
    let tls = tls_as(&rig.gate, rig.folder.path(), "visitor", "http/1.1");
    let mut config = (*tls).clone();
    config.resumption = Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    let mut kinds = Vec::new();
    for (revoked, expected) in [(&[2][..], "200"), (&[2], "200"), (&[2, 3], "401")] {
        let list = rig.gate.folder().join("bank.crl");
        if revoked.len() > 1 {
            std::fs::write(&list, rig.authority.crl(&[2, 3], 2999)).unwrap();
            // Only the list is read again: a reload of the config would end all sessions.
            poll_for("the new list", 3 * LIMIT, async || {
                (rig.status("visitor").await == 401).then_some(())
            })
            .await;
        }
        let tcp = tokio::net::TcpStream::connect(rig.gate.address())
            .await
            .unwrap();
        let name = "localhost".to_owned().try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        let mut stream = connector.connect(name, tcp).await.unwrap();
        let hook = Sender::new(Provider::Github).event("/bank");
        stream
            .write_all(&hook.with("Connection", "close").to_http1())
            .await
            .unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        kinds.push(stream.get_ref().1.handshake_kind());
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(&text[9..12], expected, "{text}");
    }
    assert_eq!(kinds[1..], [Some(HandshakeKind::Resumed); 2], "{kinds:?}");
}

/// Fails when an HTTP/2 connection that was opened for one host reaches a route of another host without a certificate, or
/// when clients of hosts without such routes are asked for one.
#[tokio::test]
async fn a_connection_for_another_host_does_not_bypass_the_check() {
    let rig = rig("", None).await;
    let tls = tls_as(&rig.gate, rig.folder.path(), "good", "h2");
    // The name of the handshake is not that of the route, so no certificate is asked for, and none is shown.
    let elsewhere = Client::new(rig.gate.address(), Some(Arc::clone(&tls)))
        .h2()
        .server_name("hooks.example.com");
    let mut connection = elsewhere.connect().await.unwrap();
    let hook = Sender::new(Provider::Github)
        .event("/bank")
        .at_host("localhost");
    assert_eq!(connection.send(&hook).await.status, 401);
    rig.reason("client-cert-missing").await;
    let hook = Sender::new(Provider::Github)
        .event("/plain")
        .at_host("hooks.example.com");
    assert_eq!(connection.send(&hook).await.status, 200);
    let own = Client::new(rig.gate.address(), Some(tls)).h2();
    let mut connection = own.connect().await.unwrap();
    for _ in 0..2 {
        let hook = Sender::new(Provider::Github)
            .event("/bank")
            .at_host("localhost");
        assert_eq!(connection.send(&hook).await.status, 200);
    }
}

/// Fails when a route demands certificates that no handshake can bring, or when a wrong file is found at run time only.
#[tokio::test]
async fn what_cannot_work_is_a_config_error() {
    let app = App::start(ok());
    let authority = ClientAuthority::new("bank ca");
    let (_, log) = Gate::options(&config(&app, ""))
        .file("bank-ca.pem", authority.issuer.pem().as_bytes())
        .plain()
        .start_refused()
        .await;
    assert!(
        log.join("\n").contains("no client can show a certificate"),
        "{log:?}"
    );
    let (_, log) = Gate::options(&config(&app, "")).start_refused().await;
    assert!(log.join("\n").contains("bank-ca.pem"), "{log:?}");
    let (_, log) = Gate::options(&config(&app, ", crl = \"bank-ca.pem\""))
        .file("bank-ca.pem", authority.issuer.pem().as_bytes())
        .start_refused()
        .await;
    assert!(
        log.join("\n").contains("no certificate revocation list"),
        "{log:?}"
    );
}
