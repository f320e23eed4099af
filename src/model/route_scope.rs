//! The routes that a caller of the admin API may see.

use std::sync::Arc;

use hookgate_verify::model::glob::GlobPattern;

/// A limit to routes: no limit, or patterns of which a route's name must match one.
///
/// The store takes it as a part of each search, so that rows of other routes are never read for a limited caller.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum RouteScope {
    /// Every route, and everything that belongs to no route.
    #[default]
    All,
    /// Only routes whose name matches one of these patterns.
    Only(Arc<[GlobPattern]>),
}

impl RouteScope {
    /// Parses patterns. A text that is not a valid pattern matches nothing, so that a scope can only shrink.
    pub(crate) fn only<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let patterns = texts
            .into_iter()
            .filter_map(|text| GlobPattern::parse(text).ok());
        Self::Only(patterns.collect())
    }

    /// Returns true if the scope excludes some routes.
    pub(crate) fn is_limited(&self) -> bool {
        matches!(self, Self::Only(_))
    }

    /// Returns true if a route is in the scope.
    pub(crate) fn contains(&self, route: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.iter().any(|pattern| pattern.matches(route)),
        }
    }

    /// Returns true if what belongs to a route, or to no route, is in the scope.
    pub(crate) fn contains_any(&self, route: Option<&str>) -> bool {
        match route {
            Some(route) => self.contains(route),
            // Even `*` is a limit to routes: a request that reached no route belongs to the gate as a whole.
            None => !self.is_limited(),
        }
    }

    /// Returns true if every route of another scope is in this one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            // A pattern that matches the text of another one matches all that the other matches: only a `*` of the
            // first can match the `*` of the second, and it then matches every text in its place.
            (Self::Only(_), Self::Only(patterns)) => patterns
                .iter()
                .all(|pattern| self.contains(&pattern.to_string())),
        }
    }

    /// Returns the patterns as text; `None` without a limit.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Only(patterns) => Some(patterns.iter().map(ToString::to_string).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(texts: &[&str]) -> RouteScope {
        RouteScope::only(texts.iter().copied())
    }

    #[test]
    fn a_scope_contains_the_routes_of_its_patterns() {
        let scope = only(&["stripe", "shop-*"]);
        for (route, expected) in [
            ("stripe", true),
            ("shop-", true),
            ("shop-eu", true),
            ("shop", false),
            ("stripe-2", false),
            ("", false),
        ] {
            assert_eq!(scope.contains(route), expected, "{route}");
            assert!(RouteScope::All.contains(route));
        }
        assert!(only(&["*"]).contains_any(Some("stripe")) && !only(&["*"]).contains_any(None));
        assert!(RouteScope::All.contains_any(None));
        assert!(!only(&[]).contains("stripe"));
        assert!(!only(&["\n"]).contains("\n"));
    }

    // Fails when a limited caller sees the replay of a wider one, or not that of a narrower one.
    #[test]
    fn a_scope_covers_what_it_contains_completely() {
        let scope = only(&["stripe", "shop-*"]);
        for (other, expected) in [
            (only(&["stripe"]), true),
            (only(&["shop-eu", "stripe"]), true),
            (only(&["shop-e*"]), true),
            (only(&["shop-*"]), true),
            (only(&["shop*"]), false),
            (only(&["*"]), false),
            (only(&["stripe", "github"]), false),
            (RouteScope::All, false),
            (only(&[]), true),
        ] {
            assert_eq!(scope.covers(&other), expected, "{other:?}");
            assert!(RouteScope::All.covers(&other));
        }
    }
}
