//! The contents of a provider file, parsed.

use std::time::Duration;

use ipnet::IpNet;

use crate::model::glob::GlobPattern;
use crate::providers::challenge::ProviderChallenge;
use crate::providers::identity::{ResponseUse, SenderIdentity};
use crate::scheme::spec::SchemeSpec;

/// Tolerance of 5 minutes, the default of the libraries of Stripe and Standard Webhooks.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// The contents of a provider file.
#[derive(Debug)]
pub struct Provider {
    /// Id in the config: lower-case words joined by underscores.
    pub id: String,
    /// Display name, such as `Stripe`.
    pub name: String,
    /// Advice for operators: the comment at the top of the file, as one paragraph.
    pub about: String,
    /// URL of the provider's documentation of its signatures.
    pub docs: String,
    /// Settings to enter at the provider, and where to find its secret.
    pub setup: Option<String>,
    /// Signature scheme, with the locations of event id and type.
    pub scheme: SchemeSpec,
    /// Facts about dedup keys, retries and responses, each with its source.
    pub identity: SenderIdentity,
    /// Default tolerance of the signed timestamp.
    pub tolerance: Duration,
    /// Time for which the provider retries; the default dedup window is at least as long.
    pub retry_horizon: Option<Duration>,
    /// Documented retries: timeout, number, and conditions that end them.
    pub retries: Option<ProviderRetries>,
    /// The URL check that the provider makes.
    pub challenge: Option<ProviderChallenge>,
    /// Evidence that the file is correct.
    pub proof: ProviderEvidence,
    /// Source of each vector: a URL, or a package with its version.
    pub sources: Vec<String>,
    /// Requests that the provider's own library accepts and hookgate rejects, in sentences.
    pub stricter: Vec<String>,
    /// Values that the signature does not cover, besides those that follow from the scheme.
    pub unsigned: Vec<String>,
    /// Source addresses that the provider publishes.
    pub ip_ranges: Option<IpRanges>,
}

impl Provider {
    /// Returns whether the sender is a local app. Local apps get more detailed errors than untrusted clients.
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
        // Parsed on each call, which happens for duplicates only.
        let mut patterns = types
            .iter()
            .filter_map(|text| GlobPattern::parse(text).ok());
        types.is_empty()
            || event_type.is_some_and(|text| patterns.any(|pattern| pattern.matches(text)))
    }
}

/// Evidence that a provider file is correct.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProviderEvidence {
    /// A request signed by the provider, its library or another third party.
    Vectors,
    /// Only the documented recipe, because no third-party vector was found.
    DocumentationOnly,
}

/// The documented retries of a provider.
#[derive(Debug, Default)]
pub struct ProviderRetries {
    /// Time that the provider waits for a response.
    pub timeout: Option<Duration>,
    /// Number of attempts, including the first.
    pub attempts: Option<u64>,
    /// Responses and conditions that end the attempts or disable the endpoint.
    pub stops: Option<String>,
    /// URL of the page that documents the retries.
    pub source: Option<String>,
}

/// The published source addresses of a provider.
#[derive(Debug)]
pub struct IpRanges {
    /// Day on which they were read, `YYYY-MM-DD`.
    pub read: String,
    /// URL at which they are published.
    pub url: String,
    /// Format at the URL, or `None` if it is not machine-readable.
    pub format: Option<RangesFormat>,
    /// The ranges as of `read`.
    pub cidrs: Vec<IpNet>,
}

/// The format of published ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RangesFormat {
    /// Text with one range per line.
    Lines,
    /// JSON pointers, in which `*` matches each element of a list or object.
    Json(Vec<Vec<String>>),
}
