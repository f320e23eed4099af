//! Tests of the module as a whole: a real store, real sockets, and the fate of deliveries.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::*;
use crate::config::load_text;
use crate::deliver::testing::{
    Host, Reply, SECRET, answer, answer_with, event, header, wait_until,
};
use crate::model::delivery::DeliveryState;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;
use crate::store::StoreOptions;
use crate::store::rows::{CommitOutcome, NewDelivery, NewEvent};
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, DeliverySelector, ListPage, StepSelection,
};

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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inbox.db");
        let store = tokio::task::spawn_blocking(|| {
            Store::open(StoreOptions {
                path,
                encryption_keys: Vec::new(),
                keep_body: true,
                max_size: None,
                max_events: None,
                min_free: 0,
            })
        });
        let store = store.await.unwrap().unwrap();
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
        let mut last = None;
        for _ in 0..2000 {
            let rows = self.rows().await;
            let row = rows.into_iter().find(|row| row.id == delivery).unwrap();
            if row.state == state {
                return row;
            }
            last = Some(row);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{delivery} is not {state:?}: {last:?}");
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
    let host = Host::answering(vec![
        answer_with(500, "", "oops"),
        Reply::Reset,
        answer(200),
    ])
    .await;
    let ids = rig
        .follow(&[("app", host.url(), "retry = [\"50ms\", \"80ms\"]")])
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
        .map(|request| header(request, "hookgate-attempt").unwrap())
        .collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    let names: HashSet<_> = requests
        .iter()
        .map(|request| header(request, "webhook-id").unwrap())
        .collect();
    assert_eq!(names, HashSet::from(["evt_1"]));
    let times = host.times();
    assert!(times[1] - times[0] >= Duration::from_millis(50));
    assert!(times[2] - times[1] >= Duration::from_millis(80));
    // The worker counts an outcome after the store has it.
    wait_until("the end of the last exchange", || {
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
    let host = Host::answering(vec![answer(500), answer(500), answer(200)]).await;
    let ids = rig
        .follow(&[("app", host.url(), "retry = [\"20ms\"]")])
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
    let host = Host::answering(vec![answer(410), answer(200)]).await;
    let ids = rig.follow(&[("app", host.url(), "concurrency = 1")]).await;
    let delivery = rig.commit(1, &ids).await[0];
    rig.wait_for(delivery, DeliveryState::Dead).await;
    for _ in 0..2000 {
        let rows = rig.store.destinations().await.unwrap();
        if rows[0].disabled.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let next = rig.commit(2, &ids).await[0];
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.wait_for(next, DeliveryState::Pending).await;
    assert_eq!(host.requests().len(), 1);
    rig.store.disable(ids[0], None).await.unwrap();
    rig.deliverer.wake(ids[0]);
    rig.wait_for(next, DeliveryState::Delivered).await;
    rig.stop().await;
}

#[tokio::test]
async fn what_the_destination_asks_for_is_waited_for() {
    let rig = Rig::new().await;
    let host = Host::answering(vec![
        answer_with(429, "retry-after: 1\r\n", ""),
        answer(200),
    ])
    .await;
    let ids = rig
        .follow(&[("app", host.url(), "retry = [\"10ms\"]")])
        .await;
    let delivery = rig.commit(1, &ids).await[0];
    rig.wait_for(delivery, DeliveryState::Delivered).await;
    let times = host.times();
    assert!(times[1] - times[0] >= Duration::from_millis(990));
    rig.stop().await;
}

#[tokio::test]
async fn the_trouble_of_some_is_none_of_the_others() {
    let rig = Rig::new().await;
    let hanging = Host::start(|_, _| Reply::Hang(Vec::new())).await;
    let slow = Host::start(|_, _| {
        let Reply::Send(bytes) = answer(200) else {
            return Reply::Reset;
        };
        Reply::After(Duration::from_millis(300), bytes)
    })
    .await;
    let refusing = Host::start(|_, _| Reply::Reset).await;
    let healthy = Host::answering(vec![answer(200)]).await;
    let short = "timeout = \"2s\"\nconcurrency = 4\nretry = [\"1s\"]";
    let ids = rig
        .follow(&[
            ("healthy", healthy.url(), short),
            ("hanging", hanging.url(), short),
            ("refusing", refusing.url(), short),
            ("slow", slow.url(), short),
        ])
        .await;
    let healthy_id = rig.id("healthy").await;
    let began = tokio::time::Instant::now();
    for number in 0..100 {
        rig.commit(number, &ids).await;
    }
    let committed = began.elapsed();
    healthy.wait_for(100).await;
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
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (one, other) = (Arc::clone(&running), Arc::clone(&most));
    let host = Host::start(move |_, _| {
        let now = one.fetch_add(1, Ordering::SeqCst) + 1;
        other.fetch_max(now, Ordering::SeqCst);
        let one = Arc::clone(&one);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(40)).await;
            one.fetch_sub(1, Ordering::SeqCst);
        });
        let Reply::Send(bytes) = answer(200) else {
            return Reply::Reset;
        };
        Reply::After(Duration::from_millis(50), bytes)
    })
    .await;
    let ids = rig.follow(&[("app", host.url(), "concurrency = 2")]).await;
    for number in 0..10 {
        rig.commit(number, &ids).await;
    }
    host.wait_for(10).await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
    let again = rig.follow(&[("app", host.url(), "concurrency = 6")]).await;
    assert_eq!(again, ids);
    for number in 10..40 {
        rig.commit(number, &ids).await;
    }
    host.wait_for(40).await;
    let most = most.load(Ordering::SeqCst);
    assert!((3..=6).contains(&most), "{most}");
    rig.stop().await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    let rig = Rig::new().await;
    let host = Host::answering(vec![answer(200)]).await;
    let rate = "rate_limit = { per_second = 20, burst = 2 }";
    let ids = rig.follow(&[("app", host.url(), rate)]).await;
    for number in 0..12 {
        rig.commit(number, &ids).await;
    }
    host.wait_for(12).await;
    let times = host.times();
    // Two at once, and ten more at 50 ms each.
    let took = times[11] - times[0];
    assert!(took >= Duration::from_millis(450), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_reload_adds_moves_and_removes_destinations() {
    let rig = Rig::new().await;
    let one = Host::answering(vec![answer(200)]).await;
    let other = Host::answering(vec![answer(200)]).await;
    let ids = rig.follow(&[("app", one.url(), "active = false")]).await;
    let delivery = rig.commit(1, &ids).await[0];
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.wait_for(delivery, DeliveryState::Pending).await;
    rig.follow(&[("app", one.url(), "")]).await;
    rig.wait_for(delivery, DeliveryState::Delivered).await;
    rig.follow(&[("app", other.url(), ""), ("more", one.url(), "")])
        .await;
    let more = rig.id("more").await;
    let moved = rig.commit(2, &[ids[0], more]).await;
    for delivery in moved {
        rig.wait_for(delivery, DeliveryState::Delivered).await;
    }
    assert_eq!((one.requests().len(), other.requests().len()), (2, 1));
    rig.follow(&[("more", one.url(), "")]).await;
    let left = rig.commit(3, &ids).await[0];
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.wait_for(left, DeliveryState::Pending).await;
    assert_eq!(rig.deliverer.health().len(), 1);
    rig.follow(&[("app", other.url(), "")]).await;
    rig.wait_for(left, DeliveryState::Delivered).await;
    rig.stop().await;
}

// Fails when `stop` omits `tracker.wait()`.
#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_and_begins_nothing() {
    let rig = Rig::new().await;
    let host = Host::start(|_, _| {
        let Reply::Send(bytes) = answer(200) else {
            return Reply::Reset;
        };
        Reply::After(Duration::from_millis(300), bytes)
    })
    .await;
    let ids = rig.follow(&[("app", host.url(), "concurrency = 1")]).await;
    let first = rig.commit(1, &ids).await[0];
    host.wait_for(1).await;
    let second = rig.commit(2, &ids).await[0];
    timeout(Duration::from_secs(5), rig.deliverer.stop())
        .await
        .unwrap();
    let states: Vec<_> = rig.rows().await.iter().map(|row| row.state).collect();
    assert_eq!(states, [DeliveryState::Pending, DeliveryState::Delivered]);
    let _ = (first, second);
    assert_eq!(host.requests().len(), 1);
    rig.stop().await;
}

// Fails when `room` ignores the breaker.
#[tokio::test]
async fn an_open_breaker_uses_up_no_attempts_and_one_attempt_closes_it() {
    let rig = Rig::new().await;
    let is_back = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = Arc::clone(&is_back);
    let host = Host::start(move |_, _| match seen.load(Ordering::SeqCst) {
        true => answer(200),
        false => answer(503),
    })
    .await;
    let extra = "breaker = 3\nconcurrency = 1\nretry = [\"20ms\"]";
    let ids = rig.follow(&[("app", host.url(), extra)]).await;
    let mut deliveries = Vec::new();
    for number in 0..20 {
        deliveries.push(rig.commit(number, &ids).await[0]);
    }
    wait_until("an open breaker", || {
        rig.health("app").breaker == BreakerState::Open
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(host.requests().len(), 3);
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
    wait_until("a closed breaker", || {
        rig.health("app").breaker == BreakerState::Closed
    })
    .await;
    host.wait_for(20).await;
    rig.stop().await;
}

// Fails when `DeliveryPlan::is_plausible` always returns true: the delivery would wait for a year.
#[tokio::test]
async fn a_due_time_of_a_wrong_clock_is_not_waited_for() {
    let rig = Rig::new().await;
    let host = Host::answering(vec![answer(200)]).await;
    let ids = rig.follow(&[("app", host.url(), "retry = [\"5s\"]")]).await;
    let year = 365 * 24 * 3600 * 1000;
    let delivery = rig
        .commit_with(1, &ids, |delivery| delivery.due_ms += year)
        .await[0];
    rig.wait_for(delivery, DeliveryState::Delivered).await;
    // A due time in an hour is plausible.
    let soon = rig
        .commit_with(2, &ids, |delivery| delivery.due_ms += 3_600_000)
        .await[0];
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.wait_for(soon, DeliveryState::Pending).await;
    rig.stop().await;
}

#[tokio::test]
async fn what_is_long_overdue_begins_slowly() {
    let rig = Rig::new().await;
    let host = Host::start(|_, _| {
        let Reply::Send(bytes) = answer(200) else {
            return Reply::Reset;
        };
        Reply::After(Duration::from_millis(100), bytes)
    })
    .await;
    let id = rig.id("app").await;
    for number in 0..60 {
        rig.commit_with(number, &[id], |delivery| delivery.due_ms -= 3_600_000)
            .await;
    }
    rig.follow(&[("app", host.url(), "concurrency = 30")]).await;
    host.wait_for(60).await;
    let times = host.times();
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
    let host = Host::answering(vec![answer(500), answer(200)]).await;
    let extra = "order = \"fifo\"\nretry = [\"30ms\"]";
    let ids = rig.follow(&[("app", host.url(), extra)]).await;
    for number in 0..10 {
        rig.commit_with(number, &ids, |delivery| delivery.order_key = Some(1))
            .await;
    }
    let requests = host.wait_for(11).await;
    let names: Vec<_> = requests
        .iter()
        .map(|request| header(request, "webhook-id").unwrap().to_owned())
        .collect();
    let mut expected: Vec<_> = (0..10).map(|number| format!("evt_{number}")).collect();
    expected.insert(0, "evt_0".to_owned());
    assert_eq!(names, expected);
    rig.stop().await;
}

#[tokio::test]
async fn the_first_attempt_of_another_room_is_judged_by_the_same_rules() {
    let rig = Rig::new().await;
    let host = Host::answering(vec![answer(200)]).await;
    let ids = rig
        .follow(&[("app", host.url(), "retry = [\"30ms\"]")])
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
    assert_eq!(host.requests().len(), 0);
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
    assert_eq!(header(&host.requests()[0], "hookgate-attempt"), Some("2"));
    rig.stop().await;
}

// Fails when `build` does not compare with `event.digest`.
#[tokio::test]
async fn a_damaged_event_is_a_dead_letter_at_once() {
    let rig = Rig::new().await;
    let host = Host::answering(vec![answer(200)]).await;
    let ids = rig.follow(&[("app", host.url(), "")]).await;
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
    let host = Host::start(move |number, request| {
        if number % 3 == 1 {
            return answer(500);
        }
        let name = header(request, "webhook-id").unwrap().to_owned();
        noted.lock().push(name);
        match number % 4 {
            0 => Reply::Close(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_vec(),
            ),
            // Closes without notice, so that the next request meets a closed connection.
            1 => Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()),
            _ => answer(200),
        }
    })
    .await;
    let rig = Rig::new().await;
    let retry = ["\"10ms\""; 12].join(", ");
    let extra = format!("concurrency = 8\nretry = [{retry}]");
    let ids = rig.follow(&[("app", host.url(), &extra)]).await;
    for number in 0..300 {
        rig.commit(number, &ids).await;
    }
    wait_until("300 events", || taken.lock().len() >= 300).await;
    for row in rig.rows().await {
        rig.wait_for(row.id, DeliveryState::Delivered).await;
    }
    rig.stop().await;
    let taken = taken.lock();
    let names: HashSet<_> = taken.iter().collect();
    assert_eq!((taken.len(), names.len()), (300, 300));
}
