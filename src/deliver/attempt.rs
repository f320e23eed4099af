//! One attempt: it builds a new request from a stored event, sends it and records the outcome.
//!
//! Nothing of the sender's framing is reused. Before each attempt the body is compared with the digest from acceptance,
//! so that a damaged store never sends wrong bytes under a fresh signature. Only the beginning of the response is
//! stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use sha2::{Digest as _, Sha256};

use crate::deliver::access_token::TokenSource;
use crate::deliver::plan::DeliveryTarget;
use crate::deliver::verdict::{AttemptFault, AttemptOutcome};
use crate::deliver::{outcome, schedule};
use crate::dispatch;
use crate::model::clock::{ClockReading, instant};
use crate::model::error::chain;
use crate::net::client::ConnectionPool;
use crate::net::client::drain::BodyEnding;
use crate::net::event_headers::{
    RequestOrigin, insert_event, insert_origin, remove_source, set_length, set_marks, stored_marks,
};
use crate::net::headers::{ATTEMPT, HeaderOccurrence, single, vet_request_headers};
use crate::net::response_check::check_answer;
use crate::store::rows::{AttemptRecord, DueDelivery, KEPT_ANSWER, StoredEvent};

const BODY_DIGEST: HeaderName = HeaderName::from_static("hookgate-body-digest");
/// Digest field of RFC 9530, section 3.
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const REPLAY: HeaderName = HeaderName::from_static("hookgate-replay");

/// Bytes of a response that are read so that its connection can be reused. Reading more costs more than a new
/// connection.
const READ_ANSWER: usize = 64 * 1024;

/// Upper bound of the headers that the gate adds, so that the map grows once.
const ADDED: usize = 21;

/// An attempt that has ended.
pub(super) struct CompletedAttempt {
    pub(super) outcome: AttemptOutcome,
    pub(super) record: AttemptRecord,
    /// Time from the start to the end of the response, or to the error.
    pub(super) took: Duration,
}

/// A fault with its description.
struct FaultDetail {
    fault: AttemptFault,
    text: String,
}

/// The stored part of a response.
struct AttemptResponse {
    status: StatusCode,
    retry_after: Option<Duration>,
    start: Bytes,
    fault: Option<FaultDetail>,
}

/// Makes one attempt and returns its record.
pub(super) async fn attempt(to: &DeliveryTarget, due: DueDelivery) -> CompletedAttempt {
    let started = ClockReading::read();
    let result = match &to.tokens {
        None => match build(to, due, started.unix_ms) {
            Ok(request) => exchange(&to.pool, request).await,
            Err(trouble) => Err(trouble),
        },
        // Boxed, so that an attempt without a token needs no more memory for this branch.
        Some(tokens) => Box::pin(attempt_with_token(to, tokens, due)).await,
    };
    ended(started, result)
}

/// Makes an attempt with an access token. A token that the destination rejects is dropped, and the next attempt fetches
/// another one.
async fn attempt_with_token(
    to: &DeliveryTarget,
    tokens: &TokenSource,
    due: DueDelivery,
) -> Result<AttemptResponse, FaultDetail> {
    let token = tokens.token().await;
    let token = token.map_err(|error| fault_detail(AttemptFault::Token, &error.to_string()))?;
    // The time of the signature is that of the request, so it is read after the token has come.
    let mut request = build(to, due, ClockReading::read().unix_ms)?;
    let headers = request.headers_mut();
    headers.insert(AUTHORIZATION, token.header.clone());
    let mut response = exchange(&to.pool, request).await?;
    if response.status == StatusCode::UNAUTHORIZED {
        tokens.reject(&token);
    }
    // The start of the response goes to the store, where no token may be.
    response.start = token.mask_in(response.start);
    Ok(response)
}

/// Returns the result of an attempt that could not end by itself.
pub(super) fn broken_off(
    started: ClockReading,
    fault: AttemptFault,
    text: &str,
) -> CompletedAttempt {
    let text = text.to_owned();
    ended(started, Err(FaultDetail { fault, text }))
}

fn ended(started: ClockReading, result: Result<AttemptResponse, FaultDetail>) -> CompletedAttempt {
    let took = instant().saturating_duration_since(started.mono);
    let (outcome, answer, trouble) = match result {
        Ok(answered) => {
            let mut outcome = AttemptOutcome::answered(answered.status, answered.retry_after);
            let trouble = answered.fault;
            outcome.fault = trouble.as_ref().map(|one| one.fault).or(outcome.fault);
            (outcome, answered.start, trouble)
        }
        Err(trouble) => (
            AttemptOutcome::failed(trouble.fault),
            Bytes::new(),
            Some(trouble),
        ),
    };
    // A fault without further text is an error status, which the status text describes.
    let error = match (outcome.fault, trouble) {
        (_, Some(trouble)) => Some((trouble.fault.word().to_owned(), trouble.text)),
        (Some(fault), None) => Some((
            fault.word().to_owned(),
            outcome::status_text(outcome.status),
        )),
        (None, None) => None,
    };
    CompletedAttempt {
        record: AttemptRecord {
            started_ms: started.unix_ms,
            duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            status: outcome.status.map(|status| status.as_u16()),
            error,
            response_start: answer,
        },
        outcome,
        took,
    }
}

/// Builds the request for one attempt.
fn build(
    to: &DeliveryTarget,
    due: DueDelivery,
    now_ms: i64,
) -> Result<Request<Full<Bytes>>, FaultDetail> {
    let mut event = due.event;
    let body = event
        .body
        .take()
        .ok_or_else(|| damaged("the stored body is missing"))?;
    // Compare what is sent now with what was accepted then.
    if <[u8; 32]>::from(Sha256::digest(&body)) != event.digest {
        return Err(damaged("the stored body differs from the accepted one"));
    }
    let target = || fault_detail(AttemptFault::Target, "the target URL is not valid");
    let sent: http::Uri = event.target.parse().map_err(|_| target())?;
    let uri = to.path.join(sent.path(), sent.query()).ok_or_else(target)?;
    let mut headers = std::mem::take(&mut event.headers);
    // Read the gate's own marks before `vet_request_headers` removes every header that a sender might have forged.
    let mut marks = stored_marks(&headers);
    if to.is_external {
        // Like the address: an external host must not learn who the sender is.
        marks.client = None;
    }
    vet_request_headers(&mut headers, &to.protected);
    for name in &to.redacted_headers {
        headers.remove(name);
    }
    headers.reserve(ADDED);
    // The scheme signs the headers as the app will see them, so forged and withheld ones must be gone by now.
    to.signing.clear(&mut headers);
    let signed = to.signing.resign(&event, &body, &mut headers, uri, now_ms);
    let uri = signed.map_err(|error| fault_detail(AttemptFault::Unsigned, &chain(&error)))?;
    // In this order: headers of the config replace the sender's, and those of the gate replace both.
    headers.insert(HOST, to.host.clone());
    for (name, value) in &to.headers {
        headers.insert(name, value.clone());
    }
    insert_event_headers(&mut headers, to, &event);
    set_marks(&mut headers, marks);
    headers.insert(ATTEMPT, HeaderValue::from(due.attempt));
    if due.is_replay {
        headers.insert(REPLAY, HeaderValue::from_static("true"));
    }
    to.signing
        .stamp(&event.webhook_id, &body, &mut headers, now_ms);
    set_length(&mut headers, &event.method, body.len());

    let mut request = Request::new(Full::new(body));
    *request.method_mut() = event.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Adds the headers with which the gate describes the event.
fn insert_event_headers(headers: &mut HeaderMap, to: &DeliveryTarget, event: &StoredEvent) {
    let asked_host = event.host.as_deref();
    // The provider at acceptance, even if the route has another one now.
    let provider = HeaderValue::from_str(&event.provider).ok();
    let origin = RequestOrigin {
        request_id: event.uid,
        route: &to.route,
        provider: provider.as_ref().unwrap_or(&to.provider),
        source: event.source,
        is_tls: event.is_tls,
        requested_host: asked_host.and_then(|host| HeaderValue::from_str(host).ok()),
    };
    insert_origin(headers, origin);
    if to.is_external {
        // An external host must not learn the sender's address.
        remove_source(headers);
    }
    insert_event(
        headers,
        event.event_id.as_ref(),
        event.event_type.as_deref(),
    );
    // The format of RFC 9530.
    let digest = format!("sha-256=:{}:", BASE64.encode(&event.digest));
    if let Ok(digest) = HeaderValue::from_str(&digest) {
        if to.sends_digest {
            headers.insert(REPR_DIGEST, digest.clone());
        }
        headers.insert(BODY_DIGEST, digest);
    }
}

async fn exchange(
    pool: &Arc<ConnectionPool>,
    request: Request<Full<Bytes>>,
) -> Result<AttemptResponse, FaultDetail> {
    let sent = dispatch::exchange(pool, request, Duration::ZERO).await;
    let (response, lease) = sent.map_err(|error| fault_detail((&error).into(), &chain(&error)))?;
    let (head, body) = response.into_parts();
    // A response that programs read in different ways must not decide about a delivery.
    if let Err(fault) = check_answer(&head) {
        return Err(fault_detail(
            AttemptFault::Invalid,
            &format!("its response is ambiguous: {fault}"),
        ));
    }
    // Two values contradict each other, so then the schedule decides.
    let retry_after = match single(&head.headers, &RETRY_AFTER) {
        HeaderOccurrence::One(value) => schedule::retry_after(value, ClockReading::read().unix_ms),
        HeaderOccurrence::None | HeaderOccurrence::Many => None,
    };
    let drained = lease.drain(body, KEPT_ANSWER, READ_ANSWER).await;
    let trouble = match drained.ending {
        BodyEnding::Whole | BodyEnding::TooLong => None,
        BodyEnding::Cut => Some(fault_detail(AttemptFault::Cut, "its response ended early")),
        BodyEnding::Late => Some(fault_detail(
            AttemptFault::Deadline,
            "its response did not end within the timeout",
        )),
    };
    Ok(AttemptResponse {
        status: head.status,
        retry_after,
        start: drained.start,
        fault: trouble,
    })
}

fn fault_detail(fault: AttemptFault, text: &str) -> FaultDetail {
    let text = text.to_owned();
    FaultDetail { fault, text }
}

fn damaged(text: &str) -> FaultDetail {
    fault_detail(AttemptFault::Damaged, text)
}

#[cfg(test)]
mod tests;
