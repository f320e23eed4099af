//! Tests of counts against a plain walk, over so many events that most are counted without being read.

use std::collections::HashMap;

use super::*;
use crate::store::search::{DeliveryRow, EventRow, ReplaySearch};

const EVENTS: u64 = 4_500;

/// A clock that steps back in the middle.
fn time(number: u64) -> i64 {
    let step = if number < 2_300 { 0 } else { 9_000 };
    NOW + i64::try_from(number).unwrap() * 10 - step
}

/// Two routes that share the name of a destination, and replays of old events between new ones.
async fn filled() -> Rig {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let (shop, other) = (route("shop"), route("other"));
    let shop_app = rig.store.destination(&shop, &name("app")).await.unwrap();
    let shop_log = rig.store.destination(&shop, &name("log")).await.unwrap();
    let make = |number: u64| {
        let new = event(number).set(|event| {
            event.received_ms = time(number);
            event.route = [route("github"), shop.clone(), other.clone()]
                [usize::try_from(number % 3).unwrap()]
            .clone();
            event.event_type = Some(
                if number.is_multiple_of(2) {
                    "push"
                } else {
                    "ping"
                }
                .into(),
            );
        });
        match number % 3 {
            0 => new.to(pending(app)),
            1 if number.is_multiple_of(5) => new,
            1 => new.to(pending(shop_app)).to(pending(shop_log)),
            _ => new,
        }
    };
    rig.commit_all((0..3_000).map(make)).await;
    for destination in [app, shop_log] {
        for (place, due) in rig.begin(destination).await.iter().enumerate() {
            let next = if place.is_multiple_of(2) {
                NextState::Delivered
            } else {
                NextState::Dead
            };
            rig.finish(due, next).await;
        }
    }
    let search = DeliverySearch {
        state: Some(DeliveryState::Delivered),
        ..DeliverySearch::default()
    };
    let row = rig
        .store
        .begin_replay(ReplaySearch { search }, NOW)
        .await
        .unwrap();
    rig.store.step_replay(row.id, 1000, NOW).await.unwrap();
    rig.commit_all((3_000..EVENTS).map(make)).await;
    rig
}

async fn all(rig: &Rig) -> (HashMap<RequestId, EventRow>, Vec<DeliveryRow>) {
    let (mut events, mut deliveries, mut page) = (HashMap::new(), Vec::new(), ALL);
    while let Some(last) = {
        let rows = rig
            .store
            .events(EventSearch::default(), page)
            .await
            .unwrap();
        let last = rows.last().map(|row| row.cursor);
        events.extend(rows.into_iter().map(|row| (row.uid, row)));
        last
    } {
        page.after = Some(last);
    }
    page = ALL;
    while let Some(last) = {
        let rows = rig
            .store
            .deliveries(DeliverySearch::default(), page)
            .await
            .unwrap();
        let last = rows.last().map(|row| row.id.0);
        deliveries.extend(rows);
        last
    } {
        page.after = Some(last);
    }
    (events, deliveries)
}

fn fits(search: &EventSearch, event: &EventRow) -> bool {
    search
        .route
        .as_ref()
        .is_none_or(|route| *route == event.route)
        && (search.event_type.as_deref())
            .is_none_or(|kind| event.event_type.as_deref() == Some(kind))
        && search
            .since_ms
            .is_none_or(|since| event.received_ms >= since)
        && search
            .before_ms
            .is_none_or(|before| event.received_ms < before)
}

async fn assert_counted(rig: &Rig, search: DeliverySearch, wanted: usize) {
    let replay = ReplaySearch { search };
    let count = rig.store.count_replay(&replay).await.unwrap();
    assert_eq!(count, wanted as u64, "{:?}", replay.search);
}

// Fails when `stretches` takes a block as within the times although it is not, `in_runs` counts replays by their own
// numbers, or `at_edge` ignores a criterion.
#[tokio::test]
async fn what_a_replay_will_make_is_what_a_walk_finds() {
    let rig = filled().await;
    let (events, deliveries) = all(&rig).await;
    assert_eq!(events.len(), usize::try_from(EVENTS).unwrap());
    let times = [
        None,
        Some(NOW),
        Some(NOW + 4_321),
        Some(NOW + 17_000),
        Some(NOW + 31_005),
        Some(NOW + 90_000),
    ];
    for (since_ms, before_ms) in times
        .iter()
        .flat_map(|since| times.iter().map(move |before| (*since, *before)))
    {
        for (of, kind) in [
            (None, None),
            (Some("shop"), None),
            (None, Some("push")),
            (Some("github"), Some("ping")),
        ] {
            let event = EventSearch {
                route: of.map(route),
                event_type: kind.map(str::to_owned),
                since_ms,
                before_ms,
                ..EventSearch::default()
            };
            let wanted = |row: &&DeliveryRow| fits(&event, &events[&row.uid]);
            for (state, is_replay) in [
                (None, None),
                (Some(DeliveryState::Pending), None),
                (None, Some(true)),
                (Some(DeliveryState::Dead), Some(false)),
            ] {
                let found = deliveries.iter().filter(wanted).filter(|row| {
                    state.is_none_or(|state| state == row.state)
                        && is_replay.is_none_or(|wanted| wanted == row.is_replay)
                });
                let search = DeliverySearch {
                    event: event.clone(),
                    state,
                    is_replay,
                    ..DeliverySearch::default()
                };
                assert_counted(&rig, search, found.count()).await;
            }
            let reached = events
                .values()
                .filter(|row| fits(&event, row) && row.route != route("other"));
            let search = DeliverySearch {
                event: event.clone(),
                destination: Some(name("app")),
                ..DeliverySearch::default()
            };
            assert_counted(&rig, search, reached.count()).await;
        }
    }
}

/// Compares lists of deliveries within some times with a plain walk.
async fn assert_lists(rig: &Rig) {
    let (events, deliveries) = all(rig).await;
    for (since, before) in [(0, 1), (0, 4_321), (4_321, 9_000), (25_000, 90_000)] {
        for is_replay in [None, Some(true)] {
            let event = EventSearch {
                since_ms: Some(NOW + since),
                before_ms: Some(NOW + before),
                ..EventSearch::default()
            };
            let wanted = deliveries.iter().filter(|row| {
                fits(&event, &events[&row.uid])
                    && is_replay.is_none_or(|wanted| wanted == row.is_replay)
            });
            let search = DeliverySearch {
                event: event.clone(),
                is_replay,
                ..DeliverySearch::default()
            };
            let (mut found, mut page) = (Vec::new(), ALL);
            while let Some(last) = {
                let rows = rig.store.deliveries(search.clone(), page).await.unwrap();
                let last = rows.last().map(|row| row.id.0);
                found.extend(rows);
                last
            } {
                page.after = Some(last);
            }
            assert!(found.iter().eq(wanted), "{search:?}");
        }
    }
}

// Fails when replays are selected by a wrong range of events, or when the list of deliveries of few events lacks the
// last event.
#[tokio::test]
async fn lists_of_a_time_hold_its_replays_however_many_there_are() {
    let rig = filled().await;
    assert_lists(&rig).await;
    let search = DeliverySearch {
        is_replay: Some(false),
        ..DeliverySearch::default()
    };
    let row = rig
        .store
        .begin_replay(ReplaySearch { search }, NOW)
        .await
        .unwrap();
    rig.store.step_replay(row.id, 10_000, NOW).await.unwrap();
    assert_lists(&rig).await;
}
