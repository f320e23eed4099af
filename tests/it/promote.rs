//! Tests of `hookgate promote` and `hookgate secrets`, which end monitor mode and a rotation of secrets.

use std::process::Output;

use jiff::{Timestamp, ToSpan};

use crate::harness::app::{App, ok};
use crate::harness::command::outcome;
use crate::harness::gate::{Gate, Options};
use crate::harness::sender::{Provider, Sender};
use crate::harness::transcript::Transcript;

const TOKEN: &str = "kP8s3Hn6Yd0Gf5Vc";

fn options(route: &str) -> Options {
    Gate::options(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[admin.tokens]]\nname = \"board\"\nrole = \"viewer\"\ntoken = \"{TOKEN}\"\n{route}"
    ))
}

fn out(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Fails when a passed request counts as one that would be refused, when the wrong line is named, or when the file is
/// changed.
#[tokio::test]
async fn promote_shows_what_would_have_been_refused_and_which_line_to_change() {
    let app = App::start(ok());
    let route = Provider::Stripe.route("hook", &app.url("/in"), "enforce = \"monitor\"\n");
    let gate = options(&route).start().await;
    let before = std::fs::read_to_string(gate.config_path()).unwrap();
    let right = Sender::new(Provider::Stripe);
    assert_eq!(
        gate.send(&right.event_of("/hook", "evt_1")).await.status,
        200
    );
    let stale = right.clone().shifted(-4000).event_of("/hook", "evt_2");
    let reply = gate.send(&stale).await;
    assert_eq!(reply.status, 200);
    let flipped = right.event_of("/hook", "evt_3").flip_body_byte();
    assert_eq!(gate.send(&flipped).await.status, 200);

    let mut transcript = Transcript::new("promote.txt");
    let mut add = async |arguments: &[&str]| {
        let ended = outcome(gate.hookgate(TOKEN, arguments).await);
        transcript.add(arguments, &ended);
    };
    add(&["promote", "hook", "--config", "hookgate.toml"]).await;
    assert_eq!(std::fs::read_to_string(gate.config_path()).unwrap(), before);
    // With that line removed there is nothing to promote.
    let after = before.replace("enforce = \"monitor\"\n", "");
    assert!(gate.reload(&after).await);
    add(&["promote", "hook"]).await;
    add(&["promote", "hok"]).await;
    transcript.compare_without_ages();
}

/// Fails when matches count for the wrong secret, when its text is shown, or when no warning comes before one expires.
#[tokio::test]
async fn a_rotation_shows_which_secret_still_matches_and_which_ends_soon() {
    let app = App::start(ok());
    let (new, old) = (Provider::Stripe.secret(), Provider::Stripe.other_secret());
    let until = Timestamp::now() + 60.hours();
    let route = format!(
        "[routes.hook]\npath = \"/hook\"\nprovider = \"stripe\"\nupstream = \"{}\"\n\
         secret = [{{ env = \"NEW\", name = \"new\" }}, {{ env = \"OLD\", name = \"old\", until = {} }}]\n",
        app.url("/in"),
        until.strftime("%FT%TZ"),
    );
    let options = options(&route).env("NEW", new).env("OLD", old);
    let gate = options.start().await;
    let line = gate.wait_for_line(&["expires in 2 days"]).await;
    assert!(
        line.contains("\"secret\":\"old\"") && line.contains("WARN"),
        "{line}"
    );
    for id in ["evt_1", "evt_2"] {
        let event = Sender::new(Provider::Stripe).event_of("/hook", id);
        assert_eq!(gate.send(&event).await.status, 200);
    }
    let text = out(&gate.hookgate(TOKEN, &["secrets", "list"]).await);
    assert!(!text.contains(new) && !text.contains(old), "{text}");
    let words = |name: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("hook   {name}")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{text}"));
        line.split_whitespace().map(str::to_owned).collect()
    };
    let (used, unused) = (words("new"), words("old"));
    assert_eq!(used[2..5], ["-", "-", "2"], "{text}");
    assert_eq!(unused[unused.len() - 2..], ["0", "-"], "{text}");
    let status = gate.hookgate(TOKEN, &["status"]).await;
    assert_eq!(status.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        shown.contains("`old` of route `hook` expires in 2 days"),
        "{shown}"
    );
}

/// Fails when counts follow the position of a secret: after a reload the wrong one would seem to be in use.
#[tokio::test]
async fn counts_stay_with_their_secrets_when_a_reload_swaps_them() {
    let app = App::start(ok());
    let route = |secrets: &str| {
        format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n\
             [[admin.tokens]]\nname = \"board\"\nrole = \"viewer\"\ntoken = \"{TOKEN}\"\n\
             [routes.hook]\npath = \"/hook\"\nprovider = \"stripe\"\nupstream = \"{}\"\n\
             secret = [{secrets}]\n",
            app.url("/in"),
        )
    };
    let (one, other) = ("{ env = \"ONE\" }", "{ env = \"OTHER\" }");
    let gate = Gate::options(&route(&format!("{one}, {other}")))
        .env("ONE", Provider::Stripe.secret())
        .env("OTHER", Provider::Stripe.other_secret())
        .start()
        .await;
    let first = Sender::new(Provider::Stripe);
    let second = first.clone().with_secret(Provider::Stripe.other_secret());
    for (sender, id) in [(&first, "evt_1"), (&second, "evt_2"), (&second, "evt_3")] {
        let reply = gate.send(&sender.event_of("/hook", id)).await;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(matched(&gate).await, ["1", "2"]);
    assert!(gate.reload(&route(&format!("{other}, {one}"))).await);
    assert_eq!(matched(&gate).await, ["2", "1"]);
    // New matches are added to the count of the same secret.
    let reply = gate.send(&first.event_of("/hook", "evt_4")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(matched(&gate).await, ["2", "2"]);
}

/// Returns how often each secret of the route matched, in the order of the config.
async fn matched(gate: &Gate) -> Vec<String> {
    let text = out(&gate.hookgate(TOKEN, &["secrets", "list"]).await);
    let lines = text.lines().filter(|line| line.starts_with("hook "));
    let words = lines.map(|line| line.split_whitespace().nth(4).unwrap().to_owned());
    let found: Vec<String> = words.collect();
    assert_eq!(found.len(), 2, "{text}");
    found
}
