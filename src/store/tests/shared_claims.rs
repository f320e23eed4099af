//! Tests of claims that two nodes share. They need PostgreSQL.

use std::time::Duration;

use crate::model::ids::RouteName;
use crate::store::Store;
use crate::store::shared_claim::{SharedClaim, SharedClaimEnd, SharedClaimOutcome};
use crate::store::tests::{Rig, route};

const LEASE: Duration = Duration::from_secs(60);
const KEY: [u8; 16] = [1; 16];
const OTHER: [u8; 16] = [2; 16];

async fn claim(store: &Store, keys: &[[u8; 16]], lease: Duration) -> SharedClaimOutcome {
    let route: RouteName = route("shop");
    store
        .claim_shared(&route, keys.to_vec(), lease)
        .await
        .unwrap()
}

async fn claimed(store: &Store, keys: &[[u8; 16]]) -> SharedClaim {
    match claim(store, keys, LEASE).await {
        SharedClaimOutcome::Claimed(claim) => claim,
        outcome => panic!("{outcome:?}"),
    }
}

/// Waits until another node may have the keys, or knows that they are spent.
async fn wait_until(
    store: &Store,
    keys: &[[u8; 16]],
    expected: impl Fn(&SharedClaimOutcome) -> bool,
) {
    let patience = tokio::time::timeout(Duration::from_secs(10), async {
        while !expected(&claim(store, keys, LEASE).await) {}
    });
    patience.await.expect("the end of the claim is not visible");
}

fn spent(rig: &Rig) -> SharedClaimEnd {
    SharedClaimEnd::Spent {
        status: 204,
        expires_ms: rig.store.now().unix_ms + 60_000,
    }
}

// Fails when a claim of another node is not seen, or when its end is not.
#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_has_an_event() {
    let rig = Rig::new();
    let Some(second) = rig.second_node() else {
        return;
    };
    let first = claimed(&rig.store, &[KEY, OTHER]).await;
    assert_eq!(
        claim(&second, &[KEY], LEASE).await,
        SharedClaimOutcome::Held
    );
    rig.store.end_shared(first, SharedClaimEnd::Released);
    wait_until(&second, &[KEY], |outcome| {
        matches!(outcome, SharedClaimOutcome::Claimed(_))
    })
    .await;
    let held = claimed(&second, &[KEY]).await;
    // The free key of a pair must not stay claimed.
    assert_eq!(
        claim(&rig.store, &[KEY, OTHER], LEASE).await,
        SharedClaimOutcome::Held
    );
    let other = claimed(&second, &[OTHER]).await;
    second.end_shared(other, SharedClaimEnd::Released);
    second.end_shared(held, spent(&rig));
    wait_until(&rig.store, &[KEY], |outcome| {
        *outcome == SharedClaimOutcome::Spent(204)
    })
    .await;
    assert_eq!(
        claim(&second, &[KEY], LEASE).await,
        SharedClaimOutcome::Spent(204)
    );
    second.close();
}

// Fails when a late end of a claim ends the next one, or when a lost answer blocks its own node.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_ends_only_its_own_claim() {
    let rig = Rig::new();
    let Some(second) = rig.second_node() else {
        return;
    };
    let lost = claimed(&rig.store, &[KEY]).await;
    let again = match claim(&rig.store, &[KEY], 2 * LEASE).await {
        SharedClaimOutcome::Claimed(claim) => claim,
        outcome => panic!("{outcome:?}"),
    };
    rig.store.end_shared(lost, SharedClaimEnd::Released);
    // A later request of the same group is answered after the end.
    claimed(&rig.store, &[OTHER]).await;
    assert_eq!(
        claim(&second, &[KEY], LEASE).await,
        SharedClaimOutcome::Held
    );
    rig.store.end_shared(again, SharedClaimEnd::Released);
    wait_until(&second, &[KEY], |outcome| {
        matches!(outcome, SharedClaimOutcome::Claimed(_))
    })
    .await;
    second.close();
}

// Fails when a lease does not end a claim, or when the claims of a node that left stay.
#[tokio::test(flavor = "multi_thread")]
async fn claims_of_nodes_that_are_gone_are_taken_over() {
    let rig = Rig::new();
    let Some(second) = rig.second_node() else {
        return;
    };
    let outcome = claim(&second, &[KEY], Duration::from_millis(1)).await;
    assert!(
        matches!(outcome, SharedClaimOutcome::Claimed(_)),
        "{outcome:?}"
    );
    wait_until(&rig.store, &[KEY], |outcome| {
        matches!(outcome, SharedClaimOutcome::Claimed(_))
    })
    .await;
    claimed(&second, &[OTHER]).await;
    assert_eq!(
        claim(&rig.store, &[OTHER], LEASE).await,
        SharedClaimOutcome::Held
    );
    second.close();
    claimed(&rig.store, &[OTHER]).await;
}

// Fails when a node that was declared dead while it was stopped gets a claim, which the other one would take over at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_declared_dead_claims_nothing() {
    let rig = Rig::new();
    let Some(second) = rig.second_node() else {
        return;
    };
    let node = second.postgres().node_number();
    let end = format!("UPDATE node SET ended_ms = 1 WHERE id = {node}");
    rig.store.postgres().run_sql(end).await;
    // It has not noticed, or has entered again under another number.
    let outcome = claim(&second, &[KEY], LEASE).await;
    let entered_again = second.postgres().node_number() != node;
    assert!(
        outcome == SharedClaimOutcome::Held || entered_again,
        "{outcome:?}"
    );
    wait_until(&second, &[KEY], |outcome| {
        matches!(outcome, SharedClaimOutcome::Claimed(_))
    })
    .await;
    assert_ne!(second.postgres().node_number(), node);
    assert_eq!(
        claim(&rig.store, &[KEY], LEASE).await,
        SharedClaimOutcome::Held
    );
}

// Fails when of many requests at several nodes not exactly one gets an event.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_at_once_one_gets_the_event() {
    let rig = Rig::new();
    let Some(second) = rig.second_node() else {
        return;
    };
    for number in 0..20_u8 {
        let keys = [[number; 16], [number.wrapping_add(100); 16]];
        let (one, other) = tokio::join!(
            claim(&rig.store, &keys, LEASE),
            claim(&second, &keys, LEASE),
        );
        let won = [&one, &other]
            .into_iter()
            .filter(|outcome| matches!(outcome, SharedClaimOutcome::Claimed(_)));
        assert_eq!(won.count(), 1, "{one:?} {other:?}");
    }
    second.close();
}
