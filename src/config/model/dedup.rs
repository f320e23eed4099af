//! Rules of a route for duplicates, replays and customers.

use std::time::Duration;

use hookgate_verify::document::value::choice_word;
use hookgate_verify::scheme::spec::{FieldLocation, IdentityKey};

/// Deduplication: `dedup = { window, by, missing_id, replay, max_entries, shared, when_away }`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DedupRule {
    /// Time for which a spent key is remembered.
    pub window: Duration,
    /// The key that identifies an event; empty: requests have no key.
    pub key: IdentityKey,
    /// Combines the key with the digest of the body, because the signature does not cover the whole key.
    pub binds_body: bool,
    /// Treats equal signed bytes as duplicates; only if the operator asked for it.
    pub by_body: bool,
    /// Handling of requests without the key.
    pub missing_id: MissingId,
    /// Handling of signed bytes that the upstream has already taken under another key, or under no key.
    pub replay: ReplayRule,
    /// Number of keys that are remembered at least.
    pub max_entries: u64,
    /// Makes dedup of events that go to an app exact over all nodes that share the store; `None`: each node has its own.
    pub shared: Option<AwayRule>,
}

/// Handling of requests that need the claims of all nodes while the database is away (`when_away`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AwayRule {
    /// Forwards them: only this node's own claims count meanwhile.
    Local,
    /// Rejects them with 503.
    Refuse,
}

impl AwayRule {
    /// Each with its word in a config.
    pub const ALL: [(&'static str, Self); 2] = [("local", Self::Local), ("refuse", Self::Refuse)];

    /// Returns the word in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Refuse => "refuse",
        }
    }
}

/// Handling of repeated signed bytes (`replay`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayRule {
    /// Forwards the request with `Hookgate-Replayed-Body: true`.
    Flag,
    /// Rejects the request with 409.
    Block,
    /// Does not check for replays.
    Off,
}

impl ReplayRule {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("flag", Self::Flag),
        ("block", Self::Block),
        ("off", Self::Off),
    ];

    /// Returns the word for the rule in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Customers whose events a route accepts, for senders that sign for all customers with one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantRule {
    /// The signed locations that name customers; each one with a value counts.
    pub location: Vec<FieldLocation>,
    /// Ids of the customers to accept.
    pub allowed: Vec<String>,
}

/// Handling of requests without an event key (`missing_id`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissingId {
    /// Forwards the request without dedup.
    Accept,
    /// Rejects the request with 400.
    Reject,
    /// Uses the digest of the signed bytes as the key.
    Body,
}

impl MissingId {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("accept", Self::Accept),
        ("reject", Self::Reject),
        ("body", Self::Body),
    ];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}
