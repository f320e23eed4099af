//! Signatures with a key in a certificate: Amazon SNS, PayPal and Apple's App Store.
//!
//! The URL of the certificate comes from an untrusted client. It is fetched only if it is `https` in its normal form
//! and on a host of the sender, and the certificate must have the sender's name. `sns` and `paypal` compose the signed
//! text.

pub(in crate::scheme) mod app_store;
pub mod chain;
mod message;
pub(in crate::scheme) mod paypal;
pub mod sns;

use http::HeaderName;
use sha2::{Digest as _, Sha256};

use crate::model::secret::Secret;
use crate::net::remote_url::HostPattern;
use crate::scheme::certificate::message::CertificateMessage;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::key;
use crate::scheme::material::{PresentedProof, SignatureMaterial};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::remote_keys::{KeyNeed, RemoteKeys};
use crate::scheme::secret_set::SecretSet;
use crate::scheme::signature_match::{SignatureMatch, ValidityWindow};
use crate::scheme::spec::{CertificateKind, CertificateSpec, SchemeSpec, SecretForm};

/// A compiled scheme with certificates.
pub struct CertificateScheme {
    kind: CertificateKind,
    hosts: Vec<HostPattern>,
    topics: Vec<String>,
    /// PayPal's webhook ids, one per secret.
    ids: Box<[Secret]>,
    headers: Box<[HeaderName]>,
}

/// A certificate verification in progress.
pub(super) struct CertificateVerifier<'a> {
    scheme: &'a CertificateScheme,
    head: RequestHead<'a>,
    current: SecretSet,
}

impl CertificateScheme {
    /// Validates the spec and takes PayPal's webhook ids.
    pub(super) fn compile(
        spec: &SchemeSpec,
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

    /// Returns the headers that this scheme reads.
    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Returns the number of secrets; keys that are not secrets count as one.
    pub(super) fn secret_count(&self) -> usize {
        match self.kind {
            CertificateKind::PayPal => self.ids.len(),
            _ => 1,
        }
    }

    /// Validates the values that are in the head already.
    pub(super) fn material<'h>(
        &self,
        head: &RequestHead<'h>,
    ) -> Result<SignatureMaterial<'h>, MaterialFault> {
        // Only PayPal has its values in the head; reading them now rejects malformed ones before the body.
        if self.kind == CertificateKind::PayPal {
            paypal::read(&self.hosts, &self.ids, head, &[], SecretSet::empty())?;
        }
        Ok(SignatureMaterial {
            proof: PresentedProof::Whole,
            timestamp: None,
            id: &[],
        })
    }

    /// Begins the verification of one request.
    pub(super) fn begin<'a>(
        &'a self,
        head: RequestHead<'a>,
        current: SecretSet,
    ) -> CertificateVerifier<'a> {
        CertificateVerifier {
            scheme: self,
            head,
            current,
        }
    }
}

impl CertificateVerifier<'_> {
    fn read(&self, body: &[u8]) -> Result<CertificateMessage, MaterialFault> {
        match self.scheme.kind {
            CertificateKind::PayPal => {
                let CertificateScheme { hosts, ids, .. } = self.scheme;
                paypal::read(hosts, ids, &self.head, body, self.current)
            }
            _ => sns::read(&self.scheme.hosts, &self.scheme.topics, body),
        }
    }

    /// Returns the key that must be fetched before `finish`, if any.
    pub(super) fn need(&self, body: &[u8]) -> Result<Option<KeyNeed>, MaterialFault> {
        // Notifications of the App Store carry their certificates in the body.
        if self.scheme.kind == CertificateKind::AppStore {
            return Ok(None);
        }
        let source = self.read(body)?.source;
        Ok(Some(KeyNeed { source, kid: None }))
    }

    /// Compares the proof; returns `None` if no current secret made it.
    pub(super) fn finish(
        self,
        body: &[u8],
        keys: Option<&RemoteKeys>,
    ) -> Result<Option<SignatureMatch>, MaterialFault> {
        if self.scheme.kind == CertificateKind::AppStore {
            return app_store::verify(&self.scheme.topics, body);
        }
        let message = self.read(body)?;
        // Without a certificate nothing can be verified, so the request is rejected.
        let Some(RemoteKeys::Certificate(certificate)) = keys else {
            return Ok(None);
        };
        let is_own = match self.scheme.kind {
            CertificateKind::PayPal => paypal::is_own_certificate(certificate),
            _ => sns::is_own_certificate(certificate),
        };
        // Otherwise a client could sign with a certificate of its own host.
        if !is_own {
            let fault = "is not issued to the sender";
            return Err(MaterialFault::malformed("the certificate", fault));
        }
        // PayPal's text depends on the webhook id, so each current id is tried.
        let made = message
            .texts
            .into_iter()
            .find(|(_, text)| certificate.verifies(message.algorithm, text, &message.signature));
        Ok(made.map(|(secret_index, text)| SignatureMatch {
            secret_index,
            digest: Sha256::digest(&text).into(),
            signed_time: None,
            validity: Some(ValidityWindow {
                name: "the certificate",
                from_ms: Some(certificate.valid_from_ms()),
                until_ms: Some(certificate.until_ms()),
            }),
        }))
    }
}

/// Reports contradictions that do not depend on the secrets.
pub(super) fn check(family: &CertificateSpec) -> Result<(), SchemeError> {
    match family.kind {
        kind if kind.needs_audience() && family.topics.is_empty() => {
            Err(SchemeError::NeedsAudience)
        }
        _ => Ok(()),
    }
}
