//! Tests of commit, take and finish: claims, order, priority, pauses, and reading events back.

use super::*;

// Fails when `Head::decode` uses `insert` for a header, or when `encode` omits the host.
#[tokio::test]
async fn an_event_comes_out_as_it_went_in() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let given = event(1).to(pending(app)).0;
    let expected = given.event.clone();
    rig.commit(given).await;
    let due = rig.begin(app).await.remove(0);
    let read = rig.store.event(uid(1)).await.unwrap().unwrap();
    for found in [due.event, read] {
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }
    assert_eq!((due.attempt, due.round, due.is_replay), (1, 1, false));
    assert_eq!(due.round_began_ms, expected.received_ms);
    assert!(rig.store.event(uid(2)).await.unwrap().is_none());
    rig.assert_sound();
}

// Fails when `spent_by` omits `expires_ms > ?3` or is not called, or when `give_up_claims` is omitted.
#[tokio::test]
async fn a_spent_claim_makes_a_duplicate_until_its_window_is_over() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let first = event(1)
        .to(pending(app))
        .claim(1, NOW + 1000)
        .claim(2, NOW + 1000);
    rig.commit(first.0).await;
    for key in [1, 2] {
        let second = event(2)
            .to(pending(app))
            .claim(9, NOW + 9000)
            .claim(key, NOW + 9000)
            .0;
        let outcome = rig
            .store
            .commit(NewEvent {
                status: 200,
                ..second
            })
            .await
            .unwrap();
        assert_eq!(outcome, CommitOutcome::Duplicate(202));
    }
    // Nothing of the duplicates is stored, not even their other claim.
    assert_eq!(rig.uids(EventSearch::default()).await, [uid(1)]);
    assert_eq!(rig.store.stats().await.unwrap().claims, 2);
    let elsewhere = event(3)
        .set(|event| event.route = route("stripe"))
        .claim(1, NOW + 5000);
    rig.commit(elsewhere.0).await;
    let late = event(4)
        .set(|event| event.received_ms = NOW + 1000)
        .claim(1, NOW + 3000);
    rig.commit(late.0).await;
    let again = event(5)
        .set(|event| event.received_ms = NOW + 2999)
        .claim(1, NOW + 9000);
    let outcome = rig.store.commit(again.0).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Duplicate(202));
    rig.assert_sound();
}

// Fails when the claims of one group are checked before the group begins, so that they do not see each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_copies_at_once_one_is_stored() {
    let rig = Rig::new();
    let copies = (0..50).map(|number| {
        let store = rig.store.clone();
        tokio::spawn(async move { store.commit(event(number).claim(1, NOW + 100_000).0).await })
    });
    let mut stored = 0;
    for copy in copies.collect::<Vec<_>>() {
        stored += u32::from(matches!(
            copy.await.unwrap().unwrap(),
            CommitOutcome::New(_)
        ));
    }
    assert_eq!(stored, 1);
    assert_eq!(rig.uids(EventSearch::default()).await.len(), 1);
}

// Fails when `spend_claims` writes nothing, or `claims` ignores the expiry or the limit.
#[tokio::test]
async fn claims_of_proxy_routes_survive_a_restart() {
    let rig = Rig::new();
    let spent = |key, expires_ms| crate::store::rows::SpentClaim {
        route: route("proxy"),
        claim: ClaimRow {
            key: [key; 16],
            expires_ms,
        },
        status: 200,
    };
    rig.store.spend(vec![
        spent(1, NOW + 1),
        spent(2, NOW + 3),
        spent(3, NOW + 2),
    ]);
    let rig = rig.reopen(|_| {});
    let claims = rig.store.claims(&route("proxy"), NOW + 1, 10).unwrap();
    assert_eq!(claims, [spent(2, NOW + 3), spent(3, NOW + 2)]);
    let claims = rig.store.claims(&route("proxy"), NOW + 1, 1).unwrap();
    assert_eq!(claims, [spent(2, NOW + 3)]);
    assert_eq!(rig.store.claims(&route("other"), NOW, 1).unwrap(), []);
}

// Fails when `begin` visits the priorities in rising order, or `due_ms <= ?3` or `ORDER BY due_ms` is omitted.
#[tokio::test]
async fn higher_priority_goes_first_then_what_was_due_first() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let mut made = Vec::new();
    for (number, (priority, due_ms)) in (0..).zip([(0, 30), (-1, 10), (0, 20), (1, 40), (1, 90)]) {
        let delivery = NewDelivery {
            priority,
            due_ms: NOW + due_ms,
            ..pending(app)
        };
        made.extend(rig.commit(event(number).to(delivery).0).await);
    }
    assert_eq!(rig.store.next_due(app).await.unwrap(), Some(NOW + 10));
    let first = rig.take(app, 2, NOW + 50).await;
    assert_eq!(ids(&first), [made[3], made[2]]);
    let rest = rig.take(app, 9, NOW + 50).await;
    assert_eq!(ids(&rest), [made[0], made[1]]);
    assert_eq!(rig.store.next_due(app).await.unwrap(), Some(NOW + 90));
}

// Fails when `finish` does not call `settle`, when the index of due deliveries ignores `is_behind`, or when `settle`
// releases a delivery while another is in flight.
#[tokio::test]
async fn of_one_order_key_only_the_oldest_open_one_goes() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let ordered = |key| NewDelivery {
        order_key: Some(key),
        ..pending(app)
    };
    let mut made = Vec::new();
    for (number, key) in (0..).zip([1, 1, 2, 1]) {
        made.extend(rig.commit(event(number).to(ordered(key)).0).await);
    }
    let first = rig.begin(app).await;
    assert_eq!(ids(&first), [made[0], made[2]]);
    assert_eq!(ids(&rig.begin(app).await), []);
    assert_eq!(rig.store.next_due(app).await.unwrap(), None);
    // A waiting delivery holds up those behind it.
    assert!(
        rig.finish(&first[0], NextState::Waiting(NOW + 9_000_000))
            .await
    );
    assert_eq!(ids(&rig.begin(app).await), []);
    let again = rig.take(app, 9, NOW + 9_000_000).await;
    assert_eq!(ids(&again), [made[0]]);
    assert!(rig.finish(&again[0], NextState::Dead).await);
    let second = rig.begin(app).await;
    assert_eq!(ids(&second), [made[1]]);
    // The dead letter comes back while the second is in flight. It goes before the third, but not before the second
    // ends.
    let retry = crate::store::search::StepSelection {
        step: crate::model::delivery::DeliveryStep::Retry,
        which: crate::store::search::DeliverySelector::One(made[0]),
    };
    assert_eq!(rig.store.change(retry, NOW).await.unwrap(), 1);
    assert_eq!(ids(&rig.begin(app).await), []);
    assert!(rig.finish(&second[0], NextState::Delivered).await);
    let third = rig.begin(app).await;
    assert_eq!(ids(&third), [made[0]]);
    assert_eq!((third[0].attempt, third[0].round), (3, 1));
    assert!(rig.finish(&third[0], NextState::Delivered).await);
    assert_eq!(ids(&rig.begin(app).await), [made[3]]);
    rig.assert_sound();
}

// Fails when `insert_delivery` counts no attempt for a delivery in flight, or does not call `settle` for it.
#[tokio::test]
async fn a_delivery_may_begin_in_flight() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let (waiting, going) = in_order(app);
    let waiting = rig.commit(event(1).to(waiting).0).await[0];
    let going = rig.commit(event(2).to(going).0).await[0];
    assert_eq!(rig.state(going).await, DeliveryState::InFlight);
    assert_eq!(ids(&rig.begin(app).await), []);
    let ended = FinishedAttempt {
        delivery: going,
        attempt: 1,
        record: AttemptRecord {
            started_ms: NOW,
            duration_ms: 1,
            status: Some(200),
            error: None,
            response_start: Bytes::new(),
        },
        next: NextState::Delivered,
    };
    assert!(rig.store.finish(ended).await.unwrap());
    assert_eq!(ids(&rig.begin(app).await), [waiting]);
    rig.assert_sound();
}

// Fails when `finish` ignores the number of the attempt, or takes a step that the state table forbids.
#[tokio::test]
async fn only_the_attempt_that_is_going_on_can_end() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let id = rig.deliver(1, app).await;
    let first = rig.begin(app).await.remove(0);
    assert!(rig.finish(&first, NextState::Waiting(NOW)).await);
    assert!(!rig.finish(&first, NextState::Delivered).await);
    assert_eq!(rig.state(id).await, DeliveryState::Waiting);
    let second = rig.begin(app).await.remove(0);
    assert_eq!((second.attempt, second.round), (2, 2));
    assert!(!rig.finish(&first, NextState::Delivered).await);
    assert!(rig.finish(&second, NextState::Delivered).await);
    assert!(!rig.finish(&second, NextState::Dead).await);
    assert_eq!(rig.state(id).await, DeliveryState::Delivered);
    let attempts = rig.store.attempts(id).await.unwrap();
    let found: Vec<_> = attempts
        .iter()
        .map(|row| (row.number, row.record.status))
        .collect();
    assert_eq!(found, [(1, Some(503)), (2, Some(204))]);
    assert_eq!(
        attempts[0].record,
        finished(&first, NextState::Waiting(NOW)).record
    );
    rig.assert_sound();
}

// Fails when `is_held` ignores any of its three conditions.
#[tokio::test]
async fn nothing_of_what_is_paused_or_disabled_is_taken() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let id = rig.deliver(1, app).await;
    let github = route("github");
    let none = Vec::<DeliveryId>::new();
    for destination in [Some(name("app")), None] {
        assert!(
            rig.store
                .pause(&github, destination.as_ref(), true)
                .await
                .unwrap()
        );
        assert_eq!(ids(&rig.begin(app).await), none);
        assert_eq!(rig.store.next_due(app).await.unwrap(), None);
        assert!(
            rig.store
                .pause(&github, destination.as_ref(), false)
                .await
                .unwrap()
        );
    }
    rig.store
        .disable(app, Some("it answered 410"))
        .await
        .unwrap();
    let rig = rig.reopen(|_| {});
    assert_eq!(ids(&rig.begin(app).await), none);
    let row = rig.store.destinations().await.unwrap().remove(0);
    assert_eq!(row.disabled.as_deref(), Some("it answered 410"));
    assert_eq!(row.deliveries, [1, 0, 0, 0, 0, 0]);
    assert_eq!(row.oldest_open_ms, Some(NOW + 1));
    rig.store.disable(app, None).await.unwrap();
    assert_eq!(ids(&rig.begin(app).await), [id]);
    assert!(
        !rig.store
            .pause(&github, Some(&name("none")), true)
            .await
            .unwrap()
    );
    assert!(!rig.store.pause(&route("none"), None, true).await.unwrap());
}

// Fails when dropping `Taken` does nothing: the delivery would stay in flight until a restart.
#[tokio::test]
async fn what_nobody_waits_for_is_given_back() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let id = rig.deliver(1, app).await;
    {
        let taking = rig.store.begin(app, 1, NOW);
        tokio::pin!(taking);
        // The caller asks for the delivery and then goes away.
        let asked = futures_poll(taking.as_mut()).await;
        assert!(asked.is_none());
    }
    // Tasks run in their order, and returning the delivery may be an extra one.
    for _ in 0..200 {
        rig.destination("next").await;
        rig.store
            .pause(&route("github"), None, false)
            .await
            .unwrap();
        let taken = rig.begin(app).await;
        if let Some(due) = taken.first() {
            assert_eq!((due.delivery, due.attempt), (id, 2));
            let attempts = rig.store.attempts(id).await.unwrap();
            assert_eq!(attempts[0].record.error.as_ref().unwrap().0, "interrupted");
            return;
        }
    }
    panic!("the delivery was not returned");
}

/// Polls the future once.
async fn futures_poll<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

// Fails when `drop_body_of` ignores open or dead deliveries, or is not called.
#[tokio::test]
async fn a_body_that_is_not_kept_goes_with_the_last_need_of_it() {
    let rig = Rig::with(|options| options.keep_body = false);
    let (app, other) = (rig.destination("app").await, rig.destination("other").await);
    rig.commit(event(1).to(pending(app)).to(pending(other)).0)
        .await;
    let has_body = async || {
        rig.store
            .event(uid(1))
            .await
            .unwrap()
            .unwrap()
            .body
            .is_some()
    };
    let due = rig.begin(app).await.remove(0);
    rig.finish(&due, NextState::Delivered).await;
    assert!(has_body().await);
    let due = rig.begin(other).await.remove(0);
    rig.finish(&due, NextState::Dead).await;
    assert!(has_body().await);
    let discard = crate::store::search::StepSelection {
        step: crate::model::delivery::DeliveryStep::Discard,
        which: crate::store::search::DeliverySelector::One(due.delivery),
    };
    assert_eq!(rig.store.change(discard, NOW).await.unwrap(), 1);
    assert!(!has_body().await);
    rig.assert_sound();
}
