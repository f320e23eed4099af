//! Tests of erasing events: what goes, what stays, and that no byte of it is left in an SQLite file.

use super::*;

/// Returns an event whose private parts all hold a mark.
fn marked(number: u64, mark: &str, size: usize) -> Event {
    let body = format!("{{\"name\":\"{mark}\",\"fill\":\"{}\"}}", "x".repeat(size));
    let (mark, head) = (mark.to_owned(), mark.to_owned());
    event(number).set(move |event| {
        event.body = Some(Bytes::from(body));
        event.target = format!("/github?q={mark}");
        event.event_id = EventId::parse(&mark);
        event.headers.insert("x-marked", head.parse().unwrap());
    })
}

fn has_mark(rig: &Rig, mark: &str) -> bool {
    ["", "-wal"].iter().any(|suffix| {
        let path = rig.folder.path().join(format!("inbox.db{suffix}"));
        let bytes = std::fs::read(path).unwrap_or_default();
        memchr::memmem::find(&bytes, mark.as_bytes()).is_some()
    })
}

// Fails when rows of deliveries or attempts are left, when another event is touched, or when a tally is not reduced.
#[tokio::test]
async fn an_event_goes_with_all_its_rows_and_no_other() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    for number in 1..4 {
        rig.deliver(number, app).await;
    }
    for due in rig.take(app, 2, NOW + 10).await {
        rig.finish(&due, NextState::Dead).await;
    }
    let erased = rig.store.erase(&[uid(1), uid(3), uid(9)]).await.unwrap();
    assert_eq!(
        (erased.events, erased.cancelled, erased.in_flight),
        (2, 1, 0)
    );
    assert_eq!(erased.destinations, [app]);
    assert!(rig.store.event(uid(1)).await.unwrap().is_none());
    assert_eq!(rig.uids(EventSearch::default()).await, [uid(2)]);
    let rows = rig.store.deliveries(DeliverySearch::default(), ALL).await;
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rig.store.attempts(rows[0].id).await.unwrap().len(), 1);
    let stats = rig.store.stats().await.unwrap();
    assert_eq!((stats.events, stats.deliveries), (1, [0, 0, 0, 0, 1, 0]));
    assert_eq!(ids(&rig.begin(app).await), []);
    assert_eq!(rig.store.erase(&[uid(1)]).await.unwrap().events, 0);
    rig.assert_sound();
}

// Fails when the claims go with their event: the next retry of its sender would be delivered as a new event.
#[tokio::test]
async fn a_retry_of_an_erased_event_is_a_duplicate() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let copy = |number| event(number).claim(1, NOW + 100_000).to(pending(app)).0;
    rig.commit(copy(1)).await;
    rig.store.erase(&[uid(1)]).await.unwrap();
    let again = rig.store.commit(copy(2)).await.unwrap();
    assert_eq!(again, CommitOutcome::Duplicate(202));
    let rig = rig.reopen(|_| {});
    let again = rig.store.commit(copy(3)).await.unwrap();
    assert_eq!(again, CommitOutcome::Duplicate(202));
    rig.assert_sound();
}

// Fails when the next delivery of the order key stays behind an erased one, or when the end of an attempt of an erased
// delivery is recorded.
#[tokio::test]
async fn what_was_behind_an_erased_delivery_goes_on() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let (waiting, _) = in_order(app);
    let first = rig.commit(event(1).to(waiting.clone()).0).await[0];
    let second = rig.commit(event(2).to(waiting.clone()).0).await[0];
    let third = rig.commit(event(3).to(waiting).0).await[0];
    let due = rig.begin(app).await;
    assert_eq!(ids(&due), [first]);
    // The attempt is in progress, and a request that was sent cannot be taken back.
    let erased = rig.store.erase(&[uid(1)]).await.unwrap();
    assert_eq!((erased.cancelled, erased.in_flight), (0, 1));
    assert!(!rig.finish(&due[0], NextState::Delivered).await);
    assert_eq!(ids(&rig.begin(app).await), [second]);
    let erased = rig.store.erase(&[uid(2), uid(3)]).await.unwrap();
    assert_eq!((erased.cancelled, erased.in_flight), (1, 1));
    assert_ne!(second, third);
    assert_eq!(rig.store.next_due(app).await.unwrap(), None);
    rig.assert_sound();
}

// Fails when `ERASED_AT_ONCE` cuts off a list, or when the extent is that of rows and not of events.
#[tokio::test]
async fn many_events_are_erased_in_groups() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    assert_eq!(rig.store.extent().await.unwrap().last, 0);
    rig.commit_all((1..61).map(|number| event(number).to(pending(app))))
        .await;
    let extent = rig.store.extent().await.unwrap();
    assert!(extent.last >= extent.first + 59, "{extent:?}");
    let uids: Vec<_> = (1..51).map(uid).collect();
    let erased = rig.store.erase(&uids).await.unwrap();
    assert_eq!((erased.events, erased.cancelled), (50, 50));
    assert_eq!(erased.destinations, [app]);
    assert_eq!(rig.uids(EventSearch::default()).await.len(), 10);
    rig.assert_sound();
}

// Fails when the freed cells are not overwritten, when freed pages stay in the file, or when the log is not emptied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_byte_of_an_erased_event_is_left_in_the_file() {
    let rig = Rig::new();
    if rig.is_shared() {
        // Rows of PostgreSQL go with its VACUUM.
        assert!(!rig.store.scrub().await.unwrap());
        return;
    }
    let app = rig.destination("app").await;
    // A small event shares its page with others, and a large one has pages of its own.
    for (number, size) in (0..40).zip([10, 100, 3_000, 200_000].into_iter().cycle()) {
        let mark = format!("MARK_{}_of", if number < 20 { "gone" } else { "kept" });
        let id = rig
            .commit(marked(number, &mark, size).to(pending(app)).0)
            .await[0];
        let due = rig.begin(app).await.remove(0);
        assert_eq!(due.delivery, id);
        let mut ended = finished(&due, NextState::Dead);
        ended.record.response_start = Bytes::from(mark);
        assert!(rig.store.finish(ended).await.unwrap());
    }
    assert!(has_mark(&rig, "MARK_gone_of"));
    let uids: Vec<_> = (0..20).map(uid).collect();
    assert_eq!(rig.store.erase(&uids).await.unwrap().events, 20);
    assert!(rig.store.scrub().await.unwrap());
    assert!(!has_mark(&rig, "MARK_gone_of"));
    assert!(has_mark(&rig, "MARK_kept_of"));
    rig.assert_sound();
    // New commits after a scrub begin a new log.
    rig.deliver(90, app).await;
    rig.assert_sound();
}
