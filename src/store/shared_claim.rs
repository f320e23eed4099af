//! Claims that hold on all nodes, for events that go to an app and not into the store.

use crate::model::ids::RouteName;

/// A claim of this node: no other one forwards an event with these keys meanwhile.
///
/// It ends with `Store::end_shared`, or when its lease is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SharedClaim {
    /// The route. Claims never apply across routes.
    pub route: RouteName,
    /// Hashes of the event's keys.
    pub keys: Vec<[u8; 16]>,
    /// End of the lease, in milliseconds of the store's clock. It also distinguishes this claim from a later one of this node.
    pub lease_ms: i64,
}

/// The answer to a request for a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SharedClaimOutcome {
    /// The event is new on all nodes.
    Claimed(SharedClaim),
    /// An app has accepted the event already, with this status.
    Spent(u16),
    /// A node that is alive is forwarding the event.
    Held,
}

/// The end of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SharedClaimEnd {
    /// The app accepted the event with this status. Copies are duplicates until this time of the store's clock.
    Spent {
        /// The status for copies.
        status: u16,
        /// End of the dedup window, in milliseconds.
        expires_ms: i64,
    },
    /// The app did not accept the event, so it may come again.
    Released,
}
