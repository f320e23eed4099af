//! Tests of apps on Unix sockets: upstreams in every mode, destinations, restarts, `check` and the test tools.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::harness::app::{App, ok, respond};
use crate::harness::command::{command, end, outcome};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::inbox::{QUICK, STORE, kept};

/// A folder with the path of a socket, which does not exist yet.
struct SocketPath {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl SocketPath {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            path: folder.path().join("app.sock"),
            _folder: folder,
        }
    }

    fn url(&self, target: &str) -> String {
        format!("unix:{}{target}", self.path.display())
    }
}

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

/// Fails when the path of the socket, or its lack of a host, gets into the request.
#[tokio::test]
async fn an_app_on_a_socket_gets_the_same_request() {
    let socket = SocketPath::new();
    let app = App::start_socket(&socket.path, ok());
    for (target, line) in [("", "POST / HTTP/1.1"), (":/in", "POST /in HTTP/1.1")] {
        let route = Provider::Github.route("hook", &socket.url(target), "");
        let gate = Gate::start(&route).await;
        let before = app.connections();
        for _ in 0..3 {
            let hook = event();
            let reply = gate.send(&hook).await;
            assert_eq!((reply.status, reply.text().as_str()), (200, "taken"));
            let got = app.requests().pop().unwrap();
            assert_eq!((got.line().as_str(), &got.body), (line, &hook.body));
            assert_eq!(got.header("host").as_deref(), Some("localhost"));
            assert!(got.header("x-forwarded-host").is_some());
        }
        assert_eq!(
            app.connections(),
            before + 1,
            "the connection is used again"
        );
        let (status, text) = gate.admin("/metrics").await;
        assert_eq!(status, 200);
        assert!(
            text.contains("hookgate_upstream_connections_open 1\n"),
            "{text}"
        );
    }
}

/// Fails when the rest of a path below a prefix is not appended to the path behind the socket.
#[tokio::test]
async fn a_prefix_and_a_query_are_passed_on() {
    let socket = SocketPath::new();
    let app = App::start_socket(&socket.path, ok());
    let route = Provider::Github
        .route("hook", &socket.url(":/in"), "")
        .replace("path = \"/hook\"", "prefix = \"/hook\"");
    let gate = Gate::start(&route).await;
    let hook = Sender::new(Provider::Github).event("/hook/a/b?c=d");
    assert_eq!(gate.send(&hook).await.status, 200);
    assert_eq!(app.only_request().target(), "/in/a/b?c=d");
}

/// Fails when an absent or stale socket is another error than a refused connection.
#[tokio::test]
async fn an_app_that_restarts_is_waited_for() {
    let socket = SocketPath::new();
    let route = Provider::Github.route("hook", &socket.url(":/in"), "upstream_grace = \"20s\"\n");
    let gate = Gate::start(&route).await;
    let client = gate.client();
    let waiting = tokio::spawn(async move { client.send(&event()).await });
    // A socket that an app left behind refuses connections; the new app replaces it.
    drop(UnixListener::bind(&socket.path).unwrap());
    std::fs::remove_file(&socket.path).unwrap();
    let app = App::start_socket(&socket.path, ok());
    assert_eq!(waiting.await.unwrap().status, 200);
    assert_eq!(app.count(), 1);
}

/// Fails when the sender gets anything but a 502 while there is no app, or the reason in the log is unclear.
#[tokio::test]
async fn without_an_app_the_sender_comes_again() {
    let socket = SocketPath::new();
    let gate = Gate::start(&Provider::Github.route("hook", &socket.url(":/in"), "")).await;
    assert_eq!(gate.send(&event()).await.status, 502);
    let line = gate
        .wait_for_line(&["the Unix socket does not accept the connection"])
        .await;
    assert!(line.contains("No such file or directory"), "{line}");
    let app = App::start_socket(&socket.path, respond(201, "made"));
    assert_eq!(gate.send(&event()).await.status, 201);
    assert_eq!(app.count(), 1);
}

/// Fails when hybrid or queue mode, or a destination with a query, cannot use a socket.
#[tokio::test]
async fn stored_events_reach_sockets() {
    for mode in ["queue", "hybrid"] {
        let socket = SocketPath::new();
        let gate = Gate::start(&kept(Provider::Github, mode, &socket.url(":/in"), "")).await;
        let hook = event();
        let stored = gate.send(&hook).await.status;
        assert_eq!(stored, if mode == "queue" { 200 } else { 202 });
        let app = App::start_socket(&socket.path, ok());
        let got = app.wait_for_requests(1).await;
        assert_eq!(
            (got[0].target().as_str(), &got[0].body),
            ("/in", &hook.body)
        );
        assert_eq!(got[0].header("host").as_deref(), Some("localhost"));
    }
    let socket = SocketPath::new();
    let app = App::start_socket(&socket.path, ok());
    let secret = Provider::Github.secret();
    let gate = Gate::start(&format!(
        "{STORE}[routes.hook]\npath = \"/hook\"\nprovider = \"github\"\nsecret = \"{secret}\"\nmode = \"queue\"\n\
         [routes.hook.destinations.ci]\nurl = \"{}\"\n{QUICK}",
        socket.url(":/ci?token=sesame")
    ))
    .await;
    assert_eq!(gate.send(&event()).await.status, 200);
    let got = app.wait_for_requests(1).await;
    assert_eq!(got[0].target(), "/ci?token=sesame");
}

/// Fails when two requests share a connection at once, or when a burst makes requests fail.
#[tokio::test]
async fn a_burst_of_requests_passes() {
    let socket = SocketPath::new();
    let app = App::start_socket(&socket.path, ok());
    let server = "[server]\nper_source_rate_limit = false\n\n";
    let route = Provider::Github.route("hook", &socket.url(":/in"), "");
    let gate = Gate::start(&format!("{server}{route}")).await;
    let sending = (0..100).map(|_| {
        let client = gate.client();
        tokio::spawn(async move { client.send(&event()).await.status })
    });
    for sent in sending.collect::<Vec<_>>() {
        assert_eq!(sent.await.unwrap(), 200);
    }
    assert_eq!(app.count(), 100);
}

fn config(folder: &Path, url: &str) {
    let text = Provider::Github.route("hook", url, "");
    std::fs::write(folder.join("hookgate.toml"), text).unwrap();
}

async fn check(folder: &Path) -> (i32, String) {
    let mut checking = command(&["check", "--config", "hookgate.toml"]);
    checking.current_dir(folder);
    let (code, out, _) = outcome(end(checking).await);
    (code, out)
}

/// Fails when `check` accepts a socket to which no request could be sent.
#[tokio::test]
async fn check_warns_about_sockets() {
    let socket = SocketPath::new();
    let folder = tempfile::tempdir().unwrap();
    config(folder.path(), &socket.url(":/in"));
    let (code, out) = check(folder.path()).await;
    assert!(
        code == 0 && out.contains("app.sock` does not exist"),
        "{out}"
    );
    std::fs::write(&socket.path, "").unwrap();
    let (code, out) = check(folder.path()).await;
    assert!(
        code == 0 && out.contains("app.sock` is not a socket"),
        "{out}"
    );
    std::fs::remove_file(&socket.path).unwrap();
    let _app = App::start_socket(&socket.path, ok());
    let (code, out) = check(folder.path()).await;
    assert!(code == 0 && !out.contains("app.sock"), "{out}");
    let mut offline = command(&["check", "--config", "hookgate.toml", "--offline"]);
    offline.current_dir(folder.path());
    assert_eq!(outcome(end(offline).await).0, 0);
}

/// Fails when a test event cannot be sent to a socket, or a saved one cannot be sent again.
#[tokio::test]
async fn the_test_tools_send_to_sockets() {
    let socket = SocketPath::new();
    let app = App::start_socket(&socket.path, ok());
    let (url, secret) = (socket.url(":/in?a=b"), Provider::Github.secret());
    let arguments = ["send", &url, "--provider", "github", "--secret", secret];
    let (code, out, err) = outcome(end(command(&arguments)).await);
    assert_eq!(code, 0, "{out}{err}");
    let printed = [&arguments[..], &["--print"]].concat();
    let saved = end(command(&printed)).await;
    let file = socket.path.with_extension("http");
    std::fs::write(&file, saved.stdout).unwrap();
    let to = socket.url("");
    let replay = ["replay-file", file.to_str().unwrap(), "--to", &to];
    let (code, out, err) = outcome(end(command(&replay)).await);
    assert_eq!(code, 0, "{out}{err}");
    for request in app.requests() {
        assert_eq!(request.target(), "/in?a=b");
        assert!(request.header("x-hub-signature-256").is_some());
    }
    assert_eq!(app.count(), 2);
    let wrong = [
        "send",
        "unix:app.sock",
        "--provider",
        "github",
        "--secret",
        secret,
    ];
    let (code, _, err) = outcome(end(command(&wrong)).await);
    assert!(code == 2 && err.contains("unix:/run/app.sock"), "{err}");
}
