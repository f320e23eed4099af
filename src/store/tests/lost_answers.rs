//! Tests of a store whose server's answers are lost. Without `HOOKGATE_TEST_POSTGRES` they do nothing.

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::model::clock::instant;
use crate::model::database::{PostgresHost, PostgresSettings};
use crate::store::tests::fault_proxy::FaultProxy;

/// A store behind the proxy, and one beside it on the same schema.
struct FaultyPair {
    proxy: FaultProxy,
    store: Store,
    direct: Store,
    app: DestinationId,
    _schema: TestSchema,
}

impl FaultyPair {
    async fn open() -> Option<Self> {
        let schema = TestSchema::create()?;
        let (folder, port) = schema.server();
        let proxy = FaultProxy::start(&folder, port);
        let (folder, port) = proxy.place();
        let open =
            |settings| Store::open(at(DatabaseLocation::Postgres(Box::new(settings)))).unwrap();
        let store = open(PostgresSettings {
            hosts: vec![PostgresHost::Unix(folder, port)],
            ..schema.settings(None)
        });
        let direct = open(schema.settings(None));
        let (github, name) = (route("github"), name("app"));
        let app = store.destination(&github, &name).await.unwrap();
        assert_eq!(direct.destination(&github, &name).await.unwrap(), app);
        Some(Self {
            proxy,
            store,
            direct,
            app,
            _schema: schema,
        })
    }

    /// Takes the delivery that returned to the queue. Nothing but its prompt return is as fast: it would be reconciled
    /// after 30 seconds at the earliest.
    async fn take_again(&self) -> DueDelivery {
        let began = instant();
        loop {
            let request = TakeRequest::new(self.app, 1, NOW + 1_000_000);
            if let Some(due) = self.store.take(request).await.unwrap().due.pop() {
                return due;
            }
            assert!(
                began.elapsed() < Duration::from_secs(15),
                "the delivery did not return"
            );
            tokio::task::yield_now().await;
        }
    }
}

async fn commit(store: &Store, event: Event) -> Vec<DeliveryId> {
    match store.commit(event.0).await.unwrap() {
        CommitOutcome::New(ids) => ids,
        CommitOutcome::Duplicate(status) => panic!("duplicate with {status}"),
    }
}

// Fails when the result of COMMIT alone is believed, when numbers are drawn again for the second try, or when a lost
// answer is reported as a failure.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_counts_once() {
    let Some(FaultyPair {
        proxy,
        store,
        direct,
        app,
        ..
    }) = FaultyPair::open().await
    else {
        return;
    };
    for (number, is_cut) in [(1, true), (2, false), (3, true)] {
        match is_cut {
            true => proxy.cut("commit", 1),
            false => proxy.lose_answers("commit", 1),
        }
        let given = event(number)
            .to(pending(app))
            .claim(u8::try_from(number).unwrap(), NOW + 1_000_000_000);
        let made = commit(&store, given).await;
        assert_eq!(made.len(), 1);
        // The sender's copy at another node meets the same claim.
        let copy = event(100 + number)
            .to(pending(app))
            .claim(u8::try_from(number).unwrap(), NOW + 1_000_000_000);
        let outcome = direct.commit(copy.0).await.unwrap();
        assert_eq!(outcome, CommitOutcome::Duplicate(202));
    }
    let direct = direct.postgres();
    let events = "SELECT count(*) FROM event";
    assert_eq!(direct.read_number(events).await, 3);
    let deliveries = "SELECT count(*) FROM open_delivery";
    assert_eq!(direct.read_number(deliveries).await, 3);
}

// Fails when a take whose commit is in doubt leaves its deliveries in flight.
#[tokio::test]
async fn a_take_whose_answer_is_lost_returns_its_deliveries() {
    let Some(pair) = FaultyPair::open().await else {
        return;
    };
    commit(&pair.store, event(1).to(pending(pair.app))).await;
    // Without a cut, after which the server may abandon the transaction.
    pair.proxy.lose_answers("taker", 1);
    let request = TakeRequest::new(pair.app, 1, NOW + 1_000_000);
    pair.store.take(request).await.unwrap_err();
    // The server committed the take, so the second one is another attempt.
    assert_eq!(pair.take_again().await.attempt, 2);
}

// Fails when the deliveries of a take stay in flight after its caller is gone.
#[tokio::test]
async fn a_take_whose_caller_is_gone_returns_its_deliveries() {
    let Some(pair) = FaultyPair::open().await else {
        return;
    };
    commit(&pair.store, event(1).to(pending(pair.app))).await;
    let request = TakeRequest::new(pair.app, 1, NOW + 1_000_000);
    let mut take = Box::pin(pair.store.take(request));
    // The first poll asks the thread of the store, and no second one reads what it took.
    let polled = take.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
    drop(take);
    assert_eq!(pair.take_again().await.attempt, 2);
}

// Fails when a commit counts although the server gave up waiting for a standby, or when it is then stored twice.
#[tokio::test]
async fn a_commit_that_no_standby_has_is_repeated() {
    let Some(pair) = FaultyPair::open().await else {
        return;
    };
    // The names are learned first, in commits of their own.
    commit(&pair.store, event(1).to(pending(pair.app))).await;
    let before = pair.proxy.commits();
    pair.proxy.warn("commit", 1);
    commit(&pair.store, event(2).to(pending(pair.app))).await;
    // At least, because duties of the store commit too.
    assert!(pair.proxy.commits() - before >= 2);
    let events = "SELECT count(*) FROM event";
    assert_eq!(pair.direct.postgres().read_number(events).await, 2);
}
