//! Tests of the admin listener: roles, tokens, audit log, tails, and attacks from pages of other origins.

use serde_json::{Value, json};

use crate::harness::LIMIT;
use crate::harness::app::{App, ok};
use crate::harness::client::{Client, Reply};

use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender, mac};

const ADMIN: &str = "zQ4v9Jm2Lr7Xw1Bt";
const ANN: &str = "b7Hc2Vt9Ks4Yd8Nf";
const BOARD: &str = "m3Gx6Pq1Wz5Ju0Ra";

/// `[admin]` with three tokens: two operators, `admin` and `ann`, and the viewer `board`.
fn tokens() -> String {
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{ADMIN}\"\n\
         [[admin.tokens]]\nname = \"ann\"\nrole = \"operator\"\ntoken = \"{ANN}\"\n\
         [[admin.tokens]]\nname = \"board\"\nrole = \"viewer\"\ntoken = \"{BOARD}\"\n"
    )
}

/// Starts a gate with the three tokens, a store, and a queue route `hook` for the app.
fn config(app: &App) -> String {
    let route = Provider::Github.route("hook", &app.url("/in"), "mode = \"queue\"\n");
    format!(
        "{}[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n{route}",
        tokens()
    )
}

fn with_token(hook: Hook, token: Option<&str>) -> Hook {
    match token {
        Some(token) => hook.with("Authorization", &format!("Bearer {token}")),
        None => hook,
    }
}

async fn send(gate: &Gate, hook: &Hook) -> Reply {
    Client::new(gate.admin_address(), None).send(hook).await
}

async fn get(gate: &Gate, token: Option<&str>, path: &str) -> Reply {
    send(gate, &with_token(Hook::bare("GET", path, b""), token)).await
}

async fn post(gate: &Gate, token: Option<&str>, path: &str, body: &Value) -> Reply {
    let hook = Hook::bare("POST", path, body.to_string().as_bytes());
    let hook = hook.with("Content-Type", "application/json");
    send(gate, &with_token(hook, token)).await
}

fn document(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|err| panic!("{err}: {}", reply.text()))
}

/// Returns the document that describes the admin API.
pub async fn api_document() -> Value {
    let app = App::start(ok());
    let gate = Gate::start(&config(&app)).await;
    document(&get(&gate, Some(BOARD), "/api/v1/openapi.json").await)
}

/// Fails when a viewer can change something, or when a token allows more than its role.
#[tokio::test]
async fn a_viewer_looks_and_an_operator_acts() {
    let app = App::start(ok());
    let gate = Gate::start(&config(&app)).await;
    let pause = "/api/v1/routes/hook/pause";
    let all = json!({ "all": true });
    for (token, looks, acts) in [
        (Some(ADMIN), 200, 200),
        (Some(ANN), 200, 200),
        (Some(BOARD), 200, 403),
        (Some("wrong-wrong-wrong"), 401, 401),
        (None, 401, 401),
    ] {
        for path in ["/api/v1/events", "/api/v1/status", "/metrics"] {
            let reply = get(&gate, token, path).await;
            assert_eq!(reply.status, looks, "{token:?} {path}");
        }
        let reply = post(&gate, token, pause, &Value::Null).await;
        assert_eq!(reply.status, acts, "{token:?} {}", reply.text());
        let reply = post(&gate, token, "/api/v1/deliveries/cancel", &all).await;
        assert_eq!(reply.status, acts, "{token:?} {}", reply.text());
        if acts != 200 {
            let kind = reply.header("content-type").unwrap();
            assert_eq!(kind, "application/problem+json");
            assert_eq!(document(&reply)["status"], acts);
        }
    }
}

/// Fails when tokens can be guessed at any pace, or when the response reveals a correct token during the wait.
#[tokio::test]
async fn guesses_are_slowed_down() {
    let app = App::start(ok());
    let gate = Gate::start(&config(&app)).await;
    let mut refused = 0;
    for number in 0..30 {
        let guess = format!("guess-number-{number}");
        let reply = get(&gate, Some(&guess), "/api/v1/status").await;
        if reply.status == 429 {
            let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=11).contains(&wait), "{wait}");
            refused += 1;
        } else {
            assert_eq!((reply.status, refused), (401, 0));
        }
    }
    assert_eq!(refused, 20);
    assert_eq!(get(&gate, Some(ADMIN), "/api/v1/status").await.status, 429);
    assert_eq!(get(&gate, Some(ADMIN), "/metrics").await.status, 429);
    let elsewhere = Client::new(gate.admin_address(), None).from_ip("127.0.0.9");
    let hook = with_token(Hook::bare("GET", "/api/v1/status", b""), Some(ADMIN));
    assert_eq!(elsewhere.send(&hook).await.status, 200);
}

/// Fails when a reload does not change the tokens.
#[tokio::test]
async fn a_reload_takes_other_tokens() {
    let app = App::start(ok());
    let text = config(&app);
    let gate = Gate::start(&text).await;
    assert_eq!(get(&gate, Some(BOARD), "/api/v1/status").await.status, 200);
    let other = text.replace(BOARD, "w8Tn5Lb3Qy7Me2Xc");
    assert!(gate.reload(&other).await);
    assert_eq!(get(&gate, Some(BOARD), "/api/v1/status").await.status, 401);
    let reply = get(&gate, Some("w8Tn5Lb3Qy7Me2Xc"), "/api/v1/status").await;
    assert_eq!(reply.status, 200);
}

/// Fails when a web page can reach the listener by DNS rebinding, or change something from its origin.
#[tokio::test]
async fn pages_of_other_origins_are_rejected() {
    let app = App::start(ok());
    let gate = Gate::start(&config(&app)).await;
    let path = "/api/v1/routes/hook/pause";
    let asked = |hook: Hook| with_token(hook, Some(ADMIN));
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "hooks.example.com",
    ] {
        let look = Hook::bare("GET", "/api/v1/events", b"").at_host(host);
        assert_eq!(send(&gate, &asked(look)).await.status, 421, "{host}");
    }
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let change = Hook::bare("POST", path, b"").with(name, value);
        let reply = send(&gate, &asked(change)).await;
        assert_eq!(reply.status, 403, "{name}: {value}");
        assert!(reply.header("access-control-allow-origin").is_none());
    }
    let reply = get(&gate, Some(ADMIN), "/api/v1/destinations").await;
    assert_eq!(document(&reply)["destinations"][0]["route_paused"], false);
}

/// Reads the audit log over the API, the newest entry first.
async fn actions(gate: &Gate, query: &str) -> Vec<Value> {
    let reply = get(gate, Some(ADMIN), &format!("/api/v1/audit{query}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let actions = document(&reply)["actions"].clone();
    actions.as_array().unwrap().clone()
}

/// Fails when an action or a refusal leaves no entry, or when a restart loses entries.
#[tokio::test]
async fn each_action_is_kept_with_who_did_what() {
    let app = App::start(ok());
    let mut gate = Gate::start(&config(&app)).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    let uid = gate
        .send(&hook)
        .await
        .header("hookgate-request-id")
        .unwrap()
        .to_owned();
    let body = format!("/api/v1/events/{uid}/body");
    assert_eq!(get(&gate, Some(BOARD), &body).await.status, 200);
    let pause = "/api/v1/destinations/hook/upstream/pause";
    assert_eq!(
        post(&gate, Some(ANN), pause, &Value::Null).await.status,
        200
    );
    assert_eq!(
        post(&gate, Some(BOARD), pause, &Value::Null).await.status,
        403
    );
    let missing = "/api/v1/deliveries/99/retry";
    assert_eq!(
        post(&gate, Some(ANN), missing, &Value::Null).await.status,
        404
    );
    let many = json!({ "search": { "route": "hook", "state": "dead" } });
    let reply = post(&gate, Some(ADMIN), "/api/v1/deliveries/discard", &many).await;
    assert_eq!(reply.status, 200);
    // Reading lists is not an action.
    assert_eq!(get(&gate, Some(BOARD), "/api/v1/events").await.status, 200);

    let expected = [
        ("admin", "discard_deliveries", Value::Null, "done", 200),
        ("ann", "retry_delivery", "99".into(), "refused", 404),
        (
            "board",
            "pause_destination",
            "hook/upstream".into(),
            "refused",
            403,
        ),
        (
            "ann",
            "pause_destination",
            "hook/upstream".into(),
            "done",
            200,
        ),
        ("board", "show_event_body", uid.into(), "done", 200),
    ];
    let found = actions(&gate, "").await;
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (action, (who, name, target, outcome, status)) in found.iter().zip(&expected) {
        assert_eq!(action["who"], *who, "{action}");
        assert_eq!(action["action"], *name, "{action}");
        assert_eq!(action["target"], *target, "{action}");
        assert_eq!(
            (&action["outcome"], &action["status"]),
            (&(*outcome).into(), &(*status).into())
        );
        assert_eq!(action["source"], "127.0.0.1", "{action}");
    }
    assert_eq!(found[0]["role"], "operator");
    let detail = found[0]["detail"].as_str().unwrap();
    assert_eq!(detail, "{\"route\":\"hook\",\"state\":\"dead\"}: 0 changed");

    let line = gate
        .wait_for_line(&["\"audit\"", "pause_destination", "board"])
        .await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["target"], &line["outcome"]),
        (&"audit".into(), &"refused".into())
    );
    assert_eq!(line["subject"], "hook/upstream");
    let wrong = get(&gate, Some("wrong-wrong-wrong"), "/api/v1/events").await;
    assert_eq!(wrong.status, 401);
    gate.wait_for_line(&["\"audit\"", "admin token rejected", "127.0.0.1"])
        .await;

    assert_eq!(get(&gate, Some(BOARD), "/api/v1/audit").await.status, 403);
    gate.restart("TERM").await;
    let kept = actions(&gate, "?who=ann").await;
    let names: Vec<_> = kept.iter().map(|action| &action["action"]).collect();
    assert_eq!(names, ["retry_delivery", "pause_destination"]);
    assert_eq!(
        actions(&gate, "?action=pause_destination&limit=1")
            .await
            .len(),
        1
    );
    assert!(actions(&gate, "?before=1d").await.is_empty());
}

/// Fails when a bad config is accepted, when the response does not contain the errors, or when a reload by the API
/// does less than SIGHUP.
#[tokio::test]
async fn a_reload_is_asked_for_and_answered() {
    let app = App::start(ok());
    let text = config(&app);
    let gate = Gate::start(&text).await;
    let reload = "/api/v1/reload";
    let good = std::fs::read_to_string(gate.config_path()).unwrap();
    let bad = good.replace("mode = \"queue\"", "mode = \"quue\"");
    assert_ne!(good, bad);
    std::fs::write(gate.config_path(), &bad).unwrap();
    let reply = post(&gate, Some(ANN), reload, &Value::Null).await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    let problem = document(&reply);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("did you mean `\"queue\"`"),
        "{problem}"
    );
    assert!(
        problem["diagnostics"].to_string().contains("quue"),
        "{problem}"
    );
    for secret in [ADMIN, ANN, BOARD, Provider::Github.secret()] {
        assert!(!reply.text().contains(secret), "{}", reply.text());
    }
    let status = document(&get(&gate, Some(BOARD), "/api/v1/status").await);
    assert_eq!(
        (&status["routes"], &status["needs"][0]["what"]),
        (&1.into(), &"config".into())
    );
    assert_eq!(
        gate.send(&Sender::new(Provider::Github).event("/hook"))
            .await
            .status,
        200
    );

    let more = Provider::Stripe.route("pay", &app.url("/pay"), "");
    std::fs::write(gate.config_path(), format!("{good}\n{more}")).unwrap();
    let reply = post(&gate, Some(ANN), reload, &Value::Null).await;
    assert_eq!(
        (reply.status, document(&reply)),
        (200, json!({ "routes": 2 }))
    );
    let routes = document(&get(&gate, Some(BOARD), "/api/v1/routes").await);
    let names: Vec<_> = routes["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["hook", "pay"]);
    let status = document(&get(&gate, Some(BOARD), "/api/v1/status").await);
    assert_eq!(status["needs"], json!([]));
    let reply = post(&gate, Some(BOARD), reload, &Value::Null).await;
    assert_eq!(reply.status, 403);
}

/// Fails when a secret can be read over the API.
#[tokio::test]
async fn the_config_is_shown_without_its_secrets() {
    let app = App::start(ok());
    let extra = "[routes.hook.destinations.other]\nurl = \"http://127.0.0.1:9/x?token=qWeRtYuIoP&a=1\"\n\
        headers = { Authorization = \"Bearer aSdFgHjKl\" }\n";
    let gate = Gate::start(&format!("{}{extra}", config(&app))).await;
    for path in [
        "config",
        "routes",
        "routes/hook",
        "destinations",
        "providers/github",
        "certificates",
    ] {
        let reply = get(&gate, Some(BOARD), &format!("/api/v1/{path}")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        for secret in [
            ADMIN,
            ANN,
            BOARD,
            Provider::Github.secret(),
            "qWeRtYuIoP",
            "aSdFgHjKl",
        ] {
            assert!(!reply.text().contains(secret), "{path}: {}", reply.text());
        }
    }
    let config = document(&get(&gate, Some(BOARD), "/api/v1/config").await);
    let hook = &config["routes"]["hook"];
    assert_eq!(
        (&hook["provider"], &hook["mode"]),
        (&"github".into(), &"queue".into())
    );
    assert_eq!(config["server"]["body_timeout"], "30s");
    assert_eq!(
        hook["destinations"]["other"]["url"],
        "http://127.0.0.1:9/x?token=***&a=1"
    );
    let tokens = json!([
        { "name": "admin", "payload": true, "role": "operator", "routes": null, "token": "***" },
        { "name": "ann", "payload": true, "role": "operator", "routes": null, "token": "***" },
        { "name": "board", "payload": true, "role": "viewer", "routes": null, "token": "***" },
    ]);
    assert_eq!(config["admin"]["tokens"], tokens);
    // Keys of the file that were missing before the table of keys became the source of this document.
    assert_eq!(config["server"]["keep_rejected"], 100);
    assert!(hook["destinations"]["other"]["pool_idle_timeout"].is_string());
    assert_eq!(hook["on_challenge"], Value::Null);
    let certificates = document(&get(&gate, Some(BOARD), "/api/v1/certificates").await);
    let names = &certificates["certificates"][0]["names"];
    assert_eq!(
        *names,
        json!(["localhost", "127.0.0.1", "hooks.example.com"])
    );
}

/// Fails when a viewer of events can read a sender's token, or find it letter by letter.
#[tokio::test]
async fn no_event_shows_the_token_of_its_sender() {
    const SHOWN: &str = "tOkEnOfThEsEnDeR9";
    let app = App::start(ok());
    let route = |name: &str, token: &str| {
        format!(
            "[routes.{name}]\npath = \"/{name}\"\nupstream = \"{}\"\nmode = \"queue\"\nsecret = \"{SHOWN}\"\n\
             [routes.{name}.scheme]\ntype = \"token\"\ntoken = {token}\nevent_id = {{ header = \"X-Id\" }}\n",
            app.url("/in")
        )
    };
    let gate = Gate::start(&format!(
        "{}{}{}",
        config(&app),
        route("head", "{ header = \"X-Who\" }"),
        route("query", "{ query = \"code\" }")
    ))
    .await;
    for hook in [
        Hook::bare("POST", "/head", b"{}").with("X-Who", SHOWN),
        Hook::bare("POST", &format!("/query?a=1&code={SHOWN}"), b"{}"),
    ] {
        let reply = gate.send(&hook.with("X-Id", "id-1")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let id = reply.header("hookgate-request-id").unwrap();
        for (token, path) in [(BOARD, "events"), (ANN, "requests")] {
            let reply = get(&gate, Some(token), &format!("/api/v1/{path}/{id}")).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert!(!reply.text().contains(SHOWN), "{}", reply.text());
        }
    }
    for (text, count) in [("%2Fquery%3Fa%3D1", 1), (&SHOWN[..4], 0)] {
        let reply = get(&gate, Some(BOARD), &format!("/api/v1/events?text={text}")).await;
        let found = document(&reply);
        assert_eq!(found["events"].as_array().unwrap().len(), count, "{text}");
    }
}

/// Reads a live tail until its text contains `wanted`.
async fn tail_until(gate: &Gate, path: &str, headers: &str, wanted: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = Client::new(gate.admin_address(), None)
        .open()
        .await
        .unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {BOARD}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "the tail ended: {text}");
            text.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    };
    let ended = tokio::time::timeout(LIMIT, reading).await;
    assert!(ended.is_ok(), "{wanted} did not come: {text}");
    text
}

/// Fails when a tail that was interrupted shows an event twice, or omits one.
#[tokio::test]
async fn a_tail_of_events_goes_on_where_it_broke_off() {
    let app = App::start(ok());
    let gate = Gate::start(&config(&app)).await;
    let sender = Sender::new(Provider::Github);
    for id in ["first-1", "second-2", "third-3"] {
        let hook = sender.sign("/hook", id, format!("{{\"n\":\"{id}\"}}").as_bytes());
        assert_eq!(gate.send(&hook).await.status, 200);
    }
    let stream = "Accept: text/event-stream\r\n";
    let text = tail_until(&gate, "/api/v1/events/tail?since=1h", stream, "third-3").await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    let ids: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert_eq!(ids.len(), 3, "{text}");
    assert!(
        text.contains("event: event\r\n") || text.contains("event: event\n"),
        "{text}"
    );
    let resumed = format!("{stream}Last-Event-ID: {}\r\n", ids[1]);
    let text = tail_until(&gate, "/api/v1/events/tail", &resumed, "third-3").await;
    assert!(
        !text.contains("first-1") && !text.contains("second-2"),
        "{text}"
    );
}

/// Fails when a refused request does not appear, or a tail loses its position.
#[tokio::test]
async fn verdicts_are_listed_and_followed() {
    let app = App::start(ok());
    let mut gate = Gate::start(&config(&app)).await;
    let sender = Sender::new(Provider::Github);
    let good = gate.send(&sender.event("/hook")).await;
    let bad = gate.send(&sender.event("/hook").flip_body_byte()).await;
    assert_eq!((good.status, bad.status), (200, 401));
    let list = document(&get(&gate, Some(BOARD), "/api/v1/verdicts").await);
    let list = list["verdicts"].as_array().unwrap();
    let words: Vec<_> = list
        .iter()
        .map(|one| (&one["verdict"], &one["reason"]))
        .collect();
    let expected = [
        ("refused".into(), "bad-signature".into()),
        ("accepted".into(), Value::Null),
    ];
    assert_eq!(
        words,
        expected.each_ref().map(|(word, reason)| (word, reason))
    );
    let id = bad.header("hookgate-request-id").unwrap();
    let one = document(&get(&gate, Some(BOARD), &format!("/api/v1/verdicts/{id}")).await);
    assert_eq!(one["verdict"]["status"], 401);
    let checks = one["checks"].as_array().unwrap();
    let signature = checks.iter().find(|check| check["check"] == "signature");
    assert_eq!(signature.unwrap()["outcome"], "failed");
    for check in checks {
        let is_reached = check["outcome"] != "not-reached";
        assert_eq!(check["took_ns"].as_u64().unwrap() > 0, is_reached, "{one}");
    }
    let only = document(&get(&gate, Some(BOARD), "/api/v1/verdicts?reason=bad-signature").await);
    assert_eq!(only["verdicts"].as_array().unwrap().len(), 1);
    let wrong = get(&gate, Some(BOARD), "/api/v1/verdicts?reason=bad-signatur").await;
    assert!(wrong.status == 400 && wrong.text().contains("did you mean `bad-signature`?"));

    let kept = document(&get(&gate, Some(BOARD), "/api/v1/rejections?route=hook").await);
    let rejection = &kept["rejections"][0];
    assert_eq!(rejection["request_id"], id);
    assert_eq!(rejection["reason"], "bad-signature");
    assert_eq!(kept["rejections"].as_array().unwrap().len(), 1);
    assert_eq!(kept["groups"][0]["count"], 1);
    let none = "/api/v1/rejections?reason=stale-timestamp";
    let wrong = get(&gate, Some(BOARD), "/api/v1/rejections?reason=bad-signatur").await;
    assert!(wrong.status == 400 && wrong.text().contains("did you mean `bad-signature`?"));
    let none = document(&get(&gate, Some(BOARD), none).await);
    assert_eq!(none["rejections"], json!([]));
    let path = format!("/api/v1/rejections/{id}");
    let shown = document(&get(&gate, Some(BOARD), &path).await);
    assert_eq!(shown["rejection"], *rejection);
    let headers = shown["headers"].to_string();
    assert!(headers.contains("x-hub-signature-256"), "{headers}");
    assert!(shown["explanation"]["means"].is_string());
    let unknown = "/api/v1/rejections/0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12";
    assert_eq!(get(&gate, Some(BOARD), unknown).await.status, 404);
    assert_eq!(get(&gate, None, &path).await.status, 401);
    let explanation = format!("{path}/explanation");
    assert_eq!(get(&gate, Some(BOARD), &explanation).await.status, 403);
    assert_eq!(get(&gate, Some(ANN), &explanation).await.status, 200);

    let stream = "Accept: text/event-stream\r\n";
    let path = "/api/v1/verdicts/tail";
    // An id of another process: the tail sends everything that is remembered, and reports the gap.
    let old = format!("{stream}Last-Event-ID: 1-1\r\n");
    let text = tail_until(&gate, path, &old, "bad-signature").await;
    assert!(
        text.contains("event: missed") && text.contains("\"accepted\""),
        "{text}"
    );
    let ids: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    let resumed = format!("{stream}Last-Event-ID: {}\r\n", ids[0]);
    let text = tail_until(&gate, path, &resumed, "bad-signature").await;
    assert!(
        !text.contains("event: missed") && !text.contains("\"accepted\""),
        "{text}"
    );
    gate.restart("TERM").await;
    let list = document(&get(&gate, Some(BOARD), "/api/v1/verdicts").await);
    assert_eq!(list["verdicts"], json!([]));
}

/// Fails when a request is counted wrongly, when a reload loses counts, or when a secret's text is shown.
#[tokio::test]
async fn a_route_in_monitor_mode_says_what_it_would_refuse() {
    let app = App::start(ok());
    let secret = Provider::Github.secret();
    let files = [secret, "kT5p8WqZ1xV4cR7m"].map(|text| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    });
    let [new, old] = files
        .each_ref()
        .map(|file| file.path().display().to_string());
    let more = format!(
        "enforce = \"monitor\"\nsecret = [{{ file = \"{new}\", name = \"new\" }}, \
         {{ file = \"{old}\", name = \"old\", until = 2099-01-01 }}]\n"
    );
    let route = Provider::Github.route_with("watched", &app.url("/in"), &more);
    let config = format!("{}{route}", tokens());
    let gate = Gate::start(&config).await;
    let sender = Sender::new(Provider::Github);
    let good = sender.event("/watched");
    let bad = gate.send(&good.clone().flip_body_byte()).await;
    assert_eq!((gate.send(&good).await.status, bad.status), (200, 200));
    assert!(gate.reload(&config).await);

    let path = "/api/v1/routes/watched/promotion";
    let told = document(&get(&gate, Some(BOARD), path).await);
    assert_eq!(
        (&told["requests"], &told["would_refuse"]),
        (&2.into(), &1.into())
    );
    assert_eq!(told["enforced"], false);
    assert_eq!(
        told["reasons"],
        json!([{"reason": "bad-signature", "count": 1}])
    );
    let id = bad.header("hookgate-request-id");
    assert_eq!(told["examples"][0]["request_id"].as_str(), id);
    assert_eq!(told["examples"].as_array().unwrap().len(), 1);

    let history = document(&get(&gate, Some(BOARD), "/api/v1/routes/watched/history").await);
    for row in ["minutes", "hours"] {
        // A minute may begin between the two requests.
        let counts = history[row].as_array().unwrap().iter();
        let accepted = counts
            .clone()
            .map(|each| each["accepted"].as_u64().unwrap());
        assert_eq!(accepted.sum::<u64>(), 1, "{history}");
        let would = counts.filter(|each| each["would_refuse"][0]["reason"] == "bad-signature");
        assert_eq!(would.count(), 1, "{history}");
    }
    let wrong = get(&gate, Some(BOARD), "/api/v1/routes/watcht/history").await;
    assert!(wrong.status == 404 && wrong.text().contains("did you mean `watched`?"));

    let reply = get(&gate, Some(BOARD), "/api/v1/secrets").await;
    assert!(!reply.text().contains(secret), "{}", reply.text());
    let list = document(&reply)["secrets"].clone();
    assert_eq!(
        (&list[0]["name"], &list[0]["matches"]),
        (&"new".into(), &1.into())
    );
    assert!(list[0]["last_match"].is_string());
    assert_eq!(
        (&list[1]["name"], &list[1]["matches"]),
        (&"old".into(), &0.into())
    );
    assert_eq!(list[1]["last_match"], Value::Null);
    assert_eq!(list[1]["until"], "2099-01-01T00:00:00.000Z");
}

/// Fails when the listener accepts plain HTTP or a foreign host name, or when a new certificate is not loaded.
#[tokio::test]
async fn the_admin_listener_speaks_tls_under_its_own_names() {
    let app = App::start(ok());
    let tls = "[admin.tls]\ncert = \"cert.pem\"\nkey = \"cert.key\"\n";
    let text = config(&app).replace(
        "listen = \"127.0.0.1:0\"",
        "listen = \"0.0.0.0:0\"\nhost = \"gate.example.com\"",
    );
    let gate = Gate::start(&format!("{text}{tls}")).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], gate.admin_address().port()));
    let trusted = gate.authority().client_config(&["http/1.1"]);
    let client = Client::new(address, Some(trusted));
    let ask = |host: &str| {
        let hook = Hook::bare("GET", "/api/v1/status", b"").at_host(host);
        with_token(hook, Some(ADMIN))
    };
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:9180", 200),
        ("hooks.example.com", 200),
        ("gate.example.com:9180", 200),
        ("GATE.example.com", 200),
        ("evil.example", 421),
        ("gate.example.com.evil.example", 421),
    ] {
        assert_eq!(client.send(&ask(host)).await.status, status, "{host}");
    }
    assert!(
        Client::new(address, None)
            .try_send(&ask("localhost"))
            .await
            .is_err()
    );
    let certificates = Hook::bare("GET", "/api/v1/certificates", b"");
    let shown = document(&client.send(&with_token(certificates, Some(BOARD))).await);
    assert_eq!(shown["certificates"].as_array().unwrap().len(), 2);

    let authority = gate.folder().join("authority.pem");
    std::fs::write(&authority, gate.authority().pem()).unwrap();
    let command = |authority: Option<&std::path::Path>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hookgate"));
        command.args(["events", "list", "--json", "--admin"]);
        command.arg(format!("https://localhost:{}", address.port()));
        if let Some(authority) = authority {
            command.arg("--admin-ca").arg(authority);
        }
        command.env("HOOKGATE_ADMIN_TOKEN", BOARD);
        async move {
            let run = tokio::task::spawn_blocking(move || command.output().unwrap());
            run.await.unwrap()
        }
    };
    let listed = command(Some(&authority)).await;
    assert!(listed.status.success(), "{listed:?}");
    // The system does not trust that authority.
    let refused = command(None).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{text}");
    assert!(
        text.contains("admin-ca") || text.contains("authorit"),
        "{text}"
    );

    gate.authority()
        .issue(gate.folder(), "cert", &["localhost", "new.example.com"]);
    assert!(gate.reload_as_it_is().await);
    gate.wait_for_line(&["certificates reloaded"]).await;
    assert_eq!(client.send(&ask("new.example.com")).await.status, 200);
    assert_eq!(client.send(&ask("hooks.example.com")).await.status, 421);
}

/// Fails when a test event does not arrive, is not marked as a test, or can be sent by a viewer.
#[tokio::test]
async fn a_test_event_arrives_and_says_that_it_is_one() {
    let app = App::start(ok());
    let gate = Gate::start(&config(&app)).await;
    let listed = document(&get(&gate, Some(BOARD), "/api/v1/destinations").await);
    let name = listed["destinations"][0]["name"].as_str().unwrap();
    let path = format!("/api/v1/destinations/hook/{name}/test");
    assert_eq!(
        post(&gate, Some(BOARD), &path, &Value::Null).await.status,
        403
    );
    let wrong = post(
        &gate,
        Some(ANN),
        "/api/v1/destinations/hook/nobody/test",
        &Value::Null,
    );
    assert_eq!(wrong.await.status, 404);
    let sent = post(&gate, Some(ANN), &path, &Value::Null).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    let sent = document(&sent);
    app.wait_for_requests(1).await;
    let request = app.only_request();
    for (field, value) in [
        ("hookgate-provider", "hookgate"),
        ("hookgate-event-type", "hookgate.test"),
        ("hookgate-request-id", sent["event"].as_str().unwrap()),
    ] {
        assert_eq!(request.header(field).as_deref(), Some(value));
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        (&body["test"], &body["route"]),
        (&json!(true), &json!("hook"))
    );
    let audit = document(&get(&gate, Some(ADMIN), "/api/v1/audit").await).to_string();
    for part in [
        "test_destination",
        "ann",
        "board",
        sent["event"].as_str().unwrap(),
    ] {
        assert!(audit.contains(part), "{part}: {audit}");
    }
    let pause = format!("/api/v1/destinations/hook/{name}/pause");
    assert_eq!(
        post(&gate, Some(ANN), &pause, &Value::Null).await.status,
        200
    );
    assert_eq!(
        post(&gate, Some(ANN), &path, &Value::Null).await.status,
        409
    );
}

/// Fails when the path of a test event is shorter than the prefix of its route: there would be no rest to append.
#[tokio::test]
async fn a_test_event_arrives_behind_a_prefix() {
    let app = App::start(ok());
    let config = config(&app).replace("path = \"/hook\"", "prefix = \"/hook\"");
    assert!(config.contains("prefix = "), "{config}");
    let gate = Gate::start(&config).await;
    let path = "/api/v1/destinations/hook/upstream/test";
    let sent = post(&gate, Some(ANN), path, &Value::Null).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    app.wait_for_requests(1).await;
    assert_eq!(app.only_request().target(), "/in");
}

/// Fails when a test event reaches an app that verifies the provider's signature without one.
#[tokio::test]
async fn a_test_event_is_signed_where_the_destination_is_signed_for() {
    let app = App::start(ok());
    let more = "mode = \"queue\"\nresign = \"provider\"\n";
    let route = Provider::Stripe.route("hook", &app.url("/in"), more);
    let store = "[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n";
    let gate = Gate::start(&format!("{}{store}{route}", tokens())).await;
    let path = "/api/v1/destinations/hook/upstream/test";
    let sent = post(&gate, Some(ANN), path, &Value::Null).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    app.wait_for_requests(1).await;
    let request = app.only_request();
    let signature = request.header("stripe-signature").unwrap();
    let (time, v1) = signature.split_once(",v1=").unwrap();
    let time = time.strip_prefix("t=").unwrap();
    let age = crate::harness::unix_now() - time.parse::<i64>().unwrap();
    assert!((0..30).contains(&age), "{age}");
    let secret = Provider::Stripe.secret().as_bytes();
    let expected = mac(secret, &[time.as_bytes(), b".", &request.body]);
    assert_eq!(v1, data_encoding::HEXLOWER.encode(&expected));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["test"], json!(true));
}
