//! An event within a group: its numbers, its claims that others hold, and what was decided about it.

use std::collections::HashMap;

use crate::store::postgres::order::OrderedKey;
use crate::store::postgres::queue::GroupTask;
use crate::store::rows::CommitOutcome;
use crate::store::sealed_event::SealedEvent;

/// An event with its numbers and what was decided about it.
pub(super) struct GroupEvent {
    pub(super) task: GroupTask<SealedEvent, CommitOutcome>,
    pub(super) number: i64,
    pub(super) deliveries: Vec<i64>,
    pub(super) route: i64,
    pub(super) kind: i64,
    pub(super) is_rest: bool,
    pub(super) lanes: Vec<i64>,
    pub(super) decision: EventDecision,
}

/// The decision of a transaction about an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EventDecision {
    /// Inserts it.
    New,
    /// Inserts nothing, since one of its claims is spent. The first copy got this status.
    Duplicate(u16),
    /// Inserts nothing, since the store has reached this limit.
    Full(&'static str),
    /// Inserts nothing, since another node is handling a copy right now.
    Busy,
    /// Inserts nothing yet, since another event of the same group has the claim: the next transaction decides.
    Again,
}

impl GroupEvent {
    /// Returns an event that has no numbers yet.
    pub(super) fn new(task: GroupTask<SealedEvent, CommitOutcome>) -> Self {
        Self {
            task,
            number: 0,
            deliveries: Vec::new(),
            route: 0,
            kind: 0,
            is_rest: false,
            lanes: Vec::new(),
            decision: EventDecision::New,
        }
    }

    pub(super) fn is_new(&self) -> bool {
        self.decision == EventDecision::New
    }
}

/// Returns the order keys of the deliveries of an event.
pub(super) fn ordered_keys(event: &SealedEvent) -> impl Iterator<Item = OrderedKey> + '_ {
    event.deliveries.iter().filter_map(|delivery| {
        let key = delivery.order_key?;
        Some(OrderedKey {
            destination: delivery.destination.0,
            key,
        })
    })
}

/// Claims by route and key.
pub(super) type FoundClaims = HashMap<(i64, [u8; 16]), FoundClaim>;

/// A claim that is stored.
pub(super) struct FoundClaim {
    pub(super) status: Option<u16>,
    pub(super) expires_ms: i64,
    pub(super) event: Option<i64>,
    pub(super) node: Option<i32>,
}
