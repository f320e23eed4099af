//! Providers: who sends, as data. One TOML file per provider is compiled in; `find` gives it by id.
//!
//! `config` looks a route's `provider` up here; nothing is read or fetched at run time. A file is parsed when somebody
//! first asks for it, so that a config pays for the providers that it names and not for the others.

pub mod challenge;
pub mod identity;
mod keys;
mod load;

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use ipnet::IpNet;

use crate::model::glob::Glob;
use crate::providers::challenge::Challenge;
use crate::providers::identity::{ResponseUse, SenderIdentity};
use crate::scheme::spec::Spec;

/// The compiled-in files: name and text, sorted by name.
static FILES: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/provider_files.rs"));

/// One for each file, filled when it is first asked for. A file that is wrong stays none; the test over all files is what
/// keeps that from being built.
static SLOTS: [OnceLock<Option<Arc<Provider>>>; FILES.len()] =
    [const { OnceLock::new() }; FILES.len()];

static ALL: LazyLock<Vec<Arc<Provider>>> = LazyLock::new(|| ids().filter_map(find).collect());

/// What a provider file says.
#[derive(Debug)]
pub struct Provider {
    /// Lower-case words joined by underscores.
    pub id: String,
    /// For people.
    pub name: String,
    /// What an operator must know: the comment at the top of the file, as one paragraph.
    pub about: String,
    /// Where the provider documents its signatures.
    pub docs: String,
    /// What to enter at the provider, and where its secret is found.
    pub setup: Option<String>,
    /// How it signs.
    pub scheme: Spec,
    /// What names one of its events, and how it treats retries and responses.
    pub identity: SenderIdentity,
    /// Default tolerance of the signed timestamp.
    pub tolerance: Duration,
    /// How long the provider goes on retrying; the default dedup window is at least that.
    pub retry_horizon: Option<Duration>,
    /// How it tries again.
    pub retries: Option<Retries>,
    /// Its URL check, if it has one.
    pub challenge: Option<Challenge>,
    /// What shows that the file is right.
    pub proof: Proof,
    /// Where each vector comes from.
    pub sources: Vec<String>,
    /// Where the gate is stricter than the provider's own library, in sentences.
    pub stricter: Vec<String>,
    /// What the signature does not cover beyond what the scheme tells by itself.
    pub unsigned: Vec<String>,
    /// The addresses that it publishes.
    pub ip_ranges: Option<IpRanges>,
}

impl Provider {
    /// Whether it stands for apps of one's own, which are told more than strangers.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.id.as_str(), "local" | "local_hmac")
    }
}

impl Provider {
    /// Returns whether the sender uses the body of the response to each of its events.
    #[must_use]
    pub fn uses_response(&self) -> bool {
        matches!(&self.identity.response.value, ResponseUse::Used { types } if types.is_empty())
    }

    /// Returns whether the sender uses the body of the response to an event of this type.
    #[must_use]
    pub fn uses_response_to(&self, event_type: Option<&str>) -> bool {
        let ResponseUse::Used { types } = &self.identity.response.value else {
            return false;
        };
        // Parsed anew: asked for duplicates only.
        let mut patterns = types.iter().filter_map(|text| Glob::parse(text).ok());
        types.is_empty()
            || event_type.is_some_and(|text| patterns.any(|pattern| pattern.matches(text)))
    }
}

/// What shows that a provider file is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// A vector that somebody else made.
    Vectors,
    /// Only the documented recipe: no vector of somebody else's could be found.
    DocumentationOnly,
}

/// How a provider tries again; only what it documents.
#[derive(Debug, Default)]
pub struct Retries {
    /// How long it waits for an answer.
    pub timeout: Option<Duration>,
    /// Attempts in all, the first one included.
    pub attempts: Option<u64>,
    /// What ends the attempts, and what disables the endpoint.
    pub stops: Option<String>,
    /// Where it says so.
    pub source: Option<String>,
}

/// Published source addresses.
#[derive(Debug)]
pub struct IpRanges {
    /// The day on which they were read, `YYYY-MM-DD`.
    pub read: String,
    /// Where they are published.
    pub url: String,
    /// How they stand there; none where a program cannot read them.
    pub format: Option<RangesFormat>,
    /// The ranges.
    pub cidrs: Vec<IpNet>,
}

/// How published ranges stand in the answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RangesFormat {
    /// One a line.
    Lines,
    /// At JSON pointers, where `*` stands for each element of a list or object.
    Json(Vec<Vec<String>>),
}

/// The provider with this id.
#[must_use]
pub fn find(id: &str) -> Option<Arc<Provider>> {
    let files = FILES.iter().zip(&SLOTS);
    let mut files = files.filter(|((name, _), _)| name.strip_suffix(".toml") == Some(id));
    let ((name, text), slot) = files.next()?;
    slot.get_or_init(|| load::parse(name, text).ok().map(Arc::new))
        .clone()
}

/// Every id, sorted. Costs no parsing.
pub fn ids() -> impl Iterator<Item = &'static str> {
    let names = FILES.iter().map(|(name, _)| *name);
    names.filter_map(|name| name.strip_suffix(".toml"))
}

/// Every provider, sorted by id. Parses every file: not for the start of the gate.
#[must_use]
pub fn all() -> &'static [Arc<Provider>] {
    &ALL
}

/// For tests: a provider out of the text of a file.
#[cfg(test)]
pub(crate) fn parsed(text: &str) -> Provider {
    load::parse("a.toml", text)
        .unwrap_or_else(|report| panic!("{}", report.render(crate::document::report::Style::Plain)))
}

/// The text of the file with this id.
fn text_of(id: &str) -> Option<&'static str> {
    let mut files = FILES.iter();
    let found = files.find(|(name, _)| name.strip_suffix(".toml") == Some(id));
    found.map(|(_, text)| *text)
}
