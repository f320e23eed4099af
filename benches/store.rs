//! The store against bare SQLite, and against its own size.
//!
//! `cargo bench --bench store -- [EVENTS [FOLDER]]` prints a table: commits a second of bare SQLite (the same rows in groups of
//! 64) and of `Store::commit` with 64 committers, alternating on one disk; how long a commit takes at half of that rate;
//! commits with deliveries beside them; takings with their outcomes; then the cost of a commit, of a page of each usual
//! search and of memory while the store grows to EVENTS (200,000).
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark of something broken has to stop"
)]

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate::internals::{
    AttemptRecord, ClaimRow, DatabaseLocation, DeliverySearch, DeliveryState, DestinationId,
    DestinationName, DueDelivery, EventId, EventSearch, FinishedAttempt, ListPage, NewDelivery,
    NewEvent, NextState, RequestId, RetentionLimits, RouteName, Secret, SqliteFile, Store,
    StoreError, StoreOptions, StoredEvent, TakeRequest, instant,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rusqlite::{Connection, params};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: usize = 1024;
const COMMITTERS: u64 = 64;
const NOW: i64 = 1_700_000_000_000;
const DAY: i64 = 86_400_000;
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
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

fn claim_key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..].copy_from_slice(&mix(number ^ u64::MAX).to_be_bytes());
    key
}

fn uid(number: u64) -> RequestId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&mix(number).to_be_bytes());
    RequestId::new(time(number), random)
}

fn time(number: u64) -> i64 {
    NOW + i64::try_from(number / 10).unwrap_or(0)
}

fn body() -> Bytes {
    let text: Vec<u8> = (0..BODY as u64)
        .map(|place| b'a' + (mix(place) % 26) as u8)
        .collect();
    Bytes::from(text)
}

fn headers() -> HeaderMap {
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

fn event(number: u64, destination: DestinationId, body: &Bytes, headers: &HeaderMap) -> NewEvent {
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

fn open(path: &Path, key: Option<&str>) -> Store {
    Store::open(StoreOptions {
        location: DatabaseLocation::Sqlite(SqliteFile {
            path: path.to_owned(),
            min_free: 1 << 30,
        }),
        encryption_keys: key.map(|key| Secret::new(key.into())).into_iter().collect(),
        keep_body: true,
        max_size: None,
        max_events: None,
    })
    .expect("the store opens")
}

/// Bare SQLite with the rows that nobody can do without: event, content, claim, delivery with its index of what is due.
struct Bare {
    conn: Connection,
    next: u64,
    head: Vec<u8>,
    body: Bytes,
}

impl Bare {
    fn new(path: &Path) -> Self {
        let conn = Connection::open(path).expect("it opens");
        let sql = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 16000;
            CREATE TABLE event (id INTEGER PRIMARY KEY, uid BLOB, kind INTEGER, received_ms INTEGER,
                body_size INTEGER, event_id TEXT, webhook_id TEXT, event_type TEXT) STRICT;
            CREATE TABLE content (event INTEGER PRIMARY KEY, sealing_key INTEGER, head BLOB, body BLOB)
                STRICT;
            CREATE TABLE claim (route INTEGER, key BLOB, expires_ms INTEGER, status INTEGER,
                PRIMARY KEY (route, key)) STRICT, WITHOUT ROWID;
            CREATE TABLE delivery (id INTEGER PRIMARY KEY, event INTEGER, lane INTEGER,
                destination INTEGER, state INTEGER, is_behind INTEGER, priority INTEGER,
                due_ms INTEGER, order_key INTEGER, attempts INTEGER, round INTEGER,
                round_began_ms INTEGER, created_ms INTEGER, ended_ms INTEGER, last_status INTEGER,
                last_error TEXT) STRICT;
            CREATE INDEX due ON delivery (destination, priority, due_ms);";
        conn.execute_batch(sql).expect("it is set up");
        // As long as the head that the store makes of the same event.
        let lengths = headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 8)
            .sum::<usize>();
        Self {
            conn,
            next: 0,
            head: vec![7; lengths + 80],
            body: body(),
        }
    }

    fn commit_group(&mut self) {
        let tx = self.conn.unchecked_transaction().expect("it begins");
        for _ in 0..COMMITTERS {
            let number = self.next;
            self.next += 1;
            self.insert(number).expect("it is inserted");
        }
        tx.commit().expect("it is committed");
    }

    fn insert(&self, number: u64) -> rusqlite::Result<()> {
        let name = format!("{:016x}-{number}", mix(number));
        let id = i64::try_from(number).unwrap_or(0) + 1;
        let now = time(number);
        let sql = "INSERT INTO claim VALUES (1, ?1, ?2, 202)";
        let values = params![&claim_key(number)[..], now + 7 * DAY];
        self.conn.prepare_cached(sql)?.execute(values)?;
        let sql = "INSERT INTO event VALUES (?1, ?2, 1, ?3, ?4, ?5, ?5, NULL)";
        let uid = uid(number);
        let values = params![id, &uid.as_bytes()[..], now, BODY as i64, name];
        self.conn.prepare_cached(sql)?.execute(values)?;
        let sql = "INSERT INTO content VALUES (?1, 0, ?2, ?3)";
        let values = params![id, self.head, &self.body[..]];
        self.conn.prepare_cached(sql)?.execute(values)?;
        let sql = "INSERT INTO delivery VALUES
            (?1, ?1, 1, 1, 0, 0, 0, ?2, NULL, 0, 0, ?2, ?2, NULL, NULL, NULL)";
        self.conn.prepare_cached(sql)?.execute(params![id, now])?;
        Ok(())
    }

    fn rate(&mut self, span: Duration) -> f64 {
        let (began, first) = (instant(), self.next);
        while began.elapsed() < span {
            self.commit_group();
        }
        (self.next - first) as f64 / began.elapsed().as_secs_f64()
    }
}

/// A store under load.
struct Rig {
    runtime: tokio::runtime::Runtime,
    store: Store,
    destination: DestinationId,
    next: Arc<AtomicU64>,
    body: Bytes,
    headers: HeaderMap,
}

/// What a run of commits took.
struct Run {
    rate: f64,
    /// Tasks in one group.
    group: f64,
    p50: Duration,
    p99: Duration,
}

impl Rig {
    fn new(path: &Path, key: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let store = open(path, key);
        let (route, name) = (RouteName::new("github"), DestinationName::new("app"));
        let destination = runtime
            .block_on(store.destination(&route, &name))
            .expect("a destination");
        Self {
            runtime,
            store,
            destination,
            next: Arc::new(AtomicU64::new(0)),
            body: body(),
            headers: headers(),
        }
    }

    /// Commits as fast as it goes, until a time is over or a number is reached, with this many committers.
    fn commit(&self, committers: u64, span: Duration, until: u64) -> Run {
        self.commit_paced(committers, span, until, Duration::ZERO)
    }

    /// Each committer asks once in such a `pause`, or at once where its last commit took longer.
    fn commit_paced(&self, committers: u64, span: Duration, until: u64, pause: Duration) -> Run {
        let before = self.stats();
        let (began, first) = (instant(), self.next.load(Ordering::Relaxed));
        let tasks: Vec<_> = (0..committers)
            .map(|committer| {
                let (store, next) = (self.store.clone(), Arc::clone(&self.next));
                let (body, headers) = (self.body.clone(), self.headers.clone());
                // Not all of them at the same moment.
                let mut due = began + pause.mul_f64(committer as f64 / committers as f64);
                let destination = self.destination;
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

    fn stats(&self) -> hookgate::internals::StoreStatistics {
        self.runtime.block_on(self.store.stats()).expect("stats")
    }

    /// Takes and ends deliveries with this many workers until that many are done or nothing is due; deliveries a second.
    fn deliver(&self, workers: u64, batch: usize, most: u64) -> f64 {
        let (began, done) = (instant(), Arc::default());
        let tasks = self.spawn_workers(workers, batch, &done, move |found, done| {
            found > 0 && done < most
        });
        self.join(tasks);
        done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
    }

    /// Commits with as many committers as there are, and beside it takes and ends what was committed: events and
    /// deliveries a second.
    fn both(&self, workers: u64, batch: usize, span: Duration) -> (f64, f64) {
        let (began, done) = (instant(), Arc::default());
        let tasks = self.spawn_workers(workers, batch, &done, move |_, _| began.elapsed() < span);
        let run = self.commit(COMMITTERS, span, u64::MAX);
        self.join(tasks);
        let delivered = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        (run.rate, delivered)
    }

    /// Workers that take and end deliveries for as long as `goes_on`, which hears how many were due just now and how many
    /// are done.
    fn spawn_workers(
        &self,
        workers: u64,
        batch: usize,
        done: &Arc<AtomicU64>,
        goes_on: impl Fn(u64, u64) -> bool + Copy + Send + 'static,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let spawn = |_| {
            let (store, done) = (self.store.clone(), Arc::clone(done));
            let destination = self.destination;
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

    fn join(&self, tasks: Vec<tokio::task::JoinHandle<()>>) {
        for task in tasks {
            self.runtime.block_on(task).expect("no panic");
        }
    }

    /// The median time of a page of some searches, in milliseconds.
    fn pages(&self) -> Vec<(&'static str, f64)> {
        let count = self.next.load(Ordering::Relaxed);
        let middle = time(count / 2);
        let search = EventSearch::default;
        let events = [
            ("newest", search()),
            (
                "route",
                EventSearch {
                    route: Some(RouteName::new("github")),
                    ..search()
                },
            ),
            (
                "type",
                EventSearch {
                    event_type: Some("pull_*".to_owned()),
                    ..search()
                },
            ),
            (
                "time",
                EventSearch {
                    since_ms: Some(middle),
                    before_ms: Some(middle + 1000),
                    ..search()
                },
            ),
            (
                "id",
                EventSearch {
                    id: Some(format!("{:016x}-{}", mix(count / 3), count / 3)),
                    ..search()
                },
            ),
            (
                "delivered",
                EventSearch {
                    state: Some(DeliveryState::Delivered),
                    ..search()
                },
            ),
            (
                "dead",
                EventSearch {
                    state: Some(DeliveryState::Dead),
                    ..search()
                },
            ),
        ];
        let page = ListPage {
            after: None,
            limit: 50,
        };
        let mut times = Vec::new();
        for (name, search) in events {
            let look = || {
                self.runtime
                    .block_on(self.store.events(search.clone(), page))
            };
            times.push((name, median(|| drop(look().expect("a page")))));
        }
        let search = DeliverySearch {
            state: Some(DeliveryState::Pending),
            ..DeliverySearch::default()
        };
        let look = || {
            self.runtime
                .block_on(self.store.deliveries(search.clone(), page))
        };
        times.push(("deliveries", median(|| drop(look().expect("a page")))));
        let look = || self.runtime.block_on(self.store.destinations());
        times.push(("destinations", median(|| drop(look().expect("rows")))));
        times.push((
            "stats",
            median(|| {
                let _ = self.stats();
            }),
        ));
        times
    }
}

async fn take(
    store: &Store,
    destination: DestinationId,
    limit: usize,
) -> Result<Vec<DueDelivery>, StoreError> {
    let request = TakeRequest::new(destination, limit, NOW + 99 * DAY);
    store.take(request).await.map(|taken| taken.due)
}

/// Takes what is due, at most a batch, and ends it; how many.
async fn deliver_some(store: &Store, destination: DestinationId, batch: usize) -> u64 {
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
    ended: impl Future<Output = Result<bool, hookgate::internals::StoreError>>,
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
fn median(what: impl Fn()) -> f64 {
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
fn fsync_median(path: &Path) -> f64 {
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

/// Seconds of processor time that threads whose name begins so have used.
fn cpu(name: &str) -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let used = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        let (head, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        head.split_once('(')?
            .1
            .starts_with(name)
            .then_some(ticks / 100.0)
    });
    used.sum()
}

/// The name of the thread that runs `main`.
fn main_name() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    name.trim().to_owned()
}

/// Resident memory in MiB.
fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn compare(folder: &Path, rounds: u32) {
    let fsync = fsync_median(&folder.join("sync"));
    println!("fdatasync of 64 KiB: {fsync:.0} us (median)");
    println!(
        "commits of {BODY} bytes, groups of {COMMITTERS} against {COMMITTERS} committers, 3 s each:"
    );
    let mut bare = Bare::new(&folder.join("bare.db"));
    let rig = Rig::new(&folder.join("store.db"), None);
    let sealed = Rig::new(
        &folder.join("sealed.db"),
        Some("a key of more than 16 bytes"),
    );
    let span = Duration::from_secs(3);
    let main = main_name();
    for round in 0..rounds {
        let (before, first) = (cpu(&main), bare.next);
        let rate = bare.rate(span);
        let bare_cpu = (cpu(&main) - before) * 1e6 / (bare.next - first) as f64;
        let bare = rate;
        let before = writer_cpu(&main);
        let first = rig.next.load(Ordering::Relaxed);
        let run = rig.commit(COMMITTERS, span, u64::MAX);
        let done = rig.next.load(Ordering::Relaxed) - first;
        let writer_cpu = (writer_cpu(&main) - before) * 1e6 / done as f64;
        let other = sealed.commit(COMMITTERS, span, u64::MAX);
        println!(
            "  {round}: processor time of an event: bare {bare_cpu:.1} us, writer {writer_cpu:.1} us"
        );
        println!(
            "  {round}: bare {bare:.0}/s, store {:.0}/s = {:.2} (groups of {:.0}, p50 {:.2} ms, p99 {:.2} ms), \
             sealed {:.0}/s = {:.2}",
            run.rate,
            run.rate / bare,
            run.group,
            run.p50.as_secs_f64() * 1e3,
            run.p99.as_secs_f64() * 1e3,
            other.rate,
            other.rate / bare,
        );
        let pause = Duration::from_secs_f64(COMMITTERS as f64 * 2.0 / run.rate);
        let half = rig.commit_paced(COMMITTERS, 2 * span, u64::MAX, pause);
        println!(
            "  {round}: at half of that rate, {:.0}/s: groups of {:.1}, p50 {:.2} ms, p99 {:.2} ms = {:.1} times fdatasync",
            half.rate,
            half.group,
            half.p50.as_secs_f64() * 1e3,
            half.p99.as_secs_f64() * 1e3,
            half.p99.as_secs_f64() * 1e6 / fsync,
        );
        let (accepted, delivered) = rig.both(8, 32, span);
        println!(
            "  {round}: at the same time accepted {accepted:.0}/s = {:.2} of bare, taken and ended {delivered:.0}/s = {:.2} of accepted",
            accepted / bare,
            delivered / accepted,
        );
    }
    let one = rig.commit(1, span, u64::MAX);
    println!(
        "  one committer: {:.0}/s, p50 {:.2} ms",
        one.rate,
        one.p50.as_secs_f64() * 1e3
    );
    for batch in [1, 32] {
        let rate = rig.deliver(8, batch, 20_000);
        println!("taken and ended, 8 workers, {batch} at once: {rate:.0}/s");
    }
}

/// Of the threads of all stores.
fn writer_cpu(main: &str) -> f64 {
    let all = cpu("store");
    match main.starts_with("store") {
        true => all - cpu(main),
        false => all,
    }
}

fn grow(folder: &Path, events: u64) {
    let rig = Rig::new(&folder.join("grown.db"), None);
    println!("growing to {events} events, {COMMITTERS} committers; pages of 50 in ms:");
    let mut marks = vec![
        1_000, 10_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000,
        5_000_000,
    ];
    marks.retain(|mark| *mark < events);
    marks.push(events);
    for mark in marks {
        let run = rig.commit(COMMITTERS, Duration::MAX, mark);
        if mark <= 10_000 {
            // Some in each state.
            rig.deliver(1, 8, 100);
            fail_some(&rig);
        }
        let size = rig.stats().size as f64 / 1048576.0;
        let per_event = 1e6 / run.rate;
        print!(
            "  {mark}: {per_event:.1} us each, p99 {:.1} ms, file {size:.0} MiB, memory {:.0} MiB;",
            run.p99.as_secs_f64() * 1e3,
            memory()
        );
        for (name, time) in rig.pages() {
            print!(" {name} {time:.2}");
        }
        println!();
    }
    let rate = rig.deliver(8, 32, 20_000);
    println!(
        "  taken and ended with this backlog: {rate:.0}/s; memory {:.0} MiB",
        memory()
    );
    purge(&rig);
}

fn fail_some(rig: &Rig) {
    rig.runtime.block_on(async {
        let due = take(&rig.store, rig.destination, 20).await;
        for due in due.expect("it is taken") {
            let ended = FinishedAttempt {
                delivery: due.delivery,
                attempt: due.attempt,
                record: AttemptRecord {
                    started_ms: NOW,
                    duration_ms: 12,
                    status: Some(500),
                    error: None,
                    response_start: Bytes::new(),
                },
                next: NextState::Dead,
            };
            rig.store.finish(ended).await.expect("it is ended");
        }
    });
}

fn purge(rig: &Rig) {
    let retention = RetentionLimits {
        delivered_ms: Some(DAY),
        dead_ms: Some(DAY),
        attempts_ms: Some(DAY),
        size: None,
        claims_ms: None,
    };
    let (began, mut rounds, mut longest) = (instant(), 0_u32, Duration::ZERO);
    let mut events = 0;
    while rounds < 2000 {
        let asked = instant();
        let purged = rig
            .runtime
            .block_on(rig.store.purge(&retention, NOW + 3 * DAY));
        let purged = purged.expect("it is purged");
        longest = longest.max(asked.elapsed());
        events += purged.events;
        rounds += 1;
        if !purged.is_more {
            break;
        }
    }
    let took: Duration = Instant::elapsed(&began);
    println!("  purge: {events} events in {rounds} rounds, {took:.1?}, the longest {longest:.1?}");
}

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let events = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(200_000);
    let parent = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(parent).expect("a folder");
    compare(folder.path(), 3);
    grow(folder.path(), events);
}
