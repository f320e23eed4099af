//! Tests of promise 2, no genuine event is lost: two events that look alike never count as one.
//!
//! Requests are signed as the senders sign, and sent to the real program in proxy and in queue mode.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::harness::app::{App, ok, respond};
use crate::harness::client::Reply;
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, mac};
use crate::harness::unix_now;
use crate::inbox::STORE;

const SECRET: &str = "s3cret-of-a-test-0123456789abcdef";

/// Returns a route for a provider on `/hook`.
fn route(provider: &str, app: &App, more: &str) -> String {
    format!(
        "[routes.hook]\npath = \"/hook\"\nprovider = \"{provider}\"\nsecret = \"{SECRET}\"\nupstream = \"{}\"\n{more}",
        app.url("/in")
    )
}

fn is_duplicate(reply: &Reply) -> bool {
    reply.header("hookgate-duplicate") == Some("true")
}

fn hook(body: &str) -> Hook {
    Hook::bare("POST", "/hook", body.as_bytes()).with("Content-Type", "application/json")
}

fn dropbox(body: &str) -> Hook {
    let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[body.as_bytes()]));
    hook(body).with("X-Dropbox-Signature", &hex)
}

fn clickup(body: &str) -> Hook {
    let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[body.as_bytes()]));
    hook(body).with("X-Signature", &hex)
}

fn github(id: &str, body: &str) -> Hook {
    let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[body.as_bytes()]));
    hook(body)
        .with("X-Hub-Signature-256", &format!("sha256={hex}"))
        .with("X-GitHub-Event", "repository_dispatch")
        .with("X-GitHub-Delivery", id)
}

fn google(channel: &str, number: &str) -> Hook {
    Hook::bare("POST", "/hook", b"")
        .with("X-Goog-Channel-Token", SECRET)
        .with("X-Goog-Channel-ID", channel)
        .with("X-Goog-Message-Number", number)
        .with("X-Goog-Resource-State", "exists")
}

fn hubspot_v1(body: &str) -> Hook {
    let digest = Sha256::digest(format!("{SECRET}{body}"));
    hook(body)
        .with("X-HubSpot-Signature", &HEXLOWER.encode(&digest))
        .with("X-HubSpot-Signature-Version", "v1")
}

fn hubspot_v3(body: &str) -> Hook {
    let millis = (unix_now() * 1000).to_string();
    let text = format!("POSThttps://hooks.example.com/hook{body}{millis}");
    let signature = BASE64.encode(&mac(SECRET.as_bytes(), &[text.as_bytes()]));
    hook(body)
        .with("X-HubSpot-Request-Timestamp", &millis)
        .with("X-HubSpot-Signature-v3", &signature)
}

/// Signs a form. `fields` must be sorted by name.
fn twilio(fields: &[(&str, &str)], token: &str) -> Hook {
    let mut signed = "https://hooks.example.com/hook".to_owned();
    let mut body = Vec::new();
    for (name, value) in fields {
        signed.push_str(&format!("{name}{value}"));
        body.push(format!("{name}={value}"));
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = BASE64.encode(&mac.finalize().into_bytes());
    Hook::bare("POST", "/hook", body.join("&").as_bytes())
        .with("Content-Type", "application/x-www-form-urlencoded")
        .with("X-Twilio-Signature", &signature)
        .with("I-Twilio-Idempotency-Token", token)
}

/// Events that look alike, and further keys of a route for their sender.
fn alike() -> Vec<(&'static str, &'static str, Vec<Hook>)> {
    let url = "public_url = \"https://hooks.example.com\"\n";
    let folder = r#"{"event":"folderUpdated","folder_id":"96","webhook_id":"w"}"#;
    let task = |event: &str| {
        clickup(&format!(
            r#"{{"event":"{event}","task_id":"t","webhook_id":"w","history_items":[{{"id":"2800763136717140857"}}]}}"#
        ))
    };
    let account = r#"{"list_folder":{"accounts":["dbid:A"]},"delta":{"users":[1]}}"#;
    let contact = r#"[{"eventId":100,"subscriptionType":"contact.creation","objectId":1}]"#;
    let deal = r#"[{"eventId":100,"subscriptionType":"deal.creation","objectId":2}]"#;
    let more = r#"[{"eventId":100,"subscriptionType":"contact.creation","objectId":1},{"eventId":101,"subscriptionType":"deal.creation","objectId":2}]"#;
    let dispatch = r#"{"action":"deploy","client_payload":{"env":"prod"}}"#;
    vec![
        (
            "google_channels",
            "",
            vec![google("c", "1"), google("c", "2"), google("c", "3")],
        ),
        ("dropbox", "", vec![dropbox(account), dropbox(account)]),
        (
            "clickup",
            "",
            vec![task("taskStatusUpdated"), task("taskUpdated")],
        ),
        ("clickup", "", vec![clickup(folder), clickup(folder)]),
        (
            "hubspot_v3",
            url,
            vec![hubspot_v3(contact), hubspot_v3(deal), hubspot_v3(more)],
        ),
        (
            "github",
            "",
            vec![github("d-1", dispatch), github("d-2", dispatch)],
        ),
    ]
}

/// Fails when an event counts as a duplicate because its body, an object's id or the first element of a batch came
/// before.
#[tokio::test]
async fn events_that_look_alike_all_reach_the_app() {
    for (provider, more, hooks) in alike() {
        let app = App::start(ok());
        let gate = Gate::start(&route(provider, &app, more)).await;
        for hook in &hooks {
            let reply = gate.send(hook).await;
            assert_eq!(
                (reply.status, is_duplicate(&reply)),
                (200, false),
                "{provider}"
            );
        }
        assert_eq!(app.count(), hooks.len(), "{provider}");
    }
}

/// Fails when the store treats two such events as one.
#[tokio::test]
async fn events_that_look_alike_are_all_stored() {
    for (provider, more, hooks) in alike() {
        let app = App::start(ok());
        let text = format!("{STORE}{}mode = \"queue\"\n", route(provider, &app, more));
        let gate = Gate::start(&text).await;
        for hook in &hooks {
            let reply = gate.send(hook).await;
            assert_eq!(
                (reply.status, is_duplicate(&reply)),
                (200, false),
                "{provider}"
            );
        }
        app.wait_for_requests(hooks.len()).await;
    }
}

/// Fails when a retry is not recognized by the documented key.
#[tokio::test]
async fn a_retry_under_the_same_key_reaches_the_app_once() {
    let dispatch = r#"{"action":"deploy"}"#;
    for (provider, hook) in [
        ("google_channels", google("c", "1")),
        ("github", github("d-1", dispatch)),
    ] {
        let app = App::start(ok());
        let gate = Gate::start(&route(provider, &app, "")).await;
        gate.send(&hook).await;
        assert!(is_duplicate(&gate.send(&hook).await), "{provider}");
        app.only_request();
    }
}

/// Fails when a sender that uses the response gets an empty one: its call would fail.
#[tokio::test]
async fn a_sender_that_uses_the_response_gets_the_apps_own_each_time() {
    let app = App::start(respond(200, "<Response><Say>Hello</Say></Response>"));
    let url = "public_url = \"https://hooks.example.com\"\n";
    let gate = Gate::start(&route("twilio", &app, url)).await;
    let fields = [("CallSid", "CA1"), ("From", "1"), ("To", "2")];
    for token in ["tok-1", "tok-2", "tok-2"] {
        let reply = gate.send(&twilio(&fields, token)).await;
        assert_eq!(
            (reply.status, reply.text().contains("<Say>")),
            (200, true),
            "{token}"
        );
    }
    let requests = app.requests();
    let duplicates: Vec<_> = requests
        .iter()
        .map(|one| one.header("hookgate-duplicate"))
        .collect();
    assert_eq!(duplicates, [None, None, Some("true".to_owned())]);
    assert_eq!(
        requests[1].header("hookgate-replayed-body").as_deref(),
        Some("true")
    );
}

/// Fails when a genuine event is refused forever because of the form of its id.
#[tokio::test]
async fn any_text_of_up_to_1_kib_is_an_id() {
    let app = App::start(ok());
    let text = format!(
        "[routes.hook]\npath = \"/hook\"\nsecret = \"{SECRET}\"\nupstream = \"{}\"\n[routes.hook.scheme]\ntype = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = {{ header = \"X-Sig\" }}\nsigned = \"{{body}}\"\nevent_id = {{ json = \"/id\" }}\n",
        app.url("/in")
    );
    let gate = Gate::start(&text).await;
    let long = "x".repeat(1024);
    let ids = [
        "2026-11-29 21:00:00",
        "Größe-1",
        "a\nb",
        &"y".repeat(300),
        &long,
    ];
    for id in ids {
        let body = serde_json::json!({ "id": id }).to_string();
        let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[body.as_bytes()]));
        let signed = hook(&body).with("X-Sig", &hex);
        let first = gate.send(&signed).await;
        assert_eq!((first.status, is_duplicate(&first)), (200, false), "{id}");
        assert!(is_duplicate(&gate.send(&signed).await), "{id}");
    }
    assert_eq!(app.count(), ids.len());
    // The log shows its start, in one line.
    assert!(gate.log_lines().iter().all(|line| line.len() < 2048));
}

/// Fails when two events of a sender without ids count as one because their bodies are equal.
#[tokio::test]
async fn a_scheme_without_an_id_loses_no_event_with_an_equal_body() {
    let schemes = [
        "type = \"token\"\ntoken = { header = \"X-Token\" }\n",
        "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { header = \"X-Sig\" }\nsigned = \"{body}\"\n",
    ];
    for scheme in schemes {
        let app = App::start(ok());
        let text = format!(
            "[routes.hook]\npath = \"/hook\"\nsecret = \"{SECRET}\"\nupstream = \"{}\"\n[routes.hook.scheme]\n{scheme}",
            app.url("/in")
        );
        let gate = Gate::start(&text).await;
        let hex = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[b"{}"]));
        let event = hook("{}").with("X-Token", SECRET).with("X-Sig", &hex);
        for _ in 0..2 {
            let reply = gate.send(&event).await;
            assert_eq!(
                (reply.status, is_duplicate(&reply)),
                (200, false),
                "{scheme}"
            );
        }
        assert_eq!(app.count(), 2);
    }
}

/// Fails when the ids of two bots below one prefix collide.
#[tokio::test]
async fn below_a_prefix_an_id_belongs_to_its_path() {
    let app = App::start(ok());
    let text = route("telegram", &app, "").replace("path = \"/hook\"", "prefix = \"/bots\"");
    let gate = Gate::start(&text).await;
    let update = hook(r#"{"update_id":7}"#).with("X-Telegram-Bot-Api-Secret-Token", SECRET);
    for path in ["/bots/a", "/bots/b"] {
        let reply = gate.send(&update.clone().to(path)).await;
        assert_eq!((reply.status, is_duplicate(&reply)), (200, false), "{path}");
    }
    assert_eq!(app.count(), 2);
}

/// Fails when the filter checks only the first event of a batch: the wanted second one would be lost with a 200.
#[tokio::test]
async fn a_batch_is_forwarded_if_any_of_its_events_is_wanted() {
    let app = App::start(ok());
    let gate = Gate::start(&route("hubspot_v1", &app, "events = [\"deal.*\"]\n")).await;
    let event = |kind: &str| format!(r#"{{"eventId":1,"subscriptionType":"{kind}"}}"#);
    let mixed = format!("[{},{}]", event("contact.creation"), event("deal.creation"));
    let reply = gate.send(&hubspot_v1(&mixed)).await;
    assert_eq!(
        (reply.status, reply.header("hookgate-filtered")),
        (200, None)
    );
    let other = format!(
        "[{},{}]",
        event("contact.creation"),
        event("contact.deletion")
    );
    let reply = gate.send(&hubspot_v1(&other)).await;
    assert_eq!(reply.header("hookgate-filtered"), Some("true"));
    app.only_request();
}

/// Fails when a request that the sender signed for another customer reaches the app.
#[tokio::test]
async fn a_sender_that_signs_for_all_its_customers_is_held_to_one() {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let public = BASE64URL_NOPAD.encode(key.public_key().as_ref());
    let app = App::start(ok());
    let text = route("fal", &app, "audience = \"user-1\"\n").replace(SECRET, &public);
    let gate = Gate::start(&text).await;
    let signed = |user: &str| {
        let (body, seconds) = (r#"{"status":"OK"}"#, unix_now().to_string());
        let digest = HEXLOWER.encode(&Sha256::digest(body));
        let text = format!("req-{user}\n{user}\n{seconds}\n{digest}");
        hook(body)
            .with("X-Fal-Webhook-Request-Id", &format!("req-{user}"))
            .with("X-Fal-Webhook-User-Id", user)
            .with("X-Fal-Webhook-Timestamp", &seconds)
            .with(
                "X-Fal-Webhook-Signature",
                &HEXLOWER.encode(key.sign(text.as_bytes()).as_ref()),
            )
    };
    assert_eq!(gate.send(&signed("user-1")).await.status, 200);
    assert_eq!(gate.send(&signed("user-2")).await.status, 401);
    app.only_request();
    let line = gate.wait_for_line(&["wrong-tenant"]).await;
    assert!(line.contains("security"), "{line}");
}

/// Fails when only the first location that names a customer counts: a list of an agency's locations, or a company beside
/// the location, can be another customer's.
#[tokio::test]
async fn every_customer_that_an_event_names_has_to_be_ones_own() {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    // The key as SubjectPublicKeyInfo (RFC 8410).
    let prefix = HEXLOWER.decode(b"302a300506032b6570032100").unwrap();
    let der = [&prefix, key.public_key().as_ref()].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\\n{}\\n-----END PUBLIC KEY-----",
        BASE64.encode(&der)
    );
    let app = App::start(ok());
    let text = route(
        "highlevel",
        &app,
        "audience = [\"location-1\", \"location-2\", \"company-1\"]\n",
    );
    let gate = Gate::start(&text.replace(SECRET, &pem)).await;
    let mut genuine = 0;
    for (number, (named, expected)) in [
        (r#""locationId":"location-1""#, 200),
        (r#""companyId":"company-1""#, 200),
        (r#""locationId":"location-2","companyId":"company-1""#, 200),
        (
            r#""companyId":"company-1","locations":["location-1","location-2"]"#,
            200,
        ),
        (r#""companyId":"company-1","locations":[]"#, 200),
        (r#""locationId":"location-1","companyId":null"#, 200),
        (r#""locationId":"location-9""#, 401),
        (r#""companyId":"company-9""#, 401),
        (r#""locationId":"location-1","companyId":"company-9""#, 401),
        (r#""locationId":"location-9","companyId":"company-1""#, 401),
        (
            r#""companyId":"company-1","locations":["location-1","location-9"]"#,
            401,
        ),
        (r#""companyId":"company-1","locations":"location-1""#, 401),
        (
            r#""companyId":"company-1","locations":[["location-1"]]"#,
            401,
        ),
        (
            r#""locationId":"location-1","companyId":["company-1"]"#,
            401,
        ),
        (r#""name":"x""#, 401),
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!(r#"{{"type":"UserCreate","webhookId":"{number}",{named}}}"#);
        let signature = BASE64.encode(key.sign(body.as_bytes()).as_ref());
        let reply = gate
            .send(&hook(&body).with("x-ghl-signature", &signature))
            .await;
        assert_eq!(reply.status, expected, "{named}");
        genuine += usize::from(expected == 200);
    }
    assert_eq!(app.count(), genuine);
}

/// Fails when the operator cannot see why a genuine request counted as a duplicate.
#[tokio::test]
async fn an_operator_sees_which_key_and_which_earlier_request_made_a_duplicate() {
    let app = App::start(ok());
    let token = "an-admin-token-0123456789abcdef";
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{token}\"\n{}",
        route("github", &app, "")
    );
    let gate = Gate::start(&text).await;
    let event = github("d-1", r#"{"a":1}"#);
    let first = gate.send(&event).await;
    let second = gate.send(&event).await;
    assert!(is_duplicate(&second));
    let id = |reply: &Reply| reply.header("hookgate-request-id").unwrap().to_owned();
    let told = gate.hookgate(token, &["explain", &id(&second)]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for text in ["duplicate", "x-github-delivery", &id(&first)] {
        assert!(told.contains(text), "{text}: {told}");
    }
}
