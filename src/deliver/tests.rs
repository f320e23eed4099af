//! Tests of the module as a whole: a real store, real sockets, and the fate of deliveries.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::*;
use crate::config::load_text;
use crate::deliver::testing::{SECRET, event};
use crate::model::database::{DatabaseLocation, SqliteFile};
use crate::model::delivery::DeliveryState;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;
use crate::store::StoreOptions;
use crate::store::node_testing::NodeStub;
use crate::store::nodes::BreakerReport;
use crate::store::rows::{CommitOutcome, NewDelivery, NewEvent};
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, DeliverySelector, ListPage, StepSelection,
};
use crate::store::take::TakeHold;
use crate::test_rig::app::{
    App, Behavior, by, ok, raw_then_close, respond, respond_with, sequence, slow,
};
use crate::test_rig::{LIMIT, poll_for, wait_for};

struct Rig {
    store: Store,
    recorder: Arc<TelemetryRecorder>,
    deliverer: Arc<DeliveryEngine>,
    client: OutgoingClient,
    _folder: tempfile::TempDir,
}

const PAGE: ListPage = ListPage {
    after: None,
    limit: 1000,
};

impl Rig {
    async fn new() -> Self {
        Self::with(|store| store).await
    }

    /// Starts a rig whose store answers like one that several nodes share.
    async fn shared() -> (Self, Arc<NodeStub>) {
        let stub = Arc::new(NodeStub::default());
        let inside = Arc::clone(&stub);
        let rig = Self::with(|store| store.with_stub(inside)).await;
        (rig, stub)
    }

    async fn with(change: impl FnOnce(Store) -> Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inbox.db");
        let store = tokio::task::spawn_blocking(|| {
            Store::open(StoreOptions {
                location: DatabaseLocation::Sqlite(SqliteFile { path, min_free: 0 }),
                encryption_keys: Vec::new(),
                keep_body: true,
                max_size: None,
                max_events: None,
            })
        });
        let store = change(store.await.unwrap().unwrap());
        let logger = LineLogger::to_writer(
            LineEncoding::Text,
            tracing::Level::INFO,
            Box::new(io::sink()),
        )
        .unwrap();
        let recorder = TelemetryRecorder::new(logger, true);
        let client = OutgoingClient::new();
        Self {
            deliverer: DeliveryEngine::new(store.clone(), client.clone(), Arc::clone(&recorder)),
            store,
            recorder,
            client,
            _folder: folder,
        }
    }

    async fn id(&self, name: &str) -> DestinationId {
        let (route, name) = (RouteName::new("shop"), DestinationName::new(name));
        self.store.destination(&route, &name).await.unwrap()
    }

    /// Starts destinations with these names, URLs and further lines of config.
    async fn follow(&self, destinations: &[(&str, String, &str)]) -> Vec<DestinationId> {
        let mut text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[store]\nurl = \"sqlite:/tmp/hookgate-none.db\"\n[routes.shop]\npath = \"/shop\"\nmode = \"queue\"\nprovider = \"github\"\nsecret = \"{SECRET}\"\n"
        );
        for (name, url, extra) in destinations {
            text += &format!("[routes.shop.destinations.{name}]\nurl = \"{url}\"\n{extra}\n");
        }
        let loaded = match load_text("/tmp/hookgate-test.toml", text.clone()) {
            Ok(loaded) => loaded,
            Err(report) => panic!("{text}\n{report:?}"),
        };
        let route = &loaded.config.routes[0];
        let (mut plans, mut ids) = (Vec::new(), Vec::new());
        for destination in &route.destinations {
            let id = self.id(destination.name.as_str()).await;
            plans.push(DeliveryPlan::build(route, destination, id, &self.client).unwrap());
            ids.push(id);
        }
        self.deliverer.follow(plans).await;
        let order = |id: &DestinationId| id.0;
        ids.sort_by_key(order);
        ids
    }

    /// Commits an event for these destinations and wakes their workers.
    async fn commit(&self, number: u16, to: &[DestinationId]) -> Vec<DeliveryId> {
        self.commit_with(number, to, |_| ()).await
    }

    async fn commit_with(
        &self,
        number: u16,
        to: &[DestinationId],
        change: impl Fn(&mut NewDelivery),
    ) -> Vec<DeliveryId> {
        let body = format!("{{\"number\":{number}}}");
        let mut event = event(body.as_bytes());
        let now_ms = ClockReading::read().unix_ms;
        let [high, low] = number.to_be_bytes();
        event.uid = RequestId::new(now_ms, [high, low, 0, 0, 0, 0, 0, 0, 0, 1]);
        event.webhook_id = format!("evt_{number}");
        let delivery = |destination: &DestinationId| {
            let mut delivery = NewDelivery {
                destination: *destination,
                due_ms: now_ms,
                priority: 0,
                order_key: None,
                is_in_flight: false,
            };
            change(&mut delivery);
            delivery
        };
        let committed = self.store.commit(NewEvent {
            event,
            claims: Vec::new(),
            status: 200,
            deliveries: to.iter().map(delivery).collect(),
        });
        let CommitOutcome::New(ids) = committed.await.unwrap() else {
            panic!("the event is new");
        };
        to.iter().for_each(|id| self.deliverer.wake(*id));
        ids
    }

    async fn rows(&self) -> Vec<DeliveryRow> {
        let all = DeliverySearch::default();
        self.store.deliveries(all, PAGE).await.unwrap()
    }

    async fn attempts(&self, delivery: DeliveryId) -> Vec<AttemptRow> {
        self.store.attempts(delivery).await.unwrap()
    }

    async fn wait_for(&self, delivery: DeliveryId, state: DeliveryState) -> DeliveryRow {
        poll_for(&format!("{delivery} {state:?}"), LIMIT, async || {
            let mut rows = self.rows().await.into_iter();
            rows.find(|row| row.id == delivery && row.state == state)
        })
        .await
    }

    /// Delivers a marker event to another destination. Whatever its destination was going to attempt of the events
    /// before it has begun by then, so a test that expects nothing does not depend on a pause.
    async fn pass_marker(&self, marker: DestinationId) {
        let delivery = self.commit(u16::MAX, &[marker]).await[0];
        self.wait_for(delivery, DeliveryState::Delivered).await;
    }

    fn health(&self, name: &str) -> WorkerHealth {
        let all = self.deliverer.health().into_iter();
        let mut found = all.filter(|health| health.name.as_str() == name);
        found.next().unwrap()
    }

    async fn stop(self) {
        timeout(Duration::from_secs(10), self.deliverer.stop())
            .await
            .unwrap();
        let store = self.store;
        drop(self.deliverer);
        tokio::task::spawn_blocking(move || store.close())
            .await
            .unwrap();
    }
}

fn times(host: &App) -> Vec<Instant> {
    let requests = host.requests().into_iter();
    requests.map(|request| request.at).collect()
}

fn words(attempts: &[AttemptRow]) -> Vec<(Option<u16>, Option<&str>)> {
    let each = attempts.iter().map(|attempt| &attempt.record);
    each.map(|record| {
        let error = record.error.as_ref();
        (record.status, error.map(|(word, _)| word.as_str()))
    })
    .collect()
}

#[tokio::test]
async fn an_error_is_followed_by_another_attempt_and_then_it_is_delivered() {
    let rig = Rig::new().await;
    let host = App::start(sequence([
        respond_with(500, "", "oops"),
        Behavior::Reset,
        respond(200, ""),
    ]));
    let ids = rig
        .follow(&[("app", host.url("/in"), "retry = [\"50ms\", \"80ms\"]")])
        .await;
    let delivery = rig.commit(1, &ids).await[0];
    let row = rig.wait_for(delivery, DeliveryState::Delivered).await;
    assert_eq!(row.attempts, 3);
    let attempts = rig.attempts(delivery).await;
    assert_eq!(
        words(&attempts),
        [
            (Some(500), Some("status")),
            (None, Some("closed")),
            (Some(200), None)
        ]
    );
    assert_eq!(&attempts[0].record.response_start[..], b"oops");
    let requests = host.requests();
    let numbers: Vec<_> = requests
        .iter()
        .map(|request| request.header("hookgate-attempt").unwrap())
        .collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    let names: HashSet<_> = requests
        .iter()
        .map(|request| request.header("webhook-id").unwrap())
        .collect();
    assert_eq!(names, HashSet::from(["evt_1".to_owned()]));
    let times = times(&host);
    assert!(times[1] - times[0] >= Duration::from_millis(50));
    assert!(times[2] - times[1] >= Duration::from_millis(80));
    // The worker counts an outcome after the store has it.
    wait_for("the end of the last exchange", LIMIT, || {
        let text = rig.recorder.metrics_text();
        text.contains("hookgate_deliveries_in_flight{route=\"shop\",destination=\"app\"} 0")
            && text.contains("state=\"delivered\"} 1")
    })
    .await;
    let text = rig.recorder.metrics_text();
    for line in [
        "hookgate_delivery_attempts_total{route=\"shop\",destination=\"app\",outcome=\"5xx\"} 1",
        "hookgate_delivery_attempts_total{route=\"shop\",destination=\"app\",outcome=\"closed\"} 1",
        "hookgate_deliveries_total{route=\"shop\",destination=\"app\",state=\"waiting\"} 2",
        "hookgate_deliveries_total{route=\"shop\",destination=\"app\",state=\"delivered\"} 1",
        "hookgate_deliveries_in_flight{route=\"shop\",destination=\"app\"} 0",
        "hookgate_destination_breaker{route=\"shop\",destination=\"app\"} 0",
        "hookgate_delivery_attempt_seconds_count{route=\"shop\",destination=\"app\"} 3",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn spent_retries_are_a_dead_letter_and_an_operator_brings_it_back() {
    let rig = Rig::new().await;
    let host = App::start(sequence([
        respond(500, ""),
        respond(500, ""),
        respond(200, ""),
    ]));
    let ids = rig
        .follow(&[("app", host.url("/in"), "retry = [\"20ms\"]")])
        .await;
    let delivery = rig.commit(1, &ids).await[0];
    let row = rig.wait_for(delivery, DeliveryState::Dead).await;
    assert_eq!((row.attempts, row.last_status), (2, Some(500)));
    let selection = StepSelection {
        step: crate::model::delivery::DeliveryStep::Retry,
        which: DeliverySelector::One(delivery),
    };
    let now_ms = ClockReading::read().unix_ms;
    assert_eq!(rig.store.change(selection, now_ms).await.unwrap(), 1);
    rig.deliverer.wake(ids[0]);
    let row = rig.wait_for(delivery, DeliveryState::Delivered).await;
    assert_eq!(row.attempts, 3);
    rig.stop().await;
}

// Fails when the verdict on 410 is `DeliveryVerdict::Retry`.
#[tokio::test]
async fn gone_is_a_dead_letter_and_switches_the_destination_off() {
    let rig = Rig::new().await;
    let host = App::start(sequence([respond(410, ""), respond(200, "")]));
    let marker = App::start(ok());
    let ids = rig
        .follow(&[
            ("app", host.url("/in"), "concurrency = 1"),
            ("marker", marker.url("/in"), ""),
        ])
        .await;
    let delivery = rig.commit(1, &ids[..1]).await[0];
    rig.wait_for(delivery, DeliveryState::Dead).await;
    poll_for("the end of the destination", LIMIT, async || {
        let rows = rig.store.destinations().await.unwrap();
        rows[0].disabled.clone()
    })
    .await;
    let next = rig.commit(2, &ids[..1]).await[0];
    rig.pass_marker(ids[1]).await;
    rig.wait_for(next, DeliveryState::Pending).await;
    assert_eq!(host.count(), 1);
    rig.store.disable(ids[0], None).await.unwrap();
    rig.deliverer.wake(ids[0]);
    rig.wait_for(next, DeliveryState::Delivered).await;
    rig.stop().await;
}

#[tokio::test]
async fn what_the_destination_asks_for_is_waited_for() {
    let rig = Rig::new().await;
    let host = App::start(sequence([
        respond_with(429, "retry-after: 1\r\n", ""),
        respond(200, ""),
    ]));
    let ids = rig
        .follow(&[("app", host.url("/in"), "retry = [\"10ms\"]")])
        .await;
    let delivery = rig.commit(1, &ids).await[0];
    rig.wait_for(delivery, DeliveryState::Delivered).await;
    let times = times(&host);
    assert!(times[1] - times[0] >= Duration::from_millis(990));
    rig.stop().await;
}

#[tokio::test]
async fn the_trouble_of_some_is_none_of_the_others() {
    let rig = Rig::new().await;
    let hanging = App::start(Behavior::Hang);
    let slow = App::start(slow(Duration::from_millis(300), 200));
    let refusing = App::start(Behavior::Reset);
    let healthy = App::start(respond(200, ""));
    let short = "timeout = \"2s\"\nconcurrency = 4\nretry = [\"1s\"]";
    let ids = rig
        .follow(&[
            ("healthy", healthy.url("/in"), short),
            ("hanging", hanging.url("/in"), short),
            ("refusing", refusing.url("/in"), short),
            ("slow", slow.url("/in"), short),
        ])
        .await;
    let healthy_id = rig.id("healthy").await;
    let began = tokio::time::Instant::now();
    for number in 0..100 {
        rig.commit(number, &ids).await;
    }
    let committed = began.elapsed();
    healthy.wait_for_requests(100).await;
    let took = began.elapsed();
    // The four permits of the hanging destination are taken for two seconds, and the slow one needs seven.
    assert!(took < committed + Duration::from_secs(1), "{took:?}");
    let row = rig.store.destinations().await.unwrap();
    let row = row.iter().find(|row| row.id == healthy_id).unwrap();
    assert!(row.deliveries[3] > 0);
    assert_eq!(rig.health("hanging").in_flight, 4);
    assert!(rig.health("healthy").latency.unwrap() < Duration::from_millis(200));
    // The stop waits for the hanging attempts; the caller limits the wait.
    rig.stop().await;
}

// Fails when `room` ignores `concurrency`.
#[tokio::test]
async fn no_more_run_at_once_than_the_plan_says_and_a_reload_changes_it_in_place() {
    let rig = Rig::new().await;
    let host = App::start(slow(Duration::from_millis(50), 200));
    let ids = rig
        .follow(&[("app", host.url("/in"), "concurrency = 2")])
        .await;
    for number in 0..10 {
        rig.commit(number, &ids).await;
    }
    host.wait_for_requests(10).await;
    assert_eq!(host.most_at_once(), 2);
    let again = rig
        .follow(&[("app", host.url("/in"), "concurrency = 6")])
        .await;
    assert_eq!(again, ids);
    for number in 10..40 {
        rig.commit(number, &ids).await;
    }
    host.wait_for_requests(40).await;
    let most = host.most_at_once();
    assert!((3..=6).contains(&most), "{most}");
    rig.stop().await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    let rig = Rig::new().await;
    let host = App::start(respond(200, ""));
    let rate = "rate_limit = { per_second = 20, burst = 2 }";
    let ids = rig.follow(&[("app", host.url("/in"), rate)]).await;
    for number in 0..12 {
        rig.commit(number, &ids).await;
    }
    host.wait_for_requests(12).await;
    let times = times(&host);
    // Two at once, and ten more at 50 ms each.
    let took = times[11] - times[0];
    assert!(took >= Duration::from_millis(450), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_reload_adds_moves_and_removes_destinations() {
    let rig = Rig::new().await;
    let one = App::start(respond(200, ""));
    let other = App::start(respond(200, ""));
    let marker = App::start(ok());
    let marking = ("marker", marker.url("/in"), "");
    let ids = rig
        .follow(&[("app", one.url("/in"), "active = false"), marking.clone()])
        .await;
    let (app, marker) = (ids[0], ids[1]);
    let delivery = rig.commit(1, &[app]).await[0];
    rig.pass_marker(marker).await;
    rig.wait_for(delivery, DeliveryState::Pending).await;
    rig.follow(&[("app", one.url("/in"), ""), marking.clone()])
        .await;
    rig.wait_for(delivery, DeliveryState::Delivered).await;
    rig.follow(&[
        ("app", other.url("/in"), ""),
        ("more", one.url("/in"), ""),
        marking.clone(),
    ])
    .await;
    let more = rig.id("more").await;
    let moved = rig.commit(2, &[app, more]).await;
    for delivery in moved {
        rig.wait_for(delivery, DeliveryState::Delivered).await;
    }
    assert_eq!((one.count(), other.count()), (2, 1));
    rig.follow(std::slice::from_ref(&marking)).await;
    let left = rig.commit(3, &[app]).await[0];
    rig.pass_marker(marker).await;
    rig.wait_for(left, DeliveryState::Pending).await;
    assert_eq!(rig.deliverer.health().len(), 1);
    rig.follow(&[("app", other.url("/in"), "")]).await;
    rig.wait_for(left, DeliveryState::Delivered).await;
    rig.stop().await;
}

// Fails when `stop` omits `tracker.wait()`.
#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_and_begins_nothing() {
    let rig = Rig::new().await;
    let host = App::start(slow(Duration::from_millis(300), 200));
    let ids = rig
        .follow(&[("app", host.url("/in"), "concurrency = 1")])
        .await;
    let first = rig.commit(1, &ids).await[0];
    host.wait_for_requests(1).await;
    let second = rig.commit(2, &ids).await[0];
    timeout(Duration::from_secs(5), rig.deliverer.stop())
        .await
        .unwrap();
    let states: Vec<_> = rig.rows().await.iter().map(|row| row.state).collect();
    assert_eq!(states, [DeliveryState::Pending, DeliveryState::Delivered]);
    let _ = (first, second);
    assert_eq!(host.count(), 1);
    rig.stop().await;
}

// Fails when `room` ignores the breaker.
#[tokio::test]
async fn an_open_breaker_uses_up_no_attempts_and_one_attempt_closes_it() {
    let rig = Rig::new().await;
    let is_back = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&is_back);
    let host = App::start(by(move |_| match seen.load(Ordering::SeqCst) {
        true => respond(200, ""),
        false => respond(503, ""),
    }));
    let marker = App::start(ok());
    let extra = "breaker = 3\nconcurrency = 1\nretry = [\"20ms\"]";
    let ids = rig
        .follow(&[
            ("app", host.url("/in"), extra),
            ("marker", marker.url("/in"), ""),
        ])
        .await;
    for number in 0..20 {
        rig.commit(number, &ids[..1]).await;
    }
    wait_for("an open breaker", LIMIT, || {
        rig.health("app").breaker == BreakerState::Open
    })
    .await;
    rig.pass_marker(ids[1]).await;
    assert_eq!(host.count(), 3);
    let untouched = rig
        .rows()
        .await
        .iter()
        .filter(|row| row.attempts == 0)
        .count();
    assert!(untouched >= 17, "{untouched}");
    assert!(rig.health("app").opens_in.is_some());
    assert_eq!(rig.health("app").last_fault, Some(AttemptFault::Status));
    let text = rig.recorder.metrics_text();
    assert!(text.contains("hookgate_destination_breaker{route=\"shop\",destination=\"app\"} 2"));
    // The breaker allows a probe after its first pause of 5 to 6.25 s.
    is_back.store(true, Ordering::SeqCst);
    wait_for("a closed breaker", LIMIT, || {
        rig.health("app").breaker == BreakerState::Closed
    })
    .await;
    host.wait_for_requests(20).await;
    rig.stop().await;
}

// Fails when `DeliveryPlan::is_plausible` always returns true: the delivery would wait for a year.
#[tokio::test]
async fn a_due_time_of_a_wrong_clock_is_not_waited_for() {
    let rig = Rig::new().await;
    let host = App::start(respond(200, ""));
    let ids = rig
        .follow(&[
            ("app", host.url("/in"), "retry = [\"5s\"]"),
            ("marker", host.url("/in"), ""),
        ])
        .await;
    let (app, marker) = (&ids[..1], ids[1]);
    let year = 365 * 24 * 3600 * 1000;
    let delivery = rig
        .commit_with(1, app, |delivery| delivery.due_ms += year)
        .await[0];
    rig.wait_for(delivery, DeliveryState::Delivered).await;
    // A due time in an hour is plausible.
    let soon = rig
        .commit_with(2, app, |delivery| delivery.due_ms += 3_600_000)
        .await[0];
    rig.pass_marker(marker).await;
    rig.wait_for(soon, DeliveryState::Pending).await;
    rig.stop().await;
}

#[tokio::test]
async fn what_is_long_overdue_begins_slowly() {
    let rig = Rig::new().await;
    let host = App::start(slow(Duration::from_millis(100), 200));
    let id = rig.id("app").await;
    for number in 0..60 {
        rig.commit_with(number, &[id], |delivery| delivery.due_ms -= 3_600_000)
            .await;
    }
    rig.follow(&[("app", host.url("/in"), "concurrency = 30")])
        .await;
    host.wait_for_requests(60).await;
    let times = times(&host);
    let early = times
        .iter()
        .filter(|at| **at - times[0] < Duration::from_millis(90))
        .count();
    assert_eq!(early, 1, "one attempt shows how the destination is doing");
    let second = times
        .iter()
        .filter(|at| **at - times[0] < Duration::from_millis(190))
        .count();
    assert!(second <= 3, "{second}");
    rig.stop().await;
}

#[tokio::test]
async fn one_after_the_other_where_that_is_asked_for() {
    let rig = Rig::new().await;
    let host = App::start(sequence([respond(500, ""), respond(200, "")]));
    let extra = "order = \"fifo\"\nretry = [\"30ms\"]";
    let ids = rig.follow(&[("app", host.url("/in"), extra)]).await;
    for number in 0..10 {
        rig.commit_with(number, &ids, |delivery| delivery.order_key = Some(1))
            .await;
    }
    let requests = host.wait_for_requests(11).await;
    let names: Vec<_> = requests
        .iter()
        .map(|request| request.header("webhook-id").unwrap())
        .collect();
    let mut expected: Vec<_> = (0..10).map(|number| format!("evt_{number}")).collect();
    expected.insert(0, "evt_0".to_owned());
    assert_eq!(names, expected);
    rig.stop().await;
}

#[tokio::test]
async fn the_first_attempt_of_another_room_is_judged_by_the_same_rules() {
    let rig = Rig::new().await;
    let host = App::start(respond(200, ""));
    let ids = rig
        .follow(&[("app", host.url("/in"), "retry = [\"30ms\"]")])
        .await;
    let first = |delivery| FirstAttempt {
        destination: ids[0],
        delivery,
        started: ClockReading::read(),
        took: Duration::from_millis(7),
        status: None,
        response_start: Bytes::from_static(b"what it said"),
        retry_after: None,
        error: None,
        event: AttemptedEvent {
            uid: RequestId::new(1, [9; 10]),
            event_id: None,
            event_type: None,
        },
    };
    let in_flight = |delivery: &mut NewDelivery| delivery.is_in_flight = true;
    let taken = rig.commit_with(1, &ids, in_flight).await[0];
    let attempt = FirstAttempt {
        status: Some(StatusCode::OK),
        ..first(taken)
    };
    rig.deliverer.finish_first(attempt).await;
    rig.wait_for(taken, DeliveryState::Delivered).await;
    assert_eq!(host.count(), 0);
    let failed = rig.commit_with(2, &ids, in_flight).await[0];
    let attempt = FirstAttempt {
        error: Some(("deadline", "it did not respond in time".to_owned())),
        ..first(failed)
    };
    rig.deliverer.finish_first(attempt).await;
    rig.wait_for(failed, DeliveryState::Delivered).await;
    let attempts = rig.attempts(failed).await;
    assert_eq!(
        words(&attempts),
        [(None, Some("deadline")), (Some(200), None)]
    );
    let first = &attempts[0];
    assert_eq!(
        (&first.record.response_start[..], first.record.duration_ms),
        (&b"what it said"[..], 7)
    );
    assert_eq!(
        host.requests()[0].header("hookgate-attempt").as_deref(),
        Some("2")
    );
    rig.stop().await;
}

// Fails when `build` does not compare with `event.digest`.
#[tokio::test]
async fn a_damaged_event_is_a_dead_letter_at_once() {
    let rig = Rig::new().await;
    let host = App::start(respond(200, ""));
    let ids = rig.follow(&[("app", host.url("/in"), "")]).await;
    let mut event = event(b"{}");
    event.digest = Sha256::digest(b"{ }").into();
    let committed = rig.store.commit(NewEvent {
        event,
        claims: Vec::new(),
        status: 200,
        deliveries: vec![NewDelivery {
            destination: ids[0],
            due_ms: 0,
            priority: 0,
            order_key: None,
            is_in_flight: false,
        }],
    });
    let CommitOutcome::New(deliveries) = committed.await.unwrap() else {
        panic!("the event is new");
    };
    rig.deliverer.wake(ids[0]);
    let row = rig.wait_for(deliveries[0], DeliveryState::Dead).await;
    assert_eq!(row.last_error.as_deref(), Some("damaged"));
    assert_eq!(host.connections(), 0);
    rig.stop().await;
}

/// Fails when a response is lost with its connection, or an outcome does not end its delivery.
#[tokio::test]
async fn what_was_taken_does_not_come_again_from_a_host_that_fails_and_closes_connections() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&taken);
    let host = App::start(by(move |request| {
        if request.number % 3 == 1 {
            return respond(500, "");
        }
        let name = request.header("webhook-id").unwrap();
        noted.lock().push(name);
        match request.number % 4 {
            0 => raw_then_close(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            ),
            // Closes without notice, so that the next request meets a closed connection.
            1 => raw_then_close("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
            _ => respond(200, ""),
        }
    }));
    let rig = Rig::new().await;
    let retry = ["\"10ms\""; 12].join(", ");
    let extra = format!("concurrency = 8\nretry = [{retry}]");
    let ids = rig.follow(&[("app", host.url("/in"), &extra)]).await;
    for number in 0..300 {
        rig.commit(number, &ids).await;
    }
    wait_for("300 events", LIMIT, || taken.lock().len() >= 300).await;
    for row in rig.rows().await {
        rig.wait_for(row.id, DeliveryState::Delivered).await;
    }
    rig.stop().await;
    let taken = taken.lock();
    let names: HashSet<_> = taken.iter().collect();
    assert_eq!((taken.len(), names.len()), (300, 300));
}

// Mutation: `AttemptTask::run` does not ask `may_attempt`.
#[tokio::test]
async fn a_node_without_a_lease_begins_no_exchange_and_gives_back() {
    let (rig, stub) = Rig::shared().await;
    let host = App::start(ok());
    let ids = rig.follow(&[("app", host.url("/in"), "")]).await;
    // The lease ends between the take and the attempt, where only the attempt can notice.
    stub.ends_lease_with_take.store(true, Ordering::SeqCst);
    let delivery = rig.commit(1, &ids).await[0];
    wait_for("the delivery to be given back", LIMIT, || {
        *stub.given_back.lock() == [(delivery, 1)]
    })
    .await;
    assert_eq!(host.requests().len(), 0);
    wait_for("the permit to be free", LIMIT, || {
        rig.health("app").in_flight == 0
    })
    .await;
    let takes = stub.takes.lock().len();
    let next = rig.commit(2, &ids).await[0];
    // Without a lease nothing is taken either, and with a new one work goes on.
    assert_eq!(stub.takes.lock().len(), takes);
    stub.ends_lease_with_take.store(false, Ordering::SeqCst);
    stub.is_fenced.store(false, Ordering::SeqCst);
    rig.deliverer.wake(ids[0]);
    rig.wait_for(next, DeliveryState::Delivered).await;
    assert_eq!(host.requests().len(), 1);
    rig.stop().await;
}

// Fails when a wake asks in spite of a rate, when the own bucket counts too, or when the limits are not in the request.
#[tokio::test]
async fn the_store_keeps_the_limits_of_all_nodes() {
    let (rig, stub) = Rig::shared().await;
    let host = App::start(ok());
    // Due before the worker starts: a limit that holds nothing back would be forgotten.
    let delivery = rig.commit(1, &[rig.id("app").await]).await[0];
    let now = rig.store.now();
    *stub.hold.lock() = Some(TakeHold::RateUntil(now.unix_ms + 1_500));
    let limits =
        "concurrency = 3\nrate_limit = \"2/h\"\ntimeout = \"7s\"\nconnect_timeout = \"2s\"";
    let ids = rig.follow(&[("app", host.url("/in"), limits)]).await;
    wait_for("the first take", LIMIT, || !stub.takes.lock().is_empty()).await;
    *stub.hold.lock() = None;
    let request = stub.takes.lock()[0].clone();
    assert_eq!(request.concurrency, 3);
    assert_eq!(request.attempt_limit, Duration::from_secs(9));
    let rate = request.rate.unwrap();
    assert_eq!((rate.count, rate.burst), (2, 2));
    // Both a commit and news wake the worker, which waits all the same.
    rig.deliverer.wake(ids[0]);
    stub.announce(ids[0]);
    rig.wait_for(delivery, DeliveryState::Delivered).await;
    assert!(times(&host)[0] >= now.mono + Duration::from_millis(1_490));
    // More than the own bucket of this node would allow in an hour: the database's decides.
    for number in 2..6 {
        let delivery = rig.commit(number, &ids).await[0];
        rig.wait_for(delivery, DeliveryState::Delivered).await;
    }
    rig.stop().await;
}

// Fails when news of other nodes are not passed on to the worker.
#[tokio::test]
async fn work_of_other_nodes_wakes_the_worker() {
    let (rig, stub) = Rig::shared().await;
    let host = App::start(ok());
    let ids = rig.follow(&[("app", host.url("/in"), "")]).await;
    wait_for("the first take", LIMIT, || !stub.takes.lock().is_empty()).await;
    let now_ms = rig.store.now().unix_ms;
    let committed = rig.store.commit(NewEvent {
        event: event(b"{}"),
        claims: Vec::new(),
        status: 200,
        deliveries: vec![NewDelivery {
            destination: ids[0],
            due_ms: now_ms,
            priority: 0,
            order_key: None,
            is_in_flight: false,
        }],
    });
    let CommitOutcome::New(deliveries) = committed.await.unwrap() else {
        panic!("the event is new");
    };
    stub.announce(ids[0]);
    rig.wait_for(deliveries[0], DeliveryState::Delivered).await;
    rig.stop().await;
}

// Fails when an opened breaker is not published, or when a success does not close one that another node opened.
#[tokio::test]
async fn the_other_nodes_learn_of_a_breaker() {
    let (rig, stub) = Rig::shared().await;
    let host = App::start(sequence([respond(200, ""), respond(500, "")]));
    let now_ms = rig.store.now().unix_ms;
    *stub.hold.lock() = Some(TakeHold::BreakerUntil(now_ms + 1));
    let ids = rig.follow(&[("app", host.url("/in"), "breaker = 1")]).await;
    wait_for("a take", LIMIT, || !stub.takes.lock().is_empty()).await;
    *stub.hold.lock() = None;
    let delivery = rig.commit(1, &ids).await[0];
    rig.wait_for(delivery, DeliveryState::Delivered).await;
    wait_for("a closed breaker", LIMIT, || {
        *stub.breakers.lock() == [BreakerReport::Closed]
    })
    .await;
    rig.commit(2, &ids).await;
    wait_for("an open breaker", LIMIT, || stub.breakers.lock().len() == 2).await;
    let report = stub.breakers.lock()[1];
    let BreakerReport::OpenUntil(until_ms) = report else {
        panic!("{report:?}");
    };
    assert!(until_ms >= now_ms + 4_000, "{until_ms} {now_ms}");
    rig.stop().await;
}
