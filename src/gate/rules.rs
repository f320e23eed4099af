//! One route, compiled: what the checks need, ready to use. Made by `app` for each generation.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;

use crate::config::model::{Dedup, Enforce, MissingId, Route, SecretEntry};
use crate::gate::challenge::unsigned::Means;
use crate::gate::condition::Condition;
use crate::gate::dedup::{Claims, Key, Keys as DedupKeys};
use crate::gate::filter::Filter;
use crate::gate::identity::IdentityRules;
use crate::gate::rate_limit::Limiter;
use crate::gate::reject::Reject;
use crate::gate::schema::Schemas;
use crate::gate::signature::Keys;
use crate::model::clock::Now;
use crate::model::ids::EventId;
use crate::model::secret::Secret;
use crate::providers::challenge::OnChallenge;
use crate::ranges::Live;
use crate::scheme::SchemeError;

/// The rules of one route.
pub struct Rules {
    pub(super) route: Arc<Route>,
    pub(super) keys: Keys,
    pub(super) identity: IdentityRules,
    pub(super) filter: Filter,
    pub(super) condition: Condition,
    pub(super) schemas: Schemas,
    pub(super) claims: Option<Arc<Claims>>,
    pub(super) limiter: Option<Arc<Limiter>>,
    pub(super) provider: Arc<str>,
    /// The provider's own ranges, where `allow_ips` names them.
    pub(super) provider_ips: Option<Arc<Live>>,
    /// A secret has verified a request: from then on no secret is shown any more.
    has_verified: AtomicBool,
}

impl Rules {
    /// Compiles one route; claims, limiter and the provider's ranges outlive the generation and are handed in.
    ///
    /// # Errors
    /// Scheme and secrets that do not go together.
    pub fn compile(
        route: Arc<Route>,
        claims: Option<Arc<Claims>>,
        limiter: Option<Arc<Limiter>>,
        provider_ips: Option<Arc<Live>>,
    ) -> Result<Self, SchemeError> {
        let id = route.provider.as_ref().map(|provider| &*provider.id);
        Ok(Self {
            keys: Keys::compile(&route)?,
            identity: IdentityRules::compile(&route.scheme),
            filter: Filter::compile(&route),
            condition: Condition::new(route.when.clone()),
            schemas: Schemas::compile(&route),
            provider: id.unwrap_or("custom").into(),
            claims,
            limiter,
            provider_ips,
            has_verified: AtomicBool::new(false),
            route,
        })
    }

    /// Takes over from the rules before a reload, whose secrets, or some of them, are still those of this route.
    pub fn inherit(&self, before: &Self) {
        let is_known = |entry: &SecretEntry| {
            let mut known = before.route.secrets.iter();
            known.any(|known| known.secret.is_same(&entry.secret))
        };
        if before.has_verified() && self.route.secrets.iter().any(is_known) {
            self.note_verified();
        }
    }

    pub(super) fn has_verified(&self) -> bool {
        self.has_verified.load(Ordering::Relaxed)
    }

    pub(super) fn note_verified(&self) {
        if !self.has_verified() {
            self.has_verified.store(true, Ordering::Relaxed);
        }
    }

    /// The same rules without claims and limits: they judge a request that has been, and nothing changes by it.
    ///
    /// # Errors
    /// As for [`Rules::compile`].
    pub fn bare(&self) -> Result<Self, SchemeError> {
        let provider_ips = self.provider_ips.clone();
        Self::compile(Arc::clone(&self.route), None, None, provider_ips)
    }

    /// The route.
    #[must_use]
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The methods that the route takes.
    #[must_use]
    pub fn methods(&self) -> &[http::Method] {
        &self.route.methods
    }

    /// Whether some verified events do not go on.
    #[must_use]
    pub fn has_filters(&self) -> bool {
        let route = &self.route;
        route.events.is_some()
            || route.versions.is_some()
            || route.when.is_some()
            || !route.schemas.is_empty()
    }

    /// Whether this user of the machine may post on the route's socket.
    #[must_use]
    pub fn admits_user(&self, user: u32) -> bool {
        let socket = self.route.socket.as_ref();
        socket.is_some_and(|socket| socket.users.contains(&user))
    }

    pub(super) fn is_monitored(&self) -> bool {
        self.route.enforce == Enforce::Monitor
    }

    /// Whether the source may send at all.
    #[must_use]
    pub fn allows(&self, ip: &IpAddr) -> bool {
        let Some(allowed) = &self.route.allow_ips else {
            return true;
        };
        let own = self.provider_ips.as_ref();
        allowed.nets.iter().any(|net| net.contains(ip)) || own.is_some_and(|own| own.contains(ip))
    }

    /// An address that may send, where not every one may.
    #[must_use]
    pub fn some_allowed(&self) -> Option<IpAddr> {
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

    /// The first secret that is current.
    pub(super) fn secret(&self, now: &Now) -> Option<&Secret> {
        let mut entries = self.route.secrets.iter();
        let found = entries.find(|entry| entry.is_current(now.unix_ms));
        found.map(|entry| &entry.secret)
    }

    /// The secret under this label.
    pub(super) fn secret_of(&self, label: &str) -> Option<&Secret> {
        let mut entries = self.route.secrets.iter();
        let found = entries.find(|entry| *entry.label == *label);
        found.map(|entry| &entry.secret)
    }

    /// What unsigned URL checks are answered with.
    pub(super) fn means(&self, now: &Now) -> Means<'_> {
        Means {
            verify_token: self.route.verify_token.as_ref(),
            secret: self.secret(now),
            is_left_to_app: self.route.on_challenge == Some(OnChallenge::Forward),
        }
    }

    /// Whether a missing or unreadable id would change what happens.
    pub(super) fn needs_id(&self) -> bool {
        self.route.dedup.as_ref().is_some_and(|dedup| dedup.by_id)
    }

    /// The keys under which an event is claimed; none where it is to be forwarded without dedup.
    pub(super) fn dedup_keys(
        &self,
        id: Option<&EventId>,
        digest: &[u8; 32],
    ) -> Result<Option<DedupKeys>, Reject> {
        let Some(dedup) = &self.route.dedup else {
            return Ok(None);
        };
        let keys = DedupKeys {
            id: id.filter(|_| dedup.by_id).map(|id| Key::of_id(id.as_str())),
            body: by_body(dedup, id)?.then(|| Key::of_digest(digest)),
        };
        Ok((keys.id.is_some() || keys.body.is_some()).then_some(keys))
    }
}

fn by_body(dedup: &Dedup, id: Option<&EventId>) -> Result<bool, Reject> {
    if id.is_some() || !dedup.by_id {
        return Ok(dedup.by_body);
    }
    match dedup.missing_id {
        MissingId::Accept => Ok(dedup.by_body),
        MissingId::Body => Ok(true),
        MissingId::Reject => Err(Reject::MissingId),
    }
}
