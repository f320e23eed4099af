//! Config reload: load, build a whole new configuration snapshot, swap it in.
//!
//! An error at any step is logged and leaves the running snapshot untouched. Requests in flight end under the snapshot
//! with which they began. Counters, limits and claims go on.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use tracing::Level;

use crate::admin::config_view::ConfigView;
use crate::admin::controls::ReloadRejection;
use crate::app::error::StartError;
use crate::app::fixed_settings::{FixedSettings, admin_hosts, admin_tokens};
use crate::app::generation;
use crate::app::generation::DestinationIds;
use crate::app::ranges::RangeRefresher;
use crate::app::running_gate::RunningGate;
use crate::app::store_runtime::StoreRuntime;
use crate::config::model::RouteMode;
use crate::config::{self, LoadedConfig};
use crate::document::report::{DiagnosticReport, ReportStyle};
use crate::edge::EdgeError;
use crate::edge::settings::EdgeSettings;
use crate::model::error::chain;

/// Error that stopped a reload.
#[derive(Debug, Error)]
enum ReloadError {
    #[error("{text}")]
    Config {
        text: String,
        diagnostics: Option<serde_json::Value>,
    },
    #[error("cannot build the new config")]
    Build(#[source] StartError),
    #[error("a route stores events, but the gate was started without `[store]`: restart hookgate")]
    Store,
}

impl RunningGate {
    /// Reloads the config and records the outcome in log, metrics and admin API.
    pub(super) async fn reload(&self, path: &Path) -> Result<usize, ReloadRejection> {
        let applied = self.apply(path).await.map_err(|error| ReloadRejection {
            text: chain(&error),
            diagnostics: match error {
                ReloadError::Config { diagnostics, .. } => diagnostics,
                ReloadError::Build(_) | ReloadError::Store => None,
            },
        });
        match &applied {
            Ok(routes) => self.recorder.reload_applied(*routes),
            Err(refused) => self.recorder.reload_refused(&refused.text),
        }
        let refused = applied.as_ref().err();
        self.admin
            .set_reload(refused.map(|refused| refused.text.clone()));
        applied
    }

    /// Loads certificates whose files changed. The old ones stay in use if the new ones are invalid.
    pub(super) async fn renew_certificates(&self) {
        let (edge, own) = (Arc::clone(&self.edge), self.admin_tls.clone());
        let renew = move || {
            let public = edge.reload_certificates()?;
            let own = own.map(|tls| tls.renew()).transpose()?;
            Ok::<_, EdgeError>(public || own == Some(true))
        };
        let renewed = tokio::task::spawn_blocking(renew).await;
        match renewed {
            Ok(Ok(true)) => self.log(Level::INFO, "certificates reloaded", |_| {}),
            Ok(Err(error)) => self.log(
                Level::ERROR,
                "certificates rejected, the previous ones stay in use",
                |line| {
                    line.message("error", &chain(&error));
                },
            ),
            Ok(Ok(false)) | Err(_) => {}
        }
    }

    /// Loads, builds and swaps in the new config; returns the number of its routes.
    async fn apply(&self, path: &Path) -> Result<usize, ReloadError> {
        let path = path.to_owned();
        let read = move || {
            let loaded = config::load(&path).map_err(|report| refused(&report))?;
            let (server, tls) = (&loaded.config.server, loaded.config.tls.as_ref());
            let settings = EdgeSettings::build(server, tls).and_then(|settings| {
                // At the start an expired certificate is only logged; a reload has a valid one to keep.
                settings.deny_expired()?;
                Ok(settings)
            });
            let settings = settings.map_err(|err| ReloadError::Build(StartError::Edge(err)))?;
            Ok((loaded, settings))
        };
        // Reading files and parsing certificates would hold up the requests on this worker.
        let read = tokio::task::spawn_blocking(read).await;
        let (LoadedConfig { config, report }, settings) =
            read.map_err(|_| ReloadError::Build(StartError::Panicked))??;

        self.log_warnings(&report);
        if FixedSettings::of(&config) != self.fixed {
            let message = "changes of `listen`, `socket`, `[telemetry]`, or of `[store]` except `retention`, take effect only after a restart";
            self.log(Level::WARN, message, |_| {});
        }
        let shutdown_timeout = config.server.shutdown_timeout;
        let (keep_verdicts, keep_rejected) =
            (config.server.keep_verdicts, config.server.keep_rejected);
        let (level, accepted) = (config.log.level, config.log.accepted);
        let tokens = admin_tokens(&config);
        let (facts, hosts) = (ConfigView::of(&config), admin_hosts(&config));

        let destinations = match &self.store_runtime {
            Some(keeping) => keeping.destinations(&config).await,
            // Without a store at the start there is no inbox that such a route could use.
            None if config
                .routes
                .iter()
                .any(|route| route.mode != RouteMode::Proxy) =>
            {
                return Err(ReloadError::Store);
            }
            None => Ok(DestinationIds::new()),
        };
        let destinations = destinations.map_err(ReloadError::Build)?;
        let plans = StoreRuntime::plans(&config, &destinations, &self.client);
        let plans = plans.map_err(ReloadError::Build)?;
        let retention = config
            .store
            .as_ref()
            .map(|wanted| StoreRuntime::retained(&config, wanted));

        // Blocking: claims of a new route are read from the store, which may take a while.
        let before = { self.state.lock().clone() };
        let succeeding = tokio::task::spawn_blocking(move || (before.succeed(&config), config));
        let panicked = |_| ReloadError::Build(StartError::Panicked);
        let (next, config) = succeeding.await.map_err(panicked)?;
        let next = next.map_err(ReloadError::Build)?;
        let routes = {
            let mut state = self.state.lock();
            next.reread_ranges(&config);
            let plan = RangeRefresher::planned(&config, &next);
            let ends = generation::secret_ends(&config);
            let generation =
                generation::build(config, &self.client, &self.recorder, &next, &destinations);
            let generation = generation.map_err(ReloadError::Build)?;
            let routes = generation.routes.iter().len();
            // From here on no step can fail, so either everything changes or nothing.
            self.recorder.set_capacities(keep_verdicts, keep_rejected);
            *state = next;
            // Released before the swap, because the metrics read the state under this lock.
            drop(state);
            self.refresher.follow(plan);
            self.recorder.set_secret_ends(ends);
            self.edge.replace(settings);
            // Before the swap, so that no request of the new snapshot counts under an old label.
            generation::follow(&self.recorder, Some(&self.generation.load()), &generation);
            self.generation.store(Arc::new(generation));
            routes
        };
        if let Some(keeping) = &self.store_runtime {
            keeping.set_retention(retention);
            keeping.deliverer.follow(plans).await;
        }
        self.recorder.set_log(level, accepted);
        self.admin.access().set(&tokens);
        self.admin.set_facts(facts);
        self.admin.set_hosts(hosts);
        *self.shutdown_timeout.lock() = shutdown_timeout;
        Ok(routes)
    }
}

/// Converts the diagnostics of an invalid config to an error for the log and the admin API.
fn refused(report: &DiagnosticReport) -> ReloadError {
    let text = report.render(ReportStyle::Plain);
    let summary = report.summary();
    ReloadError::Config {
        text: format!("{text}\n{summary}; the running config is unchanged"),
        diagnostics: Some(report.to_json()),
    }
}
