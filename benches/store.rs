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

mod store_load;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate::internals::{
    AttemptRecord, DatabaseLocation, DeliverySearch, DeliveryState, EventSearch, FinishedAttempt,
    ListPage, NextState, RetentionLimits, RouteName, Secret, SqliteFile, Store, StoreOptions,
    instant,
};
use rusqlite::{Connection, params};

use store_load::{
    BODY, COMMITTERS, DAY, NOW, Rig, body, claim_key, fsync_median, headers, median, memory, mix,
    take, time, uid,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

impl Rig {
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
                    .block_on(self.store().events(search.clone(), page))
            };
            times.push((name, median(|| drop(look().expect("a page")))));
        }
        let search = DeliverySearch {
            state: Some(DeliveryState::Pending),
            ..DeliverySearch::default()
        };
        let look = || {
            self.runtime
                .block_on(self.store().deliveries(search.clone(), page))
        };
        times.push(("deliveries", median(|| drop(look().expect("a page")))));
        let look = || self.runtime.block_on(self.store().destinations());
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

fn compare(folder: &Path, rounds: u32) {
    let fsync = fsync_median(&folder.join("sync"));
    println!("fdatasync of 64 KiB: {fsync:.0} us (median)");
    println!(
        "commits of {BODY} bytes, groups of {COMMITTERS} against {COMMITTERS} committers, 3 s each:"
    );
    let mut bare = Bare::new(&folder.join("bare.db"));
    let rig = Rig::new(vec![open(&folder.join("store.db"), None)]);
    let sealed = Rig::new(vec![open(
        &folder.join("sealed.db"),
        Some("a key of more than 16 bytes"),
    )]);
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
        let (_, rate) = rig.deliver(8, batch, 20_000);
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
    let rig = Rig::new(vec![open(&folder.join("grown.db"), None)]);
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
    let (_, rate) = rig.deliver(8, 32, 20_000);
    println!(
        "  taken and ended with this backlog: {rate:.0}/s; memory {:.0} MiB",
        memory()
    );
    purge(&rig);
}

fn fail_some(rig: &Rig) {
    rig.runtime.block_on(async {
        let due = take(rig.store(), rig.nodes[0].1, 20).await;
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
            rig.store().finish(ended).await.expect("it is ended");
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
            .block_on(rig.store().purge(&retention, NOW + 3 * DAY));
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
