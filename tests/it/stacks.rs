//! Tests of IPv4 and IPv6 on one port.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::harness::app::{App, ok};
use crate::harness::client::Client;
use crate::harness::gate::Gate;
use crate::harness::sender::{Provider, Sender};

/// Returns a port that is free on both, or `None` if the machine has no IPv6.
fn free_port() -> Option<u16> {
    let both = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok()?;
    Some(both.local_addr().ok()?.port())
}

/// Starts a gate on these addresses; `PORT` is replaced by a free port.
async fn gate(app: &App, listen: &str) -> Option<(Gate, u16)> {
    let port = free_port()?;
    let route = Provider::Github.route("hook", &app.url("/in"), "dedup = false");
    let listen = listen.replace("PORT", &port.to_string());
    let text = format!("[server]\nlisten = [{listen}]\n\n{route}");
    Some((Gate::start(&text).await, port))
}

async fn is_served(gate: &Gate, address: SocketAddr) -> bool {
    let client: Client = gate.client().at(address);
    let hook = Sender::new(Provider::Github).event("/hook");
    client
        .try_send(&hook)
        .await
        .is_ok_and(|reply| reply.status == 200)
}

/// Fails when the IPv6 listener takes IPv4 next to an IPv4 listener (whose address is then in use), or takes no IPv4
/// when it is alone.
#[tokio::test]
async fn ipv4_and_ipv6_listen_on_one_port() {
    let app = App::start(ok());
    for listen in [
        "\"0.0.0.0:PORT\", \"[::]:PORT\"",
        "\"[::]:PORT\", \"0.0.0.0:PORT\"",
        "\"[::]:PORT\", \"127.0.0.1:PORT\"",
        "\"[::]:PORT\"",
    ] {
        let Some((gate, port)) = gate(&app, listen).await else {
            eprintln!("no IPv6 here");
            return;
        };
        for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            assert!(
                is_served(&gate, SocketAddr::new(ip, port)).await,
                "{listen}: {ip}"
            );
        }
    }
}
