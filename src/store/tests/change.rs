//! Tests of operator steps and of replays.

use super::*;
use crate::model::delivery::DeliveryStep;
use crate::store::search::{DeliverySelector, ReplaySearch, StepSelection};

fn all(step: DeliveryStep, search: DeliverySearch) -> StepSelection {
    StepSelection {
        step,
        which: DeliverySelector::All(search),
    }
}

/// Ends the deliveries of a destination: a third each is delivered, dead and waiting.
async fn end_some(rig: &Rig, app: DestinationId, count: usize) {
    for (place, due) in rig
        .store
        .begin(app, count, NOW + 1_000_000)
        .await
        .unwrap()
        .iter()
        .enumerate()
    {
        let next = match place % 3 {
            0 => NextState::Delivered,
            1 => NextState::Dead,
            _ => NextState::Waiting(NOW + 5_000_000),
        };
        assert!(rig.finish(due, next).await);
    }
}

// Fails when `change_one` ignores the state table, or `each_delivery` ignores the state.
#[tokio::test]
async fn a_step_is_taken_with_all_that_match_and_no_other() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    rig.commit_all((0..1200).map(|number| event(number).to(pending(app))))
        .await;
    end_some(&rig, app, 900).await;
    let dead = DeliverySearch {
        state: Some(DeliveryState::Dead),
        ..DeliverySearch::default()
    };
    assert_eq!(
        rig.store
            .change(all(DeliveryStep::Cancel, dead.clone()), NOW)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        rig.store
            .change(all(DeliveryStep::Begin, dead.clone()), NOW)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        rig.store
            .change(all(DeliveryStep::Discard, dead), NOW)
            .await
            .unwrap(),
        300
    );
    let everything = DeliverySearch::default();
    assert_eq!(
        rig.store
            .change(all(DeliveryStep::Cancel, everything), NOW)
            .await
            .unwrap(),
        600
    );
    let stats = rig.store.stats().await.unwrap();
    assert_eq!(stats.deliveries, [0, 0, 0, 300, 0, 900]);
    assert_eq!(stats.oldest_open_ms, None);
    rig.assert_sound();
}

// Fails when `step_replay` does not move the cursor, `last` does not bound `next`, or `write_search` omits the state.
#[tokio::test]
async fn a_replay_makes_each_delivery_once_across_a_restart() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    for number in 0..30 {
        rig.deliver(number, app).await;
    }
    end_some(&rig, app, 30).await;
    let replay = ReplaySearch {
        search: DeliverySearch {
            state: Some(DeliveryState::Dead),
            ..DeliverySearch::default()
        },
    };
    assert_eq!(rig.store.count_replay(&replay).await.unwrap(), 10);
    let row = rig.store.begin_replay(replay, NOW).await.unwrap();
    assert_eq!((row.total, row.done, row.is_ended), (10, 0, false));
    // Deliveries that die later do not count.
    let late = rig.deliver(99, app).await;
    let due = rig.begin(app).await;
    let due = due.iter().find(|due| due.delivery == late).unwrap();
    rig.finish(due, NextState::Dead).await;
    let row = rig
        .store
        .step_replay(row.id, 4, NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((row.done, row.is_ended), (4, false));
    let rig = rig.reopen(|_| {});
    assert!(
        rig.store
            .pause_replay(row.id, true)
            .await
            .unwrap()
            .unwrap()
            .is_paused
    );
    let row = rig
        .store
        .step_replay(row.id, 4, NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((row.done, row.is_paused), (4, true));
    rig.store.pause_replay(row.id, false).await.unwrap();
    rig.store.step_replay(row.id, 4, NOW).await.unwrap();
    let row = rig
        .store
        .step_replay(row.id, 4, NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.total, row.done, row.skipped, row.is_ended),
        (10, 10, 0, true)
    );
    let replays = DeliverySearch {
        is_replay: Some(true),
        ..DeliverySearch::default()
    };
    let made = rig.store.deliveries(replays, ALL).await.unwrap();
    assert_eq!(made.len(), 10);
    let taken = rig.begin(app).await;
    assert_eq!(taken.iter().filter(|due| due.is_replay).count(), 10);
    assert_eq!(rig.store.replays(9).await.unwrap(), [row]);
    assert_eq!(rig.store.step_replay(77, 4, NOW).await.unwrap(), None);
    rig.assert_sound();
}

// Fails when `is_by_event` is never true: events that never went to the destination would not be found.
#[tokio::test]
async fn events_can_be_replayed_to_a_destination_that_is_new() {
    let rig = Rig::with(|options| options.keep_body = false);
    let old = rig.destination("old").await;
    for number in 0..6 {
        rig.deliver(number, old).await;
    }
    // Two of the events have lost their body.
    for due in rig.take(old, 2, NOW + 9).await {
        rig.finish(&due, NextState::Delivered).await;
    }
    let new = rig.destination("new").await;
    let search = DeliverySearch {
        destination: Some(name("new")),
        event: EventSearch {
            since_ms: Some(NOW + 1),
            ..EventSearch::default()
        },
        ..DeliverySearch::default()
    };
    let row = rig
        .store
        .begin_replay(ReplaySearch { search }, NOW)
        .await
        .unwrap();
    assert_eq!(row.total, 5);
    let row = rig
        .store
        .step_replay(row.id, 100, NOW)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((row.done, row.skipped, row.is_ended), (5, 1, true));
    let uids: Vec<_> = rig
        .begin(new)
        .await
        .iter()
        .map(|due| due.event.uid)
        .collect();
    assert_eq!(uids, [uid(2), uid(3), uid(4), uid(5)]);
    rig.assert_sound();
}
