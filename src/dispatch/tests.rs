//! Tests of forwarding against scripted upstreams on real sockets.
//!
//! They cover the upstream rows of the threat list. A comment at each test names the one-line change of the code that
//! makes it fail.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::scheme::spec::{
    FieldLocation, SchemeFamily, SchemeSpec, SchemeVariants, TokenLocation, TokenSpec,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;
use crate::config::model::{EnforceMode, PathRule, Route, RouteMode, UpstreamSettings};
use crate::dispatch::endpoint::UpstreamTarget;
use crate::gate::event::{Event, EventFacts, OwnedRequest, UnverifiedRequest};
use crate::model::clock;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::RequestSource;
use crate::net::app_url::AppUrl;
use crate::net::client::{OutgoingClient, PoolLimits};
use crate::net::event_headers::{EventMarks, MARKS};
use crate::test_rig::app::{
    App, Behavior, Latch, Refusing, by_connection, raw, raw_then_close, raw_then_hang, sequence,
    steps,
};
use crate::test_rig::{LIMIT, block_until, wait_for};

/// Keeps two writes of an app apart.
const PAUSE: Duration = Duration::from_millis(50);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn route(url: &str, path: PathRule) -> Route {
    Route {
        name: RouteName::new("shop"),
        span: Default::default(),
        place: String::new(),
        host: None,
        path,
        methods: vec![Method::POST],
        content_types: Vec::new(),
        provider: None,
        scheme: SchemeSpec {
            family: SchemeFamily::Token(TokenSpec {
                location: TokenLocation::Header {
                    name: HeaderName::from_static("x-sig"),
                    prefix: String::new(),
                },
            }),
            event_id: vec![FieldLocation::Header(HeaderName::from_static("x_id"))],
            event_type: Vec::new(),
            version: Vec::new(),
            variants: SchemeVariants::default(),
        },
        secrets: Vec::new(),
        tolerance: Duration::from_secs(300),
        public_url: None,
        allow_ips: None,
        client_cert: None,
        rate_limit: None,
        max_body: 1 << 20,
        dedup: None,
        tenant: None,
        enforce: EnforceMode::Block,
        continue_trace: false,
        quiet: crate::config::model::QuietRule::Learned,
        verify_token: None,
        on_challenge: None,
        sign_upstream: Vec::new(),
        branches: Vec::new(),
        unverified_upstream: None,
        events: None,
        versions: None,
        when: None,
        schemas: Vec::new(),
        mode: RouteMode::Proxy,
        socket: None,
        destinations: Vec::new(),
        upstream: Some(UpstreamSettings {
            grace: Duration::ZERO,
            url: AppUrl::of_uri(&url.parse().unwrap()).unwrap(),
            span: Default::default(),
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_millis(400),
            keep: PoolLimits::idle(Duration::from_secs(4)),
            tls: None,
            pass_error_bodies: false,
        }),
    }
}

fn upstream_of(route: &mut Route) -> &mut UpstreamSettings {
    route.upstream.as_mut().unwrap()
}

fn target_with(
    app: &App,
    client: &OutgoingClient,
    change: impl FnOnce(&mut Route),
) -> UpstreamTarget {
    let url = app.url("/in");
    let mut route = route(&url, PathRule::Exact("/hook".to_owned()));
    change(&mut route);
    UpstreamTarget::build(&route, client).unwrap()
}

fn target(app: &App) -> UpstreamTarget {
    target_with(app, &OutgoingClient::new(), |_| ())
}

fn request_of(headers: &[(&str, &str)], body: &[u8]) -> OwnedRequest {
    let mut map = HeaderMap::new();
    map.insert("host", HeaderValue::from_static("hooks.example"));
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    OwnedRequest {
        method: Method::POST,
        uri: Uri::from_static("/hook?a=%62"),
        headers: map,
        body: bytes::Bytes::copy_from_slice(body),
        source: RequestSource {
            ip: "192.0.2.7".parse().unwrap(),
            peer: "127.0.0.1:9".parse().unwrap(),
            is_tls: true,
        },
    }
}

fn facts(event_type: &str) -> EventFacts {
    EventFacts {
        event_id: EventId::parse("evt_1"),
        event_type: Some(event_type.into()),
        digest: [0; 32],
        marks: EventMarks::default(),
    }
}

fn event(headers: &[(&str, &str)], body: &[u8]) -> Event {
    Event::for_test(request_of(headers, body), facts("order.paid"))
}

fn id() -> RequestId {
    RequestId::new(1_700_000_000_000, [7; 10])
}

async fn send_event(
    target: &UpstreamTarget,
    event: Event,
) -> Result<UpstreamResponse, DispatchError> {
    let request = request::verified(event, target, id())?;
    forward::send(request, target, id()).await
}

async fn send(target: &UpstreamTarget) -> Result<UpstreamResponse, DispatchError> {
    send_event(target, event(&[], b"{}")).await
}

async fn body_of(forwarded: UpstreamResponse) -> Result<Vec<u8>, String> {
    match forwarded.response.into_body().collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) => Err(error.to_string()),
    }
}

async fn answered(target: &UpstreamTarget) -> (u16, Vec<u8>) {
    let forwarded = send(target).await.unwrap();
    (forwarded.status.as_u16(), body_of(forwarded).await.unwrap())
}

/// Sends once and returns the error's kind, its status, and if the upstream may have seen the request.
async fn refused(behavior: Behavior) -> (&'static str, u16) {
    let app = App::start(behavior);
    let target = target(&app);
    let error = send(&target).await.err().expect("no answer that passes");
    assert!(app.count() <= 1, "never sent twice");
    assert_eq!(app.connections(), 1);
    assert_eq!(target.pool.idle().map(|_| ()), None, "never used again");
    (error.kind(), error.status().as_u16())
}

/// Fails when a sender can set a mark of the gate, also where the scheme reads a header of that name.
#[test]
fn a_sender_sets_no_mark() {
    let mut route = route("http://127.0.0.1:9/in", PathRule::Exact("/hook".to_owned()));
    route.scheme.event_id = MARKS.map(FieldLocation::Header).to_vec();
    let target = UpstreamTarget::build(&route, &OutgoingClient::new()).unwrap();
    let marks = MARKS;
    let sent: Vec<_> = marks.iter().map(|name| (name.as_str(), "true")).collect();
    let request = request::verified(event(&sent, b"{}"), &target, id()).unwrap();
    let headers = request.headers();
    assert!(MARKS.iter().all(|name| !headers.contains_key(name)));
}

// Mutation: leave `timeout` out of `Lease::exchange`.
#[tokio::test]
async fn an_upstream_that_hangs_is_504_in_time() {
    let began = clock::instant();
    assert_eq!(refused(Behavior::Hang).await, ("deadline", 504));
    assert!(began.elapsed() < Duration::from_secs(2));
}

// Mutation: map `Closed` to a status of 2xx, or send again in `exchange::send_fresh` on `Closed`.
#[tokio::test]
async fn an_upstream_that_resets_or_closes_is_502_and_not_asked_again() {
    assert_eq!(refused(Behavior::Reset).await, ("closed", 502));
    assert_eq!(refused(Behavior::Close).await, ("closed", 502));
    let cut = raw_then_close(b"HTTP/1.1 200 OK\r\nContent-Le");
    assert_eq!(refused(cut).await, ("closed", 502));
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502_and_unseen() {
    let closed = Refusing::new();
    let target = UpstreamTarget::build(
        &route(&closed.url("/"), PathRule::Exact("/hook".to_owned())),
        &OutgoingClient::new(),
    )
    .unwrap();
    let error = send(&target).await.err().unwrap();
    assert_eq!((error.kind(), error.status().as_u16()), ("connect", 502));
}

// Mutation: relay `Garbage` as a response.
#[tokio::test]
async fn garbage_is_502() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let outcome = refused(raw_then_hang(garbage)).await;
        assert_eq!(outcome, ("garbage", 502));
    }
}

// Mutation: `check` returns Ok.
#[tokio::test]
async fn an_ambiguous_answer_or_one_that_switches_is_502() {
    for answer in [
        &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    ] {
        let outcome = refused(raw_then_hang(answer)).await;
        assert_eq!(outcome, ("invalid", 502), "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn interim_answers_are_skipped() {
    let early = raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
    let app = App::start(steps([early, Behavior::Wait(PAUSE), raw(OK)]));
    let target = target(&app);
    assert_eq!(answered(&target).await, (200, b"ok".to_vec()));
    assert!(target.pool.idle().is_some());
}

// hyper itself closes an idle connection on which bytes arrive that the runtime has reported: this test fails with a
// client that does not. For bytes that are not reported yet see `what_the_runtime_has_not_heard_of_is_seen`.
#[tokio::test]
async fn a_second_answer_is_never_given_to_another_request() {
    let both = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let late = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (first, second) in [(&both[..], &b""[..]), (OK, late)] {
        let (answered_once, written) = (Latch::default(), Latch::default());
        let unasked = steps([
            raw(first),
            Behavior::Hold(answered_once.clone()),
            raw(second),
            Behavior::Open(written.clone()),
            Behavior::Hang,
        ]);
        let app = App::start(by_connection([vec![unasked], vec![raw(OK)]]));
        let target = target(&app);
        assert_eq!(answered(&target).await, (200, b"ok".to_vec()));
        answered_once.open();
        wait_for("the unasked bytes", LIMIT, || {
            written.is_open() && (second.is_empty() || app.has_unread_bytes())
        })
        .await;
        assert_eq!(answered(&target).await, (200, b"ok".to_vec()));
        assert_eq!(app.connections(), 2);
    }
}

// Mutation: never put a connection back.
#[tokio::test]
async fn a_clean_connection_is_used_again() {
    let answers = [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\noops",
    ];
    let app = App::start(sequence(answers.map(raw)));
    let client = OutgoingClient::new();
    let target = target_with(&app, &client, |_| ());
    for status in [200, 204, 200, 304, 200, 503] {
        assert_eq!(answered(&target).await.0, status);
        assert_eq!(
            (client.open_connections(), client.idle_connections()),
            (1, 1)
        );
    }
    assert_eq!(app.connections(), 1);
}

// Mutation: `put_back` without checking if the connection is ready.
#[tokio::test]
async fn a_connection_that_the_app_closes_is_not_used_again() {
    let close = &b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"[..];
    let old = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for answer in [close, old] {
        let app = App::start(raw_then_hang(answer));
        let target = target(&app);
        assert_eq!(answered(&target).await, (200, b"ok".to_vec()));
        assert!(target.pool.idle().is_none());
    }
}

// Mutation: give `Unwritten` back as an error in `exchange::exchange`.
#[tokio::test]
async fn a_connection_closed_while_idle_costs_the_sender_nothing() {
    for ending in [Behavior::Close, Behavior::Reset] {
        let answered_once = Latch::default();
        let hold = Behavior::Hold(answered_once.clone());
        let ended = steps([raw(OK), hold, ending]);
        let app = App::start(by_connection([vec![ended], vec![raw(OK)]]));
        let target = target(&app);
        assert_eq!(answered(&target).await.0, 200);
        answered_once.open();
        wait_for("the end of the connection", LIMIT, || {
            app.open_connections() == 0
        })
        .await;
        assert_eq!(answered(&target).await.0, 200);
        assert_eq!((app.connections(), app.requests().len()), (2, 2));
    }
}

// Mutation: drop `probe.arm()`: the runtime has not reported the FIN, or the bytes, when the request is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_the_runtime_has_not_heard_of_is_seen() {
    // Runs on the worker, because the thread of the test would call epoll between two polls.
    for unasked in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        tokio::spawn(check_unheard(unasked)).await.unwrap();
    }
}

/// Checks that a closed or written-to idle connection is not used, if the next request goes out before a call of epoll.
async fn check_unheard(unasked: &'static [u8]) {
    let answered_once = Latch::default();
    // Held back, because these bytes must not be in the same read as the response.
    let hold = Behavior::Hold(answered_once.clone());
    let rest = match unasked {
        [] => Behavior::Close,
        _ => raw_then_hang(unasked),
    };
    let first = steps([raw(OK), hold, rest]);
    let app = App::start(by_connection([vec![first], vec![raw(OK)]]));
    let target = target(&app);
    assert_eq!(answered(&target).await, (200, b"ok".to_vec()));
    answered_once.open();
    // Blocks the only worker of this runtime until the bytes have arrived, so epoll cannot have reported them.
    block_until("the bytes of the app", LIMIT, || {
        app.open_connections() == 0 || app.has_unread_bytes()
    });
    assert_eq!(answered(&target).await, (200, b"ok".to_vec()));
    assert_eq!(app.connections(), 2);
}

// Mutation: send again in `exchange::exchange` on `Closed`.
#[tokio::test]
async fn a_request_that_was_written_on_an_idle_connection_is_not_sent_again() {
    let app = App::start(by_connection([
        vec![raw(OK), Behavior::Close],
        vec![raw(OK)],
    ]));
    let target = target(&app);
    assert_eq!(answered(&target).await.0, 200);
    let error = send(&target).await.err().unwrap();
    assert_eq!(error.kind(), "closed");
    assert_eq!((app.connections(), app.requests().len()), (1, 2));
}

#[tokio::test]
async fn an_old_idle_connection_is_closed() {
    let app = App::start(raw(OK));
    let client = OutgoingClient::new();
    let target = target_with(&app, &client, |route| {
        upstream_of(route).keep.idle_timeout = Duration::from_millis(100);
    });
    assert_eq!(answered(&target).await.0, 200);
    assert_eq!(client.open_connections(), 1);
    wait_for("the end of the connection", LIMIT, || {
        client.open_connections() == 0
    })
    .await;
    assert_eq!(client.idle_connections(), 0);
    assert_eq!(answered(&target).await.0, 200);
    assert_eq!(app.connections(), 2);
}

#[tokio::test]
async fn pools_are_shared_by_equal_upstreams_only() {
    let app = App::start(Behavior::Close);
    let client = OutgoingClient::new();
    let one = target_with(&app, &client, |_| ());
    let same = target_with(&app, &client, |_| ());
    let other = target_with(&app, &client, |route| {
        upstream_of(route).timeout = Duration::from_secs(9);
    });
    assert!(Arc::ptr_eq(&one.pool, &same.pool));
    assert!(!Arc::ptr_eq(&one.pool, &other.pool));
}

#[tokio::test]
async fn a_long_answer_is_streamed_whole() {
    let app = App::start(sequence([
        steps([
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
            Behavior::Wait(PAUSE),
            raw(b"def"),
            Behavior::Wait(PAUSE),
            raw(b"ghi"),
        ]),
        steps([
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
            Behavior::Wait(PAUSE),
            raw(b"3\r\ndef\r\n0\r\n\r\n"),
        ]),
    ]));
    let target = target(&app);
    assert_eq!(answered(&target).await, (200, b"abcdefghi".to_vec()));
    assert_eq!(answered(&target).await, (200, b"abcdef".to_vec()));
    assert_eq!(app.connections(), 1);
}

// Mutation: return `None` instead of the error in `AppBody::poll_piece`.
#[tokio::test]
async fn a_body_that_breaks_midway_breaks_the_answer() {
    for (head, is_reset) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"[..],
            false,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            false,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            true,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
            false,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", true),
    ] {
        for pause in [Duration::ZERO, PAUSE] {
            let ending = match is_reset {
                true => Behavior::Reset,
                false => Behavior::Close,
            };
            let app = App::start(steps([raw(head), Behavior::Wait(pause), ending]));
            let target = target(&app);
            let forwarded = send(&target).await.unwrap();
            assert!(
                body_of(forwarded).await.is_err(),
                "{}",
                String::from_utf8_lossy(head)
            );
            assert!(target.pool.idle().is_none());
        }
    }
}

// Mutation: `poll_timeout` returns Pending.
#[tokio::test]
async fn a_body_that_stops_breaks_the_answer_in_time() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    let app = App::start(raw_then_hang(head));
    let target = target(&app);
    let forwarded = send(&target).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(3), body_of(forwarded)).await;
    assert_eq!(
        outcome.unwrap().unwrap_err(),
        "the upstream stopped sending its response body for longer than `timeout`"
    );
}

// Mutation: relay the body whatever the status is.
#[tokio::test]
async fn an_error_page_stays_inside_unless_the_route_passes_it() {
    let page = b"HTTP/1.1 500 Oops\r\nContent-Length: 5\r\nX-Powered-By: php\r\nRetry-After: 9\r\n\r\nstack";
    for is_passed in [false, true] {
        let app = App::start(raw_then_hang(page));
        let target = target_with(&app, &OutgoingClient::new(), |route| {
            upstream_of(route).pass_error_bodies = is_passed;
        });
        let forwarded = send(&target).await.unwrap();
        assert_eq!(forwarded.status, 500);
        let headers = forwarded.response.headers().clone();
        assert_eq!(headers["retry-after"], "9");
        assert_eq!(headers.contains_key("x-powered-by"), is_passed);
        let body = body_of(forwarded).await.unwrap();
        assert_eq!(body == b"stack", is_passed);
        assert_eq!(body.starts_with(b"{\"title\""), !is_passed);
    }
}

// Mutation: remove `vet_answer_headers` from `relay`.
#[tokio::test]
async fn the_apps_headers_reach_the_sender_without_those_of_the_hop() {
    let answer = b"HTTP/1.1 202 Accepted\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nHookgate-Duplicate: true\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-App: y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let app = App::start(raw_then_hang(answer));
    let forwarded = send(&target(&app)).await.unwrap();
    let headers = forwarded.response.headers();
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["set-cookie", "x-app"]);
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(forwarded.status, 202);
    assert_eq!(body_of(forwarded).await.unwrap(), b"ok");
}

// Mutation: set the gate's headers before `vet_request_headers`, or leave the call out.
#[tokio::test]
async fn the_request_is_a_new_one() {
    let app = App::start(raw(OK));
    let sent = [
        (
            "connection",
            "x-sig, x-hop, hookgate-route, x-forwarded-for",
        ),
        ("x-hop", "1"),
        ("x-sig", "abc"),
        ("x_id", "kept: the scheme reads it"),
        ("x_other", "dropped"),
        ("x-many", "1"),
        ("x-many", "2"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("hookgate-route", "forged"),
        ("hookgate-verdict", "forged"),
        ("transfer-encoding", "chunked"),
        ("trailer", "x"),
        ("content-length", "999"),
        ("expect", "100-continue"),
        ("upgrade", "h2c"),
    ];
    answered_with(&target(&app), event(&sent, b"{\"a\":1}")).await;
    let request = app.only_request().text();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    assert_eq!(line, "POST /in?a=%62 HTTP/1.1");
    assert_eq!(body, "{\"a\":1}");
    let mut lines: Vec<&str> = headers.split("\r\n").collect();
    lines.sort_unstable();
    let expected = format!(
        "content-length: 7\nhookgate-event-id: evt_1\nhookgate-event-type: order.paid\n\
         hookgate-provider: custom\nhookgate-request-id: {}\nhookgate-route: shop\nhost: {}\nx-forwarded-for: 192.0.2.7\n\
         x-forwarded-host: hooks.example\nx-forwarded-proto: https\nx-many: 1\nx-many: 2\nx-sig: abc\nx_id: kept: the scheme reads it",
        id(),
        app.address(),
    );
    assert_eq!(lines.join("\n"), expected);
}

async fn answered_with(target: &UpstreamTarget, event: Event) {
    let forwarded = send_event(target, event).await.unwrap();
    assert_eq!(forwarded.status, 200);
    body_of(forwarded).await.unwrap();
}

#[tokio::test]
async fn an_empty_post_has_a_length_and_an_odd_type_is_left_out() {
    let app = App::start(raw(OK));
    let empty = Event::for_test(request_of(&[], b""), facts("a\r\nX-Evil: 1"));
    answered_with(&target(&app), empty).await;
    let request = app.only_request().text();
    assert!(request.contains("content-length: 0\r\n"));
    assert!(!request.contains("event-type") && !request.to_lowercase().contains("evil"));
}

// Mutation: do not insert `VERDICT` in `request::unverified`, or let it call `verified`.
#[tokio::test]
async fn what_monitor_mode_lets_through_says_so() {
    let app = App::start(raw(OK));
    let target = target(&app);
    let unverified = UnverifiedRequest::for_test(event(&[], b"{}"));
    let request = request::unverified(unverified, &target, id()).unwrap();
    forward::send(request, &target, id()).await.unwrap();
    let request = app.only_request().text();
    assert!(request.contains("hookgate-verdict: monitored\r\n"));
    assert!(!request.contains("hookgate-event"));
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_and_keeps_its_length() {
    let app = App::start(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"));
    let target = target(&app);
    let mut request = request_of(&[], b"");
    request.method = Method::HEAD;
    let head = Event::for_test(request, facts("order.paid"));
    let forwarded = send_event(&target, head).await.unwrap();
    assert_eq!(forwarded.response.headers()["content-length"], "42");
    assert_eq!(body_of(forwarded).await.unwrap(), b"");
    assert!(target.pool.idle().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    // Mutation: trim, decode or re-encode anything of the body.
    #[test]
    fn the_app_gets_the_same_bytes(body in proptest::collection::vec(any::<u8>(), 0..70_000)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = runtime.block_on(async {
            let app = App::start(raw(OK));
            answered_with(&target(&app), event(&[], &body)).await;
            app.only_request()
        });
        prop_assert_eq!(&request.body, &body);
    }
}
