//! A vector with everything in it that can be damaged, and the verdict about it.

use std::time::Duration;

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::Vector;
use crate::config::model::SecretEntry;
use crate::document::Span;
use crate::gate::reject::Reject;
use crate::gate::signature::Keys;
use crate::model::clock::Now;
use crate::model::secret::Secret;
use crate::providers::Provider;
use crate::scheme::Head;
use crate::scheme::spec::Spec;

/// A request, and the route that it is sent to.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) secret: Vec<u8>,
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) public_url: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) now: i64,
    pub(super) tolerance: Duration,
}

impl Case {
    /// The vector as it stands.
    pub(super) fn new(provider: &Provider, vector: &Vector) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in &vector.headers {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let body = match (&vector.body, &vector.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => BASE64.decode(text.as_bytes()).unwrap(),
            _ => panic!("one of `body` and `body_base64`: {}", vector.source),
        };
        Self {
            secret: vector.secret.clone().into_bytes(),
            method: vector.method.parse().unwrap(),
            target: vector.path.clone(),
            public_url: vector.public_url.clone(),
            headers,
            body,
            now: vector.now,
            tolerance: provider.tolerance,
        }
    }

    /// The head, with the target parsed.
    pub(super) fn head<'c>(&'c self, uri: &'c Uri) -> Head<'c> {
        Head {
            method: &self.method,
            uri,
            headers: &self.headers,
        }
    }

    /// Whether it is verified. What cannot be sent, and a route that cannot be configured, are refusals too.
    pub(super) fn is_taken(&self, spec: &Spec) -> bool {
        matches!(self.verdict(spec), Some(Ok(())))
    }

    /// None where there can be no such request or route.
    pub(super) fn verdict(&self, spec: &Spec) -> Option<Result<(), Reject>> {
        let entry = SecretEntry {
            label: "1".into(),
            secret: Secret::new(self.secret.clone()),
            not_before_ms: None,
            until_ms: None,
            span: Span::default(),
        };
        let public_url = self.public_url.as_deref();
        let keys = Keys::new(spec, &[entry], public_url, self.tolerance).ok()?;
        let uri: Uri = self.target.parse().ok()?;
        let pending = match keys.open(self.head(&uri), &Now::at_unix_seconds(self.now)) {
            Ok(mut pending) => {
                pending.update(&self.body);
                pending
            }
            Err(reject) => return Some(Err(reject)),
        };
        Some(pending.finish(&self.body).map(|_| ()))
    }

    /// The same request at a later hour.
    pub(super) fn later(mut self, by: Duration) -> Self {
        self.now += i64::try_from(by.as_secs()).unwrap();
        self
    }

    /// The same request at an earlier hour.
    pub(super) fn earlier(mut self, by: Duration) -> Self {
        self.now -= i64::try_from(by.as_secs()).unwrap();
        self
    }
}
