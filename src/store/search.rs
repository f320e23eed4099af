//! What operators ask of the store: searches with pages, changes of many, replays. The admin API speaks in these.

use crate::model::delivery::{DeliveryId, DeliveryState, Step};
use crate::model::ids::{DestinationName, EventId, RequestId, RouteName};

/// Which events. All that is said has to hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventSearch {
    /// Of this route.
    pub route: Option<RouteName>,
    /// Of this provider.
    pub provider: Option<String>,
    /// With this id of the provider, or this `webhook-id`.
    pub id: Option<String>,
    /// Of this type; `*` stands for any run of characters.
    pub event_type: Option<String>,
    /// Received at this time or later. Milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Received before this time. Milliseconds since the epoch.
    pub before_ms: Option<i64>,
    /// With a delivery in this state.
    pub state: Option<DeliveryState>,
}

/// Which deliveries. All that is said has to hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliverySearch {
    /// What holds for their events; `state` there is not looked at.
    pub event: EventSearch,
    /// Of this event.
    pub uid: Option<RequestId>,
    /// For this destination.
    pub destination: Option<DestinationName>,
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Only replays, or none of them.
    pub is_replay: Option<bool>,
}

/// A part of a list. Lists go from the newest to the oldest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// The cursor of the last row of the page before.
    pub after: Option<i64>,
    /// Rows at most.
    pub limit: u32,
}

/// An event in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    /// For the next page.
    pub cursor: i64,
    /// Its id in the inbox.
    pub uid: RequestId,
    /// Its route.
    pub route: RouteName,
    /// Its provider.
    pub provider: String,
    /// The provider's id of it.
    pub event_id: Option<EventId>,
    /// The provider's type of it.
    pub event_type: Option<Box<str>>,
    /// What destinations know it by.
    pub webhook_id: String,
    /// Milliseconds since the epoch.
    pub received_ms: i64,
    /// Bytes of the body.
    pub body_size: u64,
    /// Its deliveries by state, in the order of `DeliveryState::ALL`.
    pub deliveries: [u64; 6],
}

/// A delivery in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryRow {
    /// Its number; for the next page too.
    pub id: DeliveryId,
    /// Its event.
    pub uid: RequestId,
    /// The route of both.
    pub route: RouteName,
    /// Where to.
    pub destination: DestinationName,
    /// The provider's id of the event.
    pub event_id: Option<EventId>,
    /// The provider's type of it.
    pub event_type: Option<Box<str>>,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether it is a replay.
    pub is_replay: bool,
    /// When it was made. Milliseconds since the epoch.
    pub created_ms: i64,
    /// When the next attempt is due, where one is.
    pub due_ms: Option<i64>,
    /// When it ended, where it has.
    pub ended_ms: Option<i64>,
    /// What the last attempt was answered.
    pub last_status: Option<u16>,
    /// What went wrong with the last attempt: a word of a closed set.
    pub last_error: Option<String>,
}

/// An attempt in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptRow {
    /// Its number, from 1.
    pub number: u32,
    /// What is kept of it; an attempt that was interrupted has the error `interrupted`.
    pub record: crate::store::rows::AttemptRecord,
}

/// Which deliveries take a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// `Retry`, `Cancel` or `Discard`.
    pub step: Step,
    /// With which.
    pub which: Which,
}

/// One, or all that match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// This one.
    One(DeliveryId),
    /// All that match.
    All(DeliverySearch),
}

/// Old events to be delivered again: one new delivery for each delivery that matches, or for each matching event and this
/// destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    /// Which.
    pub search: DeliverySearch,
}

/// A replay and how far it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayRow {
    /// Its number.
    pub id: i64,
    /// When it was asked for. Milliseconds since the epoch.
    pub created_ms: i64,
    /// Deliveries to be made; what came after it was asked for does not count.
    pub total: u64,
    /// Deliveries made, or left out because their body was not kept.
    pub done: u64,
    /// Left out because their body was not kept.
    pub skipped: u64,
    /// Whether it was stopped.
    pub is_paused: bool,
    /// Whether it is over.
    pub is_ended: bool,
}
