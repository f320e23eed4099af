//! The compiled rules of one route: everything its checks need.
//!
//! `app` compiles them for each configuration snapshot.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::identity::tenant::TenantNames;
use hookgate_verify::identity::{IdentityFacts, IdentityRules};
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers::challenge::OnChallenge;
use hookgate_verify::scheme::SchemeError;
use hookgate_verify::signature::SignatureVerifier;
use http::Extensions;
use ipnet::IpNet;

use crate::client_certs::{ClientCertFault, ClientCertRule, PeerCertificates};
use crate::config::model::{EnforceMode, Route, RouteMode, SecretEntry};
use crate::gate::challenge::unsigned::ChallengeMaterial;
use crate::gate::condition::EventCondition;
use crate::gate::dedup::{ClaimTable, DedupKeys as EventKeys};
use crate::gate::event::Event;
use crate::gate::filter::RouteFilter;
use crate::gate::key_rule::KeyRule;
use crate::gate::rate_limit::RouteRateLimiter;
use crate::gate::reject::Reject;
use crate::gate::schema::RouteSchemas;
use crate::model::clock::ClockReading;
use crate::net::event_headers::ForwardedClient;
use crate::ranges::LiveRanges;

/// The compiled rules of one route.
pub(crate) struct RouteRules {
    pub(super) route: Arc<Route>,
    pub(super) keys: SignatureVerifier,
    pub(super) identity: IdentityRules,
    pub(super) key: Option<KeyRule>,
    pub(super) filter: RouteFilter,
    pub(super) condition: EventCondition,
    pub(super) schemas: RouteSchemas,
    pub(super) claims: Option<Arc<ClaimTable>>,
    pub(super) limiter: Option<Arc<RouteRateLimiter>>,
    pub(super) provider: Arc<str>,
    /// The provider's published address ranges, if `allow_ips` names the provider.
    pub(super) provider_ips: Option<Arc<LiveRanges>>,
    client_cert: ClientCertNeed,
    /// True once a secret has verified a request. From then on, no URL check may show a new secret.
    has_verified: AtomicBool,
}

impl RouteRules {
    /// Compiles one route. Claims, limiter and address ranges survive reloads and are passed in.
    ///
    /// # Errors
    /// Returns an error if a secret does not fit the scheme.
    pub(crate) fn compile(
        route: Arc<Route>,
        claims: Option<Arc<ClaimTable>>,
        limiter: Option<Arc<RouteRateLimiter>>,
        provider_ips: Option<Arc<LiveRanges>>,
    ) -> Result<Self, SchemeError> {
        let id = route.provider.as_ref().map(|provider| &*provider.id);
        Ok(Self {
            keys: compile_keys(&route)?,
            identity: compile_identity(&route),
            key: KeyRule::compile(&route),
            filter: RouteFilter::compile(&route),
            condition: EventCondition::new(route.when.clone()),
            schemas: RouteSchemas::compile(&route),
            provider: id.unwrap_or("custom").into(),
            claims,
            limiter,
            provider_ips,
            client_cert: match &route.client_cert {
                None => ClientCertNeed::Nothing,
                Some(rule) => ClientCertNeed::Certificate(Arc::clone(rule)),
            },
            has_verified: AtomicBool::new(false),
            route,
        })
    }

    /// Takes over `has_verified` from the rules before a reload, if one of their secrets is still in use.
    pub(crate) fn inherit(&self, before: &Self) {
        let is_known = |entry: &SecretEntry| {
            let mut known = before.route.secrets.iter();
            known.any(|known| known.secret.is_same(&entry.secret))
        };
        if before.has_verified() && self.route.secrets.iter().any(is_known) {
            self.count_verified();
        }
    }

    pub(super) fn has_verified(&self) -> bool {
        self.has_verified.load(Ordering::Relaxed)
    }

    pub(super) fn count_verified(&self) {
        // Read first: a write for every event would move the cache line from core to core.
        if !self.has_verified() {
            self.has_verified.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the same rules without claims and limits, to check an earlier request again without side effects.
    pub(crate) fn bare(&self) -> Result<Self, SchemeError> {
        let provider_ips = self.provider_ips.clone();
        let bare = Self::compile(Arc::clone(&self.route), None, None, provider_ips)?;
        Ok(Self {
            // An earlier request has no connection, so its certificate cannot be checked again.
            client_cert: ClientCertNeed::Nothing,
            ..bare
        })
    }

    /// Returns the route as configured.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Returns the methods that the route accepts.
    pub(crate) fn methods(&self) -> &[http::Method] {
        &self.route.methods
    }

    /// Returns whether the route excludes some verified events.
    pub(crate) fn has_filters(&self) -> bool {
        let route = &self.route;
        route.events.is_some()
            || route.versions.is_some()
            || route.when.is_some()
            || !route.schemas.is_empty()
    }

    /// Returns the keys of one event of a batch that an app posts; without dedup it has no key.
    pub(crate) fn keys_in_batch(&self, event_id: &EventId, batch: &Event) -> Option<EventKeys> {
        self.key.as_ref()?.keys_in_batch(event_id, &batch.parts)
    }

    /// Returns whether a local user may post on the route's socket.
    pub(crate) fn admits_user(&self, user: u32) -> bool {
        let socket = self.route.socket.as_ref();
        socket.is_some_and(|socket| socket.users.contains(&user))
    }

    pub(super) fn is_monitored(&self) -> bool {
        self.route.enforce == EnforceMode::Monitor
    }

    /// Rejects sources that `allow_ips` does not admit.
    pub(super) fn check_source(&self, ip: IpAddr) -> Result<(), Reject> {
        match self.allows(&ip) {
            true => Ok(()),
            false => Err(Reject::SourceNotAllowed { ip }),
        }
    }

    /// Rejects a client without a certificate that the route admits.
    pub(super) fn check_client(
        &self,
        extensions: &Extensions,
        now: ClockReading,
    ) -> Result<Option<Arc<ForwardedClient>>, Reject> {
        let ClientCertNeed::Certificate(rule) = &self.client_cert else {
            return Ok(None);
        };
        let peer = extensions.get::<PeerCertificates>();
        let client = rule.verify(peer, now).map_err(client_reject)?;
        let forwarded = rule
            .is_forwarded()
            .then(|| ForwardedClient::new(&client.subject, &client.fingerprint));
        Ok(forwarded.map(Arc::new))
    }

    /// Rejects an event beyond the rate of the route.
    pub(super) fn check_rate(&self) -> Result<(), Reject> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let checked = limiter.check();
        checked.map_err(|retry_after| Reject::RouteRate { retry_after })
    }

    /// Returns whether `allow_ips` admits the source.
    pub(crate) fn allows(&self, ip: &IpAddr) -> bool {
        let Some(allowed) = &self.route.allow_ips else {
            return true;
        };
        let own = self.provider_ips.as_ref();
        allowed.nets.iter().any(|net| net.contains(ip)) || own.is_some_and(|own| own.contains(ip))
    }

    /// Returns an address that `allow_ips` admits; `None` if every address may send.
    pub(crate) fn some_allowed(&self) -> Option<IpAddr> {
        let allowed = self.route.allow_ips.as_ref()?;
        let written = allowed.nets.first().map(IpNet::addr);
        let published = || {
            self.provider_ips
                .as_ref()?
                .ranges()
                .nets
                .first()
                .map(IpNet::addr)
        };
        written.or_else(published)
    }

    /// Returns the first current secret.
    pub(super) fn secret(&self, now: &ClockReading) -> Option<&Secret> {
        let mut entries = self.route.secrets.iter();
        let found = entries.find(|entry| entry.is_current(now.unix_ms));
        found.map(|entry| &entry.secret)
    }

    pub(super) fn secret_of(&self, label: &str) -> Option<&Secret> {
        let mut entries = self.route.secrets.iter();
        let found = entries.find(|entry| *entry.label == *label);
        found.map(|entry| &entry.secret)
    }

    /// Returns the secrets and tokens for responses to unsigned URL checks.
    pub(super) fn means(&self, now: &ClockReading) -> ChallengeMaterial<'_> {
        ChallengeMaterial {
            verify_token: self.route.verify_token.as_ref(),
            public_url: self.route.public_url.as_deref(),
            secret: self.secret(now),
            is_left_to_app: self.route.on_challenge == Some(OnChallenge::Forward),
        }
    }

    /// Returns whether duplicates are forwarded as well, because the sender uses the body of the response.
    pub(super) fn forwards_duplicates(&self, event_type: Option<&str>) -> bool {
        let provider = self.route.provider.as_ref();
        self.route.mode != RouteMode::Queue
            && provider.is_some_and(|provider| provider.uses_response_to(event_type))
    }

    /// Rejects events of other tenants, where the sender signs for all customers with one key.
    pub(super) fn check_tenant(&self, tenants: &TenantNames) -> Result<(), Reject> {
        let Some(rule) = &self.route.tenant else {
            return Ok(());
        };
        match tenants.are_among(&rule.allowed) {
            true => Ok(()),
            false => Err(Reject::WrongTenant),
        }
    }
}

/// The demands of a route on the client's certificate.
enum ClientCertNeed {
    Nothing,
    Certificate(Arc<ClientCertRule>),
}

fn client_reject(fault: ClientCertFault) -> Reject {
    match fault {
        ClientCertFault::Missing => Reject::ClientCertMissing,
        ClientCertFault::Invalid(fault) => Reject::ClientCertInvalid { fault },
        ClientCertFault::Revoked => Reject::ClientCertRevoked,
        ClientCertFault::NotAllowed(client) => Reject::ClientCertNotAllowed {
            subject: client.subject,
            fingerprint: client.fingerprint,
        },
        ClientCertFault::NoStatus(fault) => Reject::ClientCertUnchecked { fault },
    }
}

/// Compiles a route's scheme and secrets.
pub(super) fn compile_keys(route: &Route) -> Result<SignatureVerifier, SchemeError> {
    let public_url = route.public_url.as_deref();
    let keys = SignatureVerifier::new(&route.scheme, &route.secrets, public_url, route.tolerance)?;
    Ok(keys.with_max_body(route.max_body))
}

fn compile_identity(route: &Route) -> IdentityRules {
    let provider = route.provider.as_ref();
    let batch = provider.and_then(|provider| provider.identity.batch.as_ref());
    let chooses_by_type = route.events.is_some()
        || !route.schemas.is_empty()
        || route.when.is_some()
        || !route.branches.is_empty()
        || route
            .destinations
            .iter()
            .any(|one| one.events.is_some() || one.when.is_some());
    let destinations = route.destinations.iter();
    let conditions = destinations.filter_map(|destination| destination.when.as_ref());
    let conditions = route.when.iter().chain(conditions);
    let headers: Vec<_> = conditions
        .flat_map(|when| when.headers())
        .cloned()
        .collect();
    IdentityRules::compile(IdentityFacts {
        spec: &route.scheme,
        key: route.dedup.as_ref().map(|dedup| &dedup.key),
        tenant: route.tenant.as_ref().map_or(&[], |tenant| &tenant.location),
        batch: batch.filter(|_| chooses_by_type).map(|fact| &fact.value),
        headers: &headers,
    })
}

impl AsRef<Route> for RouteRules {
    fn as_ref(&self) -> &Route {
        &self.route
    }
}
