//! HMAC schemes: a signature over a template that contains the body once.
//!
//! Each key is prepared once at load time; a request clones the keyed state. With several current secrets, each MAC
//! runs over the same bytes, and every signature of the request is compared with every MAC without an early exit.

use http::HeaderName;

use crate::model::secret::Secret;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::key;
use crate::scheme::mac::KeyedMac;
use crate::scheme::material::{PresentedProof, SignatureMaterial};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::read_head;
use crate::scheme::secret_set::SecretSet;
use crate::scheme::sent_timestamp::SentTimestamp;
use crate::scheme::sign::{self, SignError, SignatureParts, ToSign};
use crate::scheme::signature_format;
use crate::scheme::signature_format::{SignatureFormat, SignatureList};
use crate::scheme::signature_match::SignatureMatch;
use crate::scheme::spec::{
    HmacSpec, ListSpec, SchemeLocation, SchemeSpec, TemplatePart, TimestampSpec,
};
use crate::scheme::template::{SplitTemplate, TemplateValues};

/// A compiled HMAC scheme with its keys.
pub struct HmacScheme {
    /// Positions of the secrets, and their keys; a text with two forms has two keys.
    keyed: Box<[(usize, KeyedMac)]>,
    secret_count: usize,
    location: SchemeLocation,
    list: Option<ListSpec>,
    written: SignatureFormat,
    timestamp: Option<TimestampSpec>,
    signed: SplitTemplate,
    /// Header of the event id, signed or not.
    id_header: Option<HeaderName>,
    headers: Box<[HeaderName]>,
}

/// An HMAC verification in progress.
pub(super) struct HmacVerifier<'a> {
    scheme: &'a HmacScheme,
    material: SignatureMaterial<'a>,
    head: RequestHead<'a>,
    /// First key, separate from the others so that the usual single secret costs no allocation.
    first: Option<(usize, KeyedMac)>,
    rest: Vec<(usize, KeyedMac)>,
}

impl HmacScheme {
    /// Validates the spec and prepares the keys.
    pub(super) fn compile(
        spec: &SchemeSpec,
        family: &HmacSpec,
        secrets: &[&Secret],
        public_url: Option<&str>,
    ) -> Result<Self, SchemeError> {
        // Check the spec before the secrets, so that its errors do not depend on them.
        let signed = check(spec, family, public_url)?;
        let mut keyed = Vec::with_capacity(secrets.len());
        for (index, secret) in secrets.iter().enumerate() {
            // If the text of a secret fits two forms, only a request shows which one the sender uses, so each gets a
            // MAC.
            for key in key::decode_all(&family.secret, secret)? {
                let mac = KeyedMac::new(family.algorithm, key.expose());
                keyed.push((index, mac.ok_or(SchemeError::SecretEmpty)?));
            }
        }
        Ok(Self {
            keyed: keyed.into(),
            secret_count: secrets.len(),
            location: family.signature.location.clone(),
            list: family.signature.list.clone(),
            written: SignatureFormat {
                algorithm: family.algorithm,
                encoding: family.encoding,
                prefix: family.signature.prefix.as_str().into(),
            },
            timestamp: family.timestamp.clone(),
            headers: spec.headers().into(),
            id_header: spec.id_header().cloned(),
            signed,
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

    /// Reads the proof and the signed values from the head.
    pub(super) fn material<'h>(
        &self,
        head: &RequestHead<'h>,
    ) -> Result<SignatureMaterial<'h>, MaterialFault> {
        let value = read_head::read(head, &self.location)?;
        let malformed = |fault| self.location.malformed(fault);
        let (signatures, listed) = match &self.list {
            None => {
                let first = self.written.parse(&value).map_err(malformed)?;
                let rest = Vec::new();
                (SignatureList { first, rest }, None)
            }
            Some(list) => {
                let key = self.timestamp.as_ref().and_then(|spec| spec.key.as_deref());
                let found = signature_format::parse_list(&value, list, &self.written, key);
                let found = found.map_err(malformed)?;
                (found.signatures, found.timestamp)
            }
        };
        let timestamp = match &self.timestamp {
            None => None,
            Some(spec) => Some(read_timestamp(head, spec, listed)?),
        };
        // The template reads these headers again while it feeds the MACs, when it is too late for an error.
        for header in self.signed.headers() {
            read_head::read_header(head, header)?;
        }
        let id = match &self.signed.id_header {
            None => &[],
            Some(header) => read_id(head, header)?,
        };
        Ok(SignatureMaterial {
            proof: PresentedProof::Signatures(signatures),
            timestamp,
            id,
        })
    }

    /// Begins the verification of one request.
    pub(super) fn begin<'a>(
        &'a self,
        material: SignatureMaterial<'a>,
        head: RequestHead<'a>,
        current: SecretSet,
    ) -> HmacVerifier<'a> {
        let mut chosen = self
            .keyed
            .iter()
            .filter(|(index, _)| current.contains(*index))
            .cloned();
        let mut verifier = HmacVerifier {
            scheme: self,
            first: chosen.next(),
            rest: chosen.collect(),
            material,
            head,
        };
        // The parts before the body are known now, so feed them before the body.
        verifier.feed(&self.signed.before);
        verifier
    }

    /// Signs a request as the sender does.
    pub(super) fn sign(
        &self,
        index: usize,
        to_sign: &ToSign<'_>,
    ) -> Result<SignatureParts, SignError> {
        let mut keyed = self.keyed.iter();
        let keyed = keyed.find(|(found, _)| *found == index);
        let mut mac = keyed.ok_or(SignError::NoSecret)?.1.clone();
        let timestamp = match &self.timestamp {
            None => String::new(),
            Some(spec) => sign::timestamp_text(spec.unit, to_sign.unix_ms)?,
        };
        let id = to_sign.id.unwrap_or_default();
        // An empty id would be verified as malformed.
        if self.signed.id_header.is_some() && id.is_empty() {
            return Err(SignError::NoId);
        }
        for header in self.signed.headers() {
            read_head::read_header(&to_sign.head, header).map_err(|_| SignError::NoHeader)?;
        }
        let values = TemplateValues {
            timestamp: timestamp.as_bytes(),
            id: id.as_bytes(),
        };
        let signed = &self.signed;
        signed.feed(&signed.before, &to_sign.head, &values, |text| {
            mac.update(text)
        });
        mac.update(to_sign.body);
        signed.feed(&signed.after, &to_sign.head, &values, |text| {
            mac.update(text)
        });
        let digest = mac.finish().ok_or(SignError::NoSecret)?;

        let mut stamp = SignatureParts::default();
        let signature = self.written.encode(&digest);
        let mut value = match &self.list {
            Some(list) if !list.key.is_empty() => {
                format!("{}{}{signature}", list.key, list.assign)
            }
            _ => signature,
        };
        match (&self.timestamp, &self.list) {
            (Some(TimestampSpec { key: Some(key), .. }), Some(list)) => {
                let separator = list.separator;
                // With an empty key the timestamp is the first of the bare values.
                let assigned = match key.is_empty() {
                    true => String::new(),
                    false => format!("{key}{}", list.assign),
                };
                value = format!("{assigned}{timestamp}{separator}{value}");
            }
            (Some(spec), _) => stamp.put(&spec.location, timestamp),
            (None, _) => {}
        }
        stamp.put(&self.location, value);
        // Also for a scheme that does not sign the id: the receiver identifies the event by this header.
        if let Some(header) = self.id_header.as_ref().filter(|_| !id.is_empty()) {
            stamp.headers.push((header.clone(), id.to_owned()));
        }
        Ok(stamp)
    }
}

/// Reports contradictions that do not depend on the secrets.
pub(super) fn check(
    spec: &SchemeSpec,
    family: &HmacSpec,
    public_url: Option<&str>,
) -> Result<SplitTemplate, SchemeError> {
    let is_listed = |timestamp: &TimestampSpec| timestamp.is_beside(&family.signature);
    if !family.timestamp.as_ref().is_none_or(is_listed) {
        return Err(SchemeError::NoTimestampList);
    }
    SplitTemplate::compile(spec, public_url)
}

impl HmacVerifier<'_> {
    /// Feeds the next piece of the body.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        for (_, mac) in self.first.iter_mut().chain(&mut self.rest) {
            mac.update(chunk);
        }
    }

    fn feed(&mut self, parts: &[TemplatePart]) {
        let values = TemplateValues {
            timestamp: self.material.timestamp_text(),
            id: self.material.id,
        };
        let macs = (&mut self.first, &mut self.rest);
        self.scheme.signed.feed(parts, &self.head, &values, |text| {
            for (_, mac) in macs.0.iter_mut().chain(macs.1.iter_mut()) {
                mac.update(text);
            }
        });
    }

    /// Compares the proof; returns `None` if no current secret made it.
    pub(super) fn finish(mut self) -> Option<SignatureMatch> {
        self.feed(&self.scheme.signed.after);
        let PresentedProof::Signatures(signatures) = &self.material.proof else {
            return None;
        };
        let mut found = None;
        // Not one chain: each adapter would move its items, which are as large as a keyed state, once more.
        if let Some((index, mac)) = self.first {
            found = compare(signatures, index, mac)?;
        }
        if self.rest.is_empty() {
            return found;
        }
        for (index, mac) in self.rest {
            let matched = compare(signatures, index, mac)?;
            // The verdict names the secret, so timing that depends on its position reveals nothing.
            found = found.or(matched);
        }
        found
    }
}

/// Compares every signature with one MAC, without an early exit. The outer `None` means that there is no such digest.
fn compare(
    signatures: &SignatureList,
    secret_index: usize,
    mac: KeyedMac,
) -> Option<Option<SignatureMatch>> {
    let digest = mac.finish()?;
    // Bitwise or, so that the time does not depend on which signature matches.
    let mut is_equal = signatures.first.ct_eq(&digest);
    for signature in &signatures.rest {
        is_equal |= signature.ct_eq(&digest);
    }
    Some(bool::from(is_equal).then(|| SignatureMatch {
        secret_index,
        digest: digest.first_32(),
        signed_time: None,
        validity: None,
    }))
}

/// Reads the timestamp from its entry in the list, or from its own location.
fn read_timestamp(
    head: &RequestHead<'_>,
    spec: &TimestampSpec,
    listed: Option<&[u8]>,
) -> Result<SentTimestamp, MaterialFault> {
    let malformed = |fault| spec.location.malformed(fault);
    match &spec.key {
        Some(_) => {
            let text = listed.ok_or_else(|| malformed("contains no timestamp"))?;
            let timestamp = SentTimestamp::parse(text, spec.unit);
            timestamp.map_err(|_| malformed("has an invalid timestamp"))
        }
        None => {
            let text = read_head::read(head, &spec.location)?;
            SentTimestamp::parse(&text, spec.unit).map_err(malformed)
        }
    }
}

/// Reads an id of visible ASCII, which later stages need as well.
fn read_id<'h>(head: &RequestHead<'h>, header: &HeaderName) -> Result<&'h [u8], MaterialFault> {
    let id = read_head::read_header(head, header)?;
    if id.is_empty() || !id.iter().all(u8::is_ascii_graphic) {
        let fault = "is empty or contains characters other than visible ASCII";
        return Err(MaterialFault::malformed(header.as_str(), fault));
    }
    Ok(id)
}
