//! Generates minimal events, for providers without payloads and for custom schemes.

use bytes::Bytes;
use hookgate_verify::scheme::spec::{
    FieldLocation, RequirementRule, SchemeFamily, SchemeLocation, SchemeSpec, TemplatePart,
    TimeUnit, TimestampSpec,
};
use http::{HeaderName, Method};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::net::request_file::RequestFile;
use crate::testing::placeholders;

/// Highest index of a list that `put` extends; the entries before it are null.
const MAX_INDEX: usize = 16;

/// Generates an event with only the values that the scheme reads: id, type, time, and the signed values.
pub(super) fn least(spec: &SchemeSpec, event_type: Option<&str>, unix_ms: i64) -> RequestFile {
    let mut shape = BodyShape {
        request: RequestFile::new(Method::POST, "/", Bytes::new()),
        json: Value::Object(Map::new()),
        form: Vec::new(),
    };
    // The signed values first: id, type and time may be among them and replace their sample text.
    shape.fill_signed(spec);
    if let Some(field) = spec.event_id.first() {
        shape.put(field, placeholders::uuid().into());
    }
    if let Some(field) = spec.event_type.first() {
        shape.put(field, event_type.unwrap_or("test.event").into());
    }
    if let Some(time) = timestamp(spec) {
        shape.put_location(&time.location, time_value(time.unit, unix_ms));
    }
    shape.finish(spec)
}

/// Sets a value at a JSON pointer (RFC 6901) and creates missing parents. Returns false if the path leads through a
/// value that is neither an object nor an array.
pub(super) fn put(document: &mut Value, pointer: &[String], value: Value) -> bool {
    let Some((first, rest)) = pointer.split_first() else {
        *document = value;
        return true;
    };
    let index = first
        .parse::<usize>()
        .ok()
        .filter(|index| *index <= MAX_INDEX);
    // A number in the path means an array only where no object with keys exists yet.
    if index.is_some() && (document.is_null() || document.as_object().is_some_and(Map::is_empty)) {
        *document = Value::Array(Vec::new());
    }
    if document.is_null() {
        *document = Value::Object(Map::new());
    }
    match document {
        Value::Object(fields) => {
            let field = fields.entry(first.as_str()).or_insert(Value::Null);
            put(field, rest, value)
        }
        Value::Array(items) => {
            let Some(index) = index else { return false };
            while items.len() <= index {
                items.push(Value::Null);
            }
            items
                .get_mut(index)
                .is_some_and(|item| put(item, rest, value))
        }
        _ => false,
    }
}

struct BodyShape {
    request: RequestFile,
    json: Value,
    form: Vec<(String, String)>,
}

impl BodyShape {
    /// Adds sample values for the signed text and for the conditions of the scheme.
    fn fill_signed(&mut self, spec: &SchemeSpec) {
        // Paths in the body that are signed or required need some value, or signing fails.
        for pointer in spec.pointers() {
            put(&mut self.json, &pointer, "test".into());
        }
        let mut parts = Vec::new();
        if let Some(template) = spec.template() {
            template.visit(&mut |part| parts.push(part.clone()));
        }
        for part in parts {
            match part {
                TemplatePart::Header(name) | TemplatePart::LowerHeader(name) => {
                    self.header(name.as_str(), "test");
                }
                TemplatePart::ListedHeaders(name) => self.header(name.as_str(), &listed(spec)),
                TemplatePart::Form(name) => self.form.push((name, "test".to_owned())),
                TemplatePart::FormSorted => self.form.push(("test".to_owned(), "1".to_owned())),
                TemplatePart::Query(name) | TemplatePart::LowerQuery(name) => {
                    self.put(&FieldLocation::Query(name), "test".into())
                }
                _ => {}
            }
        }
        if let SchemeFamily::Text(family) = &spec.family {
            for one in &family.require {
                // The other rules forbid a value, which a minimal event does not have.
                if let RequirementRule::Is(text) = &one.rule {
                    self.put_location(&one.location, text.as_str().into());
                }
            }
        }
    }

    fn put(&mut self, field: &FieldLocation, value: Value) {
        let text = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match field {
            FieldLocation::Header(name) => self.header(name.as_str(), &text),
            FieldLocation::Json(pointer) => {
                put(&mut self.json, pointer, value);
            }
            FieldLocation::Form(name) => {
                // A field that appears twice is ambiguous, and the gate rejects it.
                self.form.retain(|(found, _)| found != name);
                self.form.push((name.clone(), text));
            }
            FieldLocation::Query(name) => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair(name, &text);
                let mark = if self.request.target.contains('?') {
                    '&'
                } else {
                    '?'
                };
                self.request.target = format!("{}{mark}{}", self.request.target, query.finish());
            }
            FieldLocation::FormJson(name, pointer) => self.put_form_json(name, pointer, value),
            // Only the provider can sign a token.
            FieldLocation::Claim(_) => {}
        }
    }

    /// Sets a value in the JSON text of a form field, and keeps the members that it already has.
    fn put_form_json(&mut self, name: &str, pointer: &[String], value: Value) {
        let held = self.form.iter().find(|(found, _)| found == name);
        let held = held.and_then(|(_, text)| serde_json::from_str::<Value>(text).ok());
        let mut json = held
            .filter(Value::is_object)
            .unwrap_or_else(|| Value::Object(Default::default()));
        put(&mut json, pointer, value);
        self.put(
            &FieldLocation::Form(name.to_owned()),
            json.to_string().into(),
        );
    }

    fn put_location(&mut self, place: &SchemeLocation, value: Value) {
        match place {
            SchemeLocation::Header(name) => self.put(&FieldLocation::Header(name.clone()), value),
            SchemeLocation::Query(name) => self.put(&FieldLocation::Query(name.clone()), value),
            SchemeLocation::Form(name) => self.put(&FieldLocation::Form(name.clone()), value),
            SchemeLocation::Json(pointer) => self.put(&FieldLocation::Json(pointer.clone()), value),
        }
    }

    fn header(&mut self, name: &str, value: &str) {
        self.request.set_header(name, value);
    }

    fn finish(mut self, spec: &SchemeSpec) -> RequestFile {
        // A form takes precedence: a scheme that reads form fields cannot read a JSON body.
        let content_type = match self.form.is_empty() {
            true => "application/json",
            false => "application/x-www-form-urlencoded",
        };
        self.request.set_header("content-type", content_type);
        if !self.form.is_empty() {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(&self.form);
            self.request.body = form.finish().into();
            return self.request;
        }
        // Two empty bodies would be the same bytes, and the second one a replay for the gate.
        if self.json.as_object().is_some_and(Map::is_empty) && spec.event_type.is_empty() {
            put(
                &mut self.json,
                &["test".to_owned()],
                placeholders::uuid().into(),
            );
        }
        self.request.body = self.json.to_string().into();
        self.request
    }
}

/// Lists the headers that the scheme reads, except its signature.
fn listed(spec: &SchemeSpec) -> String {
    let signatures = match &spec.family {
        SchemeFamily::Text(family) => family.signatures.as_slice(),
        _ => &[],
    };
    let is_signature = |name: &HeaderName| {
        let mut places = signatures.iter().map(|one| &one.location);
        places.any(|place| *place == SchemeLocation::Header(name.clone()))
    };
    let mut names = spec.headers();
    names.retain(|name| !is_signature(name));
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    names.join(",")
}

/// Returns the timestamp if it is in the body. A timestamp in the head is written when the event is signed.
fn timestamp(spec: &SchemeSpec) -> Option<&TimestampSpec> {
    let time = match &spec.family {
        SchemeFamily::Hmac(family) => family.timestamp.as_ref(),
        SchemeFamily::Text(family) => family.timestamp.as_ref(),
        _ => None,
    };
    time.filter(|time| !time.location.is_in_head())
}

fn time_value(unit: TimeUnit, unix_ms: i64) -> Value {
    match unit {
        TimeUnit::Seconds => (unix_ms / 1000).into(),
        TimeUnit::Millis | TimeUnit::SecondsOrMillis => unix_ms.into(),
        TimeUnit::Rfc3339 | TimeUnit::HttpDate => placeholders::fill("{{iso}}", unix_ms).into(),
    }
}
