//! Where a route's events go: the upstream of the config, compiled so that a request only has to be put together.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Uri};

use crate::config::model::{PathRule, Route, Upstream};
use crate::forward::stamp::Stamper;
use crate::model::glob::Patterns;
use crate::net::client::{Client, ClientError, Pool, PoolKey};

/// The compiled upstream of one route.
pub struct Target {
    pub(super) pool: Arc<Pool>,
    pub(super) host: HeaderValue,
    pub(super) route: HeaderValue,
    pub(super) provider: HeaderValue,
    /// Headers that reach the app whatever they are called: the scheme reads them.
    pub(super) protected: Vec<HeaderName>,
    pub(super) pass_error_bodies: bool,
    /// None where the route signs nothing.
    pub(super) stamper: Option<Stamper>,
    path: TargetPath,
}

/// Where the events of one route go: the first branch that matches, else the route's own app.
pub struct Targets {
    usual: Target,
    branches: Vec<(Option<Patterns>, Option<Patterns>, Target)>,
}

impl Targets {
    /// Compiles the upstreams of a route; opens no connection.
    ///
    /// # Errors
    /// As for [`Target::build`].
    pub fn build(route: &Route, client: &Client) -> Result<Self, TargetError> {
        let branches = route.branches.iter().map(|branch| {
            let target = Target::to(&branch.upstream, route, client)?;
            Ok((branch.events.clone(), branch.versions.clone(), target))
        });
        Ok(Self {
            usual: Target::build(route, client)?,
            branches: branches.collect::<Result<_, _>>()?,
        })
    }

    /// The app for an event. What has no type matches no list of types.
    #[must_use]
    pub fn of(&self, event_type: Option<&str>, version: Option<&str>) -> &Target {
        let admits = |patterns: &Option<Patterns>, text: Option<&str>| match patterns {
            None => true,
            Some(patterns) => text.is_some_and(|text| patterns.admit(text)),
        };
        let mut branches = self.branches.iter();
        let found = branches
            .find(|(events, versions, _)| admits(events, event_type) && admits(versions, version));
        found.map_or(&self.usual, |(_, _, target)| target)
    }
}

/// Why a target cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL is not one that the config check lets through.
    #[error("the upstream is not an http or https URL with a host")]
    Url,
    /// A name that cannot stand in a header.
    #[error("the name of the route or of the provider cannot stand in a header")]
    Name,
    /// No connections can be made to it.
    #[error("the upstream cannot be connected to")]
    Client(#[source] ClientError),
}

/// How the path of the app comes about.
enum TargetPath {
    /// The upstream's path, whatever was sent.
    Exact(PathAndQuery),
    /// The upstream's path with what stands behind the route's prefix.
    Prefix { cut: usize, base: String },
}

impl Target {
    /// Compiles the upstream of a route; opens no connection.
    ///
    /// # Errors
    ///
    /// See `TargetError`; a route that `config` has checked gives none but for missing root certificates.
    pub fn build(route: &Route, client: &Client) -> Result<Self, TargetError> {
        Self::to(&route.upstream, route, client)
    }

    fn to(upstream: &Upstream, route: &Route, client: &Client) -> Result<Self, TargetError> {
        let authority = upstream.url.authority().ok_or(TargetError::Url)?;
        let key = pool_key(upstream, authority).ok_or(TargetError::Url)?;
        let pool = client.pool(key).map_err(TargetError::Client)?;
        let provider = match &route.provider {
            Some(provider) => provider.id.as_str(),
            None => "custom",
        };
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| TargetError::Name);
        Ok(Self {
            pool,
            host: header(authority.as_str())?,
            route: header(route.name.as_str())?,
            provider: header(provider)?,
            protected: route.scheme.headers(),
            pass_error_bodies: upstream.pass_error_bodies,
            stamper: Stamper::new(&route.sign_upstream),
            path: TargetPath::new(&route.path, upstream.url.path()).ok_or(TargetError::Url)?,
        })
    }

    /// The target of the request to the app; none only where it would be longer than a URI can be.
    pub(super) fn uri(&self, sent: &Uri) -> Option<Uri> {
        self.path.join(sent.path(), sent.query())
    }
}

impl TargetPath {
    fn new(rule: &PathRule, upstream: &str) -> Option<Self> {
        match rule {
            PathRule::Exact(_) => Some(Self::Exact(upstream.parse().ok()?)),
            PathRule::Prefix(prefix) => Some(Self::Prefix {
                // `/` is a prefix of everything, and the slash belongs to the rest.
                cut: if prefix == "/" { 0 } else { prefix.len() },
                base: upstream.to_owned(),
            }),
        }
    }

    /// The bytes of path and query stay as they were sent.
    fn join(&self, path: &str, query: Option<&str>) -> Option<Uri> {
        let (base, rest) = match self {
            Self::Exact(fixed) if query.is_none() => return Some(Uri::from(fixed.clone())),
            Self::Exact(fixed) => (fixed.path(), ""),
            Self::Prefix { cut, base } => match path.get(*cut..)? {
                "" => (base.as_str(), ""),
                // Exactly one slash between the two.
                rest => (base.strip_suffix('/').unwrap_or(base), rest),
            },
        };
        let query_length = query.map_or(0, |query| query.len().saturating_add(1));
        let mut target = BytesMut::with_capacity(base.len() + rest.len() + query_length);
        target.put_slice(base.as_bytes());
        target.put_slice(rest.as_bytes());
        if let Some(query) = query {
            target.put_u8(b'?');
            target.put_slice(query.as_bytes());
        }
        let target = PathAndQuery::from_maybe_shared(target.freeze()).ok()?;
        Some(Uri::from(target))
    }
}

fn pool_key(upstream: &Upstream, authority: &Authority) -> Option<PoolKey> {
    let scheme = upstream.url.scheme()?;
    let is_tls = *scheme == Scheme::HTTPS;
    if !is_tls && *scheme != Scheme::HTTP {
        return None;
    }
    Some(PoolKey {
        is_tls,
        authority: authority.clone(),
        connect_timeout: upstream.connect_timeout,
        timeout: upstream.timeout,
        idle_timeout: upstream.pool_idle_timeout,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn join(rule: &PathRule, upstream: &str, sent: &str) -> String {
        let sent: Uri = sent.parse().unwrap();
        let path = TargetPath::new(rule, upstream).unwrap();
        path.join(sent.path(), sent.query()).unwrap().to_string()
    }

    #[test]
    fn an_exact_path_becomes_the_upstreams_path_with_the_query_as_sent() {
        let rule = PathRule::Exact("/stripe".to_owned());
        let cases = [
            ("/webhooks/stripe", "/stripe", "/webhooks/stripe"),
            (
                "/webhooks/stripe",
                "/stripe?a=1&b=%2e%2E",
                "/webhooks/stripe?a=1&b=%2e%2E",
            ),
            ("/webhooks/stripe", "/stripe?", "/webhooks/stripe?"),
            ("/", "/stripe?x", "/?x"),
            ("/in/", "/stripe", "/in/"),
        ];
        for (upstream, sent, expected) in cases {
            assert_eq!(join(&rule, upstream, sent), expected);
        }
    }

    #[test]
    fn the_rest_behind_a_prefix_is_appended_with_one_slash() {
        let prefix = PathRule::Prefix("/hooks".to_owned());
        let root = PathRule::Prefix("/".to_owned());
        let cases = [
            (&prefix, "/in", "/hooks", "/in"),
            (&prefix, "/in", "/hooks/", "/in/"),
            (&prefix, "/in", "/hooks/a/b?c=d", "/in/a/b?c=d"),
            (&prefix, "/in/", "/hooks", "/in/"),
            (&prefix, "/in/", "/hooks/a", "/in/a"),
            (&prefix, "/", "/hooks", "/"),
            (&prefix, "/", "/hooks/a", "/a"),
            (&prefix, "/in", "/hooks//a", "/in//a"),
            (&prefix, "/in", "/hooks/%2F%61;x=1", "/in/%2F%61;x=1"),
            (&root, "/", "/", "/"),
            (&root, "/", "/a", "/a"),
            (&root, "/in", "/", "/in/"),
            (&root, "/in", "/a/", "/in/a/"),
        ];
        for (rule, upstream, sent, expected) in cases {
            assert_eq!(join(rule, upstream, sent), expected, "{upstream} {sent}");
        }
    }

    proptest! {
        // Mutation: decode or normalise anything in `join`.
        #[test]
        fn joined_paths_keep_every_byte(
            base in "(/[a-z]{1,4}){0,3}/?",
            rest in "(/[a-zA-Z0-9%;=.~_-]{0,4}){0,4}",
            query in proptest::option::of("[a-zA-Z0-9%&=./?-]{0,12}"),
        ) {
            let base = if base.is_empty() { "/".to_owned() } else { base };
            let rule = PathRule::Prefix("/hooks".to_owned());
            let suffix = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            let joined = join(&rule, &base, &format!("/hooks{rest}{suffix}"));
            let trimmed = base.trim_end_matches('/');
            let expected = if rest.is_empty() {
                format!("{base}{suffix}")
            } else {
                format!("{trimmed}{rest}{suffix}")
            };
            prop_assert_eq!(joined, expected);
        }
    }
}
