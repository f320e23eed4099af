//! The routes of a configuration snapshot: in their order, by name, and by host and path, byte by byte.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::model::{PathRule, Route};
use crate::model::ids::RouteName;
use crate::net::plain_path::is_plain;

/// All routes of a configuration snapshot, each with what was compiled for it.
pub(crate) struct RouteTable<R> {
    all: Vec<Arc<R>>,
    by_host: HashMap<Box<str>, HostPaths<R>>,
    every_host: HostPaths<R>,
}

struct HostPaths<R> {
    exact: HashMap<Box<str>, Arc<R>>,
    /// Prefixes with their routes, longest first, so that the first match wins.
    prefixes: Vec<(Box<str>, Arc<R>)>,
}

impl<R: AsRef<Route>> RouteTable<R> {
    /// Builds the table from the routes in the order of the config.
    pub(crate) fn build(routes: impl IntoIterator<Item = R>) -> Self {
        let mut table = Self {
            all: routes.into_iter().map(Arc::new).collect(),
            by_host: HashMap::new(),
            every_host: HostPaths::new(),
        };
        for compiled in &table.all {
            let route: &Route = compiled.as_ref().as_ref();
            let paths = match &route.host {
                Some(host) => table
                    .by_host
                    .entry(host.as_str().into())
                    .or_insert_with(HostPaths::new),
                None => &mut table.every_host,
            };
            let compiled = Arc::clone(compiled);
            match &route.path {
                PathRule::Exact(path) => {
                    paths.exact.insert(path.as_str().into(), compiled);
                }
                PathRule::Prefix(prefix) => {
                    paths.prefixes.push((prefix.as_str().into(), compiled));
                }
            }
        }
        let all = table.by_host.values_mut().chain([&mut table.every_host]);
        for paths in all {
            paths
                .prefixes
                // `find` takes the first match, so longer prefixes come first.
                .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        }
        table
    }

    /// Returns the route for a host and a path. A route with a host beats one without, an exact path beats a prefix,
    /// and a longer prefix beats a shorter one.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Arc<R>> {
        // Lower-casing copies the host, which is not needed if no route names one.
        let named = if self.by_host.is_empty() {
            None
        } else {
            self.by_host.get(host.to_ascii_lowercase().as_str())
        };
        named
            .and_then(|paths| paths.find(path))
            .or_else(|| self.every_host.find(path))
    }

    /// Returns the route with this name.
    pub(crate) fn named(&self, name: &RouteName) -> Option<&Arc<R>> {
        self.iter().find(|compiled| {
            let route: &Route = compiled.as_ref().as_ref();
            route.name == *name
        })
    }

    /// Returns all routes in the order of the config.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<R>> {
        self.all.iter()
    }
}

impl<R> HostPaths<R> {
    fn new() -> Self {
        Self {
            exact: HashMap::new(),
            prefixes: Vec::new(),
        }
    }

    fn find(&self, path: &str) -> Option<&Arc<R>> {
        if let Some(route) = self.exact.get(path) {
            return Some(route);
        }
        let found = self
            .prefixes
            .iter()
            .find(|(prefix, _)| is_below(path, prefix));
        // The rest behind a prefix goes to the app unchanged, so `..` or an escaped slash must not lead out of the
        // prefix.
        found
            .filter(|(prefix, _)| {
                // The slash at the end of the prefix `/` belongs to the rest.
                let cut = prefix.strip_suffix('/').unwrap_or(prefix).len();
                is_plain(path.get(cut..).unwrap_or_default())
            })
            .map(|(_, route)| route)
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else {
        return false;
    };
    rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
}
