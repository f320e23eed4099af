//! Tests of retention: deleted rows, rows that stay, and the shrinking file.

use super::*;
use crate::store::options::{PurgeResult, RetentionLimits};

const DAY: i64 = 86_400_000;

const NOTHING: RetentionLimits = RetentionLimits {
    delivered_ms: None,
    dead_ms: None,
    attempts_ms: None,
    size: None,
    claims_ms: None,
};

async fn purge(rig: &Rig, retention: &RetentionLimits, now_ms: i64) -> PurgeResult {
    let mut all = PurgeResult::default();
    for _ in 0..1000 {
        let round = rig.store.purge(retention, now_ms).await.unwrap();
        all.events += round.events;
        all.attempts += round.attempts;
        all.claims += round.claims;
        all.bytes += round.bytes;
        if !round.is_more {
            return all;
        }
    }
    panic!("there is always more");
}

async fn end(rig: &Rig, app: DestinationId, limit: usize, next: NextState) {
    for due in rig.take(app, limit, NOW + 1_000_000).await {
        rig.finish(&due, next).await;
    }
}

// Fails when `is_over` confuses the two ages, or treats an open delivery as over.
#[tokio::test]
async fn what_has_ended_goes_after_its_time_and_no_sooner() {
    let rig = Rig::new();
    let (app, other) = (rig.destination("app").await, rig.destination("other").await);
    rig.deliver(1, app).await;
    end(&rig, app, 1, NextState::Delivered).await;
    rig.deliver(2, app).await;
    end(&rig, app, 1, NextState::Dead).await;
    rig.commit(event(3).0).await;
    rig.deliver(4, app).await;
    end(&rig, app, 1, NextState::Waiting(NOW)).await;
    // One of its two deliveries is open.
    rig.commit(event(5).to(pending(other)).to(pending(app)).0)
        .await;
    end(&rig, other, 1, NextState::Delivered).await;
    let retention = RetentionLimits {
        delivered_ms: Some(DAY),
        dead_ms: Some(3 * DAY),
        ..NOTHING
    };
    let left = async || rig.uids(EventSearch::default()).await;
    assert_eq!(purge(&rig, &retention, NOW + DAY).await.events, 0);
    assert_eq!(purge(&rig, &retention, NOW + 2 * DAY).await.events, 2);
    assert_eq!(left().await, [uid(5), uid(4), uid(2)]);
    assert_eq!(purge(&rig, &retention, NOW + 5 * DAY).await.events, 1);
    assert_eq!(left().await, [uid(5), uid(4)]);
    assert_eq!(purge(&rig, &NOTHING, NOW + 99 * DAY).await.events, 0);
    let stats = rig.store.stats().await.unwrap();
    assert_eq!((stats.events, stats.deliveries), (2, [1, 0, 1, 1, 0, 0]));
    rig.assert_sound();
}

// Fails when `give_back` is omitted or steps the vacuum only once, or when deleted numbers are assigned again.
#[tokio::test]
async fn the_file_shrinks_when_events_go() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let large = |number| {
        event(number)
            .set(|event| event.body = Some(Bytes::from(vec![b'x'; 20_000])))
            .to(pending(app))
    };
    rig.commit_all((0..400).map(large)).await;
    end(&rig, app, 400, NextState::Delivered).await;
    let rig = rig.reopen(|_| {});
    let before = std::fs::metadata(rig.path()).unwrap().len();
    let retention = RetentionLimits {
        delivered_ms: Some(DAY),
        ..NOTHING
    };
    let purged = purge(&rig, &retention, NOW + 2 * DAY).await;
    assert_eq!(purged.events, 400);
    assert!(purged.bytes > 6_000_000, "{purged:?}");
    // Numbers are not reused.
    assert_eq!(rig.deliver(999, app).await, DeliveryId(401));
    let path = rig.path();
    rig.store.close();
    let after = std::fs::metadata(path).unwrap().len();
    assert!(before > 8_000_000 && after < 1_000_000, "{before} {after}");
}

// Fails when `look_for_size` takes open events, begins with the newest, or does not stop at the bound.
#[tokio::test]
async fn above_its_size_the_oldest_ended_events_go() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let large = |number| {
        event(number)
            .set(|event| event.body = Some(Bytes::from(vec![b'x'; 20_000])))
            .to(pending(app))
    };
    for number in 0..100 {
        rig.commit(large(number).0).await;
    }
    let mut due = rig.begin(app).await;
    due.remove(0);
    for due in due {
        rig.finish(&due, NextState::Delivered).await;
    }
    let retention = RetentionLimits {
        size: Some(1_500_000),
        ..NOTHING
    };
    let purged = purge(&rig, &retention, NOW).await;
    assert!((20..60).contains(&purged.events), "{purged:?}");
    let left = rig.uids(EventSearch::default()).await;
    assert_eq!(left.len(), 100 - usize::try_from(purged.events).unwrap());
    assert_eq!((left[0], left[left.len() - 1]), (uid(99), uid(0)));
    assert_eq!(left[left.len() - 2], uid(purged.events + 1));
    rig.assert_sound();
}

// Fails when `look_for_attempts` ignores whether the delivery has ended, or `look_for_claims` ignores the expiry.
#[tokio::test]
async fn attempts_and_claims_go_by_themselves() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let ended = rig
        .commit(event(1).to(pending(app)).claim(1, NOW + 10).0)
        .await[0];
    end(&rig, app, 1, NextState::Delivered).await;
    let open = rig
        .commit(event(2).to(pending(app)).claim(2, NOW + 9 * DAY).0)
        .await[0];
    end(&rig, app, 1, NextState::Waiting(NOW)).await;
    let retention = RetentionLimits {
        attempts_ms: Some(DAY),
        ..NOTHING
    };
    let purged = purge(&rig, &retention, NOW + 2 * DAY).await;
    assert_eq!((purged.events, purged.attempts, purged.claims), (0, 1, 1));
    assert_eq!(rig.store.attempts(ended).await.unwrap(), []);
    assert_eq!(rig.store.attempts(open).await.unwrap().len(), 1);
    assert_eq!(rig.store.stats().await.unwrap().claims, 1);
    let again = event(3)
        .set(|event| event.received_ms = NOW + 2 * DAY)
        .claim(2, NOW + 9 * DAY);
    let outcome = rig.store.commit(again.0).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Duplicate(202));
    rig.assert_sound();
}

// Fails when the pause of the sweep of claims does not depend on their window, or is missing.
#[tokio::test]
async fn claims_with_a_short_window_are_looked_for_soon_again() {
    for (window, early, late) in [
        (120_000, 7_000, 8_000),
        (10_000, 4_000, 6_000),
        (9 * DAY, 500_000, 700_000),
    ] {
        let rig = Rig::new();
        let retention = RetentionLimits {
            claims_ms: Some(window),
            ..NOTHING
        };
        assert_eq!(purge(&rig, &retention, NOW).await.claims, 0);
        rig.commit(event(1).claim(1, NOW + 1).0).await;
        assert_eq!(
            purge(&rig, &retention, NOW + early).await.claims,
            0,
            "{window}"
        );
        assert_eq!(
            purge(&rig, &retention, NOW + late).await.claims,
            1,
            "{window}"
        );
    }
}
