//! Signatures over a text that needs the whole body: form and JSON values, several locations, plain digests, public
//! keys.
//!
//! The head is checked first, so a request with a missing or malformed signature in the head is rejected before its
//! body is read. Only the whole request decides.

mod candidates;
mod compose;
mod prover;

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::model::secret::Secret;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::material::{PresentedProof, SignatureMaterial};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::public_key::SignedText;
use crate::scheme::secret_set::SecretSet;
use crate::scheme::sent_timestamp::SignedTime;
use crate::scheme::sign::{self, SignError, SignatureParts, ToSign};
use crate::scheme::signature_match::SignatureMatch;
use crate::scheme::spec::{
    RequirementRule, SchemeLocation, SchemeRequirement, SchemeSpec, SignMethod, TemplatePart,
    TextSpec, TimestampSpec,
};
use crate::scheme::text::candidates::TextCandidate;
use crate::scheme::text::compose::TextComposer;
use crate::scheme::text::prover::TextProver;
use crate::scheme::whole_request::{JsonPointers, WholeRequest};
use crate::scheme::{key, public_url};

/// A compiled scheme over a whole text, with its keys.
pub struct TextScheme {
    /// Positions of the secrets, and their keys; a text with two forms has two keys.
    provers: Box<[(usize, TextProver)]>,
    secret_count: usize,
    spec: TextSpec,
    pointers: JsonPointers,
    public_url: Box<str>,
    id_header: Option<HeaderName>,
    headers: Box<[HeaderName]>,
}

/// A text verification in progress.
pub(super) struct TextVerifier<'a> {
    scheme: &'a TextScheme,
    head: RequestHead<'a>,
    current: SecretSet,
}

impl TextScheme {
    /// Validates the spec and prepares the keys.
    pub(super) fn compile(
        spec: &SchemeSpec,
        family: &TextSpec,
        secrets: &[&Secret],
        public_url: Option<&str>,
    ) -> Result<Self, SchemeError> {
        check(spec, family, public_url)?;
        let mut provers = Vec::with_capacity(secrets.len());
        for (index, secret) in secrets.iter().enumerate() {
            for key in key::decode_all(&family.secret, secret)? {
                provers.push((index, TextProver::new(&family.method, &key)?));
            }
        }
        Ok(Self {
            provers: provers.into(),
            secret_count: secrets.len(),
            spec: family.clone(),
            pointers: JsonPointers::new(spec.pointers()),
            public_url: public_url.unwrap_or_default().into(),
            id_header: spec.id_header().cloned(),
            headers: spec.headers().into(),
        })
    }

    /// Returns the headers that this scheme reads.
    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Returns the number of secrets.
    pub(super) fn secret_count(&self) -> usize {
        self.secret_count
    }

    /// Validates the values that are in the head already.
    pub(super) fn material<'h>(
        &self,
        head: &RequestHead<'h>,
    ) -> Result<SignatureMaterial<'h>, MaterialFault> {
        let whole = WholeRequest::new(*head, &[], &self.pointers);
        let in_head = self
            .spec
            .require
            .iter()
            .filter(|one| one.location.is_in_head());
        in_head
            .into_iter()
            .try_for_each(|one| require(&whole, one))?;
        let mut timestamp = None;
        if self
            .spec
            .signatures
            .iter()
            .all(|one| one.location.is_in_head())
        {
            let found = if self.is_dated_in_head() {
                candidates::read(&self.spec, &whole)?
            } else {
                candidates::read_undated(&self.spec, &whole)?
            };
            // With several sets, the time of the matching one counts.
            if let [only] = found.as_slice() {
                timestamp.clone_from(&only.timestamp);
            }
        }
        Ok(SignatureMaterial {
            proof: PresentedProof::Whole,
            timestamp,
            id: &[],
        })
    }

    fn is_dated_in_head(&self) -> bool {
        let others = &self.spec.other_timestamps;
        let timestamp = self.spec.timestamp.as_ref();
        timestamp.is_some_and(|timestamp| {
            timestamp.location.is_in_head() && others.iter().all(|one| one.location.is_in_head())
        })
    }

    /// Begins the verification of one request.
    pub(super) fn begin<'a>(
        &'a self,
        head: RequestHead<'a>,
        current: SecretSet,
    ) -> TextVerifier<'a> {
        TextVerifier {
            scheme: self,
            head,
            current,
        }
    }

    /// Signs a request with a secret. See [`crate::scheme::Scheme::sign`]; a public key cannot sign, and the body is
    /// never changed.
    pub(super) fn sign(
        &self,
        index: usize,
        to_sign: &ToSign<'_>,
    ) -> Result<SignatureParts, SignError> {
        let mut provers = self.provers.iter();
        let prover = provers.find(|(found, _)| *found == index);
        let (_, prover) = prover.ok_or(SignError::NoSecret)?;
        let [signature] = self.spec.signatures.as_slice() else {
            return Err(SignError::NoWay);
        };
        let written = match &self.spec.timestamp {
            None => String::new(),
            Some(TimestampSpec { key: Some(_), .. }) => return Err(SignError::NoWay),
            Some(spec) => sign::timestamp_text(spec.unit, to_sign.unix_ms)?,
        };
        // The body must not change, and a list may need entries that only the sender knows.
        let is_plain = signature.list.is_none() && signature.base64_json.is_none();
        if !signature.location.is_in_head() || !is_plain {
            return Err(SignError::NoWay);
        }
        // A list of signed headers may include the header of the timestamp, which gets its value only now.
        let mut headers = Cow::Borrowed(to_sign.head.headers);
        if let Some(SchemeLocation::Header(name)) =
            self.spec.timestamp.as_ref().map(|time| &time.location)
        {
            let value = HeaderValue::from_str(&written).map_err(|_| SignError::NoHeader)?;
            headers.to_mut().insert(name, value);
        }
        let head = RequestHead {
            headers: &headers,
            ..to_sign.head
        };
        let whole = WholeRequest::new(head, to_sign.body, &self.pointers);
        let composer = TextComposer {
            whole: &whole,
            public_url: &self.public_url,
            timestamp: Some(written.as_bytes()),
            entries: &[],
            id: to_sign.id.map(str::as_bytes),
        };
        let text = composer.compose(&self.spec.signed.parts, prover.text_secret());
        let text = text.map_err(|_| SignError::NoHeader)?;
        let proof = prover.prove(&text).ok_or(SignError::NoWay)?;
        let mut stamp = SignatureParts::default();
        let value = sign::encode(self.spec.encoding, proof.as_bytes());
        stamp.put(&signature.location, format!("{}{value}", signature.prefix));
        if let Some(spec) = &self.spec.timestamp {
            stamp.put(&spec.location, written);
        }
        if let (Some(header), Some(id)) = (&self.id_header, to_sign.id) {
            stamp.headers.push((header.clone(), id.to_owned()));
        }
        Ok(stamp)
    }
}

impl TextVerifier<'_> {
    /// Compares the proof; returns `None` if no current secret made it.
    pub(super) fn finish(self, body: &[u8]) -> Result<Option<SignatureMatch>, MaterialFault> {
        let scheme = self.scheme;
        let whole = WholeRequest::new(self.head, body, &scheme.pointers);
        // Rules first: they are cheap, and a signature is meaningless if a rule is broken.
        for one in &scheme.spec.require {
            require(&whole, one)?;
        }
        let candidates = candidates::read(&scheme.spec, &whole)?;
        // Few combinations: at most two URLs and a bounded number of candidates.
        for public_url in &self.public_urls() {
            for candidate in &candidates {
                if let Some(found) = self.try_candidate(&whole, candidate, public_url)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Returns the forms of the URL that may be signed; at least one.
    fn public_urls(&self) -> Vec<Cow<'_, str>> {
        let own = &self.scheme.public_url;
        if !self.scheme.spec.either_port || own.is_empty() {
            return vec![Cow::Borrowed(own)];
        }
        let forms = public_url::port_forms(own, public_url::requested_port(&self.head));
        forms.map(Cow::Owned).into()
    }

    fn try_candidate(
        &self,
        whole: &WholeRequest<'_>,
        candidate: &TextCandidate,
        public_url: &str,
    ) -> Result<Option<SignatureMatch>, MaterialFault> {
        let scheme = self.scheme;
        let id = match &scheme.id_header {
            None => None,
            Some(name) => whole.read(&SchemeLocation::Header(name.clone()))?,
        };
        let composer = TextComposer {
            whole,
            public_url,
            timestamp: candidate.timestamp.as_ref().map(|time| time.text()),
            entries: &candidate.entries,
            id: id.as_deref(),
        };
        let parts = &scheme.spec.signed.parts;
        let current = scheme.provers.iter();
        let mut current = current.filter(|(index, _)| self.current.contains(*index));
        let found = |secret_index, text: &[u8]| SignatureMatch {
            secret_index,
            digest: Sha256::digest(text).into(),
            signed_time: candidate.timestamp.as_ref().map(SignedTime::of),
            validity: None,
        };
        if !matches!(scheme.spec.method, SignMethod::Hash(_)) {
            // One text for all secrets: composing it costs more than a MAC over it.
            let text = composer.compose(parts, &[])?;
            let signed = SignedText::new(&text);
            let made = current.find(|(_, prover)| prover.verifies(&signed, &candidate.signatures));
            return Ok(made.map(|(index, _)| found(*index, &text)));
        }
        for (index, prover) in current {
            // The text contains the secret, so each secret has a text of its own.
            let text = composer.compose(parts, prover.text_secret())?;
            if prover.verifies(&SignedText::new(&text), &candidate.signatures) {
                return Ok(Some(found(*index, &text)));
            }
        }
        Ok(None)
    }
}

/// Reports contradictions that do not depend on the secrets.
pub(super) fn check(
    spec: &SchemeSpec,
    family: &TextSpec,
    public_url: Option<&str>,
) -> Result<(), SchemeError> {
    let template = &family.signed;
    if family.signatures.is_empty() {
        return Err(SchemeError::NoSignaturePlace);
    }
    if template.holds(&TemplatePart::Timestamp) && family.timestamp.is_none() {
        return Err(SchemeError::NoTimestamp);
    }
    let is_hash = matches!(family.method, SignMethod::Hash(_));
    // A plain digest without the secret proves nothing, and an HMAC has its key elsewhere.
    if template.holds(&TemplatePart::Secret) != is_hash {
        return Err(SchemeError::SecretPart);
    }
    let needs_url = |part: &TemplatePart| {
        matches!(
            part,
            TemplatePart::Url
                | TemplatePart::UrlNoQuery
                | TemplatePart::UrlDecoded
                | TemplatePart::UrlFormSorted
                | TemplatePart::Host
        )
    };
    if template.any(&needs_url) && public_url.is_none() {
        return Err(SchemeError::NeedsPublicUrl);
    }
    if template.holds(&TemplatePart::Id) && spec.id_header().is_none() {
        return Err(SchemeError::NoIdHeader);
    }
    let signs_query = |part: &TemplatePart| {
        matches!(
            part,
            TemplatePart::Url
                | TemplatePart::UrlDecoded
                | TemplatePart::UrlFormSorted
                | TemplatePart::PathQuery
        )
    };
    let in_query = |place: &SchemeLocation| matches!(place, SchemeLocation::Query(_));
    // The signature would be a part of the text that it is made from.
    if template.any(&signs_query) && family.signatures.iter().any(|one| in_query(&one.location)) {
        return Err(SchemeError::SignatureSignsItself);
    }
    let has_lists = family.signatures.iter().any(|one| one.list.is_some());
    // Each set of a list has its own timestamp and entries; at a second location it would be unclear whose apply.
    if has_lists && family.signatures.len() > 1 {
        return Err(SchemeError::ListAmongPlaces);
    }
    let has_entries = |part: &TemplatePart| matches!(part, TemplatePart::Entry(_));
    if template.any(&has_entries) && !has_lists {
        return Err(SchemeError::NoEntryList);
    }
    let is_listed = |timestamp: &TimestampSpec| {
        let mut signatures = family.signatures.iter();
        timestamp.key.is_none() || signatures.any(|one| timestamp.is_beside(one))
    };
    if !family.timestamp.as_ref().is_none_or(is_listed) {
        return Err(SchemeError::NoTimestampList);
    }
    let is_keyed = |timestamp: &TimestampSpec| timestamp.key.is_some();
    let timestamps = family.timestamp.iter().chain(&family.other_timestamps);
    if !family.other_timestamps.is_empty() && timestamps.into_iter().any(is_keyed) {
        return Err(SchemeError::ListAmongTimestamps);
    }
    Ok(())
}

fn require(whole: &WholeRequest<'_>, one: &SchemeRequirement) -> Result<(), MaterialFault> {
    let value = whole.read(&one.location)?;
    let fault = match (&one.rule, value) {
        (RequirementRule::Is(_), None) => return Err(one.location.missing()),
        (RequirementRule::Is(wanted), Some(value)) if *value != *wanted.as_bytes() => {
            "does not have the value that this scheme requires"
        }
        (RequirementRule::Without(text), Some(value)) if holds(&value, text.as_bytes()) => {
            "contains the text that separates the signed values"
        }
        (RequirementRule::Absent, Some(_)) => "is present, but this scheme does not sign it",
        _ => return Ok(()),
    };
    Err(one.location.malformed(fault))
}

fn holds(value: &[u8], text: &[u8]) -> bool {
    // `windows` panics for a length of 0; the parser of `without` rejects an empty text.
    value.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests;
