//! The second part of the demo: curl commands that sign in the shell, and a live view of their results.

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::demo::logged_verdict::LoggedVerdict;
use crate::cli::demo::setup::DemoSetup;
use crate::cli::output::{BAD, FAINT, GOOD, STRONG, styled};
use crate::gate::reject::RejectReason;

/// Prints the commands, then shows each request at the gate and the app until Ctrl-C.
pub(super) async fn stay(stage: &DemoSetup) -> anyhow::Result<()> {
    anstream::println!("\n{}\n", styled(STRONG, "Try it by hand"));
    // Installed before printing, so that a Ctrl-C during the output ends the demo cleanly.
    let mut interrupts = signal(SignalKind::interrupt())?;
    for (comment, command) in commands(stage) {
        anstream::println!("{}\n{command}\n", styled(FAINT, &format!("# {comment}")));
    }
    anstream::println!("Requests at the gate and the app appear below. Ctrl-C stops the demo.\n");
    let received = stage.app.received();
    let mut seen = received.last().map_or(0, |request| request.number + 1);
    let mut logged = stage.gate.log().len();
    loop {
        let lines = tokio::select! {
            _ = interrupts.recv() => return Ok(()),
            lines = stage.gate.log_after(logged) => lines,
        };
        logged += lines.len();
        // The app comes first: the gate logs a request after the app has responded.
        for event in stage.app_requests(seen) {
            seen = event.number + 1;
            let header = |name| event.request.header(name).unwrap_or_default();
            anstream::println!(
                "app:  {} event {} on {}",
                header("hookgate-event-type"),
                header("hookgate-event-id"),
                event.request.target
            );
        }
        for decision in lines.iter().filter_map(LoggedVerdict::of) {
            let style = if decision.status < 300 { GOOD } else { BAD };
            let decided = styled(style, &format!("{} {}", decision.verdict, decision.status));
            let reason = decision.reason.as_deref().and_then(RejectReason::find);
            let why = reason.map(|reason| format!(": {}", reason.explanation().means));
            let route = Some(decision.route).filter(|route| !route.is_empty());
            let route = route.map(|route| format!(" on {route}"));
            anstream::println!(
                "gate: {decided}{}{}",
                route.unwrap_or_default(),
                why.unwrap_or_default()
            );
        }
    }
}

fn commands(stage: &DemoSetup) -> Vec<(&'static str, String)> {
    let url = stage.gate.url("");
    let curl = format!("curl -i --cacert {}", stage.gate.authority().display());
    let json = "-H 'Content-Type: application/json'";
    // `sed` removes the text that openssl prints before the digest.
    let sign = |secret: &str| format!("openssl dgst -sha256 -hmac '{secret}' | sed 's/.* //'");
    let github = |body: &str, signed: &str, delivery: &str| {
        format!(
            "{curl} {url}/github {json} -H 'X-GitHub-Event: push' -H 'X-GitHub-Delivery: {delivery}' \\\n  \
             -H \"X-Hub-Signature-256: sha256=$(printf %s '{signed}' | {})\" \\\n  \
             --data-binary '{body}'",
            sign(&stage.secrets.github)
        )
    };
    // The shell inserts the time, so that the timestamp is fresh whenever the command is pasted.
    let stripe = format!(
        "body='{{\"id\":\"evt_by_hand\",\"type\":\"invoice.paid\"}}'; t=$(date +%s)\n\
         {curl} {url}/stripe {json} \\\n  \
         -H \"Stripe-Signature: t=$t,v1=$(printf %s \"$t.$body\" | {})\" \\\n  \
         --data-binary \"$body\"",
        sign(&stage.secrets.stripe)
    );
    let push = r#"{"ref":"refs/heads/by-hand"}"#;
    let forged = r#"{"ref":"refs/heads/forged"}"#;
    vec![
        (
            "A signed GitHub event: forwarded. Send it again: the second one is a duplicate.",
            github(push, push, "by-hand-1"),
        ),
        (
            "The same signature with another body: rejected, and the response does not reveal the reason.",
            github(forged, push, "by-hand-2"),
        ),
        (
            "A Stripe event, signed with the current time: forwarded.",
            stripe,
        ),
        (
            "No route has this path: 404.",
            format!("{curl} {url}/nowhere -d '{{}}'"),
        ),
    ]
}
