//! Names that point to internal addresses, with a name server on loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use super::*;
use crate::net::app_url::{AppOrigin, AppUrl};
use crate::net::client::{ClientError, ConnectError, OutgoingClient, PoolKey, PoolLimits};
use crate::net::testing::NameServer;
use crate::test_rig::silent_listener;

/// A public address at which nothing responds here. Addresses of TEST-NET would be rejected as special.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);

fn key(authority: &str) -> PoolKey {
    PoolKey {
        origin: AppOrigin::Host {
            is_tls: true,
            authority: authority.parse().unwrap(),
        },
        connect_timeout: Duration::from_millis(1500),
        timeout: Duration::from_secs(1),
        keep: PoolLimits::idle(Duration::from_secs(1)),
        own_tls: None,
        is_external: true,
        proxy: None,
    }
}

async fn connect(resolver: EgressResolver, authority: &str) -> ConnectError {
    let client = OutgoingClient::with_resolver(Some(rustls::RootCertStore::empty()), resolver);
    let pool = client.pool(key(authority)).unwrap();
    pool.connect().await.err().unwrap()
}

/// An internal service, to see whether the gate connects to it.
fn inside() -> (TcpListener, u16) {
    let (listener, address) = silent_listener();
    listener.set_nonblocking(true).unwrap();
    (listener, address.port())
}

/// Returns whether a connection was made. `connect` has returned, so the kernel has a connection in its queue by now.
fn is_called(listener: &TcpListener) -> bool {
    listener.accept().is_ok()
}

// Mutation: remove the check of `resolver.allows` from `Origin::addresses`, and `check_peer`.
#[tokio::test]
async fn a_name_that_leads_inside_is_refused() {
    for inner in [
        [127, 0, 0, 1],
        [10, 1, 2, 3],
        [172, 16, 0, 1],
        [192, 168, 1, 1],
        [169, 254, 169, 254],
        [100, 64, 0, 1],
        [0, 0, 0, 0],
    ] {
        let (listener, port) = inside();
        let server = NameServer::start(move |_| vec![inner.into()]).await;
        let resolver = EgressResolver::at(server.address);
        let error = connect(resolver, &format!("hooks.example:{port}")).await;
        assert!(
            matches!(error, ConnectError::Special(_)),
            "{inner:?}: {error:?}"
        );
        assert!(!is_called(&listener));
    }
}

// Mutation: resolve once, keep the verdict, and connect by name. The second look-up finds another address, which is
// checked too.
#[tokio::test]
async fn a_name_that_rebinds_is_refused_when_it_leads_inside() {
    let (listener, port) = inside();
    let server = NameServer::start(|number| match number {
        0 => vec![PUBLIC],
        _ => vec![Ipv4Addr::LOCALHOST],
    })
    .await;
    let resolver = EgressResolver::at(server.address);
    let authority = format!("rebind.example:{port}");
    let first = connect(resolver.clone(), &authority).await;
    // The public address may be unreachable from here; what matters is that it was the one tried.
    assert!(!matches!(first, ConnectError::Special(_)), "{first:?}");
    assert_eq!(server.asked(), 1, "one look-up for one connection");
    let second = connect(resolver, &authority).await;
    assert!(matches!(second, ConnectError::Special(_)), "{second:?}");
    assert_eq!(server.asked(), 2);
    assert!(!is_called(&listener));
}

// Mutation: check the first address only.
#[tokio::test]
async fn one_internal_address_among_public_ones_is_rejected() {
    let (listener, port) = inside();
    for mixed in [
        vec![PUBLIC, Ipv4Addr::LOCALHOST],
        vec![Ipv4Addr::LOCALHOST, PUBLIC],
    ] {
        let server = NameServer::start(move |_| mixed.clone()).await;
        let resolver = EgressResolver::at(server.address);
        let error = connect(resolver, &format!("mixed.example:{port}")).await;
        assert!(matches!(error, ConnectError::Special(ip) if ip.is_loopback()));
    }
    assert!(!is_called(&listener));
}

// Mutation: check names only.
#[tokio::test]
async fn a_literal_address_is_checked_too() {
    let (listener, port) = inside();
    let server = NameServer::start(|_| vec![PUBLIC]).await;
    for literal in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ] {
        let resolver = EgressResolver::at(server.address);
        let error = connect(resolver, &format!("{literal}:{port}")).await;
        assert!(
            matches!(error, ConnectError::Special(_)),
            "{literal}: {error:?}"
        );
    }
    // The system's resolver would read these as addresses. Here they are names that do not exist, or not even names.
    for odd in ["0x7f000001", "2130706433", "127.1", "0177.0.0.1"] {
        let empty = NameServer::start(|_| Vec::new()).await;
        let client = OutgoingClient::with_resolver(
            Some(rustls::RootCertStore::empty()),
            EgressResolver::at(empty.address),
        );
        if let Ok(pool) = client.pool(key(&format!("{odd}:{port}"))) {
            let error = pool.connect().await.err().unwrap();
            assert!(matches!(error, ConnectError::Lookup(_)), "{odd}: {error:?}");
        }
    }
    assert_eq!(server.asked(), 0);
    assert!(!is_called(&listener));
}

#[tokio::test]
async fn a_name_without_an_address_has_its_own_message() {
    let server = NameServer::start(|_| Vec::new()).await;
    let error = connect(EgressResolver::at(server.address), "nothing.example:443").await;
    let expected =
        "the host name cannot be resolved: the name does not exist in DNS, or has no address";
    assert_eq!(crate::model::error::chain(&error), expected);
}

#[test]
fn hosts_on_the_internet_need_tls() {
    let client = OutgoingClient::with_resolver(None, EgressResolver::default());
    let host = AppOrigin::Host {
        is_tls: false,
        authority: "hooks.example:80".parse().unwrap(),
    };
    // A Unix socket is not on the internet; the config rejects it earlier.
    let socket = AppUrl::parse_socket("/run/app.sock").unwrap();
    for origin in [host, socket.origin().clone()] {
        let plain = PoolKey {
            origin,
            ..key("hooks.example:80")
        };
        assert!(matches!(client.pool(plain).err(), Some(ClientError::Plain)));
    }
}
