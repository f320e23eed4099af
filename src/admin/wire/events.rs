//! Events in the inbox.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::{Counts, Delivery, Moment};

/// An event in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id in the inbox: the id of the request that brought it.
    pub uid: String,
    /// The route that took it.
    pub route: String,
    /// Who sent it, as a provider's id.
    pub provider: String,
    /// The provider's id of it.
    pub event_id: Option<String>,
    /// The provider's type of it.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// What destinations know it by (`webhook-id`), the same for each copy and attempt.
    pub webhook_id: String,
    /// When it was accepted.
    pub received: Moment,
    /// Bytes of its body.
    pub body_size: u64,
    /// Its deliveries by state.
    pub deliveries: Counts,
}

/// A part of the events, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// The events.
    pub events: Vec<Event>,
    /// Where there are more: the `cursor` of the next part.
    pub next: Option<String>,
}

/// A header field of an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Header {
    /// In lower case.
    pub name: String,
    /// As sent; none where it may be a secret that the sender shows. Bytes that are no UTF-8 are replaced.
    pub value: Option<String>,
}

/// The body of an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Body {
    /// Whether it is there: it may have been let go after its deliveries (`keep_body = false`).
    pub is_kept: bool,
    /// Bytes, where it is there.
    pub size: Option<u64>,
    /// SHA-256 in hexadecimal digits, taken at acceptance.
    pub sha256: String,
}

/// An event with all but its body, which `/events/{uid}/body` gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventDetail {
    /// Its id in the inbox: the id of the request that brought it.
    pub uid: String,
    /// The route that took it.
    pub route: String,
    /// Who sent it, as a provider's id.
    pub provider: String,
    /// The provider's id of it.
    pub event_id: Option<String>,
    /// The provider's type of it.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// What destinations know it by (`webhook-id`), the same for each copy and attempt.
    pub webhook_id: String,
    /// When it was accepted.
    pub received: Moment,
    /// The address of the sender.
    pub source: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The method as sent.
    pub method: String,
    /// Path and query as sent; what may be a secret in the query is left out.
    pub target: String,
    /// The host that was asked for.
    pub host: Option<String>,
    /// The headers that were kept, in no certain order.
    pub headers: Vec<Header>,
    /// About its body.
    pub body: Body,
    /// Its deliveries, the newest first, 500 at most.
    pub deliveries: Vec<Delivery>,
}
