//! The built-in payloads: `payloads/PROVIDER/NAME.http`, each a request file with placeholders.
//!
//! `# type:` is the event type as the provider names it, and `# about:` describes the event. The headers are those that
//! the provider sends in addition to those of the scheme. White space in JSON is removed, as providers send it.

use crate::net::request_file::{RequestFile, RequestFileError};
use crate::testing::placeholders::fill;

static FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/payload_files.rs"));

/// Built-in payload of a provider.
#[derive(Clone, Copy, Debug)]
pub struct SamplePayload {
    /// Id of the provider that sends it.
    pub provider: &'static str,
    /// Event type, as the provider names it.
    pub event_type: &'static str,
    /// Short description of the event.
    pub about: &'static str,
    text: &'static str,
}

impl SamplePayload {
    /// Makes a new event with this time and fresh ids, but does not sign it.
    ///
    /// # Errors
    /// The file is not a request file, which a test rules out for the built-in payloads.
    pub fn event(&self, unix_ms: i64) -> Result<RequestFile, RequestFileError> {
        let filled = fill(self.text, unix_ms);
        let mut request = RequestFile::parse(filled.as_bytes())?;
        // The comments describe the payload, not the event.
        request.comments.clear();
        let is_json = request.header("content-type");
        let is_json = is_json.is_some_and(|value| value.starts_with("application/json"));
        // The line end at the end of the file is not part of the body.
        let body = request.body.strip_suffix(b"\n").unwrap_or(&request.body);
        request.body = match is_json {
            true => without_breaks(body).into(),
            false => body.to_vec().into(),
        };
        Ok(request)
    }
}

/// Returns all payloads, sorted by provider.
pub fn all() -> impl Iterator<Item = SamplePayload> {
    FILES.iter().map(|(provider, text)| {
        let fact = |name: &str| {
            let mut lines = text.lines().take_while(|line| line.starts_with('#'));
            lines.find_map(|line| line.strip_prefix(name)).unwrap_or("")
        };
        SamplePayload {
            provider,
            event_type: fact("# type: "),
            about: fact("# about: "),
            text,
        }
    })
}

/// Returns the payloads of one provider.
pub fn of(provider: &str) -> impl Iterator<Item = SamplePayload> {
    all().filter(move |payload| payload.provider == provider)
}

/// Removes the white space between JSON tokens, but not inside strings.
fn without_breaks(json: &[u8]) -> Vec<u8> {
    let mut bare = Vec::with_capacity(json.len());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for byte in json.iter().copied() {
        if is_quoted {
            // A quote ends a string only if no backslash escapes it, and an escaped backslash escapes nothing.
            is_quoted = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            is_quoted = byte == b'"';
        }
        bare.push(byte);
    }
    bare
}

#[cfg(test)]
mod tests {
    use hookgate_verify::providers;

    use super::*;

    #[test]
    fn white_space_goes_but_not_in_text() {
        let bare = without_breaks(b"{ \"a b\" : \"c \\\" d\\\\\" ,\n \"e\": [ 1 ] }");
        assert_eq!(bare, b"{\"a b\":\"c \\\" d\\\\\",\"e\":[1]}");
    }

    // Fails when a file has no type, an unknown placeholder, or invalid JSON.
    #[test]
    fn every_payload_is_complete() {
        let mut count = 0;
        for payload in all() {
            let name = format!("{} {}", payload.provider, payload.event_type);
            assert!(providers::find(payload.provider).is_some(), "{name}");
            assert!(
                !payload.event_type.is_empty() && !payload.about.is_empty(),
                "{name}"
            );
            let event = payload.event(1_700_000_000_000).unwrap();
            let text = String::from_utf8(event.to_bytes().unwrap()).unwrap();
            assert!(!text.contains("{{"), "{name}: {text}");
            if event
                .header("content-type")
                .unwrap()
                .starts_with("application/json")
            {
                let read: Result<serde_json::Value, _> = serde_json::from_slice(&event.body);
                assert!(read.is_ok(), "{name}: {text}");
            }
            assert_ne!(event.body, payload.event(1_700_000_000_000).unwrap().body);
            count += 1;
        }
        assert!(count > 40, "{count}");
    }
}
