//! Receivers and thresholds of one config, ready to use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::client::Certificate;

use crate::alerts::book::AlertChange;
use crate::alerts::sender::{AlertSender, HttpFormat, HttpSender, MailSender};
use crate::config::model::{AlertSection, AlertTarget, GateConfig, QuietRule, WatchSection};
use crate::model::problem::ProblemKind;
use crate::net::app_url::AppUrl;
use crate::net::client::{ClientError, OutgoingClient, OwnTls, PoolKey, PoolLimits};
use crate::net::egress_proxy::EgressProxy;

/// Time for which a connection to a receiver is kept.
const IDLE: Duration = Duration::from_secs(10);

/// Time after which a paused destination is a problem: an operator paused it, and may have forgotten it.
const PAUSED: Duration = Duration::from_secs(24 * 3600);

/// Receivers and thresholds of one config.
#[derive(Default)]
pub(crate) struct AlertPlan {
    pub(super) receivers: BTreeMap<String, PlannedReceiver>,
    pub(crate) watch: WatchSection,
    /// When each route counts as quiet.
    pub(super) routes: BTreeMap<String, QuietRule>,
}

/// One receiver of the config.
pub(super) struct PlannedReceiver {
    pub(super) sender: AlertSender,
    pub(super) kind: &'static str,
    pub(super) conditions: BTreeSet<ProblemKind>,
    pub(super) max_per_hour: u32,
    pub(super) reminders: bool,
}

/// Error of a receiver that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlertPlanError {
    /// The HTTP client cannot be set up.
    #[error("cannot set up the alert receiver `{receiver}`")]
    Client {
        receiver: String,
        source: ClientError,
    },
    /// The file of the CAs cannot be used.
    #[error("cannot use the `ca` of the alert receiver `{receiver}`")]
    Authorities {
        receiver: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl AlertPlan {
    /// Builds the plan of a config, which is consumed but for the routes. Reads the files of CAs.
    ///
    /// # Errors
    /// See [`AlertPlanError`].
    pub(crate) fn build(
        sections: Vec<AlertSection>,
        config: &GateConfig,
        client: &OutgoingClient,
    ) -> Result<Self, AlertPlanError> {
        let mut receivers = BTreeMap::new();
        for section in sections {
            let name = section.name.clone();
            receivers.insert(
                name,
                PlannedReceiver::build(section, client, config.egress_proxy.as_ref())?,
            );
        }
        let routes = config.routes.iter();
        Ok(Self {
            receivers,
            watch: config.watch.clone(),
            routes: routes
                .map(|route| (route.name.to_string(), route.quiet))
                .collect(),
        })
    }

    /// Returns whether anything is sent. Without receivers nothing is remembered either.
    pub(crate) fn has_receivers(&self) -> bool {
        !self.receivers.is_empty()
    }

    /// Returns how long a problem must last before it is an alert.
    pub(super) fn hold(&self, kind: ProblemKind) -> Duration {
        let interval = self.watch.interval;
        match kind {
            // A restart of the database or of a node is over soon.
            ProblemKind::Store => interval * 4,
            ProblemKind::Node => interval * 8,
            ProblemKind::Receiver => interval * 20,
            ProblemKind::Failing => self.watch.breaker_open.unwrap_or(Duration::MAX),
            ProblemKind::Paused => PAUSED,
            ProblemKind::Config
            | ProblemKind::Certificate
            | ProblemKind::Renewal
            | ProblemKind::RevocationList
            | ProblemKind::SecretEnds
            | ProblemKind::SecretIdle
            | ProblemKind::Disabled
            | ProblemKind::DeadLetters
            | ProblemKind::Backlog
            | ProblemKind::StoreFull
            | ProblemKind::Ranges
            | ProblemKind::Quiet
            | ProblemKind::Refusals => Duration::ZERO,
        }
    }
}

impl PlannedReceiver {
    /// Returns whether the receiver gets notes of this kind.
    pub(super) fn wants(&self, change: AlertChange) -> bool {
        self.reminders || change != AlertChange::Reminder
    }

    fn build(
        section: AlertSection,
        client: &OutgoingClient,
        proxy: Option<&Arc<EgressProxy>>,
    ) -> Result<Self, AlertPlanError> {
        let kind = section.word();
        let name = section.name.clone();
        let failed = |source| AlertPlanError::Client {
            receiver: name.clone(),
            source,
        };
        let AlertSection {
            target,
            ca,
            timeout,
            ..
        } = section;
        let (url, format, keys) = match target {
            AlertTarget::Chat { format, url } => (url, HttpFormat::Chat(format), Vec::new()),
            AlertTarget::Webhook { url, keys } => (url, HttpFormat::Json, keys),
            AlertTarget::Mail(settings) => {
                let ca = ca.map(|path| authorities(&path)).transpose();
                let ca = ca.map_err(|source| AlertPlanError::Authorities {
                    receiver: name.clone(),
                    source,
                })?;
                return Ok(Self {
                    sender: AlertSender::Mail(Box::new(MailSender {
                        settings,
                        ca: ca.unwrap_or_default(),
                        timeout,
                    })),
                    kind,
                    conditions: section.conditions.into_iter().collect(),
                    max_per_hour: section.max_per_hour,
                    reminders: section.reminders,
                });
            }
        };
        let own_tls = ca.map(|ca| OwnTls::read(|| client.roots(), Some(&ca), None));
        let app = AppUrl::of_uri(&url).ok_or_else(|| failed(ClientError::Host))?;
        // Receivers without TLS are on this network, where the proxy has no part.
        let proxy =
            proxy.filter(|proxy| app.is_tls() && !proxy.spares(url.host().unwrap_or_default()));
        let key = PoolKey {
            origin: app.origin().clone(),
            connect_timeout: timeout,
            timeout,
            keep: PoolLimits::idle(IDLE),
            proxy: proxy.cloned(),
            own_tls: own_tls.transpose().map_err(failed)?,
            // Chat servers in the operator's own network are fine, so private addresses are not rejected.
            is_external: false,
        };
        Ok(Self {
            sender: AlertSender::Http(HttpSender {
                pool: client.pool(key).map_err(failed)?,
                url,
                format,
                keys,
            }),
            kind,
            conditions: section.conditions.into_iter().collect(),
            max_per_hour: section.max_per_hour,
            reminders: section.reminders,
        })
    }
}

/// Reads a PEM file of CAs.
fn authorities(
    path: &std::path::Path,
) -> Result<Vec<Certificate>, Box<dyn std::error::Error + Send + Sync>> {
    let pem = std::fs::read(path)?;
    Ok(vec![Certificate::from_pem(&pem)?])
}
