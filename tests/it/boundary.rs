//! Tests that a captured request cannot become another request, by cutting its signed text elsewhere or extending it.

use data_encoding::HEXLOWER;
use sha1::{Digest as _, Sha1};

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, mac};
use crate::harness::unix_now;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn route(id: &str, app: &App) -> String {
    format!(
        "[routes.{id}]\npath = \"/{id}\"\nprovider = \"{id}\"\nsecret = \"{SECRET}\"\nupstream = \"{}\"\ndedup = false\n",
        app.url("/in")
    )
}

/// Fails when the list of signed headers may leave out the time, the type or itself (`Listing::check`).
#[tokio::test]
async fn a_listed_header_swallows_neither_time_nor_type() {
    let app = App::start(ok());
    let gate = Gate::start(&route("contentful", &app)).await;
    let body = br#"{"sys":{"id":"e"}}"#;
    let list = "content-type,x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic";
    let (kind, topic) = ("application/json", "ContentManagement.Entry.publish");
    let sign = |time: &str| {
        let entries = format!(
            "content-type:{kind};x-contentful-signed-headers:{list};x-contentful-timestamp:{time};x-contentful-topic:{topic}"
        );
        let text = format!("POST\n/contentful\n{entries}\n");
        let signature = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[text.as_bytes(), body]));
        (entries, signature)
    };
    let hook = |kind: &str, list: &str, time: &str, topic: &str, signature: &str| {
        Hook::bare("POST", "/contentful", body)
            .with("content-type", kind)
            .with("x-contentful-signed-headers", list)
            .with("x-contentful-timestamp", time)
            .with("x-contentful-topic", topic)
            .with("x-contentful-signature", signature)
    };
    let now = (unix_now() * 1000).to_string();
    let (_, signature) = sign(&now);
    let genuine = hook(kind, list, &now, topic, &signature);
    assert_eq!(gate.send(&genuine).await.status, 200);
    // Captured long ago: one header contains all the others.
    let (entries, signature) = sign("1700000000000");
    let swallowing = entries.strip_prefix("content-type:").unwrap();
    let swallowing = swallowing.replace(list, "content-type");
    for (kind, list) in [
        (
            entries.strip_prefix("content-type:").unwrap(),
            "content-type",
        ),
        (&*swallowing, "content-type"),
        (kind, "content-type"),
    ] {
        let replayed = hook(
            kind,
            list,
            &now,
            "ContentManagement.Entry.delete",
            &signature,
        );
        assert_eq!(gate.send(&replayed).await.status, 401);
    }
    assert_eq!(app.count(), 1);
}

/// Fails when a body under a plain digest may be anything (`needs_whole_body`): its digest can be computed from that of
/// a shorter one.
#[tokio::test]
async fn a_body_is_not_extended() {
    let app = App::start(ok());
    let gate = Gate::start(&route("sellsy", &app)).await;
    let body = br#"{"eventType":"docslog"}"#;
    let length = SECRET.len() + body.len();
    let mut longer = body.to_vec();
    longer.push(0x80);
    while (SECRET.len() + longer.len()) % 64 != 56 {
        longer.push(0);
    }
    longer.extend_from_slice(&u64::try_from(length * 8).unwrap().to_be_bytes());
    longer.extend_from_slice(br#"{"eventType":"other"}"#);
    for (body, status) in [(&body[..], 200), (&longer, 401)] {
        let signature = HEXLOWER.encode(&Sha1::digest([SECRET.as_bytes(), body].concat()));
        let hook = Hook::bare("POST", "/sellsy", body).with("X-Webhook-Signature", &signature);
        assert_eq!(gate.send(&hook).await.status, status);
    }
    assert_eq!(app.count(), 1);
}
