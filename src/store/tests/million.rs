//! Operator queries on a million events.
//!
//! `cargo test --lib million -- --ignored --nocapture` prints the time of each query.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::model::clock::instant;
use crate::store::search::ReplaySearch;

const EVENTS: i64 = 1_000_000;
const ROUTES: i64 = 3;
const TYPES: i64 = 10;

/// Time that a page may take. It is generous, since the build is not optimized and the machine may be shared.
const PATIENCE: Duration = match cfg!(debug_assertions) {
    true => Duration::from_millis(2500),
    false => Duration::from_millis(200),
};

/// Milliseconds between two events.
const STEP_MS: i64 = 100;

/// One in this many events was replayed.
const STEP_REPLAYED: i64 = 10;

/// Writes the rows with SQL, since committing them through the store would take minutes.
fn fill(rig: Rig) -> Rig {
    let path = rig.path();
    let Rig { store, folder } = rig;
    store.close();
    let conn = rusqlite::Connection::open(&path).unwrap();
    let replays = EVENTS / STEP_REPLAYED;
    let sql = format!(
        "BEGIN;
        CREATE TEMP TABLE n (n INTEGER PRIMARY KEY, state INTEGER);
        INSERT INTO n WITH RECURSIVE it (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM it WHERE n < {EVENTS})
            SELECT n, CASE WHEN n % 100 < 97 THEN 3 WHEN n % 100 = 97 THEN 4 WHEN n % 100 = 98 THEN 2 ELSE 0 END
            FROM it;
        DELETE FROM event; DELETE FROM delivery; DELETE FROM content; DELETE FROM tally; DELETE FROM reference;
        DELETE FROM span; DELETE FROM claim;
        DELETE FROM lane; DELETE FROM kind;
        INSERT INTO kind (id, route, provider, event_type)
            SELECT n, n % {ROUTES} + 1, 'github', 'type.' || n FROM n WHERE n <= {ROUTES} * {TYPES};
        INSERT INTO lane (id, kind, destination, is_replay)
            SELECT n, n, n % {ROUTES} + 1, 0 FROM n WHERE n <= {ROUTES} * {TYPES};
        INSERT INTO lane (id, kind, destination, is_replay) SELECT id + 100, kind, destination, 1 FROM lane;
        INSERT INTO event (id, uid, kind, received_ms, body_size, event_id)
            SELECT n, CAST(printf('%016d', n) AS BLOB), n % ({ROUTES} * {TYPES}) + 1, {NOW} + n * {STEP_MS}, 100,
            'evt_' || n FROM n;
        INSERT INTO content (event, sealing_key, head, body) SELECT n, 0, x'00', zeroblob(100) FROM n;
        INSERT INTO delivery (id, event, lane, destination, state, is_behind, priority, due_ms, attempts, round,
            round_began_ms, created_ms, ended_ms)
            SELECT n, n, n % ({ROUTES} * {TYPES}) + 1, (n % ({ROUTES} * {TYPES}) + 1) % {ROUTES} + 1, state, 0, 0,
            {NOW} + n * {STEP_MS}, 1, 1, {NOW} + n * {STEP_MS}, {NOW} + n * {STEP_MS}, {NOW} + n * {STEP_MS} FROM n;
        INSERT INTO delivery (id, event, lane, destination, state, is_behind, priority, due_ms, attempts, round,
            round_began_ms, created_ms, ended_ms)
            SELECT {EVENTS} + id / {STEP_REPLAYED}, id, lane + 100, destination, 3 + (id / {STEP_REPLAYED}) % 2,
            0, 0, due_ms, 1, 1, due_ms, due_ms, due_ms
            FROM delivery WHERE id % {STEP_REPLAYED} = 0;
        INSERT INTO tally SELECT lane, state, count(*) FROM delivery GROUP BY lane, state;
        INSERT INTO span SELECT id >> 10, min(received_ms), max(received_ms) FROM event GROUP BY id >> 10;
        INSERT INTO claim (route, key, expires_ms, status)
            SELECT n % {ROUTES} + 1, randomblob(16), {NOW} + n, 202 FROM n;
        UPDATE total SET events = {EVENTS}, claims = {EVENTS}, last_event = {EVENTS},
            last_delivery = {EVENTS} + {replays};
        COMMIT;"
    );
    conn.execute_batch(&sql).unwrap();
    drop(conn);
    let store = Store::open(options(&path)).unwrap();
    Rig { store, folder }
}

fn at(hundredth: i64) -> i64 {
    NOW + EVENTS * STEP_MS / 100 * hundredth
}

fn searches() -> Vec<(&'static str, EventSearch)> {
    let all = EventSearch::default;
    vec![
        ("all", all()),
        (
            "route",
            EventSearch {
                route: Some(route("route-1")),
                ..all()
            },
        ),
        (
            "type",
            EventSearch {
                event_type: Some("type.7".to_owned()),
                ..all()
            },
        ),
        (
            "type, no match",
            EventSearch {
                event_type: Some("nothing.*".to_owned()),
                ..all()
            },
        ),
        (
            "id",
            EventSearch {
                id: Some("evt_4711".to_owned()),
                ..all()
            },
        ),
        (
            "since",
            EventSearch {
                since_ms: Some(at(10)),
                ..all()
            },
        ),
        (
            "before",
            EventSearch {
                before_ms: Some(at(90)),
                ..all()
            },
        ),
        (
            "within",
            EventSearch {
                since_ms: Some(at(10)),
                before_ms: Some(at(90)),
                ..all()
            },
        ),
        (
            "route within",
            EventSearch {
                route: Some(route("route-1")),
                since_ms: Some(at(10)),
                before_ms: Some(at(60)),
                ..all()
            },
        ),
        (
            "few within",
            EventSearch {
                since_ms: Some(at(50)),
                before_ms: Some(at(50) + 1000),
                ..all()
            },
        ),
        (
            "a tenth within",
            EventSearch {
                since_ms: Some(at(20)),
                before_ms: Some(at(30)),
                ..all()
            },
        ),
        (
            "later than all",
            EventSearch {
                since_ms: Some(at(101)),
                ..all()
            },
        ),
    ]
}

async fn timed<T>(
    told: &mut String,
    what: &str,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Option<T> {
    let began = instant();
    let found = asked.await;
    let took = began.elapsed();
    let mark = if took > PATIENCE { " SLOW" } else { "" };
    writeln!(
        told,
        "{what:50} {:8.1} ms{mark}",
        took.as_secs_f64() * 1000.0
    )
    .unwrap();
    if let Err(err) = &found {
        writeln!(told, "{what:50} Err({err})").unwrap();
    }
    found.ok()
}

#[tokio::test]
#[ignore = "fills a file of some hundred megabytes"]
async fn each_answer_with_a_million_events_comes_at_once() {
    let rig = Rig::new();
    for number in 1..=ROUTES {
        let of = route(&format!("route-{number}"));
        rig.store.destination(&of, &name("app")).await.unwrap();
    }
    let began = instant();
    let rig = fill(rig);
    let mut told = String::new();
    writeln!(told, "filled in {:?}", began.elapsed()).unwrap();
    let page = ListPage {
        after: None,
        limit: 50,
    };
    timed(&mut told, "warm", rig.store.stats()).await;
    timed(&mut told, "stats", rig.store.stats()).await;
    timed(&mut told, "destinations", rig.store.destinations()).await;
    let states = [
        None,
        Some(DeliveryState::Delivered),
        Some(DeliveryState::Dead),
        Some(DeliveryState::Pending),
    ];
    for (what, search) in searches() {
        for state in states {
            let word = state.map_or("any", DeliveryState::word);
            let event = EventSearch {
                state,
                ..search.clone()
            };
            timed(
                &mut told,
                &format!("events: {what}, {word}"),
                rig.store.events(event, page),
            )
            .await;
            let mut delivery = DeliverySearch {
                event: search.clone(),
                state,
                ..DeliverySearch::default()
            };
            let asked = rig.store.deliveries(delivery.clone(), page);
            timed(&mut told, &format!("deliveries: {what}, {word}"), asked).await;
            let replay = ReplaySearch {
                search: delivery.clone(),
            };
            let asked = rig.store.count_replay(&replay);
            let count = timed(&mut told, &format!("replay: {what}, {word}"), asked).await;
            writeln!(told, "    {count:?}").unwrap();
            delivery.destination = Some(name("app"));
            let replay = ReplaySearch {
                search: delivery.clone(),
            };
            let asked = rig.store.count_replay(&replay);
            let count = timed(&mut told, &format!("replay to one: {what}, {word}"), asked).await;
            writeln!(told, "    {count:?}").unwrap();
        }
    }
    println!("{told}");
    assert!(!told.contains("SLOW") && !told.contains("Err("));
}
