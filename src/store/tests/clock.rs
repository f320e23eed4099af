//! Tests of times in the store while the wall clock is set, and after a boot.

use super::*;
use crate::model::clock::ClockReading;
use crate::store::options::RetentionLimits;

const HOUR_MS: i64 = 3_600_000;

/// Changes the file to what an earlier boot would leave under a wall clock that is an hour ahead.
fn leave_an_hour_ahead(path: &Path) -> i64 {
    let ahead_ms = ClockReading::read().unix_ms + HOUR_MS;
    let conn = rusqlite::Connection::open(path).unwrap();
    let sql = "UPDATE total SET clock_ms = ?1, boot_id = 'another boot'";
    conn.execute(sql, [ahead_ms]).unwrap();
    let sql = "UPDATE delivery SET due_ms = ?1 + 300000, state = 2, attempts = 1, round = 1";
    conn.execute(sql, [ahead_ms]).unwrap();
    conn.execute("UPDATE tally SET state = 2", []).unwrap();
    conn.close().unwrap();
    ahead_ms
}

// Fails when `end_pauses` is not called, or skips deliveries that wait behind another.
#[tokio::test]
async fn after_a_boot_with_the_clock_behind_what_waits_is_due_at_once() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let mut expected = vec![rig.deliver(1, app).await];
    for number in 2..5 {
        let (ordered, _) = in_order(app);
        expected.push(rig.commit(event(number).to(ordered).0).await[0]);
    }
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    let ahead_ms = leave_an_hour_ahead(&path);
    let store = Store::open(options(&path)).unwrap();
    let rig = Rig::of_file(store, folder);
    let now_ms = rig.store.now().unix_ms;
    assert!(now_ms >= ahead_ms, "the clock goes back");
    let mut taken = Vec::new();
    while taken.len() < expected.len() {
        let due = rig.store.begin(app, 9, rig.store.now().unix_ms).await;
        let due = due.unwrap();
        assert!(!due.is_empty(), "{taken:?}");
        for one in due {
            taken.push(one.delivery);
            rig.finish(&one, NextState::Delivered).await;
        }
    }
    taken.sort_unstable();
    assert_eq!(taken, expected);
    rig.assert_sound();
}

// Fails when a time of the store's clock is shown without conversion, or a wall clock time is used as one of the store.
#[tokio::test]
async fn operators_see_and_name_times_of_the_wall_clock() {
    let rig = Rig::new();
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    leave_an_hour_ahead(&path);
    let store = Store::open(options(&path)).unwrap();
    let rig = Rig::of_file(store, folder);
    let app = rig.destination("app").await;
    let due_ms = rig.store.now().unix_ms + 60_000;
    let delivery = NewDelivery {
        due_ms,
        ..pending(app)
    };
    let id = rig.commit(event(1).to(delivery).0).await[0];
    let rows = rig.store.deliveries(DeliverySearch::default(), ALL).await;
    let shown_ms = rows.unwrap()[0].due_ms.unwrap();
    let wall_ms = ClockReading::read().unix_ms;
    assert!((shown_ms - wall_ms - 60_000).abs() < 30_000, "{shown_ms}");
    // A retry is due now, by either clock.
    let selection = crate::store::search::StepSelection {
        which: crate::store::search::DeliverySelector::One(id),
        step: crate::model::delivery::DeliveryStep::Retry,
    };
    assert_eq!(rig.store.change(selection, wall_ms).await.unwrap(), 1);
    let due = rig.store.begin(app, 9, rig.store.now().unix_ms + 1_000);
    let due = due.await.unwrap();
    assert_eq!(ids(&due), [id]);
    assert!(due[0].round_began_ms > wall_ms + HOUR_MS / 2);
}

// Fails when claims or retention use a wall clock that was set forward; `purge` gets its time from there.
#[tokio::test]
async fn a_clock_set_forward_makes_nothing_old_before_its_time() {
    let rig = Rig::new();
    let now = rig.store.now().unix_ms;
    let young = event(1)
        .set(|event| event.received_ms = now)
        .claim(1, now + HOUR_MS);
    rig.commit(young.0).await;
    let retention = RetentionLimits {
        delivered_ms: Some(HOUR_MS),
        dead_ms: Some(HOUR_MS),
        attempts_ms: Some(HOUR_MS),
        size: None,
        claims_ms: Some(HOUR_MS),
    };
    // The caller's wall clock was set two hours forward. The store was opened two hours behind.
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    let conn = rusqlite::Connection::open(&path).unwrap();
    let sql = "UPDATE total SET clock_ms = clock_ms - ?1";
    conn.execute(sql, [2 * HOUR_MS]).unwrap();
    conn.execute(
        "UPDATE event SET received_ms = received_ms - ?1",
        [2 * HOUR_MS],
    )
    .unwrap();
    conn.execute(
        "UPDATE claim SET expires_ms = expires_ms - ?1",
        [2 * HOUR_MS],
    )
    .unwrap();
    conn.execute("UPDATE span SET low_ms = low_ms - ?1", [2 * HOUR_MS])
        .unwrap();
    conn.close().unwrap();
    let store = Store::open(options(&path)).unwrap();
    let rig = Rig::of_file(store, folder);
    let purged = rig
        .store
        .purge(&retention, ClockReading::read().unix_ms)
        .await;
    let purged = purged.unwrap();
    assert_eq!((purged.events, purged.claims), (0, 0));
    let known = rig
        .store
        .claims(&route("github"), rig.store.now().unix_ms, 9);
    assert_eq!(known.unwrap().len(), 1);
}
