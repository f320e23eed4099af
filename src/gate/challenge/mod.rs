//! Responses to a provider's URL check.
//!
//! A signed check gets its response only after the signature has passed: otherwise any client could have text of its
//! choice sent back from this host. Checks that are unsigned by protocol are in `unsigned` if the head shows them, and
//! in `bodied` if the body does.

pub(in crate::gate) mod bodied;
mod response;
pub(in crate::gate) mod unsigned;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::net::remote_url::RemoteUrl;
use hookgate_verify::providers::challenge::ProviderChallenge;
use hookgate_verify::scheme::RequestHead;
use hookgate_verify::scheme::certificate::sns;
use hookgate_verify::scheme::json_values::{PickedValue, ValuePicker};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::criteria::json;
use crate::gate::challenge::response::{
    MAX_BODY, MAX_TEXT, empty, fit, json_answer, of_type, text,
};
use crate::gate::reject::Reject;
use crate::net::response::{HttpResponse, ResponseBody};

/// Returns the response if this verified request is a URL check; otherwise the request is an event. `secret` is the one
/// that it was signed with.
pub(crate) fn answer(
    challenge: ProviderChallenge,
    head: &RequestHead<'_>,
    body: &[u8],
    secret: Option<&Secret>,
) -> Option<HttpResponse> {
    if head.method != Method::POST || body.len() > MAX_BODY {
        return None;
    }
    match challenge {
        ProviderChallenge::Slack => slack(head.method, body).map(text),
        ProviderChallenge::Zoom => {
            let plain = event(
                body,
                ["event"],
                "endpoint.url_validation",
                &["payload", "plainToken"],
            )?;
            // Zoom signs events as `v0:TIME:BODY` with the same secret: the response must never be the signature of
            // one.
            if plain.contains(':') {
                return None;
            }
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret?.expose());
            let mac = HEXLOWER.encode(hmac::sign(&key, plain.as_bytes()).as_ref());
            let answer = format!(
                r#"{{"plainToken":{},"encryptedToken":"{mac}"}}"#,
                quoted(&plain)
            );
            Some(of_type("application/json", answer))
        }
        ProviderChallenge::Twitch => {
            let kind = head.headers.get("twitch-eventsub-message-type")?;
            let is_check = kind == "webhook_callback_verification";
            is_check
                .then(|| pick_text(body, &["challenge"]))
                .flatten()
                .map(text)
        }
        ProviderChallenge::EventGrid => {
            let kind = head.headers.get("aeg-event-type")?;
            let is_check = kind == "SubscriptionValidation";
            let code = is_check.then(|| pick_text(body, &["0", "data", "validationCode"]));
            let code = code.flatten()?;
            Some(json_answer(
                &serde_json::json!({ "validationResponse": code }),
            ))
        }
        ProviderChallenge::Tebex => {
            let id = event(body, ["type"], "validation.webhook", &["id"])?;
            Some(json_answer(&serde_json::json!({ "id": id })))
        }
        ProviderChallenge::Discord => discord(body),
        // Xero's "intent to receive" has no events. It tests whether the receiver accepts good signatures only.
        ProviderChallenge::Xero => {
            let value = json::parse(body).ok()?;
            let events = value.get("events")?.as_array()?;
            events.is_empty().then(empty)
        }
        ProviderChallenge::Monday => bodied::monday(body),
        _ => None,
    }
}

/// Responds to Discord's two pings. An interaction's ping has type 1 and expects a pong. A webhook event's ping has type 0 and
/// expects an empty response. A webhook event has type 1 too, beside the event itself
/// (<https://discord.com/developers/docs/events/webhook-events#webhook-types>).
fn discord(body: &[u8]) -> Option<HttpResponse> {
    let pointers = ["type", "event"].map(|key| [key.to_owned()]);
    let picker = ValuePicker::new(pointers.iter().map(<[String; 1]>::as_slice));
    let picked = picker.pick(body).ok()?;
    let [PickedValue::Text(kind), PickedValue::Absent] = picked.as_slice() else {
        return None;
    };
    match kind.as_ref() {
        "1" => Some(json_answer(&serde_json::json!({ "type": 1 }))),
        "0" => {
            let mut answer = HttpResponse::new(ResponseBody::empty());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            Some(answer)
        }
        _ => None,
    }
}

/// Returns the text at `wanted` if the text at `place` is `kind`.
fn event(body: &[u8], place: [&str; 1], kind: &str, wanted: &[&str]) -> Option<String> {
    (pick_text(body, &place)? == kind).then(|| pick_text(body, wanted))?
}

fn pick_text(body: &[u8], pointer: &[&str]) -> Option<String> {
    let pointer: Vec<String> = pointer.iter().map(|step| (*step).to_owned()).collect();
    let picker = ValuePicker::new([pointer.as_slice()]);
    match picker.pick(body).ok()?.pop()? {
        PickedValue::Text(text) => fit(text.into_owned()),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Reads Slack's `{"type": "url_verification", "challenge": TEXT, ...}`.
fn slack(method: &Method, body: &[u8]) -> Option<String> {
    const TYPE: &str = "url_verification";
    if method != Method::POST || body.len() > MAX_BODY {
        return None;
    }
    // A cheap search first, so that ordinary events are not parsed.
    if !std::str::from_utf8(body).ok()?.contains(TYPE) {
        return None;
    }
    let pointers = ["type", "challenge"].map(|key| [key.to_owned()]);
    let picker = ValuePicker::new(pointers.iter().map(<[String; 1]>::as_slice));
    match picker.pick(body).ok()?.as_slice() {
        [PickedValue::Text(kind), PickedValue::Text(text)] if kind == TYPE => {
            let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            let is_fit = (1..=MAX_TEXT).contains(&text.len()) && is_printable;
            is_fit.then(|| text.as_ref().to_owned())
        }
        _ => None,
    }
}

/// Returns the URL that confirms a subscription, if this verified message asks for it.
///
/// The URL must be on an SNS host and for one action only. The signature shows that SNS wrote the message, and still no
/// message can make the gate open another URL
/// (<https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html>).
pub(in crate::gate) fn confirmation(body: &[u8]) -> Option<Result<RemoteUrl, Reject>> {
    let value = json::parse(body).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if text("Type") != Some("SubscriptionConfirmation") {
        return None;
    }
    let url = RemoteUrl::parse_strange(text("SubscribeURL").unwrap_or_default());
    // Host and action are both pinned: an SNS host also serves other actions, which a message must not trigger.
    let is_own = |url: &RemoteUrl| {
        sns::is_own_host(url)
            && url
                .path_query()
                .starts_with("/?Action=ConfirmSubscription&")
    };
    let malformed = Reject::MalformedMaterial {
        name: "SubscribeURL".into(),
        fault: "is not an SNS URL that confirms a subscription",
    };
    Some(url.ok().filter(is_own).ok_or(malformed))
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn check(method: &Method, body: &str) -> Option<HttpResponse> {
        let head = RequestHead {
            method,
            uri: &http::Uri::from_static("/"),
            headers: &http::HeaderMap::new(),
        };
        answer(ProviderChallenge::Slack, &head, body.as_bytes(), None)
    }

    #[test]
    fn slacks_check_gets_its_text_back() {
        let body =
            r#"{"token":"t","challenge":"3eZbrw1aB10FEMAGAZd4FyFQ","type":"url_verification"}"#;
        let answer = check(&Method::POST, body).unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let headers = answer.headers();
        assert_eq!(headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let ResponseBody::Whole(Some(text)) = answer.into_body() else {
            panic!("the text is our own");
        };
        assert_eq!(text, "3eZbrw1aB10FEMAGAZd4FyFQ");
        assert!(check(&Method::GET, body).is_none());
    }

    /// Fails when only the type is asked: then each webhook event is answered as a ping, and lost.
    #[test]
    fn discords_events_are_no_pings() {
        let status = |body: &str| discord(body.as_bytes()).map(|answer| answer.status());
        assert_eq!(status(r#"{"id":"1","type":1}"#), Some(StatusCode::OK));
        let ping = r#"{"version":1,"application_id":"1","type":0}"#;
        assert_eq!(status(ping), Some(StatusCode::NO_CONTENT));
        for event in [
            r#"{"version":1,"type":1,"event":{"type":"ENTITLEMENT_CREATE"}}"#,
            r#"{"version":1,"type":0,"event":{}}"#,
            r#"{"id":"1","type":2}"#,
        ] {
            assert_eq!(status(event), None, "{event}");
        }
    }

    fn xero(body: &str) -> bool {
        let head = RequestHead {
            method: &Method::POST,
            uri: &http::Uri::from_static("/"),
            headers: &http::HeaderMap::new(),
        };
        answer(ProviderChallenge::Xero, &head, body.as_bytes(), None).is_some()
    }

    #[test]
    fn xeros_intent_holds_no_event() {
        assert!(xero(
            r#"{"events":[],"firstEventSequence":0,"entropy":"x"}"#
        ));
        for body in [
            r#"{"events":[{}]}"#,
            r#"{"events":{}}"#,
            "{}",
            "",
            r#"{"events":[],"events":[{}]}"#,
        ] {
            assert!(!xero(body), "{body}");
        }
    }

    /// Fails when `is_own_host` or the action is not checked.
    #[test]
    fn a_confirmation_opens_sns_only() {
        let of = |kind: &str, url: &str| {
            confirmation(format!(r#"{{"Type":"{kind}","SubscribeURL":"{url}"}}"#).as_bytes())
        };
        const GOOD: &str = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-central-1:123456789012:T&Token=23";
        let found = of("SubscriptionConfirmation", GOOD).unwrap().unwrap();
        assert_eq!(found.to_string(), GOOD);
        assert!(of("Notification", GOOD).is_none());
        assert!(of("UnsubscribeConfirmation", GOOD).is_none());
        for bad in [
            "",
            "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=2",
            "https://sns.eu-central-1.amazonaws.com.evil.test/?Action=ConfirmSubscription&Token=2",
            "https://evil.test/?Action=ConfirmSubscription&Token=2",
            "https://sns.eu-central-1.amazonaws.com:8443/?Action=ConfirmSubscription&Token=2",
            "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&Token=2",
            "https://a@sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=2",
            "https://169.254.169.254/?Action=ConfirmSubscription&Token=2",
        ] {
            assert!(
                of("SubscriptionConfirmation", bad).unwrap().is_err(),
                "{bad}"
            );
        }
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
