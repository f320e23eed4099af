//! Setup of the demo: an app, and the gate in front of it.
//!
//! It also sends the requests of the demo one after the other, and collects what the gate and the app made of each.

use std::sync::Arc;

use anyhow::Context;

use crate::cli::demo::events::DemoStep;
use crate::cli::demo::logged_verdict::LoggedVerdict;
use crate::cli::demo::report::StepOutcome;
use crate::cli::demo::secrets::DemoSecrets;
use crate::testing::{ReceivedRequest, TestGate, WebhookReceiver};

/// The running demo: app and gate.
pub(super) struct DemoSetup {
    pub(super) secrets: DemoSecrets,
    pub(super) app: WebhookReceiver,
    pub(super) gate: TestGate,
}

impl DemoSetup {
    /// Starts the app and the gate.
    pub(super) async fn set() -> anyhow::Result<Self> {
        let secrets = DemoSecrets::make()?;
        // The app starts first: the gate's config contains its address.
        let app = WebhookReceiver::start()
            .await
            .context("cannot start the app")?;
        let gate = TestGate::start(&config_text(&app, &secrets)).await?;
        Ok(Self { secrets, app, gate })
    }

    /// Returns the requests that the app received, from this number on.
    pub(super) fn app_requests(&self, from: u64) -> Vec<Arc<ReceivedRequest>> {
        let mut requests = self.app.received();
        requests.retain(|request| request.number >= from);
        requests
    }

    /// Sends the requests one after the other, since later ones depend on earlier ones.
    pub(super) async fn play(&self, acts: &[DemoStep]) -> anyhow::Result<Vec<StepOutcome>> {
        let mut outcomes = Vec::with_capacity(acts.len());
        for act in acts {
            let act_failed = || format!("cannot send `{}`", act.title);
            outcomes.push(self.play_one(act).await.with_context(act_failed)?);
        }
        Ok(outcomes)
    }

    /// Stops the gate after the requests in flight, and removes its certificate.
    pub(super) async fn end(self) {
        self.gate.stop().await;
    }

    async fn play_one(&self, act: &DemoStep) -> anyhow::Result<StepOutcome> {
        // Everything after this point belongs to this request, since the requests do not overlap.
        let seen = self.app.received();
        let next = seen.last().map_or(0, |request| request.number + 1);
        let first = self.gate.send(&act.webhook).await?;
        let mut reply = first.clone();
        for _ in 1..act.times {
            reply = self.gate.send(&act.webhook).await?;
        }
        // The log is rate-limited, so only the first request of a flood is sure to have a line.
        let line = self.gate.log_line_of(&first).await;
        Ok(StepOutcome {
            title: act.title,
            expected: act.expected,
            reply,
            decision: line.as_ref().and_then(LoggedVerdict::of),
            upstream_requests: self.app_requests(next),
            signed: act.webhook.body.clone(),
        })
    }
}

/// Returns the config of the demo, as a user would write it, except that the system chooses the ports. The gate adds a
/// temporary certificate.
fn config_text(app: &WebhookReceiver, secrets: &DemoSecrets) -> String {
    let route = |name: &str, provider: &str, secret: &str, more: &str| {
        format!(
            "[routes.{name}]\npath = \"/{name}\"\nprovider = \"{provider}\"\nsecret = \"{secret}\"\n\
             upstream = \"{}\"\nmax_body = \"64KiB\"\n{more}\n",
            app.url(&format!("/webhooks/{name}"))
        )
    };
    [
        // The demo is the proxy in front, so that each attacker has an address of its own. The rate is low, so that the
        // flood exceeds it however slow the machine is.
        "[server]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1/32\"]\n\
         per_source_rate_limit = { per_second = 1, burst = 20 }\n\n"
            .to_owned(),
        route("stripe", "stripe", &secrets.stripe, ""),
        route("github", "github", &secrets.github, ""),
        route("shopify", "shopify", &secrets.shopify, ""),
        route("slack", "slack", &secrets.slack, ""),
        route(
            "orders",
            "standard_webhooks",
            &secrets.standard_webhooks,
            "",
        ),
        route(
            "partner",
            "x_webhook",
            &secrets.partner,
            "allow_ips = [\"203.0.113.0/24\"]\n",
        ),
    ]
    .concat()
}
