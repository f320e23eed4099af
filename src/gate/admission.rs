//! The result of the gate.

use http::StatusCode;

use crate::gate::dedup::Claim;
use crate::gate::event::{Event, RefusedRequest, UnverifiedRequest};
use crate::gate::filter_kind::FilterKind;
use crate::gate::reject::Reject;
use crate::net::response::HttpResponse;

/// The result of the gate. `pipeline` matches it exhaustively, so that a new variant cannot be forgotten.
pub(crate) enum GateAdmission {
    /// An event that passed every check; without a claim where the route has no dedup or the event has no dedup key.
    Event(Event, Option<Claim>),
    /// A request that failed a check in monitor mode; the verdict names the check.
    Unverified(UnverifiedRequest),
    /// A URL check of the provider, with the response that the gate sends.
    Answered(HttpResponse),
    /// A duplicate of an event that the app accepted with this status.
    Duplicate(StatusCode, Event),
    /// A genuine event that the route's filter excludes.
    Filtered(FilterKind, Event),
    /// A rejected request, with the parts that were read if it had a route.
    Refused(Reject, Option<RefusedRequest>),
}
