//! Event identity: facts about a sender, each with its source, from which the defaults of dedup follow.

use crate::document::key::Key;
use crate::document::table::{Fault, Placed, Table};
use crate::document::value::choice_word;
use crate::document::{Span, value};
use crate::model::glob::Glob;
use crate::providers::keys;
use crate::scheme::parse::identity;
use crate::scheme::spec::{BatchSpec, Field, IdentityKey};

/// `[identity]` of a provider file.
#[derive(Debug)]
pub struct SenderIdentity {
    /// The parts that name one event, equal in each of its retries.
    pub key: Fact<IdentityKey>,
    /// Whether a retry carries a new timestamp, signature or id.
    pub retries_resign: Fact<RetrySigning>,
    /// Whether the sender uses the body of the response.
    pub response: Fact<ResponseUse>,
    /// The owner of the signing key.
    pub tenant: Fact<SigningTenant>,
    /// The events of one body, where it can hold several.
    pub batch: Option<Fact<BatchSpec>>,
    /// Bytes of the largest body that the sender documents.
    pub max_body: Option<Fact<usize>>,
}

/// One fact with the page, sample or SDK that shows it.
#[derive(Debug)]
pub struct Fact<T> {
    /// The fact.
    pub value: T,
    /// A URL, or a package with its version.
    pub source: String,
}

/// `retries_resign`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetrySigning {
    /// Each attempt is signed by itself.
    Yes,
    /// A retry repeats the first request's bytes, its timestamp too.
    No,
    /// No source says.
    Unknown,
}

impl RetrySigning {
    /// Each with its word in a provider file.
    pub const ALL: [(&'static str, Self); 3] = [
        ("yes", Self::Yes),
        ("no", Self::No),
        ("unknown", Self::Unknown),
    ];

    /// Returns its word in a provider file.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// `response`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponseUse {
    /// Only the status counts.
    Ignored,
    /// The body is instructions or data for the sender.
    Used {
        /// In events of these types only; empty: in any request.
        types: Vec<String>,
    },
}

/// `tenant`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SigningTenant {
    /// The key belongs to one customer, app or endpoint.
    Customer,
    /// The sender signs for all its customers with one key.
    Shared {
        /// The signed locations that name customers, of which `*` is each element of a list. Every one that holds a value
        /// counts. Empty: the scheme's own `audience` or claims do.
        place: Vec<Field>,
    },
}

/// Reads `[identity]`. Refuses one that lacks a fact or the source of one.
pub(super) fn read(table: &mut Table<'_>) -> Option<SenderIdentity> {
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

fn choice<T: Copy>(table: &mut Table<'_>, choices: &[(&str, T)]) -> Option<T> {
    let found: Option<Placed<T>> =
        table.require(&keys::VALUE, |value| value::choice(value, choices));
    found.map(|placed| placed.value)
}

fn response(table: &mut Table<'_>) -> Option<ResponseUse> {
    let is_used = choice(table, &[("ignored", false), ("used", true)]);
    let types = table.list(&keys::TYPES, |value| {
        let text = value::text(value)?;
        match Glob::parse(&text) {
            Ok(_) => Ok(text),
            Err(err) => Err(Fault::new(
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

fn tenant(table: &mut Table<'_>) -> Option<SigningTenant> {
    let is_shared = choice(table, &[("customer", false), ("shared", true)])?;
    let place = identity::locations(table, &keys::PLACE)?;
    if !is_shared && !place.is_empty() {
        table.error(table.span(), customer_place(table.span()));
        return None;
    }
    Some(match is_shared {
        true => SigningTenant::Shared { place },
        false => SigningTenant::Customer,
    })
}

fn customer_place(span: Span) -> Fault {
    let mut fault = Fault::new(
        "`place` belongs to `value = \"shared\"`: a key of one customer signs for that customer alone",
        "remove `place`, or write `value = \"shared\"`",
    );
    fault.span = Some(span);
    fault
}

fn fact<'a, T>(
    table: &mut Table<'a>,
    key: &'static Key,
    parse: impl FnOnce(&mut Table<'a>) -> Option<T>,
) -> Option<Fact<T>> {
    if !table.has(key) {
        table.missing(key);
    }
    let mut inner = table.table(key)?;
    sourced(&mut inner, parse)
}

/// `Some(None)`: absent; `None`: wrong.
fn optional_fact<'a, T>(
    table: &mut Table<'a>,
    key: &'static Key,
    parse: impl FnOnce(&mut Table<'a>) -> Option<T>,
) -> Option<Option<Fact<T>>> {
    match table.has(key) {
        true => fact(table, key, parse).map(Some),
        false => Some(None),
    }
}

fn sourced<'a, T>(
    table: &mut Table<'a>,
    parse: impl FnOnce(&mut Table<'a>) -> Option<T>,
) -> Option<Fact<T>> {
    let value = parse(table);
    let source = table.require(&keys::SOURCE, value::text);
    table.deny_unknown();
    Some(Fact {
        value: value?,
        source: source?.value,
    })
}
