//! One destination of the config, compiled: target, headers, signing, pace and retries.
//!
//! Each configuration snapshot compiles new plans. A running attempt ends under the plan with which it started.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::model::rate::RateLimit;
use hookgate_verify::scheme::spec::{FieldLocation, SchemeFamily};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};

use crate::config::model::{DeliveryOrder, DestinationSection, RetryPolicy, Route};
use crate::deliver::access_token::{FETCH_LIMIT, TokenSource};
pub(crate) use crate::deliver::plan_error::PlanError;
use crate::deliver::schedule;
use crate::deliver::signing::DeliverySigner;
use crate::model::ids::{DestinationName, RouteName};
use crate::net::app_url::AppUrl;
use crate::net::client::{
    ClientError, ConnectionPool, OutgoingClient, PoolKey, PoolLimits, TlsFiles,
};
use crate::net::target_path::TargetPath;
use crate::store::rows::DestinationId;

/// The compiled form of one destination.
pub(crate) struct DeliveryPlan {
    pub(super) id: DestinationId,
    pub(super) route: RouteName,
    pub(super) name: DestinationName,
    pub(super) target: DeliveryTarget,
    pub(super) pace: AttemptLimits,
    pub(super) retry: RetryPolicy,
    /// True if the trace of the sender is continued.
    pub(super) continues_trace: bool,
    /// True if some deliveries wait for others.
    pub(super) is_ordered: bool,
    /// True if an own app posts to the route. It may ask for a delay, so a late due time need not be an error.
    is_local: bool,
}

/// The parts of a plan that an attempt needs.
pub(super) struct DeliveryTarget {
    pub(super) pool: Arc<ConnectionPool>,
    pub(super) path: TargetPath,
    pub(super) host: HeaderValue,
    pub(super) route: HeaderValue,
    pub(super) provider: HeaderValue,
    /// Headers that always reach the destination, because the scheme reads them.
    pub(super) protected: Vec<HeaderName>,
    /// Headers that stay at the gate: credentials that the sender showed to it.
    pub(super) redacted_headers: Vec<HeaderName>,
    pub(super) is_external: bool,
    /// True if the body digest is also sent as `Repr-Digest`.
    pub(super) sends_digest: bool,
    /// Headers that the config adds.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) signing: DeliverySigner,
    /// Source of access tokens, if the destination needs them.
    pub(super) tokens: Option<TokenSource>,
}

/// The limits on attempts: concurrency, rate and breaker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AttemptLimits {
    pub(super) is_active: bool,
    pub(super) concurrency: usize,
    pub(super) rate: Option<RateLimit>,
    pub(super) breaker: Option<u32>,
    /// Longest duration of one attempt.
    pub(super) attempt_limit: Duration,
    /// The breaker's state applies to this URL; another URL starts with a closed breaker.
    pub(super) url: AppUrl,
}

/// The longest delay that an app may ask for (a year and a day), with a small margin.
const LONGEST_DELAY_MS: i64 = 367 * 24 * 3600 * 1000;

impl DeliveryPlan {
    /// Compiles a destination. Reads its certificates but opens no connection.
    ///
    /// # Errors
    /// See `PlanError`. A destination that `config` has checked fails only for files and root certificates.
    pub(crate) fn build(
        route: &Route,
        destination: &DestinationSection,
        id: DestinationId,
        client: &OutgoingClient,
    ) -> Result<Self, PlanError> {
        let provider = match &route.provider {
            Some(provider) => provider.id.as_str(),
            None => "custom",
        };
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| PlanError::Name);
        let key = pool_key(destination, client).map_err(PlanError::Client)?;
        let headers = destination.headers.iter();
        Ok(Self {
            id,
            route: route.name.clone(),
            name: destination.name.clone(),
            continues_trace: route.continue_trace,
            target: DeliveryTarget {
                pool: client.pool(key).map_err(PlanError::Client)?,
                path: target_path(route, destination).ok_or(PlanError::Url)?,
                host: header(destination.url.origin().host_header())?,
                route: header(route.name.as_str())?,
                provider: header(provider)?,
                protected: route.scheme.headers(),
                redacted_headers: redacted_headers(route, destination),
                is_external: destination.external,
                sends_digest: destination.repr_digest,
                headers: headers.filter(|each| is_free(&each.0)).cloned().collect(),
                signing: DeliverySigner::new(route, destination)?,
                tokens: token_source(destination, client)?,
            },
            pace: AttemptLimits {
                is_active: destination.active,
                concurrency: destination.concurrency.max(1),
                rate: destination.rate_limit,
                breaker: destination.breaker,
                attempt_limit: destination
                    .connect_timeout
                    .saturating_add(destination.timeout)
                    .saturating_add(match destination.oauth2 {
                        Some(_) => FETCH_LIMIT,
                        None => Duration::ZERO,
                    }),
                url: destination.url.clone(),
            },
            retry: destination.retry.clone(),
            is_ordered: destination.order != DeliveryOrder::None,
            is_local: is_local(route),
        })
    }

    /// Returns whether a due time can be intended. A time beyond every pause comes from a wrong clock.
    pub(super) fn is_plausible(&self, due_ms: i64, now_ms: i64) -> bool {
        let is_delay = self.is_local && due_ms.saturating_sub(now_ms) <= LONGEST_DELAY_MS;
        is_delay || schedule::is_plausible(&self.retry, due_ms, now_ms)
    }
}

/// Returns the headers that stay at the gate. An own app shows its token or signature to the gate only, and credentials
/// that the gate received in clear are not for external hosts.
fn redacted_headers(route: &Route, destination: &DestinationSection) -> Vec<HeaderName> {
    let is_local = is_local(route);
    let is_token = matches!(route.scheme.family, SchemeFamily::Token(_));
    let mut names = Vec::new();
    if is_local || destination.external {
        names.extend([AUTHORIZATION, COOKIE]);
    }
    if is_local || (destination.external && is_token) {
        let ids = [&route.scheme.event_id, &route.scheme.event_type].into_iter();
        let ids: Vec<_> = ids.flatten().collect();
        // The event id and type stay, even if the scheme reads them from headers: apps need them.
        let is_id = |name: &HeaderName| {
            let mut ids = ids.iter();
            ids.any(|field| matches!(field, FieldLocation::Header(id) if id == name))
        };
        let read = route.scheme.headers().into_iter();
        names.extend(read.filter(|name| !is_id(name)));
    }
    names
}

fn is_local(route: &Route) -> bool {
    route.provider.as_ref().is_some_and(|one| one.is_local())
}

/// Returns whether the config may set this header. The client itself sets the headers of framing.
fn is_free(name: &HeaderName) -> bool {
    ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

fn target_path(route: &Route, destination: &DestinationSection) -> Option<TargetPath> {
    match destination.appends_rest {
        true => TargetPath::joined(route.path.prefix(), destination.url.path()),
        false => Some(TargetPath::fixed(destination.url.target().clone())),
    }
}

/// Returns the source of access tokens. Its server is reached like the destination: with the same CAs, through the same proxy, and
/// only at public addresses if the destination is external.
fn token_source(
    destination: &DestinationSection,
    client: &OutgoingClient,
) -> Result<Option<TokenSource>, PlanError> {
    let Some(credentials) = destination.oauth2.clone() else {
        return Ok(None);
    };
    let url = &credentials.token_url;
    // The name to verify is that of the destination.
    let tls = destination.tls.as_ref().filter(|_| url.is_tls());
    let tls = tls.map(|files| TlsFiles {
        server_name: None,
        ..files.clone()
    });
    let own_tls = tls.map(|files| client.own_tls(&files)).transpose();
    let key = PoolKey {
        origin: url.origin().clone(),
        connect_timeout: destination.connect_timeout,
        timeout: FETCH_LIMIT,
        keep: PoolLimits::idle(destination.keep.idle_timeout),
        own_tls: own_tls.map_err(PlanError::Client)?,
        is_external: destination.external,
        proxy: credentials.egress_proxy.clone(),
    };
    let pool = client.pool(key).map_err(PlanError::Client)?;
    let source = TokenSource::new(pool, credentials).ok_or(PlanError::Url)?;
    Ok(Some(source))
}

fn pool_key(
    destination: &DestinationSection,
    client: &OutgoingClient,
) -> Result<PoolKey, ClientError> {
    let tls = destination.tls.as_ref();
    let tls = tls.filter(|_| destination.url.is_tls());
    Ok(PoolKey {
        origin: destination.url.origin().clone(),
        connect_timeout: destination.connect_timeout,
        // The client treats a timeout of zero as no timeout.
        timeout: destination.timeout.max(Duration::from_millis(1)),
        keep: destination.keep,
        own_tls: tls.map(|files| client.own_tls(files)).transpose()?,
        is_external: destination.external,
        proxy: destination.egress_proxy.clone(),
    })
}
