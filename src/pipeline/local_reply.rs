//! The detailed responses to own apps, and the options that they set for an event.

use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::document::value::parse_duration;
use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::scheme::standard_webhooks::message_id;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::gate::dedup::Claim;
use crate::gate::event::Event;
use crate::gate::reject::Reject;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::inbox::{AcceptOptions, AcceptOutcome};
use crate::net::response::{HttpResponse, ResponseBody};
use crate::pipeline::acceptance::DurableAcceptance;
use crate::pipeline::exchange::UpstreamExchange;

pub(super) const DELAY: HeaderName = HeaderName::from_static("hookgate-delay");
pub(super) const PRIORITY: HeaderName = HeaderName::from_static("hookgate-priority");

/// Longest delay. It is longer than any retry schedule; later events belong in a calendar.
const MAX_DELAY: Duration = Duration::from_secs(366 * 24 * 3600);

/// The part of the response about one event.
pub(super) struct AcceptReply {
    pub(super) value: Value,
    pub(super) accepted: AcceptOutcome,
}

pub(super) fn accept_reply(
    accepted: &AcceptOutcome,
    verdict: &Verdict,
    event: &Event,
) -> AcceptReply {
    let id = event.id().map(EventId::as_str);
    let mut value = json!({
        "id": verdict.request_id.to_string(),
        "webhook_id": message_id(id, event.digest()),
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
        // Only for its log line and counters: the response below has more detail.
        drop(self.refuse_event(claim, &reject));
        answer(reject.status(), &json!({ "error": fault }))
    }

    pub(super) fn push_reply(&mut self, keeping: &DurableAcceptance, stored: &[AcceptReply]) {
        let is_new = self.wake(keeping, stored);
        if !is_new {
            self.verdict.decision = GateDecision::Duplicate;
        }
        self.report(|exchange| exchange.is_stored = is_new);
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

/// Parses the options of one event.
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

pub(super) fn answer(status: StatusCode, value: &Value) -> HttpResponse {
    let mut answer = HttpResponse::new(ResponseBody::whole(Bytes::from(value.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}
