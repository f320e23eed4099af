//! Names that lead astray, with a name server of our own on loopback.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;
use crate::net::client::{Client, ClientError, ConnectError, PoolKey};
use crate::net::testing::NameServer;

/// TEST-NET would be refused as special; this is a public address that answers nobody here.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);

fn key(authority: &str) -> PoolKey {
    PoolKey {
        is_tls: true,
        authority: authority.parse().unwrap(),
        connect_timeout: Duration::from_millis(1500),
        timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        own_tls: None,
        is_external: true,
    }
}

async fn connect(resolver: Resolver, authority: &str) -> ConnectError {
    let client = Client::with_resolver(Some(rustls::RootCertStore::empty()), resolver);
    let pool = client.pool(key(authority)).unwrap();
    pool.connect().await.err().unwrap()
}

/// Somebody inside, and whether they were called.
async fn inside() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn is_called(listener: &TcpListener) -> bool {
    let accepted = tokio::time::timeout(Duration::from_millis(100), listener.accept());
    accepted.await.is_ok()
}

// Mutation: leave the check of `resolver.allows` out of `Origin::addresses`, and `check_peer`.
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
        let (listener, port) = inside().await;
        let server = NameServer::start(move |_| vec![inner.into()]).await;
        let resolver = Resolver::at(server.address);
        let error = connect(resolver, &format!("hooks.example:{port}")).await;
        assert!(
            matches!(error, ConnectError::Special(_)),
            "{inner:?}: {error:?}"
        );
        assert!(!is_called(&listener).await);
    }
}

// Mutation: resolve once, keep the verdict, and connect by name. The second look finds another address, and is checked too.
#[tokio::test]
async fn a_name_that_rebinds_is_refused_when_it_leads_inside() {
    let (listener, port) = inside().await;
    let server = NameServer::start(|number| match number {
        0 => vec![PUBLIC],
        _ => vec![Ipv4Addr::LOCALHOST],
    })
    .await;
    let resolver = Resolver::at(server.address);
    let authority = format!("rebind.example:{port}");
    let first = connect(resolver.clone(), &authority).await;
    // Whether the public address can be reached from here or not: it was the one that was tried.
    assert!(!matches!(first, ConnectError::Special(_)), "{first:?}");
    assert_eq!(server.asked(), 1, "one look for one connection");
    let second = connect(resolver, &authority).await;
    assert!(matches!(second, ConnectError::Special(_)), "{second:?}");
    assert_eq!(server.asked(), 2);
    assert!(!is_called(&listener).await);
}

// Mutation: check the first address only.
#[tokio::test]
async fn one_address_inside_among_public_ones_is_one_too_many() {
    let (listener, port) = inside().await;
    for mixed in [
        vec![PUBLIC, Ipv4Addr::LOCALHOST],
        vec![Ipv4Addr::LOCALHOST, PUBLIC],
    ] {
        let server = NameServer::start(move |_| mixed.clone()).await;
        let resolver = Resolver::at(server.address);
        let error = connect(resolver, &format!("mixed.example:{port}")).await;
        assert!(matches!(error, ConnectError::Special(ip) if ip.is_loopback()));
    }
    assert!(!is_called(&listener).await);
}

// Mutation: check names only.
#[tokio::test]
async fn an_address_that_is_written_out_is_checked_too() {
    let (listener, port) = inside().await;
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
        let resolver = Resolver::at(server.address);
        let error = connect(resolver, &format!("{literal}:{port}")).await;
        assert!(
            matches!(error, ConnectError::Special(_)),
            "{literal}: {error:?}"
        );
    }
    // The system's resolver would read these as addresses; here they are names that nobody has, or none at all.
    for odd in ["0x7f000001", "2130706433", "127.1", "0177.0.0.1"] {
        let nobody = NameServer::start(|_| Vec::new()).await;
        let client = Client::with_resolver(
            Some(rustls::RootCertStore::empty()),
            Resolver::at(nobody.address),
        );
        if let Ok(pool) = client.pool(key(&format!("{odd}:{port}"))) {
            let error = pool.connect().await.err().unwrap();
            assert!(matches!(error, ConnectError::Lookup(_)), "{odd}: {error:?}");
        }
    }
    assert_eq!(server.asked(), 0);
    assert!(!is_called(&listener).await);
}

#[tokio::test]
async fn a_name_without_an_address_is_told_so() {
    let server = NameServer::start(|_| Vec::new()).await;
    let error = connect(Resolver::at(server.address), "nothing.example:443").await;
    let expected = "the host's name cannot be resolved: no such name, or one without addresses";
    assert_eq!(crate::model::error::chain(&error), expected);
}

#[test]
fn out_there_everything_is_over_tls() {
    let client = Client::with_resolver(None, Resolver::default());
    let plain = PoolKey {
        is_tls: false,
        ..key("hooks.example:80")
    };
    assert!(matches!(client.pool(plain).err(), Some(ClientError::Plain)));
}
