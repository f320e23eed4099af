//! The requests of the demo: signed events of five providers, then attacks.
//!
//! The signatures are computed here, not by `scheme`, so that the demo also checks the gate's own implementation.

use std::net::Ipv4Addr;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use sha2::Sha256;

use crate::cli::demo::logged_verdict::LoggedVerdict;
use crate::cli::demo::secrets::DemoSecrets;
use crate::gate::reject::RejectReason;
use crate::model::clock::ClockReading;
use crate::testing::RequestFile;

/// Bytes of a body that is larger than `max_body` of the demo's routes.
const OVERSIZE: usize = 100_000;

/// Requests of a flood: more than the per-source rate limit and its burst allow, even on a machine that takes half a
/// minute to send them.
const FLOOD: usize = 60;

/// Request of the demo, with its expected outcome: one line of the table.
pub(super) struct DemoStep {
    pub(super) title: &'static str,
    pub(super) webhook: RequestFile,
    pub(super) times: usize,
    pub(super) expected: ExpectedOutcome,
}

/// Expected outcome of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ExpectedOutcome {
    /// The app receives the event once, byte for byte.
    Forwarded,
    /// The gate responds with 2xx by itself, and the app receives nothing.
    Duplicate,
    /// The app receives the event, marked as bytes that it received before.
    Flagged,
    /// The gate rejects the request for this reason, and the app receives nothing.
    Refused(RejectReason),
    /// The gate rejects the first requests for their signature and the last one for its rate. The log has the first
    /// ones only, since logs are rate-limited.
    RateLimited,
}

impl ExpectedOutcome {
    /// Returns true if the log line has the expected verdict and reason.
    pub(super) fn matches_verdict(self, decision: &LoggedVerdict) -> bool {
        let (verdict, reason) = match self {
            Self::Forwarded | Self::Flagged => ("accepted", None),
            Self::Duplicate => ("duplicate", None),
            Self::Refused(reason) => ("refused", Some(reason.explanation().code)),
            Self::RateLimited => (
                "refused",
                Some(RejectReason::BadSignature.explanation().code),
            ),
        };
        let is_flagged = self == Self::Flagged;
        decision.verdict == verdict
            && decision.reason.as_deref() == reason
            && decision.is_replayed_body == is_flagged
    }
}

/// Returns all requests in order. The attacks reuse events that the first part sent.
pub(super) fn all(secrets: &DemoSecrets) -> Vec<DemoStep> {
    let mut acts = honest(secrets);
    acts.extend(attacks(secrets));
    acts
}

/// Makes a step whose request comes from the address 198.51.100.`last`. Each attacker has its own, so that the limits of
/// one do not affect the others.
fn act(
    title: &'static str,
    mut webhook: RequestFile,
    last: u8,
    expected: ExpectedOutcome,
) -> DemoStep {
    let source = Ipv4Addr::new(198, 51, 100, last);
    webhook.set_header("X-Forwarded-For", &source.to_string());
    DemoStep {
        title,
        webhook,
        times: 1,
        expected,
    }
}

fn honest(secrets: &DemoSecrets) -> Vec<DemoStep> {
    let now = ClockReading::read().unix_seconds();
    let yes = ExpectedOutcome::Forwarded;
    vec![
        act(
            "Stripe: invoice.paid",
            stripe(&secrets.stripe, "evt_1", now),
            1,
            yes,
        ),
        act("GitHub: push", github(&secrets.github), 1, yes),
        act("Shopify: orders/create", shopify(&secrets.shopify), 1, yes),
        act("Slack: message", slack(&secrets.slack, now), 1, yes),
        act(
            "Standard Webhooks: order.shipped",
            standard(&secrets.standard_webhooks, "msg_1", now),
            1,
            yes,
        ),
    ]
}

fn attacks(secrets: &DemoSecrets) -> Vec<DemoStep> {
    let now = ClockReading::read().unix_seconds();
    let no = ExpectedOutcome::Refused;
    let push = github(&secrets.github);
    // Same length and valid JSON, so that nothing but the signature can reveal the change.
    let flipped = PUSH.replace("refs/heads/main", "refs/heads/mein");
    // GitHub does not sign the delivery id, so this request has a valid signature.
    let mut fresh_id = push.clone();
    fresh_id.set_header("X-GitHub-Delivery", "9f1c6b1e-0000-4000-8000-000000000002");
    let mut unsigned = standard(&secrets.standard_webhooks, "msg_2", now);
    unsigned.remove_header("webhook-signature");
    // Valid in all respects except the source address, which the route's `allow_ips` does not contain.
    let partner = partner(&secrets.partner, now);
    // Signed, so that only the size is wrong. The gate rejects it by `Content-Length`, before it reads the body.
    let large = github_of(&secrets.github, &"x".repeat(OVERSIZE));
    let mut flood = act(
        "a forged event 60 times in a row",
        with_body(push.clone(), &flipped),
        19,
        ExpectedOutcome::RateLimited,
    );
    flood.times = FLOOD;
    vec![
        act(
            "one byte of the body changed",
            with_body(push.clone(), &flipped),
            11,
            no(RejectReason::BadSignature),
        ),
        act(
            "signed with a wrong secret",
            shopify("not the secret"),
            12,
            no(RejectReason::BadSignature),
        ),
        act(
            "captured ten minutes ago",
            stripe(&secrets.stripe, "evt_2", now - 600),
            13,
            no(RejectReason::StaleTimestamp),
        ),
        act(
            "no signature at all",
            unsigned,
            14,
            no(RejectReason::MissingMaterial),
        ),
        // The event of the first part. It comes from another address, since dedup does not depend on the source.
        act(
            "the same GitHub event again",
            push,
            15,
            ExpectedOutcome::Duplicate,
        ),
        act(
            "... under a fresh delivery id",
            fresh_id,
            16,
            ExpectedOutcome::Flagged,
        ),
        act(
            "signed, but 100 KB for 64 KiB",
            large,
            17,
            no(RejectReason::BodyTooLarge),
        ),
        act(
            "signed, but from a foreign address",
            partner,
            18,
            no(RejectReason::SourceNotAllowed),
        ),
        flood,
    ]
}

const PUSH: &str = r#"{"ref":"refs/heads/main","after":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","repository":{"full_name":"acme/shop"}}"#;

fn stripe(secret: &str, id: &str, at: i64) -> RequestFile {
    let body = format!(
        r#"{{"id":"{id}","object":"event","type":"invoice.paid","data":{{"object":{{"amount_paid":1999,"currency":"eur"}}}}}}"#
    );
    let hex = HEXLOWER.encode(&mac(
        secret.as_bytes(),
        &[at.to_string().as_bytes(), b".", body.as_bytes()],
    ));
    post(
        "/stripe",
        vec![("Stripe-Signature", format!("t={at},v1={hex}"))],
        &body,
    )
}

fn github(secret: &str) -> RequestFile {
    github_of(secret, PUSH)
}

fn github_of(secret: &str, body: &str) -> RequestFile {
    let hex = HEXLOWER.encode(&mac(secret.as_bytes(), &[body.as_bytes()]));
    let headers = vec![
        ("X-GitHub-Event", "push".to_owned()),
        (
            "X-GitHub-Delivery",
            "9f1c6b1e-0000-4000-8000-000000000001".to_owned(),
        ),
        ("X-Hub-Signature-256", format!("sha256={hex}")),
    ];
    post("/github", headers, body)
}

fn shopify(secret: &str) -> RequestFile {
    let body = r#"{"id":820982911946154508,"email":"jon@example.com","total_price":"403.00"}"#;
    let headers = vec![
        ("X-Shopify-Topic", "orders/create".to_owned()),
        (
            "X-Shopify-Webhook-Id",
            "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043".to_owned(),
        ),
        (
            "X-Shopify-Hmac-Sha256",
            BASE64.encode(&mac(secret.as_bytes(), &[body.as_bytes()])),
        ),
    ];
    post("/shopify", headers, body)
}

fn slack(secret: &str, at: i64) -> RequestFile {
    let body = r#"{"type":"event_callback","event_id":"Ev08MFMKH6","event":{"type":"message","text":"Deployed."}}"#;
    let at = at.to_string();
    let signed: [&[u8]; 4] = [b"v0:", at.as_bytes(), b":", body.as_bytes()];
    let hex = HEXLOWER.encode(&mac(secret.as_bytes(), &signed));
    let headers = vec![
        ("X-Slack-Signature", format!("v0={hex}")),
        ("X-Slack-Request-Timestamp", at),
    ];
    post("/slack", headers, body)
}

fn standard(secret: &str, id: &str, at: i64) -> RequestFile {
    let body =
        r#"{"type":"order.shipped","timestamp":"2026-11-03T20:26:10Z","data":{"order":"A-17"}}"#;
    let encoded = secret.trim_start_matches("whsec_");
    // The secret was generated with this encoding. If it cannot be decoded, the signature is wrong and the table shows
    // it.
    let key = BASE64.decode(encoded.as_bytes()).unwrap_or_default();
    let at = at.to_string();
    let signed = [id.as_bytes(), b".", at.as_bytes(), b".", body.as_bytes()];
    let signature = format!("v1,{}", BASE64.encode(&mac(&key, &signed)));
    let headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at),
        ("webhook-signature", signature),
    ];
    post("/orders", headers, body)
}

fn partner(secret: &str, at: i64) -> RequestFile {
    let body = r#"{"type":"stock.changed","item":"A-17","left":3}"#;
    let headers = vec![
        ("X-Webhook-ID", "wh_1".to_owned()),
        ("X-Webhook-Timestamp", (at * 1000).to_string()),
        (
            "X-Webhook-Signature",
            HEXLOWER.encode(&mac(secret.as_bytes(), &[body.as_bytes()])),
        ),
    ];
    post("/partner", headers, body)
}

/// Makes a POST of a JSON body.
fn post(path: &str, headers: Vec<(&str, String)>, body: &str) -> RequestFile {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let mut request = RequestFile::new(Method::POST, path, body);
    request.set_header("Content-Type", "application/json");
    for (name, value) in headers {
        request.set_header(name, &value);
    }
    request
}

fn with_body(mut request: RequestFile, body: &str) -> RequestFile {
    request.body = Bytes::copy_from_slice(body.as_bytes());
    request
}

/// Computes the HMAC-SHA256 over the pieces, as a sender does.
fn mac(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    // HMAC accepts keys of every length (RFC 2104, section 3), so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().to_vec()
}
