//! What goes into the store and comes out of it on the way of an event: commit, take, finish.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::model::ids::{DestinationName, EventId, RequestId, RouteName};

/// The number of a destination in its store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DestinationId(pub i64);

/// What all who handle a stored event need of it.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The id of the request that brought it; its id in the inbox.
    pub uid: RequestId,
    /// The route that took it.
    pub route: RouteName,
    /// The provider's id, or `custom` or `local`.
    pub provider: String,
    /// The provider's id of it.
    pub event_id: Option<EventId>,
    /// The provider's type of it.
    pub event_type: Option<Box<str>>,
    /// What destinations know it by, the same for each copy and attempt (`webhook-id`).
    pub webhook_id: String,
    /// Milliseconds since the epoch.
    pub received_ms: i64,
    /// Who sent it.
    pub source: IpAddr,
    /// Whether it came over TLS.
    pub is_tls: bool,
    /// The method as sent.
    pub method: Method,
    /// Path and query as sent.
    pub target: String,
    /// The host that was asked for.
    pub host: Option<String>,
    /// The headers as sent, minus those that could mislead the app about what the gate vouches for.
    pub headers: HeaderMap,
    /// The bytes that were verified; none where they were not kept.
    pub body: Option<Bytes>,
    /// SHA-256 of the body, taken at acceptance.
    pub digest: [u8; 32],
}

/// An event to be committed, with all that goes into the same transaction.
#[derive(Debug)]
pub struct NewEvent {
    /// The event; its body is there.
    pub event: StoredEvent,
    /// Its claims: none where the route has no dedup, two where the id is not signed.
    pub claims: Vec<Claim>,
    /// The status that the sender gets, and later a duplicate.
    pub status: u16,
    /// One for each destination that wants it; none: the event is stored and goes nowhere.
    pub deliveries: Vec<NewDelivery>,
}

/// A key by which an event is known again, until its window is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Of the id, or of the signed bytes; unique within its route.
    pub key: [u8; 16],
    /// Milliseconds of the store's clock.
    pub expires_ms: i64,
}

/// A claim of a route that an app, or the inbox, has spent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpentClaim {
    /// The route: claims never count across routes.
    pub route: RouteName,
    /// The claim.
    pub claim: Claim,
    /// What the first sender got.
    pub status: u16,
}

/// A delivery to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewDelivery {
    /// Where to.
    pub destination: DestinationId,
    /// Not attempted before then: milliseconds of the store's clock.
    pub due_ms: i64,
    /// Higher goes first: -1, 0 or 1.
    pub priority: i8,
    /// Of those with one key only the oldest open one is attempted.
    pub order_key: Option<i64>,
    /// Its first attempt is going on already (hybrid): it begins in flight, with one attempt counted.
    pub is_in_flight: bool,
}

/// What became of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Committed {
    /// It is durable. The deliveries have these numbers, in the order given.
    New(Vec<DeliveryId>),
    /// One of its claims was spent already, and this is the status that the first copy got. Nothing was stored.
    Duplicate(u16),
}

/// A delivery that was taken, to be attempted now.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its number.
    pub delivery: DeliveryId,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Attempts since it was made, or since an operator last wanted it retried; this one included. The schedule counts these.
    pub round: u32,
    /// When it was made, or last wanted retried. Milliseconds of the store's clock.
    pub round_began_ms: i64,
    /// Whether it is a replay.
    pub is_replay: bool,
    /// The event, with its body.
    pub event: StoredEvent,
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// The number of the attempt.
    pub attempt: u32,
    /// What is kept of it.
    pub record: AttemptRecord,
    /// What the delivery does next.
    pub next: Next,
}

/// What is kept of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptRecord {
    /// Milliseconds since the epoch.
    pub started_ms: i64,
    /// Until the end of the answer, or the error.
    pub duration_ms: u32,
    /// What the destination answered.
    pub status: Option<u16>,
    /// What went wrong: a word of a closed set, and the error with its causes.
    pub error: Option<(String, String)>,
    /// The first bytes of the answer, at most [`KEPT_ANSWER`](crate::store::KEPT_ANSWER).
    pub answer: Bytes,
}

/// What a delivery does after an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// `Step::Deliver`.
    Delivered,
    /// `Step::Delay`, until then. Milliseconds of the store's clock.
    Waiting(i64),
    /// `Step::GiveUp`.
    Dead,
}

/// A destination and what waits there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DestinationRow {
    /// Its number.
    pub id: DestinationId,
    /// Its route.
    pub route: RouteName,
    /// Its name.
    pub name: DestinationName,
    /// An operator paused it.
    pub is_paused: bool,
    /// An operator paused its route.
    pub is_route_paused: bool,
    /// Why it was switched off; none: it was not.
    pub disabled: Option<String>,
    /// Deliveries by state, in the order of `DeliveryState::ALL`.
    pub deliveries: [u64; 6],
    /// When the oldest open delivery was made. Milliseconds since the epoch.
    pub oldest_open_ms: Option<i64>,
}

impl NewDelivery {
    /// The state in which it begins.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        match self.is_in_flight {
            true => DeliveryState::InFlight,
            false => DeliveryState::Pending,
        }
    }
}
