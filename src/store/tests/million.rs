//! Operator queries on a store with millions of events.
//!
//! `benches/search.py` fills the store and prints the command that runs this test.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::store::search::ReplaySearch;

/// Processor time that a query may take. A build without optimization gets more.
const PATIENCE: Duration = match cfg!(debug_assertions) {
    true => Duration::from_secs(2),
    false => Duration::from_millis(200),
};

/// Milliseconds between two events.
const STEP_MS: i64 = 100;

/// Names with their searches: the same as in `benches/search.py`.
fn searches(events: i64) -> Vec<(&'static str, EventSearch)> {
    let at = |hundredth: i64| NOW + events * STEP_MS * hundredth / 100;
    let all = EventSearch::default;
    let of_route = |number: u32| EventSearch {
        route: Some(route(&format!("route-{number}"))),
        ..all()
    };
    let of_type = |pattern: &str| EventSearch {
        event_type: Some(pattern.to_owned()),
        ..all()
    };
    let within = |search: EventSearch, since_ms, before_ms| EventSearch {
        since_ms,
        before_ms,
        ..search
    };
    let half = at(50);
    vec![
        ("all", all()),
        ("large route", of_route(0)),
        ("small route", of_route(12)),
        ("route of old events", of_route(19)),
        ("type", of_type("type.7")),
        ("type, no match", of_type("nothing.*")),
        (
            "route and type",
            EventSearch {
                event_type: Some("type.7".to_owned()),
                ..of_route(3)
            },
        ),
        ("since", within(all(), Some(at(10)), None)),
        ("before", within(all(), None, Some(at(90)))),
        ("within", within(all(), Some(at(10)), Some(at(90)))),
        (
            "route within",
            within(of_route(1), Some(at(10)), Some(at(60))),
        ),
        (
            "old route within",
            within(of_route(19), Some(half), Some(at(60))),
        ),
        (
            "second within",
            within(all(), Some(half), Some(half + 1000)),
        ),
        ("tenth within", within(all(), Some(at(20)), Some(at(30)))),
    ]
}

/// Returns the processor time of this process. Unlike the time on a clock it leaves out what other programs use.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

/// The report of the times.
#[derive(Default)]
struct TimeReport(String);

impl TimeReport {
    /// Adds the time of a query: the median of three.
    async fn add<T, F: Future<Output = Result<T, StoreError>>>(
        &mut self,
        what: &str,
        query: impl Fn() -> F,
        count: impl Fn(&T) -> u64,
    ) {
        let mut times = Vec::new();
        let mut found = Err(StoreError::Closed);
        for _ in 0..3 {
            let began = processor_time();
            found = query().await;
            times.push(processor_time() - began);
        }
        times.sort_unstable();
        let took = times[1];
        let mark = if took > PATIENCE { " SLOW" } else { "" };
        let found = match &found {
            Ok(found) => count(found).to_string(),
            Err(err) => format!("Err({err})"),
        };
        let took = took.as_secs_f64() * 1000.0;
        writeln!(self.0, "{what:50} {took:9.1} ms{mark} {found}").unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a store of some gigabytes, which `benches/search.py` fills"]
async fn each_query_on_millions_of_events_is_answered_at_once() {
    let path = std::env::var_os("HOOKGATE_STORE").expect("HOOKGATE_STORE names the filled store");
    let store = Store::open(options(Path::new(&path))).unwrap();
    let events = i64::try_from(store.stats().await.unwrap().events).unwrap();
    let mut report = TimeReport::default();
    let page = ListPage {
        after: None,
        limit: 51,
    };
    let states = [
        None,
        Some(DeliveryState::Delivered),
        Some(DeliveryState::Dead),
        Some(DeliveryState::Pending),
    ];
    for (name, search) in searches(events) {
        for state in states {
            let word = state.map_or("any", DeliveryState::word);
            let event = EventSearch {
                state,
                ..search.clone()
            };
            let delivery = DeliverySearch {
                event: search.clone(),
                state,
                ..DeliverySearch::default()
            };
            let replay = ReplaySearch {
                search: delivery.clone(),
            };
            let query = || store.events(event.clone(), page);
            let what = format!("events: {name}, {word}");
            report.add(&what, query, |rows| rows.len() as u64).await;
            let query = || store.deliveries(delivery.clone(), page);
            let what = format!("deliveries: {name}, {word}");
            report.add(&what, query, |rows| rows.len() as u64).await;
            let query = || store.count_replay(&replay);
            let what = format!("count: {name}, {word}");
            report.add(&what, query, |count| *count).await;
        }
    }
    let one = DeliverySearch {
        destination: Some(name("app")),
        state: Some(DeliveryState::Dead),
        ..DeliverySearch::default()
    };
    let query = || store.deliveries(one.clone(), page);
    let what = "deliveries: destination, dead";
    report.add(what, query, |rows| rows.len() as u64).await;
    let id = store.events(EventSearch::default(), page).await.unwrap();
    let id = id[0].event_id.as_ref().map(ToString::to_string);
    let named = EventSearch {
        id,
        ..EventSearch::default()
    };
    let query = || store.events(named.clone(), page);
    report
        .add("event by id", query, |rows| rows.len() as u64)
        .await;
    let nowhere = EventSearch {
        id: Some("unknown".to_owned()),
        ..EventSearch::default()
    };
    let query = || store.events(nowhere.clone(), page);
    report
        .add("event by unknown id", query, |rows| rows.len() as u64)
        .await;
    report
        .add("counts by state", || store.stats(), |stats| stats.events)
        .await;
    let query = || store.destinations();
    report
        .add("counts by destination", query, |rows| rows.len() as u64)
        .await;
    println!("{}", report.0);
    assert!(!report.0.contains("SLOW") && !report.0.contains("Err("));
}
