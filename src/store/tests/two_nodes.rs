//! Tests of two nodes on one PostgreSQL database. Without `HOOKGATE_TEST_POSTGRES` they do nothing.

use std::time::{Duration, Instant};

use super::*;
use crate::model::clock::instant;
use crate::model::database::PostgresSettings;
use crate::store::nodes::BreakerReport;
use crate::store::take::{TakeHold, TakeRate};

/// Two open stores on one schema.
struct Pair {
    one: Store,
    other: Store,
    schema: TestSchema,
}

fn open(settings: PostgresSettings) -> Store {
    Store::open(at(DatabaseLocation::Postgres(Box::new(settings)))).unwrap()
}

impl Pair {
    fn open() -> Option<Self> {
        let schema = TestSchema::create()?;
        let one = open(schema.settings(None));
        let other = open(schema.settings(None));
        Some(Self { one, other, schema })
    }

    fn both(&self) -> [&Store; 2] {
        [&self.one, &self.other]
    }

    /// Returns the number of the destination, which both nodes must know.
    async fn destination(&self) -> DestinationId {
        let mut found = Vec::new();
        for store in self.both() {
            let number = store.destination(&route("github"), &name("app")).await;
            found.push(number.unwrap());
        }
        assert_eq!(found[0], found[1]);
        found[0]
    }
}

async fn commit(store: &Store, event: Event) -> Vec<DeliveryId> {
    match store.commit(event.0).await.unwrap() {
        CommitOutcome::New(ids) => ids,
        CommitOutcome::Duplicate(status) => panic!("duplicate with {status}"),
    }
}

fn request(app: DestinationId, limit: usize) -> TakeRequest {
    TakeRequest::new(app, limit, NOW + 1_000_000)
}

// Fails when the attempts in flight are counted for one node only, or in the statement that locks the destination.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrency_holds_over_nodes() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    for number in 0..40 {
        let store = pair.both()[usize::try_from(number % 2).unwrap()];
        commit(store, event(number).to(pending(app))).await;
    }
    let limited = TakeRequest {
        concurrency: 6,
        ..request(app, 10)
    };
    let mut asked = Vec::new();
    for round in 0..8 {
        let store = pair.both()[round % 2].clone();
        let limited = limited.clone();
        asked.push(tokio::spawn(async move {
            let taken = store.take(limited).await.unwrap();
            (store, taken)
        }));
    }
    let mut due = Vec::new();
    for taking in asked {
        let (store, taken) = taking.await.unwrap();
        due.extend(taken.due.into_iter().map(|due| (store.clone(), due)));
    }
    assert_eq!(due.len(), 6);
    let held = pair.other.take(limited.clone()).await.unwrap();
    assert_eq!((held.due.len(), held.hold), (0, Some(TakeHold::Full)));
    for (store, due) in due.drain(..2) {
        let ended = store.finish(finished(&due, NextState::Delivered)).await;
        assert!(ended.unwrap());
    }
    let more = pair.other.take(limited).await.unwrap();
    assert_eq!(more.due.len(), 2);
}

/// A transaction of a node that is somewhere in the middle.
struct OpenTransaction {
    client: tokio_postgres::Client,
    node: String,
}

impl OpenTransaction {
    /// Begins a transaction that runs these statements and stays open.
    async fn begin(schema: &TestSchema, sql: &str) -> Self {
        let (folder, port) = schema.server();
        let node = schema.settings(None).schema;
        let mut config = tokio_postgres::Config::new();
        config.host_path(folder).port(port);
        config.user("postgres").dbname("postgres");
        let connected = config.connect(tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        let begin = format!("SET search_path = {node}; BEGIN; {sql}");
        client.batch_execute(&begin).await.unwrap();
        Self { client, node }
    }

    /// Waits until a session of the nodes of this test waits for a lock.
    async fn wait_until_waited_for(&self) {
        let name = format!("hookgate/{} %", self.node);
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name LIKE $1 AND wait_event_type = 'Lock'";
        let began = instant();
        loop {
            // Statistics are frozen within a transaction, unless their snapshot is cleared.
            let clear = "SELECT pg_stat_clear_snapshot()";
            self.client.batch_execute(clear).await.unwrap();
            let row = self.client.query_one(sql, &[&name]).await.unwrap();
            if row.get::<_, i64>(0) > 0 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(1), "no session waits");
        }
    }

    async fn end(self, sql: &str) {
        let end = format!("{sql}; COMMIT");
        self.client.batch_execute(&end).await.unwrap();
    }
}

/// Opens two stores whose sessions carry the name of their schema.
fn named_pair() -> Option<Pair> {
    let schema = TestSchema::create()?;
    let settings = schema.settings(None);
    let named = || PostgresSettings {
        node: settings.schema.clone(),
        ..schema.settings(None)
    };
    Some(Pair {
        one: open(named()),
        other: open(named()),
        schema,
    })
}

// Fails when one statement locks the destination and counts what is in flight: it sees the rows as they were before it
// waited for the lock.
#[tokio::test]
async fn a_take_counts_what_the_one_before_it_took() {
    let Some(pair) = named_pair() else { return };
    let app = pair.destination().await;
    for number in 0..10 {
        commit(&pair.one, event(number).to(pending(app))).await;
    }
    let lock = format!("SELECT 1 FROM destination WHERE id = {} FOR UPDATE", app.0);
    let held = OpenTransaction::begin(&pair.schema, &lock).await;
    let limited = TakeRequest {
        concurrency: 4,
        ..request(app, 10)
    };
    let store = pair.other.clone();
    let taking = tokio::spawn(async move { store.take(limited).await.unwrap() });
    held.wait_until_waited_for().await;
    let node = pair.one.postgres().node_number();
    let take = format!(
        "UPDATE open_delivery SET state = 1, node = {node}, turn = 1, until_ms = 1, attempts = 1
        WHERE id IN (SELECT id FROM open_delivery ORDER BY id LIMIT 3)"
    );
    held.end(&take).await;
    assert_eq!(taking.await.unwrap().due.len(), 1);
}

// Fails when a commit or an outcome does not take the lock of its key: each would then decide on a state that the other
// one is just changing, and leave a delivery behind nothing.
#[tokio::test]
async fn commits_and_outcomes_wait_for_the_lock_of_their_key() {
    let Some(pair) = named_pair() else { return };
    let app = pair.destination().await;
    let ordered = |number| {
        let (waiting, _) = in_order(app);
        event(number).to(waiting)
    };
    commit(&pair.one, ordered(1)).await;
    let due = pair.one.take(request(app, 1)).await.unwrap().due.remove(0);
    let lock = pair.one.postgres().key_lock(app.0, 1);
    let lock = format!("SELECT pg_advisory_xact_lock({lock})");

    let held = OpenTransaction::begin(&pair.schema, &lock).await;
    let (store, event) = (pair.other.clone(), ordered(2));
    let committing = tokio::spawn(async move { commit(&store, event).await });
    held.wait_until_waited_for().await;
    held.end("").await;
    let second = committing.await.unwrap()[0];

    let held = OpenTransaction::begin(&pair.schema, &lock).await;
    let (store, ended) = (pair.one.clone(), finished(&due, NextState::Delivered));
    let finishing = tokio::spawn(async move { store.finish(ended).await.unwrap() });
    held.wait_until_waited_for().await;
    held.end("").await;
    assert!(finishing.await.unwrap());
    let next = pair.other.take(request(app, 9)).await.unwrap();
    assert_eq!(ids(&next.due), [second]);
}

// Fails when each node has its own bucket, or when the tokens are not written back.
#[tokio::test]
async fn the_rate_of_a_destination_holds_over_nodes() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    for number in 0..10 {
        commit(&pair.one, event(number).to(pending(app))).await;
    }
    let limited = TakeRequest {
        rate: Some(TakeRate {
            count: 3,
            burst: 3,
            period: Duration::from_secs(3600),
        }),
        ..request(app, 2)
    };
    assert_eq!(pair.one.take(limited.clone()).await.unwrap().due.len(), 2);
    assert_eq!(pair.other.take(limited.clone()).await.unwrap().due.len(), 1);
    let held = pair.one.take(limited).await.unwrap();
    assert_eq!(held.due.len(), 0);
    let Some(TakeHold::RateUntil(until_ms)) = held.hold else {
        panic!("{:?}", held.hold);
    };
    // A third of an hour for each attempt.
    let wait_ms = until_ms - pair.one.now().unix_ms;
    assert!((1_190_000..=1_201_000).contains(&wait_ms), "{wait_ms}");
}

// Fails when a take trusts the names in memory instead of the row.
#[tokio::test]
async fn a_pause_on_one_node_holds_on_the_other_at_once() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    commit(&pair.one, event(1).to(pending(app))).await;
    for name in [None, Some(name("app"))] {
        let paused = pair.one.pause(&route("github"), name.as_ref(), true).await;
        assert!(paused.unwrap());
        let taken = pair.other.take(request(app, 9)).await.unwrap();
        assert_eq!(ids(&taken.due), []);
        let resumed = pair.one.pause(&route("github"), name.as_ref(), false).await;
        assert!(resumed.unwrap());
    }
    pair.one
        .disable(app, Some("it answered 410"))
        .await
        .unwrap();
    assert_eq!(
        ids(&pair.other.take(request(app, 9)).await.unwrap().due),
        []
    );
    pair.one.disable(app, None).await.unwrap();
    assert_eq!(pair.other.take(request(app, 9)).await.unwrap().due.len(), 1);
}

// Fails when an open breaker is not asked for under the lock, or when two nodes probe.
#[tokio::test]
async fn an_open_breaker_lets_one_node_probe() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    for number in 0..4 {
        commit(&pair.one, event(number).to(pending(app))).await;
    }
    let until_ms = pair.one.now().unix_ms + 3_600_000;
    pair.one
        .report_breaker(app, BreakerReport::OpenUntil(until_ms));
    // Reports are written behind, in their order on the same session as this change.
    pair.one.disable(app, None).await.unwrap();
    let held = pair.other.take(request(app, 9)).await.unwrap();
    assert_eq!(held.due.len(), 0);
    assert_eq!(held.hold, Some(TakeHold::BreakerUntil(until_ms)));
    pair.one.report_breaker(app, BreakerReport::OpenUntil(1));
    pair.one.disable(app, None).await.unwrap();
    let probe = pair.other.take(request(app, 9)).await.unwrap();
    assert_eq!(probe.due.len(), 1);
    assert_eq!(pair.one.take(request(app, 9)).await.unwrap().due.len(), 0);
    pair.other.report_breaker(app, BreakerReport::Closed);
    pair.other.disable(app, None).await.unwrap();
    assert_eq!(pair.one.take(request(app, 9)).await.unwrap().due.len(), 3);
}

// Fails when the claims of another node are not seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_copies_at_both_nodes_one_is_stored() {
    let Some(pair) = Pair::open() else { return };
    pair.destination().await;
    let mut copies = Vec::new();
    for number in 0..60 {
        let store = pair.both()[usize::try_from(number % 2).unwrap()].clone();
        let key = u8::try_from(number % 3).unwrap();
        let copy = event(number)
            .claim(key, NOW + 1_000_000_000)
            .claim(9, NOW + 1);
        copies.push(tokio::spawn(async move { store.commit(copy.0).await }));
    }
    let mut stored = 0;
    for copy in copies {
        stored += u32::from(matches!(copy.await.unwrap(), Ok(CommitOutcome::New(_))));
    }
    assert_eq!(stored, 3);
    let count = "SELECT count(*) FROM event";
    assert_eq!(pair.one.postgres().read_number(count).await, 3);
}

// Fails when two events of one group both take over a claim that is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_copies_after_the_window_one_is_stored() {
    let Some(pair) = Pair::open() else { return };
    pair.destination().await;
    commit(&pair.one, event(1).claim(7, NOW + 2)).await;
    let copies = (100..140).map(|number| {
        let store = pair.one.clone();
        let copy = event(number).claim(7, NOW + 1_000_000_000);
        tokio::spawn(async move { store.commit(copy.0).await })
    });
    let mut stored = 0;
    for copy in copies.collect::<Vec<_>>() {
        let outcome = copy.await.unwrap().unwrap();
        stored += u32::from(matches!(outcome, CommitOutcome::New(_)));
    }
    assert_eq!(stored, 1);
}

/// An attempt of an ordered delivery: its key and number, and its begin and end.
type OrderedAttempt = (i64, i64, Instant, Instant);

/// Takes and ends ordered deliveries until all are delivered. A sixth of the first attempts fails.
async fn deliver_ordered(store: Store, app: DestinationId, expected: i64) -> Vec<OrderedAttempt> {
    let (mut seen, began) = (Vec::new(), instant());
    // A delivery that is stuck behind nothing ends the test by the count.
    while began.elapsed() < Duration::from_secs(30) {
        let taken = store.take(request(app, 3)).await.unwrap().due;
        let begun = instant();
        if taken.is_empty() {
            let count = "SELECT count(*) FROM delivery WHERE state = 3";
            if store.postgres().read_number(count).await == expected {
                break;
            }
        }
        for due in taken {
            let number = due.event.received_ms - NOW;
            let is_failed = due.attempt == 1 && number % 6 == 0;
            let next = match is_failed {
                true => NextState::Waiting(NOW),
                false => NextState::Delivered,
            };
            seen.push((number % 8, number, begun, instant()));
            assert!(store.finish(finished(&due, next)).await.unwrap());
        }
    }
    seen
}

// Fails when a commit, an outcome or a take works without the lock of the key: deliveries then overtake each other, or
// wait behind nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_holds_over_nodes() {
    const EVENTS: u64 = 400;
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    let mut committing = Vec::new();
    for writer in 0..4_u64 {
        let stores = [pair.one.clone(), pair.other.clone()];
        committing.push(tokio::spawn(async move {
            // Each key has one writer, who waits for each answer and goes to another node with each event.
            for (place, number) in (writer..EVENTS).step_by(4).enumerate() {
                let delivery = NewDelivery {
                    order_key: Some(i64::try_from(number % 8).unwrap()),
                    ..pending(app)
                };
                commit(&stores[place / 2 % 2], event(number).to(delivery)).await;
            }
        }));
    }
    let expected = i64::try_from(EVENTS).unwrap();
    let working: Vec<_> = (0..4)
        .map(|worker| {
            let store = pair.both()[worker % 2].clone();
            tokio::spawn(deliver_ordered(store, app, expected))
        })
        .collect();
    for one in committing {
        one.await.unwrap();
    }
    let mut attempts = Vec::new();
    for one in working {
        attempts.extend(one.await.unwrap());
    }
    let count = "SELECT count(*) FROM delivery WHERE state = 3";
    assert_eq!(pair.one.postgres().read_number(count).await, expected);
    attempts.sort_by_key(|(key, _, begun, _)| (*key, *begun));
    for pair in attempts.windows(2) {
        let [(key, number, _, ended), (next_key, next, begun, _)] = pair else {
            unreachable!();
        };
        if key == next_key {
            assert!(number <= next, "{next} of key {key} went before {number}");
            assert!(ended <= begun, "{number} and {next} of key {key} overlap");
        }
    }
}

/// Takes the delivery of another node as soon as it returns to the queue.
async fn take_over(store: &Store, app: DestinationId, limit: Duration) -> DueDelivery {
    let began = instant();
    loop {
        let mut taken = store.take(request(app, 1)).await.unwrap().due;
        if let Some(due) = taken.pop() {
            return due;
        }
        assert!(began.elapsed() < limit, "nothing was taken over");
        tokio::task::yield_now().await;
    }
}

// Fails when an outcome is fenced by the delivery alone, or by the attempt without the node.
#[tokio::test]
async fn a_node_that_was_declared_dead_changes_nothing() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    commit(&pair.one, event(1).to(pending(app))).await;
    let due = pair.one.take(request(app, 1)).await.unwrap().due.remove(0);
    let node = pair.one.postgres().node_number();
    let sql = format!("UPDATE node SET ended_ms = 1, is_gone = true WHERE id = {node}");
    pair.other.postgres().run_sql(sql).await;
    let again = take_over(&pair.other, app, Duration::from_secs(20)).await;
    assert_eq!((again.delivery, again.attempt), (due.delivery, 2));
    let late = pair.one.finish(finished(&due, NextState::Dead)).await;
    assert!(!late.unwrap());
    assert!(
        pair.other
            .finish(finished(&again, NextState::Delivered))
            .await
            .unwrap()
    );
    let delivered = "SELECT count(*) FROM delivery WHERE state = 3";
    assert_eq!(pair.other.postgres().read_number(delivered).await, 1);
    let _ = &pair.schema;
}

// Fails when an outcome is fenced by the attempt without the node: no other attempt has begun yet.
#[tokio::test]
async fn an_outcome_after_the_takeover_changes_nothing() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    commit(&pair.one, event(1).to(pending(app))).await;
    let due = pair.one.take(request(app, 1)).await.unwrap().due.remove(0);
    let node = pair.one.postgres().node_number();
    let sql = format!("UPDATE node SET ended_ms = 1, is_gone = true WHERE id = {node}");
    pair.other.postgres().run_sql(sql).await;
    let began = instant();
    let waiting = "SELECT count(*) FROM open_delivery WHERE node IS NULL";
    while pair.other.postgres().read_number(waiting).await == 0 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "nothing was taken over"
        );
    }
    let late = pair.one.finish(finished(&due, NextState::Delivered)).await;
    assert!(!late.unwrap_or(false));
    assert_eq!(pair.other.postgres().read_number(waiting).await, 1);
    let attempts = pair.other.attempts(due.delivery).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].record.error.as_ref().unwrap().0, "interrupted");
}

// Fails when the answer of COMMIT is believed although a statement before it failed: PostgreSQL then rolls back, and calls
// that a success.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_that_the_server_rejects_is_refused_alone() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    commit(&pair.one, event(1).to(pending(app))).await;
    let mut committing = Vec::new();
    for number in 1..40 {
        let store = pair.one.clone();
        committing.push(tokio::spawn(async move {
            store.commit(event(number).to(pending(app)).0).await
        }));
    }
    for (number, commit) in (1..40).zip(committing) {
        match commit.await.unwrap() {
            Ok(CommitOutcome::New(_)) => assert_ne!(number, 1, "its uid is stored already"),
            Err(StoreError::Damaged { what }) => assert_eq!(number, 1, "{what}"),
            other => panic!("{number}: {other:?}"),
        }
    }
    let count = "SELECT count(*) FROM event";
    assert_eq!(pair.other.postgres().read_number(count).await, 39);
}

// Fails when the take of an attempt that may still run is not waited for, or when a dead node's work stays.
#[tokio::test]
async fn the_work_of_a_dead_node_is_taken_over() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    commit(&pair.one, event(1).to(pending(app))).await;
    let limited = TakeRequest {
        attempt_limit: Duration::from_secs(22),
        ..request(app, 1)
    };
    let due = pair.one.take(limited).await.unwrap().due.remove(0);
    let died = instant();
    pair.one.postgres().abandon();
    let again = take_over(&pair.other, app, Duration::from_secs(40)).await;
    assert_eq!((again.delivery, again.attempt), (due.delivery, 2));
    // The lease is over after 20 seconds, but the attempt may run for 22 and 5 more. Soon after that it goes on.
    let took = died.elapsed();
    assert!(
        (Duration::from_secs(27)..Duration::from_secs(36)).contains(&took),
        "{took:?}"
    );
}

// Fails when a schema that a later version expanded is refused, or when its version is lowered, or when a node goes on
// although the later version contracted what it needs.
#[tokio::test]
async fn an_expanded_schema_is_used_and_a_contracted_one_is_not() {
    let Some(pair) = Pair::open() else { return };
    let app = pair.destination().await;
    let expand = "ALTER TABLE event ADD COLUMN later integer; UPDATE meta SET form = 99";
    pair.other.postgres().run_sql(expand.to_owned()).await;
    commit(&pair.one, event(1).to(pending(app))).await;
    // A node of this version still starts beside those of the later one.
    let third = open(pair.schema.settings(None));
    third
        .destination(&route("github"), &name("app"))
        .await
        .unwrap();
    commit(&third, event(2).to(pending(app))).await;
    let form = "SELECT form::bigint FROM meta";
    assert_eq!(third.postgres().read_number(form).await, 99);
    let contract = "UPDATE meta SET readable_from = 2";
    pair.other.postgres().run_sql(contract.to_owned()).await;
    let began = instant();
    while pair.both().iter().any(|store| store.is_healthy()) {
        assert!(began.elapsed() < Duration::from_secs(10), "a node goes on");
        tokio::task::yield_now().await;
    }
    let late = pair.one.commit(event(3).to(pending(app)).0).await;
    assert!(matches!(late, Err(StoreError::Reopening)), "{late:?}");
    let options = at(DatabaseLocation::Postgres(Box::new(
        pair.schema.settings(None),
    )));
    assert!(matches!(
        Store::open(options),
        Err(StoreError::NewerSchema { found: 99, .. })
    ));
}
