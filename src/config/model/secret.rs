//! Secrets of a route, and when each is valid.

use std::sync::Arc;

use hookgate_verify::document::TextSpan;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::signature::DatedSecret;

/// One secret of a route, and when it is valid.
pub struct SecretEntry {
    /// `name`, or its position as `"1"`, `"2"`, ...; the verdict names the secret by it.
    pub label: Arc<str>,
    /// The kind of place that the config names for it.
    pub source: SecretSource,
    /// The secret as the provider shows it.
    pub secret: Secret,
    /// Start of its validity, in milliseconds since the epoch.
    pub not_before_ms: Option<i64>,
    /// End of its validity (exclusive), in milliseconds since the epoch.
    pub until_ms: Option<i64>,
    /// Span of the secret in the config.
    pub span: TextSpan,
}

/// Source of a secret's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// The config file itself, or the command line of a tool.
    Literal,
    /// An environment variable (`env`).
    Variable,
    /// A file (`file`).
    File,
    /// A systemd credential (`credential`).
    Credential,
    /// The sender: it publishes its keys, so the config sets no secret.
    Sender,
}

impl<'s> From<&'s SecretEntry> for DatedSecret<'s> {
    fn from(entry: &'s SecretEntry) -> Self {
        // The verifier needs neither the place of the secret nor its span.
        Self {
            label: Arc::clone(&entry.label),
            secret: &entry.secret,
            not_before_ms: entry.not_before_ms,
            until_ms: entry.until_ms,
        }
    }
}

impl SecretEntry {
    /// Creates a literal secret that is always valid.
    pub fn new(label: impl Into<Arc<str>>, secret: Secret) -> Self {
        Self {
            label: label.into(),
            source: SecretSource::Literal,
            secret,
            not_before_ms: None,
            until_ms: None,
            span: TextSpan::default(),
        }
    }

    /// Returns whether the secret is valid at this time.
    #[must_use]
    pub fn is_current(&self, unix_ms: i64) -> bool {
        self.not_before_ms.is_none_or(|from| from <= unix_ms)
            && self.until_ms.is_none_or(|until| unix_ms < until)
    }
}
