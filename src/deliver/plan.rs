//! One destination, compiled: where to, what is said, what is signed, how fast and how often. Made with each config; an
//! attempt ends under the plan with which it began.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, TRANSFER_ENCODING};
use http::uri::Scheme as UriScheme;
use http::{HeaderName, HeaderValue};

use crate::config::model::{Destination, Order, Retry, Route};
use crate::deliver::schedule;
use crate::deliver::signing::Signing;
use crate::model::ids::{DestinationName, RouteName};
use crate::model::rate::Rate;
use crate::net::client::{Client, ClientError, OwnTls, Pool, PoolKey};
use crate::net::target_path::TargetPath;
use crate::scheme::SchemeError;
use crate::scheme::spec::{Family, Field};
use crate::store::rows::DestinationId;

/// The compiled form of one destination.
pub struct Plan {
    pub(super) id: DestinationId,
    pub(super) route: RouteName,
    pub(super) name: DestinationName,
    pub(super) to: To,
    pub(super) pace: Pace,
    pub(super) retry: Retry,
    /// Whether the trace of a sender is continued.
    pub(super) continues_trace: bool,
    /// Whether some deliveries wait for others.
    pub(super) is_ordered: bool,
    /// Whether an app of one's own may ask for a delay, so that what is due late is not due late by mistake.
    is_local: bool,
}

/// What an attempt needs.
pub(super) struct To {
    pub(super) pool: Arc<Pool>,
    pub(super) path: TargetPath,
    pub(super) host: HeaderValue,
    pub(super) route: HeaderValue,
    pub(super) provider: HeaderValue,
    /// Headers that reach the destination whatever they are called: the scheme reads them.
    pub(super) protected: Vec<HeaderName>,
    /// Headers that stay here: what a sender has shown of itself is for the gate.
    pub(super) withheld: Vec<HeaderName>,
    pub(super) is_external: bool,
    /// Whether the digest of the body is told under its standard name too.
    pub(super) tells_digest: bool,
    /// Headers of the config.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) signing: Signing,
}

/// How many, and how fast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    pub(super) is_active: bool,
    pub(super) concurrency: usize,
    pub(super) rate: Option<Rate>,
    pub(super) breaker: Option<u32>,
    /// What the breaker's knowledge is about: under another URL it begins anew.
    pub(super) url: http::Uri,
}

/// Why a plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The URL is not one that the config check lets through.
    #[error("the destination is not an http or https URL with a host")]
    Url,
    /// A name that cannot stand in a header.
    #[error("the name of the route or of the provider cannot stand in a header")]
    Name,
    /// No connections can be made to it.
    #[error("the destination cannot be connected to")]
    Client(#[source] ClientError),
    /// `resign` where the secrets and the scheme do not go together.
    #[error("the route's secrets cannot sign")]
    Scheme(#[source] SchemeError),
    /// `resign` where the sender holds a key that the gate has not.
    #[error("requests of this route's scheme can be verified here, but not signed")]
    NoResign,
}

/// A year and a day: the longest delay that an app may ask for, and a little.
const LONGEST_DELAY_MS: i64 = 367 * 24 * 3600 * 1000;

impl Plan {
    /// Compiles a destination; reads its certificates and opens no connection.
    ///
    /// # Errors
    /// See `PlanError`; a destination that `config` has checked gives none but for files and root certificates.
    pub fn build(
        route: &Route,
        destination: &Destination,
        id: DestinationId,
        client: &Client,
    ) -> Result<Self, PlanError> {
        let provider = match &route.provider {
            Some(provider) => provider.id.as_str(),
            None => "custom",
        };
        let authority = destination.url.authority().ok_or(PlanError::Url)?;
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| PlanError::Name);
        let key = pool_key(destination, client)?;
        let headers = destination.headers.iter();
        Ok(Self {
            id,
            route: route.name.clone(),
            name: destination.name.clone(),
            continues_trace: route.continue_trace,
            to: To {
                pool: client.pool(key).map_err(PlanError::Client)?,
                path: target_path(route, destination).ok_or(PlanError::Url)?,
                host: header(authority.as_str())?,
                route: header(route.name.as_str())?,
                provider: header(provider)?,
                protected: route.scheme.headers(),
                withheld: withheld(route, destination),
                is_external: destination.external,
                tells_digest: destination.repr_digest,
                headers: headers.filter(|each| is_free(&each.0)).cloned().collect(),
                signing: Signing::new(route, destination)?,
            },
            pace: Pace {
                is_active: destination.active,
                concurrency: destination.concurrency.max(1),
                rate: destination.rate_limit,
                breaker: destination.breaker,
                url: destination.url.clone(),
            },
            retry: destination.retry.clone(),
            is_ordered: destination.order != Order::None,
            is_local: is_local(route),
        })
    }

    /// Its number in the store.
    #[must_use]
    pub fn id(&self) -> DestinationId {
        self.id
    }

    /// Whether something due at this time can have been meant so.
    pub(super) fn is_plausible(&self, due_ms: i64, now_ms: i64) -> bool {
        let is_delay = self.is_local && due_ms.saturating_sub(now_ms) <= LONGEST_DELAY_MS;
        is_delay || schedule::is_plausible(&self.retry, due_ms, now_ms)
    }
}

/// An app of one's own shows its token, or signs, for the gate only; and what is shown to the gate in clear is not for
/// hosts on the internet.
fn withheld(route: &Route, destination: &Destination) -> Vec<HeaderName> {
    let is_local = is_local(route);
    let is_token = matches!(route.scheme.family, Family::Token(_));
    let mut names = Vec::new();
    if is_local || destination.external {
        names.extend([AUTHORIZATION, COOKIE]);
    }
    if is_local || (destination.external && is_token) {
        let ids = [&route.scheme.event_id, &route.scheme.event_type].into_iter();
        let ids: Vec<_> = ids.flatten().collect();
        let is_id = |name: &HeaderName| {
            let mut ids = ids.iter();
            ids.any(|field| matches!(field, Field::Header(id) if id == name))
        };
        let read = route.scheme.headers().into_iter();
        names.extend(read.filter(|name| !is_id(name)));
    }
    names
}

fn is_local(route: &Route) -> bool {
    route.provider.as_ref().is_some_and(|one| one.is_local())
}

/// Whether the config may set it: framing is the client's own.
fn is_free(name: &HeaderName) -> bool {
    ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

fn target_path(route: &Route, destination: &Destination) -> Option<TargetPath> {
    match destination.appends_rest {
        true => TargetPath::joined(route.path.prefix(), destination.url.path()),
        false => destination
            .url
            .path_and_query()
            .cloned()
            .map(TargetPath::fixed),
    }
}

fn pool_key(destination: &Destination, client: &Client) -> Result<PoolKey, PlanError> {
    let authority = destination.url.authority().ok_or(PlanError::Url)?;
    let scheme = destination.url.scheme().ok_or(PlanError::Url)?;
    let is_tls = *scheme == UriScheme::HTTPS;
    if !is_tls && *scheme != UriScheme::HTTP {
        return Err(PlanError::Url);
    }
    let own_tls = match &destination.tls {
        None => None,
        Some(tls) => {
            let identity = tls.client.as_ref();
            let identity = identity.map(|(chain, key)| (chain.as_path(), key.as_path()));
            let own = OwnTls::read(client, tls.ca.as_deref(), identity);
            Some(own.map_err(PlanError::Client)?)
        }
    };
    Ok(PoolKey {
        is_tls,
        authority: authority.clone(),
        connect_timeout: destination.connect_timeout,
        // A timeout of nothing would be none at all.
        timeout: destination.timeout.max(Duration::from_millis(1)),
        idle_timeout: destination.pool_idle_timeout,
        own_tls,
        is_external: destination.external,
    })
}
