//! Log line of one request: verdict, reason, evidence and outcome.
//!
//! Field names are the words of the metrics and the documentation. A line must never hold a body, a signature, a secret
//! or a query.

use std::time::Duration;

use http::StatusCode;
use tracing::Level;

use crate::criteria::schema::SchemaViolation;
use crate::gate::reject::{Reject, RejectReason};
use crate::gate::verdict::{GateDecision, Verdict};
use crate::record::exchange_summary::ExchangeSummary;
use crate::record::log::LineLogger;
use crate::record::log_line::LogLine;

/// Returns the level of a request's line: problems that the operator has to fix are warnings, faults of hookgate
/// errors.
pub(super) fn level(verdict: &Verdict, exchange: &ExchangeSummary) -> Level {
    match &verdict.decision {
        // A stored event is not lost if the first forward fails, so it needs no warning.
        GateDecision::Accepted if is_failed(exchange) && !exchange.is_stored => Level::WARN,
        GateDecision::Accepted if verdict.is_replay => Level::WARN,
        // The operator needs this token once, for setup, so it appears even if `[log] accepted` is off.
        GateDecision::Challenge if verdict.shown.is_some() => Level::WARN,
        GateDecision::Accepted
        | GateDecision::Challenge
        | GateDecision::Duplicate
        | GateDecision::Filtered(_) => Level::INFO,
        GateDecision::Monitored(_) => Level::WARN,
        GateDecision::Refused(reject) => match reject.reason() {
            // A fault of hookgate itself.
            RejectReason::Internal => Level::ERROR,
            // The operator or a third party has to fix these.
            RejectReason::KeyUnavailable
            | RejectReason::Unconfirmed
            | RejectReason::NoCurrentSecret
            | RejectReason::NotStored
            | RejectReason::Overload => Level::WARN,
            _ if reject.is_security() => Level::WARN,
            _ => Level::INFO,
        },
    }
}

/// Writes the line. `withheld` is the number of suppressed lines about the same source before it.
pub(super) fn write(
    logger: &LineLogger,
    verdict: &Verdict,
    exchange: &ExchangeSummary,
    withheld: u64,
) {
    let now = crate::model::clock::ClockReading::read();
    let level = level(verdict, exchange);
    let message = message(&verdict.decision, exchange);
    let mut line = logger.line(now, level, target(verdict), message);
    line.text("request_id", &verdict.request_id);
    if let Some(route) = &verdict.route {
        line.text("route", route);
    }
    if let Some(provider) = &verdict.provider {
        line.text("provider", provider);
    }
    let source = &verdict.source;
    line.text("source", &source.ip);
    // Behind a trusted proxy the peer is the proxy.
    if source.peer.ip().to_canonical() != source.ip {
        line.text("peer", &source.peer.ip());
    }
    line.text("verdict", &verdict.decision.word());
    if let GateDecision::Refused(reject) | GateDecision::Monitored(reject) = &verdict.decision {
        line.text("reason", &reject.code());
        line.text("check", &verdict.last_check().name());
        evidence(&mut line, reject);
    }
    if let GateDecision::Filtered(by) | GateDecision::Monitored(Reject::Filtered { by }) =
        &verdict.decision
    {
        line.text("by", &by.code());
    }
    if let Some(id) = &verdict.event_id {
        line.text("event_id", id);
    }
    if let Some(event_type) = &verdict.event_type {
        line.text("event_type", event_type);
    }
    if let Some(version) = &verdict.event_version {
        line.text("event_version", version);
    }
    if let Some(token) = &verdict.shown {
        line.text("token", token);
    }
    if let Some(secret) = &verdict.secret {
        line.text("secret", secret);
    }
    // Flags appear only where they are set, to keep common lines short.
    for (name, is_set) in [
        ("duplicate", verdict.is_copy),
        ("replayed_body", verdict.is_replay),
    ] {
        if is_set {
            line.flag(name, true);
        }
    }
    line.count("bytes", verdict.body_bytes);
    line.number("status", exchange.response_status.as_u16());
    outcome(&mut line, verdict, exchange);
    if withheld > 0 {
        line.count("withheld", withheld);
    }
    logger.write(line);
}

/// Adds the upstream's response and the time of each stage that was reached.
fn outcome(line: &mut LogLine, verdict: &Verdict, exchange: &ExchangeSummary) {
    if let Some(status) = exchange.upstream_status {
        line.number("upstream_status", status.as_u16());
    }
    if let Some((kind, error)) = &exchange.forward_error {
        line.text("forward_error", kind);
        line.message("error", error);
    }
    // The head and the total exist for every request; other stages are left out where they were not reached.
    line.count("head_us", micros(verdict.head_time()));
    let stages = [
        ("body_us", verdict.body_time()),
        ("verify_us", verdict.verify_time()),
        ("wait_us", verdict.wait_time),
        ("upstream_us", exchange.upstream_time),
        ("commit_us", verdict.commit_time()),
    ];
    for (name, time) in stages {
        if time > Duration::ZERO {
            line.count(name, micros(time));
        }
    }
    line.count("total_us", micros(exchange.total));
}

/// Adds the fields that show why the check rejected the request. `LogLine` escapes and cuts what a client wrote.
fn evidence(line: &mut LogLine, reject: &Reject) {
    match reject {
        Reject::NoRoute { host, path } => {
            line.text("host", host).text("path", path);
        }
        Reject::Method { method } => {
            line.text("method", method);
        }
        Reject::ContentType { found } => {
            line.text("found", found);
        }
        Reject::Framing(fault) => {
            line.text("fault", &fault.code());
        }
        Reject::BodyTooLarge { limit } => {
            line.count("limit", u64::try_from(*limit).unwrap_or(u64::MAX));
        }
        Reject::SourceNotAllowed { ip } => {
            line.text("address", ip);
        }
        Reject::UserNotAllowed { user } => {
            line.number("user", *user);
        }
        Reject::SourceRate { retry_after }
        | Reject::SourceBudget { retry_after }
        | Reject::RouteRate { retry_after } => {
            line.count("retry_after_ms", millis(*retry_after));
        }
        Reject::ClientCertInvalid { fault } | Reject::ClientCertUnchecked { fault } => {
            line.text("fault", fault);
        }
        Reject::ClientCertNotAllowed {
            subject,
            fingerprint,
        } => {
            line.text("subject", subject)
                .text("fingerprint", fingerprint);
        }
        Reject::MissingMaterial { name } => {
            line.text("name", name);
        }
        Reject::MalformedMaterial { name, fault } => {
            line.text("name", name).text("fault", fault);
        }
        Reject::StaleTimestamp {
            age_seconds,
            tolerance,
        } => {
            line.number("age_seconds", *age_seconds);
            line.count("tolerance_seconds", tolerance.as_secs());
        }
        Reject::Unjudged { fault } => {
            line.message("fault", fault);
        }
        Reject::NotJson { fault } => {
            line.text("fault", fault);
        }
        Reject::Schema { misfits } => {
            let locations: Vec<_> = misfits.iter().map(SchemaViolation::to_string).collect();
            line.message("misfits", &locations.join("; "));
        }
        Reject::Identity { fault } => {
            line.text("fault", fault);
        }
        Reject::NotStored { fault } | Reject::MalformedEvent { fault } => {
            line.message("fault", fault);
        }
        Reject::KeyUnavailable { fault } | Reject::Unconfirmed { fault } => {
            line.text("fault", fault);
        }
        Reject::FirstFailed { status } | Reject::Duplicate { status } => {
            line.number("first_status", status.as_u16());
        }
        Reject::BodyTimeout
        | Reject::BodyAborted
        | Reject::BadSignature
        | Reject::NoCurrentSecret
        | Reject::WrongTenant
        | Reject::MissingId
        | Reject::MissingType
        | Reject::MissingVersion
        | Reject::Filtered { .. }
        | Reject::Replayed
        | Reject::InFlight
        | Reject::ClientCertMissing
        | Reject::ClientCertRevoked
        | Reject::Overload
        | Reject::Internal => {}
    }
}

/// Returns the message of the line: the verdict in plain words.
fn message(decision: &GateDecision, exchange: &ExchangeSummary) -> &'static str {
    match decision {
        GateDecision::Accepted if exchange.is_stored => "event stored",
        GateDecision::Accepted if is_failed(exchange) => "event not accepted by the app",
        GateDecision::Accepted => "event forwarded",
        GateDecision::Challenge => "URL verification challenge answered",
        GateDecision::Duplicate => "duplicate answered",
        GateDecision::Filtered(_) => "event filtered",
        GateDecision::Refused(_) => "request refused",
        GateDecision::Monitored(_) => "request forwarded in monitor mode although a check failed",
    }
}

/// Returns the log target; security events have one of their own, so that operators can filter and alert on them.
fn target(verdict: &Verdict) -> &'static str {
    match &verdict.decision {
        GateDecision::Accepted if verdict.is_replay => "security",
        GateDecision::Refused(reject) | GateDecision::Monitored(reject) if reject.is_security() => {
            "security"
        }
        _ => "request",
    }
}

/// Returns true if forwarding failed or the upstream's response is not a success.
fn is_failed(exchange: &ExchangeSummary) -> bool {
    exchange.forward_error.is_some()
        || exchange
            .upstream_status
            .is_some_and(|status| !is_taken(status))
}

/// Returns true if a response with this status means that the upstream accepted the event.
fn is_taken(status: StatusCode) -> bool {
    status.is_success()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
