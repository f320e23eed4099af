//! Where a route's events go: the upstream of the config, compiled so that a request only has to be put together.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};

use crate::config::model::{Mode, Route, Upstream};
use crate::forward::stamp::Stamper;
use crate::model::glob::Patterns;
use crate::net::client::{Client, ClientError, Pool, PoolKey};
use crate::net::target_path::TargetPath;

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
    /// Whether the app is told the event's id and the attempt's number: it may be attempted again from the store.
    pub(super) is_first_attempt: bool,
    /// How long a refused connection is tried again.
    pub(super) grace: Duration,
    path: TargetPath,
}

/// Where the events of one route go: the first branch that matches, else the route's own app.
pub struct Targets {
    usual: Target,
    branches: Vec<(Option<Patterns>, Option<Patterns>, Target)>,
    unverified: Option<Target>,
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
        let unverified = route.unverified_upstream.as_ref();
        let unverified = unverified.map(|upstream| Target::to(upstream, route, client));
        Ok(Self {
            unverified: unverified.transpose()?,
            usual: Target::build(route, client)?,
            branches: branches.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the app for what failed a check in monitor mode.
    #[must_use]
    pub fn of_unverified(&self) -> &Target {
        self.unverified.as_ref().unwrap_or(&self.usual)
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

impl Target {
    /// Compiles the upstream of a route; opens no connection.
    ///
    /// # Errors
    ///
    /// See `TargetError`; a route that `config` has checked gives none but for missing root certificates.
    pub fn build(route: &Route, client: &Client) -> Result<Self, TargetError> {
        let upstream = route.upstream.as_ref().ok_or(TargetError::Url)?;
        Self::to(upstream, route, client)
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
            is_first_attempt: matches!(route.mode, Mode::Hybrid { .. }),
            grace: upstream.grace,
            path: TargetPath::joined(route.path.prefix(), upstream.url.path())
                .ok_or(TargetError::Url)?,
        })
    }

    /// The target of the request to the app; none only where it would be longer than a URI can be.
    pub(super) fn uri(&self, sent: &Uri) -> Option<Uri> {
        self.path.join(sent.path(), sent.query())
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
        own_tls: None,
        is_external: false,
    })
}
