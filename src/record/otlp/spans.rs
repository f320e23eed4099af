//! Builds OTLP spans from finished requests and attempts.
//!
//! Spans are made after the fact, from the verdict and its times, so a request does no work for them while it runs.
//! Attribute names are those of OpenTelemetry's semantic conventions, otherwise `hookgate.*`.

use std::time::Duration;

use crate::gate::verdict::{GateDecision, Verdict};
use crate::model::clock::ClockReading;
use crate::model::trace::{TraceContext, TracePart};
use crate::record::attempt_report::AttemptReport;
use crate::record::exchange_summary::ExchangeSummary;
use crate::record::otlp::messages::{
    AnyValue, KeyValue, OtlpSpan, OtlpValue, SpanKind, SpanStatus, SpanStatusCode,
};

/// Maximum number of bytes of a text attribute, because a sender may choose its value.
const LONGEST: usize = 128;

/// Bits of `flags`: the trace is sampled; it is known if the parent is remote; the parent is remote.
const SAMPLED: u32 = 1;
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Returns the span of a request, followed by one for each stage that it reached.
pub(super) fn of_request(
    trace: &TraceContext,
    verdict: &Verdict,
    exchange: &ExchangeSummary,
) -> Vec<OtlpSpan> {
    let start_ns = nanos_of(verdict.request_id.unix_ms());
    let mut whole = span(
        trace,
        TracePart::Request,
        SpanKind::Server,
        (start_ns, exchange.total),
    );
    // The sender's span is the parent if the route continues traces.
    whole.parent_span_id = trace.parent.map(Vec::from).unwrap_or_default();
    if trace.parent.is_some() {
        whole.flags |= IS_REMOTE;
    }
    whole.name = match &verdict.route {
        Some(route) => format!("webhook {route}"),
        None => "webhook".to_owned(),
    };
    let scheme = if verdict.source.is_tls {
        "https"
    } else {
        "http"
    };
    whole.attributes = vec![
        text("url.scheme", scheme),
        text("client.address", &verdict.source.ip.to_string()),
        number(
            "http.response.status_code",
            exchange.response_status.as_u16(),
        ),
        text("hookgate.verdict", verdict.decision.word()),
        text("hookgate.request_id", &verdict.request_id.to_string()),
        number("http.request.body.size", verdict.body_bytes),
    ];
    if let Some(method) = &verdict.method {
        whole
            .attributes
            .push(text("http.request.method", method.as_str()));
    }
    let more = [
        (
            "hookgate.route",
            verdict.route.as_ref().map(|route| route.as_str()),
        ),
        ("hookgate.provider", verdict.provider.as_deref()),
        ("hookgate.secret", verdict.secret.as_deref()),
        (
            "hookgate.event_id",
            verdict.event_id.as_ref().map(|id| id.as_str()),
        ),
        ("hookgate.event_type", verdict.event_type.as_deref()),
    ];
    let more = more
        .into_iter()
        .filter_map(|(key, value)| Some(text(key, value?)));
    whole.attributes.extend(more);
    if let GateDecision::Refused(reject) | GateDecision::Monitored(reject) = &verdict.decision {
        whole
            .attributes
            .push(text("hookgate.reason", reject.code()));
    }
    // Semantic conventions for HTTP: on a server span only 5xx is an error, a rejected request is not.
    if exchange.response_status.is_server_error() {
        let kind = exchange.forward_error.as_ref().map(|(kind, _)| *kind);
        fail(&mut whole, kind.unwrap_or("refused"));
    }
    let mut spans = vec![whole];
    spans.extend(stages(trace, verdict, exchange, start_ns));
    spans
}

/// Returns a span for each stage. Stages follow one another, so each begins where the previous one ended.
fn stages(
    trace: &TraceContext,
    verdict: &Verdict,
    exchange: &ExchangeSummary,
    start_ns: u64,
) -> Vec<OtlpSpan> {
    let stages = [
        ("head", SpanKind::Internal, verdict.head_time()),
        ("body", SpanKind::Internal, verdict.body_time()),
        ("verify", SpanKind::Internal, verdict.verify_time()),
        ("wait", SpanKind::Internal, verdict.wait_time),
        ("upstream", SpanKind::Client, exchange.upstream_time),
        ("commit", SpanKind::Internal, verdict.commit_time()),
    ];
    let mut begins_ns = start_ns;
    let mut spans = Vec::with_capacity(stages.len());
    for (name, kind, took) in stages {
        // A failed connection may take no measurable time, but its error must show up in the trace.
        let has_failed = name == "upstream" && exchange.forward_error.is_some();
        if took.is_zero() && !has_failed {
            continue;
        }
        let mut stage = span(trace, TracePart::Stage(name), kind, (begins_ns, took));
        name.clone_into(&mut stage.name);
        stage.parent_span_id = trace.span(TracePart::Request).to_vec();
        if name == "upstream" {
            add_upstream_attributes(&mut stage, exchange);
        }
        // A skipped stage took no time, so the next one begins at the same moment.
        begins_ns = stage.end_ns;
        spans.push(stage);
    }
    spans
}

/// Adds the upstream's response or the error of the call.
fn add_upstream_attributes(stage: &mut OtlpSpan, exchange: &ExchangeSummary) {
    if let Some(status) = exchange.upstream_status {
        stage
            .attributes
            .push(number("http.response.status_code", status.as_u16()));
        if status.as_u16() >= 400 {
            fail(stage, status.as_str());
        }
    }
    if let Some((kind, _)) = &exchange.forward_error {
        fail(stage, kind);
    }
}

/// Returns the span of one delivery attempt.
pub(super) fn of_attempt(trace: &TraceContext, attempted: &AttemptReport<'_>) -> OtlpSpan {
    // An attempt is recorded the moment it ends, so its start follows from its duration.
    let end_ns = nanos_of(ClockReading::read().unix_ms);
    let start_ns = end_ns.saturating_sub(nanos(attempted.took));
    let part = TracePart::Attempt(attempted.delivery.0, attempted.attempt);
    let mut span = span(trace, part, SpanKind::Client, (start_ns, attempted.took));
    span.name = format!("deliver {}", attempted.destination);
    // Span ids follow from the trace and the part, so the request's span need not be stored with the event.
    span.parent_span_id = trace.span(TracePart::Request).to_vec();
    span.attributes = vec![
        text("hookgate.route", attempted.route.as_str()),
        text("hookgate.destination", attempted.destination.as_str()),
        number("hookgate.delivery", attempted.delivery.0),
        text("hookgate.state", attempted.state.word()),
        number(
            "http.request.resend_count",
            attempted.attempt.saturating_sub(1),
        ),
    ];
    if attempted.is_replay {
        let value = Some(OtlpValue::Flag(true));
        span.attributes.push(attribute("hookgate.replay", value));
    }
    if let Some(status) = attempted.status {
        span.attributes
            .push(number("http.response.status_code", status));
    }
    if let Some((word, _)) = attempted.error {
        fail(&mut span, word);
    }
    span
}

fn span(
    trace: &TraceContext,
    part: TracePart,
    kind: SpanKind,
    (start_ns, took): (u64, Duration),
) -> OtlpSpan {
    OtlpSpan {
        trace_id: trace.id.to_vec(),
        span_id: trace.span(part).to_vec(),
        kind: i32::from(kind),
        start_ns,
        end_ns: start_ns.saturating_add(nanos(took)),
        flags: SAMPLED | KNOWS_REMOTE,
        ..OtlpSpan::default()
    }
}

fn fail(span: &mut OtlpSpan, kind: &str) {
    span.attributes.push(text("error.type", kind));
    span.status = Some(SpanStatus {
        message: String::new(),
        code: i32::from(SpanStatusCode::Error),
    });
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    // Cut at a character boundary, because protobuf strings must be UTF-8.
    let end = value.floor_char_boundary(LONGEST);
    let value = value.get(..end).unwrap_or_default().to_owned();
    attribute(key, Some(OtlpValue::Text(value)))
}

fn number(key: &str, value: impl TryInto<i64>) -> KeyValue {
    attribute(key, value.try_into().ok().map(OtlpValue::Number))
}

fn attribute(key: &str, value: Option<OtlpValue>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value }),
    }
}

fn nanos_of(unix_ms: i64) -> u64 {
    u64::try_from(unix_ms)
        .unwrap_or(0)
        .saturating_mul(1_000_000)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
