//! One try: a request and how it is to be verified, one thing of it changed, run through the gate's own verification.
//!
//! Nothing here verifies by itself. All tries of one explanation together are bounded in number and time.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::config::model::{Route, SecretEntry};
use crate::document::Span;
use crate::gate::reject::Reject;
use crate::gate::signature::Keys;
use crate::model::clock::{Now, instant};
use crate::model::secret::Secret;
use crate::scheme::Head;
use crate::scheme::spec::Spec;

/// Tries for one request: about as many as all hypotheses together make for a route with a few secrets.
const MAX_TRIES: u32 = 3000;

/// With a large body each try takes its time; a person waits for the answer.
const MAX_TIME: Duration = Duration::from_secs(4);

/// A request and how it is to be verified. Cheap to copy: what is not changed is shared.
#[derive(Clone)]
pub(super) struct Trial<'a> {
    pub(super) spec: Cow<'a, Spec>,
    pub(super) secrets: Arc<[SecretEntry]>,
    pub(super) public_url: Option<Cow<'a, str>>,
    pub(super) tolerance: Duration,
    pub(super) method: &'a Method,
    pub(super) uri: Cow<'a, Uri>,
    pub(super) headers: Cow<'a, HeaderMap>,
    pub(super) body: Cow<'a, [u8]>,
    pub(super) now: Now,
}

/// What is left to spend on one request.
pub(super) struct Hunt {
    tries: u32,
    until: Instant,
}

impl<'a> Trial<'a> {
    /// How a route verifies it, whichever of its secrets counted then.
    pub(super) fn of_route(self, route: &'a Route) -> Self {
        Self {
            spec: Cow::Borrowed(&route.scheme),
            secrets: timeless(&route.secrets),
            public_url: route.public_url.as_deref().map(Cow::Borrowed),
            tolerance: route.tolerance,
            ..self
        }
    }

    /// The same with something changed.
    pub(super) fn varied(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut trial = self.clone();
        change(&mut trial);
        trial
    }

    /// The same with one header.
    pub(super) fn with_header(&self, name: &HeaderName, value: HeaderValue) -> Self {
        self.varied(|trial| {
            trial.headers.to_mut().insert(name.clone(), value);
        })
    }

    /// The same with another body.
    pub(super) fn with_body(&self, body: Vec<u8>) -> Self {
        self.varied(|trial| trial.body = Cow::Owned(body))
    }

    /// The same with one secret.
    pub(super) fn with_secret(&self, text: &[u8]) -> Self {
        self.varied(|trial| trial.secrets = [entry("1", text)].into())
    }

    /// The same whenever it was signed.
    pub(super) fn at_any_time(&self) -> Self {
        self.varied(|trial| trial.tolerance = Duration::MAX)
    }

    /// The head as schemes read it.
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            method: self.method,
            uri: &self.uri,
            headers: &self.headers,
        }
    }

    /// Runs the gate's verification; gives the label of the secret that matched.
    fn verify(&self) -> Result<Arc<str>, Reject> {
        let public_url = self.public_url.as_deref();
        let keys = Keys::new(&self.spec, &self.secrets, public_url, self.tolerance);
        // What cannot be compiled, such as a secret that this scheme cannot use, verifies nothing.
        let keys = keys.map_err(|_| Reject::BadSignature)?;
        let own_names = keys.own_names(&self.headers)?;
        let mut head = self.head();
        head.headers = own_names.as_deref().unwrap_or(head.headers);
        let mut pending = keys.open(head, &self.now)?;
        pending.update(&self.body);
        if pending.need(&self.body)?.is_some() {
            return Err(Reject::BadSignature);
        }
        Ok(pending.finish(&self.body, None)?.label)
    }

    /// The signed time in seconds since the epoch, if the request has one.
    pub(super) fn signed_seconds(&self) -> Option<i64> {
        let trial = self.varied(|trial| {
            trial.now = Now::at_unix_seconds(0);
            trial.tolerance = Duration::ZERO;
        });
        match trial.verify() {
            Err(Reject::StaleTimestamp { age_seconds, .. }) => age_seconds.checked_neg(),
            _ => None,
        }
    }
}

impl Hunt {
    /// Nothing is spent yet.
    pub(super) fn new() -> Self {
        Self {
            tries: 0,
            until: instant() + MAX_TIME,
        }
    }

    /// Whether the request passes the verification this way.
    pub(super) fn passes(&mut self, trial: &Trial<'_>) -> bool {
        self.label(trial).is_some()
    }

    /// The label of the secret with which it does.
    pub(super) fn label(&mut self, trial: &Trial<'_>) -> Option<Arc<str>> {
        if self.is_spent() {
            return None;
        }
        self.tries += 1;
        trial.verify().ok()
    }

    /// Tries so far.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// Whether nothing more may be tried.
    pub(super) fn is_spent(&self) -> bool {
        self.tries >= MAX_TRIES || instant() >= self.until
    }
}

/// A secret without time limits.
pub(super) fn entry(label: &str, text: &[u8]) -> SecretEntry {
    SecretEntry {
        label: label.into(),
        secret: Secret::new(text.to_vec()),
        not_before_ms: None,
        until_ms: None,
        span: Span::default(),
    }
}

/// The same secrets without their time limits.
pub(super) fn timeless(entries: &[SecretEntry]) -> Arc<[SecretEntry]> {
    let entries = entries.iter();
    entries
        .map(|one| entry(&one.label, one.secret.expose()))
        .collect()
}
