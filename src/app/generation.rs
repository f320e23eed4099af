//! Builds a configuration snapshot (`Generation`): gate, rules and targets of one config.
//!
//! It is complete before it is swapped in, so a config that cannot be built changes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::app::cross_reload::CrossReloadState;
use crate::app::error::StartError;
use crate::config::model::{GateConfig, RouteMode, SecretEntry};
use crate::dispatch::RouteTargets;
use crate::gate::Gate;
use crate::gate::route::RouteTable;
use crate::gate::rules::RouteRules;
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::model::ids::RouteName;
use crate::net::client::OutgoingClient;
use crate::pipeline::{CompiledRoute, Generation};
use crate::record::history::SecretName;
use crate::record::{SecretEnd, TelemetryRecorder};
use crate::store::rows::DestinationId;

/// Returns the expiry times of all secrets that have one.
pub(super) fn secret_ends(config: &GateConfig) -> Vec<SecretEnd> {
    let each = config.routes.iter().flat_map(|route| {
        let ending = route.secrets.iter().filter_map(|entry| {
            Some(SecretEnd {
                route: route.name.clone(),
                label: Arc::clone(&entry.label),
                until_ms: entry.until_ms?,
            })
        });
        ending.collect::<Vec<_>>()
    });
    each.collect()
}

/// Ids of each route's destinations in the store; empty without a store.
pub(super) type DestinationIds = HashMap<RouteName, Vec<DestinationId>>;

/// Returns the snapshot that a gate has until its first config is in use: it has no routes.
pub(super) fn empty(state: &CrossReloadState) -> Generation {
    Generation {
        gate: Gate::new(None, state.keys(), Duration::ZERO),
        routes: RouteTable::build([]),
        health: None,
        max_in_flight: 0,
    }
}

/// Builds the configuration snapshot of a config.
pub(super) fn build(
    config: GateConfig,
    client: &OutgoingClient,
    recorder: &TelemetryRecorder,
    state: &CrossReloadState,
    destinations: &DestinationIds,
) -> Result<Generation, StartError> {
    let mut routes = Vec::with_capacity(config.routes.len());
    for route in config.routes {
        let name = route.name.clone();
        // A route in queue mode only delivers from the store, so it needs no target to forward to.
        let targets = match route.mode {
            RouteMode::Queue => None,
            RouteMode::Proxy | RouteMode::Hybrid { .. } => {
                Some(RouteTargets::build(&route, client))
            }
        };
        let targets = targets.transpose().map_err(|source| StartError::Upstream {
            route: name.clone(),
            source,
        })?;
        let numbers = destinations.get(&name);
        let subscriptions = numbers.map(|numbers| RouteSubscriptions::build(&route, numbers));
        let provider_ips = state.provider_ips(&route);
        let (claims, limiter) = (state.claims(&name), state.limiter(&name));
        let rules = RouteRules::compile(Arc::new(route), claims, limiter, provider_ips);
        let counters = recorder.route_counters(&name);
        routes.push(CompiledRoute {
            rules: rules.map_err(|source| StartError::Scheme {
                route: name,
                source,
            })?,
            targets,
            counters,
            subscriptions,
        });
    }
    Ok(Generation {
        gate: Gate::new(state.sources(), state.keys(), config.server.body_timeout),
        routes: RouteTable::build(routes),
        health: config.server.health,
        max_in_flight: config.server.max_in_flight,
    })
}

/// Carries counters over to the routes and secrets of a new snapshot, and drops those that it no longer has.
pub(super) fn follow(recorder: &TelemetryRecorder, old: &Generation, new: &Generation) {
    let old = old.routes.iter();
    let old = old.map(|old| (&old.rules.route().name, &old.rules));
    let old: HashMap<&RouteName, &RouteRules> = old.collect();
    let mut names = HashSet::new();
    for compiled in new.routes.iter() {
        let (rules, route) = (&compiled.rules, compiled.rules.route());
        names.insert(&route.name);
        // A route that has verified a request with a secret that it still has stays marked as verified.
        if let Some(before) = old.get(&route.name) {
            rules.inherit(before);
        }
        let known = old.get(&route.name).map(|rules| &*rules.route().secrets);
        let known = known.unwrap_or_default();
        let name = |entry: &SecretEntry| {
            let mut known = known.iter();
            // Secrets are matched by their value: a label may be only a position, which changes when one is removed.
            let before = known.find(|known| known.secret.is_same(&entry.secret));
            SecretName {
                label: Arc::clone(&entry.label),
                before: before.map(|before| Arc::clone(&before.label)),
            }
        };
        let secrets = route.secrets.iter().map(name).collect();
        compiled.counters.history().set_secrets(secrets);
    }
    // Counters of removed routes are freed, so memory stays bounded by the config.
    recorder.retain_routes(|name| names.contains(name));
}
