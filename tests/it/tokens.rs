//! Tests of signed tokens and published keys.
//!
//! A token's claims must match the route and the body, no token chooses how it is verified, and without a key nothing
//! passes.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::app::{App, Refusing, ok};
use crate::harness::gate::{Gate, field};
use crate::harness::sender::{Hook, mac};
use crate::harness::unix_now;

const SECRET: &str = "fake-api-secret-of-a-test-0123456789";
const BODY: &[u8] = br#"{"event":"room_started","id":"EV_1"}"#;

fn part(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

fn hs256(header: &Value, claims: &Value, key: &[u8]) -> String {
    let text = format!("{}.{}", part(header), part(claims));
    let signature = BASE64URL_NOPAD.encode(&mac(key, &[text.as_bytes()]));
    format!("{text}.{signature}")
}

fn claims(body: &[u8]) -> Value {
    let now = unix_now();
    let digest = BASE64.encode(&Sha256::digest(body));
    json!({ "iss": "APIkey", "nbf": now, "exp": now + 300, "sha256": digest })
}

fn livekit(token: &str, body: &[u8]) -> Hook {
    Hook::bare("POST", "/livekit", body).with("Authorization", token)
}

async fn livekit_gate(app: &App) -> Gate {
    let upstream = app.url("/in");
    Gate::start(&format!(
        "[routes.livekit]\npath = \"/livekit\"\nprovider = \"livekit\"\nsecret = \"{SECRET}\"\nupstream = \"{upstream}\"\n"
    ))
    .await
}

#[tokio::test]
async fn a_token_lets_its_own_body_pass_once() {
    let app = App::start(ok());
    let gate = livekit_gate(&app).await;
    let token = hs256(&json!({ "alg": "HS256" }), &claims(BODY), SECRET.as_bytes());
    assert_eq!(gate.send(&livekit(&token, BODY)).await.status, 200);
    assert_eq!(app.only_request().body, BODY);
    // Fails when the id is not read, or the body is not compared with the claim.
    assert_eq!(gate.send(&livekit(&token, BODY)).await.status, 200);
    let other = br#"{"event":"room_started","id":"EV_2"}"#;
    assert_eq!(gate.send(&livekit(&token, other)).await.status, 401);
    assert_eq!(gate.send(&livekit(&token, b"")).await.status, 401);
    assert_eq!(app.count(), 1);
}

// Fails when `Keyring::find` accepts any algorithm, or `check_validity` returns at once.
#[tokio::test]
async fn no_other_token_passes() {
    let app = App::start(ok());
    let gate = livekit_gate(&app).await;
    let (good, key) = (claims(BODY), SECRET.as_bytes());
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        hs256(&json!({ "alg": "HS256" }), &claims, key)
    };
    let mut unending = good.clone();
    unending.as_object_mut().unwrap().remove("exp");
    let mut guest = good.clone();
    guest.as_object_mut().unwrap().remove("sha256");
    let none = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&good));
    let hs256_header = json!({ "alg": "HS256" });
    let tokens = [
        none,
        hs256(&json!({ "alg": "HS512" }), &good, key),
        hs256(&json!({ "alg": "RS256" }), &good, key),
        hs256(&hs256_header, &good, b"another-secret-0123456789abcdef"),
        hs256(&hs256_header, &unending, key),
        hs256(&hs256_header, &guest, key),
        with("exp", (unix_now() - 90).into()),
        with("nbf", (unix_now() + 90).into()),
        with("iat", (unix_now() + 90).into()),
        with("exp", "soon".into()),
        with("sha256", "".into()),
    ];
    for token in tokens {
        assert_eq!(
            gate.send(&livekit(&token, BODY)).await.status,
            401,
            "{token}"
        );
    }
    // A guest's token has no digest of the body.
    let guest = hs256(&hs256_header, &guest, key);
    assert_eq!(gate.send(&livekit(&guest, b"")).await.status, 401);
    assert_eq!(app.count(), 0);
}

// Fails when the token chooses the algorithm of a key: `verifies` without `key.algorithm == algorithm`.
#[tokio::test]
async fn a_key_set_in_a_file_verifies_what_its_keys_signed() {
    let app = App::start(ok());
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (
        BASE64URL_NOPAD.encode(&point[1..33]),
        BASE64URL_NOPAD.encode(&point[33..]),
    );
    let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "a", "use": "sig" }] });
    let text = format!(
        "[routes.plaid]\npath = \"/plaid\"\nprovider = \"plaid\"\njwks = {{ file = \"$DIR/keys.json\" }}\nupstream = \"{}\"\n",
        app.url("/in")
    );
    let options = Gate::options(&text).file("keys.json", set.to_string().as_bytes());
    let gate = options.start().await;
    let claims =
        json!({ "iat": unix_now(), "request_body_sha256": HEXLOWER.encode(&Sha256::digest(BODY)) });
    let sign = |kid: &str| {
        let header = json!({ "alg": "ES256", "kid": kid });
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    };
    let send = |token: String| {
        let hook = Hook::bare("POST", "/plaid", BODY).with("Plaid-Verification", &token);
        let gate = &gate;
        async move { gate.send(&hook).await.status }
    };
    assert_eq!(send(sign("b")).await, 401);
    let confused = hs256(&json!({ "alg": "HS256", "kid": "a" }), &claims, point);
    assert_eq!(send(confused).await, 401);
    assert_eq!(send(sign("a")).await, 200);
    assert_eq!(app.count(), 1);
}

// Fails when a key that cannot be fetched lets a request pass, or is reported as a bad signature.
#[tokio::test]
async fn without_a_key_nothing_passes_and_the_sender_comes_again() {
    let app = App::start(ok());
    let closed = Refusing::new();
    let address = closed.address();
    let text = format!(
        "[routes.kinde]\npath = \"/kinde\"\nprovider = \"kinde\"\njwks = \"https://{address}/jwks.json\"\nupstream = \"{}\"\n",
        app.url("/in")
    );
    let gate = Gate::start(&text).await;
    let header = json!({ "alg": "RS256", "kid": "a" });
    let token = hs256(
        &header,
        &json!({ "event_id": "event_1", "type": "user.created" }),
        b"x",
    );
    let reply = gate
        .send(&Hook::bare("POST", "/kinde", token.as_bytes()))
        .await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), Some("15"));
    assert!(!reply.text().contains("jwks") && !reply.text().contains("127.0.0.1"));
    let is_told = |line: &Value| {
        field(line, "reason").and_then(Value::as_str) == Some("key-unavailable")
            && field(line, "fault")
                .and_then(Value::as_str)
                .is_some_and(|fault| fault.contains("cannot connect"))
    };
    let deadline = crate::harness::LIMIT;
    crate::harness::wait_for("the reason", deadline, || {
        gate.log_events().iter().any(is_told)
    })
    .await;
    assert_eq!(app.count(), 0);
}
