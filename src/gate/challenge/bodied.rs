//! Responses to URL checks that are unsigned and recognized by their body.
//!
//! Only a request without any signature is considered, and only a small body of exactly one form, which no event has.

use hookgate_verify::providers::challenge::ProviderChallenge;
use hookgate_verify::scheme::{RequestHead, form};
use http::Method;
use serde_json::Value;

use crate::criteria::json;
use crate::gate::challenge::response::{MAX_BODY, empty, fit, json_answer};
use crate::gate::challenge::unsigned::ChallengeMaterial;
use crate::gate::reject::Reject;
use crate::net::response::HttpResponse;

/// Limit of Slack's verification token in characters; it has 24.
const MAX_TOKEN: usize = 64;

/// Returns whether the provider sends URL checks in bodies that it does not sign.
pub(in crate::gate) fn is_in_body(challenge: ProviderChallenge) -> bool {
    matches!(
        challenge,
        ProviderChallenge::Monday
            | ProviderChallenge::Lark
            | ProviderChallenge::WooCommerce
            | ProviderChallenge::Notion
            | ProviderChallenge::Slack
            | ProviderChallenge::BitbucketPing
    )
}

/// Returns the response to an unsigned URL check in a body, or `None` if the request is not one.
///
/// # Errors
/// A check whose token does not match.
pub(in crate::gate) fn answer(
    challenge: ProviderChallenge,
    head: &RequestHead<'_>,
    body: &[u8],
    means: &ChallengeMaterial<'_>,
) -> Option<Result<HttpResponse, Reject>> {
    // Monitor mode reads larger bodies, to forward them. They are too large for a check and are not parsed for one.
    if head.method != Method::POST || body.len() > MAX_BODY {
        return None;
    }
    match challenge {
        ProviderChallenge::Monday => monday(body).map(Ok),
        ProviderChallenge::Lark => lark(body, means),
        ProviderChallenge::WooCommerce => {
            let id = body.strip_prefix(b"webhook_id=")?;
            let is_id = (1..=20).contains(&id.len()) && id.iter().all(u8::is_ascii_digit);
            is_id.then(|| Ok(empty()))
        }
        ProviderChallenge::Notion => notion_token(body).map(|_| Ok(empty())),
        ProviderChallenge::Slack => is_ssl_check(head, body).then(|| Ok(empty())),
        ProviderChallenge::BitbucketPing => is_connection_test(head, body).then(|| Ok(empty())),
        _ => None,
    }
}

/// Returns the response to monday.com's check, which may be signed or unsigned.
pub(in crate::gate) fn monday(body: &[u8]) -> Option<HttpResponse> {
    only_text(body, "challenge").map(|text| echo(&text))
}

/// Returns the text that Notion sends once, and that is the secret from then on.
pub(in crate::gate) fn notion_token(body: &[u8]) -> Option<String> {
    only_text(body, "verification_token")
}

/// Returns whether this is Slack's test of the certificate: a form with `ssl_check=1`, optionally a `token`, and
/// nothing else.
fn is_ssl_check(head: &RequestHead<'_>, body: &[u8]) -> bool {
    let Ok(fields) = form::fields(body) else {
        return false;
    };
    let token = |byte: u8| byte.is_ascii_alphanumeric();
    let is_own = |name: &str, value: &str| match name {
        "ssl_check" => value == "1",
        "token" => value.len() <= MAX_TOKEN && value.bytes().all(token),
        _ => false,
    };
    form::is_form(head.headers)
        && fields.iter().all(|(name, value)| is_own(name, value))
        && form::one(&fields, "ssl_check").is_ok_and(|found| found.is_some())
        && form::one(&fields, "token").is_ok()
}

/// Returns whether this is the connection test of Bitbucket Data Center: `{"test": true}` and nothing else. It is not
/// signed, whatever secret the webhook has (<https://github.com/runatlantis/atlantis/issues/474>).
fn is_connection_test(head: &RequestHead<'_>, body: &[u8]) -> bool {
    let mut kinds = head.headers.get_all("x-event-key").iter();
    let is_ping = kinds.next().is_some_and(|kind| kind == "diagnostics:ping");
    let Ok(Value::Object(members)) = json::parse(body) else {
        return false;
    };
    is_ping
        && kinds.next().is_none()
        && members.len() == 1
        && members.get("test") == Some(&Value::Bool(true))
}

/// Returns the text of an object's only member.
fn only_text(body: &[u8], name: &str) -> Option<String> {
    let Ok(Value::Object(members)) = json::parse(body) else {
        return None;
    };
    let mut members = members.into_iter();
    match (members.next()?, members.next()) {
        ((key, Value::String(text)), None) if key == name => fit(text),
        _ => None,
    }
}

/// Responds to Lark's `{"type": "url_verification", "token": ..., "challenge": ...}`
/// (<https://open.larksuite.com/document/server-docs/event-subscription-guide/event-subscription-configure-/request-url-configuration-case>).
fn lark(body: &[u8], means: &ChallengeMaterial<'_>) -> Option<Result<HttpResponse, Reject>> {
    let value = json::parse(body).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if text("type") != Some("url_verification") {
        return None;
    }
    // Another member would belong to an event, and would reach an app that responds to checks itself.
    let is_own = |name: &String| matches!(name.as_str(), "type" | "token" | "challenge");
    if !value.as_object()?.keys().all(is_own) {
        return None;
    }
    let asked = fit(text("challenge")?.to_owned())?;
    let shown = text("token").unwrap_or_default();
    if means.is_left_to_app {
        return Some(Ok(empty()));
    }
    // Compared in constant time, since any client may guess.
    let is_known = means
        .verify_token
        .is_some_and(|known| known.is_equal(shown.as_bytes()));
    Some(match is_known {
        true => Ok(echo(&asked)),
        false => Err(Reject::BadSignature),
    })
}

fn echo(text: &str) -> HttpResponse {
    json_answer(&serde_json::json!({ "challenge": text }))
}

#[cfg(test)]
mod tests {
    use hookgate_verify::model::secret::Secret;
    use http::{HeaderMap, Uri};

    use super::*;
    use crate::net::response::ResponseBody;

    fn ask(kind: ProviderChallenge, body: &str) -> Option<Result<String, Reject>> {
        let head = RequestHead {
            method: &Method::POST,
            uri: &Uri::from_static("/"),
            headers: &HeaderMap::new(),
        };
        let token = Secret::new(b"fakeLarkToken0001".to_vec());
        let means = ChallengeMaterial {
            verify_token: Some(&token),
            public_url: None,
            secret: None,
            is_left_to_app: false,
        };
        let answer = answer(kind, &head, body.as_bytes(), &means)?;
        Some(answer.map(|answer| match answer.into_body() {
            ResponseBody::Whole(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => String::new(),
        }))
    }

    #[test]
    fn a_lone_challenge_goes_back() {
        assert_eq!(
            ask(ProviderChallenge::Monday, r#"{"challenge":"3eZbrw1a"}"#),
            Some(Ok(r#"{"challenge":"3eZbrw1a"}"#.to_owned()))
        );
        assert_eq!(
            ask(ProviderChallenge::WooCommerce, "webhook_id=17"),
            Some(Ok(String::new()))
        );
        let token = r#"{"verification_token":"secret_x"}"#;
        assert_eq!(
            ask(ProviderChallenge::Notion, token),
            Some(Ok(String::new()))
        );
    }

    /// Fails when `only_text` takes the first of several members, or `fit` is left out.
    #[test]
    fn an_event_is_no_check() {
        for body in [
            "",
            "{}",
            "[]",
            r#""challenge""#,
            r#"{"challenge":1}"#,
            r#"{"challenge":""}"#,
            r#"{"challenge":"a","event":{}}"#,
            r#"{"challenge":"a","challenge":"b"}"#,
            "{\"challenge\":\"<script>\\n\"}",
            "{\"challenge\":\"\u{e9}\"}",
        ] {
            assert_eq!(ask(ProviderChallenge::Monday, body), None, "{body}");
            assert_eq!(ask(ProviderChallenge::Notion, body), None, "{body}");
        }
        for body in [
            "webhook_id=",
            "webhook_id=x",
            "webhook_id=1&a=b",
            "a=b",
            "webhook_id=1 ",
        ] {
            assert_eq!(ask(ProviderChallenge::WooCommerce, body), None, "{body}");
        }
    }

    /// Fails when the token is not compared.
    #[test]
    fn larks_challenge_goes_back_for_the_right_token_only() {
        let body = |token: &str| {
            format!(r#"{{"challenge":"ajls384k","token":"{token}","type":"url_verification"}}"#)
        };
        assert_eq!(
            ask(ProviderChallenge::Lark, &body("fakeLarkToken0001")),
            Some(Ok(r#"{"challenge":"ajls384k"}"#.to_owned()))
        );
        for wrong in ["", "fakeLarkToken0002", "fakeLarkToken000"] {
            assert_eq!(
                ask(ProviderChallenge::Lark, &body(wrong)),
                Some(Err(Reject::BadSignature))
            );
        }
        for event in [
            r#"{"type":"event_callback","token":"fakeLarkToken0001"}"#,
            r#"{"type":"url_verification","token":"fakeLarkToken0001","challenge":"a","event":{}}"#,
        ] {
            assert_eq!(ask(ProviderChallenge::Lark, event), None, "{event}");
        }
    }
}
