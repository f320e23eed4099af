//! Test rig: destinations on real sockets, plans from config text, and stored events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::config::load_text;
use crate::deliver::plan::DeliveryPlan;
use crate::model::clock::ClockReading;
use crate::model::delivery::DeliveryId;
use crate::model::ids::{RequestId, RouteName};
use crate::net::client::OutgoingClient;
use crate::store::rows::{DestinationId, DueDelivery, StoredEvent};

/// How a destination reacts to a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Sends these bytes, then reads the next request.
    Send(Vec<u8>),
    /// Sends these bytes after a pause.
    After(Duration, Vec<u8>),
    /// Sends these bytes and then nothing, without closing.
    Hang(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Close(Vec<u8>),
    /// Resets the connection.
    Reset,
}

pub(super) fn answer(status: u16) -> Reply {
    answer_with(status, "", "")
}

pub(super) fn answer_with(status: u16, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
    Reply::Send(text.into_bytes())
}

/// A destination that records its requests and their times.
pub(super) struct Host {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<(tokio::time::Instant, String)>,
}

/// Returns the reply to the request with this number, from 0.
type Script = Arc<dyn Fn(usize, &str) -> Reply + Send + Sync>;

impl Host {
    pub(super) async fn start(
        script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(None, script).await
    }

    /// Starts a destination that gives these replies in turn, and repeats the last one.
    pub(super) async fn answering(replies: Vec<Reply>) -> Self {
        Self::start(move |number, _| {
            let reply = replies.get(number).or(replies.last());
            reply.cloned().unwrap_or(Reply::Reset)
        })
        .await
    }

    pub(super) async fn start_with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (shared, script) = (Arc::clone(&seen), Arc::new(script) as Script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().connections += 1;
                let (shared, script, tls) = (Arc::clone(&shared), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => {
                            serve(stream, &shared, &script, |stream: &TcpStream| {
                                stream.set_zero_linger().unwrap();
                            })
                            .await
                        }
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &shared, &script, |_| ()).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().connections
    }

    pub(super) fn requests(&self) -> Vec<String> {
        let seen = self.seen.lock();
        seen.requests.iter().map(|(_, text)| text.clone()).collect()
    }

    pub(super) fn times(&self) -> Vec<tokio::time::Instant> {
        let seen = self.seen.lock();
        seen.requests.iter().map(|(at, _)| *at).collect()
    }

    /// Waits until this many requests have come.
    pub(super) async fn wait_for(&self, count: usize) -> Vec<String> {
        wait_until(&format!("{count} requests"), || {
            self.requests().len() >= count
        })
        .await;
        self.requests()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    seen: &Mutex<Seen>,
    script: &Script,
    reset: impl Fn(&S),
) {
    while let Some(request) = read_request(&mut stream).await {
        let text = String::from_utf8_lossy(&request).into_owned();
        let number = {
            let mut seen = seen.lock();
            seen.requests
                .push((tokio::time::Instant::now(), text.clone()));
            seen.requests.len() - 1
        };
        match script(number, &text) {
            Reply::Send(bytes) => drop(stream.write_all(&bytes).await),
            Reply::After(pause, bytes) => {
                tokio::time::sleep(pause).await;
                drop(stream.write_all(&bytes).await);
            }
            Reply::Hang(bytes) => {
                drop(stream.write_all(&bytes).await);
                drop(stream.flush().await);
                drop(stream.read_to_end(&mut Vec::new()).await);
                return;
            }
            Reply::Close(bytes) => {
                drop(stream.write_all(&bytes).await);
                drop(stream.shutdown().await);
                return;
            }
            Reply::Reset => {
                reset(&stream);
                return;
            }
        }
        drop(stream.flush().await);
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        let end = request.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if request.len() >= end + 4 + length {
                return Some(request);
            }
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
}

/// Polls a condition for at most a minute, because these tests do not depend on the speed of disks.
pub(super) async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

/// Returns the value of a header of a raw request.
pub(super) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let head = request.split("\r\n\r\n").next().unwrap();
    let mut lines = head.lines().skip(1);
    lines.find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

pub(super) const SECRET: &str = "fake-secret-of-github-0001";

/// Returns a route `shop` of GitHub with one destination `app`. `extra` are lines of its table, `route` of the route's.
pub(super) fn plan_with(
    url: &str,
    extra: &str,
    route: &str,
    client: &OutgoingClient,
) -> DeliveryPlan {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[store]\nurl = \"sqlite:/tmp/hookgate-none.db\"\n[routes.shop]\npath = \"/shop\"\nmode = \"queue\"\n{route}\n[routes.shop.destinations.app]\nurl = \"{url}\"\n{extra}\n",
    );
    plan_of(&text, client)
}

pub(super) fn plan(url: &str, extra: &str) -> DeliveryPlan {
    let route = format!("provider = \"github\"\nsecret = \"{SECRET}\"");
    plan_with(url, extra, &route, &OutgoingClient::new())
}

pub(super) fn plan_of(text: &str, client: &OutgoingClient) -> DeliveryPlan {
    let loaded = match load_text("/tmp/hookgate-test.toml", text) {
        Ok(loaded) => loaded,
        Err(report) => panic!("{text}\n{report:?}"),
    };
    let route = &loaded.config.routes[0];
    DeliveryPlan::build(route, &route.destinations[0], DestinationId(1), client).unwrap()
}

pub(super) fn event(body: &[u8]) -> StoredEvent {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-hub-signature-256", "sha256=00"),
        ("hookgate-route", "forged"),
        ("x-forwarded-for", "203.0.113.9"),
        ("connection", "x-github-event"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    StoredEvent {
        uid: RequestId::new(1_700_000_000_000, [7; 10]),
        route: RouteName::new("shop"),
        provider: "github".to_owned(),
        event_id: EventId::parse("72d3162e-cc78"),
        event_type: Some("push".into()),
        webhook_id: "72d3162e-cc78".to_owned(),
        received_ms: ClockReading::read().unix_ms,
        source: [192, 0, 2, 7].into(),
        is_tls: true,
        method: Method::POST,
        target: "/shop?a=1".to_owned(),
        host: Some("hooks.example".to_owned()),
        headers,
        body: Some(Bytes::copy_from_slice(body)),
        digest: Sha256::digest(body).into(),
    }
}

pub(super) fn due(event: StoredEvent) -> DueDelivery {
    DueDelivery {
        delivery: DeliveryId(1),
        attempt: 1,
        round: 1,
        round_began_ms: ClockReading::read().unix_ms,
        is_replay: false,
        event,
    }
}
