//! Rows that enter and leave the store as an event is committed, taken and finished.

use std::net::IpAddr;

use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use http::{HeaderMap, Method};

use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::model::ids::{DestinationName, RequestId, RouteName};

/// Number of response bytes that are stored with an attempt.
pub(crate) const KEPT_ANSWER: usize = 1024;

/// Error word of an attempt whose outcome is unknown.
pub(in crate::store) const INTERRUPTED: &str = "interrupted";

/// Explanation of an attempt whose outcome is unknown.
pub(in crate::store) const INTERRUPTED_DETAIL: &str =
    "the process ended before the attempt did; the outcome is unknown";

/// The number of a destination in its store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DestinationId(pub i64);

/// A stored event as `inbox`, `deliver` and `admin` use it.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Id of the request that brought the event, and id of the event in the inbox.
    pub uid: RequestId,
    /// The route that accepted the event.
    pub route: RouteName,
    /// Name of the provider, or `custom` or `local`.
    pub provider: String,
    /// The event id that the provider assigned.
    pub event_id: Option<EventId>,
    /// The event type that the provider assigned.
    pub event_type: Option<Box<str>>,
    /// Id that destinations see (`webhook-id`), the same for each delivery and attempt.
    pub webhook_id: String,
    /// When the event was received, in milliseconds since the epoch.
    pub received_ms: i64,
    /// Address of the sender, as the gate sees it.
    pub source: IpAddr,
    /// True if the request came over TLS.
    pub is_tls: bool,
    /// Method of the request as sent.
    pub method: Method,
    /// Path and query of the request as sent.
    pub target: String,
    /// Host that the request named.
    pub host: Option<String>,
    /// Headers as sent, without those that an app could mistake for statements of the gate.
    pub headers: HeaderMap,
    /// The verified bytes; `None` if the store no longer has them.
    pub body: Option<Bytes>,
    /// SHA-256 of the body, computed at acceptance.
    pub digest: [u8; 32],
}

/// An event to commit, with all rows of the same transaction.
#[derive(Debug)]
pub struct NewEvent {
    /// The event, which always has its body here.
    pub event: StoredEvent,
    /// The claims of the event: empty if the route has no dedup, two if the event id is not signed.
    pub claims: Vec<ClaimRow>,
    /// Status of the response to the sender, and later to a duplicate.
    pub status: u16,
    /// One delivery for each destination that wants the event. If empty, the event is only stored.
    pub deliveries: Vec<NewDelivery>,
}

/// A dedup key that identifies an event until its window is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClaimRow {
    /// Hash of the event id or of the signed bytes, unique within its route.
    pub key: [u8; 16],
    /// When the claim expires, in milliseconds of the store's clock.
    pub expires_ms: i64,
}

/// A claim of a route whose event an app or the inbox has taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SpentClaim {
    /// The route. Claims never apply across routes.
    pub route: RouteName,
    /// The key and its expiry.
    pub claim: ClaimRow,
    /// Status of the response to the first sender.
    pub status: u16,
}

/// A delivery that a commit creates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewDelivery {
    /// The destination of the delivery.
    pub destination: DestinationId,
    /// Earliest time of the first attempt, in milliseconds of the store's clock.
    pub due_ms: i64,
    /// Priority -1, 0 or 1; a higher one goes first.
    pub priority: i8,
    /// Order key: only the oldest open delivery of a key is attempted.
    pub order_key: Option<i64>,
    /// True if its first attempt is already running (hybrid mode). It then begins in flight, with one attempt counted.
    pub is_in_flight: bool,
}

/// The result of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommitOutcome {
    /// The event is durable. Its deliveries have these numbers, in the given order.
    New(Vec<DeliveryId>),
    /// One of the claims was already spent, and the first copy got this status. Nothing was stored.
    Duplicate(u16),
}

/// A delivery that was taken, to be attempted now.
#[derive(Clone, Debug)]
pub struct DueDelivery {
    /// The number of the delivery.
    pub delivery: DeliveryId,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts in this round, this one included. A round begins when the delivery is created or when an operator
    /// retries it. The schedule counts rounds.
    pub round: u32,
    /// When the round began, in milliseconds of the store's clock.
    pub round_began_ms: i64,
    /// True if a replay created the delivery.
    pub is_replay: bool,
    /// The event, with its body.
    pub event: StoredEvent,
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct FinishedAttempt {
    /// The delivery that was attempted.
    pub delivery: DeliveryId,
    /// The number of the attempt, as [`DueDelivery`] gave it.
    pub attempt: u32,
    /// The stored record of the attempt.
    pub record: AttemptRecord,
    /// The next state of the delivery.
    pub next: NextState,
}

/// The stored record of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptRecord {
    /// When the attempt started, in milliseconds since the epoch.
    pub started_ms: i64,
    /// Milliseconds until the end of the response, or until the error.
    pub duration_ms: u32,
    /// HTTP status of the response, if one came.
    pub status: Option<u16>,
    /// An error word from a closed set, and the error with its causes.
    pub error: Option<(String, String)>,
    /// The first bytes of the response, at most `KEPT_ANSWER`.
    pub response_start: Bytes,
}

/// The next state of a delivery after an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextState {
    /// The app took the event (`Step::Deliver`).
    Delivered,
    /// Retry at this time (`Step::Delay`), in milliseconds of the store's clock.
    Waiting(i64),
    /// No attempt is left (`Step::GiveUp`).
    Dead,
}

/// A destination with the numbers of its deliveries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DestinationRow {
    /// The number of the destination in this store.
    pub id: DestinationId,
    /// The route of the destination.
    pub route: RouteName,
    /// The name of the destination in its route.
    pub name: DestinationName,
    /// True if an operator paused the destination.
    pub is_paused: bool,
    /// True if an operator paused its whole route.
    pub is_route_paused: bool,
    /// Why the destination was disabled; `None` if it is enabled.
    pub disabled: Option<String>,
    /// Number of deliveries by state, in the order of `DeliveryState::ALL`.
    pub deliveries: [u64; 6],
    /// When the oldest open delivery was created, in milliseconds since the epoch.
    pub oldest_open_ms: Option<i64>,
}

impl NewDelivery {
    /// Returns the state in which the delivery begins.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        match self.is_in_flight {
            true => DeliveryState::InFlight,
            false => DeliveryState::Pending,
        }
    }
}
