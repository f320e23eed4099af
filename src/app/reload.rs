//! Config reload: load, build a whole new configuration snapshot, swap it in.
//!
//! An error at any step is logged and leaves the running snapshot untouched. Requests in flight end under the snapshot
//! with which they began. Counters, limits and claims go on.

use std::path::Path;
use std::sync::Arc;

use hookgate_verify::document::report::{DiagnosticReport, ReportStyle};
use thiserror::Error;
use tracing::Level;

use crate::admin::controls::ReloadRejection;
use crate::app::error::StartError;
use crate::app::fixed_settings::FixedSettings;
use crate::app::running_gate::RunningGate;
use crate::config::model::{GateConfig, RouteMode};
use crate::config::{self, LoadedConfig};
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

    /// Loads certificates whose files changed, also those for connections to apps. The old ones stay in use if the new
    /// ones are invalid.
    pub(super) async fn renew_certificates(&self) {
        let client = self.client.clone();
        let renewed = tokio::task::spawn_blocking(move || client.renew_tls()).await;
        if let Ok((changed, failures)) = renewed {
            if changed > 0 {
                self.log(Level::INFO, "TLS files of apps reloaded", |line| {
                    line.count("changed", changed as u64);
                });
            }
            for failure in failures {
                let message = "TLS files of apps rejected, the previous ones stay in use";
                self.log(Level::ERROR, message, |line| {
                    line.message("error", &chain(&failure));
                });
            }
        }
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
        let managed = Arc::clone(self.edge.managed());
        let read = move || {
            let loaded = config::load(&path).map_err(|report| refused(&report))?;
            let (server, tls) = (&loaded.config.server, loaded.config.tls.as_ref());
            let routes = &loaded.config.routes;
            let settings =
                EdgeSettings::build(server, tls, routes, &managed).and_then(|settings| {
                    // At the start an expired certificate is only logged; a reload has a valid one to keep.
                    settings.deny_expired()?;
                    Ok((settings, EdgeSettings::build(server, None, &[], &managed)?))
                });
            let settings = settings.map_err(|err| ReloadError::Build(StartError::Edge(err)))?;
            Ok((loaded, settings))
        };
        // Reading files and parsing certificates would hold up the requests on this worker.
        let read = tokio::task::spawn_blocking(read).await;
        let (LoadedConfig { config, report }, (settings, http_settings)) =
            read.map_err(|_| ReloadError::Build(StartError::Panicked))??;

        self.log_warnings(&report);
        if FixedSettings::of(&config) != self.fixed {
            let message = "changes of `listen`, `[server.http]`, `socket`, `[telemetry]`, or of `[store]` except `retention`, take effect only after a restart";
            self.log(Level::WARN, message, |_| {});
        }
        let routes_store = |config: &GateConfig| {
            let mut routes = config.routes.iter();
            routes.any(|route| route.mode != RouteMode::Proxy)
        };
        // Without a store at the start there is no inbox that such a route could use.
        if self.store_runtime.is_none() && routes_store(&config) {
            return Err(ReloadError::Store);
        }
        let state = { self.state.lock().clone() };
        state.reread_ranges(&config);
        let (level, accepted) = (config.log.level, config.log.accepted);
        let prepared = self.prepare(config).await.map_err(ReloadError::Build)?;
        // From here on no step can fail, so either everything changes or nothing.
        self.edge.replace(settings);
        self.http_edge.replace(http_settings);
        // Not part of what the start shares: there the logger already has its level.
        self.recorder.set_log(level, accepted);
        Ok(self.put_in_use(prepared).await)
    }
}

/// Converts the diagnostics of an invalid config to an error for the log and the admin API.
fn refused(report: &DiagnosticReport) -> ReloadError {
    // The log cuts a long text, and the admin API shows its first line as the reason.
    let text = report.render_errors(ReportStyle::Plain);
    let summary = report.summary();
    ReloadError::Config {
        text: format!("{text}\n{summary}; the running config is unchanged"),
        diagnostics: Some(report.to_json()),
    }
}
