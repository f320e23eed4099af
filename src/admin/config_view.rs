//! Facts about the running config for the admin API, without any secret.
//!
//! `app` builds them with each configuration snapshot. Handlers read only these facts, so they cannot reveal a secret
//! of the config.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use hookgate_verify::scheme::spec::SchemeSpec;
use sha2::{Digest as _, Sha256};

use crate::admin::documents::{CheckedSecret, RouteDestination, RouteDocument};
use crate::config::effective::{EffectiveValue, effective};
use crate::config::model::{self, EnforceMode, GateConfig, PathRule};
use crate::model::ids::RouteName;

/// Facts about one config.
#[derive(Debug, Default)]
pub(crate) struct ConfigView {
    /// The effective config with its defaults.
    pub(super) config: EffectiveValue,
    /// Routes of the config, sorted by name.
    pub(super) routes: Vec<RouteDocument>,
    /// Digest of what all nodes should have in common, in hexadecimal.
    pub(super) digest: String,
    /// Signature scheme of each route, which knows the credentials to mask.
    schemes: HashMap<String, SchemeSpec>,
}

impl ConfigView {
    /// Collects the facts about a config.
    pub(crate) fn of(config: &GateConfig) -> Self {
        let effective = effective(config);
        Self {
            digest: digest(&effective),
            config: effective,
            routes: config.routes.iter().map(route).collect(),
            schemes: config.routes.iter().map(scheme).collect(),
        }
    }

    /// Returns the scheme of a route; `None` if the route left the config.
    pub(super) fn scheme(&self, route: &RouteName) -> Option<&SchemeSpec> {
        self.schemes.get(route.as_str())
    }
}

/// Keys that may differ from node to node: sections as a whole, then single keys.
const OWN_SECTIONS: [&str; 3] = ["admin", "log", "include"];
const OWN_KEYS: [(&str, &str); 5] = [
    ("server", "listen"),
    ("server", "state_dir"),
    ("store", "node"),
    ("tls", "cert"),
    ("tls", "key"),
];

/// Returns a digest of the config without what belongs to one machine. Secrets are no part of it.
fn digest(config: &EffectiveValue) -> String {
    let mut shared = serde_json::to_value(config).unwrap_or_default();
    if let Some(sections) = shared.as_object_mut() {
        sections.retain(|name, _| !OWN_SECTIONS.contains(&name.as_str()));
        for (section, key) in OWN_KEYS {
            let section = sections
                .get_mut(section)
                .and_then(|one| one.as_object_mut());
            if let Some(section) = section {
                section.remove(key);
            }
        }
    }
    let text = serde_json::to_vec(&shared).unwrap_or_default();
    let digest = Sha256::digest(&text);
    // Half of the digest names a config well enough, and fits a table.
    HEXLOWER.encode(digest.get(..8).unwrap_or_default())
}

fn scheme(route: &model::Route) -> (String, SchemeSpec) {
    (route.name.to_string(), route.scheme.clone())
}

fn route(route: &model::Route) -> RouteDocument {
    let secret = |entry: &model::SecretEntry| CheckedSecret {
        name: entry.label.to_string(),
        not_before: entry
            .not_before_ms
            .map(crate::admin::documents::ApiTimestamp),
        until: entry.until_ms.map(crate::admin::documents::ApiTimestamp),
    };
    let destination = |destination: &model::DestinationSection| RouteDestination {
        name: destination.name.to_string(),
        url: destination.url.redacted(),
        active: destination.active,
        external: destination.external,
    };
    RouteDocument {
        name: route.name.to_string(),
        place: route.place.clone(),
        host: route.host.clone(),
        path: match &route.path {
            PathRule::Exact(path) | PathRule::Prefix(path) => path.clone(),
        },
        is_prefix: route.path.prefix().is_some(),
        provider: provider(route),
        mode: route.mode.name().word().to_owned(),
        enforced: route.enforce == EnforceMode::Block,
        upstream: route
            .upstream
            .as_ref()
            .map(|upstream| upstream.url.redacted()),
        secrets: route.secrets.iter().map(secret).collect(),
        destinations: route
            .destinations
            .iter()
            .map(|one| destination(one))
            .collect(),
        // A handler adds it for each response, because it changes with every delivery.
        backlog: None,
    }
}

/// Returns the id of the provider; `custom` for a route with a scheme of its own.
fn provider(route: &model::Route) -> String {
    let provider = route.provider.as_ref();
    provider.map_or_else(|| "custom".to_owned(), |provider| provider.id.clone())
}
