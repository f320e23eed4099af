//! A provider's URL check, answered by the gate.
//!
//! Slack signs its check like any other request, so it is answered only once the signature has passed: nobody else can
//! have text of their choice sent back from this host.

use bytes::Bytes;
use http::{HeaderValue, Method, header};

use crate::net::answer::{Answer, AnswerBody};
use crate::providers::challenge::Challenge;
use crate::scheme::pick::{Picked, Picker};

/// Bytes of a challenge's body; Slack's have a few hundred.
const MAX_BODY: usize = 16 * 1024;

/// Characters of the text that goes back.
const MAX_TEXT: usize = 4096;

/// The answer to a provider's URL check, where this verified request is one. Anything else goes its usual way.
#[must_use]
pub fn answer(challenge: Challenge, method: &Method, body: &[u8]) -> Option<Answer> {
    match challenge {
        Challenge::Slack => slack(method, body).map(text),
        _ => None,
    }
}

/// `{"type": "url_verification", "challenge": TEXT, ...}`.
fn slack(method: &Method, body: &[u8]) -> Option<String> {
    const TYPE: &str = "url_verification";
    if method != Method::POST || body.len() > MAX_BODY {
        return None;
    }
    // Ordinary events are not parsed for it.
    if !std::str::from_utf8(body).ok()?.contains(TYPE) {
        return None;
    }
    let pointers = ["type", "challenge"].map(|key| [key.to_owned()]);
    let picker = Picker::new(pointers.iter().map(<[String; 1]>::as_slice));
    match picker.pick(body).ok()?.as_slice() {
        [Picked::Text(kind), Picked::Text(text)] if kind == TYPE => {
            let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            let is_fit = (1..=MAX_TEXT).contains(&text.len()) && is_printable;
            is_fit.then(|| text.as_ref().to_owned())
        }
        _ => None,
    }
}

fn text(text: String) -> Answer {
    let mut answer = Answer::new(AnswerBody::whole(Bytes::from(text)));
    let headers = answer.headers_mut();
    let mut put = |name, value| headers.insert(name, HeaderValue::from_static(value));
    put(header::CONTENT_TYPE, "text/plain; charset=utf-8");
    // No browser is to take the text for something that runs.
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::CACHE_CONTROL, "no-store");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, body: &str) -> Option<Answer> {
        answer(Challenge::Slack, method, body.as_bytes())
    }

    #[test]
    fn slacks_check_gets_its_text_back() {
        let body =
            r#"{"token":"t","challenge":"3eZbrw1aB10FEMAGAZd4FyFQ","type":"url_verification"}"#;
        let answer = check(&Method::POST, body).unwrap();
        assert_eq!(answer.status(), http::StatusCode::OK);
        let headers = answer.headers();
        assert_eq!(headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let AnswerBody::Whole(Some(text)) = answer.into_body() else {
            panic!("the text is our own");
        };
        assert_eq!(text, "3eZbrw1aB10FEMAGAZd4FyFQ");
        assert!(check(&Method::GET, body).is_none());
    }

    #[test]
    fn everything_else_goes_its_way() {
        let long = format!(
            r#"{{"type":"url_verification","challenge":"{}"}}"#,
            "x".repeat(4097)
        );
        for body in [
            "",
            "url_verification",
            r#"{"type":"event_callback","challenge":"x","text":"url_verification"}"#,
            r#"{"type":"url_verification"}"#,
            r#"{"type":"url_verification","challenge":""}"#,
            r#"{"type":"url_verification","challenge":{}}"#,
            r#"{"type":"url_verification","challenge":"a\r\nb"}"#,
            r#"{"type":"url_verification","challenge":"a","challenge":"b"}"#,
            r#"{"type":"event_callback","type":"url_verification","challenge":"a"}"#,
            r#"{"event":{"type":"url_verification","challenge":"a"}}"#,
            &long,
        ] {
            assert!(check(&Method::POST, body).is_none(), "{body}");
        }
    }
}
