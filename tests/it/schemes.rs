//! Tests of the forms of requests that senders really use.
//!
//! Other header names, multipart forms, compressed bodies, many keys, URLs with another port or below a base path. The
//! app gets the bytes as they came.

use std::io::Write as _;

use data_encoding::{BASE64, HEXLOWER};
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender, mac};
use crate::harness::unix_now;

const SECRET: &str = "s3cret-of-a-test-0123456789abcdef";

/// Starts a gate with one route for a provider, on `/a`.
async fn gate(app: &App, provider: &str, more: &str) -> Gate {
    let upstream = app.url("/in");
    Gate::start(&format!(
        "[routes.a]\npath = \"/a\"\nprovider = \"{provider}\"\nsecret = \"{SECRET}\"\nupstream = \"{upstream}\"\n{more}\n"
    ))
    .await
}

/// Fails when the unbranded names are not read, or are mixed with the branded ones.
#[tokio::test]
async fn svix_sends_under_either_family_of_names_and_never_under_both() {
    let app = App::start(ok());
    let upstream = app.url("/in");
    let gate = Gate::start(&Provider::Svix.route("svix", &upstream, "")).await;
    let branded = Sender::new(Provider::Svix).event_of("/svix", "msg_1");
    let unbranded = |hook: &Hook| {
        let mut hook = hook.clone();
        for (name, _) in &mut hook.headers {
            *name = name.replace("svix-", "webhook-");
        }
        hook
    };
    assert_eq!(gate.send(&unbranded(&branded)).await.status, 200);
    let seen = app.only_request();
    assert_eq!(seen.header("webhook-id").as_deref(), Some("msg_1"));
    assert_eq!(seen.header("hookgate-event-id").as_deref(), Some("msg_1"));

    // The event is the same under the other names.
    let again = gate.send(&branded).await;
    assert_eq!(again.header("hookgate-duplicate"), Some("true"));

    // An unsigned id of the other family is ignored.
    let other = Sender::new(Provider::Svix).event_of("/svix", "msg_2");
    for mixed in [
        unbranded(&other).with("svix-id", "msg_1"),
        other.clone().with("webhook-id", "msg_1"),
        unbranded(&other)
            .without("webhook-id")
            .with("svix-id", "msg_2"),
    ] {
        assert_eq!(gate.send(&mixed).await.status, 401, "{mixed:?}");
    }
    // Copies of one value do not count as a mixture.
    let both = other.with("webhook-id", "msg_2");
    assert_eq!(gate.send(&both).await.status, 200);
    assert_eq!(app.count(), 2);
}

/// Fails when only some of the numbered headers are read.
#[tokio::test]
async fn docusign_signs_under_any_of_a_hundred_keys() {
    let app = App::start(ok());
    let gate = gate(&app, "docusign", "").await;
    let body = br#"{"event":"envelope-completed"}"#;
    let right = BASE64.encode(&mac(SECRET.as_bytes(), &[body]));
    let wrong = BASE64.encode(&mac(b"another", &[body]));
    let hook = Hook::bare("POST", "/a", body).with("content-type", "application/json");
    for number in [1, 5, 100] {
        let name = format!("X-DocuSign-Signature-{number}");
        assert_eq!(
            gate.send(&hook.clone().with(&name, &right)).await.status,
            200
        );
        assert_eq!(
            gate.send(&hook.clone().with(&name, &wrong)).await.status,
            401
        );
    }
    let mut all = hook.clone();
    for number in 1..=60 {
        let value = if number == 60 { &right } else { &wrong };
        all = all.with(&format!("X-DocuSign-Signature-{number}"), value);
    }
    assert_eq!(gate.send(&all).await.status, 200);
    let beyond = hook.with("X-DocuSign-Signature-101", &right);
    assert_eq!(gate.send(&beyond).await.status, 401);
}

/// Fails when the id is signed as it was sent.
#[tokio::test]
async fn mercadopago_signs_the_id_in_lower_case() {
    let app = App::start(ok());
    let gate = gate(&app, "mercadopago", "").await;
    for id in ["ORD01JQ4S4KY8HWQ6NA5PXB65B3D3", "123456"] {
        let now = unix_now();
        let signed = format!("id:{};request-id:r-1;ts:{now};", id.to_lowercase());
        let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[signed.as_bytes()]));
        let target = format!("/a?data.id={id}&type=order");
        let body = format!(r#"{{"id":"{id}-1","action":"order.processed","type":"order"}}"#);
        let hook = Hook::bare("POST", &target, body.as_bytes())
            .with("content-type", "application/json")
            .with("x-request-id", "r-1")
            .with("x-signature", &format!("ts={now},v1={hex}"));
        assert_eq!(gate.send(&hook).await.status, 200, "{id}");
        let other = hook.to(&format!("/a?data.id={id}1&type=order"));
        assert_eq!(gate.send(&other).await.status, 401, "{id}");
    }
    assert_eq!(app.count(), 2);
}

fn mailgun_fields(token: &str) -> Vec<(&'static str, String)> {
    let now = unix_now().to_string();
    let signature = mac(SECRET.as_bytes(), &[now.as_bytes(), token.as_bytes()]);
    vec![
        ("recipient", "support@mg.example.com".to_owned()),
        ("timestamp", now),
        ("token", token.to_owned()),
        ("signature", HEXLOWER.encode(&signature)),
        ("Message-Id", "<m1@example.org>".to_owned()),
    ]
}

fn in_parts(fields: &[(&str, String)], end: &[u8]) -> Hook {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b0\r\nContent-Disposition: form-data; name=\"attachment-1\"; filename=\"a.bin\"\r\n\r\n\xff\x00\r\n");
    body.extend_from_slice(end);
    let hook = Hook::bare("POST", "/a", &body);
    hook.with("content-type", "multipart/form-data; boundary=b0")
}

/// Fails when forms of inbound routes are not read, when a file part counts as a field, or a repeated field counts.
#[tokio::test]
async fn mailgun_posts_inbound_mail_as_a_form_or_in_parts() {
    let app = App::start(ok());
    let gate = gate(&app, "mailgun", "").await;
    let fields = mailgun_fields("t-1");
    let whole = in_parts(&fields, b"--b0--\r\n");
    assert_eq!(gate.send(&whole).await.status, 200);
    let seen = app.only_request();
    assert_eq!(seen.body, whole.body);
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace('@', "%40")))
        .collect();
    let form = Hook::bare("POST", "/a", pairs.join("&").as_bytes());
    let form = form.with("content-type", "application/x-www-form-urlencoded");
    assert_eq!(gate.send(&form).await.status, 200);
    assert_eq!(app.count(), 2);

    let mut doubled = fields.clone();
    doubled.push(("token", "t-2".to_owned()));
    let mut forged = fields.clone();
    forged[2].1 = "t-2".to_owned();
    for hook in [
        in_parts(&doubled, b"--b0--\r\n"),
        in_parts(&forged, b"--b0--\r\n"),
        in_parts(&fields, b""),
        in_parts(&fields, b"--b0--\r\nmore"),
    ] {
        assert_eq!(gate.send(&hook).await.status, 401);
    }
    assert_eq!(app.count(), 2);
}

fn twilio(url: &str, fields: &[(&str, &str)], target: &str) -> Hook {
    let mut text = url.to_owned();
    fields.iter().for_each(|(name, value)| {
        text.push_str(name);
        text.push_str(value);
    });
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature = BASE64.encode(&mac.finalize().into_bytes());
    Hook::bare("POST", target, pairs.join("&").as_bytes())
        .with("content-type", "application/x-www-form-urlencoded")
        .with("X-Twilio-Signature", &signature)
}

/// Fails when only one form of the URL passes, or every form.
#[tokio::test]
async fn twilio_signs_the_url_with_its_port_and_without() {
    let fields = [("Body", "hello"), ("From", "1")];
    for (public_url, signed) in [
        ("https://h.example:8443", "https://h.example:8443"),
        ("https://h.example:8443", "https://h.example"),
        ("https://h.example", "https://h.example"),
        ("https://h.example", "https://h.example:443"),
        ("http://h.example/prod", "http://h.example:80/prod"),
        ("https://h.example/prod", "https://h.example/prod"),
    ] {
        let app = App::start(ok());
        let gate = gate(&app, "twilio", &format!("public_url = \"{public_url}\"")).await;
        let hook = twilio(&format!("{signed}/a"), &fields, "/a");
        assert_eq!(gate.send(&hook).await.status, 200, "{public_url} {signed}");
        for other in [
            "https://h.example:444/a",
            "https://h.example/staging/a",
            "https://other.example/a",
        ] {
            let hook = twilio(other, &fields, "/a");
            assert_eq!(gate.send(&hook).await.status, 401, "{public_url} {other}");
        }
    }
    // If the config has no port, the port of the request counts.
    let app = App::start(ok());
    let gate = gate(&app, "twilio", "public_url = \"https://h.example\"").await;
    let hook = twilio("https://h.example:8443/a", &fields, "/a");
    assert_eq!(gate.send(&hook).await.status, 401);
    let hook = hook.at_host("h.example:8443");
    assert_eq!(gate.send(&hook).await.status, 200);
}

/// Fails when a signed path lacks the part that a proxy in front has removed, in any scheme.
#[tokio::test]
async fn a_base_path_precedes_every_signed_path() {
    let app = App::start(ok());
    let upstream = app.url("/in");
    let mut config = String::new();
    let parts = ["{url}", "{url_no_query}", "{path}", "{path_query}"];
    for (number, part) in parts.iter().enumerate() {
        config.push_str(&format!(
            "[routes.r{number}]\npath = \"/r{number}\"\nsecret = \"{SECRET}\"\nupstream = \"{upstream}\"\npublic_url = \"https://h.example/prod/\"\n\
             [routes.r{number}.scheme]\ntype = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = {{ header = \"X-Sig\" }}\nsigned = \"{part}{{body}}\"\n\n"
        ));
    }
    let gate = Gate::start(&config).await;
    for (number, part) in parts.iter().enumerate() {
        let path = format!("/r{number}");
        let signed = match *part {
            "{url}" => format!("https://h.example/prod{path}?a=1"),
            "{url_no_query}" => format!("https://h.example/prod{path}"),
            "{path}" => format!("/prod{path}"),
            _ => format!("/prod{path}?a=1"),
        };
        for (text, status) in [(signed.clone(), 200), (signed.replace("/prod", ""), 401)] {
            let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[text.as_bytes(), b"{}"]));
            let hook = Hook::bare("POST", &format!("{path}?a=1"), b"{}").with("X-Sig", &hex);
            assert_eq!(gate.send(&hook).await.status, status, "{part} {text}");
        }
    }
    assert_eq!(app.count(), parts.len());
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Fails when the signature is verified over the compressed bytes, when filters read them, or when other bytes are
/// forwarded.
#[tokio::test]
async fn a_compressed_body_is_verified_in_plain_and_forwarded_as_it_came() {
    let app = App::start(ok());
    let gate = gate(
        &app,
        "stream_chat",
        "events = [\"message.new\"]\nmax_body = \"64 KiB\"",
    )
    .await;
    let send = |text: Vec<u8>, body: Vec<u8>, id: &'static str| {
        let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[&text]));
        Hook::bare("POST", "/a", &body)
            .with("content-type", "application/json")
            .with("content-encoding", "gzip")
            .with("X-Webhook-Id", id)
            .with("X-Signature", &hex)
    };
    let text = br#"{"type":"message.new","text":"hello"}"#.to_vec();
    let packed = gzip(&text);
    let hook = send(text.clone(), packed.clone(), "w-1");
    assert_eq!(gate.send(&hook).await.status, 200);
    let seen = app.only_request();
    assert_eq!(seen.body, packed);
    assert_eq!(seen.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(
        seen.header("hookgate-event-type").as_deref(),
        Some("message.new")
    );

    let other = br#"{"type":"user.updated"}"#.to_vec();
    let filtered = gate.send(&send(other.clone(), gzip(&other), "w-2")).await;
    assert_eq!(filtered.header("hookgate-filtered"), Some("true"));
    // Signed over the sent bytes instead of the text, damaged, and with trailing bytes.
    let mut damaged = packed.clone();
    let sum = damaged.len() - 5;
    damaged[sum] ^= 1;
    let twice = [packed.clone(), packed.clone()].concat();
    for hook in [
        send(packed.clone(), packed.clone(), "w-3"),
        send(text.clone(), damaged, "w-4"),
        send(text.clone(), twice, "w-5"),
    ] {
        assert_eq!(gate.send(&hook).await.status, 401);
    }
    let long = format!(
        r#"{{"type":"message.new","text":"{}"}}"#,
        "x".repeat(70_000)
    );
    let bomb = send(long.clone().into_bytes(), gzip(long.as_bytes()), "w-6");
    assert_eq!(gate.send(&bomb).await.status, 413);
    assert_eq!(app.count(), 1);
}

/// Fails when the text of a compressed body that is signed as sent is not read.
#[tokio::test]
async fn a_compressed_body_that_is_signed_as_sent_is_read_in_plain() {
    let app = App::start(ok());
    let gate = gate(&app, "nylas", "events = [\"message.*\"]").await;
    let text = br#"{"specversion":"1.0","type":"message.created","source":"/s","id":"n-1"}"#;
    let packed = gzip(text);
    let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[&packed]));
    let hook = Hook::bare("POST", "/a", &packed)
        .with("content-type", "application/json")
        .with("content-encoding", "gzip")
        .with("X-Nylas-Signature", &hex);
    assert_eq!(gate.send(&hook).await.status, 200);
    let seen = app.only_request();
    assert_eq!(seen.body, packed);
    assert_eq!(
        seen.header("hookgate-event-type").as_deref(),
        Some("message.created")
    );
}

/// Fails when the signature in a form is verified over the form, or when unsigned fields are accepted.
#[tokio::test]
async fn gitea_signs_the_payload_of_a_form() {
    let app = App::start(ok());
    let gate = gate(&app, "gitea", "").await;
    let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[br#"{"ref":"a b"}"#]));
    let send = |body: &str| {
        Hook::bare("POST", "/a", body.as_bytes())
            .with("content-type", "application/x-www-form-urlencoded")
            .with("X-Gitea-Event", "push")
            .with("X-Gitea-Delivery", "d-1")
            .with("X-Gitea-Signature", &hex)
    };
    let form = "payload=%7B%22ref%22%3A%22a+b%22%7D";
    assert_eq!(gate.send(&send(form)).await.status, 200);
    for other in [
        format!("{form}&ref=x"),
        format!("{form}&{form}"),
        "other=%7B%22ref%22%3A%22a+b%22%7D".to_owned(),
        "payload=%7B%22ref%22%3A%22a+c%22%7D".to_owned(),
    ] {
        assert_eq!(gate.send(&send(&other)).await.status, 401, "{other}");
    }
    assert_eq!(app.only_request().body, form.as_bytes());
}
