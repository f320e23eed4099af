//! Criteria for the content of events, which no index knows and which may be encrypted.

use hookgate_verify::net::redact;
use http::header;
use memchr::memmem::Finder;
use serde_json::Value;
use url::form_urlencoded;

use crate::store::rows::StoredEvent;

/// A criterion for the content of an event.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum ContentCriterion {
    /// A text in body, type, ids or target, ignoring case.
    Text(String),
    /// A value at a location of the body.
    Field(BodyField),
}

/// A value at a location of the body: a JSON pointer, or `/name` for a field of a form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BodyField {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// The value as text: a string without quotes, a number or a boolean as JSON has it.
    pub value: String,
}

/// A criterion that was prepared for many events.
pub(in crate::store) enum ContentMatcher {
    Text(Box<Finder<'static>>),
    Field(BodyField),
}

impl ContentMatcher {
    pub(in crate::store) fn new(criterion: &ContentCriterion) -> Self {
        match criterion {
            ContentCriterion::Text(text) => {
                let finder = Finder::new(&text.to_ascii_lowercase()).into_owned();
                Self::Text(Box::new(finder))
            }
            ContentCriterion::Field(field) => Self::Field(field.clone()),
        }
    }

    /// Returns whether the content of an event meets the criterion.
    pub(in crate::store) fn is_met(&self, event: &StoredEvent) -> bool {
        match self {
            Self::Text(finder) => contains(finder, event),
            Self::Field(field) => field.is_in(event),
        }
    }
}

fn contains(finder: &Finder<'_>, event: &StoredEvent) -> bool {
    let is_in = |bytes: &[u8]| finder.find(&bytes.to_ascii_lowercase()).is_some();
    let event_id = event.event_id.as_ref().map(ToString::to_string);
    is_in(event.body.as_deref().unwrap_or_default())
        || is_in(event.event_type.as_deref().unwrap_or_default().as_bytes())
        || is_in(event_id.as_deref().unwrap_or_default().as_bytes())
        || is_in(event.webhook_id.as_bytes())
        // Tokens in the target are masked, because a person who may search could find them letter by letter.
        || is_in(redact::target(&event.target).as_bytes())
}

impl BodyField {
    fn is_in(&self, event: &StoredEvent) -> bool {
        let kind = event.headers.get(header::CONTENT_TYPE);
        let kind = kind.map_or(&b""[..], |kind| kind.as_bytes());
        self.is_in_body(event.body.as_deref().unwrap_or_default(), kind)
    }

    /// Returns whether a body of a media type has the value at the location.
    pub(crate) fn is_in_body(&self, body: &[u8], media_type: &[u8]) -> bool {
        if media_type.starts_with(b"application/x-www-form-urlencoded") {
            // The pointer of a field is its name behind a slash, with the escapes of JSON pointers.
            let name = self.pointer.strip_prefix('/').unwrap_or_default();
            let name = name.replace("~1", "/").replace("~0", "~");
            return form_urlencoded::parse(body)
                .any(|(key, value)| key == name && value == self.value.as_str());
        }
        // Most bodies lack the value altogether, and a search of bytes costs far less than parsing. Only text that JSON
        // would escape may look different in the body.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b" @._-+".contains(&byte);
        if self.value.bytes().all(is_plain)
            && !body.contains(&b'\\')
            && memchr::memmem::find(body, self.value.as_bytes()).is_none()
        {
            return false;
        }
        let Ok(document) = serde_json::from_slice::<Value>(body) else {
            return false;
        };
        match document.pointer(&self.pointer) {
            Some(Value::String(text)) => *text == self.value,
            Some(Value::Number(number)) => number.to_string() == self.value,
            Some(Value::Bool(flag)) => flag.to_string() == self.value,
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a value at another location counts, when an escaped one is missed, or when a form is not read.
    #[test]
    fn a_field_is_found_at_its_location_only() {
        let is_in = |pointer: &str, value: &str, body: &str, kind: &str| {
            let field = BodyField {
                pointer: pointer.to_owned(),
                value: value.to_owned(),
            };
            field.is_in_body(body.as_bytes(), kind.as_bytes())
        };
        let json = "application/json";
        let body =
            r#"{"customer":{"email":"ann@example.com","id":17,"vip":true},"to":"bob@example.com"}"#;
        for (pointer, value, expected) in [
            ("/customer/email", "ann@example.com", true),
            ("/customer/email", "nn@example.com", false),
            ("/customer/email", "Ann@example.com", false),
            ("/to", "ann@example.com", false),
            ("/customer/id", "17", true),
            ("/customer/vip", "true", true),
            ("/customer", "", false),
            ("", "ann@example.com", false),
            ("/missing", "ann@example.com", false),
        ] {
            assert_eq!(
                is_in(pointer, value, body, json),
                expected,
                "{pointer} {value}"
            );
        }
        assert!(is_in(
            "/a",
            "ann@example.com",
            r#"{"a":"\u0061nn@example.com"}"#,
            json
        ));
        assert!(is_in("/a", "say \"hi\"", r#"{"a":"say \"hi\""}"#, json));
        assert!(!is_in("/a", "x", "{\"a\":\"x\"", json));
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        assert!(is_in("/From", "+1 555", "To=1&From=%2B1+555", form));
        assert!(is_in("/a~1b", "x", "a%2Fb=x", form));
        assert!(!is_in("/To", "+1 555", "To=1&From=%2B1+555", form));
    }
}
