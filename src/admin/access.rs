//! Who may use the admin door, and for what: tokens with roles, or the user at the other end of a Unix socket.
//!
//! The console and the API ask here. Tokens are compared as digests, all of them each time, so that neither their lengths
//! nor their order shows in the time. Whoever guesses is slowed down: a source that showed wrong tokens waits before its
//! next one is looked at, the right one too, else its answer would tell. Every user of a machine shares loopback, so one
//! of them can make the others wait there, but never on the Unix socket.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::config::model::AdminToken;
pub use crate::config::model::Role;
use crate::model::clock;
use crate::model::secret::TokenDigest;
use crate::model::source::SourceKey;

/// Wrong tokens that a source may show at once.
const BURST: u32 = 10;

/// After which time it may show one more.
const REFILL: Duration = Duration::from_secs(10);

/// Sources that are remembered; beyond it the one that was silent longest is forgotten.
const MAX_SOURCES: usize = 1024;

/// Where somebody asks from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// Over TCP.
    Ip(IpAddr),
    /// Over the Unix socket: the user, as the kernel says it.
    User(u32),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::User(uid) => write!(f, "uid:{uid}"),
        }
    }
}

/// Somebody who may ask. In the extensions of each request that reaches a handler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// The name of the token, or `uid:0` of a user of the socket.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// Where it asks from.
    pub source: Origin,
}

impl Who {
    /// Whether it may change something.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.role == Role::Operator
    }
}

/// Why somebody may not ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no token in the config, and whoever asks could be any user of the machine.
    Open,
    /// No token was shown.
    Missing,
    /// Not one of the tokens.
    Unknown,
    /// Wrong ones came from there too often; the next is looked at after this time.
    TooMany(Duration),
}

/// The tokens, and who guesses them.
pub struct Access {
    tokens: ArcSwap<Vec<Entry>>,
    guesses: Mutex<HashMap<SourceKey, Allowance>>,
}

struct Entry {
    name: Arc<str>,
    role: Role,
    digest: TokenDigest,
}

/// Wrong tokens that a source has left.
#[derive(Clone, Copy)]
struct Allowance {
    left: u32,
    refilled: Instant,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// With these tokens.
    #[must_use]
    pub fn new(tokens: &[AdminToken]) -> Self {
        Self {
            tokens: ArcSwap::from_pointee(entries(tokens)),
            guesses: Mutex::new(HashMap::new()),
        }
    }

    /// Takes the tokens of a new config.
    pub fn set(&self, tokens: &[AdminToken]) {
        self.tokens.store(Arc::new(entries(tokens)));
    }

    /// Whether there is a token at all.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.tokens.load().is_empty()
    }

    /// Who shows this token from there. Without any token in the config, whoever comes over the Unix socket is an operator.
    ///
    /// # Errors
    /// Why not.
    pub fn identify(&self, token: Option<TokenDigest>, source: Origin) -> Result<Who, Refused> {
        let tokens = self.tokens.load();
        if tokens.is_empty() {
            return match source {
                Origin::Ip(_) => Err(Refused::Open),
                Origin::User(_) => Ok(Who {
                    name: source.to_string().into(),
                    role: Role::Operator,
                    source,
                }),
            };
        }
        let token = token.ok_or(Refused::Missing)?;
        let now = clock::instant();
        if let Some(wait) = self.wait(source, now) {
            return Err(Refused::TooMany(wait));
        }
        let mut found = None;
        for entry in tokens.iter() {
            if bool::from(entry.digest.is_same(&token)) {
                found = Some(entry);
            }
        }
        let Some(entry) = found else {
            self.note(source, now);
            return Err(Refused::Unknown);
        };
        Ok(Who {
            name: Arc::clone(&entry.name),
            role: entry.role,
            source,
        })
    }

    /// How long a source has to wait before a token of its is looked at.
    fn wait(&self, source: Origin, now: Instant) -> Option<Duration> {
        // Only its owner reaches the socket.
        let Origin::Ip(ip) = source else { return None };
        let guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.get(&SourceKey::of(ip))?.wait(now)
    }

    /// A wrong token came from there.
    fn note(&self, source: Origin, now: Instant) {
        let Origin::Ip(ip) = source else { return };
        let key = SourceKey::of(ip);
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.len() >= MAX_SOURCES && !guesses.contains_key(&key) {
            let oldest = guesses
                .iter()
                .min_by_key(|(_, allowance)| allowance.refilled);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                guesses.remove(&oldest);
            }
        }
        let allowance = guesses.entry(key).or_insert(Allowance {
            left: BURST,
            refilled: now,
        });
        allowance.refill(now);
        allowance.left = allowance.left.saturating_sub(1);
    }
}

impl Allowance {
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs();
        let gained = u32::try_from(passed / REFILL.as_secs()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(gained).min(BURST);
        self.refilled = match REFILL.checked_mul(gained) {
            Some(used) if self.left < BURST => self.refilled + used,
            _ => now,
        };
    }

    fn wait(mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        let until = self.refilled + REFILL;
        (self.left == 0).then(|| until.saturating_duration_since(now))
    }
}

fn entries(tokens: &[AdminToken]) -> Vec<Entry> {
    let entry = |token: &AdminToken| Entry {
        name: Arc::clone(&token.name),
        role: token.role,
        digest: TokenDigest::of(token.secret.expose()),
    };
    tokens.iter().map(entry).collect()
}

/// A token for tests.
#[cfg(test)]
pub(crate) fn token(name: &str, role: Role, text: &str) -> AdminToken {
    let secret = crate::model::secret::Secret::new(text.as_bytes().to_vec());
    AdminToken {
        name: name.into(),
        role,
        secret: Arc::new(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: Origin = Origin::Ip(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn shown(token: &str) -> Option<TokenDigest> {
        Some(TokenDigest::of(token.as_bytes()))
    }

    fn access() -> Access {
        Access::new(&[
            token("ann", Role::Operator, "correct-horse"),
            token("board", Role::Viewer, "battery-staple"),
        ])
    }

    #[test]
    fn each_token_has_its_name_and_role() {
        let access = access();
        let ann = access.identify(shown("correct-horse"), LOOPBACK).unwrap();
        assert_eq!((&*ann.name, ann.role), ("ann", Role::Operator));
        let board = access.identify(shown("battery-staple"), LOOPBACK).unwrap();
        assert_eq!((&*board.name, board.is_operator()), ("board", false));
        for wrong in ["", "correct-hors", "correct-horsee", "battery"] {
            let refused = access.identify(shown(wrong), Origin::User(0));
            assert_eq!(refused, Err(Refused::Unknown), "{wrong}");
        }
        assert_eq!(access.identify(None, LOOPBACK), Err(Refused::Missing));
        assert_eq!(
            access.identify(None, Origin::User(0)),
            Err(Refused::Missing)
        );
    }

    #[test]
    fn without_tokens_the_socket_is_open_and_nothing_else() {
        let access = Access::new(&[]);
        let who = access.identify(None, Origin::User(1000)).unwrap();
        assert_eq!((&*who.name, who.role), ("uid:1000", Role::Operator));
        let refused = access.identify(shown("correct-horse"), LOOPBACK);
        assert_eq!(refused, Err(Refused::Open));
        access.set(&[token("ann", Role::Operator, "correct-horse")]);
        let refused = access.identify(None, Origin::User(1000));
        assert_eq!(refused, Err(Refused::Missing));
    }

    // Fails when guesses are not counted, when the right token is let through in between, or when others pay for them.
    #[test]
    fn a_source_that_guesses_has_to_wait() {
        let access = access();
        for _ in 0..BURST {
            let refused = access.identify(shown("guess"), LOOPBACK);
            assert_eq!(refused, Err(Refused::Unknown));
        }
        let refused = access.identify(shown("correct-horse"), LOOPBACK);
        let Err(Refused::TooMany(wait)) = refused else {
            panic!("{refused:?}");
        };
        assert!(wait > Duration::ZERO && wait <= REFILL);
        let other = Origin::Ip("192.0.2.1".parse().unwrap());
        assert!(access.identify(shown("correct-horse"), other).is_ok());
        let socket = Origin::User(0);
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
            access.note(LOOPBACK, now);
        }
        assert_eq!(access.wait(LOOPBACK, now), Some(REFILL));
        assert_eq!(access.wait(LOOPBACK, now + REFILL), None);
        access.note(LOOPBACK, now + REFILL);
        assert_eq!(access.wait(LOOPBACK, now + REFILL), Some(REFILL));
        assert_eq!(access.wait(LOOPBACK, now + REFILL * 40), None);
    }

    #[test]
    fn the_sources_that_are_remembered_are_bounded() {
        let access = access();
        let now = clock::instant();
        for number in 0..5_000_u32 {
            access.note(
                Origin::Ip(std::net::Ipv4Addr::from_bits(number).into()),
                now,
            );
        }
        assert_eq!(access.guesses.lock().unwrap().len(), MAX_SOURCES);
    }
}
