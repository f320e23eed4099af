//! What the running config says, as the API shows it: made by `app` with each generation, without any secret.

mod config;

use std::collections::HashMap;

use serde_json::Value;

use crate::admin::problem::Problem;
use crate::admin::wire::{CheckedSecret, Route, RouteDestination};
use crate::config::model::{self, Config, Enforce, PathRule};
use crate::document::suggest;
use crate::model::ids::RouteName;
use crate::scheme::spec::Spec;

/// One config, as it is told.
#[derive(Debug, Default)]
pub struct Facts {
    /// All of it, defaults included.
    pub(super) config: Value,
    /// Its routes, sorted by name.
    pub(super) routes: Vec<Route>,
    /// How the senders of each route sign.
    schemes: HashMap<String, Spec>,
}

impl Facts {
    /// Of a config that is in use, or will be in a moment.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            config: config::effective(config),
            routes: config.routes.iter().map(route).collect(),
            schemes: config.routes.iter().map(scheme).collect(),
        }
    }

    /// How the senders of a route sign; none where the config has no such route any more.
    pub(super) fn scheme(&self, route: &RouteName) -> Option<&Spec> {
        self.schemes.get(route.as_str())
    }

    /// The route with this name.
    pub(super) fn route(&self, name: &str) -> Result<&Route, Problem> {
        let found = self.routes.iter().find(|route| route.name == name);
        found.ok_or_else(|| {
            let names = self.routes.iter().map(|route| route.name.as_str());
            let near = suggest::nearest(name, names);
            let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
            Problem::missing(format!("the config has no route `{name}`{near}"))
        })
    }
}

fn scheme(route: &model::Route) -> (String, Spec) {
    (route.name.to_string(), route.scheme.clone())
}

fn route(route: &model::Route) -> Route {
    let secret = |entry: &model::SecretEntry| CheckedSecret {
        name: entry.label.to_string(),
        not_before: entry.not_before_ms.map(crate::admin::wire::Moment),
        until: entry.until_ms.map(crate::admin::wire::Moment),
    };
    let destination = |destination: &model::Destination| RouteDestination {
        name: destination.name.to_string(),
        url: config::url(&destination.url),
        active: destination.active,
        external: destination.external,
    };
    Route {
        name: route.name.to_string(),
        host: route.host.clone(),
        path: match &route.path {
            PathRule::Exact(path) | PathRule::Prefix(path) => path.clone(),
        },
        is_prefix: route.path.prefix().is_some(),
        provider: provider(route),
        mode: route.mode.name().word().to_owned(),
        enforced: route.enforce == Enforce::Block,
        upstream: route
            .upstream
            .as_ref()
            .map(|upstream| config::url(&upstream.url)),
        secrets: route.secrets.iter().map(secret).collect(),
        destinations: route
            .destinations
            .iter()
            .map(|one| destination(one))
            .collect(),
        backlog: None,
    }
}

/// The id of the provider, or `custom`.
fn provider(route: &model::Route) -> String {
    let provider = route.provider.as_ref();
    provider.map_or_else(|| "custom".to_owned(), |provider| provider.id.clone())
}
