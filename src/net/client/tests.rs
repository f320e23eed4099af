//! `https` upstreams and the connect deadline, over real sockets; everything about exchanges is tested in `forward`.

use http::uri::Authority;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

fn key(authority: &str, is_tls: bool) -> PoolKey {
    PoolKey {
        is_tls,
        authority: authority.parse::<Authority>().unwrap(),
        connect_timeout: Duration::from_millis(300),
        timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(4),
        own_tls: None,
        is_external: false,
    }
}

fn request() -> Request<Full<Bytes>> {
    Request::post("/")
        .header("host", "app.test")
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap()
}

/// A TLS upstream on `localhost`, and the roots that trust it.
async fn tls_upstream() -> (u16, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let private = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], private.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    (port, roots)
}

#[tokio::test]
async fn an_https_upstream_is_verified_and_its_connection_used_again() {
    let (port, roots) = tls_upstream().await;
    let client = OutgoingClient::with_roots(roots);
    let pool = client
        .pool(key(&format!("localhost:{port}"), true))
        .unwrap();
    let mut lease = pool.connect().await.unwrap();
    for _ in 0..3 {
        let response = lease.exchange(request()).await.unwrap();
        assert_eq!(response.status(), 204);
        poll_fn(|context| {
            lease.drive(context);
            Poll::Ready(())
        })
        .await;
        let mut finished = Some(lease);
        poll_fn(|context| {
            if let Some(lease) = finished.take() {
                lease.finish(context);
            }
            Poll::Ready(())
        })
        .await;
        lease = pool.idle().unwrap();
    }
    assert_eq!(client.open_connections(), 1);
}

// Mutation: a `ServerCertVerifier` that accepts everything.
#[tokio::test]
async fn a_certificate_for_another_name_or_of_an_unknown_authority_is_refused() {
    let (port, roots) = tls_upstream().await;
    let (_, other_roots) = tls_upstream().await;
    for (host, roots) in [("127.0.0.1", roots), ("localhost", other_roots)] {
        let client = OutgoingClient::with_roots(roots);
        let pool = client.pool(key(&format!("{host}:{port}"), true)).unwrap();
        let refused = pool.connect().await.err().unwrap();
        assert!(matches!(refused, ConnectError::Tls(_)), "{host}");
        assert_eq!(client.open_connections(), 0);
    }
}

// Mutation: remove `timeout_at` around the TLS handshake.
#[tokio::test]
async fn a_silent_handshake_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = OutgoingClient::with_roots(rustls::RootCertStore::empty());
    let pool = client
        .pool(key(&format!("localhost:{port}"), true))
        .unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(3), pool.connect()).await;
    assert!(matches!(refused.unwrap(), Err(ConnectError::Timeout)));
}

#[tokio::test]
async fn no_more_than_the_maximum_is_kept_idle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut streams = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            streams.push(stream);
        }
    });
    let client = OutgoingClient::new();
    let pool = client
        .pool(key(&format!("127.0.0.1:{port}"), false))
        .unwrap();
    for _ in 0..=MAX_IDLE {
        let lease = pool.connect().await.unwrap();
        pool.put_back(lease.connection);
    }
    assert_eq!(client.idle_connections(), MAX_IDLE);
}
