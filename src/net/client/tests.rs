//! `https` upstreams, Unix sockets, the lifetime of connections and the connect deadline, over real sockets; everything
//! about exchanges is tested in `forward`.

use std::os::unix::net::UnixListener;
use std::path::Path;

use http::uri::Authority;

use super::*;
use crate::net::app_url::AppUrl;
use crate::test_rig::app::{App, Behavior, ok, respond};
use crate::test_rig::tls::Authority as TestAuthority;
use crate::test_rig::{LIMIT, silent_listener, wait_for};

fn key(authority: &str, is_tls: bool) -> PoolKey {
    PoolKey {
        origin: AppOrigin::Host {
            is_tls,
            authority: authority.parse::<Authority>().unwrap(),
        },
        connect_timeout: Duration::from_millis(300),
        timeout: Duration::from_secs(2),
        keep: PoolLimits::idle(Duration::from_secs(4)),
        own_tls: None,
        is_external: false,
        proxy: None,
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

/// Sends one request as `dispatch` does: on an idle connection, or on a new one.
async fn exchange(pool: &Arc<ConnectionPool>) -> u16 {
    let mut lease = match pool.idle() {
        Some(lease) => lease,
        None => pool.connect().await.unwrap(),
    };
    let (head, body) = lease.exchange(request()).await.unwrap().into_parts();
    lease.drain(body, 0, 1024).await;
    head.status.as_u16()
}

fn socket_key(path: &str) -> PoolKey {
    PoolKey {
        origin: AppUrl::parse_socket(path).unwrap().origin().clone(),
        ..key("app.test", false)
    }
}

#[tokio::test]
async fn a_unix_socket_is_an_upstream_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock").display().to_string();
    let name = format!("@hookgate-{}", std::process::id());
    for name in [path.as_str(), &name] {
        let app = App::start_socket(Path::new(name), ok());
        let client = OutgoingClient::new();
        let pool = client.pool(socket_key(name)).unwrap();
        for _ in 0..3 {
            assert_eq!(exchange(&pool).await, 200);
        }
        assert_eq!((app.count(), app.connections()), (3, 1), "{name}");
    }
}

// Mutation: leave `NotFound` out of `ConnectError::is_refused`.
#[tokio::test]
async fn a_socket_without_an_app_counts_as_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let client = OutgoingClient::new();
    let pool = client.pool(socket_key(path.to_str().unwrap())).unwrap();
    let absent = pool.connect().await.err().unwrap();
    assert!(absent.is_refused(), "{absent:?}");
    // The file stays behind when an app ends without removing it.
    drop(UnixListener::bind(&path).unwrap());
    let stale = pool.connect().await.err().unwrap();
    assert!(stale.is_refused(), "{stale:?}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let file = pool.connect().await.err().unwrap();
    assert!(matches!(file, ConnectError::Socket(_)), "{file:?}");
}

// Mutation: return `WouldBlock` as an error from `connect_socket`.
#[tokio::test]
async fn a_full_queue_of_a_socket_delays_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    socket.listen(0).unwrap();
    let key = PoolKey {
        connect_timeout: LIMIT,
        ..socket_key(path.to_str().unwrap())
    };
    let client = OutgoingClient::new();
    let pool = client.pool(key).unwrap();
    let _first = pool.connect().await.unwrap();
    let connecting = tokio::spawn(async move { pool.connect().await.is_ok() });
    // The pool with the usual deadline shows that the queue is full by now.
    let hasty = client.pool(socket_key(path.to_str().unwrap())).unwrap();
    assert!(matches!(hasty.connect().await, Err(ConnectError::Timeout)));
    assert!(!connecting.is_finished());
    let accepted = socket.accept().unwrap();
    assert!(connecting.await.unwrap());
    drop(accepted);
}

// Mutation: return true from `is_usable`.
#[tokio::test]
async fn a_connection_of_the_maximum_age_takes_no_further_request() {
    let app = App::start(ok());
    let client = OutgoingClient::new();
    let mut aging = key(&app.address().to_string(), false);
    aging.keep.max_age = Some(Duration::from_millis(300));
    let pool = client.pool(aging).unwrap();
    // Never idle for longer than the pause of a poll, so that only the age can close the connection.
    crate::test_rig::poll_for("a second connection", LIMIT, async || {
        assert_eq!(exchange(&pool).await, 200);
        (app.connections() > 1).then_some(())
    })
    .await;
    let requests = app.requests();
    let first = requests.iter().filter(|each| each.connection == 0).count();
    assert!(first > 1, "the first connection took {first} requests");
    // An aged connection that nobody uses is closed, too, before its idle timeout.
    wait_for("the end of idle connections", LIMIT, || {
        client.open_connections() == 0
    })
    .await;
}

// Mutation: leave out the header in `exchange`, or the condition in `put_back`.
#[tokio::test]
async fn without_reuse_each_request_has_its_own_connection() {
    let app = App::start(ok());
    let client = OutgoingClient::new();
    let mut single = key(&app.address().to_string(), false);
    single.keep.reuse = false;
    let pool = client.pool(single).unwrap();
    for _ in 0..3 {
        assert_eq!(exchange(&pool).await, 200);
    }
    assert_eq!(app.connections(), 3);
    for request in app.requests() {
        assert_eq!(request.header("connection").as_deref(), Some("close"));
    }
    assert_eq!(client.open_connections(), 0);
}

fn tls_files(folder: &Path) -> TlsFiles {
    TlsFiles {
        ca: Some(folder.join("ca.pem")),
        client: Some((folder.join("client.pem"), folder.join("client.key"))),
        server_name: None,
    }
}

// Mutation: leave out `tls_generation` from `is_usable`, or the store in `renew`.
#[tokio::test]
async fn renewed_tls_files_apply_to_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (old, new) = (TestAuthority::new(), TestAuthority::new());
    let write = |authority: &TestAuthority| {
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        authority.issue(folder, "client", &["client.test"]);
    };
    write(&old);
    let app = App::start_tls(old.server_config_for_clients(), ok());
    let client = OutgoingClient::with_roots(rustls::RootCertStore::empty());
    let own = client.own_tls(&tls_files(folder)).unwrap();
    // The same files give the same settings, so that routes share connections.
    assert_eq!(own, client.own_tls(&tls_files(folder)).unwrap());
    let mut with_files = key(&format!("localhost:{}", app.address().port()), true);
    with_files.connect_timeout = LIMIT;
    with_files.own_tls = Some(own);
    let pool = client.pool(with_files).unwrap();
    for _ in 0..2 {
        assert_eq!(exchange(&pool).await, 200);
    }
    assert_eq!(app.connections(), 1);
    assert_eq!(client.renew_tls().0, 0);
    // A half-written file keeps the settings, and is reported once.
    std::fs::write(folder.join("client.key"), "-----BEGIN").unwrap();
    let (changed, failures) = client.renew_tls();
    assert_eq!((changed, failures.len()), (0, 1));
    assert_eq!(client.renew_tls().1.len(), 0);
    assert_eq!(exchange(&pool).await, 200);
    assert_eq!(app.connections(), 1);
    // With the files of another authority the app is not trusted any more, although a connection is still open.
    write(&new);
    assert_eq!(client.renew_tls().0, 1);
    assert!(pool.idle().is_none());
    let refused = pool.connect().await.err().unwrap();
    assert!(matches!(refused, ConnectError::Tls(_)), "{refused:?}");
    write(&old);
    assert_eq!(client.renew_tls().0, 1);
    assert_eq!(exchange(&pool).await, 200);
}

#[tokio::test]
async fn another_name_than_that_of_the_url_can_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let authority = TestAuthority::new();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let app = App::start_tls(authority.server_config(), ok());
    let client = OutgoingClient::with_roots(rustls::RootCertStore::empty());
    for (name, is_right) in [("localhost", true), ("app.test", false)] {
        let files = TlsFiles {
            ca: Some(folder.path().join("ca.pem")),
            client: None,
            server_name: Some(name.try_into().unwrap()),
        };
        // The certificate is for `localhost` only, and the URL has the address.
        let mut with_files = key(&app.address().to_string(), true);
        with_files.connect_timeout = LIMIT;
        with_files.own_tls = Some(client.own_tls(&files).unwrap());
        let connected = client.pool(with_files).unwrap().connect().await;
        assert_eq!(connected.is_ok(), is_right, "{name}");
    }
}

mod proxied {
    //! Connections through a proxy, with a name server and a proxy on loopback.

    use std::net::IpAddr;

    use hookgate_verify::model::secret::Secret;
    use hookgate_verify::net::special_addresses::is_public;

    use super::*;
    use crate::net::egress_proxy::ProxyResolve;
    use crate::net::testing::NameServer;
    use crate::test_rig::proxy::ConnectProxy;

    /// A host with a certificate for `localhost`, behind a proxy that knows some names for it.
    struct Network {
        app: App,
        proxy: ConnectProxy,
        authority: TestAuthority,
        names: NameServer,
        _folder: tempfile::TempDir,
        files: TlsFiles,
    }

    impl Network {
        /// Starts a network in which every name has the address 8.8.8.8.
        async fn start() -> Self {
            let authority = TestAuthority::new();
            let app = App::start_tls(authority.server_config(), ok());
            let folder = tempfile::tempdir().unwrap();
            let ca = folder.path().join("ca.pem");
            std::fs::write(&ca, authority.pem()).unwrap();
            let at = app.address();
            let proxy = ConnectProxy::start(&[
                ("hooks.test:443", at),
                ("8.8.8.8:443", at),
                ("localhost:443", at),
                ("127.0.0.1:443", at),
                ("0x7f.1:443", at),
            ]);
            Self {
                app,
                proxy,
                authority,
                names: NameServer::start(|_| vec![[8, 8, 8, 8].into()]).await,
                _folder: folder,
                files: TlsFiles {
                    ca: Some(ca),
                    client: None,
                    // The host has one certificate for all names.
                    server_name: Some("localhost".try_into().unwrap()),
                },
            }
        }

        fn pool(&self, host: &str, resolve: ProxyResolve, external: bool) -> Arc<ConnectionPool> {
            let resolver = EgressResolver::lenient(self.names.address, is_public);
            let client = OutgoingClient::with_resolver(Some(self.authority.roots()), resolver);
            let password = Secret::new(b"sesame".to_vec());
            let proxy = EgressProxy::new(
                self.proxy.address().to_string().parse().unwrap(),
                Some(("gate", &password)),
                resolve,
            );
            let key = PoolKey {
                connect_timeout: LIMIT,
                own_tls: Some(client.own_tls(&self.files).unwrap()),
                is_external: external,
                proxy: Some(Arc::new(proxy)),
                ..key(host, true)
            };
            client.pool(key).unwrap()
        }
    }

    fn target(head: &str) -> &str {
        head.split(' ').nth(1).unwrap()
    }

    // Mutation: hand the name over in both modes, or leave out the credentials.
    #[tokio::test]
    async fn the_proxy_is_asked_for_a_checked_address_or_for_the_name() {
        let network = Network::start().await;
        for (resolve, external, expected) in [
            (ProxyResolve::Local, true, "8.8.8.8:443"),
            (ProxyResolve::Proxy, true, "hooks.test:443"),
            // The operator chose this host, so the proxy may resolve it.
            (ProxyResolve::Local, false, "hooks.test:443"),
        ] {
            let pool = network.pool("hooks.test", resolve, external);
            for _ in 0..2 {
                assert_eq!(exchange(&pool).await, 200);
            }
            let asked = network.proxy.asked();
            let last = asked.last().unwrap();
            assert_eq!(target(last), expected);
            assert!(last.contains(&format!("Host: {expected}\r\n")), "{last}");
            // `gate:sesame` in base64.
            let credentials = "Proxy-Authorization: Basic Z2F0ZTpzZXNhbWU=\r\n";
            assert!(last.contains(credentials), "{last}");
        }
        // One tunnel for both requests of each pool.
        assert_eq!(network.proxy.asked().len(), 3);
        let requests = network.app.requests();
        assert_eq!(requests.len(), 6);
        assert!(
            requests
                .iter()
                .all(|each| each.headers("proxy-authorization").is_empty())
        );
    }

    // Mutation: return `Ok` from `check_name`, or skip `checked_addresses`.
    #[tokio::test]
    async fn special_addresses_are_refused_before_the_proxy_is_asked() {
        let network = Network::start().await;
        for resolve in [ProxyResolve::Local, ProxyResolve::Proxy] {
            for host in ["127.0.0.1", "10.1.2.3", "[::1]"] {
                let pool = network.pool(host, resolve, true);
                let error = pool.connect().await.err().unwrap();
                assert!(
                    matches!(error, ConnectError::Special(_)),
                    "{host}: {error:?}"
                );
            }
        }
        for host in ["localhost", "a.localhost.", "0x7f.1", "2130706433"] {
            let pool = network.pool(host, ProxyResolve::Proxy, true);
            let error = pool.connect().await.err().unwrap();
            assert!(
                matches!(error, ConnectError::Special(_)),
                "{host}: {error:?}"
            );
        }
        for (host, external) in [
            ("metadata.google.internal", true),
            ("metadata.google.internal", false),
            ("169.254.169.254", false),
        ] {
            let pool = network.pool(host, ProxyResolve::Proxy, external);
            let error = pool.connect().await.err().unwrap();
            assert!(
                matches!(error, ConnectError::Forbidden),
                "{host}: {error:?}"
            );
        }
        assert_eq!(network.proxy.asked(), Vec::<String>::new());
        // A name that leads inside is found out where this gate resolves it.
        let names = NameServer::start(|_| vec![[10, 0, 0, 1].into()]).await;
        let inside = Network { names, ..network };
        let pool = inside.pool("hooks.test", ProxyResolve::Local, true);
        let error = pool.connect().await.err().unwrap();
        let inner: IpAddr = [10, 0, 0, 1].into();
        assert!(matches!(error, ConnectError::Special(ip) if ip == inner));
        assert_eq!(inside.proxy.asked(), Vec::<String>::new());
    }

    // Mutation: accept every status, or bytes behind the head of the proxy's response.
    #[tokio::test]
    async fn only_a_tunnel_is_a_success() {
        let network = Network::start().await;
        let pool = network.pool("hooks.test", ProxyResolve::Proxy, true);
        let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(9000));
        for (response, expected) in [
            (
                "HTTP/1.1 403 Forbidden\r\n\r\n",
                "its rules do not allow this host or port",
            ),
            (
                "HTTP/1.1 407 No\r\n\r\n",
                "it requires `user` and `password`",
            ),
            (
                "HTTP/1.1 401 No\r\n\r\n",
                "it requires `user` and `password`",
            ),
            ("HTTP/1.0 503 No\r\n\r\n", "it cannot reach the host"),
            (
                "HTTP/1.1 100 Continue\r\n\r\n",
                "opened no tunnel: status 100",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nmore", "is not HTTP"),
            ("HTTP/1.1 200", "cannot connect to the egress proxy"),
            ("SSH-2.0-x\r\n\r\n", "is not HTTP"),
            (&huge, "is not HTTP"),
        ] {
            network.proxy.refuse(Some(response));
            let error = pool.connect().await.err().unwrap();
            let error = crate::model::error::chain(&error);
            assert!(error.contains(expected), "{response}: {error}");
        }
        network.proxy.refuse(None);
        assert_eq!(exchange(&pool).await, 200);
    }
}
