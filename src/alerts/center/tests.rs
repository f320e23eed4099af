//! Tests of whole rounds with a real receiver, on an injected clock.

use std::path::Path;

use super::*;
use crate::alerts::findings::RecentTraffic;
use crate::config;
use crate::model::clock::ClockReading;
use crate::model::problem::ProblemKind;
use crate::net::client::OutgoingClient;
use crate::test_rig::app::{App, ok};
use crate::test_rig::{LIMIT, wait_for};

const HOUR_MS: i64 = 3_600_000;

/// A center with a receiver and a clock.
struct Rounds {
    center: Arc<AlertCenter>,
    receiver: App,
    now_ms: i64,
}

fn plan(receiver: &App, more: &str) -> AlertPlan {
    let text = format!(
        "[routes.shop]\npath = \"/shop\"\nprovider = \"stripe\"\nsecret = \"whsec_8fJq2LxW0aZ1\"\n\
         upstream = \"http://127.0.0.1/\"\n{more}\n[alerts.program]\ntype = \"webhook\"\nurl = \"{}\"\n\
         secret = \"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\"\n",
        receiver.url("/alerts")
    );
    let loaded = config::load_text("a.toml", text);
    let mut config = loaded
        .unwrap_or_else(|report| panic!("{}", report.summary()))
        .config;
    let receivers = std::mem::take(&mut config.alerts);
    AlertPlan::build(receivers, &config, &OutgoingClient::new()).unwrap()
}

impl Rounds {
    fn start(folder: &Path, more: &str) -> Self {
        Self::with(folder, App::start(ok()), ClockReading::read().unix_ms, more)
    }

    fn with(folder: &Path, receiver: App, now_ms: i64, more: &str) -> Self {
        let center = AlertCenter::new(AlertKeeper::new(folder, None), Arc::from("edge-1"));
        center.follow(plan(&receiver, more));
        Self {
            center,
            receiver,
            now_ms,
        }
    }

    /// Runs a round an interval later, and waits until its messages are sent.
    async fn round(&mut self, found: Vec<FoundProblem>, routes: BTreeMap<String, RecentTraffic>) {
        self.now_ms += 15_000;
        let own = NodeFindings::new(self.now_ms, routes, Vec::new());
        self.center.round(own, Some(found), self.now_ms).await;
        let center = Arc::clone(&self.center);
        wait_for("the messages", LIMIT, || {
            center.state.lock().sending.is_empty()
        })
        .await;
    }

    /// Ends the process and begins again with what it stored.
    async fn restart(self, folder: &Path, more: &str) -> Self {
        self.center.close().await;
        Self::with(folder, self.receiver, self.now_ms, more)
    }

    fn alerts(&self) -> Vec<(String, String)> {
        let requests = self.receiver.requests();
        let each = requests.iter().flat_map(|request| {
            let document: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let alerts = document["data"]["alerts"].as_array().unwrap().clone();
            alerts.into_iter().map(|alert| {
                let text = |key: &str| alert[key].as_str().unwrap().to_owned();
                (text("condition"), text("change"))
            })
        });
        each.collect()
    }
}

fn dead(count: usize) -> Vec<FoundProblem> {
    let each = (0..count).map(|index| {
        FoundProblem::new(
            ProblemKind::DeadLetters,
            format!("r{index}/ci"),
            "it has dead letters",
        )
    });
    each.collect()
}

fn activity(last_ms: i64, genuine: u64, refused: u64) -> BTreeMap<String, RecentTraffic> {
    let activity = RecentTraffic {
        last_ms,
        genuine,
        refused,
        reason: "bad-signature".to_owned(),
    };
    BTreeMap::from([("shop".to_owned(), activity)])
}

/// Fails when a thousand problems at once, and a new one with each look, make more messages than a receiver wants.
#[tokio::test]
async fn a_thousand_problems_at_once_make_few_messages() {
    let folder = tempfile::tempdir().unwrap();
    let mut rounds = Rounds::start(folder.path(), "");
    for count in 0..240 {
        rounds.round(dead(1000 + count), BTreeMap::new()).await;
    }
    let sent = rounds.receiver.count();
    assert!((2..=12).contains(&sent), "{sent} messages within an hour");
    let overview = rounds.center.overview();
    assert_eq!(overview.alerts.len(), 1239);
    assert!(
        overview.receivers[0].waiting < 40,
        "{:?}",
        overview.receivers
    );
    let size = rounds.receiver.requests()[0].body.len();
    assert!(size < 200_000, "{size}");
}

/// Fails when a restart in the middle repeats an alert, forgets an acknowledgment, or forgets what is learned.
#[tokio::test]
async fn a_restart_goes_on_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let mut rounds = Rounds::start(folder.path(), "");
    let last_ms = rounds.now_ms;
    for _ in 0..4 {
        rounds.round(dead(2), activity(last_ms, 0, 0)).await;
    }
    assert!(rounds.center.acknowledge(1, "ann").await.unwrap());
    assert!(!rounds.center.acknowledge(7, "ann").await.unwrap());
    let mut rounds = rounds.restart(folder.path(), "").await;
    for _ in 0..4 {
        // No event since the restart.
        rounds.round(dead(2), activity(0, 0, 0)).await;
    }
    let words: Vec<_> = rounds.alerts().into_iter().map(|one| one.1).collect();
    assert_eq!(words, ["opened", "opened", "acknowledged"]);
    let open = rounds.center.overview().alerts;
    assert_eq!(open[0].acknowledged.as_ref().unwrap().by, "ann");
    // A fixed time works on what was learned before the restart.
    let mut rounds = rounds.restart(folder.path(), "quiet_after = \"1h\"").await;
    rounds.now_ms = last_ms + HOUR_MS;
    for _ in 0..4 {
        rounds.round(dead(2), activity(0, 0, 0)).await;
    }
    assert!(
        rounds
            .alerts()
            .contains(&("quiet".to_owned(), "opened".to_owned()))
    );
    // The file is whole at any time, and a damaged one begins again.
    std::fs::write(folder.path().join("alerts.json"), "{\"version\":1,\"ro").unwrap();
    let mut damaged = Rounds::with(folder.path(), App::start(ok()), rounds.now_ms, "");
    damaged.round(dead(1), BTreeMap::new()).await;
    assert_eq!(damaged.center.overview().alerts.len(), 1);
}

/// Fails when a route that usually rejects much is a problem, or when one that suddenly does is not.
#[tokio::test]
async fn rejections_above_normal_are_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let mut rounds = Rounds::start(folder.path(), "");
    // Nothing is known: fewer than genuine events are no problem.
    rounds
        .round(Vec::new(), activity(rounds.now_ms, 500, 400))
        .await;
    assert_eq!(rounds.center.judged_problems(), []);
    for _ in 0..30 {
        rounds.now_ms += HOUR_MS;
        rounds
            .round(Vec::new(), activity(rounds.now_ms, 100, 40))
            .await;
    }
    rounds
        .round(Vec::new(), activity(rounds.now_ms, 100, 119))
        .await;
    assert_eq!(rounds.center.judged_problems(), []);
    rounds
        .round(Vec::new(), activity(rounds.now_ms, 100, 120))
        .await;
    let problems = rounds.center.judged_problems();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0]
            .text
            .contains("`shop` rejected 120 requests within an hour, mostly for `bad-signature`")
    );
}

/// Fails when a receiver of the config is notified of what it does not want, or of its own failure.
#[tokio::test]
async fn a_receiver_gets_the_conditions_that_it_wants() {
    let folder = tempfile::tempdir().unwrap();
    let mut rounds = Rounds::start(folder.path(), "");
    let mut wanted = plan(&rounds.receiver, "");
    wanted.receivers.get_mut("program").unwrap().conditions =
        [ProblemKind::Config, ProblemKind::Receiver].into();
    rounds.center.follow(wanted);
    let own = FoundProblem::new(ProblemKind::Receiver, "program", "it is away");
    let other = FoundProblem::new(ProblemKind::Receiver, "chat", "it is away");
    let config = FoundProblem::new(ProblemKind::Config, "", "it is wrong");
    for _ in 0..30 {
        let found = [dead(3), vec![own.clone(), other.clone(), config.clone()]].concat();
        rounds.round(found, BTreeMap::new()).await;
    }
    let mut kinds: Vec<_> = rounds.alerts().into_iter().map(|one| one.0).collect();
    kinds.sort();
    assert_eq!(kinds, ["config", "receiver"]);
}
