//! A test case: a vector whose parts can be damaged, and the gate's verdict on it.

use std::time::Duration;

use data_encoding::BASE64;
use hookgate_verify::VerifyError;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::net::remote_url::RemoteUrl;
use hookgate_verify::providers::Provider;
use hookgate_verify::scheme::RequestHead;
use hookgate_verify::scheme::remote_keys::{KeyNeed, RemoteKeys};
use hookgate_verify::scheme::spec::{
    FixedClaim, HeaderFamilies, JwtKeys, SchemeFamily, SchemeSpec, TokenAudience,
};
use hookgate_verify::signature::SignatureVerifier;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Vector;
use crate::config::model::SecretEntry;

/// A request, and the settings of the route that it is sent to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Case {
    pub(super) secret: Vec<u8>,
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) public_url: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) now: i64,
    pub(super) tolerance: Duration,
    pub(super) audience: Vec<String>,
    pub(super) claims: Vec<FixedClaim>,
    pub(super) fetched: Option<String>,
    pub(super) root: Option<String>,
}

impl Case {
    /// Builds the case of an undamaged vector.
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
            audience: vector.audience.clone(),
            claims: vector.claims.iter().map(fixed).collect(),
            fetched: vector.fetched.clone(),
            root: vector.root.clone(),
        }
    }

    /// Renames the headers to the names that the scheme reads.
    pub(super) fn under_own_names(mut self, spec: &SchemeSpec) -> Self {
        let families = HeaderFamilies::new(spec);
        let own_names = families.and_then(|families| families.own_names(&self.headers).ok()?);
        let Some(own_names) = own_names else {
            return self;
        };
        let (_, other) = spec.variants.prefixes.as_ref().unwrap();
        let is_other = |name: &HeaderName| name.as_str().starts_with(other.as_str());
        let kept = own_names.iter().filter(|(name, _)| !is_other(name));
        self.headers = kept
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self
    }

    /// Returns the head with its parsed target.
    pub(super) fn head<'c>(&'c self, uri: &'c Uri) -> RequestHead<'c> {
        RequestHead {
            method: &self.method,
            uri,
            headers: &self.headers,
        }
    }

    /// Returns whether the request is verified. A request that cannot be sent or a route that cannot be configured
    /// counts as rejected.
    pub(super) fn is_taken(&self, spec: &SchemeSpec) -> bool {
        matches!(self.verdict(spec), Some(Ok(())))
    }

    /// Returns the gate's verdict, or `None` if such a request or route cannot exist.
    pub(super) fn verdict(&self, spec: &SchemeSpec) -> Option<Result<(), VerifyError>> {
        let entry = SecretEntry::new("1", Secret::new(self.secret.clone()));
        let public_url = self.public_url.as_deref();
        let spec = &self.settled(spec);
        let keys = SignatureVerifier::new(spec, &[entry], public_url, self.tolerance).ok()?;
        let uri: Uri = self.target.parse().ok()?;
        let own_names = match keys.own_names(&self.headers) {
            Ok(own_names) => own_names,
            Err(reject) => return Some(Err(reject)),
        };
        let mut head = self.head(&uri);
        head.headers = own_names.as_deref().unwrap_or(head.headers);
        let mut pending = match keys.open(head, self.now * 1000) {
            Ok(mut pending) => {
                pending.update(&self.body);
                pending
            }
            Err(reject) => return Some(Err(reject)),
        };
        let fetched = match pending.need(&self.body) {
            Ok(None) => None,
            Ok(Some(need)) => match self.fetch(&need) {
                Ok(keys) => Some(keys),
                Err(reject) => return Some(Err(reject)),
            },
            Err(reject) => return Some(Err(reject)),
        };
        let signed = pending.finish(&self.body, fetched.as_ref());
        Some(signed.map(|_| ()))
    }

    /// Returns the scheme with the route's settings applied.
    pub(super) fn settled(&self, spec: &SchemeSpec) -> SchemeSpec {
        let mut spec = spec.clone();
        match &mut spec.family {
            SchemeFamily::Jwt(family) => {
                if let TokenAudience::Route(wanted) = &mut family.audience {
                    wanted.clone_from(&self.audience);
                }
                for claim in &self.claims {
                    family.route_claims.retain(|name| *name != claim.name);
                    family.claims.push(claim.clone());
                }
                if let JwtKeys::Published(published) | JwtKeys::Asked(published) = &mut family.keys
                {
                    let own = || RemoteUrl::parse("https://keys.test/jwks.json").unwrap();
                    published.url.get_or_insert_with(own);
                }
            }
            SchemeFamily::Certificate(family) => family.topics.clone_from(&self.audience),
            SchemeFamily::Hmac(_)
            | SchemeFamily::Text(_)
            | SchemeFamily::Token(_)
            | SchemeFamily::Http(_) => {}
        }
        spec
    }

    /// Returns the keys that the `keys` module would fetch.
    fn fetch(&self, need: &KeyNeed) -> Result<RemoteKeys, VerifyError> {
        let mut roots = RootCertStore::empty();
        for root in self.root.iter().flat_map(|pem| certificates(pem)) {
            roots.add(root).unwrap();
        }
        let text = self.fetched.as_ref().expect("the vector has `fetched`");
        let keys = need
            .source
            .parse(text.as_bytes(), &roots.roots, self.now * 1000);
        let keys = keys.map_err(|fault| VerifyError::MalformedMaterial {
            name: "the fetched key".into(),
            fault,
        })?;
        if keys.answer(need) {
            return Ok(keys);
        }
        Err(VerifyError::MalformedMaterial {
            name: "the token's `kid`".into(),
            fault: "matches no key of the sender",
        })
    }

    /// Returns the same request with a later clock.
    pub(super) fn later(mut self, by: Duration) -> Self {
        self.now += i64::try_from(by.as_secs()).unwrap();
        self
    }

    /// Returns the same request with an earlier clock.
    pub(super) fn earlier(mut self, by: Duration) -> Self {
        self.now -= i64::try_from(by.as_secs()).unwrap();
        self
    }
}

fn fixed((name, value): (&String, &String)) -> FixedClaim {
    FixedClaim {
        name: name.clone(),
        value: value.clone(),
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes());
    found.map(Result::unwrap).collect()
}
