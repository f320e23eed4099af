//! Reports of requests, and the responses that hookgate makes itself.

use std::time::Duration;

use hookgate_verify::providers::challenge::ProviderChallenge;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};

use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::model::clock::instant;
use crate::net::problem;
use crate::net::response::{HttpResponse, ResponseBody};
use crate::pipeline::generation::CompiledRoute;
use crate::record::{ExchangeSummary, TelemetryRecorder};

/// Returns the summary of a request that got this response.
pub(super) fn answered(response_status: StatusCode, verdict: &Verdict) -> ExchangeSummary {
    ExchangeSummary {
        response_status,
        upstream_status: None,
        upstream_time: Duration::ZERO,
        forward_error: None,
        is_stored: false,
        total: instant().saturating_duration_since(verdict.began),
    }
}

/// Reports a request; without a route if the request has no route.
pub(super) fn report(
    recorder: &TelemetryRecorder,
    route: Option<&CompiledRoute>,
    verdict: &Verdict,
    exchange: &ExchangeSummary,
) {
    recorder.request(route.map(|route| &*route.counters), verdict, exchange);
}

/// Reports a rejection and creates its response.
pub(super) fn refuse(
    recorder: &TelemetryRecorder,
    route: Option<&CompiledRoute>,
    verdict: &Verdict,
    reject: &Reject,
) -> HttpResponse {
    let status = reject.status();
    report(recorder, route, verdict, &answered(status, verdict));
    let mut answer = problem::answer(status, verdict.request_id, reject.retry_after());
    // Some providers test an endpoint with a wrong signature and expect an empty 401.
    if status == StatusCode::UNAUTHORIZED && route.is_some_and(wants_empty) {
        answer.headers_mut().remove(header::CONTENT_TYPE);
        answer = answer.map(|_| ResponseBody::empty());
    }
    if status == StatusCode::METHOD_NOT_ALLOWED
        && let Some(methods) = route.and_then(allowed_methods)
    {
        answer.headers_mut().insert(header::ALLOW, methods);
    }
    answer
}

/// Returns whether the route's sender expects a 401 without a body.
fn wants_empty(route: &CompiledRoute) -> bool {
    let provider = route.rules.route().provider.as_ref();
    let challenge = provider.and_then(|provider| provider.challenge);
    challenge.is_some_and(ProviderChallenge::wants_empty_refusals)
}

fn allowed_methods(route: &CompiledRoute) -> Option<HeaderValue> {
    let methods = route.rules.methods().iter().map(Method::as_str);
    let methods: Vec<_> = methods.collect();
    HeaderValue::from_str(&methods.join(", ")).ok()
}

/// Creates an empty response of the gate, with a header that explains why the app saw nothing.
pub(super) fn marked(status: StatusCode, mark: HeaderName) -> HttpResponse {
    let mut answer = HttpResponse::new(ResponseBody::empty());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(mark, HeaderValue::from_static("true"));
    answer
}

/// Announces that the connection closes if the request body was not fully read: the rest cannot be separated from the
/// next request. In HTTP/2 only the stream ends.
pub(super) fn closing(mut answer: HttpResponse, version: Version, is_unread: bool) -> HttpResponse {
    if is_unread && version != Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
    }
    answer
}
