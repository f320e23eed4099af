//! The configuration snapshot that a request goes through, and the compiled route that it is carried to.

use std::sync::Arc;

use http::request::Parts;

use crate::config::model::{Route, RouteMode};
use crate::dispatch::RouteTargets;
use crate::gate::route::RouteTable;
use crate::gate::rules::RouteRules;
use crate::gate::{Gate, host};
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::record::counters::RouteCounters;

/// Everything that one loaded config built. A request keeps the generation with which it began until its response.
pub(crate) struct Generation {
    /// The part of the gate that all routes share.
    pub gate: Gate,
    /// All routes.
    pub routes: RouteTable<CompiledRoute>,
    /// The path that responds with 200 to the health checks of load balancers.
    pub health: Option<String>,
    /// Largest number of concurrent exchanges with apps.
    pub max_in_flight: usize,
}

/// One route with everything that its requests need: the checks, and the work after them.
pub(crate) struct CompiledRoute {
    /// The checks.
    pub rules: RouteRules,
    /// The upstream targets; `None` in queue mode.
    pub targets: Option<RouteTargets>,
    /// The counters of the route.
    pub counters: Arc<RouteCounters>,
    /// The destinations and their filters; `None` without a store.
    pub subscriptions: Option<RouteSubscriptions>,
}

impl Generation {
    /// Finds the route that host and path of a request lead to.
    pub(super) fn find(&self, head: &Parts) -> Option<&Arc<CompiledRoute>> {
        self.routes.find(host(head), head.uri.path())
    }
}

impl CompiledRoute {
    /// Returns whether the route forwards its events, stores them, or both.
    pub(super) fn mode(&self) -> RouteMode {
        self.rules.route().mode
    }

    /// Returns whether the route takes events of own apps, which get detailed responses.
    pub(super) fn takes_local(&self) -> bool {
        let subscriptions = self.subscriptions.as_ref();
        self.mode() == RouteMode::Queue && subscriptions.is_some_and(RouteSubscriptions::is_local)
    }
}

impl AsRef<Route> for CompiledRoute {
    fn as_ref(&self) -> &Route {
        self.rules.route()
    }
}
