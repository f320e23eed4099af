//! Tests of the admin API over real sockets, with a real store behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::admin::access::{CallerOrigin, PayloadAccess};
use crate::admin::connection_deadline::ConnectionDeadline;
use crate::admin::controls::DestinationHealth;
use crate::admin::resources::all_resources;
use crate::admin::server::CONNECTION_TIMEOUT;
use crate::admin::state::MAX_TAILS;
use crate::admin::{
    AdminApi, AdminControls, AdminListener, AdminState, ConnectionContext, access, run_replays,
    serve,
};
use crate::config::model::{AdminListen, AdminRole};
use crate::model::database::{DatabaseLocation, SqliteFile};
use crate::model::delivery::DeliveryId;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::model::route_scope::RouteScope;
use crate::record::TelemetryRecorder;
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;
use crate::store::rows::{
    AttemptRecord, CommitOutcome, DestinationId, FinishedAttempt, NewDelivery, NewEvent, NextState,
    StoredEvent,
};
use crate::store::{Store, StoreOptions};
use crate::test_rig::{LIMIT, poll_for};

const TOKEN: &str = "correct-horse-battery-staple";

/// An admin listener with a store of events, and the destinations that it woke.
struct Door {
    _folder: TempDir,
    socket: std::path::PathBuf,
    store: Store,
    state: Arc<AdminState>,
    woken: Arc<Mutex<Vec<DestinationId>>>,
    stop: CancellationToken,
}

fn recorder() -> Arc<TelemetryRecorder> {
    let writer = Box::new(std::io::sink());
    let logger = LineLogger::to_writer(LineEncoding::Json, Level::INFO, writer).unwrap();
    TelemetryRecorder::new(logger, true)
}

fn open_store(folder: &Path) -> Store {
    Store::open(StoreOptions {
        location: DatabaseLocation::Sqlite(SqliteFile {
            path: folder.join("hookgate.db"),
            min_free: 0,
        }),
        encryption_keys: Vec::new(),
        keep_body: true,
        max_size: None,
        max_events: None,
    })
    .unwrap()
}

impl Door {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open_store(folder.path());
        let woken = Arc::new(Mutex::new(Vec::new()));
        let health = DestinationHealth {
            route: RouteName::new("github"),
            name: DestinationName::new("ci"),
            id: store
                .destination(&RouteName::new("github"), &DestinationName::new("ci"))
                .await
                .unwrap(),
            breaker: "half_open",
            in_flight: 1,
            last_success_ms: Some(1_764_000_000_000),
            last_failure_ms: None,
        };
        let noted = Arc::clone(&woken);
        let controls = AdminControls {
            store: Some(store.clone()),
            wake: Arc::new(move |id| noted.lock().push(id)),
            health: Arc::new(move || vec![health.clone()]),
            ..AdminControls::without_store()
        };
        let state = AdminState::new(recorder(), &[], controls);
        let socket = folder.path().join("admin.sock");
        let listener = AdminListener::bind(&AdminListen::Unix(socket.clone())).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Arc::clone(&state), None, stop.clone()));
        Self {
            _folder: folder,
            socket,
            store,
            state,
            woken,
            stop,
        }
    }

    /// Commits an event of `github` for the destinations, the first copy of each kind at 1,000 seconds.
    async fn commit(&self, number: u8, event_type: &str, destinations: &[&str]) -> Vec<DeliveryId> {
        let route = RouteName::new("github");
        let mut deliveries = Vec::new();
        for name in destinations {
            let name = DestinationName::new(name);
            deliveries.push(NewDelivery {
                destination: self.store.destination(&route, &name).await.unwrap(),
                due_ms: 0,
                priority: 0,
                order_key: None,
                is_in_flight: false,
            });
        }
        let committed = self.store.commit(NewEvent {
            event: event(number, event_type),
            claims: Vec::new(),
            status: 202,
            deliveries,
        });
        match committed.await.unwrap() {
            CommitOutcome::New(ids) => ids,
            other => panic!("{other:?}"),
        }
    }

    /// Attempts the next delivery of `github/ci`, which fails for good.
    async fn kill(&self) -> DeliveryId {
        let route = RouteName::new("github");
        let name = DestinationName::new("ci");
        let ci = self.store.destination(&route, &name).await.unwrap();
        let taken = self.store.begin(ci, 1, 5_000_000).await;
        let due = taken.unwrap().remove(0);
        let finished = FinishedAttempt {
            delivery: due.delivery,
            attempt: due.attempt,
            record: AttemptRecord {
                started_ms: 5_000_000,
                duration_ms: 12,
                status: Some(500),
                error: Some(("status".to_owned(), "the answer was 500".to_owned())),
                response_start: Bytes::from_static(b"oh no"),
            },
            next: NextState::Dead,
        };
        assert!(self.store.finish(finished).await.unwrap());
        due.delivery
    }

    async fn send(&self, request: &str) -> (u16, String, Bytes) {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        parts(&answer)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = format!("GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (status, _, body) = self.send(&request).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn post(&self, path: &str, document: &Value) -> (u16, Value) {
        let (kind, text) = match document {
            Value::Null => ("", String::new()),
            _ => ("Content-Type: application/json\r\n", document.to_string()),
        };
        let length = text.len();
        let request = format!(
            "POST /api/v1{path} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {length}\r\n\r\n{text}"
        );
        let (status, _, body) = self.send(&request).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn woken(&self) -> Vec<DestinationId> {
        std::mem::take(&mut self.woken.lock())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn parts(answer: &[u8]) -> (u16, String, Bytes) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.unwrap() + 4);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let body = match head.contains("transfer-encoding: chunked") {
        true => unchunk(body),
        false => body.to_vec(),
    };
    (head[9..12].parse().unwrap(), head, Bytes::from(body))
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
}

fn event(number: u8, event_type: &str) -> StoredEvent {
    let received_ms = 1_000_000 + i64::from(number) * 1000;
    let mut headers = HeaderMap::new();
    headers.insert("x-github-event", "push".parse().unwrap());
    headers.insert("authorization", "Bearer sender's-own".parse().unwrap());
    StoredEvent {
        uid: RequestId::new(received_ms, [number; 10]),
        route: RouteName::new("github"),
        provider: "github".to_owned(),
        event_id: EventId::parse(&format!("id-{number}")),
        event_type: Some(event_type.into()),
        webhook_id: format!("msg_{number}"),
        received_ms,
        source: "192.0.2.7".parse().unwrap(),
        is_tls: true,
        method: Method::POST,
        target: "/github?token=abc".to_owned(),
        host: Some("hooks.example".to_owned()),
        headers,
        body: Some(Bytes::from_static(b"{\"a\":\xff\0}")),
        digest: [7; 32],
    }
}

#[tokio::test]
async fn events_are_listed_in_parts_and_found_by_filters() {
    let door = Door::open().await;
    for number in 0..5 {
        let kind = if number == 3 { "issues.opened" } else { "push" };
        door.commit(number, kind, &["ci"]).await;
    }
    let mut seen = Vec::new();
    let mut path = "/events?limit=2".to_owned();
    loop {
        let (status, part) = door.get(&path).await;
        assert_eq!(status, 200, "{part}");
        let events = part["events"].as_array().unwrap();
        seen.extend(
            events
                .iter()
                .map(|event| event["event_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = part["next"].as_str() else {
            break;
        };
        path = format!("/events?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["id-4", "id-3", "id-2", "id-1", "id-0"]);
    for (filter, count) in [
        ("type=issues.*", 1),
        ("id=msg_2", 1),
        ("id=id-2", 1),
        ("route=gitlab", 0),
        ("provider=github&state=pending", 5),
        ("state=dead", 0),
        ("since=1003", 2),
        ("before=1970-01-01T00:16:41Z", 1),
        ("since=2h", 0),
    ] {
        let (_, part) = door.get(&format!("/events?{filter}")).await;
        assert_eq!(part["events"].as_array().unwrap().len(), count, "{filter}");
    }
    let (status, problem) = door.get("/events?sinse=2h").await;
    assert_eq!(status, 400);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("unknown field `sinse`")
    );
}

#[tokio::test]
async fn an_event_is_shown_without_its_senders_secrets_and_its_body_byte_for_byte() {
    let door = Door::open().await;
    door.commit(1, "push", &["ci", "audit"]).await;
    let uid = event(1, "push").uid;
    let (status, shown) = door.get(&format!("/events/{uid}")).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 2);
    assert_eq!(shown["received"], "1970-01-01T00:16:41.000Z");
    assert_eq!(shown["body"]["size"], 8);
    assert_eq!(shown["target"], "/github?token=***");
    let text = shown.to_string();
    assert!(
        !text.contains("sender's-own") && !text.contains("abc"),
        "{text}"
    );

    let request = format!("GET /api/v1/events/{uid}/body HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (status, head, body) = door.send(&request).await;
    assert_eq!((status, &body[..]), (200, &b"{\"a\":\xff\0}"[..]));
    for field in [
        "content-type: application/octet-stream",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        &format!("content-disposition: attachment; filename=\"{uid}.bin\""),
        "repr-digest: sha-256=:BwcH",
        "content-length: 8",
    ] {
        assert!(head.contains(field), "{field} is not in\n{head}");
    }
    for path in ["/events/id-1", "/events/id-1/body"] {
        let (status, problem) = door.get(path).await;
        assert_eq!(status, 400, "{problem}");
    }
    let other = event(9, "push").uid;
    let (status, problem) = door.get(&format!("/events/{other}")).await;
    assert_eq!(status, 404);
    assert!(problem["detail"].as_str().unwrap().contains("retention"));
}

#[tokio::test]
async fn a_delivery_takes_the_steps_that_its_state_allows() {
    let door = Door::open().await;
    let first = door.commit(1, "push", &["ci"]).await[0];
    let second = door.commit(2, "push", &["ci"]).await[0];
    let dead = door.kill().await;
    assert_eq!(dead, first);
    let (status, shown) = door.get(&format!("/deliveries/{dead}")).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["delivery"]["state"], "dead");
    assert_eq!(shown["attempts"][0]["status"], 500);
    assert_eq!(shown["attempts"][0]["answer"], "oh no");

    let path = |id: DeliveryId, action: &str| format!("/deliveries/{id}/{action}");
    let (status, problem) = door.post(&path(dead, "cancel"), &Value::Null).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(
        problem["detail"],
        format!(
            "cannot cancel delivery {dead}, which is dead: the delivery is a dead letter: discard it instead"
        )
    );
    let (status, problem) = door.post(&path(second, "discard"), &Value::Null).await;
    assert_eq!(status, 409, "{problem}");
    assert!(door.woken().is_empty());

    let (status, row) = door.post(&path(dead, "retry"), &Value::Null).await;
    assert_eq!((status, &row["state"]), (200, &json!("pending")));
    assert_eq!(door.woken().len(), 1);
    let (status, row) = door.post(&path(second, "cancel"), &Value::Null).await;
    assert_eq!((status, &row["state"]), (200, &json!("cancelled")));
    let (status, _) = door.post(&path(second, "retry"), &Value::Null).await;
    assert_eq!(status, 409);
    let (status, _) = door
        .post(&path(DeliveryId(999), "retry"), &Value::Null)
        .await;
    assert_eq!(status, 404);
    let (status, _) = door.post("/deliveries/one/retry", &Value::Null).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn many_are_counted_first_and_changed_then() {
    let door = Door::open().await;
    for number in 0..6 {
        door.commit(number, "push", &["ci"]).await;
    }
    let dead = [door.kill().await, door.kill().await];
    let asked = json!({ "search": { "destination": "ci" }, "dry_run": true });
    let (status, counted) = door.post("/deliveries/retry", &asked).await;
    assert_eq!((status, &counted["count"]), (200, &json!(6)), "{counted}");
    let (_, counted) = door.post("/deliveries/discard", &asked).await;
    assert_eq!(counted["count"], 2);
    assert!(door.woken().is_empty());
    let asked = json!({ "search": { "state": "dead" } });
    let (status, changed) = door.post("/deliveries/retry", &asked).await;
    assert_eq!((status, &changed["count"]), (200, &json!(2)), "{changed}");
    assert_eq!(door.woken().len(), 1);
    let (_, listed) = door.get("/deliveries?state=dead").await;
    assert_eq!(listed["deliveries"], json!([]), "{dead:?}");
    let (status, _) = door.post("/deliveries/cancel", &json!({})).await;
    assert_eq!(status, 400, "an empty request must not change everything");
    let (_, changed) = door
        .post("/deliveries/cancel", &json!({ "all": true }))
        .await;
    assert_eq!(changed["count"], 6);
}

#[tokio::test]
async fn destinations_are_paused_and_resumed() {
    let door = Door::open().await;
    door.commit(1, "push", &["ci", "audit"]).await;
    let (_, listed) = door.get("/destinations").await;
    let rows = listed["destinations"].as_array().unwrap();
    let ci = rows.iter().find(|row| row["name"] == "ci").unwrap();
    assert_eq!(ci["health"]["breaker"], "half_open");
    assert_eq!(ci["deliveries"]["pending"], 1);
    let audit = rows.iter().find(|row| row["name"] == "audit").unwrap();
    assert_eq!(audit["health"], Value::Null);

    let (status, set) = door
        .post("/destinations/github/ci/pause", &Value::Null)
        .await;
    assert_eq!(
        (status, &set["destinations"][0]["paused"]),
        (200, &json!(true))
    );
    assert!(door.woken().is_empty());
    let (_, set) = door
        .post("/destinations/github/ci/resume", &Value::Null)
        .await;
    assert_eq!(set["destinations"][0]["paused"], false);
    assert_eq!(door.woken().len(), 1);
    let (_, set) = door.post("/routes/github/pause", &Value::Null).await;
    assert_eq!(set["destinations"][1]["route_paused"], true, "{set}");
    let (_, set) = door.post("/routes/github/resume", &Value::Null).await;
    assert_eq!(set["destinations"][1]["route_paused"], false);
    assert_eq!(door.woken().len(), 2);

    let route = RouteName::new("github");
    let name = DestinationName::new("ci");
    let ci = door.store.destination(&route, &name).await.unwrap();
    door.store.disable(ci, Some("410")).await.unwrap();
    let (_, set) = door
        .post("/destinations/github/ci/resume", &Value::Null)
        .await;
    assert_eq!(set["destinations"][0]["disabled"], Value::Null);

    for (path, detail) in [
        (
            "/destinations/github/cj/pause",
            "route `github` has no destination `cj`: did you mean `ci`?",
        ),
        (
            "/destinations/githab/ci/pause",
            "no destination has the route `githab`: did you mean `github`?",
        ),
        (
            "/routes/stripe/pause",
            "no destination has the route `stripe`",
        ),
    ] {
        let (status, problem) = door.post(path, &Value::Null).await;
        assert_eq!((status, &problem["detail"]), (404, &json!(detail)));
    }
}

#[tokio::test]
async fn a_replay_is_worked_off_and_wakes_its_destination() {
    let door = Door::open().await;
    for number in 0..3 {
        door.commit(number, "push", &["ci"]).await;
    }
    let asked = json!({ "search": { "route": "github" }, "dry_run": true });
    let (status, counted) = door.post("/replays", &asked).await;
    assert_eq!((status, &counted["count"]), (200, &json!(3)), "{counted}");
    let (_, listed) = door.get("/replays").await;
    assert_eq!(listed["replays"], json!([]));
    let asked = json!({ "search": { "route": "github" } });
    let (status, begun) = door.post("/replays", &asked).await;
    assert_eq!(status, 201, "{begun}");
    let id = begun["replay"]["id"].as_i64().unwrap();
    let (_, paused) = door
        .post(&format!("/replays/{id}/pause"), &Value::Null)
        .await;
    assert_eq!(paused["state"], "paused");

    // As after a restart: the worker starts when the replay is already in the store.
    let stop = CancellationToken::new();
    let working = tokio::spawn(run_replays(door.state.controls.clone(), stop.clone()));
    let (_, resumed) = door
        .post(&format!("/replays/{id}/resume"), &Value::Null)
        .await;
    assert_eq!(resumed["state"], "running");
    let over = poll_for("the end of the replay", LIMIT, async || {
        let (_, replay) = door.get(&format!("/replays/{id}")).await;
        (replay["state"] == "ended").then_some(replay)
    })
    .await;
    assert_eq!((&over["done"], &over["total"]), (&json!(3), &json!(3)));
    // The worker wakes the destinations after the step that ended the replay, so the API may show the end before.
    poll_for("the wake of a destination", LIMIT, async || {
        (!door.woken().is_empty()).then_some(())
    })
    .await;
    let (_, listed) = door.get("/deliveries?replay=true").await;
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 3);
    let (status, _) = door
        .post(&format!("/replays/{id}/pause"), &Value::Null)
        .await;
    assert_eq!(status, 409);
    let (status, _) = door.get("/replays/99").await;
    assert_eq!(status, 404);
    stop.cancel();
    working.await.unwrap();
}

#[tokio::test]
async fn the_store_and_the_gate_report_their_status() {
    let door = Door::open().await;
    door.commit(1, "push", &["ci"]).await;
    let (status, store) = door.get("/store").await;
    assert_eq!(status, 200, "{store}");
    assert_eq!(store["events"], 1);
    assert_eq!(store["deliveries"]["pending"], 1);
    let (_, status) = door.get("/status").await;
    assert_eq!(
        (&status["ready"], &status["store_healthy"]),
        (&json!(false), &json!(true))
    );
}

/// Reads from a tail until the text is there.
async fn read_until(stream: &mut UnixStream, text: &mut String, part: &str) {
    let reading = async {
        while !text.contains(part) {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{text}");
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_tail_shows_what_comes_and_there_are_only_so_many() {
    let door = Door::open().await;
    door.commit(1, "push", &["ci"]).await;
    let request = b"GET /api/v1/events/tail?type=push HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut tails = Vec::new();
    for _ in 0..MAX_TAILS {
        let mut tail = UnixStream::connect(&door.socket).await.unwrap();
        tail.write_all(request).await.unwrap();
        let mut text = String::new();
        read_until(&mut tail, &mut text, "\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        tails.push((tail, text));
    }
    let (status, problem) = door.get("/events/tail").await;
    assert_eq!(status, 503, "{problem}");
    let (status, problem) = door.get("/events/tail?state=dead").await;
    assert_eq!(status, 400, "{problem}");
    let (_, gate) = door.get("/status").await;
    assert_eq!(gate["tails"], MAX_TAILS);
    door.commit(2, "issues.opened", &["ci"]).await;
    door.commit(3, "push", &["ci"]).await;
    for (tail, text) in &mut tails {
        read_until(tail, text, "id-3").await;
        assert!(!text.contains("id-1") && !text.contains("id-2"), "{text}");
    }
    drop(tails);
    // With `since` a tail also shows events that were accepted before it began.
    let again = async {
        loop {
            let mut tail = UnixStream::connect(&door.socket).await.unwrap();
            let request = "GET /api/v1/events/tail?since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n";
            tail.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            read_until(&mut tail, &mut text, "\r\n\r\n").await;
            if text.starts_with("HTTP/1.1 200") {
                read_until(&mut tail, &mut text, "id-3").await;
                return text;
            }
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(10), again)
        .await
        .unwrap();
    assert!(text.find("id-1") < text.find("id-3"), "{text}");
    // A tail ends with the admin listener.
    let mut tail = UnixStream::connect(&door.socket).await.unwrap();
    tail.write_all(request).await.unwrap();
    door.stop.cancel();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), tail.read_to_end(&mut rest));
    assert!(ended.await.is_ok());
}

/// Starts an admin listener over TCP without a store.
async fn tcp(token: Option<&str>) -> SocketAddr {
    let tokens = token.map(|token| access::token("admin", AdminRole::Operator, token));
    let tokens: Vec<_> = tokens.into_iter().collect();
    let state = AdminState::new(recorder(), &tokens, AdminControls::without_store());
    let listen = AdminListen::Tcp("127.0.0.1:0".parse().unwrap());
    let listener = AdminListener::bind(&listen).unwrap();
    let address = listener.address().unwrap();
    tokio::spawn(serve(listener, state, None, CancellationToken::new()));
    address
}

async fn ask(address: SocketAddr, line: &str, fields: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let (status, head, body) = parts(&answer);
    (
        status,
        head,
        serde_json::from_slice(&body).unwrap_or_default(),
    )
}

// Fails when another user of the machine, or a page in a browser, can use the API.
#[tokio::test]
async fn over_tcp_only_who_has_the_token_may_ask() {
    let open = tcp(None).await;
    let (status, _, problem) = ask(open, "GET /api/v1/status", "Host: localhost\r\n").await;
    assert_eq!(status, 403);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("set `token` in `[admin]`")
    );
    let door = tcp(Some(TOKEN)).await;
    let right = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    for (line, fields, expected) in [
        ("GET /api/v1/status", right.clone(), 200),
        ("GET /api/v1/openapi.json", right.clone(), 200),
        ("GET /api/v1/events", right.clone(), 404),
        ("GET /api/v1/nothing", right.clone(), 404),
        ("GET /api/", right.clone(), 404),
        ("GET /api/v1/events/%ff", right.clone(), 400),
        ("DELETE /api/v1/events", right.clone(), 405),
        ("GET /api/v1/status", "Host: localhost\r\n".to_owned(), 401),
        (
            "GET /api/v1/openapi.json",
            "Host: localhost\r\n".to_owned(),
            401,
        ),
        ("GET /api/v1/nothing", "Host: localhost\r\n".to_owned(), 401),
        (
            "GET /api/v1/status",
            format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}x\r\n"),
            401,
        ),
        (
            "GET /api/v1/status",
            format!("Host: evil.example\r\nAuthorization: Bearer {TOKEN}\r\n"),
            421,
        ),
        (
            "POST /api/v1/routes/github/pause",
            format!("{right}Sec-Fetch-Site: cross-site\r\n"),
            403,
        ),
        (
            "POST /api/v1/routes/github/pause",
            format!("{right}Origin: http://localhost:3000\r\n"),
            403,
        ),
        ("POST /api/v1/routes/github/pause", right.clone(), 404),
    ] {
        let (status, head, document) = ask(door, line, &fields).await;
        assert_eq!(status, expected, "{line}\n{fields}\n{document}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert_eq!(
            status == 401,
            head.contains("www-authenticate: Bearer"),
            "{head}"
        );
        if expected != 200 {
            assert!(
                head.contains("content-type: application/problem+json"),
                "{head}"
            );
        }
        if expected != 200 && expected != 421 {
            assert!(document["detail"].is_string(), "{document}");
        }
    }
    let (_, head, _) = ask(door, "DELETE /api/v1/events", &right).await;
    assert!(head.contains("allow: GET"), "{head}");
    let (_, _, problem) = ask(door, "GET /api/v1/events", &right).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("this gate has no store"), "{detail}");
}

#[tokio::test]
async fn bodies_are_json_and_bounded() {
    let door = tcp(Some(TOKEN)).await;
    let right = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    let line = "POST /api/v1/deliveries/cancel";
    let form = format!("{right}Content-Type: text/plain\r\nContent-Length: 0\r\n");
    assert_eq!(ask(door, line, &form).await.0, 415);
    let large = format!("{right}Content-Type: application/json\r\nContent-Length: 70000\r\n");
    assert_eq!(ask(door, line, &large).await.0, 413);
    let wrong = format!("{right}Content-Type: application/json\r\nContent-Length: 0\r\n");
    let (status, _, problem) = ask(door, line, &wrong).await;
    assert_eq!(status, 400, "{problem}");
}

#[tokio::test]
async fn the_document_names_every_resource() {
    let door = tcp(Some(TOKEN)).await;
    let right = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    let (_, head, document) = ask(door, "GET /api/v1/openapi.json", &right).await;
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut listed = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let (id, tag) = (&operation["operationId"], &operation["tags"][0]);
            let [id, tag] = [id, tag].map(|text| text.as_str().unwrap());
            listed.push((method.to_uppercase(), path.as_str(), id, tag));
        }
    }
    listed.sort_unstable();
    let rows = all_resources().iter();
    let mut expected: Vec<_> = rows
        .map(|row| (row.method().to_string(), row.path, row.operation, row.tag))
        .collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

/// Returns the status and the body of a response of the API to a request with a token.
async fn answer(api: &AdminApi, method: Method, path: &str, token: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    let visit = ConnectionContext {
        deadline: Arc::new(ConnectionDeadline::new(CONNECTION_TIMEOUT)),
        stop: CancellationToken::new(),
        origin: CallerOrigin::User(0),
        tls: None,
        remark: Arc::default(),
    };
    let response = api.answer(request, visit).await;
    let status = response.status();
    // A tail has a body without an end.
    let body = match status.is_success() {
        true => String::new(),
        false => {
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            String::from_utf8(bytes.to_vec()).unwrap()
        }
    };
    (status, body)
}

// Fails when a resource can be reached with a lower role than its row has, by HEAD too, or when a viewer cannot read what
// is for viewers.
#[tokio::test]
async fn each_resource_needs_the_role_of_its_row() {
    let tokens = [
        access::token("board", AdminRole::Viewer, "battery-staple"),
        access::token("ann", AdminRole::Operator, "correct-horse"),
    ];
    let state = AdminState::new(recorder(), &tokens, AdminControls::without_store());
    let api = AdminApi::new(state);
    for row in all_resources() {
        let path = row.at(&["1", "1"]);
        let is_for_operators = row.role == AdminRole::Operator;
        let (status, body) = answer(&api, row.method(), &path, "battery-staple").await;
        let is_refused = status == StatusCode::FORBIDDEN && body.contains("this needs `operator`");
        assert_eq!(is_refused, is_for_operators, "{path}: {status} {body}");
        if row.method() == Method::GET {
            let (status, _) = answer(&api, Method::HEAD, &path, "battery-staple").await;
            assert_eq!(status == StatusCode::FORBIDDEN, is_for_operators, "{path}");
            let (status, _) = answer(&api, Method::GET, &path, "correct-horse").await;
            assert_ne!(status, StatusCode::FORBIDDEN, "{path}");
        }
    }
}

// Fails when a row claims that a resource belongs to the routes and its handler shows the whole gate, or the reverse, and
// likewise for payloads.
#[tokio::test]
async fn each_resource_keeps_to_the_limits_of_its_row() {
    let mut limited = access::token("limited", AdminRole::Operator, "correct-horse");
    limited.scope = RouteScope::only(["shop-*"]);
    let mut blind = access::token("blind", AdminRole::Operator, "battery-staple");
    blind.payload = PayloadAccess::Hidden;
    let state = AdminState::new(
        recorder(),
        &[limited, blind],
        AdminControls::without_store(),
    );
    let api = AdminApi::new(state);
    for row in all_resources() {
        let path = row.at(&["1", "1"]);
        let (status, body) = answer(&api, row.method(), &path, "correct-horse").await;
        let is_refused = status == StatusCode::FORBIDDEN && body.contains("limited to routes");
        assert_eq!(is_refused, row.needs_whole_gate, "{path}: {status} {body}");
        let (status, body) = answer(&api, row.method(), &path, "battery-staple").await;
        let is_refused = status == StatusCode::FORBIDDEN && body.contains("payload");
        assert_eq!(is_refused, row.needs_payload, "{path}: {status} {body}");
    }
}
