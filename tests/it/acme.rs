//! Tests of `[tls.acme]` with the real program against Pebble. They are left out where Pebble is not installed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::app::{App, ok};
use crate::harness::client::Client;
use crate::harness::gate::Gate;
use crate::harness::pebble::{Pebble, PebbleSettings, free_port};
use crate::harness::postgres::{OWNER, TestCluster};
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::tls::trust_any_server;
use crate::harness::{LIMIT, poll_for, wait_for};

const NAME: &str = "hooks.example.com";

/// Time for an order on a busy machine: Pebble alone needs a few seconds.
const ORDER: Duration = Duration::from_secs(60);

fn acme(pebble: &Pebble, more: &str) -> String {
    format!(
        "[tls]\n[tls.acme]\nemail = \"ops@example.com\"\nnames = [\"{NAME}\"]\ndirectory = \"{}\"\nca = \"{}\"\n{more}\n",
        pebble.directory(),
        pebble.api_ca().display(),
    )
}

fn any_server() -> Arc<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    Arc::new(trust_any_server(provider, rustls::ALL_VERSIONS).with_no_client_auth())
}

fn client(address: SocketAddr) -> Client {
    Client::new(address, Some(any_server())).server_name(NAME)
}

async fn wait_until_ready(gate: &Gate) {
    poll_for("a ready gate", ORDER, async || {
        (gate.admin("/readyz").await.0 == 200).then_some(())
    })
    .await;
}

/// Fails when the start waits for the CA, when the state without a certificate is unclear, when `tls-alpn-01` is not
/// answered on the TLS listener, or when a restart loses the certificate.
#[tokio::test]
async fn a_gate_gets_its_first_certificate_by_itself() {
    let port = free_port();
    let settings = PebbleSettings {
        nonce_rejects: 20,
        ..PebbleSettings::new(port, free_port())
    };
    let Some(mut pebble) = Pebble::start(settings) else {
        return;
    };
    pebble.stop();
    let app = App::start(ok());
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:{port}\"]\nstate_dir = \"$DIR/state\"\n{}{route}",
        acme(&pebble, "")
    );
    let mut gate = Gate::start(&config).await;
    let event = Sender::new(Provider::Github).event("/hook");
    assert!(client(gate.address()).try_send(&event).await.is_err());
    gate.wait_for_line(&["a certificate was not obtained", "cannot connect"])
        .await;
    let (status, text) = gate.admin("/readyz").await;
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("no certificate yet: the CA cannot be reached: cannot connect"),
        "{text}"
    );
    let failures = gate.metric("hookgate_certificate_renewal_failures", &[NAME]);
    assert!(failures.await >= 1.0);
    // A restart is the quickest way past the pause, and everything that was stored must survive it.
    pebble.resume();
    std::fs::remove_file(gate.folder().join(format!("state/acme/state-{NAME}.json"))).unwrap();
    gate.restart("TERM").await;
    wait_until_ready(&gate).await;
    let reply = client(gate.address()).send(&event).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (_, text) = gate.admin("/metrics").await;
    assert!(
        text.contains(&format!(
            "hookgate_certificate_not_after_timestamp_seconds{{name=\"{NAME}\"}}"
        )),
        "{text}"
    );
    pebble.stop();
    gate.restart("KILL").await;
    wait_until_ready(&gate).await;
    assert_eq!(
        client(gate.address())
            .send(&Sender::new(Provider::Github).event("/hook"))
            .await
            .status,
        200
    );
    assert_eq!(pebble.issued(), 1);
}

/// Fails when a process that is killed during the check of the CA orders a second certificate after its restart.
#[tokio::test]
async fn a_killed_gate_continues_its_order() {
    let port = free_port();
    let mut settings = PebbleSettings::new(port, free_port());
    settings.environment = vec![("PEBBLE_VA_SLEEPTIME", "3".to_owned())];
    let Some(pebble) = Pebble::start(settings) else {
        return;
    };
    let route = Provider::Github.route("hook", "http://127.0.0.1:1/", "");
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:{port}\"]\nstate_dir = \"$DIR/state\"\n{}{route}",
        acme(&pebble, "")
    );
    let mut gate = Gate::start(&config).await;
    let order = gate.folder().join(format!("state/acme/order-{NAME}.json"));
    wait_for("the stored order", ORDER, || order.exists()).await;
    gate.restart("KILL").await;
    wait_until_ready(&gate).await;
    assert_eq!((pebble.orders(), pebble.issued()), (1, 1));
    gate.wait_for_line(&["an unfinished order is continued"])
        .await;
}

/// Fails when `http-01` is not answered on the listener of `[server.http]`, when that listener serves a route, redirects
/// to a host of an untrusted client, or does not refuse where it should.
#[tokio::test]
async fn the_plain_listener_answers_challenges_and_redirects() {
    let (tls_port, port) = (free_port(), free_port());
    let Some(pebble) = Pebble::start(PebbleSettings::new(free_port(), port)) else {
        return;
    };
    let app = App::start(ok());
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    let config = |otherwise: &str| {
        format!(
            "[server]\nlisten = [\"127.0.0.1:{tls_port}\"]\nstate_dir = \"$DIR/state\"\n[server.http]\nlisten = \
            [\"127.0.0.1:{port}\"]\notherwise = \"{otherwise}\"\n{}{route}",
            acme(&pebble, "challenges = [\"http-01\"]")
        )
    };
    let gate = Gate::start(&config("redirect")).await;
    wait_until_ready(&gate).await;
    assert_eq!(pebble.issued(), 1);
    let http = Client::new(SocketAddr::from(([127, 0, 0, 1], port)), None);
    let event = Sender::new(Provider::Github).event("/hook");
    let reply = http.send(&event.clone().at_host(NAME)).await;
    assert_eq!(reply.status, 308);
    let target = format!("https://{NAME}:{tls_port}/hook");
    assert_eq!(reply.header("location"), Some(target.as_str()));
    let elsewhere = http.send(&event.clone().at_host("evil.example")).await;
    assert_eq!(
        (elsewhere.status, elsewhere.header("location")),
        (403, None)
    );
    let path = "/.well-known/acme-challenge/abc";
    let unknown = http.send(&Hook::bare("GET", path, b"").at_host(NAME)).await;
    assert_eq!((unknown.status, unknown.header("location")), (404, None));
    assert!(gate.reload(&config("refuse")).await);
    let refused = http.send(&event.at_host(NAME)).await;
    assert_eq!((refused.status, refused.header("location")), (403, None));
    assert_eq!(app.count(), 0);
}

/// Sends each connection to the next of these addresses, as a balancer in front of several nodes does.
async fn balance(port: u16, nodes: Vec<SocketAddr>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            let node = nodes[turn % nodes.len()];
            turn += 1;
            tokio::spawn(async move {
                let mut server = TcpStream::connect(node).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}

/// Fails when three nodes order more than one certificate, when a node cannot answer a challenge that another one
/// ordered, when a node does not get the certificate, or when the key is readable in the database.
#[tokio::test]
async fn three_nodes_order_one_certificate() {
    let balanced = free_port();
    let Some(pebble) = Pebble::start(PebbleSettings::new(balanced, free_port())) else {
        return;
    };
    let Some(cluster) = TestCluster::start() else {
        return;
    };
    let app = App::start(ok());
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    let config = |name: &str, acme: &str| {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"$DIR/state\"\n[store]\nurl = \"{}\"\nnode = \
            \"{name}\"\nencryption_key = {{ env = \"KEY\" }}\n{acme}{route}",
            cluster.socket_url(OWNER),
        )
    };
    let start = async |name: &str| {
        let key = "c2l4dGVlbiBieXRlcyBhcmUgbm90IGVub3VnaCwgMzI=";
        Gate::options(&config(name, ""))
            .env("KEY", key)
            .start()
            .await
    };
    let gates = [start("one").await, start("two").await, start("three").await];
    balance(balanced, gates.iter().map(Gate::address).collect()).await;
    // All of them get the names at the same moment.
    let section = acme(&pebble, "");
    let [one, two, three] = ["one", "two", "three"].map(|name| config(name, &section));
    let reloaded = tokio::join!(
        gates[0].reload(&one),
        gates[1].reload(&two),
        gates[2].reload(&three)
    );
    assert_eq!(reloaded, (true, true, true));
    for gate in &gates {
        wait_until_ready(gate).await;
        let event = Sender::new(Provider::Github).event("/hook");
        let reply = client(gate.address()).send(&event).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!((pebble.orders(), pebble.issued()), (1, 1));
    let rows = cluster.sql(
        "hookgate",
        "SELECT count(*) FROM hookgate.certificate_item WHERE kind = 'certificate' AND sealing_key > 0
            AND position('PRIVATE KEY'::bytea IN content) = 0",
    );
    assert_eq!(rows, "1");
    let left = cluster.sql(
        "hookgate",
        "SELECT count(*) FROM hookgate.certificate_item WHERE kind IN ('order', 'challenge')",
    );
    assert_eq!(left, "0");
    // A node that starts while the database is away has a copy.
    let mut gates = gates;
    drop(cluster);
    gates[2].restart("KILL").await;
    poll_for("a handshake without the database", LIMIT, async || {
        client(gates[2].address()).connect().await.ok()
    })
    .await;
}
