//! Signatures whose key is in a certificate that the request names or carries: Amazon SNS, PayPal and Apple's App Store.
//!
//! The certificate's URL comes from a stranger. Nothing is fetched unless it is `https` in its normal form, on a host of
//! the sender's; what is fetched must be a certificate of the sender's name. The text that is signed is put together by
//! `sns` and `paypal`.

pub(in crate::scheme) mod app_store;
mod chain;
pub(in crate::scheme) mod paypal;
pub(in crate::scheme) mod sns;

use http::HeaderName;
use sha2::{Digest as _, Sha256};

use crate::model::secret::Secret;
use crate::net::remote_url::{HostPattern, RemoteUrl};
pub use crate::scheme::certificate::chain::Certificate;
pub use crate::scheme::certificate::sns::is_own_host as is_sns_host;
use crate::scheme::key;
use crate::scheme::material::{Material, MaterialFault, Proof};
use crate::scheme::remote::{KeyNeed, KeySource, RemoteKeys};
use crate::scheme::spec::{CertificateKind, CertificateSpec, KeyAlgorithm, SecretForm, Spec};
use crate::scheme::{Head, Match, SchemeError, SecretSet, Validity};

/// A scheme with certificates.
pub struct CertificateScheme {
    kind: CertificateKind,
    hosts: Vec<HostPattern>,
    topics: Vec<String>,
    /// PayPal's webhook ids, one for each secret.
    ids: Box<[Secret]>,
    headers: Box<[HeaderName]>,
}

/// One verification under way.
pub(super) struct CertificateVerifier<'a> {
    scheme: &'a CertificateScheme,
    head: Head<'a>,
    current: SecretSet,
}

/// What a request says, not yet verified.
struct Message {
    /// Where its certificate stands.
    source: KeySource,
    algorithm: KeyAlgorithm,
    signature: Vec<u8>,
    /// The text that is signed; for PayPal one for each webhook id, with its position.
    texts: Vec<(usize, Vec<u8>)>,
}

impl CertificateScheme {
    /// Checks the spec and takes the ids.
    pub(super) fn compile(
        spec: &Spec,
        family: &CertificateSpec,
        secrets: &[&Secret],
    ) -> Result<Self, SchemeError> {
        check(family)?;
        let ids: Result<Vec<Secret>, SchemeError> = match family.kind {
            CertificateKind::Sns | CertificateKind::AppStore => Ok(Vec::new()),
            CertificateKind::PayPal => {
                let decode = |secret: &&Secret| key::decode(&SecretForm::default(), secret);
                secrets.iter().map(decode).collect()
            }
        };
        Ok(Self {
            kind: family.kind,
            hosts: family.hosts.clone(),
            topics: family.topics.clone(),
            ids: ids?.into(),
            headers: spec.headers().into(),
        })
    }

    /// See [`crate::scheme::Scheme::headers`].
    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// How many secrets it has; keys that are no secret count as one.
    pub(super) fn secret_count(&self) -> usize {
        match self.kind {
            CertificateKind::PayPal => self.ids.len(),
            _ => 1,
        }
    }

    /// See [`crate::scheme::Scheme::material`]: what stands in the head is there and well-formed.
    pub(super) fn material<'h>(&self, head: &Head<'h>) -> Result<Material<'h>, MaterialFault> {
        if self.kind == CertificateKind::PayPal {
            paypal::read(self, head, &[], SecretSet::empty())?;
        }
        Ok(Material {
            proof: Proof::Whole,
            timestamp: None,
            id: &[],
        })
    }

    /// See [`crate::scheme::Scheme::begin`].
    pub(super) fn begin<'a>(
        &'a self,
        head: Head<'a>,
        current: SecretSet,
    ) -> CertificateVerifier<'a> {
        CertificateVerifier {
            scheme: self,
            head,
            current,
        }
    }

    /// The certificate's URL, where it may be fetched; the error says why not.
    fn certificate_url(&self, text: &str) -> Result<RemoteUrl, &'static str> {
        let url = RemoteUrl::parse_strange(text).map_err(|_| "is not a plain https URL")?;
        let is_own = match (self.hosts.as_slice(), self.kind) {
            ([], CertificateKind::Sns) => sns::is_own_host(&url),
            ([], CertificateKind::PayPal) => paypal::is_own_host(&url),
            (_, CertificateKind::AppStore) => false,
            (hosts, _) => url.is_on(hosts),
        };
        if !is_own {
            return Err("is not on a host of the sender's");
        }
        Ok(url)
    }
}

impl CertificateVerifier<'_> {
    fn read(&self, body: &[u8]) -> Result<Message, MaterialFault> {
        match self.scheme.kind {
            CertificateKind::PayPal => paypal::read(self.scheme, &self.head, body, self.current),
            _ => sns::read(self.scheme, body),
        }
    }

    /// See [`crate::scheme::Verifier::need`].
    pub(super) fn need(&self, body: &[u8]) -> Result<Option<KeyNeed>, MaterialFault> {
        // The App Store's certificates are in the body.
        if self.scheme.kind == CertificateKind::AppStore {
            return Ok(None);
        }
        let source = self.read(body)?.source;
        Ok(Some(KeyNeed { source, kid: None }))
    }

    /// See [`crate::scheme::Verifier::finish`].
    pub(super) fn finish(
        self,
        body: &[u8],
        keys: Option<&RemoteKeys>,
    ) -> Result<Option<Match>, MaterialFault> {
        if self.scheme.kind == CertificateKind::AppStore {
            return app_store::verify(self.scheme, body);
        }
        let message = self.read(body)?;
        let Some(RemoteKeys::Certificate(certificate)) = keys else {
            return Ok(None);
        };
        let is_own = match self.scheme.kind {
            CertificateKind::PayPal => paypal::is_own_certificate(certificate),
            _ => sns::is_own_certificate(certificate),
        };
        if !is_own {
            let fault = "is not made out to the sender";
            return Err(MaterialFault::malformed("the certificate", fault));
        }
        let made = message
            .texts
            .into_iter()
            .find(|(_, text)| certificate.verifies(message.algorithm, text, &message.signature));
        Ok(made.map(|(secret_index, text)| Match {
            secret_index,
            digest: Sha256::digest(&text).into(),
            signed_time: None,
            validity: Some(Validity {
                name: "the certificate",
                from_ms: Some(certificate.from_ms()),
                until_ms: Some(certificate.until_ms()),
            }),
        }))
    }
}

/// What contradicts itself whatever the secrets are.
pub(super) fn check(family: &CertificateSpec) -> Result<(), SchemeError> {
    match family.kind {
        kind if kind.needs_audience() && family.topics.is_empty() => {
            Err(SchemeError::NeedsAudience)
        }
        _ => Ok(()),
    }
}
