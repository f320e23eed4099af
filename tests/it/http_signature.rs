//! Tests of HTTP Message Signatures (RFC 9421): only requests that cover what the route requires pass.

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, mac};
use crate::harness::unix_now;

const SECRET: &str = "a-shared-secret-of-a-test-0123456789abcd";
const BODY: &[u8] = br#"{"id":"evt_1","type":"order.paid"}"#;

async fn gate(app: &App) -> Gate {
    let upstream = app.url("/in");
    Gate::start(&format!(
        r#"[routes.acme]
path = "/acme"
secret = "{SECRET}"
public_url = "https://hooks.example.com"
upstream = "{upstream}"
[routes.acme.scheme]
type = "http_signature"
algorithm = "hmac-sha256"
components = ["@method", "@target-uri", "content-digest"]
event_id = {{ json = "/id" }}
event_type = {{ json = "/type" }}
"#
    ))
    .await
}

/// Signs a request as a custom sender does, with these signature parameters.
fn signed(target: &str, body: &[u8], parameters: &str) -> Hook {
    let digest = format!("sha-256=:{}:", BASE64.encode(&Sha256::digest(body)));
    let list = format!(r#"("@method" "@target-uri" "content-digest"){parameters}"#);
    let base = format!(
        "\"@method\": POST\n\"@target-uri\": https://hooks.example.com{target}\n\"content-digest\": {digest}\n\"@signature-params\": {list}"
    );
    let signature = BASE64.encode(&mac(SECRET.as_bytes(), &[base.as_bytes()]));
    Hook::bare("POST", target, body)
        .with("Content-Digest", &digest)
        .with("Signature-Input", &format!("sig1={list}"))
        .with("Signature", &format!("sig1=:{signature}:"))
}

fn now() -> String {
    format!(";created={};keyid=\"a\"", unix_now())
}

// Fails when the digest is not compared, the components are not required, or `created` is not checked.
#[tokio::test]
async fn only_what_is_signed_whole_and_now_reaches_the_app() {
    let app = App::start(ok());
    let gate = gate(&app).await;
    let genuine = signed("/acme?a=1", BODY, &now());
    assert_eq!(gate.send(&genuine).await.status, 200);
    let forwarded = app.only_request();
    assert_eq!(forwarded.body, BODY);
    let id = forwarded.header("Hookgate-Event-Id");
    assert_eq!(id.as_deref(), Some("evt_1"));
    let mut other_body = signed("/acme", BODY, &now());
    other_body.body = br#"{"id":"evt_2","type":"order.paid"}"#.to_vec();
    let mut other_digest = other_body.clone();
    let digest = format!(
        "sha-256=:{}:",
        BASE64.encode(&Sha256::digest(&other_digest.body))
    );
    other_digest = other_digest.set("Content-Digest", &digest);
    let old = format!(";created={}", unix_now() - 400);
    let ended = format!(";created={};expires={}", unix_now(), unix_now() - 1);
    for (hook, what) in [
        (Hook::bare("POST", "/acme", BODY), "unsigned"),
        (other_body, "another body"),
        (other_digest, "another digest"),
        (
            signed("/acme", BODY, &now()).to("/acme?b=1"),
            "another target",
        ),
        (
            signed("/acme", BODY, &now()).without("Content-Digest"),
            "no digest",
        ),
        (signed("/acme", BODY, ""), "no time"),
        (signed("/acme", BODY, &old), "an old signature"),
        (signed("/acme", BODY, &ended), "an ended signature"),
        (
            signed("/acme", BODY, ";alg=\"ed25519\""),
            "another algorithm",
        ),
    ] {
        assert_eq!(gate.send(&hook).await.status, 401, "{what}");
    }
    assert_eq!(app.count(), 1);
}
