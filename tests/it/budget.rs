//! Tests of budgets: unverified requests of one source never take what genuine senders need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::harness::app::{App, ok};
use crate::harness::client::Client;
use crate::harness::gate::Gate;
use crate::harness::raw::Raw;
use crate::harness::rude::{frame, frames, literals, preface};
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, wait_for};

/// The hostile source; genuine senders come from 127.0.0.1.
const HOSTILE: &str = "127.0.0.2";

/// Factor by which genuine requests may slow down during the attack, since the attackers share the processors.
const SLOWER: u32 = 3;

/// Time that a busy machine may add to any request.
const SLACK: Duration = Duration::from_millis(60);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

async fn gate(app: &App, max_in_flight: usize) -> Gate {
    // The rate per source is a different limit, which would hide this one.
    let server = format!(
        "[server]\nmax_in_flight = {max_in_flight}\nper_source_rate_limit = {{ per_second = 100000, burst = 100000 }}\n\n"
    );
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    Gate::start(&format!("{server}{route}")).await
}

/// Opens a connection whose request never ends: a wrong signature, and a body that drips faster than the gate's
/// minimum. Returns the status of the response, if there is one.
async fn drip_http1(client: Client, refused: Arc<AtomicUsize>) {
    let head = event().head_http1("content-length: 500000\r\n");
    let mut raw = Raw::open(&client).await;
    raw.send(&head).await;
    loop {
        raw.send(&[b'x'; 40]).await;
        if let Some(answer) = raw.read_answer(Duration::from_millis(200)).await {
            assert_eq!(answer.status, 429);
            refused.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
}

// Fails when an in-flight permit is taken before verification: genuine events get 503.
#[tokio::test]
async fn slow_clients_hold_no_exchange() {
    let app = App::start(ok());
    let gate = gate(&app, 64).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let mut hostile = JoinSet::new();
    for _ in 0..80 {
        let client = gate.client().from_ip(HOSTILE);
        hostile.spawn(drip_http1(client, Arc::clone(&refused)));
    }
    // 64 is its share of the 256 unverified requests; the others are refused at once.
    wait_for("the refused requests", LIMIT, || {
        refused.load(Ordering::SeqCst) >= 16
    })
    .await;
    for _ in 0..30 {
        assert_eq!(gate.send(&event()).await.status, 200);
    }
    assert_eq!(refused.load(Ordering::SeqCst), 16);
    assert!(gate.metric("hookgate_requests_in_flight", &[]).await >= 64.0);
    assert_eq!(app.count(), 30);
    gate.wait_for_line(&["source-budget-spent", HOSTILE]).await;
    // The share is returned.
    hostile.shutdown().await;
    for _ in 0..3 {
        let own = gate.client().from_ip(HOSTILE).send(&event()).await;
        if own.status == 200 {
            return;
        }
        assert_eq!(own.status, 429);
        gate.wait_for_metric("hookgate_requests_in_flight", &[], |count| count < 1.0)
            .await;
    }
    panic!("the source stays refused");
}

/// Hostile connection of 64 streams, each with a wrong signature and a dripping body. A new stream follows each
/// response.
struct Flood {
    raw: Raw,
    next: u32,
    open: Vec<u32>,
    received: Vec<u8>,
}

impl Flood {
    async fn open(client: &Client) -> Self {
        let window = 0x3fff_0000_u32.to_be_bytes();
        let mut raw = Raw::open(client).await;
        raw.send(&[preface(), frame(WINDOW_UPDATE, 0, 0, &window)].concat())
            .await;
        Self {
            raw,
            next: 1,
            open: Vec::new(),
            received: Vec::new(),
        }
    }

    fn head() -> Vec<u8> {
        let signature = format!("sha256={}", "0".repeat(64));
        literals(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/hook"),
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-github-delivery", "flood"),
            ("x-hub-signature-256", &signature),
        ])
    }

    /// Sends what is due in a quarter of a second, and reads responses. Returns false if the gate has closed.
    async fn tick(&mut self) -> bool {
        let began = Instant::now();
        let mut out = Vec::new();
        while self.open.len() < 64 {
            out.extend(frame(HEADERS, END_HEADERS, self.next, &Self::head()));
            self.open.push(self.next);
            self.next += 2;
        }
        for stream in &self.open {
            out.extend(frame(DATA, 0, *stream, &[b'x'; 28]));
        }
        self.raw.send(&out).await;
        let more = self
            .raw
            .read_at_least(usize::MAX, Duration::from_millis(250));
        self.received.extend(more.await);
        let mut acks = Vec::new();
        let mut used = 0;
        for frame_ in frames(&self.received) {
            used += 9 + frame_.payload.len();
            match frame_.kind {
                HEADERS | RST_STREAM => self.open.retain(|open| *open != frame_.stream),
                SETTINGS if !frame_.payload.is_empty() => {
                    acks.extend(frame(SETTINGS, ACK, 0, &[]));
                }
                PING => acks.extend(frame(PING, ACK, 0, &frame_.payload)),
                _ => {}
            }
        }
        self.received.drain(..used);
        self.raw.send(&acks).await;
        began.elapsed() >= Duration::from_millis(200)
    }
}

/// Measures this many genuine requests, one after the other.
async fn genuine(gate: &Gate, count: usize, times: &mut Vec<Duration>) {
    let mut connection = gate.client().from_ip("127.0.0.1").connect().await.unwrap();
    for _ in 0..count {
        let began = Instant::now();
        let reply = connection.send(&event()).await;
        times.push(began.elapsed());
        assert_eq!(reply.status, 200);
    }
}

fn part(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}

// Fails when unverified requests hold what genuine ones need, or cost so much that genuine ones have to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_slow_streams_delays_no_genuine_request() {
    let app = App::start(ok());
    let gate = Arc::new(gate(&app, 1024).await);
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    genuine(&gate, 50, &mut Vec::new()).await;
    for _ in 0..3 {
        genuine(&gate, 150, &mut quiet).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let running = Arc::new(AtomicUsize::new(0));
        let mut floods = JoinSet::new();
        for _ in 0..20 {
            let client = gate.client_h2().from_ip(HOSTILE);
            let (is_over, running) = (Arc::clone(&is_over), Arc::clone(&running));
            floods.spawn(async move {
                let mut flood = Flood::open(&client).await;
                while !is_over.load(Ordering::SeqCst) {
                    if !flood.tick().await {
                        flood = Flood::open(&client).await;
                    }
                    running.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        wait_for("the flood", LIMIT, || running.load(Ordering::SeqCst) >= 40).await;
        genuine(&gate, 150, &mut busy).await;
        is_over.store(true, Ordering::SeqCst);
        while floods.join_next().await.is_some() {}
        let deadline = Instant::now() + LIMIT;
        while gate.metric("hookgate_requests_in_flight", &[]).await > 0.0 {
            assert!(Instant::now() < deadline, "the flood does not end");
        }
    }
    for percent in [50, 99] {
        let (quiet, busy) = (part(&mut quiet, percent), part(&mut busy, percent));
        println!("{percent} %: {quiet:?} without the flood, {busy:?} with it");
        assert!(
            busy <= quiet * SLOWER + SLACK,
            "{percent} %: {quiet:?}, {busy:?}"
        );
    }
    gate.wait_for_line(&["source-budget-spent", HOSTILE]).await;
}

// Fails when monitor mode lets one source hold all in-flight permits.
#[tokio::test]
async fn monitor_mode_gives_a_source_its_share() {
    let latch = crate::harness::app::Latch::default();
    let app = App::start(crate::harness::app::held(&latch, 200));
    let server = "[server]\nmax_in_flight = 8\n\n";
    let route = Provider::Github.route("hook", &app.url("/in"), "enforce = \"monitor\"");
    let gate = Gate::start(&format!("{server}{route}")).await;
    let send = |from: &str| {
        let client = gate.client().from_ip(from);
        async move { client.send(&event().flip_body_byte()).await.status }
    };
    let held = [0, 1].map(|_| tokio::spawn(send(HOSTILE)));
    app.wait_for_requests(2).await;
    assert_eq!(send(HOSTILE).await, 429);
    let other = tokio::spawn(send("127.0.0.3"));
    app.wait_for_requests(3).await;
    latch.open();
    for task in held {
        assert_eq!(task.await.unwrap(), 200);
    }
    assert_eq!(other.await.unwrap(), 200);
}
