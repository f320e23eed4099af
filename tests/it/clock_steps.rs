//! Tests that steps of the wall clock delay no delivery, ordered or not.
//!
//! The clock steps by an hour in both directions, across a restart and while the gate runs.

use std::time::{Duration, Instant};

use crate::crash::{count, faketime};
use crate::harness::app::{App, ok, respond};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, wait_for};

/// Limit that is far longer than any delivery here takes, and far shorter than the step.
const SOON: Duration = Duration::from_secs(120);

/// Returns a config with two routes, one of which keeps the order of its events.
fn config(app: &App) -> String {
    let mut text = "[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n".to_owned();
    for (name, order) in [("free", ""), ("ordered", "order = \"fifo\"\n")] {
        text.push_str(&Provider::Github.route(name, &app.url("/in"), "mode = \"queue\"\n"));
        text.push_str(&format!(
            "[routes.{name}.destinations.upstream]\nbreaker = false\n{order}\
            retry = {{ schedule = [\"2s\"], max_attempts = 1000, jitter = 0 }}\n"
        ));
    }
    text
}

fn environment(offset: &str) -> Vec<(String, String)> {
    vec![
        ("LD_PRELOAD".to_owned(), faketime()),
        ("FAKETIME".to_owned(), offset.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()),
    ]
}

fn hooks() -> Vec<Hook> {
    let of = |path| (0..3).map(move |_| Sender::new(Provider::Github).event(path));
    of("/free").chain(of("/ordered")).collect()
}

async fn accept(gate: &Gate, hooks: &[Hook]) {
    for hook in hooks {
        assert_eq!(gate.send(hook).await.status, 200);
    }
}

/// Waits until no delivery is open.
async fn arrive(gate: &Gate, step: &str) {
    let began = Instant::now();
    let file = gate.folder().join("hookgate.db");
    let open = "SELECT count(*) FROM delivery WHERE state <> 3";
    wait_for(step, SOON, || count(&file, open) == 0).await;
    println!("{step}: {:?}", began.elapsed());
}

// Fails when due times are compared with the wall clock: times written under the later clock are an hour away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_across_a_restart_delays_no_delivery() {
    for (first, second) in [("+1h", "+0"), ("+0", "-1h"), ("+0", "+1h")] {
        let app = App::start(respond(503, ""));
        let mut options = Gate::options(&config(&app));
        for (name, value) in environment(first) {
            options = options.env(&name, &value);
        }
        let mut gate = options.start().await;
        let hooks = hooks();
        accept(&gate, &hooks).await;
        // On the ordered route only the first delivery is attempted.
        wait_for("the first attempts", LIMIT, || app.count() >= 4).await;
        gate.set_environment(environment(second));
        gate.restart("TERM").await;
        app.behave(ok());
        accept(&gate, &self::hooks()).await;
        arrive(&gate, &format!("{first} to {second}")).await;
    }
}

// Fails when a worker sleeps until a time of the wall clock, or measures a pause with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_while_the_gate_runs_delays_no_delivery() {
    for step in ["-1h", "+1h", "-30s"] {
        let app = App::start(respond(503, ""));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("offset");
        std::fs::write(&file, "+0\n").unwrap();
        let mut options = Gate::options(&config(&app));
        for (name, value) in [
            ("LD_PRELOAD", &*faketime()),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ] {
            options = options.env(name, value);
        }
        let gate = options.start().await;
        let hooks = hooks();
        accept(&gate, &hooks).await;
        wait_for("the first attempts", LIMIT, || app.count() >= 4).await;
        std::fs::write(&file, format!("{step}\n")).unwrap();
        app.behave(ok());
        accept(&gate, &self::hooks()).await;
        arrive(&gate, step).await;
    }
}
