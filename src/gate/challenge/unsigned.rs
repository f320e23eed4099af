//! Responses to URL checks that are unsigned by protocol and recognized by their head.
//!
//! If the protocol has something to verify, it is verified first: Meta's token, or the sender's knowledge of the secret
//! that the response is made with. The response is short, printable, and nothing that a browser runs.

use aws_lc_rs::{digest, hmac};
use data_encoding::{BASE64, HEXLOWER};
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers::challenge::ProviderChallenge;
use hookgate_verify::scheme::material::read_query;
use hookgate_verify::scheme::{MaterialFault, RequestHead};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::criteria::json;
use crate::gate::challenge::response::{empty, fit, json_answer, text};
use crate::gate::reject::Reject;
use crate::net::response::{HttpResponse, ResponseBody};

/// Limit of X's tokens in characters; they have about fifty.
const MAX_CRC: usize = 256;

/// The secrets and tokens of a route for a response.
pub(in crate::gate) struct ChallengeMaterial<'r> {
    /// The `verify_token` of the route.
    pub(in crate::gate) verify_token: Option<&'r Secret>,
    /// The `public_url` of the route.
    pub(in crate::gate) public_url: Option<&'r str>,
    /// The first current secret of the route.
    pub(in crate::gate) secret: Option<&'r Secret>,
    /// True if the app responds: the app compares the token, and the gate checks only the form.
    pub(in crate::gate) is_left_to_app: bool,
}

/// Returns the response to an unsigned URL check, or `None` if the request is not one.
///
/// # Errors
/// A check whose token does not match, or whose form is wrong.
pub(in crate::gate) fn answer(
    challenge: ProviderChallenge,
    head: &RequestHead<'_>,
    means: &ChallengeMaterial<'_>,
) -> Option<Result<HttpResponse, Reject>> {
    let is_get = head.method == Method::GET;
    match challenge {
        ProviderChallenge::Meta | ProviderChallenge::Strava | ProviderChallenge::WebSub
            if is_get =>
        {
            hub(challenge, head, means)
        }
        // Asana creates a secret for each webhook and sends it with the check, so there is nothing to compare it with.
        ProviderChallenge::Asana if head.method == Method::POST => {
            let value = named(head, "x-hook-secret")?;
            Some(value.map(|value| with_header("x-hook-secret", &value)))
        }
        ProviderChallenge::Dropbox | ProviderChallenge::Nylas if is_get => echo(head, "challenge"),
        ProviderChallenge::Onfleet if is_get => echo(head, "check"),
        // Graph escapes like a form, so `+` in its token is a space.
        ProviderChallenge::Graph if head.method == Method::POST => {
            let token = query(head, "validationToken")?;
            Some(token.map(|token| text(token.replace('+', " "))))
        }
        ProviderChallenge::XCrc if is_get => {
            let token = query(head, "crc_token")?;
            Some(token.and_then(|token| crc(&token, means)))
        }
        ProviderChallenge::Braintree if is_get => {
            let asked = query(head, "bt_challenge")?;
            Some(asked.and_then(|asked| braintree(&asked, means)))
        }
        ProviderChallenge::Ebay if is_get => {
            let code = query(head, "challenge_code")?;
            Some(code.and_then(|code| ebay(&code, head, means)))
        }
        ProviderChallenge::Okta if is_get => {
            let value = named(head, "x-okta-verification-challenge")?;
            Some(value.map(|value| json_answer(&serde_json::json!({ "verification": value }))))
        }
        ProviderChallenge::Worldline if is_get => {
            let value = named(head, "x-gcs-webhooks-endpoint-verification")?;
            Some(value.map(text))
        }
        ProviderChallenge::Smartsheet if head.method == Method::POST => {
            let value = named(head, "smartsheet-hook-challenge")?;
            Some(value.map(|value| with_header("smartsheet-hook-response", &value)))
        }
        ProviderChallenge::CloudEvents if head.method == Method::OPTIONS => {
            let value = named(head, "webhook-request-origin")?;
            Some(value.map(|value| permission(head, &value)))
        }
        ProviderChallenge::Slack if is_get => ssl_check(head),
        ProviderChallenge::Probe if is_get || head.method == Method::HEAD => Some(Ok(empty())),
        _ => None,
    }
}

/// Responds to a verification of intent, as in WebSub (<https://www.w3.org/TR/websub/#hub-verifies-intent>) and in
/// protocols like it.
///
/// A hub sends the topic, which must be the route's: another topic is a subscription by another party. The other
/// protocols send a token. The end of a subscription is never confirmed.
fn hub(
    challenge: ProviderChallenge,
    head: &RequestHead<'_>,
    means: &ChallengeMaterial<'_>,
) -> Option<Result<HttpResponse, Reject>> {
    let asked = query(head, "hub.challenge")?;
    let shown = query(
        head,
        match challenge {
            ProviderChallenge::WebSub => "hub.topic",
            _ => "hub.verify_token",
        },
    );
    Some(asked.and_then(|asked| {
        let shown = shown.transpose()?.unwrap_or_default();
        let mode = query(head, "hub.mode").transpose()?;
        // The app compares the token itself, so only a known mode is required here.
        if means.is_left_to_app {
            let is_mode = |mode: &str| matches!(mode, "subscribe" | "unsubscribe");
            return match mode.as_deref().is_some_and(is_mode) {
                true => Ok(empty()),
                false => Err(malformed("hub.mode")),
            };
        }
        let known = means.verify_token.ok_or(Reject::BadSignature)?;
        // Compared in constant time, since any client may guess.
        if !known.is_equal(shown.as_bytes()) {
            return Err(Reject::BadSignature);
        }
        if mode.as_deref() != Some("subscribe") {
            return Err(malformed("hub.mode"));
        }
        Ok(match challenge {
            ProviderChallenge::Strava => {
                json_answer(&serde_json::json!({ "hub.challenge": asked }))
            }
            _ => text(asked),
        })
    }))
}

fn echo(head: &RequestHead<'_>, name: &str) -> Option<Result<HttpResponse, Reject>> {
    Some(query(head, name)?.map(text))
}

/// Responds to X's check: `{"response_token": "sha256=..."}`, an HMAC of the token in base64
/// (<https://docs.x.com/x-api/webhooks/introduction#challenge-response-checks-crc>).
///
/// X signs its events in the same form with the same secret, and any client may send a check. So the gate signs only
/// text that cannot be an event: short base64 or hexadecimal that is not valid JSON. Conversely
/// [`ProviderChallenge::signs_for_anyone`] rejects every event that is not a JSON object.
fn crc(token: &str, means: &ChallengeMaterial<'_>) -> Result<HttpResponse, Reject> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(token).is_ok();
    // Anything that could be an event must not be signed.
    if token.len() > MAX_CRC || is_json || !token.bytes().all(is_plain) {
        return Err(malformed("crc_token"));
    }
    let secret = means.secret.ok_or(Reject::NoCurrentSecret)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let mac = BASE64.encode(hmac::sign(&key, token.as_bytes()).as_ref());
    Ok(json_answer(
        &serde_json::json!({ "response_token": format!("sha256={mac}") }),
    ))
}

/// Responds to Braintree's check: the public key, which is the route's `verify_token`, and the HMAC-SHA1 of the
/// challenge under the SHA-1 of the private key.
///
/// Braintree's challenges are 20 to 32 hexadecimal digits, and no other text is signed: the response must not become a
/// signing oracle for notifications.
fn braintree(asked: &str, means: &ChallengeMaterial<'_>) -> Result<HttpResponse, Reject> {
    if !(20..=32).contains(&asked.len()) || !is_hex(asked) {
        return Err(malformed("bt_challenge"));
    }
    let secret = means.secret.ok_or(Reject::NoCurrentSecret)?;
    let public = means.verify_token.map(Secret::expose).unwrap_or_default();
    let public = std::str::from_utf8(public).map_err(|_| Reject::BadSignature)?;
    let key = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, secret.expose());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_ref());
    let mac = HEXLOWER.encode(hmac::sign(&key, asked.as_bytes()).as_ref());
    Ok(text(format!("{public}|{mac}")))
}

/// The SHA-256 of the code, the verification token and the endpoint, in hexadecimal
/// (<https://developer.ebay.com/develop/guides-v2/marketplace-user-account-deletion>). The endpoint is the URL as eBay knows
/// it, without the code. Events are signed with eBay's own key, so no answer serves as the signature of one.
fn ebay(
    code: &str,
    head: &RequestHead<'_>,
    means: &ChallengeMaterial<'_>,
) -> Result<HttpResponse, Reject> {
    if means.is_left_to_app {
        return Ok(empty());
    }
    let token = means.verify_token.ok_or(Reject::BadSignature)?;
    let public_url = means.public_url.ok_or(Reject::BadSignature)?;
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(code.as_bytes());
    digest.update(token.expose());
    digest.update(public_url.as_bytes());
    digest.update(head.uri.path().as_bytes());
    let response = HEXLOWER.encode(digest.finish().as_ref());
    Ok(json_answer(
        &serde_json::json!({ "challengeResponse": response }),
    ))
}

fn is_hex(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.bytes().all(is_digit)
}

/// Responds to Slack's test of the certificate: `ssl_check=1` and optionally a token. Slack's SDKs respond to it
/// without a signature (<https://docs.slack.dev/interactivity/implementing-slash-commands>).
fn ssl_check(head: &RequestHead<'_>) -> Option<Result<HttpResponse, Reject>> {
    let asked = query(head, "ssl_check")?;
    Some(asked.and_then(|asked| match asked.as_str() {
        "1" => Ok(empty()),
        _ => Err(malformed("ssl_check")),
    }))
}

/// Returns the query of a forwarded check: the check's own parameters as sent, and no others.
pub(in crate::gate) fn own_query(
    challenge: ProviderChallenge,
    head: &RequestHead<'_>,
) -> Option<String> {
    let is_own = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        challenge.parameters().contains(&name)
    };
    let pairs = head.uri.query().unwrap_or_default().split('&');
    let own: Vec<&str> = pairs.filter(is_own).collect();
    (!own.is_empty()).then(|| own.join("&"))
}

/// Returns whether the body of a check recognized by its head is the one that its sender gives it: empty, with two
/// exceptions.
pub(in crate::gate) fn has_own_body(
    challenge: ProviderChallenge,
    head: &RequestHead<'_>,
    body: &[u8],
) -> bool {
    match challenge {
        _ if body.is_empty() => true,
        ProviderChallenge::Asana => body == b"{}",
        ProviderChallenge::Smartsheet => {
            let Ok(Value::Object(members)) = json::parse(body) else {
                return false;
            };
            let asked = head.headers.get("smartsheet-hook-challenge");
            members.iter().all(|(name, value)| match name.as_str() {
                "challenge" => asked.is_some_and(|asked| value.as_str() == asked.to_str().ok()),
                "webhookId" => value.is_u64(),
                _ => false,
            })
        }
        _ => false,
    }
}

/// Responds to a CloudEvents validation: permits the origin to send at the rate that it requests
/// (<https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md#42-validation-response>).
fn permission(head: &RequestHead<'_>, origin: &str) -> HttpResponse {
    let mut answer = with_header("webhook-allowed-origin", origin);
    let rate = head.headers.get("webhook-request-rate");
    let is_fit = |rate: &&HeaderValue| {
        let bytes = rate.as_bytes();
        (1..=9).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit)
    };
    if let Some(rate) = rate.filter(is_fit) {
        let name = HeaderName::from_static("webhook-allowed-rate");
        answer.headers_mut().insert(name, rate.clone());
    }
    answer
}

/// Returns the value of a query parameter, if present.
fn query(head: &RequestHead<'_>, name: &str) -> Option<Result<String, Reject>> {
    match read_query(head, name) {
        Err(MaterialFault::Missing { .. }) => None,
        Err(MaterialFault::Malformed { .. }) => Some(Err(malformed(name))),
        Ok(value) => {
            let text = String::from_utf8(value.into_owned()).ok();
            Some(text.and_then(fit).ok_or_else(|| malformed(name)))
        }
    }
}

/// Returns the value of a header, if present.
fn named(head: &RequestHead<'_>, name: &'static str) -> Option<Result<String, Reject>> {
    let mut values = head.headers.get_all(HeaderName::from_static(name)).iter();
    let value = values.next()?.to_str().ok().map(str::to_owned);
    // With two values, gate and app could read different ones.
    if values.next().is_some() {
        return Some(Err(malformed(name)));
    }
    Some(value.and_then(fit).ok_or_else(|| malformed(name)))
}

fn with_header(name: &'static str, value: &str) -> HttpResponse {
    let mut answer = HttpResponse::new(ResponseBody::empty());
    *answer.status_mut() = StatusCode::OK;
    if let Ok(value) = HeaderValue::from_str(value) {
        let headers = answer.headers_mut();
        headers.insert(HeaderName::from_static(name), value);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    }
    answer
}

fn malformed(name: &str) -> Reject {
    Reject::MalformedMaterial {
        name: name.into(),
        fault: "is not a valid challenge",
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri};

    use super::*;

    fn ask(
        kind: ProviderChallenge,
        method: &Method,
        uri: &str,
        headers: &[(&'static str, &str)],
    ) -> Option<Result<String, Reject>> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let uri: Uri = uri.parse().unwrap();
        let head = RequestHead {
            method,
            uri: &uri,
            headers: &map,
        };
        let token = Secret::new(b"meatyhamhock".to_vec());
        let secret = Secret::new(b"fakeConsumerSecret0001".to_vec());
        let means = ChallengeMaterial {
            verify_token: Some(&token),
            public_url: Some("http://www.testendpoint.com"),
            secret: Some(&secret),
            is_left_to_app: false,
        };
        let answer = answer(kind, &head, &means)?;
        Some(answer.map(|answer| {
            let shown = [
                "smartsheet-hook-response",
                "webhook-allowed-origin",
                "x-hook-secret",
            ]
            .iter()
            .find_map(|name| answer.headers().get(*name));
            let shown = shown.map(|value| value.to_str().unwrap().to_owned());
            match answer.into_body() {
                ResponseBody::Whole(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
                _ => shown.unwrap_or_default(),
            }
        }))
    }

    // Fails when the token is not compared: `if known.is_equal(shown.as_bytes()) && false`.
    #[test]
    fn meta_gets_its_challenge_for_the_right_token_only() {
        let uri = |token: &str| {
            format!("/?hub.mode=subscribe&hub.challenge=115&hub.verify_token={token}")
        };
        let good = uri("meatyhamhock");
        let ask_meta = |uri: &str| ask(ProviderChallenge::Meta, &Method::GET, uri, &[]);
        assert_eq!(ask_meta(&good), Some(Ok("115".to_owned())));
        for wrong in ["", "meatyhamhoc", "meatyhamhock&hub.verify_token=x"] {
            assert!(matches!(ask_meta(&uri(wrong)), Some(Err(_))), "{wrong}");
        }
        for mode in ["unsubscribe", "", "subscribe&hub.mode=subscribe"] {
            let other = good.replace("subscribe", mode);
            assert!(matches!(ask_meta(&other), Some(Err(_))), "{mode}");
        }
        assert!(ask_meta("/?hub.mode=subscribe").is_none());
        assert!(ask(ProviderChallenge::Meta, &Method::POST, &good, &[]).is_none());
        let strava = ask(ProviderChallenge::Strava, &Method::GET, &good, &[]);
        assert_eq!(strava, Some(Ok(r#"{"hub.challenge":"115"}"#.to_owned())));
    }

    /// The answer is that of `generateChallengeResponse` in eBay's event-notification-nodejs-sdk 1.0.3. Fails when the three
    /// parts are hashed in another order, or the query belongs to the endpoint.
    #[test]
    fn ebay_gets_the_digest_of_code_token_and_endpoint() {
        let get = |uri: &str| ask(ProviderChallenge::Ebay, &Method::GET, uri, &[]);
        let expected = r#"{"challengeResponse":"1c73bbee53a28a066382517c09c4c0cede2789d7bea3a53ba88f6ba11afff247"}"#;
        let asked = "/webhook?challenge_code=71745723-d031-455c-bfa5-f90d11b4f20a";
        assert_eq!(get(asked), Some(Ok(expected.to_owned())));
        assert!(get("/webhook").is_none());
        for bad in [
            "/webhook?challenge_code=",
            "/webhook?challenge_code=a%0ab",
            "/webhook?challenge_code=a&challenge_code=b",
        ] {
            assert!(matches!(get(bad), Some(Err(_))), "{bad}");
        }
        assert!(ask(ProviderChallenge::Ebay, &Method::POST, asked, &[]).is_none());
    }

    /// Fails when the topic is not compared.
    #[test]
    fn a_hub_gets_its_challenge_for_the_routes_topic_only() {
        let ask_hub = |topic: &str, mode: &str| {
            let uri = format!(
                "/?hub.mode={mode}&hub.topic={topic}&hub.challenge=abc&hub.lease_seconds=9"
            );
            ask(ProviderChallenge::WebSub, &Method::GET, &uri, &[])
        };
        assert_eq!(
            ask_hub("meatyhamhock", "subscribe"),
            Some(Ok("abc".to_owned()))
        );
        for (topic, mode) in [
            ("", "subscribe"),
            ("meatyhamhoc", "subscribe"),
            ("meatyhamhock", "unsubscribe"),
            ("meatyhamhock", ""),
        ] {
            assert!(
                matches!(ask_hub(topic, mode), Some(Err(_))),
                "{topic} {mode}"
            );
        }
    }

    #[test]
    fn echoes_are_short_printable_and_single() {
        let get = |uri: &str| ask(ProviderChallenge::Dropbox, &Method::GET, uri, &[]);
        assert_eq!(get("/?challenge=a%20b"), Some(Ok("a b".to_owned())));
        assert!(get("/").is_none());
        let long = format!("/?challenge={}", "x".repeat(4097));
        for bad in [
            "/?challenge=",
            "/?challenge=a%0d%0ab",
            "/?challenge=%c3%a9",
            "/?challenge=a&challenge=b",
            "/?challenge=%zz",
            &long,
        ] {
            assert!(matches!(get(bad), Some(Err(_))), "{bad}");
        }
        let graph = ask(
            ProviderChallenge::Graph,
            &Method::POST,
            "/?validationToken=Validation%3A+x",
            &[],
        );
        assert_eq!(graph, Some(Ok("Validation: x".to_owned())));
    }

    #[test]
    fn headers_go_back_as_their_protocols_have_it() {
        let okta = [("x-okta-verification-challenge", "abc")];
        assert_eq!(
            ask(ProviderChallenge::Okta, &Method::GET, "/", &okta),
            Some(Ok(r#"{"verification":"abc"}"#.to_owned()))
        );
        let asana = [("x-hook-secret", "b537207f20cbfa02")];
        assert_eq!(
            ask(ProviderChallenge::Asana, &Method::POST, "/", &asana),
            Some(Ok("b537207f20cbfa02".to_owned()))
        );
        assert!(ask(ProviderChallenge::Asana, &Method::POST, "/", &[]).is_none());
        let origin = [("webhook-request-origin", "eventgrid.azure.net")];
        assert_eq!(
            ask(
                ProviderChallenge::CloudEvents,
                &Method::OPTIONS,
                "/",
                &origin
            ),
            Some(Ok("eventgrid.azure.net".to_owned()))
        );
        assert!(ask(ProviderChallenge::CloudEvents, &Method::POST, "/", &origin).is_none());
        let twice = [okta[0], okta[0]];
        assert!(matches!(
            ask(ProviderChallenge::Okta, &Method::GET, "/", &twice),
            Some(Err(_))
        ));
        let probe = ask(ProviderChallenge::Probe, &Method::HEAD, "/", &[]);
        assert_eq!(probe, Some(Ok(String::new())));
        assert!(ask(ProviderChallenge::Probe, &Method::POST, "/", &[]).is_none());
    }

    #[test]
    fn macs_prove_the_secret() {
        // npm twitter-autohook@1.7.2: validateWebhook.
        let asked = "/?crc_token=MTcwMDAwMDAwMC1mYWtl&nonce=MTcwMDAwMDAwMA";
        let crc = ask(ProviderChallenge::XCrc, &Method::GET, asked, &[]);
        let expected =
            r#"{"response_token":"sha256=69yJ32SgH3KobToqxEQYJbJ+WMD0NTrI7Y0oDXLDcpU="}"#;
        assert_eq!(crc, Some(Ok(expected.to_owned())));
        let braintree = |asked: &str| {
            let uri = format!("/?bt_challenge={asked}");
            ask(ProviderChallenge::Braintree, &Method::GET, &uri, &[])
        };
        // npm braintree@3.40.0: webhookNotification.verify.
        let expected = "meatyhamhock|6c1b18ebd7c9b2389090065bf9a550f9a04dfc30";
        assert_eq!(
            braintree("20f9f8ed05f77439fe955c977e4c8a53"),
            Some(Ok(expected.to_owned()))
        );
        // A notification's payload must not be signed for an arbitrary client.
        assert!(matches!(
            braintree("PHBheWxvYWQ+PC9wYXlsb2FkPg=="),
            Some(Err(_))
        ));
    }

    // Fails when `crc` signs any text: `if false {`. The response would be the signature of an event.
    #[test]
    fn no_event_is_signed_for_an_arbitrary_client() {
        let long = "a".repeat(257);
        for token in [
            "%7B%22for_user_id%22%3A%221%22%7D",
            "%7B%7D",
            "%5B%5D",
            "%22a%22",
            "12345",
            "-1",
            "1e5",
            "true",
            "null",
            "a%20b",
            "a=1%26b=2",
            &long,
        ] {
            let uri = format!("/?crc_token={token}");
            let answer = ask(ProviderChallenge::XCrc, &Method::GET, &uri, &[]);
            assert!(matches!(answer, Some(Err(_))), "{token}: {answer:?}");
        }
    }
}
