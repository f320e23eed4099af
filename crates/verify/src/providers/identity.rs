//! Event identity: facts about a sender, each with its source.
//!
//! The defaults of dedup follow from them.

use crate::document::key::KeyDefinition;
use crate::document::table::{SpannedValue, TomlTable, ValueFault};
use crate::document::value::choice_word;
use crate::document::{TextSpan, value};
use crate::model::glob::GlobPattern;
use crate::providers::keys;
use crate::scheme::parse::identity;
use crate::scheme::spec::{BatchSpec, FieldLocation, IdentityKey};

/// The `[identity]` table of a provider file.
#[derive(Debug)]
pub struct SenderIdentity {
    /// The dedup key: parts that name one event and are equal in each of its retries.
    pub key: SourcedFact<IdentityKey>,
    /// Says whether a retry has a new timestamp, signature or id.
    pub retries_resign: SourcedFact<RetrySigning>,
    /// Says whether the sender uses the body of the response.
    pub response: SourcedFact<ResponseUse>,
    /// The owner of the signing key.
    pub tenant: SourcedFact<SigningTenant>,
    /// The location of the events in a body that can hold several.
    pub batch: Option<SourcedFact<BatchSpec>>,
    /// The largest body that the sender documents, in bytes.
    pub max_body: Option<SourcedFact<usize>>,
}

/// A fact with the page, sample or SDK that proves it.
#[derive(Debug)]
pub struct SourcedFact<T> {
    /// The value of the fact.
    pub value: T,
    /// A URL, or a package with its version.
    pub source: String,
}

/// The `retries_resign` fact: how a retry is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetrySigning {
    /// Each attempt is signed separately, with a new timestamp.
    Yes,
    /// A retry repeats the bytes of the first request, including its timestamp.
    No,
    /// The provider's sources do not say.
    Unknown,
}

impl RetrySigning {
    /// All values with their words in a provider file.
    pub const ALL: [(&'static str, Self); 3] = [
        ("yes", Self::Yes),
        ("no", Self::No),
        ("unknown", Self::Unknown),
    ];

    /// Returns the word for the value in a provider file.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// The `response` fact: the use of the response by the sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponseUse {
    /// The sender reads only the status.
    Ignored,
    /// The sender reads the body as instructions or data.
    Used {
        /// Patterns of the event types whose response is used; empty for all types.
        types: Vec<String>,
    },
}

/// The `tenant` fact: the owner of the signing key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SigningTenant {
    /// The key belongs to one customer, app or endpoint.
    Customer,
    /// The sender signs for all its customers with one key.
    Shared {
        /// The signed locations of the tenants, in which `*` is each element of a list. Each one with a value counts. Empty:
        /// the scheme's own `audience` or claims identify the tenant.
        location: Vec<FieldLocation>,
    },
}

/// Parses `[identity]`. Rejects one that lacks a fact or the source of a fact.
pub(super) fn read(table: &mut TomlTable<'_>) -> Option<SenderIdentity> {
    let key = fact(table, &keys::KEY, identity::identity_key);
    let retries_resign = fact(table, &keys::RETRIES_RESIGN, |table| {
        choice(table, &RetrySigning::ALL)
    });
    let response = fact(table, &keys::RESPONSE, response);
    let tenant = fact(table, &keys::TENANT, tenant);
    let batch = optional_fact(table, &keys::BATCH, identity::batch);
    let max_body = optional_fact(table, &keys::MAX_BODY, |table| {
        table
            .require(&keys::VALUE, value::size)
            .map(|placed| placed.value)
    });
    table.deny_unknown();
    Some(SenderIdentity {
        key: key?,
        retries_resign: retries_resign?,
        response: response?,
        tenant: tenant?,
        batch: batch?,
        max_body: max_body?,
    })
}

fn choice<T: Copy>(table: &mut TomlTable<'_>, choices: &[(&str, T)]) -> Option<T> {
    let found: Option<SpannedValue<T>> =
        table.require(&keys::VALUE, |value| value::choice(value, choices));
    found.map(|placed| placed.value)
}

fn response(table: &mut TomlTable<'_>) -> Option<ResponseUse> {
    let is_used = choice(table, &[("ignored", false), ("used", true)]);
    let types = table.list(&keys::TYPES, |value| {
        let text = value::text(value)?;
        match GlobPattern::parse(&text) {
            Ok(_) => Ok(text),
            Err(err) => Err(ValueFault::new(
                err.to_string(),
                "a type, or a pattern as in `events`",
            )),
        }
    });
    let types = types.unwrap_or_default().into_iter();
    Some(match is_used? {
        true => ResponseUse::Used {
            types: types.map(|placed| placed.value).collect(),
        },
        false => ResponseUse::Ignored,
    })
}

fn tenant(table: &mut TomlTable<'_>) -> Option<SigningTenant> {
    let is_shared = choice(table, &[("customer", false), ("shared", true)])?;
    let place = identity::locations(table, &keys::PLACE)?;
    if !is_shared && !place.is_empty() {
        table.error(table.span(), customer_location_fault(table.span()));
        return None;
    }
    Some(match is_shared {
        true => SigningTenant::Shared { location: place },
        false => SigningTenant::Customer,
    })
}

fn customer_location_fault(span: TextSpan) -> ValueFault {
    let mut fault = ValueFault::new(
        "`place` belongs to `value = \"shared\"`: a key of one customer signs for that customer alone",
        "remove `place`, or write `value = \"shared\"`",
    );
    fault.span = Some(span);
    fault
}

fn fact<'a, T>(
    table: &mut TomlTable<'a>,
    key: &'static KeyDefinition,
    parse: impl FnOnce(&mut TomlTable<'a>) -> Option<T>,
) -> Option<SourcedFact<T>> {
    // Reported here, since `table` reports only a key of the wrong kind.
    if !table.has(key) {
        table.missing(key);
    }
    let mut inner = table.table(key)?;
    sourced(&mut inner, parse)
}

/// Parses an optional fact. Returns `Some(None)` if it is absent, and `None` if it is invalid.
fn optional_fact<'a, T>(
    table: &mut TomlTable<'a>,
    key: &'static KeyDefinition,
    parse: impl FnOnce(&mut TomlTable<'a>) -> Option<T>,
) -> Option<Option<SourcedFact<T>>> {
    match table.has(key) {
        true => fact(table, key, parse).map(Some),
        false => Some(None),
    }
}

fn sourced<'a, T>(
    table: &mut TomlTable<'a>,
    parse: impl FnOnce(&mut TomlTable<'a>) -> Option<T>,
) -> Option<SourcedFact<T>> {
    let value = parse(table);
    let source = table.require(&keys::SOURCE, value::text);
    table.deny_unknown();
    Some(SourcedFact {
        value: value?,
        source: source?.value,
    })
}
