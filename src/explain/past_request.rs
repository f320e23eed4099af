//! A request that arrived earlier, as far as it was kept.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};

use crate::gate::reject::RejectReason;
use crate::gate::verdict::{GateCheck, Verdict};
use crate::model::clock::ClockReading;

/// A past request to explain, as far as it was kept.
#[derive(Clone, Debug)]
pub(crate) struct PastRequest {
    /// HTTP method of the request.
    pub method: Method,
    /// Request target as received, except that tokens may be masked.
    pub uri: Uri,
    /// HTTP version of the request.
    pub version: Version,
    /// Headers as received, except that tokens may be masked.
    pub headers: HeaderMap,
    /// Body, or its start if it was cut.
    pub body: Bytes,
    /// True if more of the body arrived than is kept here.
    pub is_cut: bool,
    /// Time of arrival in milliseconds since the Unix epoch; `None` means the signed time.
    pub received_ms: Option<i64>,
    /// Source address; `None` means an address that the route allows.
    pub source: Option<IpAddr>,
    /// Result of the gate when the request arrived.
    pub recorded: Option<RecordedRefusal>,
    /// Ages of the signed times of other routes' requests that were rejected at about the same time.
    pub others: Vec<OtherAge>,
}

/// Reject of a request when it arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordedRefusal {
    /// Reason for which the gate rejected the request.
    pub reason: RejectReason,
    /// Check that rejected the request.
    pub check: GateCheck,
}

/// Age of another route's rejected request; if several agree, the clock of this machine is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OtherAge {
    /// Name of the other route.
    pub route: String,
    /// Time of arrival minus the signed time, in seconds.
    pub age_seconds: i64,
}

impl PastRequest {
    /// Returns a placeholder for a request of which only the verdict is left.
    pub(super) fn unknown(verdict: &Verdict) -> Self {
        Self {
            method: Method::POST,
            uri: Uri::from_static("/"),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            is_cut: true,
            received_ms: Some(verdict.request_id.unix_ms()),
            source: Some(verdict.source.ip),
            recorded: None,
            others: Vec::new(),
        }
    }

    /// Returns the time of arrival; the monotonic part is the present one.
    pub(super) fn received(&self) -> ClockReading {
        let now = ClockReading::read();
        ClockReading {
            unix_ms: self.received_ms.unwrap_or(now.unix_ms),
            ..now
        }
    }
}
