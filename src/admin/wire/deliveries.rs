//! Deliveries and their attempts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::{Moment, State};

/// One event for one destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The event, by its id in the inbox.
    pub event: String,
    /// The route of both.
    pub route: String,
    /// Where to.
    pub destination: String,
    /// The provider's id of the event.
    pub event_id: Option<String>,
    /// The provider's type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether it is a replay.
    pub replay: bool,
    /// When it was made.
    pub created: Moment,
    /// When the next attempt is due, where one is.
    pub due: Option<Moment>,
    /// When it ended, where it has.
    pub ended: Option<Moment>,
    /// What the last attempt was answered.
    pub last_status: Option<u16>,
    /// What went wrong with the last attempt: a word of a closed set.
    pub last_error: Option<String>,
}

/// A part of the deliveries, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deliveries {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// Where there are more: the `cursor` of the next part.
    pub next: Option<String>,
}

/// One exchange with a destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub started: Moment,
    /// Until the end of the answer, or the error.
    pub duration_ms: u32,
    /// What the destination answered.
    pub status: Option<u16>,
    /// What went wrong: a word of a closed set.
    pub error: Option<String>,
    /// The error with its causes.
    pub error_detail: Option<String>,
    /// The first bytes of the answer, as text.
    pub answer: String,
}

/// The attempts of a delivery.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Attempts {
    /// In their order.
    pub attempts: Vec<Attempt>,
}

/// A delivery with its attempts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    pub delivery: Delivery,
    /// Its attempts, in their order.
    pub attempts: Vec<Attempt>,
}

/// What a change of many deliveries did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Deliveries that were changed, or would be. Those in whose state it cannot be done do not count.
    pub count: u64,
}
