//! Setup of the demo: a temporary certificate, the app, and the gate in front of it.
//!
//! It also sends the requests of the demo one after the other, and collects what the gate and the app made of each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hookgate_verify::document::report::ReportStyle;
use rustls::{ClientConfig, RootCertStore};

use crate::app::RunningGate;
use crate::cli::demo::client;
use crate::cli::demo::events::DemoStep;
use crate::cli::demo::log_capture::{LogCapture, LoggedVerdict};
use crate::cli::demo::receiver::DemoUpstream;
use crate::cli::demo::report::StepOutcome;
use crate::cli::demo::secrets::DemoSecrets;
use crate::config;
use crate::testing::PrivateFolder;

/// Limit for the log line of a request, which may appear after the response.
const LINE_LIMIT: Duration = Duration::from_secs(5);

/// The running demo: app, gate and certificate.
pub(super) struct DemoSetup {
    pub(super) secrets: DemoSecrets,
    pub(super) receiver: DemoUpstream,
    pub(super) log: LogCapture,
    folder: PrivateFolder,
    app: RunningGate,
    tls: Arc<ClientConfig>,
}

impl DemoSetup {
    /// Starts the app and the gate.
    pub(super) async fn set() -> anyhow::Result<Self> {
        let folder = PrivateFolder::make("hookgate-demo");
        let folder = folder.context("cannot create a folder for the certificate")?;
        let authority = folder.write_certificates("hookgate demo");
        let authority = authority.context("cannot create a certificate")?;
        let secrets = DemoSecrets::make()?;
        // The app starts first: the gate's config contains its address.
        let receiver = DemoUpstream::start()
            .await
            .context("cannot start the app")?;
        let text = config_text(folder.path(), receiver.address(), &secrets);
        let loaded = config::load_text("demo.toml", text).map_err(|report| {
            let errors = report.render(ReportStyle::Plain);
            anyhow!(
                "the config of the demo has errors:
{errors}"
            )
        })?;
        let log = LogCapture::default();
        let app = RunningGate::start(loaded, log.logger()?).await?;
        Ok(Self {
            secrets,
            receiver,
            log,
            folder,
            app,
            tls: client_config(authority)?,
        })
    }

    /// Returns the address on which the gate listens.
    pub(super) fn gate_address(&self) -> SocketAddr {
        self.app
            .addresses()
            .first()
            .copied()
            .unwrap_or(([127, 0, 0, 1], 0).into())
    }

    /// Returns the path of the authority's certificate, for curl.
    pub(super) fn authority_path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
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

    /// Stops the gate after the requests in flight, and removes the folder.
    pub(super) async fn end(self) {
        self.app.stop().await;
    }

    async fn play_one(&self, act: &DemoStep) -> anyhow::Result<StepOutcome> {
        // Everything after this point belongs to this request, since the requests do not overlap.
        let (seen_before, logged_before) = (self.receiver.count(), self.log.count());
        let mut connection = client::open(self.gate_address(), act.from, &self.tls).await?;
        let mut last = None;
        for _ in 0..act.times {
            last = Some(connection.send(&act.webhook).await?);
        }
        let reply = last.context("no request was sent")?;
        let is_wanted = |decision: &LoggedVerdict| act.expected.matches_verdict(decision);
        let decision = self
            .log
            .wait_for_line(logged_before, is_wanted, LINE_LIMIT)
            .await;
        Ok(StepOutcome {
            title: act.title,
            expected: act.expected,
            reply,
            decision,
            upstream_requests: self.receiver.since(seen_before),
            signed: act.webhook.body.clone(),
        })
    }
}

/// Returns the config of the demo, as a user would write it, except that the system chooses the ports.
fn config_text(folder: &Path, app: SocketAddr, secrets: &DemoSecrets) -> String {
    let folder = folder.display();
    let route = |name: &str, provider: &str, secret: &str, more: &str| {
        format!(
            "[routes.{name}]\npath = \"/{name}\"\nprovider = \"{provider}\"\nsecret = \"{secret}\"\n\
             upstream = \"http://{app}/webhooks/{name}\"\nmax_body = \"64KiB\"\n{more}\n"
        )
    };
    [
        // A low rate, so that the flood of the demo exceeds it however slow the machine is.
        "[server]\nlisten = [\"127.0.0.1:0\"]\nper_source_rate_limit = { per_second = 1, burst = 20 }\n\n".to_owned(),
        format!("[tls]\ncert = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n\n"),
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

fn client_config(
    authority: rustls::pki_types::CertificateDer<'static>,
) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The demo's client speaks HTTP/1.1 only.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
