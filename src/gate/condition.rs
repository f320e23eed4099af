//! Evaluates the `when` condition of a route or destination on a verified event.
//!
//! Builds only the variables that the expression names: a body is not parsed for a condition on headers.

use std::borrow::Cow;
use std::sync::Arc;

use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::scheme::form;
use http::HeaderMap;
use serde_json::{Map, Value};

use crate::criteria::body::JsonBody;
use crate::criteria::json::JsonFault;
use crate::criteria::when::{VARIABLES, WhenExpression};
use crate::gate::event::{Event, EventParts};
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::model::ids::RouteName;

/// The condition of one route or destination; `None` is always true.
pub(crate) struct EventCondition(Option<Arc<WhenExpression>>);

impl EventCondition {
    /// Creates the condition from a parsed expression.
    pub(crate) fn new(when: Option<Arc<WhenExpression>>) -> Self {
        Self(when)
    }

    /// Returns whether a destination wants the event. `body` is that of the event.
    ///
    /// # Errors
    /// As for the condition of a route: an expression that fails on this event, or a body that it cannot read.
    pub(crate) fn holds_for(
        &self,
        event: &Event,
        verdict: &Verdict,
        body: &JsonBody<'_>,
    ) -> Result<bool, Reject> {
        self.holds(&event.parts, verdict, body)
    }

    /// Returns whether the app wants the event. `body` is that of the request. Rejects an event for which the expression has
    /// no result, rather than guess.
    ///
    /// # Errors
    /// An expression that fails on this event, or a body that it cannot read.
    pub(super) fn holds(
        &self,
        request: &EventParts,
        verdict: &Verdict,
        body: &JsonBody<'_>,
    ) -> Result<bool, Reject> {
        let Some(when) = &self.0 else {
            return Ok(true);
        };
        let unjudged = |fault| Reject::Unjudged { fault };
        let facts = facts(when, request, verdict, body)?;
        let mut evaluation = when.evaluation(facts).map_err(unjudged)?;
        let single = verdict.event_type.as_deref();
        // A batch passes if one of its types does. A single event has exactly one. Only `event` differs between them.
        for event_type in verdict.types.each(single) {
            if when.names(EVENT) {
                let event = event(verdict, event_type);
                evaluation.set(EVENT, &event).map_err(unjudged)?;
            }
            if evaluation.holds().map_err(unjudged)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The variable that differs between the events of one batch.
const EVENT: &str = "event";

fn body_fact<'b>(when: &WhenExpression, body: &'b JsonBody<'_>) -> Result<Cow<'b, Value>, Reject> {
    let value = match body.value() {
        Ok(value) => value,
        // A form or plain text has no fields for an expression to read.
        Err(JsonFault::NotJson) => return Ok(Cow::Owned(Value::Null)),
        Err(fault) => return Err(Reject::NotJson { fault }),
    };
    // A loop over a large body could take arbitrarily long.
    if !when.fits(body.size(), value) {
        return Err(Reject::Unjudged {
            fault: "the body is too large for an expression with a loop".into(),
        });
    }
    Ok(Cow::Borrowed(value))
}

type Fact<'b> = (&'static str, Cow<'b, Value>);

/// Returns the variables that the expression names, but for `event`.
fn facts<'b>(
    when: &WhenExpression,
    request: &EventParts,
    verdict: &Verdict,
    body: &'b JsonBody<'_>,
) -> Result<Vec<Fact<'b>>, Reject> {
    // Parsing the body is expensive, so a variable is built only if the expression reads it.
    let named = VARIABLES.into_iter();
    let named = named.filter(|name| *name != EVENT && when.names(name));
    let values = named.map(|name| {
        let value: Value = match name {
            "body" => return Ok((name, body_fact(when, body)?)),
            "method" => request.method.as_str().into(),
            "path" => request.uri.path().into(),
            "query" => query(request)?,
            "headers" => headers(&request.headers),
            "provider" => verdict.provider.as_deref().unwrap_or_default().into(),
            "route" => verdict.route.as_ref().map_or("", RouteName::as_str).into(),
            "source" => request.source.ip.to_string().into(),
            _ => Value::Null,
        };
        Ok((name, Cow::Owned(value)))
    });
    values.collect()
}

/// Builds the `event` variable. Unknown fields are left out, so that `has` works on them.
fn event(verdict: &Verdict, event_type: Option<&str>) -> Value {
    let known = [
        ("id", verdict.event_id.as_ref().map(EventId::as_str)),
        ("type", event_type),
        ("version", verdict.event_version.as_deref()),
    ];
    let known = known.into_iter();
    known
        .filter_map(|(name, text)| Some((name, text?)))
        .collect()
}

/// Builds the `headers` variable. Values of one name are joined with a comma (RFC 9110, section 5.3).
fn headers(headers: &HeaderMap) -> Value {
    let joined = headers.keys().map(|name| {
        let values = headers.get_all(name).iter();
        let texts: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (name.as_str(), texts.join(", "))
    });
    joined.collect()
}

fn query(request: &EventParts) -> Result<Value, Reject> {
    let unjudged = |fault: &str| Reject::Unjudged {
        fault: fault.into(),
    };
    let text = request.uri.query().unwrap_or_default();
    let fields = form::fields(text.as_bytes()).map_err(unjudged)?;
    let mut map = Map::new();
    for (name, value) in fields {
        // The app may read either value, so the condition must not pick one.
        if map.insert(name.into_owned(), value.into()).is_some() {
            return Err(unjudged("a parameter name occurs twice in the query"));
        }
    }
    Ok(map.into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hookgate_verify::identity::batch::BatchReader;
    use hookgate_verify::scheme::spec::BatchSpec;
    use http::{Method, Uri};

    use super::*;
    use crate::criteria::json::PARSED;
    use crate::model::clock::ClockReading;
    use crate::model::ids::RequestId;
    use crate::model::source::RequestSource;
    use crate::net::event_headers::EventMarks;

    const BATCH: &str = r#"[{"type":"a","n":1},{"type":"b","n":2},{"type":"c","n":3}]"#;

    fn request(source: RequestSource) -> EventParts {
        EventParts {
            method: Method::POST,
            uri: Uri::from_static("/hook"),
            headers: HeaderMap::new(),
            body: Bytes::from_static(BATCH.as_bytes()),
            plain: None,
            own_names: None,
            source,
            event_id: None,
            event_type: None,
            digest: [0; 32],
            marks: EventMarks::default(),
        }
    }

    fn condition(text: &str) -> EventCondition {
        EventCondition::new(Some(Arc::new(WhenExpression::compile(text).unwrap())))
    }

    /// Fails when a batch is parsed once for each of its types, or once for each condition; and when a type is judged by the
    /// `event` of another.
    #[test]
    fn the_body_of_a_batch_is_parsed_once() {
        let source = RequestSource {
            ip: [192, 0, 2, 1].into(),
            peer: ([192, 0, 2, 1], 4711).into(),
            is_tls: true,
        };
        let request = request(source);
        let mut verdict = Verdict::new(RequestId::new(0, [0; 10]), source, ClockReading::read());
        let steps = |step: &str| vec![step.to_owned()];
        let spec = BatchSpec {
            elements: steps("*"),
            event_type: Some(steps("type")),
        };
        verdict.types = BatchReader::new(&spec).unwrap().types(BATCH.as_bytes());
        let before = PARSED.get();
        let body = JsonBody::new(request.text());
        for (text, expected) in [
            (r#"body.size() == 3 && event.type == "c""#, true),
            (r#"body[0].n == 1 && event.type == "d""#, false),
            ("body.exists(item, item.n == 2)", true),
        ] {
            let held = condition(text).holds(&request, &verdict, &body);
            assert_eq!(held.ok(), Some(expected), "{text}");
        }
        assert_eq!(PARSED.get() - before, 1);
    }
}
