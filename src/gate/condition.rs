//! Whether a verified event fulfils the condition of its route (`when`): what the expression can name is put together
//! here, and only what it does name.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use serde_json::Value;

use crate::criteria::json::{self, JsonFault};
use crate::criteria::when::{Facts, When};
use crate::gate::event::EventParts;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::scheme::form;

/// The condition of one route.
pub(super) struct Condition(Option<Arc<When>>);

impl Condition {
    pub(super) fn new(when: Option<Arc<When>>) -> Self {
        Self(when)
    }

    /// Whether the app gets the event. What cannot be judged is refused.
    pub(super) fn holds(&self, request: &EventParts, verdict: &Verdict) -> Result<bool, Reject> {
        let Some(when) = &self.0 else {
            return Ok(true);
        };
        let body = if when.names("body") {
            body(when, &request.body)?
        } else {
            Value::Null
        };
        let facts = facts(when, request, verdict)?;
        when.holds(facts, body)
            .map_err(|fault| Reject::Unjudged { fault })
    }
}

fn body(when: &When, bytes: &[u8]) -> Result<Value, Reject> {
    let value = match json::parse(bytes) {
        Ok(value) => value,
        // A form, or text: nothing that an expression could look into.
        Err(JsonFault::NotJson) => return Ok(Value::Null),
        Err(fault) => return Err(Reject::NotJson { fault }),
    };
    if !when.fits(bytes.len(), &value) {
        return Err(Reject::Unjudged {
            fault: "the body is too large for an expression with a loop".into(),
        });
    }
    Ok(value)
}

fn facts(when: &When, request: &EventParts, verdict: &Verdict) -> Result<Facts, Reject> {
    let mut facts = Facts::default();
    let route = verdict.route.as_ref().map(ToString::to_string);
    let texts = [
        ("method", request.method.to_string()),
        ("path", request.uri.path().to_owned()),
        (
            "provider",
            verdict.provider.as_deref().unwrap_or_default().to_owned(),
        ),
        ("route", route.unwrap_or_default()),
        ("source", request.source.ip.to_string()),
    ];
    facts.texts = texts
        .into_iter()
        .filter(|(name, _)| when.names(name))
        .collect();
    if when.names("headers") {
        facts.maps.push(("headers", headers(&request.headers)));
    }
    if when.names("query") {
        facts.maps.push(("query", query(request)?));
    }
    if when.names("event") {
        let id = verdict.event_id.as_ref().map(|id| id.as_str());
        let known = [
            ("id", id),
            ("type", verdict.event_type.as_deref()),
            ("version", verdict.event_version.as_deref()),
        ];
        let known = known.into_iter();
        let event = known.filter_map(|(name, text)| Some((name.to_owned(), text?.to_owned())));
        facts.maps.push(("event", event.collect()));
    }
    Ok(facts)
}

/// Values of one name are joined as RFC 9110, section 5.3, has it.
fn headers(headers: &HeaderMap) -> HashMap<String, String> {
    let mut map: HashMap<String, String> = HashMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        map.entry(name.as_str().to_owned())
            .and_modify(|before| {
                before.push_str(", ");
                before.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    map
}

fn query(request: &EventParts) -> Result<HashMap<String, String>, Reject> {
    let unjudged = |fault: &str| Reject::Unjudged {
        fault: fault.into(),
    };
    let text = request.uri.query().unwrap_or_default();
    let fields = form::fields(text.as_bytes()).map_err(unjudged)?;
    let mut map = HashMap::new();
    for (name, value) in fields {
        if map.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(unjudged("the query has a name twice"));
        }
    }
    Ok(map)
}
