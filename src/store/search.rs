//! Queries of operators: searches with pages, bulk changes and replays. The admin API uses these types.

use hookgate_verify::identity::event_id::EventId;

use crate::model::delivery::{DeliveryId, DeliveryState, DeliveryStep};
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::model::route_scope::RouteScope;

/// Criteria for events. An event matches if it meets all criteria that are set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventSearch {
    /// Only events of routes that the caller may see.
    pub scope: RouteScope,
    /// Only events of this route.
    pub route: Option<RouteName>,
    /// Only events of this provider.
    pub provider: Option<String>,
    /// Only events with this id of the provider, or this `webhook-id`.
    pub id: Option<String>,
    /// Only events of this type; `*` matches any run of characters.
    pub event_type: Option<String>,
    /// Only events received at this time or later, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Only events received before this time, in milliseconds since the epoch.
    pub before_ms: Option<i64>,
    /// Only events with a delivery in this state.
    pub state: Option<DeliveryState>,
}

/// Criteria for deliveries. A delivery matches if it meets all criteria that are set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeliverySearch {
    /// Criteria for the event of the delivery; its `state` is ignored.
    pub event: EventSearch,
    /// Only deliveries of this event.
    pub uid: Option<RequestId>,
    /// Only deliveries for a destination of this name.
    pub destination: Option<DestinationName>,
    /// Only deliveries in this state.
    pub state: Option<DeliveryState>,
    /// Only replays (`true`), or only original deliveries (`false`).
    pub is_replay: Option<bool>,
}

/// A part of a list. Lists go from the newest row to the oldest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListPage {
    /// The cursor of the last row of the previous page.
    pub after: Option<i64>,
    /// The largest number of rows.
    pub limit: u32,
}

/// An event in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventRow {
    /// The cursor for the next page.
    pub cursor: i64,
    /// The id of the event in the inbox.
    pub uid: RequestId,
    /// The route that accepted the event.
    pub route: RouteName,
    /// The provider, or `custom` or `local`.
    pub provider: String,
    /// The event id that the provider assigned.
    pub event_id: Option<EventId>,
    /// The event type that the provider assigned.
    pub event_type: Option<Box<str>>,
    /// The id that destinations see (`webhook-id`).
    pub webhook_id: String,
    /// When the event was received, in milliseconds since the epoch.
    pub received_ms: i64,
    /// The size of the body in bytes.
    pub body_size: u64,
    /// Number of its deliveries by state, in the order of `DeliveryState::ALL`.
    pub deliveries: [u64; 6],
}

/// A delivery in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeliveryRow {
    /// The number of the delivery, which is also the cursor for the next page.
    pub id: DeliveryId,
    /// The inbox id of its event.
    pub uid: RequestId,
    /// The route of the event and of the destination.
    pub route: RouteName,
    /// The name of the destination.
    pub destination: DestinationName,
    /// The event id that the provider assigned.
    pub event_id: Option<EventId>,
    /// The event type that the provider assigned.
    pub event_type: Option<Box<str>>,
    /// The current state of the delivery.
    pub state: DeliveryState,
    /// The number of attempts so far.
    pub attempts: u32,
    /// True if a replay created the delivery.
    pub is_replay: bool,
    /// When the delivery was created, in milliseconds since the epoch.
    pub created_ms: i64,
    /// When the next attempt is due, if one is planned.
    pub due_ms: Option<i64>,
    /// When the delivery ended, if it has ended.
    pub ended_ms: Option<i64>,
    /// The HTTP status of the last response.
    pub last_status: Option<u16>,
    /// The error of the last attempt, a word from a closed set.
    pub last_error: Option<String>,
}

/// An attempt in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AttemptRow {
    /// The number of the attempt, from 1.
    pub number: u32,
    /// The stored record. An interrupted attempt has the error `interrupted`.
    pub record: crate::store::rows::AttemptRecord,
}

/// A step, and the deliveries that take it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StepSelection {
    /// The step: `Retry`, `Cancel` or `Discard`.
    pub step: DeliveryStep,
    /// The deliveries that take the step.
    pub which: DeliverySelector,
}

/// One delivery, or all that match a search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DeliverySelector {
    /// The delivery with this number.
    One(DeliveryId),
    /// All deliveries that match the search.
    All(DeliverySearch),
}

/// A request to deliver old events again. It creates one delivery for each matching delivery, or for each matching
/// event and the named destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReplaySearch {
    /// Criteria for the deliveries or events.
    pub search: DeliverySearch,
}

/// A replay and its progress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReplayRow {
    /// The number of the replay.
    pub id: i64,
    /// When the replay was requested, in milliseconds since the epoch.
    pub created_ms: i64,
    /// Number of deliveries to create. Deliveries that came after the request do not count.
    pub total: u64,
    /// Number of deliveries created, or skipped because their body is gone.
    pub done: u64,
    /// Number of deliveries skipped because their body is gone.
    pub skipped: u64,
    /// True if an operator paused the replay.
    pub is_paused: bool,
    /// True if the replay has ended.
    pub is_ended: bool,
    /// The routes of the replay.
    pub scope: RouteScope,
}
