//! Tests of the admin listener over real sockets.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::admin::server::{HEAD_TIMEOUT, MAX_CONNECTIONS};
use crate::admin::{AdminControls, AdminListener, AdminState, access, default_listen, serve};
use crate::config::model::{AdminListen, AdminRole};
use crate::record::TelemetryRecorder;
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;

const TOKEN: &str = "correct-horse-battery-staple";

struct Door {
    state: Arc<AdminState>,
    address: Option<SocketAddr>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

fn open(listen: &AdminListen, token: Option<&str>) -> Door {
    let writer = Box::new(std::io::sink());
    let logger = LineLogger::to_writer(LineEncoding::Json, Level::INFO, writer).unwrap();
    let tokens = token.map(|token| access::token("admin", AdminRole::Operator, token));
    let tokens: Vec<_> = tokens.into_iter().collect();
    let recorder = TelemetryRecorder::new(logger, true);
    let state = AdminState::new(recorder, &tokens, AdminControls::without_store());
    let listener = AdminListener::bind(listen).unwrap();
    let stop = CancellationToken::new();
    Door {
        address: listener.address(),
        serving: tokio::spawn(serve(listener, Arc::clone(&state), None, stop.clone())),
        state,
        stop,
    }
}

fn loopback() -> AdminListen {
    AdminListen::Tcp("127.0.0.1:0".parse().unwrap())
}

impl Door {
    async fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address.unwrap()).await.unwrap();
        exchange(&mut stream, request).await
    }

    /// Sends a GET with one more header line, which may be empty.
    async fn ask(&self, path: &str, header: &str) -> String {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
        ))
        .await
    }
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

#[tokio::test]
async fn health_and_readiness_differ() {
    let door = open(&loopback(), None);
    assert_eq!(status(&door.ask("/healthz", "").await), "200");
    assert_eq!(status(&door.ask("/readyz", "").await), "503");
    door.state.set_ready(true);
    assert_eq!(status(&door.ask("/readyz", "").await), "200");
    door.state.set_ready(false);
    assert_eq!(status(&door.ask("/readyz", "").await), "503");
    assert_eq!(status(&door.ask("/healthz", "").await), "200");
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let door = open(&loopback(), None);
    let answer = door.ask("/metrics", "").await;
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.contains("connection: close") && answer.ends_with("# EOF\n"));
    let head = "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(door.send(head).await.ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn other_paths_and_methods_are_problems() {
    let door = open(&loopback(), None);
    let answer = door.ask("/metrics/", "").await;
    assert_eq!(status(&answer), "404");
    assert!(answer.contains("content-type: application/problem+json"));
    let post = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let answer = door.send(post).await;
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD"));
}

// Mutation: `is_host_allowed` -> `true`.
#[tokio::test]
async fn a_name_that_was_rebound_to_loopback_is_refused() {
    let door = open(&loopback(), None);
    let hosts = [
        ("localhost", "200"),
        ("LOCALHOST:9180", "200"),
        ("127.0.0.1:9180", "200"),
        ("[::1]:9180", "200"),
        ("evil.example", "421"),
        ("localhost.evil.example", "421"),
        ("evil.example@localhost.evil", "421"),
        ("127.0.0.1.evil.example", "421"),
        ("", "421"),
    ];
    for (host, expected) in hosts {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(status(&door.send(&request).await), expected, "{host}");
    }
    let none = "GET /healthz HTTP/1.1\r\n\r\n";
    assert_eq!(status(&door.send(none).await), "421");
    let two = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n";
    assert_eq!(status(&door.send(two).await), "421");
}

// Mutation: any `Err(_)` passes in `metrics`.
#[tokio::test]
async fn metrics_need_the_token_where_there_is_one() {
    let door = open(&loopback(), Some(TOKEN));
    let asks = [
        (format!("Authorization: Bearer {TOKEN}\r\n"), "200"),
        (format!("Authorization: bearer {TOKEN}\r\n"), "200"),
        (String::new(), "401"),
        (format!("Authorization: Bearer {TOKEN}x\r\n"), "401"),
        ("Authorization: Bearer \r\n".to_owned(), "401"),
        (format!("Authorization: {TOKEN}\r\n"), "401"),
        (
            format!("Authorization: Bearer x\r\nAuthorization: Bearer {TOKEN}\r\n"),
            "401",
        ),
    ];
    for (header, expected) in &asks {
        let answer = door.ask("/metrics", header).await;
        assert_eq!(status(&answer), *expected, "{header}");
        assert_eq!(
            *expected == "401",
            answer.contains("www-authenticate: Bearer")
        );
    }
    assert_eq!(status(&door.ask("/healthz", "").await), "200");
    door.state.access().set(&[]);
    assert_eq!(status(&door.ask("/metrics", "").await), "200");
}

#[tokio::test]
async fn silent_connections_beyond_the_cap_are_closed_and_make_room_again() {
    let door = open(&loopback(), None);
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(door.address.unwrap()).await.unwrap());
    }
    let mut extra = TcpStream::connect(door.address.unwrap()).await.unwrap();
    assert_eq!(extra.read(&mut [0; 1]).await.unwrap_or(0), 0);
    drop(silent);
    let limit = Duration::from_secs(10);
    let again = async {
        loop {
            let mut stream = TcpStream::connect(door.address.unwrap()).await.unwrap();
            let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let _ = stream.write_all(request).await;
            let mut answer = String::new();
            if stream.read_to_string(&mut answer).await.is_ok() && status(&answer) == "200" {
                break;
            }
        }
    };
    tokio::time::timeout(limit, again).await.unwrap();
}

#[tokio::test]
async fn a_head_that_does_not_come_is_cut() {
    let door = open(&loopback(), None);
    let mut slow = TcpStream::connect(door.address.unwrap()).await.unwrap();
    slow.write_all(b"GET /healthz HT").await.unwrap();
    let mut rest = Vec::new();
    let cut = tokio::time::timeout(HEAD_TIMEOUT * 2, slow.read_to_end(&mut rest)).await;
    assert!(cut.is_ok());
}

// Mutation: another mode than `0o600` in `bind_unix`.
#[tokio::test]
async fn the_unix_socket_is_for_its_owner_and_goes_with_the_door() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // A killed process leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = AdminListen::Unix(path.clone());
    let door = open(&listen, None);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(status(&exchange(&mut stream, request).await), "200");
    assert!(AdminListener::bind(&listen).is_err(), "in use");
    door.stop.cancel();
    door.serving.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn only_a_dead_socket_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "text").unwrap();
    assert!(AdminListener::bind(&AdminListen::Unix(path.clone())).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
}

#[test]
fn without_a_word_the_door_is_in_the_folder_of_the_service() {
    let listen = |folder: Option<&str>| default_listen(folder.map(std::ffi::OsStr::new));
    let expected = AdminListen::Unix("/run/hookgate/admin.sock".into());
    assert_eq!(listen(Some("/run/hookgate")), Some(expected.clone()));
    assert_eq!(listen(Some("/run/hookgate:/run/other")), Some(expected));
    assert_eq!(listen(Some("")), None);
    assert_eq!(listen(None), None);
}
