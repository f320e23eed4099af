//! Builds a [`Verifier`] for a sender of the catalogue, or for a scheme of one's own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::document::report::ReportStyle;
use crate::document::{SourceText, TomlDocument};
use crate::identity::{IdentityFacts, IdentityRules};
use crate::model::secret::Secret;
use crate::model::unix_time::unix_ms;
use crate::net::remote_url::RemoteUrl;
use crate::providers::identity::SigningTenant;
use crate::providers::{self, DEFAULT_TOLERANCE, Provider};
use crate::scheme::SchemeError;
use crate::scheme::jwk::KeySet;
use crate::scheme::parse::parse_spec;
use crate::scheme::spec::{
    FieldLocation, FixedClaim, JwtKeys, KNOWN_KEY, PUBLISHED_KEY, SchemeFamily, SchemeSpec,
};
use crate::signature::{DatedSecret, SignatureVerifier};
use crate::verifier::Verifier;

/// Settings of a [`Verifier`]. Start with [`Verifier::provider`] or [`Verifier::scheme`], and end with [`Self::build`].
#[must_use]
pub struct VerifierBuilder {
    spec: SchemeSpec,
    provider: Option<Arc<Provider>>,
    secrets: Vec<BuilderSecret>,
    public_url: Option<String>,
    tolerance: Duration,
    max_body: Option<usize>,
    audience: Vec<String>,
    /// The caller requires a claim.
    has_claims: bool,
}

struct BuilderSecret {
    label: Arc<str>,
    secret: Secret,
    not_before_ms: Option<i64>,
    until_ms: Option<i64>,
}

/// Reason why a [`Verifier`] cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The catalogue has no sender with this id.
    #[error("there is no sender `{id}`; `provider_ids` returns all ids")]
    UnknownProvider {
        /// The id that was asked for.
        id: String,
    },
    /// The text is not a scheme.
    #[error("{report}")]
    Scheme {
        /// Each error with its line, as plain text.
        report: String,
    },
    /// A setting is missing.
    #[error("this sender needs `{setting}`")]
    Missing {
        /// Name of the builder's method.
        setting: &'static str,
    },
    /// The tokens of this sender need a claim that only yours have.
    #[error("this sender signs for all its customers with one key: set the claim `{name}`")]
    NeedsClaim {
        /// Name of the claim.
        name: String,
    },
    /// The scheme contradicts itself, or it cannot use a secret.
    #[error(transparent)]
    Unusable(SchemeError),
    /// The sender signs with a key that only it has, so it needs no secret.
    #[error("this sender signs with keys that it publishes, so the verifier takes no secret")]
    SecretNotUsed,
    /// The sender signs for all its customers with one key.
    #[error(
        "this sender signs for all its customers with one key: set `audience` or `claim`, or the events of others pass"
    )]
    NeedsAudience,
    /// The scheme has no use for this setting.
    #[error("this scheme does not use `{setting}`")]
    NotUsed {
        /// Name of the builder's method.
        setting: &'static str,
    },
    /// A value has not the right form.
    #[error("`{setting}` {fault}")]
    Malformed {
        /// Name of the builder's method.
        setting: &'static str,
        /// The fault, as the end of a sentence.
        fault: String,
    },
}

impl Verifier {
    /// Builds a verifier for a sender of the catalogue with its secrets, where the sender needs no other setting.
    ///
    /// # Errors
    /// Returns an error if there is no such sender, if it cannot use a secret, or if it needs another setting.
    pub fn for_provider<S: Into<Secret>>(
        id: &str,
        secrets: impl IntoIterator<Item = S>,
    ) -> Result<Self, BuildError> {
        let builder = secrets
            .into_iter()
            .fold(Self::provider(id)?, VerifierBuilder::secret);
        builder.build()
    }

    /// Begins to build a verifier for a sender of the catalogue; [`provider_ids`](crate::provider_ids) lists them.
    ///
    /// # Errors
    /// Returns [`BuildError::UnknownProvider`] if there is no such sender.
    pub fn provider(id: &str) -> Result<VerifierBuilder, BuildError> {
        VerifierBuilder::for_provider(id)
    }

    /// Begins to build a verifier for a scheme of one's own, in the format of the `[scheme]` table of hookgate's config.
    ///
    /// # Errors
    /// Returns [`BuildError::Scheme`] with every error in the text.
    pub fn scheme(toml: &str) -> Result<VerifierBuilder, BuildError> {
        VerifierBuilder::for_scheme(toml)
    }
}

impl From<SchemeError> for BuildError {
    fn from(error: SchemeError) -> Self {
        match error {
            SchemeError::NeedsPublicUrl => Self::Missing {
                setting: "public_url",
            },
            SchemeError::NeedsJwks => Self::Missing {
                setting: "key_set_url",
            },
            SchemeError::SecretCount { found: 0 } => Self::Missing { setting: "secret" },
            SchemeError::NeedsAudience => Self::NeedsAudience,
            SchemeError::NeedsClaim { name } => Self::NeedsClaim { name },
            other => Self::Unusable(other),
        }
    }
}

impl VerifierBuilder {
    fn for_provider(id: &str) -> Result<Self, BuildError> {
        let provider =
            providers::find(id).ok_or_else(|| BuildError::UnknownProvider { id: id.to_owned() })?;
        Ok(Self {
            tolerance: provider.tolerance,
            ..Self::of_spec(provider.scheme.clone(), Some(provider))
        })
    }

    fn for_scheme(text: &str) -> Result<Self, BuildError> {
        // Each line of the report begins with this name.
        let source = SourceText::new("scheme", text.to_owned());
        let document = TomlDocument::parse(&source);
        let mut root = document.root();
        let spec = parse_spec(&mut root);
        root.deny_unknown();
        let report = document.into_report();
        match spec {
            Some(spec) if !report.has_errors() => Ok(Self::of_spec(spec, None)),
            _ => Err(BuildError::Scheme {
                report: report.render(ReportStyle::Plain),
            }),
        }
    }

    fn of_spec(spec: SchemeSpec, provider: Option<Arc<Provider>>) -> Self {
        Self {
            spec,
            provider,
            secrets: Vec::new(),
            public_url: None,
            tolerance: DEFAULT_TOLERANCE,
            max_body: None,
            audience: Vec::new(),
            has_claims: false,
        }
    }

    /// Adds a secret as the sender shows it, labeled by its position: `1`, `2` and so on. A request is genuine if any
    /// secret made its signature, so that a rotation needs two for a while.
    pub fn secret(self, secret: impl Into<Secret>) -> Self {
        let label = (self.secrets.len() + 1).to_string();
        self.dated_secret(&label, secret, None, None)
    }

    /// Adds a secret with a label, and with the time in which it is valid: from `not_before` on, and before `until`.
    pub fn dated_secret(
        mut self,
        label: &str,
        secret: impl Into<Secret>,
        not_before: Option<SystemTime>,
        until: Option<SystemTime>,
    ) -> Self {
        self.secrets.push(BuilderSecret {
            label: label.into(),
            secret: secret.into(),
            not_before_ms: not_before.map(unix_ms),
            until_ms: until.map(unix_ms),
        });
        self
    }

    /// Sets the URL that the sender calls, up to the path of the request: `https://hooks.example.com`, or with the part of
    /// the path that a proxy takes away. Schemes that sign the URL need it, since a server behind a proxy cannot know it.
    pub fn public_url(mut self, url: &str) -> Self {
        self.public_url = Some(url.strip_suffix('/').unwrap_or(url).to_owned());
        self
    }

    /// Sets the allowed difference between the signed time and the clock, in both directions.
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the limit of a decompressed body in bytes; 25 MiB without it. The body as received is limited by the caller.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Adds a customer whose events are accepted, for senders that sign for all their customers with one key: the `aud`
    /// of a token, the topic of Amazon SNS, the bundle id of an app, or the value that identifies the customer.
    pub fn audience(mut self, customer: &str) -> Self {
        self.audience.push(customer.to_owned());
        self
    }

    /// Requires a value of a claim, for schemes with signed tokens.
    ///
    /// # Errors
    /// Returns [`BuildError::NotUsed`] for other schemes.
    pub fn claim(mut self, name: &str, value: &str) -> Result<Self, BuildError> {
        let SchemeFamily::Jwt(family) = &mut self.spec.family else {
            return Err(BuildError::NotUsed { setting: "claim" });
        };
        self.has_claims = true;
        // A claim that the sender's file asks for is satisfied by this one.
        family.route_claims.retain(|wanted| wanted != name);
        family.claims.push(FixedClaim {
            name: name.to_owned(),
            value: value.to_owned(),
        });
        Ok(self)
    }

    /// Sets the URL of the sender's key set, for senders whose customers each have their own.
    ///
    /// # Errors
    /// Returns an error if the scheme has no such URL, or if the URL is not on a host of the sender.
    pub fn key_set_url(mut self, url: &str) -> Result<Self, BuildError> {
        let setting = "key_set_url";
        let malformed = |fault: String| BuildError::Malformed { setting, fault };
        let url = RemoteUrl::parse(url).map_err(|fault| malformed(fault.to_string()))?;
        let published = match &mut self.spec.family {
            SchemeFamily::Jwt(family) => match &mut family.keys {
                JwtKeys::Published(published) | JwtKeys::Asked(published) => published,
                JwtKeys::Secret | JwtKeys::File { .. } => {
                    return Err(BuildError::NotUsed { setting });
                }
            },
            _ => return Err(BuildError::NotUsed { setting }),
        };
        if published.url.is_some() {
            return Err(malformed("is fixed by the sender".to_owned()));
        }
        // A URL on another host would let its owner sign as the sender.
        if !published.hosts.is_empty() && !url.is_on(&published.hosts) {
            return Err(malformed("is not on a host of the sender".to_owned()));
        }
        published.url = Some(url);
        Ok(self)
    }

    /// Sets the sender's key set itself (a JWKS, RFC 7517), so that no key has to be fetched.
    ///
    /// # Errors
    /// Returns an error if the scheme uses no key set, or if the text is not a key set.
    pub fn key_set(mut self, json: &[u8]) -> Result<Self, BuildError> {
        let setting = "key_set";
        let SchemeFamily::Jwt(family) = &mut self.spec.family else {
            return Err(BuildError::NotUsed { setting });
        };
        if matches!(family.keys, JwtKeys::Secret) {
            return Err(BuildError::NotUsed { setting });
        }
        let set = KeySet::parse_any(json);
        let set = set.map_err(|fault| BuildError::Malformed {
            setting,
            fault: fault.to_owned(),
        })?;
        family.keys = JwtKeys::File {
            path: PathBuf::new(),
            set: Arc::new(set),
        };
        Ok(self)
    }

    /// Builds the verifier.
    ///
    /// # Errors
    /// Returns an error if a setting is missing or of no use, or if the scheme cannot use a secret.
    pub fn build(mut self) -> Result<Verifier, BuildError> {
        if let Some(fault) = self.public_url.as_deref().and_then(url_fault) {
            return Err(BuildError::Malformed {
                setting: "public_url",
                fault: fault.to_owned(),
            });
        }
        let places = self.settle_audience()?;
        self.settle_secrets()?;
        let dated = self.secrets.iter().map(|entry| DatedSecret {
            label: Arc::clone(&entry.label),
            secret: &entry.secret,
            not_before_ms: entry.not_before_ms,
            until_ms: entry.until_ms,
        });
        let public_url = self.public_url.as_deref();
        let signature = SignatureVerifier::new(&self.spec, dated, public_url, self.tolerance);
        let mut signature = signature?;
        if let Some(max_body) = self.max_body {
            signature = signature.with_max_body(max_body);
        }
        let identity = IdentityRules::compile(IdentityFacts {
            tenant: &places,
            ..IdentityFacts::of(&self.spec)
        });
        // Where the scheme compares the customer, there is nothing left to compare here.
        let tenants = (!places.is_empty()).then_some(self.audience);
        let challenge = self
            .provider
            .as_ref()
            .and_then(|provider| provider.challenge);
        Ok(Verifier::new(
            self.spec, signature, identity, tenants, challenge,
        ))
    }

    /// Writes the audience into the scheme. Returns the locations of the customer if the scheme does not compare it.
    fn settle_audience(&mut self) -> Result<Vec<FieldLocation>, BuildError> {
        let is_shared =
            self.provider
                .as_ref()
                .and_then(|provider| match &provider.identity.tenant.value {
                    SigningTenant::Shared { location } => Some(location.clone()),
                    SigningTenant::Customer => None,
                });
        let has_audience = !self.audience.is_empty();
        if let Some(wanted) = self.spec.audience_mut() {
            if !has_audience {
                // Without it, the signature of any customer of the sender would be right.
                return Err(BuildError::NeedsAudience);
            }
            wanted.clone_from(&self.audience);
            return Ok(Vec::new());
        }
        match is_shared {
            Some(places) if has_audience && !places.is_empty() => Ok(places),
            None | Some(_) if has_audience => Err(BuildError::NotUsed {
                setting: "audience",
            }),
            Some(places) if !self.separates_customers(&places) => Err(BuildError::NeedsAudience),
            None | Some(_) => Ok(Vec::new()),
        }
    }

    /// Returns whether something other than an audience keeps the events of other customers out.
    fn separates_customers(&self, places: &[FieldLocation]) -> bool {
        match &self.spec.family {
            // The claims of the sender's file are in the tokens of all its customers.
            SchemeFamily::Jwt(family) => self.has_claims || !family.route_claims.is_empty(),
            // A scheme that names no customer has no remedy.
            _ => places.is_empty(),
        }
    }

    /// Adds the entry of a key that is no secret, and refuses a secret beside it.
    fn settle_secrets(&mut self) -> Result<(), BuildError> {
        let entry = |label: &str, key: &str| BuilderSecret {
            label: label.into(),
            secret: Secret::new(key.as_bytes().to_vec()),
            not_before_ms: None,
            until_ms: None,
        };
        // A scheme needs one entry for each key that can match, so keys that are not secrets have an entry too.
        if self.spec.has_own_keys() {
            if !self.secrets.is_empty() {
                return Err(BuildError::SecretNotUsed);
            }
            self.secrets.push(entry(PUBLISHED_KEY, ""));
        } else if let Some(key) = self.spec.known_key()
            && self.secrets.is_empty()
        {
            self.secrets.push(entry(KNOWN_KEY, key));
        }
        Ok(())
    }
}

/// Returns the reason why a text is not the beginning of the URLs that a sender calls.
fn url_fault(url: &str) -> Option<&'static str> {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return Some("is not a URL");
    };
    let has_user = uri
        .authority()
        .is_none_or(|host| host.as_str().contains('@'));
    if !matches!(uri.scheme_str(), Some("http" | "https")) || has_user || uri.query().is_some() {
        return Some("is not `https://` with a host, an optional port and the beginning of a path");
    }
    // Senders sign the text of the URL. A path that can be written in two ways would match only by chance.
    let mut segments = uri.path().split('/').skip(1);
    let is_odd = |segment: &str| matches!(segment, "" | "." | "..");
    // A URL without a path has the path `/`.
    let has_odd = url.ends_with('/') || (uri.path() != "/" && segments.any(is_odd));
    has_odd.then_some("has an empty or a dot segment")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a sender that signs for all its customers with one key can be used without naming one of them.
    #[test]
    fn a_shared_key_needs_a_customer() {
        let (mut shared, mut tokens) = (0, 0);
        for provider in providers::all() {
            let SigningTenant::Shared { location } = &provider.identity.tenant.value else {
                continue;
            };
            let built = Verifier::provider(&provider.id).unwrap().build();
            let is_token = matches!(provider.scheme.family, SchemeFamily::Jwt(_));
            if is_token || !location.is_empty() {
                assert!(built.is_err(), "{}", provider.id);
                shared += 1;
            }
            // Nothing in the file of the sender replaces what the caller has to name.
            if let SchemeFamily::Jwt(family) = &provider.scheme.family
                && family.route_claims.is_empty()
            {
                let is_refused = matches!(built, Err(BuildError::NeedsAudience));
                assert!(is_refused, "{}", provider.id);
                tokens += 1;
            }
        }
        assert!(shared > 5 && tokens > 0, "{shared} {tokens}");
    }

    #[test]
    fn a_public_url_begins_the_urls_that_the_sender_calls() {
        for url in [
            "https://a.example",
            "https://a.example/",
            "http://a:8080/prod",
            "https://[::1]",
        ] {
            let builder = Verifier::provider("twilio").unwrap().secret("token");
            assert!(builder.public_url(url).build().is_ok(), "{url}");
        }
        for url in [
            "a.example",
            "/prod",
            "ftp://a.example",
            "https://u:p@a.example",
            "https://a.example/?a=b",
            "https://a.example//",
            "https://a.example/a/../b",
            "https://",
            "",
        ] {
            let builder = Verifier::provider("twilio").unwrap().secret("token");
            let built = builder.public_url(url).build();
            let is_named = matches!(
                built,
                Err(BuildError::Malformed {
                    setting: "public_url",
                    ..
                })
            );
            assert!(is_named, "{url}");
        }
    }
}
