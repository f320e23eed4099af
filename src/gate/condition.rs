//! Evaluates the `when` condition of a route or destination on a verified event.
//!
//! Builds only the variables that the expression names: a body is not parsed for a condition on headers.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value};

use crate::criteria::json::{self, JsonFault};
use crate::criteria::when::{VARIABLES, When};
use crate::gate::event::EventParts;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::model::ids::{EventId, RouteName};
use crate::scheme::form;

/// The condition of one route or destination; `None` is always true.
pub struct Condition(Option<Arc<When>>);

impl Condition {
    /// Creates the condition from a parsed expression.
    #[must_use]
    pub fn new(when: Option<Arc<When>>) -> Self {
        Self(when)
    }

    /// Returns whether the app wants the event. Rejects an event for which the expression has no result, rather than
    /// guess.
    ///
    /// # Errors
    /// An expression that fails on this event, or a body that it cannot read.
    pub fn holds(&self, request: &EventParts, verdict: &Verdict) -> Result<bool, Reject> {
        let Some(when) = &self.0 else {
            return Ok(true);
        };
        let single = verdict.event_type.as_deref();
        // A batch passes if one of its types does. A single event has exactly one.
        for event_type in verdict.types.each(single) {
            let facts = facts(when, request, verdict, event_type)?;
            let holds = when.holds(facts);
            if holds.map_err(|fault| Reject::Unjudged { fault })? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn body(when: &When, bytes: &[u8]) -> Result<Value, Reject> {
    let value = match json::parse(bytes) {
        Ok(value) => value,
        // A form or plain text has no fields for an expression to read.
        Err(JsonFault::NotJson) => return Ok(Value::Null),
        Err(fault) => return Err(Reject::NotJson { fault }),
    };
    // A loop over a large body could take arbitrarily long.
    if !when.fits(bytes.len(), &value) {
        return Err(Reject::Unjudged {
            fault: "the body is too large for an expression with a loop".into(),
        });
    }
    Ok(value)
}

fn facts(
    when: &When,
    request: &EventParts,
    verdict: &Verdict,
    event_type: Option<&str>,
) -> Result<Vec<(&'static str, Value)>, Reject> {
    // Parsing the body is expensive, so a variable is built only if the expression reads it.
    let named = VARIABLES.into_iter().filter(|name| when.names(name));
    let values = named.map(|name| {
        let value = match name {
            "method" => request.method.as_str().into(),
            "path" => request.uri.path().into(),
            "query" => query(request)?,
            "headers" => headers(&request.headers),
            "event" => event(verdict, event_type),
            "body" => body(when, request.text())?,
            "provider" => verdict.provider.as_deref().unwrap_or_default().into(),
            "route" => verdict.route.as_ref().map_or("", RouteName::as_str).into(),
            "source" => request.source.ip.to_string().into(),
            _ => Value::Null,
        };
        Ok((name, value))
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
