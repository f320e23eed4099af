//! The report of a delivery attempt, as `deliver` makes it.

use std::time::Duration;

use hookgate_verify::identity::event_id::EventId;

use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::model::trace::TraceContext;

/// Identifiers of the event that an attempt delivers.
#[derive(Clone, Debug)]
pub(crate) struct AttemptedEvent {
    /// Id of the event in the inbox, which is the id of its request.
    pub uid: RequestId,
    /// Event id that the provider gave.
    pub event_id: Option<EventId>,
    /// Event type, as the provider names it.
    pub event_type: Option<Box<str>>,
}

/// A finished delivery attempt and its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptReport<'a> {
    /// The route of the event.
    pub route: &'a RouteName,
    /// The destination that was called.
    pub destination: &'a DestinationName,
    /// Id of the delivery that the attempt belongs to.
    pub delivery: DeliveryId,
    /// Number of the attempt within its delivery, from 1.
    pub attempt: u32,
    /// Identifiers of the delivered event.
    pub event: &'a AttemptedEvent,
    /// True if the delivery is a replay.
    pub is_replay: bool,
    /// Trace context of the request that brought the event.
    pub trace: Option<TraceContext>,
    /// Time of acceptance, in milliseconds since the Unix epoch.
    pub accepted_ms: i64,
    /// Status class of the response, or a word of a closed set; it becomes a metric label.
    pub outcome: &'static str,
    /// Status of the destination's response.
    pub status: Option<u16>,
    /// Kind of the error, and its text with all causes.
    pub error: Option<(&'a str, &'a str)>,
    /// Duration until the end of the response, or until the error.
    pub took: Duration,
    /// State of the delivery after this attempt.
    pub state: DeliveryState,
    /// Time of the next attempt, in milliseconds since the Unix epoch.
    pub due_ms: Option<i64>,
    /// True if the stored event is damaged, which is always logged as an error.
    pub is_alarming: bool,
}
