//! Compiled upstreams of a route, and the choice of one for an event.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::model::glob::PatternList;
use http::{HeaderName, HeaderValue, Uri};

use crate::config::model::{Route, RouteMode, UpstreamSettings};
use crate::dispatch::sign::RequestSigner;
use crate::gate::verdict::Verdict;
use crate::net::client::{ClientError, ConnectionPool, OutgoingClient, PoolKey};
use crate::net::event_headers::MARKS;
use crate::net::target_path::TargetPath;

/// Compiled upstream: connection pool, prepared header values and path.
pub(crate) struct UpstreamTarget {
    pub(super) pool: Arc<ConnectionPool>,
    pub(super) host: HeaderValue,
    pub(super) route: HeaderValue,
    pub(super) provider: HeaderValue,
    /// Headers that are never removed, because the scheme reads them and the app may verify again. No marks of the gate:
    /// no sender can set one of them.
    pub(super) protected: Vec<HeaderName>,
    pub(super) pass_error_bodies: bool,
    /// Signer of forwarded events; `None` without `sign_upstream`.
    pub(super) stamper: Option<RequestSigner>,
    /// True if requests carry the webhook id and the attempt number, because the store may deliver the event again.
    pub(super) is_first_attempt: bool,
    /// Time within which a refused connection is retried.
    pub(super) grace: Duration,
    path: TargetPath,
}

/// Upstreams of one route: the first branch that matches an event, else the route's own.
pub(crate) struct RouteTargets {
    usual: UpstreamTarget,
    branches: Vec<(Option<PatternList>, Option<PatternList>, UpstreamTarget)>,
    unverified: Option<UpstreamTarget>,
}

impl RouteTargets {
    /// Compiles the upstreams of a route; opens no connection.
    pub(crate) fn build(route: &Route, client: &OutgoingClient) -> Result<Self, TargetError> {
        let branches = route.branches.iter().map(|branch| {
            let target = UpstreamTarget::to(&branch.upstream, route, client)?;
            Ok((branch.events.clone(), branch.versions.clone(), target))
        });
        let unverified = route.unverified_upstream.as_ref();
        let unverified = unverified.map(|upstream| UpstreamTarget::to(upstream, route, client));
        Ok(Self {
            unverified: unverified.transpose()?,
            usual: UpstreamTarget::build(route, client)?,
            branches: branches.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the upstream for requests that failed a check in monitor mode.
    pub(crate) fn of_unverified(&self) -> &UpstreamTarget {
        self.unverified.as_ref().unwrap_or(&self.usual)
    }

    /// Returns the route's own upstream, which gets every event that no branch takes.
    pub(crate) fn usual(&self) -> &UpstreamTarget {
        &self.usual
    }

    /// Returns the upstream for an event. A batch goes to the upstream of all its events. If they have several, it goes
    /// to the route's own, because a batch cannot be split without changing its bytes.
    pub(crate) fn of_event(&self, verdict: &Verdict) -> &UpstreamTarget {
        let version = verdict.event_version.as_deref();
        let mut types = verdict.types.each(verdict.event_type.as_deref());
        let first = self.of(types.next().flatten(), version);
        // Compared by address, because each branch has a `Target` of its own.
        match types.all(|text| std::ptr::eq(self.of(text, version), first)) {
            true => first,
            false => &self.usual,
        }
    }

    /// Returns the upstream for one type and version. An event without a type matches no list of types.
    fn of(&self, event_type: Option<&str>, version: Option<&str>) -> &UpstreamTarget {
        let admits = |patterns: &Option<PatternList>, text: Option<&str>| match patterns {
            None => true,
            Some(patterns) => text.is_some_and(|text| patterns.admit(text)),
        };
        let mut branches = self.branches.iter();
        let found = branches
            .find(|(events, versions, _)| admits(events, event_type) && admits(versions, version));
        found.map_or(&self.usual, |(_, _, target)| target)
    }
}

/// Error from compiling an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    /// The URL is not an http or https URL with a host; the config check rejects it earlier.
    #[error("the upstream is not an http or https URL with a host")]
    Url,
    /// The name has characters that a header value cannot hold.
    #[error(
        "the name of the route or of the provider has characters that are not allowed in a header"
    )]
    Name,
    /// No client can be set up, for example because the root certificates are missing.
    #[error("cannot set up the client for the upstream")]
    Client(#[source] ClientError),
}

impl UpstreamTarget {
    /// Compiles the upstream of a route; opens no connection.
    ///
    /// # Errors
    ///
    /// See `TargetError`. For a route that `config` has checked, only missing root certificates are an error.
    pub(crate) fn build(route: &Route, client: &OutgoingClient) -> Result<Self, TargetError> {
        let upstream = route.upstream.as_ref().ok_or(TargetError::Url)?;
        Self::to(upstream, route, client)
    }

    fn to(
        upstream: &UpstreamSettings,
        route: &Route,
        client: &OutgoingClient,
    ) -> Result<Self, TargetError> {
        let key = pool_key(upstream, client).map_err(TargetError::Client)?;
        let pool = client.pool(key).map_err(TargetError::Client)?;
        let provider = match &route.provider {
            Some(provider) => provider.id.as_str(),
            None => "custom",
        };
        let mut protected = route.scheme.headers();
        protected.retain(|name| !MARKS.contains(name));
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| TargetError::Name);
        Ok(Self {
            pool,
            host: header(upstream.url.origin().host_header())?,
            route: header(route.name.as_str())?,
            provider: header(provider)?,
            protected,
            pass_error_bodies: upstream.pass_error_bodies,
            stamper: RequestSigner::new(&route.sign_upstream),
            is_first_attempt: matches!(route.mode, RouteMode::Hybrid { .. }),
            grace: upstream.grace,
            // Precomputed, so that a request only appends its own path and query.
            path: TargetPath::joined(route.path.prefix(), upstream.url.path())
                .ok_or(TargetError::Url)?,
        })
    }

    /// Returns the target of the request to the upstream, or `None` if it would be longer than a URI can be.
    pub(super) fn uri(&self, sent: &Uri) -> Option<Uri> {
        self.path.join(sent.path(), sent.query())
    }
}

/// Returns the key by which routes with equal upstreams share one pool. Reads the TLS files of the upstream.
fn pool_key(upstream: &UpstreamSettings, client: &OutgoingClient) -> Result<PoolKey, ClientError> {
    let tls = upstream.tls.as_ref().filter(|_| upstream.url.is_tls());
    Ok(PoolKey {
        origin: upstream.url.origin().clone(),
        connect_timeout: upstream.connect_timeout,
        timeout: upstream.timeout,
        keep: upstream.keep,
        own_tls: tls.map(|files| client.own_tls(files)).transpose()?,
        is_external: false,
        proxy: None,
    })
}
