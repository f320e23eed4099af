//! Test helpers: TLS servers and a name server on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

/// Returns a TLS server for `localhost`, and the roots that trust it.
pub(crate) fn tls() -> (TlsAcceptor, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let private = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], private.into())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), roots)
}

/// TLS servers for `localhost` under their own authority.
///
/// The folder has its certificate as `ca.pem`, and a client's certificate and key as `client.pem` and `client.key`.
pub(crate) struct Made {
    /// Accepts only clients that present a certificate of the authority.
    pub(crate) acceptor: TlsAcceptor,
    /// Accepts clients without a certificate, too.
    pub(crate) open: TlsAcceptor,
}

/// Creates the authority, its two servers, and the files for a client.
pub(crate) fn tls_with_clients(folder: &Path) -> Made {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let leaf = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = leaf("localhost");
    let (client, client_key) = leaf("client.test");
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("client.pem", client.pem()),
        ("client.key", client_key.serialize_pem()),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    let verifier = verifier.build().unwrap();
    let builder = || {
        rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
    };
    let own = || {
        let private = PrivatePkcs8KeyDer::from(server_key.serialize_der());
        (vec![server.der().clone()], private.into())
    };
    let (chain, key) = own();
    let strict = builder().with_client_cert_verifier(verifier);
    let strict = strict.with_single_cert(chain, key).unwrap();
    let (chain, key) = own();
    let open = builder().with_no_client_auth();
    let open = open.with_single_cert(chain, key).unwrap();
    Made {
        acceptor: TlsAcceptor::from(Arc::new(strict)),
        open: TlsAcceptor::from(Arc::new(open)),
    }
}

/// A name server on loopback. A function of the number of the query gives the addresses for any name, with a TTL of 0.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    /// Starts the server. Only queries for IPv4 addresses are counted, from 0; others get an empty response.
    pub(crate) async fn start(
        answers: impl Fn(usize) -> Vec<Ipv4Addr> + Send + Sync + 'static,
    ) -> Self {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((size, peer)) = socket.recv_from(&mut packet).await {
                // A name ends with an empty label; type and class follow (RFC 1035, section 4.1.2).
                let name_end = 12 + packet[12..size].iter().position(|byte| *byte == 0).unwrap();
                let question = &packet[12..name_end + 5];
                let is_v4 = packet[name_end + 1..name_end + 3] == [0, 1];
                let found = match is_v4 {
                    true => answers(count.fetch_add(1, Ordering::Relaxed)),
                    false => Vec::new(),
                };
                // The query's id, flags of a response, one question, and the number of addresses.
                let mut answer = packet[..2].to_vec();
                answer.extend([
                    0x81,
                    0x80,
                    0,
                    1,
                    0,
                    u8::try_from(found.len()).unwrap(),
                    0,
                    0,
                    0,
                    0,
                ]);
                answer.extend(question);
                for ip in found {
                    // A pointer to the name of the question, A, IN, TTL 0, four bytes.
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                    answer.extend(ip.octets());
                }
                let _ = socket.send_to(&answer, peer).await;
            }
        });
        Self { address, asked }
    }

    /// Returns the number of queries for IPv4 addresses so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}
