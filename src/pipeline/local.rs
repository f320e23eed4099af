//! Events that own apps post for their subscribers: `provider = "local"` and `"local_hmac"`.
//!
//! A request is one event. Its body is delivered, and its headers may contain `Idempotency-Key`, `Hookgate-Event-Type`,
//! `Hookgate-Delay` and `Hookgate-Priority`. A batch is a body of type `application/x-ndjson`: one object per line with
//! `data` and optionally `id`, `type`, `delay` and `priority`; the text of `data` is delivered byte for byte. Unlike
//! untrusted clients, these senders get detailed errors.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::document::value::parse_duration;
use crate::gate::dedup::Claim;
use crate::gate::event::{Event, EventParts};
use crate::gate::reject::Reject;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::inbox::{AcceptOptions, AcceptOutcome};
use crate::model::ids::EventId;
use crate::net::event_headers::DUPLICATE;
use crate::net::headers::{HeaderOccurrence, single};
use crate::net::response::{HttpResponse, ResponseBody};
use crate::pipeline::stored::DurableAcceptance;
use crate::pipeline::{UpstreamExchange, batch};
use crate::scheme::standard_webhooks::message_id;

pub(super) const DELAY: HeaderName = HeaderName::from_static("hookgate-delay");
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("hookgate-priority");
const BATCH: &str = "application/x-ndjson";

/// Longest delay. It is longer than any retry schedule; later events belong in a calendar.
const MAX_DELAY: Duration = Duration::from_secs(366 * 24 * 3600);

/// Stores what an app posted and responds with the ids.
pub(super) async fn queue(
    exchange: UpstreamExchange,
    keeping: &DurableAcceptance,
    outlets: &RouteSubscriptions,
    event: Event,
    claim: Option<Claim>,
) -> HttpResponse {
    if is_batch(&event.parts().headers) {
        return Box::pin(batch::store(exchange, keeping, outlets, event, claim)).await;
    }
    one(exchange, keeping, outlets, event, claim).await
}

/// Creates the response to an event that an app posts again, with the id that destinations see. A batch has many ids,
/// which the first response contained.
pub(super) fn duplicate(
    status: StatusCode,
    headers: &HeaderMap,
    verdict: &Verdict,
) -> HttpResponse {
    let id = verdict.event_id.as_ref().map(EventId::as_str);
    let value = match id.filter(|_| !is_batch(headers)) {
        // An id alone determines the result, so the digest does not matter.
        Some(id) => json!({ "webhook_id": message_id(Some(id), &[0; 32]), "duplicate": true }),
        None => json!({ "duplicate": true }),
    };
    marked_duplicate(answer(status, &value))
}

fn marked_duplicate(mut answer: HttpResponse) -> HttpResponse {
    let headers = answer.headers_mut();
    headers.insert(DUPLICATE, HeaderValue::from_static("true"));
    answer
}

async fn one(
    mut exchange: UpstreamExchange,
    keeping: &DurableAcceptance,
    outlets: &RouteSubscriptions,
    event: Event,
    mut claim: Option<Claim>,
) -> HttpResponse {
    let mut parts = event.into_parts();
    let terms = match header_terms(&parts.headers) {
        Ok(terms) => terms,
        Err(fault) => return exchange.malformed(claim, &fault),
    };
    if parts.event_id.is_none() {
        // Two events of an app may have equal bodies, so the request id makes the digest unique.
        parts.digest = Sha256::digest(exchange.verdict.request_id.as_bytes()).into();
    }
    let accepted = exchange
        .accept(keeping, outlets, &parts, &mut claim, terms)
        .await;
    let posted = match accepted {
        Ok(accepted) => accept_reply(&accepted, &exchange.verdict, &parts),
        Err(reject) => return exchange.refuse(&reject),
    };
    let is_new = matches!(posted.accepted, AcceptOutcome::Stored(_));
    let answer = answer(StatusCode::OK, &posted.value);
    exchange.push_reply(keeping, &[posted]);
    match is_new {
        true => answer,
        false => marked_duplicate(answer),
    }
}

/// The part of the response about one event.
pub(super) struct AcceptReply {
    pub(super) value: Value,
    pub(super) accepted: AcceptOutcome,
}

pub(super) fn accept_reply(
    accepted: &AcceptOutcome,
    verdict: &Verdict,
    parts: &EventParts,
) -> AcceptReply {
    let id = parts.event_id.as_ref().map(EventId::as_str);
    let mut value = json!({
        "id": verdict.request_id.to_string(),
        "webhook_id": message_id(id, &parts.digest),
    });
    if let (AcceptOutcome::Duplicate(_), Some(fields)) = (accepted, value.as_object_mut()) {
        // The inbox id of the first copy is not known here.
        fields.remove("id");
        fields.insert("duplicate".to_owned(), Value::Bool(true));
    }
    if let (AcceptOutcome::Stored(deliveries), Some(fields)) = (accepted, value.as_object_mut()) {
        fields.insert("deliveries".to_owned(), deliveries.len().into());
    }
    AcceptReply {
        value,
        accepted: accepted.clone(),
    }
}

impl UpstreamExchange {
    pub(super) fn malformed(mut self, claim: Option<Claim>, fault: &str) -> HttpResponse {
        let reject = Reject::MalformedEvent {
            fault: fault.into(),
        };
        if let Some(claim) = claim {
            claim.release(reject.status());
        }
        let status = reject.status();
        // Only for its log line and counters: the response below has more detail.
        drop(self.refuse(&reject));
        answer(status, &json!({ "error": fault }))
    }

    pub(super) fn push_reply(&mut self, keeping: &DurableAcceptance, stored: &[AcceptReply]) {
        let is_new = self.wake(keeping, stored);
        if !is_new {
            self.verdict.decision = GateDecision::Duplicate;
        }
        self.update_exchange(|exchange| exchange.is_stored = is_new);
    }

    /// Wakes the destinations of stored events. Returns whether any event was stored.
    pub(super) fn wake(&self, keeping: &DurableAcceptance, stored: &[AcceptReply]) -> bool {
        let mut is_new = false;
        for one in stored {
            if let AcceptOutcome::Stored(deliveries) = &one.accepted {
                is_new = true;
                keeping.wake(deliveries);
            }
        }
        is_new
    }
}

fn is_batch(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok());
    text.is_some_and(|text| {
        // Parameters such as `charset` do not change the media type.
        let media = text.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case(BATCH)
    })
}

fn header_terms(headers: &HeaderMap) -> Result<AcceptOptions, String> {
    terms(
        header_text(headers, &DELAY)?,
        header_text(headers, &PRIORITY)?,
    )
}

pub(super) fn terms(delay: Option<&str>, priority: Option<&str>) -> Result<AcceptOptions, String> {
    let delay = match delay {
        None => Duration::ZERO,
        Some(text) => parse_duration(text)
            .filter(|delay| *delay <= MAX_DELAY)
            .ok_or_else(|| {
                format!(
                    "`{text}` is not a valid delay: use a duration such as `10m`, at most 366 days"
                )
            })?,
    };
    let priority = match priority {
        None | Some("normal") => 0,
        Some("high") => 1,
        Some("low") => -1,
        Some(other) => {
            return Err(format!(
                "`{other}` is not a valid priority: use `high`, `normal` or `low`"
            ));
        }
    };
    Ok(AcceptOptions {
        delay,
        priority,
        ..AcceptOptions::usual(StatusCode::OK.as_u16())
    })
}

/// Reads a header. An unreadable one is an error and not ignored: an app that asked for a delay wants one.
fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, String> {
    match single(headers, name) {
        HeaderOccurrence::None => Ok(None),
        HeaderOccurrence::One(value) => {
            let text = value.to_str();
            text.map(Some)
                .map_err(|_| format!("`{name}` contains a byte that is not printable ASCII"))
        }
        HeaderOccurrence::Many => Err(format!("`{name}` appears more than once")),
    }
}

pub(super) fn answer(status: StatusCode, value: &Value) -> HttpResponse {
    let mut answer = HttpResponse::new(ResponseBody::whole(Bytes::from(value.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}
