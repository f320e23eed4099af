//! Several nodes on one PostgreSQL server, against bare inserts of the same rows.
//!
//! `benches/scale.py` starts a server and runs this program with its port. Parts: `accept` alternates bare inserts and one,
//! two and three nodes; `backlog` measures takes with 1,000 and a million due deliveries; `grow EVENTS` measures the cost
//! of an event while the store grows; `retention` deletes as much as it commits and watches the size.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark of something broken has to stop"
)]

#[expect(dead_code, reason = "other benchmarks use the rest")]
mod store_load;

mod bare_postgres;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookgate::internals::{
    CommitDurability, DatabaseLocation, PostgresHost, PostgresSettings, PostgresTls,
    RetentionLimits, Store, StoreOptions, TakeRequest, instant,
};

use bare_postgres::BarePostgres;
use store_load::{BODY, COMMITTERS, DAY, NOW, Rig, memory};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SPAN: Duration = Duration::from_secs(4);

/// Opens a node on the server.
fn open(port: u16, schema: &str, name: &str) -> Store {
    let settings = PostgresSettings {
        hosts: vec![PostgresHost::Tcp("127.0.0.1".to_owned(), port)],
        database: "hookgate".to_owned(),
        user: "hookgate".to_owned(),
        password: None,
        tls: PostgresTls::Disabled,
        schema: schema.to_owned(),
        node: name.to_owned(),
        durability: CommitDurability::Replica,
        state_folder: None,
    };
    Store::open(StoreOptions {
        location: DatabaseLocation::Postgres(Box::new(settings)),
        encryption_keys: Vec::new(),
        keep_body: true,
        max_size: None,
        max_events: None,
    })
    .expect("the store opens")
}

fn rig(port: u16, schema: &str, nodes: usize) -> Rig {
    let names = ["a", "b", "c"];
    let stores = names[..nodes].iter().map(|name| open(port, schema, name));
    Rig::new(stores.collect())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Runs a part. Returns its result, and the CPU time of each event in words; `count` tells how many there were.
fn with_cpu<T>(
    server: &BarePostgres,
    part: impl FnOnce() -> T,
    count: impl FnOnce(&T) -> f64,
) -> (T, String) {
    let before = server.cpu();
    let done = part();
    let (server, client) = server.cpu().each_since(&before, count(&done));
    let text = format!("CPU of each: server {server:.0} us, client {client:.0} us");
    (done, text)
}

fn accept(port: u16, rounds: u32) {
    println!(
        "events of {BODY} bytes, {COMMITTERS} committers on all nodes together, {SPAN:?} each:"
    );
    // Each number of nodes has tables of its own, so that all of them grow alike.
    let rigs: Vec<Rig> = (1..=3)
        .map(|count| rig(port, &format!("nodes{count}"), count))
        .collect();
    let bare = BarePostgres::new(port, "nodes1");
    for round in 0..rounds {
        let (rate, cpu) = with_cpu(&bare, || bare.rate(SPAN), |rate| rate * SPAN.as_secs_f64());
        println!("  {round}: bare inserts by unnest, 2 sessions, groups of 64: {rate:.0}/s; {cpu}");
        let (run, cpu) = with_cpu(
            &bare,
            || rigs[0].commit(1, SPAN, u64::MAX),
            |run| run.rate * SPAN.as_secs_f64(),
        );
        println!(
            "  {round}: 1 node, 1 committer: {:.0}/s, p50 {:.2} ms; {cpu}",
            run.rate,
            milliseconds(run.p50)
        );
        for (number, rig) in rigs.iter().enumerate() {
            let nodes = number + 1;
            let (run, cpu) = with_cpu(
                &bare,
                || rig.commit(COMMITTERS, SPAN, u64::MAX),
                |run| run.rate * SPAN.as_secs_f64(),
            );
            println!(
                "  {round}: {nodes} nodes accept {:.0}/s = {:.2} of bare (groups of {:.0}, p50 {:.2} ms, p99 {:.2} ms); {cpu}",
                run.rate,
                run.rate / rate,
                run.group,
                milliseconds(run.p50),
                milliseconds(run.p99),
            );
            let pause = Duration::from_secs_f64(COMMITTERS as f64 * 2.0 / run.rate);
            let half = rig.commit_paced(COMMITTERS, SPAN, u64::MAX, pause);
            println!(
                "  {round}: {nodes} nodes at half of that, {:.0}/s: p50 {:.2} ms, p99 {:.2} ms",
                half.rate,
                milliseconds(half.p50),
                milliseconds(half.p99),
            );
            let (accepted, delivered) = rig.both(4 * nodes as u64, 32, SPAN);
            println!(
                "  {round}: {nodes} nodes accept {accepted:.0}/s and take and end {delivered:.0}/s = {:.2} at the same time",
                delivered / accepted,
            );
            let most = (run.rate * SPAN.as_secs_f64()) as u64;
            let ((count, rate), cpu) = with_cpu(
                &bare,
                || rig.deliver(4 * nodes as u64, 32, most),
                |(count, _)| *count as f64,
            );
            println!("  {round}: {nodes} nodes take and end {count} alone, {rate:.0}/s; {cpu}");
            // The rest, so that the next round begins with an empty queue.
            rig.deliver(4 * nodes as u64, 32, u64::MAX);
        }
    }
}

/// Measures takes while so many deliveries are due.
fn backlog(port: u16) {
    for due in [1_000, 1_000_000] {
        let schema = format!("due{due}");
        let rig = rig(port, &schema, 1);
        // One event through the store makes the names that the copies refer to.
        rig.commit(1, Duration::MAX, 1);
        BarePostgres::new(port, &schema).multiply(due);
        let (store, destination) = rig.nodes[0].clone();
        let mut took = Vec::new();
        for _ in 0..200 {
            let asked = instant();
            let taken = rig.runtime.block_on(async {
                let request = TakeRequest::new(destination, 4, NOW + 999 * DAY);
                store.take(request).await.expect("a take").due.len()
            });
            assert!(taken > 0, "nothing was due");
            took.push(asked.elapsed());
        }
        took.sort_unstable();
        println!(
            "takes of 4 with {due} due: p50 {:.2} ms, p99 {:.2} ms",
            milliseconds(took[100]),
            milliseconds(took[198]),
        );
        let (_, rate) = rig.deliver(8, 32, 20_000);
        println!("taken and ended with {due} due, 8 workers, 32 at once: {rate:.0}/s");
    }
}

/// Measures the cost of an event, which is committed, taken and ended, at several sizes of the store.
fn grow(port: u16, events: u64) {
    let rig = rig(port, "grown", 1);
    let watch = BarePostgres::new(port, "grown");
    println!("growing to {events} events, 1 node, {COMMITTERS} committers and 8 workers:");
    let mut marks = vec![1_000, 10_000, 100_000, 300_000];
    marks.extend((1..=events / 500_000).map(|step| step * 500_000));
    marks.retain(|mark| *mark <= events);
    let mut delivered = 0;
    for mark in marks {
        let first = rig.next.load(Ordering::Relaxed);
        let began = instant();
        let done = Arc::default();
        let left = mark - delivered;
        let workers = rig.spawn_workers(8, 32, &done, move |_, done| done < left);
        let run = rig.commit(COMMITTERS, Duration::MAX, mark);
        rig.join(workers);
        delivered += done.load(Ordering::Relaxed);
        let each = began.elapsed().as_secs_f64() * 1e6 / (mark - first) as f64;
        println!(
            "  {mark}: {each:.1} us each, delivered at once; p99 of a commit {:.1} ms, tables {:.0} MiB, memory {:.0} MiB",
            milliseconds(run.p99),
            watch.size_mib(),
            memory(),
        );
    }
}

/// Commits, delivers and deletes at the same pace, and prints the size of the tables after each round.
fn retention(port: u16, rounds: u32) {
    let rig = rig(port, "kept", 1);
    let watch = BarePostgres::new(port, "kept");
    let limits = RetentionLimits {
        delivered_ms: Some(0),
        dead_ms: Some(0),
        attempts_ms: Some(0),
        size: None,
        claims_ms: Some(0),
    };
    for round in 0..rounds {
        let (accepted, delivered) = rig.both(8, 32, SPAN);
        rig.deliver(8, 32, u64::MAX);
        // A sweep that found nothing more rests for a while, so the time goes on with each round.
        let now_ms = NOW + (99 + i64::from(round)) * DAY;
        let (began, mut purged) = (instant(), 0);
        loop {
            let round = rig.runtime.block_on(rig.store().purge(&limits, now_ms));
            let round = round.expect("it is purged");
            purged += round.events;
            if !round.is_more {
                break;
            }
        }
        println!(
            "  {round}: accepted {accepted:.0}/s, ended {delivered:.0}/s, purged {purged} in {:.1?}, tables {:.0} MiB",
            began.elapsed(),
            watch.size_mib(),
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|each| each != "--bench")
        .collect();
    let number = |at: usize, default: u64| {
        arguments
            .get(at)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let Some(part) = arguments.first() else {
        println!("benches/scale.py runs this program");
        return;
    };
    let port = u16::try_from(number(1, 5432)).expect("a port");
    match part.as_str() {
        "accept" => accept(port, number(2, 2) as u32),
        "backlog" => backlog(port),
        "grow" => grow(port, number(2, 1_000_000)),
        "retention" => retention(port, number(2, 8) as u32),
        _ => println!("unknown part {part}: accept, backlog, grow or retention"),
    }
}
