//! Tests of alerts that leave the gate: real receivers by HTTP and by mail.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use data_encoding::BASE64;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::app::{App, Recorded, ok, respond, sequence};
use crate::harness::client::{Client, Reply};
use crate::harness::command::outcome;
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender, mac};
use crate::harness::{LIMIT, poll_for, wait_for};

const TOKEN: &str = "b0Zc8Vn4Rt2Kx7Wd";

/// Key of the Standard Webhooks signature, and its bytes in base64.
const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Looks ten times a second, so that the tests are fast.
const WATCH: &str = "[watch]\ninterval = \"100ms\"\n";

fn config(app: &App, alerts: &str) -> String {
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"$DIR/state\"\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n{WATCH}{alerts}\n{route}"
    )
}

fn webhook(receiver: &App) -> String {
    let url = receiver.url("/alerts?token=tOkEn-4711");
    format!("[alerts.program]\ntype = \"webhook\"\nurl = \"{url}\"\nsecret = \"{KEY}\"\n")
}

async fn call(gate: &Gate, method: &str, path: &str) -> Reply {
    let hook = Hook::bare(method, path, b"").with("Authorization", &format!("Bearer {TOKEN}"));
    Client::new(gate.admin_address(), None).send(&hook).await
}

async fn alerts(gate: &Gate) -> Value {
    let reply = call(gate, "GET", "/api/v1/alerts").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

/// Returns the changes that a program was notified about, as (change, condition, id). Verifies each signature.
fn changes(receiver: &App) -> Vec<(String, String, u64)> {
    let requests = receiver.requests();
    let each = requests.iter().flat_map(|request| {
        let document = verified(request);
        let alerts = document["data"]["alerts"].as_array().unwrap().clone();
        alerts.into_iter().map(|alert| {
            let text = |key: &str| alert[key].as_str().unwrap().to_owned();
            (
                text("change"),
                text("condition"),
                alert["id"].as_u64().unwrap(),
            )
        })
    });
    each.collect()
}

/// Verifies the Standard Webhooks signature of a request with code of its own, and returns its document.
fn verified(request: &Recorded) -> Value {
    let header = |name: &str| request.header(name).unwrap();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let key = BASE64
        .decode(KEY.strip_prefix("whsec_").unwrap().as_bytes())
        .unwrap();
    let signed = format!("{id}.{timestamp}.");
    let expected = BASE64.encode(&mac(&key, &[signed.as_bytes(), &request.body]));
    assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
    assert!(id.starts_with("alert_"), "{id}");
    serde_json::from_slice(&request.body).unwrap()
}

async fn wait_for_change(receiver: &App, change: &str, condition: &str) -> u64 {
    poll_for(&format!("{condition} {change}"), LIMIT, async || {
        let found = changes(receiver).into_iter();
        let mut found = found.filter(|one| one.0 == change && one.1 == condition);
        found.next().map(|one| one.2)
    })
    .await
}

/// Fails when an alert is not sent or not signed, when a restart forgets or repeats it, or when its end is not reported.
#[tokio::test]
async fn an_alert_is_sent_once_survives_a_restart_and_ends() {
    let (app, receiver) = (App::start(ok()), App::start(ok()));
    let text = config(&app, &webhook(&receiver));
    let mut gate = Gate::start(&text).await;
    assert!(!gate.reload(&format!("{text}\n[oops]\n")).await);
    let id = wait_for_change(&receiver, "opened", "config").await;
    let list = alerts(&gate).await;
    assert_eq!(
        (&list["alerts"][0]["id"], &list["alerts"][0]["condition"]),
        (&json!(id), &json!("config"))
    );
    assert_eq!(list["receivers"][0]["failures"], 0);
    assert!(
        gate.metric("hookgate_alerts_open", &["condition=\"config\""])
            .await
            > 0.0
    );
    // A restart with the good config, whose alert is still known.
    gate.set_config(&text);
    gate.restart("TERM").await;
    assert_eq!(wait_for_change(&receiver, "over", "config").await, id);
    assert_eq!(
        changes(&receiver),
        [
            ("opened".to_owned(), "config".to_owned(), id),
            ("over".to_owned(), "config".to_owned(), id)
        ]
    );
    // The token in the URL is a credential.
    let log = gate.log_lines().join("\n");
    let shown = call(&gate, "GET", "/api/v1/config").await.text();
    assert!(
        !log.contains("tOkEn-4711") && !shown.contains("tOkEn-4711"),
        "{shown}"
    );
    let state = gate.folder().join("state/alerts.json");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(state).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// Fails when a killed gate loses an alert that its receiver has not accepted.
#[tokio::test]
async fn a_message_that_was_not_accepted_is_sent_after_a_crash() {
    let (app, receiver) = (App::start(ok()), App::start(respond(503, "away")));
    let text = config(&app, &webhook(&receiver));
    let mut gate = Gate::start(&text).await;
    assert!(!gate.reload(&format!("{text}\n[oops]\n")).await);
    receiver.wait_for_requests(1).await;
    let first = verified(&receiver.requests()[0]);
    receiver.behave(ok());
    gate.set_config(&text);
    gate.restart("KILL").await;
    let seen = receiver.count();
    receiver.wait_for_requests(seen + 1).await;
    let again = receiver.requests();
    let ids: Vec<_> = again
        .iter()
        .map(|request| request.header("webhook-id").unwrap())
        .collect();
    assert!(ids[1..].contains(&ids[0]), "{ids:?}");
    assert_eq!(
        verified(&again[1])["data"]["alerts"][0]["id"],
        first["data"]["alerts"][0]["id"]
    );
}

/// Fails when a receiver that is away is not retried, holds up another one, or does not appear as a problem.
#[tokio::test]
async fn a_receiver_that_is_away_delays_no_other_and_is_shown() {
    let (app, good) = (App::start(ok()), App::start(ok()));
    let bad = App::start(sequence([
        respond(500, "no"),
        respond(500, "no"),
        respond(200, "ok"),
    ]));
    let chat = format!(
        "[alerts.chat]\ntype = \"slack\"\nurl = \"{}\"\n",
        bad.url("/services/T0/B0/sEcReT")
    );
    let text = config(&app, &format!("{}{chat}", webhook(&good)));
    let gate = Gate::start(&text).await;
    assert!(!gate.reload(&format!("{text}\n[oops]\n")).await);
    wait_for_change(&good, "opened", "config").await;
    let line = gate
        .wait_for_line(&["the alert receiver did not accept a message", "chat"])
        .await;
    assert!(!line.contains("sEcReT"), "{line}");
    gate.wait_for_metric(
        "hookgate_alert_messages_total",
        &["receiver=\"chat\"", "outcome=\"failed\""],
        |count| count >= 2.0,
    )
    .await;
    gate.wait_for_metric(
        "hookgate_alert_messages_total",
        &["receiver=\"chat\"", "outcome=\"sent\""],
        |count| count >= 1.0,
    )
    .await;
    gate.wait_for_line(&["the alert receiver accepts messages again"])
        .await;
    let bodies: Vec<_> = bad.requests().iter().map(Recorded::body_text).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

/// Fails when a format of chat is wrong, or when a test message does not say what became of it.
#[tokio::test]
async fn test_messages_reach_every_kind_of_receiver() {
    let (app, receiver) = (App::start(ok()), App::start(ok()));
    let gone = App::start(respond(404, "no_service"));
    let chat = |name: &str, at: &App| {
        format!(
            "[alerts.{name}]\ntype = \"{name}\"\nurl = \"{}\"\n",
            at.url(&format!("/{name}"))
        )
    };
    let all = [
        chat("slack", &receiver),
        chat("discord", &receiver),
        chat("teams", &gone),
        webhook(&receiver),
    ]
    .concat();
    let gate = Gate::start(&config(&app, &all)).await;
    let (code, out, _) = outcome(gate.hookgate(TOKEN, &["alerts", "test"]).await);
    assert_eq!(code, 1, "{out}");
    let line = |name: &str| {
        out.lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(
        line("slack").contains("accepted") && line("discord").contains("accepted"),
        "{out}"
    );
    assert!(line("program").contains("accepted"), "{out}");
    assert!(
        line("teams").contains("it responds with 404: check `url`"),
        "{out}"
    );
    let find = |path: &str| {
        let requests = [receiver.requests(), gone.requests()].concat();
        let found = requests
            .into_iter()
            .find(|request| request.target() == path)
            .unwrap();
        assert_eq!(
            found.header("content-type").as_deref(),
            Some("application/json")
        );
        serde_json::from_slice::<Value>(&found.body).unwrap()
    };
    assert!(
        find("/slack")["blocks"][0]["text"]["text"]
            .as_str()
            .unwrap()
            .ends_with("test message")
    );
    assert_eq!(find("/discord")["allowed_mentions"], json!({ "parse": [] }));
    assert_eq!(
        find("/teams")["attachments"][0]["contentType"],
        "application/vnd.microsoft.card.adaptive"
    );
    let (code, out, _) = outcome(
        gate.hookgate(TOKEN, &["alerts", "test", "slack", "--json"])
            .await,
    );
    assert_eq!(code, 0, "{out}");
    let tested: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        tested,
        json!({ "receivers": [{ "name": "slack", "type": "slack", "accepted": true, "error": null }] })
    );
    let (code, _, errors) = outcome(gate.hookgate(TOKEN, &["alerts", "test", "nope"]).await);
    assert_eq!(code, 1);
    assert!(
        errors.contains("the config has no `[alerts.nope]`"),
        "{errors}"
    );
}

/// Fails when a quiet route is not noticed, when an acknowledgment is not recorded or not respected, or when an event
/// does not end the alert.
#[tokio::test]
async fn a_quiet_route_is_an_alert_until_an_event_comes() {
    let (app, receiver) = (App::start(ok()), App::start(ok()));
    let text = config(&app, &webhook(&receiver)) + "quiet_after = \"2s\"\n";
    let gate = Gate::start(&text).await;
    let sender = Sender::new(Provider::Github);
    assert_eq!(gate.send(&sender.event("/hook")).await.status, 200);
    let id = wait_for_change(&receiver, "opened", "quiet").await;
    let status = call(&gate, "GET", "/api/v1/status").await;
    let status: Value = serde_json::from_slice(&status.body).unwrap();
    assert!(
        status["needs"]
            .as_array()
            .unwrap()
            .iter()
            .any(|need| need["what"] == "quiet"),
        "{status}"
    );
    let (code, out, _) = outcome(gate.hookgate(TOKEN, &["alerts"]).await);
    assert_eq!(code, 1);
    assert!(out.contains("has had no genuine event for"), "{out}");
    let (code, out, _) = outcome(
        gate.hookgate(TOKEN, &["alerts", "acknowledge", &id.to_string()])
            .await,
    );
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("by admin"), "{out}");
    wait_for_change(&receiver, "acknowledged", "quiet").await;
    let audit = call(&gate, "GET", "/api/v1/audit?action=acknowledge_alert").await;
    let audit: Value = serde_json::from_slice(&audit.body).unwrap();
    assert_eq!(
        (&audit["actions"][0]["target"], &audit["actions"][0]["who"]),
        (&json!(id.to_string()), &json!("admin"))
    );
    // A rejected request is no sign of life.
    assert_eq!(
        gate.send(&sender.event("/hook").flip_body_byte())
            .await
            .status,
        401
    );
    // Each event is a new one, so that the route stays busy until the alert is over.
    let is_over = async || changes(&receiver).iter().any(|one| one.0 == "over");
    while !is_over().await {
        assert_eq!(gate.send(&sender.event("/hook")).await.status, 200);
        crate::harness::let_time_pass(
            "half of `quiet_after`",
            std::time::Duration::from_millis(500),
        )
        .await;
    }
    let words: Vec<_> = changes(&receiver).into_iter().map(|one| one.0).collect();
    assert_eq!(words, ["opened", "acknowledged", "over"]);
    let reply = call(&gate, "POST", "/api/v1/alerts/999/acknowledge").await;
    assert_eq!(reply.status, 404, "{}", reply.text());
}

/// A real SMTP server in a process of its own. `None` where it is not installed.
struct MailServer {
    child: Child,
    port: u64,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl MailServer {
    fn start(folder: &Path, more: &[&str]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/server.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args([folder.join("cert.pem"), folder.join("cert.key")])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(Ok(first)) = lines.next() else {
            let _ = child.wait();
            return None;
        };
        let port = serde_json::from_str::<Value>(&first).unwrap()["port"]
            .as_u64()
            .unwrap();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let got = Arc::clone(&mails);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                got.lock().push(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Self { child, port, mails })
    }

    async fn wait_for_mail(&self, count: usize) -> Value {
        wait_for("a mail", LIMIT, || self.mails.lock().len() >= count).await;
        self.mails.lock()[count - 1].clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mail(name: &str, port: u64, to: &str, more: &str) -> String {
    format!(
        "[alerts.{name}]\ntype = \"mail\"\nserver = \"127.0.0.1:{port}\"\nca = \"$DIR/ca.pem\"\n\
         from = \"Hookgate <gate@example.com>\"\nto = \"{to}\"\n{more}\n"
    )
}

const LOGIN: &str = "username = \"gate\"\npassword = \"pAsSwOrD-of-the-mail\"";

/// Fails when mail leaves without TLS or without the login, or when an outcome of SMTP is misread.
#[tokio::test]
async fn mail_is_sent_over_tls_with_a_login() {
    let app = App::start(ok());
    let mut gate = Gate::start(&config(&app, "")).await;
    let Some(server) = MailServer::start(gate.folder(), &[]) else {
        return;
    };
    let wrapped = MailServer::start(gate.folder(), &["--smtps"]).unwrap();
    let port = server.port;
    let all = [
        mail("ops", port, "ops@example.com", LOGIN),
        mail(
            "wrapped",
            wrapped.port,
            "ops@example.com",
            &format!("{LOGIN}\nsecurity = \"tls\""),
        ),
        mail(
            "intruder",
            port,
            "ops@example.com",
            "username = \"gate\"\npassword = \"wrong-password-1\"",
        ),
        mail("full", port, "full@example.com", LOGIN),
        mail("gone", port, "gone@example.com", LOGIN),
        mail("distrust", port, "ops@example.com", LOGIN).replace("ca = \"$DIR/ca.pem\"\n", ""),
    ];
    let text = config(&app, &all.concat());
    gate.set_config(&text);
    gate.restart("TERM").await;
    let (code, out, errors) = outcome(gate.hookgate(TOKEN, &["alerts", "test"]).await);
    assert_eq!(code, 1, "{out}{errors}");
    let line = |name: &str| {
        out.lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(line("ops").contains("accepted"), "{out}");
    assert!(line("wrapped").contains("accepted"), "{out}");
    assert!(line("intruder").contains("535"), "{out}");
    assert!(line("full").contains("452"), "{out}");
    assert!(line("gone").contains("550"), "{out}");
    assert!(!line("distrust").contains("accepted"), "{out}");
    assert!(!out.contains("wrong-password"), "{out}");
    let mail = server.wait_for_mail(1).await;
    assert_eq!(
        (&mail["tls"], &mail["user"]),
        (&json!(true), &json!("gate"))
    );
    assert_eq!(
        (&mail["from"], &mail["to"]),
        (&json!("gate@example.com"), &json!(["ops@example.com"]))
    );
    let text_of = |mail: &Value| mail["text"].as_str().unwrap().replace("\r\n", "\n");
    let lines = text_of(&mail);
    for wanted in [
        "Auto-Submitted: auto-generated\n",
        "Message-ID: <alert_",
        "To: ops@example.com\n",
        "arrive here.",
    ] {
        assert!(lines.contains(wanted), "{wanted} is not in {lines}");
    }
    // A real alert.
    assert!(!gate.reload(&format!("{text}\n[oops]\n")).await);
    let mail = server.wait_for_mail(2).await;
    let lines = text_of(&mail);
    assert!(
        lines.contains("1 new") && lines.contains("Config rejected"),
        "{lines}"
    );
}
