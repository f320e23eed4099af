//! Tests of the inbox under crashes: SIGKILL at any moment, failing and full disks, clocks that jump.
//!
//! Every event that was answered with 2xx must be there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::app::{App, Recorded, Refusing, by, ok, respond, slow};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, let_time_pass, wait_for};
use parking_lot::Mutex;

/// Number of kills; `HOOKGATE_KILLS` overrides it.
const KILLS: usize = 200;

/// Number of concurrent senders.
const SENDERS: usize = 6;

fn kills() -> usize {
    let asked = std::env::var("HOOKGATE_KILLS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

const QUICK: &str =
    "retry = { schedule = [\"30ms\"], max_attempts = 100000, jitter = 0 }\nbreaker = false\n";

fn config(app: &str) -> String {
    let mut text = "[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n".to_owned();
    for (name, more) in [
        ("queue", "mode = \"queue\"\n"),
        ("hybrid", "mode = \"hybrid\"\nanswer_within = \"40ms\"\n"),
    ] {
        text.push_str(&Provider::Github.route(name, app, more));
        text.push_str(&format!("[routes.{name}.destinations.upstream]\n{QUICK}"));
    }
    text
}

/// Returns the next pseudo-random number; the sequence is the same in each run.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *seed >> 33
}

/// Sent events by the id in the body, and whether each was answered with 2xx.
type Sent = Arc<Mutex<BTreeMap<String, (Hook, bool)>>>;

/// Sends until it has to stop; an error ends only a connection.
async fn send_on(
    client: crate::harness::client::Client,
    path: &'static str,
    sent: Sent,
    stop: Arc<AtomicBool>,
) {
    let sender = Sender::new(Provider::Github);
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut connection) = client.connect().await else {
            let_time_pass("the gate is down", Duration::from_millis(2)).await;
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let id = format!("evt_{}", uuid::Uuid::now_v7().simple());
            let hook = sender.event_of(path, &id);
            sent.lock().insert(id.clone(), (hook.clone(), false));
            match connection.try_send(&hook).await {
                Ok(reply) if (200..300).contains(&reply.status) => {
                    sent.lock().get_mut(&id).unwrap().1 = true;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
}

/// Returns the id that `Sender::event_of` writes into the body.
fn id_of(request: &Recorded) -> String {
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    body["note"].as_str().unwrap().to_owned()
}

pub fn count(path: &Path, query: &str) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    db.query_row(query, [], |row| row.get(0)).unwrap()
}

/// Fails when the response is sent before the commit, when a start forgets attempts in flight, when an outcome is
/// saved before it is known, or when a claim exists without its event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_moment_lose_nothing_and_repeat_nothing_that_was_recorded() {
    let calls = AtomicUsize::new(0);
    let app = App::start(by(move |_: &Recorded| {
        match calls.fetch_add(1, Ordering::Relaxed) % 7 {
            0 => respond(503, ""),
            1 => slow(Duration::from_millis(60), 200),
            _ => ok(),
        }
    }));
    let mut gate = Gate::start(&config(&app.url("/in"))).await;
    let sent = Sent::default();
    let mut seed = 20_261_125;
    let kills = kills();
    for _ in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..SENDERS)
            .map(|index| {
                let path = if index % 2 == 0 { "/queue" } else { "/hybrid" };
                let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
                tokio::spawn(send_on(gate.client(), path, sent, stop))
            })
            .collect();
        let moment = Duration::from_millis(next(&mut seed) % 120);
        let_time_pass("the kill comes at any moment", moment).await;
        gate.signal("KILL");
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.await.unwrap();
        }
        gate.restart("KILL").await;
    }
    let all = std::mem::take(&mut *sent.lock());
    let acknowledged = all.values().filter(|(_, is_answered)| *is_answered).count();
    assert!(
        acknowledged > kills,
        "the load was too small: {acknowledged}"
    );

    // No id is stuck: each event without a response is accepted now, or was accepted already.
    for (hook, _) in all.values().filter(|(_, is_answered)| !*is_answered) {
        let began = Instant::now();
        loop {
            let reply = gate.send(hook).await;
            if (200..300).contains(&reply.status) {
                break;
            }
            assert!(began.elapsed() < LIMIT, "stuck: {}", reply.status);
        }
    }
    let file = gate.folder().join("hookgate.db");
    let open = "SELECT count(*) FROM delivery WHERE state IN (0, 1, 2)";
    wait_for("the end of the backlog", Duration::from_secs(120), || {
        count(&file, open) == 0
    })
    .await;

    let mut arrived: BTreeMap<String, Vec<Recorded>> = BTreeMap::new();
    for request in app.requests() {
        arrived.entry(id_of(&request)).or_default().push(request);
    }
    let lost: Vec<_> = all.keys().filter(|id| !arrived.contains_key(*id)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        all.len()
    );
    // Attempt numbers are unique: no attempt is repeated under the same number.
    for (id, requests) in &arrived {
        let attempts: Vec<_> = requests
            .iter()
            .filter_map(|each| each.header("hookgate-attempt"))
            .collect();
        let distinct: BTreeSet<_> = attempts.iter().collect();
        // In hybrid mode, a first attempt that was killed before its commit has the same number as the next one.
        assert!(attempts.len() - distinct.len() <= 1, "{id}: {attempts:?}");
    }
    let after_success = "SELECT count(*) FROM attempt AS later JOIN attempt AS earlier \
        ON later.delivery = earlier.delivery AND later.number > earlier.number WHERE earlier.status BETWEEN 200 AND 299";
    assert_eq!(count(&file, after_success), 0);
    println!(
        "{kills} kills, {} events sent, {acknowledged} answered before a kill, {} requests at the app",
        all.len(),
        app.count()
    );
}

pub fn has(program: &str) -> bool {
    let asked = std::process::Command::new(program)
        .arg("--version")
        .output();
    asked.is_ok_and(|output| output.status.success())
}

/// Fails when a failed sync is repeated as if it could succeed, or answered as a success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_acknowledges_nothing_that_is_lost() {
    assert!(has("strace"), "strace is needed: tests/run installs it");
    // The first calls create the file; then every n-th call fails.
    for (calls, error, when) in [
        ("fdatasync,fsync", "EIO", "60+25"),
        ("pwrite64", "ENOSPC", "600+200"),
    ] {
        let app = App::start(ok());
        let inject = format!("inject={calls}:error={error}:when={when}");
        let gate = Gate::options(&config(&app.url("/in")))
            .under(&[
                "strace",
                "-D",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={calls}"),
                "-e",
                &inject,
            ])
            .start()
            .await;
        let sent = Sent::default();
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
                tokio::spawn(send_on(gate.client(), "/queue", sent, stop))
            })
            .collect();
        // More without a 2xx than can be in flight, so some of them were refused.
        wait_for("faults, and commits after them", 3 * LIMIT, || {
            let sent = sent.lock();
            let answered = sent
                .values()
                .filter(|(_, is_answered)| *is_answered)
                .count();
            sent.len() - answered > 2 * SENDERS && answered > 40
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.await.unwrap();
        }
        let all = std::mem::take(&mut *sent.lock());
        let refused = all
            .values()
            .filter(|(_, is_answered)| !*is_answered)
            .count();
        let answered: BTreeSet<_> = all
            .iter()
            .filter(|(_, (_, is_answered))| *is_answered)
            .map(|(id, _)| id.clone())
            .collect();
        assert!(refused > 0, "no fault was met: {error}");
        assert!(
            answered.len() > 20,
            "it did not go on after {error}: {}",
            answered.len()
        );
        let arrived = || -> BTreeSet<String> { app.requests().iter().map(id_of).collect() };
        let what = format!("all that was answered, over {error}");
        wait_for(&what, Duration::from_secs(60), || {
            answered.is_subset(&arrived())
        })
        .await;
        println!("{error}: {} answered, {refused} refused", answered.len());
    }
}

/// Returns the path of libfaketime, which gives a process a different wall clock.
pub fn faketime() -> String {
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        .map(|folder| format!("{folder}/faketime/libfaketime.so.1"))
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("libfaketime is needed: tests/run installs it")
}

/// Fails when a delivery waits for a time of a wrong clock, or when a jump forward sends all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_neither_wedges_nor_loses() {
    let library = faketime();
    let down = Refusing::new();
    let text = config(&down.url("/in"));
    for (first, second) in [("+5d", "+0"), ("+0", "+5d"), ("-30d", "+0")] {
        let offset = |offset: &str| {
            vec![
                ("LD_PRELOAD".to_owned(), library.clone()),
                ("FAKETIME".to_owned(), offset.to_owned()),
                ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
            ]
        };
        let mut options = Gate::options(&text);
        for (name, value) in offset(first) {
            options = options.env(&name, &value);
        }
        let mut gate = options.start().await;
        let hooks: Vec<Hook> = (0..10)
            .map(|_| Sender::new(Provider::Github).event("/queue"))
            .collect();
        for hook in &hooks {
            assert_eq!(gate.send(hook).await.status, 200, "{first}");
        }
        let attempts = "hookgate_delivery_attempts_total";
        gate.wait_for_metric(attempts, &[], |count| count >= 1.0)
            .await;
        let app = App::start(ok());
        gate.set_environment(offset(second));
        gate.set_config(&config(&app.url("/in")));
        gate.restart("TERM").await;
        let began = Instant::now();
        app.wait_for_requests(hooks.len()).await;
        println!("{first} to {second}: delivered after {:?}", began.elapsed());
    }
}
