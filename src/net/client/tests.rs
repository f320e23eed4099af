//! `https` upstreams and the connect deadline, over real sockets; everything about exchanges is tested in `forward`.

use http::uri::Authority;

use super::*;
use crate::test_rig::app::{App, Behavior, respond};
use crate::test_rig::silent_listener;
use crate::test_rig::tls::Authority as TestAuthority;

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

#[tokio::test]
async fn an_https_upstream_is_verified_and_its_connection_used_again() {
    let trusted = TestAuthority::new();
    let app = App::start_tls(trusted.server_config(), respond(204, ""));
    let port = app.address().port();
    let client = OutgoingClient::with_roots(trusted.roots());
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
    let trusted = TestAuthority::new();
    let app = App::start_tls(trusted.server_config(), respond(204, ""));
    let port = app.address().port();
    let other_roots = TestAuthority::new().roots();
    for (host, roots) in [("127.0.0.1", trusted.roots()), ("localhost", other_roots)] {
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
    let (_listener, address) = silent_listener();
    let client = OutgoingClient::with_roots(rustls::RootCertStore::empty());
    let pool = client
        .pool(key(&format!("localhost:{}", address.port()), true))
        .unwrap();
    let refused = tokio::time::timeout(Duration::from_secs(3), pool.connect()).await;
    assert!(matches!(refused.unwrap(), Err(ConnectError::Timeout)));
}

#[tokio::test]
async fn no_more_than_the_maximum_is_kept_idle() {
    let app = App::start(Behavior::Hang);
    let client = OutgoingClient::new();
    let pool = client.pool(key(&app.address().to_string(), false)).unwrap();
    for _ in 0..=MAX_IDLE {
        let lease = pool.connect().await.unwrap();
        pool.put_back(lease.connection);
    }
    assert_eq!(client.idle_connections(), MAX_IDLE);
}
