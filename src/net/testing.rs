//! For tests: TLS and names on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

/// What speaks for `localhost`, and the roots by which clients believe it.
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

/// Servers for `localhost` under an authority of their own, whose certificate is in `ca.pem` of a folder, with
/// `client.pem` and `client.key` of a client under the same authority.
pub(crate) struct Made {
    /// Takes only clients that show a certificate.
    pub(crate) acceptor: TlsAcceptor,
    /// Takes everybody.
    pub(crate) open: TlsAcceptor,
}

/// Makes them.
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

/// A name server on loopback that gives every name the addresses of a function of the number of the question, with no
/// time to live.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    /// Counts questions for IPv4 addresses, from 0; there are no others.
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
                let name_end = 12 + packet[12..size].iter().position(|byte| *byte == 0).unwrap();
                let question = &packet[12..name_end + 5];
                let is_v4 = packet[name_end + 1..name_end + 3] == [0, 1];
                let found = match is_v4 {
                    true => answers(count.fetch_add(1, Ordering::Relaxed)),
                    false => Vec::new(),
                };
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
                    // The name of the question, A, IN, no time, four bytes.
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                    answer.extend(ip.octets());
                }
                let _ = socket.send_to(&answer, peer).await;
            }
        });
        Self { address, asked }
    }

    /// Questions for IPv4 addresses so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}
