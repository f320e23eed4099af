//! Tests of failed writes, missing room, and too many tasks at once.

use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;
use crate::test_rig::{LIMIT, block_until, poll_for, wait_for};

async fn wait_until_healthy(store: &Store) {
    wait_for("the store is opened again", LIMIT, || store.is_healthy()).await;
}

fn is_write(outcome: &Result<CommitOutcome, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Write(_)))
}

// Fails when `fail` rejects with anything but `Write`, or does not make the store healthy again.
#[tokio::test]
async fn a_failed_group_is_told_and_the_store_goes_on() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    rig.deliver(1, app).await;
    rig.store
        .sqlite()
        .shared
        .faults
        .before_commit
        .store(true, Ordering::SeqCst);
    assert!(is_write(
        &rig.store.commit(event(2).to(pending(app)).0).await
    ));
    wait_until_healthy(&rig.store).await;
    assert_eq!(rig.uids(EventSearch::default()).await, [uid(1)]);
    rig.deliver(2, app).await;
    let stats = rig.store.stats().await.unwrap();
    assert_eq!((stats.reopened, stats.events), (1, 2));
    rig.assert_sound();
}

// Fails when `reopen` omits `undo`: the retry of a rejected sender would be a duplicate.
#[tokio::test]
async fn what_was_told_as_failed_is_not_there_afterwards() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let waiting = rig.deliver(1, app).await;
    let faults = &rig.store.sqlite().shared.faults;
    faults.after_commit.store(true, Ordering::SeqCst);
    let refused = || event(2).to(pending(app)).claim(1, NOW + 99_999).0;
    assert!(is_write(&rig.store.commit(refused()).await));
    wait_until_healthy(&rig.store).await;
    assert!(rig.store.event(uid(2)).await.unwrap().is_none());
    faults.after_commit.store(true, Ordering::SeqCst);
    assert!(rig.store.begin(app, 9, NOW + 9).await.is_err());
    wait_until_healthy(&rig.store).await;
    assert_eq!(rig.state(waiting).await, DeliveryState::Pending);
    rig.commit(refused()).await;
    assert_eq!(rig.store.stats().await.unwrap().claims, 1);
    rig.assert_sound();
}

// Fails when `delete_event` omits `settle`: deliveries behind the deleted event would wait forever.
#[tokio::test]
async fn what_was_told_as_failed_keeps_nothing_waiting_behind_it() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let (waiting, going) = in_order(app);
    let waiting = rig.commit(event(1).to(waiting).0).await[0];
    let faults = &rig.store.sqlite().shared.faults;
    faults.after_commit.store(true, Ordering::SeqCst);
    assert!(is_write(&rig.store.commit(event(2).to(going).0).await));
    wait_until_healthy(&rig.store).await;
    let due = rig.begin(app).await;
    assert_eq!(ids(&due), [waiting]);
    rig.assert_sound();
}

// Fails when `transact` keeps the ghosts of a group that was reported as done: the event would be deleted, or its
// delivery interrupted during its attempt.
#[tokio::test]
async fn what_was_told_as_done_survives_a_failed_checkpoint() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let holding = rig.store.sqlite().hold();
    let store = rig.store.clone();
    let asked = tokio::spawn(async move { store.commit(event(1).to(pending(app)).0).await });
    while rig.store.sqlite().shared.waiting_for_test() < 1 {
        tokio::task::yield_now().await;
    }
    rig.store.sqlite().fail_checkpoint();
    drop(holding);
    let CommitOutcome::New(numbers) = asked.await.unwrap().unwrap() else {
        panic!("there was no event before");
    };
    let delivery = numbers[0];
    wait_until_reopened(&rig.store, 1).await;
    assert_eq!(rig.uids(EventSearch::default()).await, [uid(1)]);
    let holding = rig.store.sqlite().hold();
    let store = rig.store.clone();
    let asked = tokio::spawn(async move { store.begin(app, 9, NOW + 9).await });
    while rig.store.sqlite().shared.waiting_for_test() < 1 {
        tokio::task::yield_now().await;
    }
    rig.store.sqlite().fail_checkpoint();
    drop(holding);
    assert_eq!(asked.await.unwrap().unwrap().len(), 1);
    wait_until_reopened(&rig.store, 2).await;
    assert_eq!(rig.state(delivery).await, DeliveryState::InFlight);
    rig.assert_sound();
}

async fn wait_until_reopened(store: &Store, times: u64) {
    poll_for("the store is opened again", LIMIT, async || {
        let stats = store.stats().await.ok()?;
        (stats.reopened == times && store.is_healthy()).then_some(())
    })
    .await;
}

// Fails when a commit is queued while the store is not healthy: it would wait for as long as the disk fails.
#[tokio::test]
async fn while_the_file_is_being_opened_anew_commits_fail_fast() {
    let rig = Rig::new();
    rig.store.sqlite().shared.set_healthy_for_test(false);
    assert!(!rig.store.is_healthy());
    let refused = rig.store.commit(event(1).0).await;
    assert!(matches!(refused, Err(StoreError::Reopening)));
    rig.store.sqlite().shared.set_healthy_for_test(true);
    rig.commit(event(1).0).await;
}

// Fails when the store waits without end for a lock of another process, or does not recover after it.
#[tokio::test]
async fn a_locked_file_refuses_and_loses_nothing() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    rig.deliver(1, app).await;
    let other = rusqlite::Connection::open(rig.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let asked = rig.store.commit(event(2).to(pending(app)).0);
    let refused = tokio::time::timeout(Duration::from_secs(10), asked).await;
    assert!(is_write(&refused.unwrap()));
    // Meanwhile a query succeeds or is rejected at once.
    let began = crate::model::clock::instant();
    let _ = rig.store.event(uid(1)).await;
    let refused = rig.store.commit(event(2).to(pending(app)).0).await;
    assert!(matches!(refused, Err(StoreError::Reopening)));
    assert!(began.elapsed() < Duration::from_secs(1));
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    wait_until_healthy(&rig.store).await;
    rig.deliver(2, app).await;
    assert_eq!(rig.uids(EventSearch::default()).await, [uid(2), uid(1)]);
    rig.assert_sound();
}

// Fails when an SQLite error is reported as `Ok`, or when the group before it is lost.
#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    rig.store.sqlite().limit_pages(60).await;
    let large = |number| {
        event(number)
            .set(|event| event.body = Some(Bytes::from(vec![b'x'; 20_000])))
            .to(pending(app))
    };
    let mut taken = Vec::new();
    let mut number = 0;
    loop {
        match rig.store.commit(large(number).0).await {
            Ok(_) => taken.push(uid(number)),
            Err(StoreError::Write(_)) => break,
            Err(other) => panic!("{other:?}"),
        }
        number += 1;
        assert!(number < 100, "60 pages hold no 100 events of 20,000 bytes");
    }
    wait_until_healthy(&rig.store).await;
    taken.reverse();
    assert_eq!(rig.uids(EventSearch::default()).await, taken);
    rig.commit(event(77).to(pending(app)).0).await;
    rig.assert_sound();
}

// Fails when `reached` is not called, or, for the duplicate, when it is called before the claims are checked.
#[tokio::test]
async fn the_limits_of_the_config_hold() {
    let rig = Rig::with(|options| options.max_events = Some(2));
    rig.commit(event(1).claim(1, NOW + 99_999).0).await;
    rig.commit(event(2).0).await;
    assert!(is_full(&rig.store.commit(event(3).0).await));
    let duplicate = rig
        .store
        .commit(event(4).claim(1, NOW + 99_999).0)
        .await
        .unwrap();
    assert_eq!(duplicate, CommitOutcome::Duplicate(202));
    let rig = rig.reopen(|options| {
        if let DatabaseLocation::Sqlite(file) = &mut options.location {
            file.min_free = u64::MAX;
        }
    });
    assert!(is_full(&rig.store.commit(event(3).0).await));
    let rig = rig.reopen(|options| options.max_size = Some(2 * 1024 * 1024));
    let mut number = 10;
    let large =
        |number| event(number).set(|event| event.body = Some(Bytes::from(vec![b'x'; 20_000])));
    let outcome = loop {
        number += 1;
        let outcome = rig.store.commit(large(number).0).await;
        if outcome.is_err() || number > 300 {
            break outcome;
        }
        assert!(rig.store.stats().await.unwrap().size <= 2 * 1024 * 1024);
    };
    assert!(is_full(&outcome));
    // The log was copied to make room, so most of the room holds events.
    assert!(number > 55, "{number}");
    rig.assert_sound();
}

/// Polls without waiting.
fn ask(rig: &Rig, event: Event) -> Option<Result<CommitOutcome, StoreError>> {
    let mut asked = Box::pin(rig.store.commit(event.0));
    let waker = std::task::Waker::noop();
    match asked
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker))
    {
        std::task::Poll::Ready(outcome) => Some(outcome),
        std::task::Poll::Pending => None,
    }
}

// Fails when either bound in `push` is omitted.
#[tokio::test]
async fn beyond_its_bounds_the_queue_is_busy_at_once() {
    for size in [10, 1024 * 1024] {
        let rig = Rig::new();
        let holding = rig.store.sqlite().hold();
        let body = Bytes::from(vec![b'x'; size]);
        let mut waiting = 0;
        let outcome = loop {
            let next = event(waiting).set(|event| event.body = Some(body.clone()));
            match ask(&rig, next) {
                None => waiting += 1,
                Some(outcome) => break outcome,
            }
            assert!(waiting < 10_000);
        };
        assert!(matches!(outcome, Err(StoreError::Busy)), "{outcome:?}");
        assert!(waiting > 60, "{waiting}");
        drop(holding);
        rig.store.pause(&route("none"), None, true).await.unwrap();
        rig.commit(event(99_999).0).await;
    }
}

/// Fifty commits that wait for the writer, and the task that holds it up.
async fn fifty_waiting(
    rig: &Rig,
) -> (
    Sender<()>,
    Vec<JoinHandle<Result<CommitOutcome, StoreError>>>,
) {
    let holding = rig.store.sqlite().hold();
    let waiting = (0..50).map(|number| {
        let store = rig.store.clone();
        tokio::spawn(async move { store.commit(event(number).0).await })
    });
    let waiting = waiting.collect();
    while rig.store.sqlite().shared.waiting_for_test() < 50 {
        tokio::task::yield_now().await;
    }
    (holding, waiting)
}

// Fails when each commit has its own transaction, and so its own synchronization to the disk.
#[tokio::test]
async fn all_that_wait_are_written_at_once() {
    let rig = Rig::new();
    rig.commit(event(99).0).await;
    let before = rig.store.stats().await.unwrap().groups;
    let (holding, waiting) = fifty_waiting(&rig).await;
    drop(holding);
    for commit in waiting {
        commit.await.unwrap().unwrap();
    }
    // The task that held up the writer, and all tasks behind it.
    let groups = rig.store.stats().await.unwrap().groups - before;
    assert!(groups <= 2, "{groups}");
}

// Fails when `close` ends the thread before the queue is empty.
#[tokio::test]
async fn closing_writes_what_waits() {
    let rig = Rig::new();
    let (holding, waiting) = fifty_waiting(&rig).await;
    let other = rig.store.clone();
    drop(holding);
    let rig = rig.reopen(|_| {});
    for commit in waiting {
        assert!(matches!(commit.await.unwrap(), Ok(CommitOutcome::New(_))));
    }
    assert_eq!(rig.uids(EventSearch::default()).await.len(), 50);
    assert!(matches!(
        other.commit(event(99).0).await,
        Err(StoreError::Closed)
    ));
    assert!(matches!(other.stats().await, Err(StoreError::Closed)));
    assert!(!other.is_healthy());
}

// Fails when `let_in` leaves out `settle`: a destination that a reload names while the file is being opened would have no
// number in it until a restart, and its events would go nowhere.
#[tokio::test]
async fn a_destination_that_is_named_while_the_file_is_opened_gets_its_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    // Another store has the file, so that it cannot be opened yet.
    let before = Store::open(options(&path)).unwrap();
    let store = Store::open_late(options(&path));
    let route = route("r");
    let early = store.destination(&route, &name("early")).await.unwrap();
    let opening = store.sqlite().shared.faults.opening.lock();
    drop(before);
    // The lock must not be held across an await.
    block_until("the file is open", LIMIT, || {
        store.sqlite().shared.names_for_test() >= 1
    });
    // The file is open, and nothing is taken yet.
    let late = store.sqlite().shared.alias_for_test(&route, &name("late"));
    drop(opening);
    wait_until_healthy(&store).await;
    for (number, destination) in [(1, early), (2, late)] {
        let committed = store.commit(event(number).to(pending(destination)).0).await;
        assert!(
            matches!(committed, Ok(CommitOutcome::New(_))),
            "{committed:?}"
        );
    }
    let real = store.destination(&route, &name("late")).await.unwrap();
    assert_eq!(store.resolve(late), real);
    assert!(real.0 > 0 && real != store.resolve(early));
    assert_eq!(store.begin(real, 9, NOW + 9).await.unwrap().len(), 1);
}
