//! Events that own apps post for their subscribers: `provider = "local"` and `"local_hmac"`.
//!
//! A request is one event. Its body is delivered, and its headers may contain `Idempotency-Key`, `Hookgate-Event-Type`,
//! `Hookgate-Delay` and `Hookgate-Priority`. A batch is a body of type `application/x-ndjson`: one object per line with
//! `data` and optionally `id`, `type`, `delay` and `priority`; the text of `data` is delivered byte for byte. Unlike
//! untrusted clients, these senders get detailed errors.

use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::scheme::standard_webhooks::message_id;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::gate::dedup::Claim;
use crate::gate::event::Event;
use crate::gate::verdict::Verdict;
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::inbox::{AcceptOptions, AcceptOutcome};
use crate::net::event_headers::DUPLICATE;
use crate::net::headers::{HeaderOccurrence, single};
use crate::net::response::HttpResponse;
use crate::pipeline::acceptance::DurableAcceptance;
use crate::pipeline::batch;
use crate::pipeline::exchange::UpstreamExchange;
use crate::pipeline::local_reply::{DELAY, PRIORITY, accept_reply, answer, terms};

const BATCH: &str = "application/x-ndjson";

/// Stores what an app posted and responds with the ids.
pub(super) async fn queue(
    exchange: UpstreamExchange,
    keeping: &DurableAcceptance,
    outlets: &RouteSubscriptions,
    event: Event,
    claim: Option<Claim>,
) -> HttpResponse {
    if is_batch(event.received().headers) {
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
    mut event: Event,
    mut claim: Option<Claim>,
) -> HttpResponse {
    let terms = match header_terms(event.received().headers) {
        Ok(terms) => terms,
        Err(fault) => return exchange.malformed(claim, &fault),
    };
    if event.id().is_none() {
        event.make_unique(&exchange.verdict.request_id);
    }
    let accepted = exchange
        .accept(keeping, outlets, &event, &mut claim, terms)
        .await;
    let posted = match accepted {
        Ok(accepted) => accept_reply(&accepted, &exchange.verdict, &event),
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
