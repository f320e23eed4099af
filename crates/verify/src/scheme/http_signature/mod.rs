//! HTTP Message Signatures (RFC 9421), with `Content-Digest` (RFC 9530) for the body.
//!
//! The whole signed text is in the head, so a request without a valid signature is rejected before its body is read.
//! The body is compared with its digest as it arrives. The sender chooses what a signature covers, but the operator
//! sets what it must cover. A signature that covers less is rejected, whatever its key.

mod base;
pub(in crate::scheme) mod component;
mod digest;
mod field_text;
mod field_type;
pub(in crate::scheme) mod fields;
mod origin;

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Item, Key, ListEntry};
use sha2::{Digest as _, Sha256};

use crate::model::secret::Secret;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::http_signature::base::ComponentValues;
use crate::scheme::http_signature::digest::RunningDigest;
use crate::scheme::http_signature::field_text::{SIGNATURE, SIGNATURE_INPUT};
use crate::scheme::http_signature::fields::HttpCandidate;
use crate::scheme::http_signature::origin::PublicOrigin;
use crate::scheme::key;
use crate::scheme::mac::{DigestBytes, KeyedMac};
use crate::scheme::material::{PresentedProof, SignatureMaterial};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::public_key::PublicKey;
use crate::scheme::secret_set::SecretSet;
use crate::scheme::sent_timestamp::SignedTime;
use crate::scheme::sign::{SignError, SignatureParts, ToSign};
use crate::scheme::signature_match::{SignatureMatch, ValidityWindow};
use crate::scheme::spec::{
    CONTENT_DIGEST, DigestAlgorithm, HttpAlgorithm, HttpParameter, HttpSpec, SchemeSpec,
    SignatureComponent,
};

/// A compiled scheme of HTTP Message Signatures with its keys.
pub struct HttpScheme {
    keys: Box<[HttpKey]>,
    spec: HttpSpec,
    origin: Option<PublicOrigin>,
    headers: Box<[HeaderName]>,
}

/// A verification in progress; the signature is verified already.
pub(super) struct HttpVerifier {
    /// The signature that a key verified, with the position of that key.
    found: Option<(usize, HttpCandidate)>,
    digests: Vec<RunningDigest>,
}

enum HttpKey {
    Hmac(Box<KeyedMac>),
    Public(Box<PublicKey>),
}

impl HttpKey {
    fn new(algorithm: HttpAlgorithm, key: &Secret) -> Result<Self, SchemeError> {
        match algorithm {
            HttpAlgorithm::HmacSha256 => KeyedMac::new(DigestAlgorithm::Sha256, key.expose())
                .map(Box::new)
                .map(Self::Hmac)
                .ok_or(SchemeError::SecretEmpty),
            HttpAlgorithm::PublicKey(algorithm) => PublicKey::parse(algorithm, key.expose())
                .map(Box::new)
                .map(Self::Public),
        }
    }

    fn mac(&self, text: &[u8]) -> Option<DigestBytes> {
        let Self::Hmac(mac) = self else {
            return None;
        };
        let mut mac = KeyedMac::clone(mac);
        mac.update(text);
        mac.finish()
    }

    fn verifies(&self, candidate: &HttpCandidate) -> bool {
        if let Self::Public(key) = self {
            return key.verifies(&candidate.base, &candidate.signature);
        }
        match (
            self.mac(&candidate.base),
            DigestBytes::new(&candidate.signature),
        ) {
            (Some(made), Some(shown)) => made.ct_eq(&shown).into(),
            _ => false,
        }
    }
}

impl HttpScheme {
    /// Validates the spec and prepares the keys.
    pub(super) fn compile(
        spec: &SchemeSpec,
        family: &HttpSpec,
        secrets: &[&Secret],
        public_url: Option<&str>,
    ) -> Result<Self, SchemeError> {
        check(family, public_url)?;
        let mut keys = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let key = key::decode(&family.secret, secret)?;
            keys.push(HttpKey::new(family.algorithm, &key)?);
        }
        Ok(Self {
            keys: keys.into(),
            spec: family.clone(),
            origin: public_url.and_then(PublicOrigin::parse),
            headers: spec.headers().into(),
        })
    }

    /// Returns the headers that this scheme reads.
    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Returns the number of secrets.
    pub(super) fn secret_count(&self) -> usize {
        self.keys.len()
    }

    /// Reads the proof and the signed values from the head.
    pub(super) fn material<'h>(
        &self,
        head: &RequestHead<'h>,
    ) -> Result<SignatureMaterial<'h>, MaterialFault> {
        let candidates = fields::read(&self.spec, self.origin.as_ref(), head)?;
        // With several signatures, the time of the one that a key verifies counts.
        let timestamp = match candidates.as_slice() {
            [only] => only.created.clone(),
            _ => None,
        };
        Ok(SignatureMaterial {
            proof: PresentedProof::Http(candidates),
            timestamp,
            id: &[],
        })
    }

    /// Begins the verification of one request.
    pub(super) fn begin(
        &self,
        material: SignatureMaterial<'_>,
        current: SecretSet,
    ) -> HttpVerifier {
        let candidates = match material.proof {
            PresentedProof::Http(candidates) => candidates,
            _ => Vec::new(),
            // Verify before the body is read: only the digest of the body is left for later.
        };
        let mut found = candidates.into_iter().find_map(|candidate| {
            let mut keys = self.keys.iter().enumerate();
            let (index, _) =
                keys.find(|(index, key)| current.contains(*index) && key.verifies(&candidate))?;
            Some((index, candidate))
        });
        let digests = found
            .as_mut()
            .map(|(_, one)| std::mem::take(&mut one.digests));
        let digests = digests
            .unwrap_or_default()
            .into_iter()
            .map(RunningDigest::new);
        HttpVerifier {
            digests: digests.collect(),
            found,
        }
    }

    /// Signs with an HMAC. See [`crate::scheme::Scheme::sign`]; a public key cannot sign.
    pub(super) fn sign(
        &self,
        index: usize,
        to_sign: &ToSign<'_>,
    ) -> Result<SignatureParts, SignError> {
        let key = self.keys.get(index).ok_or(SignError::NoSecret)?;
        let mut stamp = SignatureParts::default();
        // The digest header must be in place before the signed text is composed, because the signature covers it.
        let mut headers: HeaderMap = to_sign.head.headers.clone();
        if self.spec.signs_body() {
            let digest = BASE64.encode(&Sha256::digest(to_sign.body));
            let digest = format!("sha-256=:{digest}:");
            let value = HeaderValue::from_str(&digest).map_err(|_| SignError::NotText)?;
            headers.insert(CONTENT_DIGEST, value);
            stamp.headers.push((CONTENT_DIGEST, digest));
        }
        let list = self.parameters(to_sign).ok_or(SignError::Time)?;
        let head = RequestHead {
            headers: &headers,
            ..to_sign.head
        };
        let values = ComponentValues::new(&head, self.origin.as_ref());
        let (base, _) = values.base(&list).map_err(|_| SignError::NoHeader)?;
        let signature = key.mac(&base).ok_or(SignError::NoWay)?;
        let label = self.spec.label.as_deref().unwrap_or("sig1");
        let input = sfv::FieldType::serialize(&vec![ListEntry::InnerList(list)]);
        let input = format!("{label}={}", input.unwrap_or_default());
        let signature = format!("{label}=:{}:", BASE64.encode(signature.as_bytes()));
        stamp.headers.push((SIGNATURE_INPUT, input));
        stamp.headers.push((SIGNATURE, signature));
        Ok(stamp)
    }

    /// Builds the covered components and parameters for a signature of the gate itself.
    fn parameters(&self, to_sign: &ToSign<'_>) -> Option<sfv::InnerList> {
        let components = self.spec.components.iter();
        let items = components.map(|one| sfv::Parser::new(&one.identifier).parse::<Item>().ok());
        let mut list = sfv::InnerList::new(items.collect::<Option<Vec<_>>>()?);
        let created = to_sign.unix_ms.div_euclid(1000);
        let mut put = |name: HttpParameter, value: BareItem| {
            let key = Key::from_string(name.name().to_owned()).ok()?;
            list.params.insert(key, value);
            Some(())
        };
        let text = |text: &str| {
            sfv::String::from_string(text.to_owned())
                .ok()
                .map(BareItem::String)
        };
        // Always present, so that verifiers can limit the age.
        put(HttpParameter::Created, integer(created)?)?;
        // Five minutes, like the default `tolerance` of a route.
        if self.spec.requires(HttpParameter::Expires) {
            put(
                HttpParameter::Expires,
                integer(created.saturating_add(300))?,
            )?;
        }
        if let Some(keyid) = self.spec.keyids.first() {
            put(HttpParameter::KeyId, text(keyid)?)?;
        }
        if let Some(tag) = &self.spec.tag {
            put(HttpParameter::Tag, text(tag)?)?;
        }
        if self.spec.requires(HttpParameter::Alg) {
            put(HttpParameter::Alg, text(self.spec.algorithm.name())?)?;
        }
        Some(list)
    }
}

fn integer(number: i64) -> Option<BareItem> {
    sfv::Integer::try_from(number).ok().map(BareItem::Integer)
}

impl HttpVerifier {
    /// Returns whether no key verified any of the signatures.
    pub(super) fn is_hopeless(&self) -> bool {
        self.found.is_none()
    }

    /// Feeds the next piece of the body.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        for digest in &mut self.digests {
            digest.update(chunk);
        }
    }

    /// Compares the proof; returns `None` if no current secret made it.
    pub(super) fn finish(self) -> Result<Option<SignatureMatch>, MaterialFault> {
        let Some((secret_index, candidate)) = self.found else {
            return Ok(None);
        };
        // The signature covers only the digest; the body itself is compared here.
        if !self.digests.into_iter().all(RunningDigest::finish) {
            let fault = "is not the digest of the body";
            return Err(MaterialFault::malformed(CONTENT_DIGEST.as_str(), fault));
        }
        Ok(Some(SignatureMatch {
            secret_index,
            digest: Sha256::digest(&candidate.base).into(),
            signed_time: candidate.created.as_ref().map(SignedTime::of),
            validity: candidate.expires.map(|expires| ValidityWindow {
                name: "the signature",
                from_ms: None,
                until_ms: Some(expires.saturating_mul(1000)),
            }),
        }))
    }
}

/// Reports contradictions that do not depend on the secrets.
pub(super) fn check(family: &HttpSpec, public_url: Option<&str>) -> Result<(), SchemeError> {
    let needs_url = family
        .components
        .iter()
        .any(SignatureComponent::needs_public_url);
    if needs_url && public_url.is_none() {
        return Err(SchemeError::NeedsPublicUrl);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
