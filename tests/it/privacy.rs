//! Tests of tokens that are limited to routes, of tokens without payload, and of erasing events.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::app::{App, Recorded, by, ok, respond};
use crate::harness::client::{Client, Reply};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, poll_for, wait_for};

const ADMIN: &str = "zQ4v9Jm2Lr7Xw1Bt";
const LIMITED: &str = "b7Hc2Vt9Ks4Yd8Nf";
const BLIND: &str = "m3Gx6Pq1Wz5Ju0Ra";
const SCRAPER: &str = "w8Tn5Lb3Qy7Me2Xc";

/// What a limited token must never see: names, ids, types and contents of the other route.
const HIDDEN_WORDS: [&str; 7] = [
    "hidden",
    "vault-app",
    "evt-vault-1",
    "evt-vault-2",
    "ledger.closed",
    "vault-body-marker",
    "vault-response-marker",
];

fn config(visible: &App, hidden: &App) -> String {
    let secret = Provider::StandardWebhooks.secret();
    let route = |name: &str, app: &App, destination: &str| {
        format!(
            "[routes.{name}]\npath = \"/{name}\"\nprovider = \"standard_webhooks\"\nsecret = \"{secret}\"\n\
             mode = \"queue\"\n[routes.{name}.destinations.{destination}]\nurl = \"{}\"\n\
             retry = {{ schedule = [\"1h\"] }}\n",
            app.url("/in")
        )
    };
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{ADMIN}\"\n\
         [[admin.tokens]]\nname = \"limited\"\nrole = \"operator\"\nroutes = [\"shop-*\"]\ntoken = \"{LIMITED}\"\n\
         [[admin.tokens]]\nname = \"blind\"\nrole = \"operator\"\npayload = false\ntoken = \"{BLIND}\"\n\
         [[admin.tokens]]\nname = \"scraper\"\nrole = \"viewer\"\nroutes = [\"shop-eu\"]\ntoken = \"{SCRAPER}\"\n\
         [store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n{}{}",
        route("shop-eu", visible, "desk"),
        route("hidden", hidden, "vault-app"),
    )
}

async fn send(gate: &Gate, token: &str, hook: Hook) -> Reply {
    let hook = hook.with("Authorization", &format!("Bearer {token}"));
    Client::new(gate.admin_address(), None).send(&hook).await
}

async fn get(gate: &Gate, token: &str, path: &str) -> Reply {
    send(gate, token, Hook::bare("GET", path, b"")).await
}

async fn post(gate: &Gate, token: &str, path: &str, body: &Value) -> Reply {
    let hook = Hook::bare("POST", path, body.to_string().as_bytes());
    send(gate, token, hook.with("Content-Type", "application/json")).await
}

fn document(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|err| panic!("{err}: {}", reply.text()))
}

fn event(route: &str, id: &str, body: &Value) -> Hook {
    let body = body.to_string();
    Sender::new(Provider::StandardWebhooks).sign(&format!("/{route}"), id, body.as_bytes())
}

/// Sends an event and returns its id in the inbox.
async fn accept(gate: &Gate, hook: &Hook) -> String {
    let reply = gate.send(hook).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("hookgate-request-id").unwrap().to_owned()
}

/// A gate with events, rejected requests, dead letters, a paused destination and a replay on both routes.
struct Filled {
    gate: Gate,
    /// Ids of requests and events, numbers of deliveries and replays, of the route that the token sees.
    visible: Ids,
    hidden: Ids,
    _apps: [App; 2],
}

struct Ids {
    uid: String,
    rejected: String,
    delivery: String,
    replay: String,
}

async fn filled() -> Filled {
    let (shop, vault) = (
        App::start(respond(500, "shop-response-marker")),
        App::start(respond(500, "vault-response-marker")),
    );
    let gate = Gate::start(&config(&shop, &vault)).await;
    let mut both = Vec::new();
    for (route, prefix, kind, app) in [
        ("shop-eu", "evt-shop", "order.made", &shop),
        ("hidden", "evt-vault", "ledger.closed", &vault),
    ] {
        let marker = prefix.replace("evt-", "") + "-body-marker";
        let uid = accept(
            &gate,
            &event(
                route,
                &format!("{prefix}-1"),
                &json!({ "type": kind, "note": marker }),
            ),
        )
        .await;
        let forged = event(
            route,
            &format!("{prefix}-2"),
            &json!({ "type": kind, "note": marker }),
        );
        let rejected = gate.send(&forged.flip_body_byte()).await;
        assert_eq!(rejected.status, 401);
        app.wait_for_requests(1).await;
        let delivery = poll_for("a failed attempt", LIMIT, async || {
            let path = format!("/api/v1/deliveries?route={route}");
            let listed = document(&get(&gate, ADMIN, &path).await);
            let row = &listed["deliveries"][0];
            (row["state"] == "waiting").then(|| row["id"].to_string())
        })
        .await;
        let search = json!({ "search": { "route": route } });
        let replay = post(&gate, ADMIN, "/api/v1/replays", &search).await;
        assert_eq!(replay.status, 201, "{}", replay.text());
        both.push(Ids {
            uid,
            rejected: rejected.header("hookgate-request-id").unwrap().to_owned(),
            delivery,
            replay: document(&replay)["replay"]["id"].to_string(),
        });
    }
    let hidden = both.pop().unwrap();
    Filled {
        gate,
        visible: both.pop().unwrap(),
        hidden,
        _apps: [shop, vault],
    }
}

/// Fills the parameters of a path with values of one of the routes.
fn fill(path: &str, route: &str, destination: &str, ids: &Ids) -> Vec<String> {
    let mut paths = vec![path.to_owned()];
    // Deliveries and replays are numbered separately, so the number of a replay may be that of a delivery of another route.
    let numbers = match path {
        _ if path.contains("/deliveries/") => vec![ids.delivery.as_str()],
        _ if path.contains("/replays/") => vec![ids.replay.as_str()],
        _ => vec![
            ids.delivery.as_str(),
            ids.replay.as_str(),
            "standard_webhooks",
        ],
    };
    let values: [(&str, Vec<&str>); 6] = [
        ("{route}", vec![route]),
        ("{name}", vec![destination]),
        ("{receiver}", vec![destination]),
        ("{uid}", vec![&ids.uid, &ids.rejected]),
        ("{request_id}", vec![&ids.uid, &ids.rejected]),
        ("{id}", numbers),
    ];
    for (parameter, values) in values {
        if path.contains(parameter) {
            paths = paths
                .iter()
                .flat_map(|path| values.iter().map(|value| path.replace(parameter, value)))
                .collect();
        }
    }
    paths
}

/// Reads the start of a stream; other responses are read whole.
async fn read(gate: &Gate, token: &str, path: &str) -> (u16, String) {
    if !path.contains("/tail") {
        let reply = get(gate, token, path).await;
        return (reply.status, reply.text());
    }
    let hook = Hook::bare("GET", path, b"").with("Authorization", &format!("Bearer {token}"));
    let mut raw = crate::harness::raw::Raw::connect(gate.admin_address(), None).await;
    raw.send(&hook.to_http1()).await;
    // The head and what is in the stream at once.
    let bytes = raw.read_at_least(200, LIMIT).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text[9..12].parse().unwrap(), text)
}

fn assert_blind_to(hidden: &Ids, what: &str, text: &str) {
    let own = [&hidden.uid, &hidden.rejected].map(String::as_str);
    for word in HIDDEN_WORDS.iter().chain(&own) {
        assert!(!text.contains(word), "{what} shows `{word}`: {text}");
    }
}

/// Fails when a resource of the API is not limited to the routes of a token: every documented path is requested with
/// parameters of the visible and of the hidden route, and no response may contain anything of the hidden one, or differ
/// from that for something that does not exist.
#[tokio::test]
async fn a_limited_token_sees_nothing_of_other_routes() {
    let Filled {
        gate,
        visible,
        hidden,
        _apps,
    } = filled().await;
    let api = document(&get(&gate, ADMIN, "/api/v1/openapi.json").await);
    let paths = api["paths"].as_object().unwrap();
    assert!(paths.len() > 40, "{}", paths.len());
    let nothing = Ids {
        uid: "0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12".to_owned(),
        rejected: "0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f13".to_owned(),
        delivery: "99999".to_owned(),
        replay: "99998".to_owned(),
    };
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            // What the operator sees shows that the words below would be found.
            for (ids, route, name) in [
                (&visible, "shop-eu", "desk"),
                (&hidden, "hidden", "vault-app"),
            ] {
                for at in fill(path, route, name, ids) {
                    let what = format!("{method} {at}");
                    if method == "get" {
                        let (_, text) = read(&gate, LIMITED, &at).await;
                        let queried = text.replace(&hidden.uid, "").replace(&hidden.rejected, "");
                        // A refusal may repeat the id or name that the client itself sent.
                        let queried = match ids.uid == hidden.uid {
                            true => queried.replace("hidden", "").replace("vault-app", ""),
                            false => text,
                        };
                        assert_blind_to(&hidden, &what, &queried);
                    }
                }
            }
            // Nothing of the other route exists: the same status as for names and numbers that nothing has.
            let known = fill(path, "hidden", "vault-app", &hidden);
            let unknown = fill(path, "nowhere", "nothing", &nothing);
            if known.len() == unknown.len() && path.contains('{') && !path.contains("/providers/") {
                for (known, unknown) in known.iter().zip(&unknown) {
                    let (known, unknown) = match method.as_str() {
                        "get" => (
                            read(&gate, LIMITED, known).await,
                            read(&gate, LIMITED, unknown).await,
                        ),
                        _ => {
                            let one = post(&gate, LIMITED, known, &Value::Null).await;
                            let other = post(&gate, LIMITED, unknown, &Value::Null).await;
                            ((one.status, one.text()), (other.status, other.text()))
                        }
                    };
                    assert_eq!(
                        known.0, unknown.0,
                        "{method} {path}: {} / {}",
                        known.1, unknown.1
                    );
                    assert!(known.0 >= 400, "{method} {path}: {}", known.1);
                }
            }
        }
    }
    // The operator still has everything: no change above reached the hidden route.
    let listed = document(&get(&gate, ADMIN, "/api/v1/deliveries?route=hidden").await);
    assert!(listed.to_string().contains("evt-vault-1"), "{listed}");
    assert!(!listed.to_string().contains("cancelled"), "{listed}");
}

/// Fails when a search, a bulk change, a replay or an erasure of a limited token reaches other routes.
#[tokio::test]
async fn bulk_changes_and_counts_stay_within_the_routes_of_a_token() {
    let Filled {
        gate,
        visible,
        hidden,
        _apps,
    } = filled().await;
    // A replay is made in the background, and counts from then on.
    poll_for("each route has its replay", LIMIT, async || {
        let search = json!({ "all": true, "dry_run": true });
        let open = post(&gate, ADMIN, "/api/v1/deliveries/cancel", &search).await;
        (document(&open)["count"] == 4).then_some(())
    })
    .await;
    for (path, mine) in [
        (
            "/api/v1/deliveries/cancel",
            json!({ "all": true, "dry_run": true }),
        ),
        ("/api/v1/replays", json!({ "all": true, "dry_run": true })),
        (
            "/api/v1/events/erase",
            json!({ "all": true, "dry_run": true }),
        ),
        (
            "/api/v1/events/erase",
            json!({ "search": { "text": "body-marker" }, "dry_run": true }),
        ),
    ] {
        let own = document(&post(&gate, LIMITED, path, &mine).await);
        let all = document(&post(&gate, ADMIN, path, &mine).await);
        let (own, all) = (
            own["count"].as_u64().unwrap(),
            all["count"].as_u64().unwrap(),
        );
        assert!(own > 0 && own * 2 == all, "{path}: {own} of {all}");
        let mut theirs = mine.clone();
        theirs["search"]["route"] = "hidden".into();
        let none = document(&post(&gate, LIMITED, path, &theirs).await);
        assert_eq!(none["count"], 0, "{path}: {none}");
    }
    // A search by id or text is no oracle either.
    for query in [
        "id=evt-vault-1",
        "text=vault-body-marker",
        "type=ledger.*",
        "route=hidden",
    ] {
        let found = document(&get(&gate, LIMITED, &format!("/api/v1/events?{query}")).await);
        assert_eq!(found["events"], json!([]), "{query}");
    }
    let path = format!("/api/v1/deliveries?event={}", hidden.uid);
    let found = document(&get(&gate, LIMITED, &path).await);
    assert_eq!(found["deliveries"], json!([]));
    let erased = post(
        &gate,
        LIMITED,
        "/api/v1/events/erase",
        &json!({ "event": hidden.uid }),
    )
    .await;
    assert_eq!(erased.status, 404, "{}", erased.text());
    let cancelled = post(
        &gate,
        LIMITED,
        "/api/v1/deliveries/cancel",
        &json!({ "all": true }),
    )
    .await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    let listed = document(&get(&gate, ADMIN, "/api/v1/deliveries?route=hidden").await);
    assert!(!listed.to_string().contains("cancelled"), "{listed}");
    // A replay of everything, begun by the limited token, stays within its routes for good.
    let begun = post(&gate, LIMITED, "/api/v1/replays", &json!({ "all": true })).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    let id = document(&begun)["replay"]["id"].clone();
    let path = format!("/api/v1/replays/{id}");
    poll_for("the end of the replay", LIMIT, async || {
        let replay = document(&get(&gate, LIMITED, &path).await);
        (replay["state"] == "ended").then_some(())
    })
    .await;
    let listed = document(&get(&gate, ADMIN, "/api/v1/deliveries?route=hidden&replay=true").await);
    // One from the replay that the operator began, none from this one.
    assert_eq!(
        listed["deliveries"].as_array().unwrap().len(),
        1,
        "{listed}"
    );
    let theirs = document(&get(&gate, LIMITED, "/api/v1/replays").await);
    let numbers: Vec<String> = theirs["replays"]
        .as_array()
        .unwrap()
        .iter()
        .map(|replay| replay["id"].to_string())
        .collect();
    assert_eq!(numbers, [id.to_string(), visible.replay]);
    assert!(!numbers.contains(&hidden.replay));
}

/// Fails when metrics of other routes or of the whole gate reach a limited token, or its own are missing.
#[tokio::test]
async fn metrics_are_limited_too() {
    let filled = filled().await;
    let limited = get(&filled.gate, SCRAPER, "/metrics").await.text();
    assert_blind_to(&filled.hidden, "/metrics", &limited);
    assert!(limited.contains("route=\"shop-eu\""), "{limited}");
    assert!(limited.ends_with("# EOF\n"));
    for line in limited.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains("route=\"shop-eu\""), "{line}");
    }
    let whole = get(&filled.gate, ADMIN, "/metrics").await.text();
    assert!(whole.contains("route=\"hidden\"") && whole.contains("\nhookgate_connections_open "));
}

/// Fails when bodies, header values, queries or responses reach a token without payload, or when it can search in them.
#[tokio::test]
async fn a_token_without_payload_sees_none() {
    let Filled {
        gate,
        visible,
        hidden,
        _apps,
    } = filled().await;
    let api = document(&get(&gate, ADMIN, "/api/v1/openapi.json").await);
    let mut seen = String::new();
    for path in api["paths"].as_object().unwrap().keys() {
        if api["paths"][path].get("get").is_none() {
            continue;
        }
        for at in fill(path, "shop-eu", "desk", &visible) {
            let (_, text) = read(&gate, BLIND, &at).await;
            for word in [
                "body-marker",
                "response-marker",
                "webhook-signature\",\"value\":\"",
                "v1,",
            ] {
                assert!(!text.contains(word), "{at} shows `{word}`: {text}");
            }
            seen.push_str(&text);
        }
    }
    // Ids, types and other routes are visible.
    for word in [
        "evt-shop-1",
        "order.made",
        &visible.uid,
        "hidden",
        "evt-vault-1",
    ] {
        assert!(seen.contains(word), "{word}");
    }
    let shown = document(&get(&gate, BLIND, &format!("/api/v1/events/{}", visible.uid)).await);
    assert_eq!(shown["body"]["sha256"], "", "{shown}");
    assert!(shown["body"]["size"].as_u64().unwrap() > 10);
    let headers = shown["headers"].as_array().unwrap();
    assert!(
        headers.len() > 2 && headers.iter().all(|header| header["value"].is_null()),
        "{shown}"
    );
    for path in [
        format!("/api/v1/events/{}/body", visible.uid),
        format!("/api/v1/requests/{}", visible.uid),
        format!("/api/v1/requests/{}", visible.rejected),
        format!("/api/v1/rejections/{}/explanation", visible.rejected),
        "/api/v1/events?text=marker".to_owned(),
    ] {
        let reply = get(&gate, BLIND, &path).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
        assert!(reply.text().contains("payload"), "{}", reply.text());
        assert_eq!(get(&gate, ADMIN, &path).await.status, 200, "{path}");
    }
    for asked in [
        json!({ "search": { "text": "marker" }, "dry_run": true }),
        json!({ "field": { "pointer": "/note", "value": "shop-body-marker" }, "dry_run": true }),
    ] {
        let reply = post(&gate, BLIND, "/api/v1/events/erase", &asked).await;
        assert_eq!(reply.status, 403, "{}", reply.text());
    }
    let status = document(&get(&gate, BLIND, "/api/v1/status").await);
    assert_eq!(
        (&status["payload"], &status["limited"]),
        (&json!(false), &json!(false))
    );
    // The commands go through the API.
    let output = gate.hookgate(BLIND, &["events", "show", &hidden.uid]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("evt-vault-1") && !text.contains("v1,"),
        "{text}"
    );
    let output = gate
        .hookgate(BLIND, &["events", "list", "--text", "marker"])
        .await;
    assert!(!output.status.success());
}

/// Returns whether a file of the store contains some bytes.
fn is_in_store(folder: &Path, text: &str) -> bool {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("hookgate.db")
    });
    files.any(|path| {
        let bytes = fs::read(path).unwrap();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    })
}

/// Fails when a byte of an erased event stays in the store, in memory or in the audit log, when others are erased too, or
/// when a retry of the sender is delivered again.
#[tokio::test]
async fn a_person_is_erased_everywhere_and_a_retry_stays_a_duplicate() {
    // The response to the event of another person must not have the address: that one stays in the store.
    let app = App::start(by(|request: &Recorded| {
        let is_ann = request.body_text().contains("ann@example.com");
        respond(
            500,
            if is_ann {
                "got ann@example.com"
            } else {
                "got it"
            },
        )
    }));
    let gate = Gate::start(&config(&app, &app)).await;
    let large = "x".repeat(60_000);
    let person = |number: usize| json!({ "type": "order.made", "customer": { "email": "ann@example.com" }, "number": number, "fill": large });
    let first = event("shop-eu", "evt-ann-1", &person(1));
    let uid = accept(&gate, &first).await;
    for number in 2..6 {
        accept(
            &gate,
            &event("shop-eu", &format!("evt-ann-{number}"), &person(number)),
        )
        .await;
    }
    let other = json!({ "type": "order.made", "customer": { "email": "bob@example.com" } });
    let other = accept(&gate, &event("shop-eu", "evt-bob-1", &other)).await;
    let mentioned = json!({ "type": "note", "text": "call ann@example.com" });
    accept(&gate, &event("shop-eu", "evt-bob-2", &mentioned)).await;
    let forged = event("shop-eu", "evt-ann-9", &person(9)).flip_body_byte();
    assert_eq!(gate.send(&forged).await.status, 401);
    app.wait_for_requests(7).await;
    poll_for("the outcomes", LIMIT, async || {
        let listed = document(&get(&gate, ADMIN, "/api/v1/deliveries").await);
        let rows = listed["deliveries"].as_array().unwrap();
        rows.iter()
            .all(|row| row["state"] == "waiting")
            .then_some(())
    })
    .await;
    assert!(is_in_store(gate.folder(), "ann@example.com"));

    let field = "/customer/email=ann@example.com";
    let counted = gate
        .hookgate(
            ADMIN,
            &["events", "erase", "--field", field, "--dry-run", "--json"],
        )
        .await;
    let counted: Value = serde_json::from_slice(&counted.stdout).unwrap();
    assert_eq!(
        (&counted["count"], &counted["dry_run"]),
        (&json!(5), &json!(true)),
        "{counted}"
    );
    let asked = gate
        .hookgate(ADMIN, &["events", "erase", "--field", field])
        .await;
    assert!(!asked.status.success(), "erased without a confirmation");
    let erased = gate
        .hookgate(
            ADMIN,
            &["events", "erase", "--field", field, "--yes", "--json"],
        )
        .await;
    let erased: Value = serde_json::from_slice(&erased.stdout).unwrap();
    assert_eq!(
        (&erased["count"], &erased["cancelled"], &erased["scrubbed"]),
        (&json!(5), &json!(5), &json!(true)),
        "{erased}"
    );
    // One that only mentions the address is found by text.
    let text = gate
        .hookgate(
            ADMIN,
            &["events", "erase", "--text", "ANN@example.com", "--yes"],
        )
        .await;
    assert!(
        String::from_utf8(text.stdout)
            .unwrap()
            .starts_with("1 event erased")
    );
    assert!(!is_in_store(gate.folder(), "ann@example.com"));
    assert!(!is_in_store(gate.folder(), "evt-ann-"));
    assert!(is_in_store(gate.folder(), "bob@example.com"));
    for path in [
        "/api/v1/verdicts",
        "/api/v1/rejections",
        "/api/v1/events",
        "/api/v1/audit",
    ] {
        let text = get(&gate, ADMIN, path).await.text();
        assert!(
            !text.contains("evt-ann-") && !text.contains("ann@example.com"),
            "{path}: {text}"
        );
    }
    assert_eq!(
        get(&gate, ADMIN, &format!("/api/v1/events/{uid}"))
            .await
            .status,
        404
    );
    assert_eq!(
        get(&gate, ADMIN, &format!("/api/v1/events/{other}"))
            .await
            .status,
        200
    );
    let audit = document(&get(&gate, ADMIN, "/api/v1/audit?action=erase_events").await);
    let details = audit["actions"].to_string();
    assert!(
        details.contains("value_sha256") && details.contains("5 erased"),
        "{details}"
    );
    // The dedup key is still spent.
    let retried = gate.send(&first).await;
    assert_eq!(retried.status, 200);
    assert_eq!(
        retried.header("hookgate-duplicate"),
        Some("true"),
        "{}",
        retried.text()
    );
    for line in gate.log_lines() {
        assert!(!line.contains("ann@example.com"), "{line}");
    }
}

/// Fails when an encrypted store is not searched, or when bodies that `keep_body = false` removed stay in unused pages.
#[tokio::test]
async fn encrypted_events_are_found_and_removed_bodies_leave_no_trace() {
    let app = App::start(ok());
    let secret = Provider::StandardWebhooks.secret();
    let key = data_encoding::BASE64.encode(&[7; 32]);
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{ADMIN}\"\n[store]\nurl = \"sqlite:hookgate.db\"\n\
         min_free = \"1MiB\"\nENCRYPTION\n[routes.shop-eu]\npath = \"/shop-eu\"\nprovider = \"standard_webhooks\"\n\
         secret = \"{secret}\"\nmode = \"queue\"\nupstream = \"{}\"\n",
        app.url("/in")
    );
    let sealed = text.replace("ENCRYPTION", &format!("encryption_key = \"{key}\""));
    let gate = Gate::start(&sealed).await;
    let body = json!({ "email": "ann@example.com" });
    accept(&gate, &event("shop-eu", "evt-1", &body)).await;
    accept(
        &gate,
        &event("shop-eu", "evt-2", &json!({ "email": "bob@example.com" })),
    )
    .await;
    let field = json!({ "field": { "pointer": "/email", "value": "ann@example.com" } });
    let erased = document(&post(&gate, ADMIN, "/api/v1/events/erase", &field).await);
    assert_eq!(erased["count"], 1, "{erased}");

    let gate = Gate::start(&text.replace("ENCRYPTION", "keep_body = false")).await;
    let body = json!({ "email": "ann@example.com", "fill": "y".repeat(40_000) });
    let uid = accept(&gate, &event("shop-eu", "evt-3", &body)).await;
    let path = format!("/api/v1/events/{uid}");
    poll_for("the removal of the body", LIMIT, async || {
        let shown = document(&get(&gate, ADMIN, &path).await);
        (shown["body"]["is_kept"] == false).then_some(())
    })
    .await;
    wait_for("the request", LIMIT, || app.count() >= 3).await;
    let erased = document(
        &post(
            &gate,
            ADMIN,
            "/api/v1/events/erase",
            &json!({ "event": uid }),
        )
        .await,
    );
    assert_eq!(
        (&erased["count"], &erased["scrubbed"]),
        (&json!(1), &json!(true)),
        "{erased}"
    );
    assert!(!is_in_store(gate.folder(), "ann@example.com"));
    assert!(!is_in_store(gate.folder(), "yyyyyyyy"));
}
