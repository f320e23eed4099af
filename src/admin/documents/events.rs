//! JSON shapes of events in the inbox.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::deliveries::DeliveryDocument;
use crate::admin::documents::values::{ApiTimestamp, StateCounts};

/// An event in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventDocument {
    /// Id of the event in the inbox, which is the id of its request.
    pub uid: String,
    /// Route that accepted the event.
    pub route: String,
    /// Id of the provider that sent the event.
    pub provider: String,
    /// The provider's id of the event.
    pub event_id: Option<String>,
    /// The provider's type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Value of the header `webhook-id` for destinations, the same in each delivery and attempt.
    pub webhook_id: String,
    /// Time at which the event was accepted.
    pub received: ApiTimestamp,
    /// Size of the body in bytes.
    pub body_size: u64,
    /// Number of deliveries in each state.
    pub deliveries: StateCounts,
}

/// A page of events, newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Events)]
pub(crate) struct EventList {
    /// Events on this page, newest first.
    pub events: Vec<EventDocument>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

/// A header field of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Header)]
pub(crate) struct HeaderDocument {
    /// Name of the header in lower case.
    pub name: String,
    /// Value as sent; null if it may be a secret. Invalid UTF-8 is replaced.
    pub value: Option<String>,
}

/// The body of an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Body)]
pub(crate) struct BodySummary {
    /// True if the store has the body. With `keep_body = false` it removes the body when all deliveries have ended.
    pub is_kept: bool,
    /// Size in bytes, if the store has the body.
    pub size: Option<u64>,
    /// SHA-256 of the body in hexadecimal digits, computed at acceptance; empty for a token without payload.
    pub sha256: String,
}

/// An event without its body, which `/events/{uid}/body` returns.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EventDetail {
    /// Id of the event in the inbox, which is the id of its request.
    pub uid: String,
    /// Route that accepted the event.
    pub route: String,
    /// Id of the provider that sent the event.
    pub provider: String,
    /// The provider's id of the event.
    pub event_id: Option<String>,
    /// The provider's type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Value of the header `webhook-id` for destinations, the same in each delivery and attempt.
    pub webhook_id: String,
    /// Time at which the event was accepted.
    pub received: ApiTimestamp,
    /// IP address of the sender.
    pub source: String,
    /// True if the request came over TLS.
    pub tls: bool,
    /// HTTP method of the request.
    pub method: String,
    /// Path and query as sent, with values that may be secrets masked.
    pub target: String,
    /// Host that the request named.
    pub host: Option<String>,
    /// Stored headers of the request, in no particular order.
    pub headers: Vec<HeaderDocument>,
    /// Size and digest of the body.
    pub body: BodySummary,
    /// Deliveries of the event, newest first, at most 500.
    pub deliveries: Vec<DeliveryDocument>,
}
