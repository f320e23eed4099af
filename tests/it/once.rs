//! Tests that values which identify an event occur once: gate and app could read different ones of two.

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender, mac};

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

/// Fails without `rules.once.check(..)` in gate::claim.
#[tokio::test]
async fn a_header_that_identifies_the_event_occurs_once() {
    let app = App::start(ok());
    let filter =
        "when = '!(\"x-github-hook-id\" in headers) || headers[\"x-tenant\"] != \"never\"'";
    // Three routes: without use of the id, with dedup, and with a filter.
    for more in ["dedup = false", "", "events = [\"push\", \"ping\"]"] {
        let gate = Gate::start(&Provider::Github.route(
            "hook",
            &app.url("/in"),
            &format!("{more}\n{filter}"),
        ))
        .await;
        let before = app.count();
        for client in [gate.client(), gate.client_h2()] {
            for (name, value) in [
                ("X-GitHub-Event", "ping"),
                ("X-GitHub-Event", "push"),
                ("x-github-event", ""),
                ("X-GitHub-Delivery", "other"),
                ("X-GitHub-Hook-Id", "2"),
                ("X-Tenant", "b"),
            ] {
                let mut hook = event();
                if name.ends_with("Hook-Id") || name == "X-Tenant" {
                    hook = hook.with(name, "1");
                }
                let reply = client.send(&hook.with(name, value)).await;
                assert_eq!(reply.status, 400, "{more}: {name}: {value}");
            }
            // Other headers may occur several times.
            let hook = event().with("X-Other", "1").with("X-Other", "2");
            assert_eq!(client.send(&hook).await.status, 200, "{more}");
        }
        assert_eq!(app.count(), before + 2, "{more}");
        gate.wait_for_line(&["occurs more than once"]).await;
    }
}

const KEY: &str = "0b7f1c9e5a2d4836b1f0c7e9";

fn own(place: &str, more: &str, url: &str) -> String {
    format!(
        "[server]\nper_source_rate_limit = false\n\n[routes.own]\npath = \"/own\"\nsecret = \"{KEY}\"\nupstream = \"{url}\"\n{more}\n\n[routes.own.scheme]\ntype = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = {{ header = \"X-Sig\" }}\nsigned = \"{{body}}\"\nevent_id = {place}\nevent_type = {place}\n"
    )
}

fn signed(target: &str, body: &str) -> Hook {
    let digest = mac(KEY.as_bytes(), &[body.as_bytes()]);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Hook::bare("POST", target, body.as_bytes()).with("X-Sig", &hex)
}

/// Fails when only headers are counted, or names are compared without their escapes.
#[tokio::test]
async fn parameters_and_form_fields_occur_once_too() {
    let app = App::start(ok());
    for more in ["dedup = false", ""] {
        let before = app.count();
        let gate = Gate::start(&own("{ query = \"event\" }", more, &app.url("/in"))).await;
        for (target, status) in [
            ("/own?event=a", 200),
            ("/own?x=1&x=2&event=b", 200),
            ("/own?event=c&event=d", 400),
            ("/own?event=e&event=e", 400),
            ("/own?event=f&%65vent=g", 400),
            ("/own?event=h&event", 400),
        ] {
            // Equal bodies under an unsigned id could be one event.
            let body = format!("{{\"at\":\"{target}\"}}");
            let reply = gate.send(&signed(target, &body)).await;
            assert_eq!(reply.status, status, "{more}: {target}");
        }
        let gate = Gate::start(&own("{ form = \"event\" }", more, &app.url("/in"))).await;
        for (body, status) in [
            ("event=a", 200),
            ("x=1&x=2&event=b", 200),
            ("event=c&event=d", 400),
            ("event=e&event=e", 400),
            ("event=f&%65vent=g", 400),
        ] {
            let hook =
                signed("/own", body).with("Content-Type", "application/x-www-form-urlencoded");
            let reply = gate.send(&hook).await;
            assert_eq!(reply.status, status, "{more}: {body}");
        }
        assert_eq!(app.count(), before + 4, "{more}");
    }
}
