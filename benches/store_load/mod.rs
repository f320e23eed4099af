//! Load for the benchmarks of the store: events, committers, workers and measurements.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate::internals::{
    AttemptRecord, ClaimRow, DestinationId, DestinationName, DueDelivery, EventId, FinishedAttempt,
    NewDelivery, NewEvent, NextState, RequestId, RouteName, Store, StoreError, StoreStatistics,
    StoredEvent, TakeRequest, instant,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub(crate) const BODY: usize = 1024;
pub(crate) const COMMITTERS: u64 = 64;
pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const DAY: i64 = 86_400_000;
const TYPES: [&str; 8] = [
    "push",
    "pull_request.opened",
    "issues.opened",
    "issue_comment.created",
    "check_run.completed",
    "check_suite.completed",
    "workflow_run.completed",
    "release.published",
];

/// Numbers that look random and are not.
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

pub(crate) fn claim_key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..].copy_from_slice(&mix(number ^ u64::MAX).to_be_bytes());
    key
}

pub(crate) fn uid(number: u64) -> RequestId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&mix(number).to_be_bytes());
    RequestId::new(time(number), random)
}

pub(crate) fn time(number: u64) -> i64 {
    NOW + i64::try_from(number / 10).unwrap_or(0)
}

pub(crate) fn body() -> Bytes {
    let text: Vec<u8> = (0..BODY as u64)
        .map(|place| b'a' + (mix(place) % 26) as u8)
        .collect();
    Bytes::from(text)
}

pub(crate) fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("user-agent", "GitHub-Hookshot/044aadd"),
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        (
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

pub(crate) fn event(
    number: u64,
    destination: DestinationId,
    body: &Bytes,
    headers: &HeaderMap,
) -> NewEvent {
    let uid = uid(number);
    let name = format!("{:016x}-{number}", mix(number));
    NewEvent {
        event: StoredEvent {
            uid,
            route: RouteName::new("github"),
            provider: "github".to_owned(),
            event_id: EventId::parse(&name),
            event_type: Some(TYPES[(mix(number) % 8) as usize].into()),
            webhook_id: name,
            received_ms: time(number),
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            is_tls: true,
            method: Method::POST,
            target: "/github".to_owned(),
            host: Some("hooks.example.com".to_owned()),
            headers: headers.clone(),
            body: Some(body.clone()),
            digest: [7; 32],
        },
        claims: vec![ClaimRow {
            key: claim_key(number),
            expires_ms: time(number) + 7 * DAY,
        }],
        status: 202,
        deliveries: vec![NewDelivery {
            destination,
            due_ms: time(number),
            priority: 0,
            order_key: None,
            is_in_flight: false,
        }],
    }
}

/// A store under load.
pub(crate) struct Rig {
    pub(crate) runtime: tokio::runtime::Runtime,
    /// Handles of one store, with their number of the destination.
    pub(crate) nodes: Vec<(Store, DestinationId)>,
    pub(crate) next: Arc<AtomicU64>,
    body: Bytes,
    headers: HeaderMap,
}

/// What a run of commits took.
pub(crate) struct Run {
    pub(crate) rate: f64,
    /// Tasks in one group.
    pub(crate) group: f64,
    pub p50: Duration,
    pub p99: Duration,
}

impl Rig {
    /// A load on one or more handles of the same store, each of which is a node of its own.
    pub(crate) fn new(stores: Vec<Store>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (route, name) = (RouteName::new("github"), DestinationName::new("app"));
        let nodes = stores.into_iter().map(|store| {
            let destination = runtime.block_on(store.destination(&route, &name));
            (store, destination.expect("a destination"))
        });
        let nodes = nodes.collect();
        Self {
            runtime,
            nodes,
            next: Arc::new(AtomicU64::new(0)),
            body: body(),
            headers: headers(),
        }
    }

    /// The first node.
    pub(crate) fn store(&self) -> &Store {
        &self.nodes[0].0
    }

    fn node(&self, number: u64) -> (Store, DestinationId) {
        self.nodes[number as usize % self.nodes.len()].clone()
    }

    /// Commits as fast as it goes, until a time is over or a number is reached, with this many committers.
    pub(crate) fn commit(&self, committers: u64, span: Duration, until: u64) -> Run {
        self.commit_paced(committers, span, until, Duration::ZERO)
    }

    /// Each committer asks once in such a `pause`, or at once where its last commit took longer.
    pub(crate) fn commit_paced(
        &self,
        committers: u64,
        span: Duration,
        until: u64,
        pause: Duration,
    ) -> Run {
        let before = self.stats();
        let (began, first) = (instant(), self.next.load(Ordering::Relaxed));
        let tasks: Vec<_> = (0..committers)
            .map(|committer| {
                let ((store, destination), next) = (self.node(committer), Arc::clone(&self.next));
                let (body, headers) = (self.body.clone(), self.headers.clone());
                // Not all of them at the same moment.
                let mut due = began + pause.mul_f64(committer as f64 / committers as f64);
                self.runtime.spawn(async move {
                    let mut took = Vec::new();
                    while began.elapsed() < span {
                        tokio::time::sleep_until(due.into()).await;
                        due += pause;
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= until {
                            break;
                        }
                        let asked = instant();
                        let new = event(number, destination, &body, &headers);
                        store.commit(new).await.expect("it is committed");
                        took.push(asked.elapsed());
                    }
                    took
                })
            })
            .collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(self.runtime.block_on(task).expect("no panic"));
        }
        let elapsed = began.elapsed().as_secs_f64();
        let done = self.next.load(Ordering::Relaxed).min(until) - first;
        self.next.fetch_min(until, Ordering::Relaxed);
        took.sort_unstable();
        let after = self.stats();
        let groups = (after.groups - before.groups).max(1);
        Run {
            rate: done as f64 / elapsed,
            group: (after.grouped - before.grouped) as f64 / groups as f64,
            p50: took.get(took.len() / 2).copied().unwrap_or_default(),
            p99: took.get(took.len() * 99 / 100).copied().unwrap_or_default(),
        }
    }

    /// The statistics of the first node, with the groups of all nodes.
    pub(crate) fn stats(&self) -> StoreStatistics {
        let mut all = self
            .nodes
            .iter()
            .map(|(store, _)| self.runtime.block_on(store.stats()).expect("stats"));
        let first = all.next().expect("a node");
        all.fold(first, |sum, stats| StoreStatistics {
            groups: sum.groups + stats.groups,
            grouped: sum.grouped + stats.grouped,
            ..sum
        })
    }

    /// Takes and ends deliveries with this many workers until that many are done or nothing is due; how many, and
    /// deliveries a second.
    pub(crate) fn deliver(&self, workers: u64, batch: usize, most: u64) -> (u64, f64) {
        let (began, done) = (instant(), Arc::default());
        let tasks = self.spawn_workers(workers, batch, &done, move |found, done| {
            found > 0 && done < most
        });
        self.join(tasks);
        let done = done.load(Ordering::Relaxed);
        (done, done as f64 / began.elapsed().as_secs_f64())
    }

    /// Commits with as many committers as there are, and beside it takes and ends what was committed: events and
    /// deliveries a second.
    pub(crate) fn both(&self, workers: u64, batch: usize, span: Duration) -> (f64, f64) {
        let (began, done) = (instant(), Arc::default());
        let tasks = self.spawn_workers(workers, batch, &done, move |_, _| began.elapsed() < span);
        let run = self.commit(COMMITTERS, span, u64::MAX);
        self.join(tasks);
        let delivered = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        (run.rate, delivered)
    }

    /// Workers that take and end deliveries for as long as `goes_on`, which hears how many were due just now and how many
    /// are done.
    pub(crate) fn spawn_workers(
        &self,
        workers: u64,
        batch: usize,
        done: &Arc<AtomicU64>,
        goes_on: impl Fn(u64, u64) -> bool + Copy + Send + 'static,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let spawn = |worker| {
            let ((store, destination), done) = (self.node(worker), Arc::clone(done));
            self.runtime.spawn(async move {
                loop {
                    let found = deliver_some(&store, destination, batch).await;
                    let before = done.fetch_add(found, Ordering::Relaxed);
                    if !goes_on(found, before + found) {
                        break;
                    }
                    if found == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            })
        };
        (0..workers).map(spawn).collect()
    }

    pub(crate) fn join(&self, tasks: Vec<tokio::task::JoinHandle<()>>) {
        for task in tasks {
            self.runtime.block_on(task).expect("no panic");
        }
    }
}

pub(crate) async fn take(
    store: &Store,
    destination: DestinationId,
    limit: usize,
) -> Result<Vec<DueDelivery>, StoreError> {
    let request = TakeRequest::new(destination, limit, NOW + 999 * DAY);
    store.take(request).await.map(|taken| taken.due)
}

/// Takes what is due, at most a batch, and ends it; how many.
pub(crate) async fn deliver_some(store: &Store, destination: DestinationId, batch: usize) -> u64 {
    let due = take(store, destination, batch).await;
    let due = due.expect("it is taken");
    let ended = due.iter().map(|due| {
        store.finish(FinishedAttempt {
            delivery: due.delivery,
            attempt: due.attempt,
            record: AttemptRecord {
                started_ms: NOW,
                duration_ms: 12,
                status: Some(204),
                error: None,
                response_start: Bytes::new(),
            },
            next: NextState::Delivered,
        })
    });
    let ended: Vec<_> = ended.map(tokio_spawn).collect();
    for ended in ended {
        assert!(ended.await, "it was in flight");
    }
    due.len() as u64
}

fn tokio_spawn(
    ended: impl Future<Output = Result<bool, StoreError>>,
) -> impl Future<Output = bool> {
    // Polled in turn; the first poll hands it to the writer, so all of them go into few groups.
    let mut ended = Box::pin(ended);
    let waker = std::task::Waker::noop();
    let first = ended
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    async move {
        match first {
            std::task::Poll::Ready(done) => done.expect("it is ended"),
            std::task::Poll::Pending => ended.await.expect("it is ended"),
        }
    }
}

/// Milliseconds, the middle of eleven.
pub(crate) fn median(what: impl Fn()) -> f64 {
    let mut times: Vec<f64> = (0..11)
        .map(|_| {
            let began = instant();
            what();
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Microseconds that the disk takes to make 64 KiB durable, the middle of 200.
pub(crate) fn fsync_median(path: &Path) -> f64 {
    let mut file = File::create(path).expect("a file");
    let block = vec![7; 64 * 1024];
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            file.write_all(&block).expect("it is written");
            let began = instant();
            file.sync_data().expect("it is synchronised");
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// Resident memory in MiB.
pub(crate) fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
