//! A gate with one route and an app, for tests that use sockets in blocking threads.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::app::{App, Recorded, ok};
use super::gate::Gate;
use super::rude::{Wire, signature};
use super::sender::Provider;

/// Holds the gate, the app and the runtime that the gate's harness needs.
pub struct Rig {
    gate: Gate,
    app: App,
    runtime: Runtime,
}

impl Rig {
    /// Starts a gate with the default deadlines.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts a gate with short deadlines; `idle_timeout` is twice as long as the others.
    pub fn start_with_deadlines() -> Self {
        Self::with(
            "handshake_timeout = \"1s\"\nheader_timeout = \"1s\"\nbody_timeout = \"1s\"\nidle_timeout = \"2s\"\n",
        )
    }

    /// Starts a gate with a short `header_timeout` and an `idle_timeout` of a minute.
    pub fn start_patient() -> Self {
        Self::with("header_timeout = \"1s\"\nidle_timeout = \"60s\"\n")
    }

    fn with(server: &str) -> Self {
        let app = App::start(ok());
        // Each test sends the same honest event again and again.
        let route = Provider::Github.route(
            "hook",
            &app.url("/in"),
            "dedup = false\nmax_body = \"1MiB\"",
        );
        let text = format!("[server]\nper_source_rate_limit = false\n{server}\n{route}");
        let runtime = Runtime::new().unwrap();
        let gate = runtime.block_on(Gate::start(&text));
        Self { gate, app, runtime }
    }

    pub fn address(&self) -> SocketAddr {
        self.gate.address()
    }

    /// Counts the requests that reached the app.
    pub fn upstream_count(&self) -> usize {
        self.app.count()
    }

    /// Returns the requests that reached the app.
    pub fn upstream_requests(&self) -> Vec<Recorded> {
        self.app.requests()
    }

    /// Counts the closed connections with this reason in the metrics.
    pub fn cut_for(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        let labels = [label.as_str()];
        let metric = self.gate.metric("hookgate_connections_cut_total", &labels);
        self.runtime.block_on(metric)
    }

    pub fn resident_kib(&self) -> u64 {
        self.gate.resident_kib()
    }

    /// Asserts that an honest sender on a new connection is served.
    pub fn check_honest(&self) {
        let signature = signature(b"{}");
        let mut wire = Wire::connect(self.address(), b"http/1.1");
        let request = format!(
            "POST /hook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: honest\r\nX-Hub-Signature-256: {signature}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        wire.send(request.as_bytes()).unwrap();
        let ending = wire.read_to_end(Duration::from_secs(5));
        assert_eq!(ending.statuses(), [200], "{}", ending.text());
    }
}
