//! The one path by which a config takes effect, at the start and on a reload.
//!
//! [`RunningGate::prepare`] builds everything of the config; it can fail and changes nothing. [`RunningGate::put_in_use`]
//! cannot fail and changes everything, so a reload never leaves half of a config in use.

use std::sync::Arc;
use std::time::Duration;

use crate::acme::AcmePlan;
use crate::admin::config_view::ConfigView;
use crate::alerts::AlertPlan;
use crate::app::certificates;
use crate::app::cross_reload::CrossReloadState;
use crate::app::error::StartError;
use crate::app::fixed_settings::{admin_hosts, admin_tokens};
use crate::app::generation::{self, DestinationIds};
use crate::app::http_listener::HttpRules;
use crate::app::ranges::{RangeRefresher, RefreshPlan};
use crate::app::running_gate::RunningGate;
use crate::app::store_runtime::StoreRuntime;
use crate::config::model::{AdminToken, GateConfig};
use crate::deliver::DeliveryPlan;
use crate::net::egress_proxy::EgressProxy;
use crate::pipeline::Generation;
use crate::record::SecretEnd;
use crate::store::RetentionLimits;

impl PreparedConfig {
    /// Returns the claims, limiters and keys that the config will use.
    pub(super) fn state(&self) -> &CrossReloadState {
        &self.state
    }
}

/// A config that is built and not in use yet: its snapshot, and the settings of the parts that outlive a snapshot.
pub(super) struct PreparedConfig {
    generation: Generation,
    state: CrossReloadState,
    ranges: RefreshPlan,
    deliveries: Vec<DeliveryPlan>,
    retention: Option<RetentionLimits>,
    secret_ends: Vec<SecretEnd>,
    keep_verdicts: usize,
    keep_rejected: usize,
    tokens: Vec<AdminToken>,
    facts: ConfigView,
    alerts: AlertPlan,
    hosts: Vec<String>,
    egress_proxy: Option<Arc<EgressProxy>>,
    shutdown_timeout: Duration,
    shutdown_delay: Option<Duration>,
    certificates: Option<AcmePlan>,
    http_rules: HttpRules,
}

impl RunningGate {
    /// Builds everything of a config. An error leaves the running gate untouched.
    pub(super) async fn prepare(&self, config: GateConfig) -> Result<PreparedConfig, StartError> {
        let destinations = match &self.store_runtime {
            Some(keeping) => keeping.destinations(&config).await?,
            None => DestinationIds::new(),
        };
        let deliveries = StoreRuntime::plans(&config, &destinations, &self.client)?;
        let retention = config.store.as_ref();
        let retention = retention.map(|wanted| StoreRuntime::retained(&config, wanted));
        // Cloned, because the metrics read the state under this lock, and the next step may take a while. Only a reload
        // replaces the state, and reloads do not overlap.
        let before = { self.state.lock().clone() };
        // Blocking: claims of a new route are read from the store.
        let manager = Arc::clone(&self.certificates.manager);
        let succeeding = tokio::task::spawn_blocking(move || {
            let plan = certificates::plan(&config, &manager);
            (before.succeed(&config), plan, config)
        });
        let (state, plan, mut config) = succeeding.await.map_err(|_| StartError::Panicked)?;
        let (state, plan) = (state?, plan?);
        // First, because the plan of the alerts takes the receivers out of the config.
        let facts = ConfigView::of(&config);
        let receivers = std::mem::take(&mut config.alerts);
        Ok(PreparedConfig {
            alerts: AlertPlan::build(receivers, &config, &self.client)
                .map_err(StartError::Alerts)?,
            ranges: RangeRefresher::planned(&config, &state),
            deliveries,
            retention,
            secret_ends: generation::secret_ends(&config),
            keep_verdicts: config.server.keep_verdicts,
            keep_rejected: config.server.keep_rejected,
            tokens: admin_tokens(&config),
            facts,
            hosts: admin_hosts(&config),
            egress_proxy: config.egress_proxy.clone(),
            shutdown_timeout: config.server.shutdown_timeout,
            shutdown_delay: config.server.shutdown_delay,
            certificates: plan,
            http_rules: HttpRules::of(&config),
            generation: generation::build(
                config,
                &self.client,
                &self.recorder,
                &state,
                &destinations,
            )?,
            state,
        })
    }

    /// Puts a config in use and returns the number of its routes.
    pub(super) async fn put_in_use(&self, prepared: PreparedConfig) -> usize {
        let PreparedConfig {
            generation,
            state,
            ranges,
            deliveries,
            retention,
            secret_ends,
            keep_verdicts,
            keep_rejected,
            tokens,
            facts,
            alerts,
            hosts,
            egress_proxy,
            shutdown_timeout,
            shutdown_delay,
            certificates,
            http_rules,
        } = prepared;
        let routes = generation.routes.iter().len();
        self.recorder.set_capacities(keep_verdicts, keep_rejected);
        state.egress().set(egress_proxy);
        // Not held during the swap, because the metrics read the state under this lock.
        *self.state.lock() = state;
        self.refresher.follow(ranges);
        self.recorder.set_secret_ends(secret_ends);
        // Before the swap, so that no request of the new snapshot counts under an old label.
        generation::follow(&self.recorder, &self.generation.load(), &generation);
        self.generation.store(Arc::new(generation));
        if let Some(keeping) = &self.store_runtime {
            keeping.set_retention(retention);
            keeping.deliverer.follow(deliveries).await;
        }
        // After the swap, so that the admin API never shows a config that is not in use yet.
        self.admin.access().set(&tokens);
        self.admin.set_facts(facts);
        self.alerts.follow(alerts);
        self.admin.set_hosts(hosts);
        *self.shutdown_timeout.lock() = shutdown_timeout;
        *self.shutdown_delay.lock() = shutdown_delay;
        self.http_rules.store(Arc::new(http_rules));
        let manager = Arc::clone(&self.certificates.manager);
        // Reads stored certificates, which would hold up the requests on this worker.
        let _ = tokio::task::spawn_blocking(move || manager.follow(certificates)).await;
        routes
    }
}
