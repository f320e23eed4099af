//! JSON shapes of deliveries and attempts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::{ApiTimestamp, DeliveryStateName};

/// The delivery of one event to one destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct DeliveryDocument {
    /// Number of the delivery.
    pub id: i64,
    /// Id of the event in the inbox.
    pub event: String,
    /// Route of the event and the destination.
    pub route: String,
    /// Name of the destination.
    pub destination: String,
    /// The provider's id of the event.
    pub event_id: Option<String>,
    /// The provider's type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Current state of the delivery.
    pub state: DeliveryStateName,
    /// Number of attempts so far.
    pub attempts: u32,
    /// True if a replay created the delivery.
    pub replay: bool,
    /// Time at which the delivery was created.
    pub created: ApiTimestamp,
    /// Time of the next attempt, if one is due.
    pub due: Option<ApiTimestamp>,
    /// Time at which the delivery ended, if it has.
    pub ended: Option<ApiTimestamp>,
    /// HTTP status of the response to the last attempt.
    pub last_status: Option<u16>,
    /// Error of the last attempt, as a word of a closed set.
    pub last_error: Option<String>,
}

/// A page of deliveries, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Deliveries)]
pub(crate) struct DeliveryList {
    /// Deliveries on this page, newest first.
    pub deliveries: Vec<DeliveryDocument>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

/// One attempt to deliver an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptDocument {
    /// Number of the attempt, from 1.
    pub number: u32,
    /// Time at which the attempt began.
    pub started: ApiTimestamp,
    /// Milliseconds until the end of the response or the error.
    pub duration_ms: u32,
    /// HTTP status of the response.
    pub status: Option<u16>,
    /// Error of the attempt, as a word of a closed set.
    pub error: Option<String>,
    /// Text of the error with its causes.
    pub error_detail: Option<String>,
    /// First bytes of the response body, as text.
    pub answer: String,
}

/// The attempts of a delivery.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Attempts)]
pub(crate) struct AttemptList {
    /// Attempts of the delivery, oldest first.
    pub attempts: Vec<AttemptDocument>,
}

/// A delivery with its attempts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeliveryDetail {
    /// The delivery itself, as in lists.
    pub delivery: DeliveryDocument,
    /// Attempts of the delivery, oldest first.
    pub attempts: Vec<AttemptDocument>,
}

/// The outcome of a bulk change of deliveries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Changed)]
pub(crate) struct BulkChangeResult {
    /// True if the deliveries were only counted.
    pub dry_run: bool,
    /// Number of deliveries that were changed or would be. Deliveries whose state does not allow it do not count.
    pub count: u64,
}
