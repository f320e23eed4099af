//! The route table: finds the route for a host and a path, byte by byte.

use std::collections::HashMap;

use crate::config::model::{PathRule, Route};
use crate::net::plain_path::is_plain;

/// Index of a route in its configuration snapshot.
pub(crate) type RouteIndex = usize;

/// The route table of a configuration snapshot.
#[derive(Clone, Default)]
pub(crate) struct RouteTable {
    by_host: HashMap<Box<str>, HostPaths>,
    every_host: HostPaths,
}

#[derive(Clone, Default)]
struct HostPaths {
    exact: HashMap<Box<str>, RouteIndex>,
    /// Prefixes with their routes, longest first, so that the first match wins.
    prefixes: Vec<(Box<str>, RouteIndex)>,
}

impl RouteTable {
    /// Builds the table from routes in the order of their indexes.
    pub(crate) fn build(routes: &[Route]) -> Self {
        let mut table = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let paths = match &route.host {
                Some(host) => table.by_host.entry(host.as_str().into()).or_default(),
                None => &mut table.every_host,
            };
            match &route.path {
                PathRule::Exact(path) => {
                    paths.exact.insert(path.as_str().into(), index);
                }
                PathRule::Prefix(prefix) => paths.prefixes.push((prefix.as_str().into(), index)),
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
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<RouteIndex> {
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
}

impl HostPaths {
    fn find(&self, path: &str) -> Option<RouteIndex> {
        if let Some(index) = self.exact.get(path) {
            return Some(*index);
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
            .map(|(_, index)| *index)
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else {
        return false;
    };
    rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
}
