//! A trial: a changed copy of a request that runs through the gate's own verification.
//!
//! This module must never verify by itself. All trials of one explanation together are bounded in number and time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookgate_verify::model::secret::Secret;
use hookgate_verify::scheme::RequestHead;
use hookgate_verify::scheme::spec::SchemeSpec;
use hookgate_verify::signature::SignatureVerifier;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::config::model::{Route, SecretEntry};
use crate::gate::reject::Reject;
use crate::model::clock::{ClockReading, instant};

/// Maximum number of tries for one request, about as many as all hypotheses make for a route with a few secrets.
const MAX_TRIES: u32 = 3000;

/// Maximum time of all tries for one request: an operator waits for the response, and large bodies are slow to verify.
const MAX_TIME: Duration = Duration::from_secs(4);

/// A request and the settings to verify it with. Cheap to clone: unchanged parts are shared.
#[derive(Clone)]
pub(super) struct VerificationTrial<'a> {
    pub(super) spec: Cow<'a, SchemeSpec>,
    pub(super) secrets: Arc<[SecretEntry]>,
    pub(super) public_url: Option<Cow<'a, str>>,
    pub(super) tolerance: Duration,
    pub(super) method: &'a Method,
    pub(super) uri: Cow<'a, Uri>,
    pub(super) headers: Cow<'a, HeaderMap>,
    pub(super) body: Cow<'a, [u8]>,
    pub(super) now: ClockReading,
}

/// Budget of tries for one request.
pub(super) struct TrialBudget {
    tries: u32,
    until: Instant,
}

impl<'a> VerificationTrial<'a> {
    /// Takes over the settings of a route, with all its secrets regardless of their validity period.
    pub(super) fn of_route(self, route: &'a Route) -> Self {
        Self {
            spec: Cow::Borrowed(&route.scheme),
            secrets: timeless(&route.secrets),
            public_url: route.public_url.as_deref().map(Cow::Borrowed),
            tolerance: route.tolerance,
            ..self
        }
    }

    /// Returns a copy with a change applied.
    pub(super) fn varied(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut trial = self.clone();
        change(&mut trial);
        trial
    }

    /// Returns a copy with one header replaced by a single value.
    pub(super) fn with_header(&self, name: &HeaderName, value: HeaderValue) -> Self {
        self.varied(|trial| {
            trial.headers.to_mut().insert(name.clone(), value);
        })
    }

    /// Returns a copy with another body.
    pub(super) fn with_body(&self, body: Vec<u8>) -> Self {
        self.varied(|trial| trial.body = Cow::Owned(body))
    }

    /// Returns a copy with this secret instead of the route's.
    pub(super) fn with_secret(&self, text: &[u8]) -> Self {
        self.varied(|trial| trial.secrets = [entry("1", text)].into())
    }

    /// Returns a copy that accepts a signature of any age.
    pub(super) fn at_any_time(&self) -> Self {
        self.varied(|trial| trial.tolerance = Duration::MAX)
    }

    /// Returns the head in the form that schemes read.
    pub(super) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: self.method,
            uri: &self.uri,
            headers: &self.headers,
        }
    }

    /// Runs the gate's verification and returns the label of the secret that matched.
    fn verify(&self) -> Result<Arc<str>, Reject> {
        let public_url = self.public_url.as_deref();
        let keys = SignatureVerifier::new(&self.spec, &*self.secrets, public_url, self.tolerance);
        // A combination that does not compile, such as a secret that this scheme cannot use, cannot verify.
        let keys = keys.map_err(|_| Reject::BadSignature)?;
        let own_names = keys.own_names(&self.headers)?;
        let mut head = self.head();
        head.headers = own_names.as_deref().unwrap_or(head.headers);
        let mut pending = keys.open(head, self.now.unix_ms)?;
        pending.update(&self.body);
        if pending.need(&self.body)?.is_some() {
            // A key that must be fetched first ends the try: an explanation makes no network requests.
            return Err(Reject::BadSignature);
        }
        Ok(pending.finish(&self.body, None)?.label)
    }

    /// Returns the signed time in seconds since the Unix epoch, if the request has one.
    pub(super) fn signed_seconds(&self) -> Option<i64> {
        let trial = self.varied(|trial| {
            // Verified at the epoch without tolerance, every time is stale, and the reject reports its distance from
            // zero.
            trial.now = ClockReading::at_unix_seconds(0);
            trial.tolerance = Duration::ZERO;
        });
        match trial.verify() {
            Err(Reject::StaleTimestamp { age_seconds, .. }) => age_seconds.checked_neg(),
            _ => None,
        }
    }
}

impl TrialBudget {
    /// Starts with the full budget; the time runs from now on.
    pub(super) fn new() -> Self {
        Self {
            tries: 0,
            until: instant() + MAX_TIME,
        }
    }

    /// Returns true if the trial verifies.
    pub(super) fn passes(&mut self, trial: &VerificationTrial<'_>) -> bool {
        self.label(trial).is_some()
    }

    /// Returns the label of the secret with which the trial verifies.
    pub(super) fn label(&mut self, trial: &VerificationTrial<'_>) -> Option<Arc<str>> {
        if self.is_spent() {
            return None;
        }
        self.tries += 1;
        trial.verify().ok()
    }

    /// Returns the number of tries so far.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// Returns true if the budget is used up; further tries fail at once.
    pub(super) fn is_spent(&self) -> bool {
        self.tries >= MAX_TRIES || instant() >= self.until
    }
}

/// Builds a secret without a validity period.
pub(super) fn entry(label: &str, text: &[u8]) -> SecretEntry {
    SecretEntry::new(label, Secret::new(text.to_vec()))
}

/// Copies secrets without their validity periods.
pub(super) fn timeless(entries: &[SecretEntry]) -> Arc<[SecretEntry]> {
    let entries = entries.iter();
    entries
        .map(|one| entry(&one.label, one.secret.expose()))
        .collect()
}
