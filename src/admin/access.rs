//! Access control of the admin listener: tokens with roles, and users of the Unix socket.
//!
//! The API and the console use it. A source that guesses tokens has to wait between guesses. Correct tokens of that
//! source wait too, because an immediate response would confirm the guess. All users of a machine share loopback, so
//! one of them can make the others wait there, but never on the Unix socket.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hookgate_verify::model::secret::TokenDigest;
use parking_lot::Mutex;

use crate::config::model::AdminToken;
pub(crate) use crate::config::model::{AdminRole, PayloadAccess};
use crate::model::clock;
use crate::model::route_scope::RouteScope;
use crate::model::source::SourceKey;

/// Wrong tokens that a source may send before it has to wait.
const BURST: u32 = 10;

/// Time after which a source may send one more wrong token.
const REFILL: Duration = Duration::from_secs(10);

/// Bound on sources in memory. At the bound the source that was silent longest is forgotten.
const MAX_SOURCES: usize = 1024;

/// The other end of an admin connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum CallerOrigin {
    /// The address of a client over TCP.
    Ip(IpAddr),
    /// The user id of a client on the Unix socket, from the kernel.
    User(u32),
}

impl fmt::Display for CallerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::User(uid) => write!(f, "uid:{uid}"),
        }
    }
}

/// A client with access. It is in the extensions of each request that reaches a handler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AdminCaller {
    /// The name of the token, or `uid:0` of a user of the socket.
    pub name: Arc<str>,
    /// The role, which decides about changes.
    pub role: AdminRole,
    /// The routes that it may see. Handlers get the gate only through it ([`CallerView`](crate::admin::caller_view)).
    pub scope: RouteScope,
    /// Access to what senders sent.
    pub payload: PayloadAccess,
    /// The other end of its connection.
    pub source: CallerOrigin,
}

impl AdminCaller {
    /// Returns whether the client may make changes.
    pub(crate) fn is_operator(&self) -> bool {
        self.role == AdminRole::Operator
    }
}

/// The reason why a client has no access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AccessRefusal {
    /// The config has no token, and the client over TCP could be any user of the machine.
    Open,
    /// The request has no token.
    Missing,
    /// The token is not in the config.
    Unknown,
    /// The source sent too many wrong tokens; the next one is checked after this time.
    TooMany(Duration),
}

/// The tokens of the config, and the sources that guess them.
pub(crate) struct AccessControl {
    tokens: ArcSwap<Vec<TokenEntry>>,
    guesses: Mutex<HashMap<SourceKey, GuessAllowance>>,
}

struct TokenEntry {
    name: Arc<str>,
    role: AdminRole,
    scope: RouteScope,
    payload: PayloadAccess,
    digest: TokenDigest,
}

/// Token bucket of a source: the wrong tokens that it may still send.
#[derive(Clone, Copy)]
struct GuessAllowance {
    remaining: u32,
    refilled: Instant,
}

impl fmt::Debug for AccessControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl AccessControl {
    /// Creates the access control with these tokens.
    pub(crate) fn new(tokens: &[AdminToken]) -> Self {
        Self {
            tokens: ArcSwap::from_pointee(entries(tokens)),
            guesses: Mutex::new(HashMap::new()),
        }
    }

    /// Replaces the tokens after a reload.
    pub(crate) fn set(&self, tokens: &[AdminToken]) {
        self.tokens.store(Arc::new(entries(tokens)));
    }

    /// Identifies the client that sends `token` from `source`.
    ///
    /// If the config has no token, every client on the Unix socket is an operator.
    pub(crate) fn identify(
        &self,
        token: Option<TokenDigest>,
        source: CallerOrigin,
    ) -> Result<AdminCaller, AccessRefusal> {
        let tokens = self.tokens.load();
        if tokens.is_empty() {
            return match source {
                CallerOrigin::Ip(_) => Err(AccessRefusal::Open),
                CallerOrigin::User(_) => Ok(AdminCaller {
                    name: source.to_string().into(),
                    role: AdminRole::Operator,
                    scope: RouteScope::All,
                    payload: PayloadAccess::Shown,
                    source,
                }),
            };
        }
        let token = token.ok_or(AccessRefusal::Missing)?;
        let now = clock::instant();
        // Before the comparison, so that a waiting source learns nothing about its next token.
        if let Some(wait) = self.wait(source, now) {
            return Err(AccessRefusal::TooMany(wait));
        }
        // Digests have one length, and the loop compares all of them: the time reveals neither the length of a token
        // nor its position.
        let mut found = None;
        for entry in tokens.iter() {
            if bool::from(entry.digest.is_same(&token)) {
                found = Some(entry);
            }
        }
        let Some(entry) = found else {
            self.record_wrong_token(source, now);
            return Err(AccessRefusal::Unknown);
        };
        Ok(AdminCaller {
            name: Arc::clone(&entry.name),
            role: entry.role,
            scope: entry.scope.clone(),
            payload: entry.payload,
            source,
        })
    }

    /// Returns how long a source has to wait before its next token is checked.
    fn wait(&self, source: CallerOrigin, now: Instant) -> Option<Duration> {
        // Only its owner can open the Unix socket, so guesses there need no limit.
        let CallerOrigin::Ip(ip) = source else {
            return None;
        };
        let guesses = self.guesses.lock();
        guesses.get(&SourceKey::of(ip))?.wait(now)
    }

    /// Counts a wrong token of a source.
    fn record_wrong_token(&self, source: CallerOrigin, now: Instant) {
        let CallerOrigin::Ip(ip) = source else { return };
        // The key groups IPv6 addresses by network, of which one client may have many.
        let key = SourceKey::of(ip);
        let mut guesses = self.guesses.lock();
        if guesses.len() >= MAX_SOURCES && !guesses.contains_key(&key) {
            // A search of all sources is cheap enough here: it runs only for a wrong token of a new source.
            let oldest = guesses
                .iter()
                .min_by_key(|(_, allowance)| allowance.refilled);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                guesses.remove(&oldest);
            }
        }
        let allowance = guesses.entry(key).or_insert(GuessAllowance {
            remaining: BURST,
            refilled: now,
        });
        allowance.refill(now);
        allowance.remaining = allowance.remaining.saturating_sub(1);
    }
}

impl GuessAllowance {
    /// Adds the wrong tokens that became free until `now`.
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs();
        let gained = u32::try_from(passed / REFILL.as_secs()).unwrap_or(u32::MAX);
        self.remaining = self.remaining.saturating_add(gained).min(BURST);
        // Move on by whole steps only: the rest of the time counts toward the next step. A full bucket saves no time.
        self.refilled = match REFILL.checked_mul(gained) {
            Some(used) if self.remaining < BURST => self.refilled + used,
            _ => now,
        };
    }

    fn wait(mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        let until = self.refilled + REFILL;
        (self.remaining == 0).then(|| until.saturating_duration_since(now))
    }
}

fn entries(tokens: &[AdminToken]) -> Vec<TokenEntry> {
    let entry = |token: &AdminToken| TokenEntry {
        name: Arc::clone(&token.name),
        role: token.role,
        scope: token.scope.clone(),
        payload: token.payload,
        digest: TokenDigest::of(token.secret.expose()),
    };
    tokens.iter().map(entry).collect()
}

/// Builds a token for tests.
#[cfg(test)]
pub(crate) fn token(name: &str, role: AdminRole, text: &str) -> AdminToken {
    let secret = hookgate_verify::model::secret::Secret::new(text.as_bytes().to_vec());
    AdminToken {
        name: name.into(),
        role,
        scope: RouteScope::All,
        payload: PayloadAccess::Shown,
        secret: Arc::new(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: CallerOrigin = CallerOrigin::Ip(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn shown(token: &str) -> Option<TokenDigest> {
        Some(TokenDigest::of(token.as_bytes()))
    }

    fn access() -> AccessControl {
        AccessControl::new(&[
            token("ann", AdminRole::Operator, "correct-horse"),
            token("board", AdminRole::Viewer, "battery-staple"),
        ])
    }

    #[test]
    fn each_token_has_its_name_and_role() {
        let access = access();
        let ann = access.identify(shown("correct-horse"), LOOPBACK).unwrap();
        assert_eq!((&*ann.name, ann.role), ("ann", AdminRole::Operator));
        let board = access.identify(shown("battery-staple"), LOOPBACK).unwrap();
        assert_eq!((&*board.name, board.is_operator()), ("board", false));
        for wrong in ["", "correct-hors", "correct-horsee", "battery"] {
            let refused = access.identify(shown(wrong), CallerOrigin::User(0));
            assert_eq!(refused, Err(AccessRefusal::Unknown), "{wrong}");
        }
        assert_eq!(access.identify(None, LOOPBACK), Err(AccessRefusal::Missing));
        assert_eq!(
            access.identify(None, CallerOrigin::User(0)),
            Err(AccessRefusal::Missing)
        );
    }

    #[test]
    fn without_tokens_the_socket_is_open_and_nothing_else() {
        let access = AccessControl::new(&[]);
        let who = access.identify(None, CallerOrigin::User(1000)).unwrap();
        assert_eq!((&*who.name, who.role), ("uid:1000", AdminRole::Operator));
        let refused = access.identify(shown("correct-horse"), LOOPBACK);
        assert_eq!(refused, Err(AccessRefusal::Open));
        access.set(&[token("ann", AdminRole::Operator, "correct-horse")]);
        let refused = access.identify(None, CallerOrigin::User(1000));
        assert_eq!(refused, Err(AccessRefusal::Missing));
    }

    // Fails when guesses are not counted, when the correct token passes in between, or when other sources have to wait.
    #[test]
    fn a_source_that_guesses_has_to_wait() {
        let access = access();
        for _ in 0..BURST {
            let refused = access.identify(shown("guess"), LOOPBACK);
            assert_eq!(refused, Err(AccessRefusal::Unknown));
        }
        let refused = access.identify(shown("correct-horse"), LOOPBACK);
        let Err(AccessRefusal::TooMany(wait)) = refused else {
            panic!("{refused:?}");
        };
        assert!(wait > Duration::ZERO && wait <= REFILL);
        let other = CallerOrigin::Ip("192.0.2.1".parse().unwrap());
        assert!(access.identify(shown("correct-horse"), other).is_ok());
        let socket = CallerOrigin::User(0);
        assert!(access.identify(shown("correct-horse"), socket).is_ok());
    }

    #[test]
    fn the_wait_ends_and_right_tokens_cost_nothing() {
        let access = access();
        for _ in 0..BURST * 3 {
            assert!(access.identify(shown("correct-horse"), LOOPBACK).is_ok());
        }
        let now = clock::instant();
        for _ in 0..BURST {
            access.record_wrong_token(LOOPBACK, now);
        }
        assert_eq!(access.wait(LOOPBACK, now), Some(REFILL));
        assert_eq!(access.wait(LOOPBACK, now + REFILL), None);
        access.record_wrong_token(LOOPBACK, now + REFILL);
        assert_eq!(access.wait(LOOPBACK, now + REFILL), Some(REFILL));
        assert_eq!(access.wait(LOOPBACK, now + REFILL * 40), None);
    }

    #[test]
    fn the_sources_that_are_remembered_are_bounded() {
        let access = access();
        let now = clock::instant();
        for number in 0..5_000_u32 {
            access.record_wrong_token(
                CallerOrigin::Ip(std::net::Ipv4Addr::from_bits(number).into()),
                now,
            );
        }
        assert_eq!(access.guesses.lock().len(), MAX_SOURCES);
    }
}
