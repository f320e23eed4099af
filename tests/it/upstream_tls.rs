//! Tests of TLS to upstreams: own CAs, client certificates, another name, and renewed files.

use crate::harness::app::{App, ok};
use crate::harness::gate::{Gate, Options};
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::tls::Authority;
use crate::harness::{LIMIT, poll_for};
use crate::inbox::{QUICK, STORE};

/// An internal network: its authority, and an app that asks for certificates of clients.
struct Network {
    authority: Authority,
    folder: tempfile::TempDir,
    app: App,
}

impl Network {
    fn start() -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        authority.issue(folder.path(), "client", &["gate.test"]);
        let app = App::start_tls(authority.server_config_for_clients(), ok());
        Self {
            authority,
            folder,
            app,
        }
    }

    /// Returns the URL of the app by a host.
    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/in", self.app.address().port())
    }

    /// Returns a gate with the files of the network.
    fn gate(&self, text: &str) -> Options {
        let read = |name: &str| std::fs::read(self.folder.path().join(name)).unwrap();
        Gate::options(text)
            .file("internal-ca.pem", self.authority.pem().as_bytes())
            .file("client.pem", &read("client.pem"))
            .file("client.key", &read("client.key"))
    }
}

const FILES: &str = "ca = \"internal-ca.pem\", cert = \"client.pem\", key = \"client.key\"";

/// Returns a route whose `upstream` is a table.
fn route(url: &str, tls: &str, more: &str) -> String {
    let route = Provider::Github.route("hook", url, more);
    let plain = format!("upstream = \"{url}\"");
    assert!(route.contains(&plain), "{route}");
    route.replace(&plain, &format!("upstream = {{ url = \"{url}\"{tls} }}"))
}

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

/// Fails when the files of `upstream` are not used, or when an app is trusted without them.
#[tokio::test]
async fn an_upstream_has_its_own_authorities_and_a_client_certificate() {
    let network = Network::start();
    let url = network.url("localhost");
    for (tls, expected) in [
        (format!(", tls = {{ {FILES} }}"), 200),
        (", tls = { ca = \"internal-ca.pem\" }".to_owned(), 502),
        (String::new(), 502),
        // The certificate of the app is for `localhost`.
        (
            format!(", tls = {{ {FILES}, server_name = \"app.test\" }}"),
            502,
        ),
    ] {
        let gate = network.gate(&route(&url, &tls, "")).start().await;
        assert_eq!(gate.send(&event()).await.status, expected, "{tls}");
    }
    let by_address = network.url("127.0.0.1");
    let named = format!(", tls = {{ {FILES}, server_name = \"localhost\" }}");
    let gate = network.gate(&route(&by_address, &named, "")).start().await;
    assert_eq!(gate.send(&event()).await.status, 200);
    let host = format!("127.0.0.1:{}", network.app.address().port());
    let last = network.app.requests().pop().unwrap();
    assert_eq!(last.header("host"), Some(host));
}

/// Fails when the first attempt of hybrid mode, a delivery, or another upstream has other TLS settings.
#[tokio::test]
async fn every_mode_uses_the_settings_of_the_upstream() {
    let network = Network::start();
    let url = network.url("localhost");
    let tls = format!(", tls = {{ {FILES} }}");
    for (mode, expected) in [("hybrid", 200), ("queue", 200)] {
        let text = format!(
            "{STORE}{}[routes.hook.destinations.upstream]\n{QUICK}",
            route(&url, &tls, &format!("mode = \"{mode}\"\n"))
        );
        let gate = network.gate(&text).start().await;
        let before = network.app.count();
        assert_eq!(gate.send(&event()).await.status, expected, "{mode}");
        network.app.wait_for_requests(before + 1).await;
    }
    // Another upstream of the route has the same files, unless it names its own.
    let branch = |more: &str| {
        format!(
            "{}[[routes.hook.upstreams]]\nurl = \"{url}\"\nevents = [\"*\"]\n{more}",
            route("http://127.0.0.1:9/", "", "")
        )
    };
    let inherits = branch("").replace(
        "upstream = { url = \"http://127.0.0.1:9/\" }",
        &format!("upstream = {{ url = \"https://127.0.0.1:9/\"{tls} }}"),
    );
    for (text, expected) in [
        (branch(&format!("tls = {{ {FILES} }}\n")), 200),
        (branch(""), 502),
        (inherits, 200),
    ] {
        let gate = network.gate(&text).start().await;
        assert_eq!(gate.send(&event()).await.status, expected, "{text}");
    }
}

/// Fails when changed files are used only after a restart, or when a broken file ends the use of the old ones.
#[tokio::test]
async fn files_are_read_again_on_a_reload() {
    let network = Network::start();
    let tls = format!(", tls = {{ {FILES} }}");
    let text = route(&network.url("localhost"), &tls, "");
    let gate = network.gate(&text).start().await;
    assert_eq!(gate.send(&event()).await.status, 200);
    let write = |name: &str, text: &[u8]| std::fs::write(gate.folder().join(name), text).unwrap();
    write("client.key", b"not a key");
    assert!(!gate.reload_as_it_is().await);
    assert_eq!(gate.send(&event()).await.status, 200);
    // A client certificate of another authority, which the app rejects although a connection is still open.
    let other = tempfile::tempdir().unwrap();
    Authority::new().issue(other.path(), "client", &["gate.test"]);
    for name in ["client.pem", "client.key"] {
        write(name, &std::fs::read(other.path().join(name)).unwrap());
    }
    assert!(gate.reload_as_it_is().await);
    assert_eq!(gate.send(&event()).await.status, 502);
    for name in ["client.pem", "client.key"] {
        write(
            name,
            &std::fs::read(network.folder.path().join(name)).unwrap(),
        );
    }
    // Without a reload, the files are looked at every 10 seconds. The look may come between the two writes, and the one
    // after it finds both.
    poll_for("the new files", LIMIT, async || {
        (gate.send(&event()).await.status == 200).then_some(())
    })
    .await;
    gate.wait_for_line(&["TLS files of apps reloaded"]).await;
}

/// Fails when `max_age` or `reuse` of the config does not reach the pool.
#[tokio::test]
async fn the_lifetime_of_connections_is_configured() {
    for (keys, connections) in [("", 1), (", reuse = false", 3), (", max_age = \"1ms\"", 3)] {
        let app = App::start(ok());
        let gate = Gate::start(&route(&app.url("/in"), keys, "")).await;
        for _ in 0..3 {
            assert_eq!(gate.send(&event()).await.status, 200);
            crate::harness::let_time_pass("max_age", std::time::Duration::from_millis(2)).await;
        }
        assert_eq!(app.connections(), connections, "{keys}");
        let closes = app
            .requests()
            .iter()
            .filter(|each| each.header("connection").as_deref() == Some("close"))
            .count();
        assert_eq!(closes, if keys.contains("reuse") { 3 } else { 0 });
    }
}
