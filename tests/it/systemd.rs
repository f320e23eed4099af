//! Tests of the gate under systemd, which this file imitates.
//!
//! It holds the listening socket, passes it by LISTEN_FDS, and reads the notifications from NOTIFY_SOCKET.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::app::{App, ok};
use crate::harness::client::Client;
use crate::harness::sender::{Provider, Sender};
use crate::harness::tls::Authority;
use crate::harness::{LIMIT, let_time_pass, signal, wait_for};

/// Time within which systemd expects a ping; the gate pings twice in it.
const WATCHDOG: Duration = Duration::from_millis(800);

/// Service as systemd manages it.
struct Unit {
    listener: TcpListener,
    folder: tempfile::TempDir,
    authority: Authority,
    notices: UnixDatagram,
    child: Option<Child>,
}

impl Unit {
    fn new(route: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.issue(folder.path(), "cert", &["localhost"]);
        let dir = folder.path().display();
        let config = format!(
            "[server]\nshutdown_timeout = \"10s\"\n\n[tls]\ncert = \"{dir}/cert.pem\"\nkey = \"{dir}/cert.key\"\n\n{route}"
        );
        std::fs::write(folder.path().join("hookgate.toml"), config).unwrap();
        let notices = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notices.set_nonblocking(true).unwrap();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            folder,
            authority,
            notices,
            child: None,
        }
    }

    /// Starts the service as systemd does, with the socket as descriptor 3, and waits until it notifies readiness.
    async fn start(&mut self) {
        let socket = OwnedFd::from(self.listener.try_clone().unwrap());
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        // The shell keeps its process id through `exec`, as systemd's child does.
        let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"";
        let child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_hookgate")])
            .args(["run", "--config"])
            .arg(self.folder.path().join("hookgate.toml"))
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        self.wait_for_notice(&["READY=1", "STATUS="]).await;
    }

    /// Stops the service and waits for its end.
    async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        signal(child.id(), "TERM");
        self.wait_for_notice(&["STOPPING=1"]).await;
        wait_for("the end of the gate", LIMIT, || {
            child.try_wait().unwrap().is_some()
        })
        .await;
        assert!(child.wait().unwrap().success());
        // Discard later messages, so that they are not read as those of the next start.
        while self.notice().is_some() {}
    }

    /// Returns the next message, if there is one.
    fn notice(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.notices.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// Reads messages up to one whose lines begin with all of these.
    async fn wait_for_notice(&self, wanted: &[&str]) -> String {
        let mut found = None;
        wait_for(&format!("a message with {wanted:?}"), LIMIT, || {
            while let Some(text) = self.notice() {
                let has = |start: &&str| text.lines().any(|line| line.starts_with(*start));
                if wanted.iter().all(has) {
                    found = Some(text);
                    return true;
                }
            }
            false
        })
        .await;
        found.unwrap()
    }

    fn client(&self) -> Client {
        let address = self.listener.local_addr().unwrap();
        Client::new(address, Some(self.authority.client_config(&["http/1.1"])))
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            eprintln!("log of the gate:\n{}", log.unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn start_reload_watchdog_and_stop_notify_systemd() {
    let app = App::start(ok());
    let mut unit = Unit::new(&Provider::Github.route("hook", &app.url("/in"), ""));
    unit.start().await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(unit.client().send(&hook).await.status, 200);

    unit.wait_for_notice(&["WATCHDOG=1"]).await;
    let pid = unit.child.as_ref().unwrap().id();
    signal(pid, "HUP");
    unit.wait_for_notice(&["RELOADING=1", "MONOTONIC_USEC="])
        .await;
    unit.wait_for_notice(&["READY=1"]).await;

    // A rejected config also ends the reload, and the running one stays in use.
    let path = unit.folder.path().join("hookgate.toml");
    std::fs::write(path, "nonsense = 1").unwrap();
    signal(pid, "HUP");
    unit.wait_for_notice(&["RELOADING=1"]).await;
    unit.wait_for_notice(&["READY=1"]).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(unit.client().send(&hook).await.status, 200);
    unit.wait_for_notice(&["WATCHDOG=1"]).await;
    unit.stop().await;
}

#[tokio::test]
async fn a_stopped_process_pings_no_more() {
    let app = App::start(ok());
    let mut unit = Unit::new(&Provider::Github.route("hook", &app.url("/in"), ""));
    unit.start().await;
    unit.wait_for_notice(&["WATCHDOG=1"]).await;
    let pid = unit.child.as_ref().unwrap().id();
    signal(pid, "STOP");
    while unit.notice().is_some() {}
    let_time_pass("two pings are due", WATCHDOG).await;
    assert_eq!(unit.notice(), None);
    signal(pid, "CONT");
    unit.wait_for_notice(&["WATCHDOG=1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_under_load_lose_no_request() {
    const SENDERS: usize = 8;
    const RESTARTS: usize = 6;
    let app = App::start(ok());
    let mut unit = Unit::new(&Provider::XWebhook.route("hook", &app.url("/in"), ""));
    unit.start().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (client, is_over) = (unit.client(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let id = format!("event-{sender}-{}", outcomes.len());
                    let hook = Sender::new(Provider::XWebhook).event_of("/hook", &id);
                    let outcome = client.try_send(&hook).await;
                    outcomes.push((id, outcome.map(|reply| reply.status)));
                }
                outcomes
            })
        })
        .collect();
    for restart in 1..=RESTARTS {
        let wanted = restart * 40;
        wait_for("some requests", LIMIT, || app.count() >= wanted).await;
        unit.stop().await;
        unit.start().await;
    }
    let wanted = app.count() + 40;
    wait_for("some more requests", LIMIT, || app.count() >= wanted).await;
    is_over.store(true, Ordering::Relaxed);
    let mut count = 0;
    for sender in senders {
        let outcomes = sender.await.unwrap();
        count += outcomes.len();
        let lost: Vec<_> = outcomes
            .iter()
            .filter(|(_, outcome)| *outcome != Ok(200))
            .collect();
        assert!(lost.is_empty(), "lost of {}: {lost:?}", outcomes.len());
    }
    assert_eq!(app.count(), count, "each event reached the app once");
    unit.stop().await;
}

#[tokio::test]
async fn a_socket_that_does_not_listen_is_refused() {
    let unit = Unit::new(&Provider::Github.route("hook", "http://127.0.0.1:9/in", ""));
    let script = "exec 3</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_hookgate")])
        .args(["run", "--config"])
        .arg(unit.folder.path().join("hookgate.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("socket 1 that systemd handed over is not a TCP socket"),
        "{said}"
    );
}
