//! Tests of hybrid mode: the app's own response if it comes in time, otherwise the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::harness::app::{App, Behavior, Recorded, Refusing, by, ok, respond, sequence, slow};
use crate::harness::client::Client;
use crate::harness::gate::Gate;
use crate::harness::sender::{Provider, Sender};
use crate::harness::{LIMIT, wait_for};
use crate::inbox::{ADMIN_TOKEN, command, is_duplicate, kept};

/// Fails when the sender does not get the response of an app that is in time.
#[tokio::test]
async fn in_hybrid_mode_an_app_in_time_answers_itself() {
    let app = App::start(sequence([
        respond(201, "made"),
        respond(404, "not here"),
        respond(500, ""),
        ok(),
    ]));
    let gate = Gate::start(&kept(Provider::Github, "hybrid", &app.url("/in"), "")).await;
    for expected in [(201, "made"), (404, "not here")] {
        let reply = gate
            .send(&Sender::new(Provider::Github).event("/hook"))
            .await;
        assert_eq!((reply.status, reply.text().as_str()), expected);
    }
    // An event that is stored and sent again shows that the others are not.
    let last = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&last).await.status, 202);
    let requests = app.wait_for_requests(4).await;
    assert_eq!(requests[2].body, last.body);
    assert_eq!(requests[3].body, last.body);
    let first = &requests[0];
    assert_eq!(first.header("hookgate-attempt").as_deref(), Some("1"));
    assert!(first.header("webhook-id").is_some());
}

/// Fails when a 5xx or no connection reaches the sender, or when the event is lost with it.
#[tokio::test]
async fn in_hybrid_mode_what_the_app_does_not_take_is_kept() {
    let app = App::start(sequence([
        respond(500, "oops"),
        respond(404, "later"),
        ok(),
    ]));
    let more = "store_on = [\"4xx\"]\n";
    let gate = Gate::start(&kept(Provider::Github, "hybrid", &app.url("/in"), more)).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    let reply = gate.send(&hook).await;
    assert_eq!((reply.status, reply.text().as_str()), (202, ""));
    app.wait_for_requests(3).await;
    let got = app.requests();
    let attempts: Vec<_> = got
        .iter()
        .map(|each| each.header("hookgate-attempt").unwrap())
        .collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    assert_eq!(got[0].header("webhook-id"), got[2].header("webhook-id"));
    assert!(is_duplicate(&gate.send(&hook).await));

    let down = Refusing::new();
    let gate = Gate::start(&kept(Provider::Github, "hybrid", &down.url("/in"), "")).await;
    let reply = gate
        .send(&Sender::new(Provider::Github).event("/hook"))
        .await;
    assert_eq!(reply.status, 202);
}

/// Fails when a late 2xx counts as a failure: the app would get the event twice.
#[tokio::test]
async fn in_hybrid_mode_a_late_answer_still_counts() {
    let app = App::start(slow(Duration::from_millis(800), 200));
    let more = "answer_within = \"200ms\"\n";
    let gate = Gate::start(&kept(Provider::Github, "hybrid", &app.url("/in"), more)).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    let began = Instant::now();
    assert_eq!(gate.send(&hook).await.status, 202);
    assert!(
        began.elapsed() < Duration::from_millis(700),
        "{:?}",
        began.elapsed()
    );
    assert!(is_duplicate(&gate.send(&hook).await));
    // From then on there is nothing left to send.
    let delivered = ["state=\"delivered\""];
    gate.wait_for_metric("hookgate_deliveries_total", &delivered, |count| {
        count == 1.0
    })
    .await;
    app.only_request();
}

/// Fails when an attempt that was interrupted by a kill counts as a success.
#[tokio::test]
async fn in_hybrid_mode_a_kill_loses_nothing() {
    let app = App::start(Behavior::Hang);
    let more = "answer_within = \"100ms\"\n";
    let text = kept(Provider::Github, "hybrid", &app.url("/in"), more);
    let mut gate = Gate::start(&text).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 202);
    app.behave(ok());
    gate.restart("KILL").await;
    app.wait_for_requests(2).await;
    assert_eq!(app.requests()[1].body, hook.body);
    assert_eq!(
        app.requests()[1].header("hookgate-attempt").as_deref(),
        Some("2")
    );
}

fn operated(mode: &str, url: &str) -> String {
    let admin = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{ADMIN_TOKEN}\"\n");
    format!("{admin}{}", kept(Provider::Github, mode, url, ""))
}

/// Fails when an app whose deliveries are paused gets a request, or when events of that time are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_hybrid_mode_a_pause_leaves_the_app_alone() {
    let app = App::start(ok());
    let mut gate = Gate::start(&operated("hybrid", &app.url("/in"))).await;
    let event = || Sender::new(Provider::Github).event("/hook");
    for pause in [["hook/upstream", ""], ["--route", "hook"]] {
        let names: Vec<&str> = pause.into_iter().filter(|part| !part.is_empty()).collect();
        let before = app.count();
        let (code, told) = command(&gate, &[&["destinations", "pause"], &names[..]].concat());
        assert_eq!(code, 0, "{told}");
        let hook = event();
        let reply = gate.send(&hook).await;
        assert_eq!((reply.status, is_duplicate(&reply)), (202, false));
        assert!(is_duplicate(&gate.send(&hook).await));
        gate.restart("TERM").await;
        assert_eq!(gate.send(&event()).await.status, 202, "over a restart");
        assert_eq!(app.count(), before, "{pause:?}");
        let (code, told) = command(&gate, &[&["destinations", "resume"], &names[..]].concat());
        assert_eq!(code, 0, "{told}");
        app.wait_for_requests(before + 2).await;
        assert_eq!(gate.send(&event()).await.status, 200);
    }
}

/// Fails when operators see less of the attempt that a sender waited for than of other attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_hybrid_mode_the_first_attempt_is_shown_like_all_others() {
    let app = App::start(sequence([respond(500, "the database is away"), ok()]));
    let gate = Gate::start(&operated("hybrid", &app.url("/in"))).await;
    let reply = gate
        .send(&Sender::new(Provider::Github).event("/hook"))
        .await;
    assert_eq!((reply.status, reply.text().as_str()), (202, ""));
    let uid = reply.header("hookgate-request-id").unwrap();
    gate.wait_for_line(&["delivery attempt failed", uid]).await;
    app.wait_for_requests(2).await;
    let shown = || -> Value {
        let (_, text) = command(&gate, &["deliveries", "show", "1", "--json"]);
        serde_json::from_str(&text).unwrap_or_default()
    };
    wait_for("two attempts", LIMIT, || {
        shown()["attempts"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    let first = &shown()["attempts"][0];
    assert_eq!(first["answer"], "the database is away", "{first}");
    assert_eq!(
        (&first["number"], &first["status"]),
        (&1.into(), &500.into())
    );
}

/// Events that an app took, and those that it got again after that.
#[derive(Default)]
struct Taken {
    once: BTreeSet<Vec<u8>>,
    again: Vec<Vec<u8>>,
}

/// Returns the behavior of an unreliable app. It takes the events that it answers with 2xx, and fails, delays or drops
/// every n-th request.
fn unsteady(taken: &Arc<Mutex<Taken>>, is_steady: &Arc<AtomicBool>) -> Behavior {
    let (taken, is_steady) = (Arc::clone(taken), Arc::clone(is_steady));
    let calls = AtomicUsize::new(0);
    by(move |request: &Recorded| {
        let call = calls.fetch_add(1, Ordering::SeqCst) % 5;
        let behavior = match call {
            _ if is_steady.load(Ordering::SeqCst) => ok(),
            0 => respond(503, ""),
            1 => Behavior::Close,
            2 => slow(Duration::from_millis(150), 200),
            _ => ok(),
        };
        let is_taken = !matches!(&behavior, Behavior::Close | Behavior::Respond(503, _));
        let mut taken = taken.lock();
        if taken.once.contains(&request.body) {
            taken.again.push(request.body.clone());
        } else if is_taken {
            taken.once.insert(request.body.clone());
        }
        behavior
    })
}

/// Sends events until it has to stop, each twice at once and again after the responses. Returns the acknowledged ones.
async fn send_copies(
    client: Client,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> BTreeSet<Vec<u8>> {
    let mut acknowledged = BTreeSet::new();
    while !stop.load(Ordering::SeqCst) {
        let hook = Sender::new(Provider::Github).event("/hook");
        let (first, copy) = tokio::join!(client.send(&hook), client.send(&hook));
        let late = client.send(&hook).await;
        let copies = [first, copy, late].into_iter();
        let copies = copies.filter(|reply| reply.status < 300);
        if copies.count() > 0 {
            acknowledged.insert(hook.body);
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
    acknowledged
}

/// Fails when an acknowledged event does not reach an unreliable app, or when an id is released while the app may still
/// take its event: the app would get it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_hybrid_mode_an_app_that_comes_and_goes_gets_each_event_once() {
    let down = Refusing::new();
    let more = "answer_within = \"60ms\"\n";
    let gate = Gate::start(&kept(Provider::Github, "hybrid", &down.url("/in"), more)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(send_copies(gate.client(), stop, count))
        })
        .collect();
    wait_for("events while the app is away", LIMIT, || {
        count.load(Ordering::SeqCst) > 20
    })
    .await;
    let (taken, is_steady) = (Arc::default(), Arc::default());
    let app = App::start_on(down, unsteady(&taken, &is_steady));
    wait_for("events while the app is unsteady", LIMIT, || {
        app.count() > 100 && count.load(Ordering::SeqCst) > 40
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = BTreeSet::new();
    for sender in senders {
        acknowledged.append(&mut sender.await.unwrap());
    }
    is_steady.store(true, Ordering::SeqCst);
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    wait_for("all that was acknowledged", LIMIT, || {
        acknowledged.is_subset(&taken.lock().once)
    })
    .await;
    // From then on there is nothing left to send.
    for state in ["pending", "in_flight"] {
        let label = format!("state=\"{state}\"");
        gate.wait_for_metric("hookgate_queue_deliveries", &[&label], |count| count == 0.0)
            .await;
    }
    let again = taken.lock().again.len();
    assert_eq!(again, 0, "of {}", acknowledged.len());
}
