//! Tests of filters, conditions and order of destinations.

use crate::harness::app::{App, Recorded, by, ok, respond};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, wait_for};
use crate::inbox::{QUICK, STORE, bodies};

/// Returns a queue route with these destinations: name, URL, and further keys.
fn queue(destinations: &[(&str, String, &str)]) -> String {
    let secret = Provider::Github.secret();
    let mut text = format!(
        "{STORE}[routes.hook]\npath = \"/hook\"\nprovider = \"github\"\nsecret = \"{secret}\"\nmode = \"queue\"\n"
    );
    for (name, url, more) in destinations {
        let table = format!("[routes.hook.destinations.{name}]\nurl = \"{url}\"\n{more}\n{QUICK}");
        text.push_str(&table);
    }
    text
}

fn event(body: &str) -> Hook {
    let id = format!("id-{}", uuid::Uuid::now_v7());
    Sender::new(Provider::Github).sign("/hook", &id, body.as_bytes())
}

fn count(app: &App, body: &str) -> usize {
    let all = bodies(app).into_iter();
    all.filter(|each| each == body.as_bytes()).count()
}

/// Fails when events of one order key overtake each other, or when events of another key wait for them.
#[tokio::test]
async fn in_order_by_key_only_those_of_the_same_key_wait() {
    for order in ["fifo:json:/account", "fifo:header:X-Account"] {
        let app = App::start(by(|request: &Recorded| {
            let is_stuck = request.body.windows(5).any(|part| part == b"stuck");
            respond(if is_stuck { 503 } else { 200 }, "")
        }));
        let order = format!("order = \"{order}\"");
        let gate = Gate::start(&queue(&[("app", app.url("/in"), &order)])).await;
        let (first, second, other) = (
            r#"{"account":"a","stuck":1}"#,
            r#"{"account":"a","n":2}"#,
            r#"{"account":"b","n":3}"#,
        );
        for (body, account) in [(first, "a"), (second, "a"), (other, "b")] {
            let hook = event(body).with("X-Account", account);
            assert_eq!(gate.send(&hook).await.status, 200, "{order}");
        }
        wait_for("the other key", LIMIT, || count(&app, other) == 1).await;
        wait_for("tries of the first", LIMIT, || count(&app, first) > 3).await;
        assert_eq!(count(&app, second), 0, "{order}");
        app.behave(ok());
        wait_for("the one behind", LIMIT, || count(&app, second) == 1).await;
        let all = bodies(&app);
        let last = all.iter().rposition(|body| body == first.as_bytes());
        let behind = all.iter().position(|body| body == second.as_bytes());
        assert!(last < behind, "{order}");
    }
}

/// Fails when the condition of a destination is ignored, applies to another one, or loses the event by an error.
#[tokio::test]
async fn a_destination_gets_what_its_condition_holds_for() {
    let (large, all) = (App::start(ok()), App::start(ok()));
    let gate = Gate::start(&queue(&[
        ("large", large.url("/in"), "when = \"body.amount > 100\""),
        ("all", all.url("/in"), ""),
    ]))
    .await;
    for body in [r#"{"amount":50}"#, r#"{"amount":500}"#] {
        assert_eq!(gate.send(&event(body)).await.status, 200);
    }
    // It is undecidable whether `large` wants it, so the gate rejects the event and the sender keeps it.
    assert_eq!(gate.send(&event(r#"{"sum":1}"#)).await.status, 422);
    gate.wait_for_line(&["unjudged"]).await;
    // An event for both shows that nothing else is on its way.
    let last = r#"{"amount":501}"#;
    assert_eq!(gate.send(&event(last)).await.status, 200);
    all.wait_for_requests(3).await;
    large.wait_for_requests(2).await;
    assert_eq!(bodies(&large), [br#"{"amount":500}"#, last.as_bytes()]);
    assert_eq!(all.count(), 3);
}
