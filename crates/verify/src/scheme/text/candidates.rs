//! Signatures of a request at all locations of the scheme, each with its timestamp.

use std::borrow::Cow;

use crate::scheme::json_values::{PickedValue, ValuePicker};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::sent_timestamp::SentTimestamp;
use crate::scheme::sign;
use crate::scheme::signature_format;
use crate::scheme::spec::{
    ListSpec, SignMethod, SignatureEncoding, SignatureSpec, TextSpec, TimeUnit, TimestampSpec,
};
use crate::scheme::whole_request::WholeRequest;

/// Limit of signatures in one request. A sender that rotates its secret sends two.
const MAX_SIGNATURES: usize = 8;

/// The same limit for public keys, where each verification is expensive.
const MAX_KEY_SIGNATURES: usize = 3;

/// Limit of sets in one list. Each set has a text of its own, for which the whole body is hashed again. A sender that
/// rotates its secret sends two.
const MAX_SETS: usize = 4;

/// Limit of entries in one list, including those of other versions.
const MAX_ENTRIES: usize = 32;

/// Length of the longest signature in bytes, that of an RSA key with 8192 bits.
const MAX_SIGNATURE_LEN: usize = 1024;

/// Longest base64 of a JSON object around a signature. It is parsed before anything is verified; eBay sends 240 characters.
const MAX_ENVELOPE: usize = 4096;

/// Signatures over one text, and the values that the text needs.
pub(super) struct TextCandidate {
    pub(super) timestamp: Option<SentTimestamp>,
    /// Decoded signatures; at least one.
    pub(super) signatures: Vec<Vec<u8>>,
    /// Other entries of the list that contains the signatures.
    pub(super) entries: Vec<(String, String)>,
}

/// Reads all signatures that may match; returns at least one, or an error.
pub(super) fn read(
    spec: &TextSpec,
    whole: &WholeRequest<'_>,
) -> Result<Vec<TextCandidate>, MaterialFault> {
    let timestamp = match &spec.timestamp {
        Some(timestamp) if timestamp.key.is_none() => {
            Some(read_timestamp(timestamp, &spec.other_timestamps, whole)?)
        }
        _ => None,
    };
    read_signatures(spec, whole, timestamp.as_ref())
}

/// Reads the same without a timestamp at a location of its own, for a head whose body has not arrived.
pub(super) fn read_undated(
    spec: &TextSpec,
    whole: &WholeRequest<'_>,
) -> Result<Vec<TextCandidate>, MaterialFault> {
    read_signatures(spec, whole, None)
}

fn read_signatures(
    spec: &TextSpec,
    whole: &WholeRequest<'_>,
    timestamp: Option<&SentTimestamp>,
) -> Result<Vec<TextCandidate>, MaterialFault> {
    let candidates = match spec.signatures.as_slice() {
        [only] if only.list.is_some() => read_list(spec, only, whole, timestamp)?,
        places => {
            let mut signatures = Vec::new();
            for place in places {
                if let Some(value) = whole.read(&place.location)? {
                    let signature = match &place.base64_json {
                        None => decode(spec, &place.prefix, &value),
                        Some(pointer) => open_envelope(pointer, &value)
                            .and_then(|text| decode(spec, &place.prefix, text.as_bytes())),
                    };
                    signatures.push(signature.map_err(|fault| place.location.malformed(fault))?);
                }
            }
            // Name the first location in the error, because it is the usual one.
            if let ([], [first, ..]) = (signatures.as_slice(), places) {
                return Err(first.location.missing());
            }
            vec![TextCandidate {
                timestamp: timestamp.cloned(),
                signatures,
                entries: Vec::new(),
            }]
        }
    };
    let count: usize = candidates.iter().map(|one| one.signatures.len()).sum();
    let max = match spec.method {
        SignMethod::PublicKey { .. } => MAX_KEY_SIGNATURES,
        // The MAC is computed once, however many signatures it is compared with.
        SignMethod::Hmac(_) | SignMethod::Hash(_) => MAX_SIGNATURES.max(spec.signatures.len()),
    };
    match spec.signatures.first() {
        Some(first) if count > max => Err(first.location.malformed("has too many signatures")),
        _ => Ok(candidates),
    }
}

/// Reads the timestamp from the first location with a value.
fn read_timestamp(
    first: &TimestampSpec,
    others: &[TimestampSpec],
    whole: &WholeRequest<'_>,
) -> Result<SentTimestamp, MaterialFault> {
    for spec in std::iter::once(first).chain(others) {
        if let Some(value) = whole.read(&spec.location)? {
            let timestamp = SentTimestamp::parse(&value, spec.unit);
            return timestamp.map_err(|fault| spec.location.malformed(fault));
        }
    }
    Err(first.location.missing())
}

fn read_list(
    spec: &TextSpec,
    signature: &SignatureSpec,
    whole: &WholeRequest<'_>,
    shared: Option<&SentTimestamp>,
) -> Result<Vec<TextCandidate>, MaterialFault> {
    let place = &signature.location;
    let Some(list) = &signature.list else {
        return Ok(Vec::new());
    };
    let value = whole.read(place)?.ok_or_else(|| place.missing())?;
    let text = std::str::from_utf8(&value).map_err(|_| place.malformed("is not text"))?;
    let sets: Vec<&str> = match list.sets {
        // One more than the limit, to notice that there are too many.
        Some(separator) => text.split(separator).take(MAX_SETS + 1).collect(),
        None => vec![text],
    };
    if sets.len() > MAX_SETS {
        return Err(place.malformed("has too many signatures"));
    }
    let mut candidates = Vec::new();
    for set in sets {
        let candidate = read_set(spec, signature, list, set, shared);
        candidates.push(candidate.map_err(|fault| place.malformed(fault))?);
    }
    Ok(candidates)
}

fn read_set(
    spec: &TextSpec,
    signature: &SignatureSpec,
    list: &ListSpec,
    set: &str,
    shared: Option<&SentTimestamp>,
) -> Result<TextCandidate, &'static str> {
    let dated = spec.timestamp.as_ref();
    let timestamp_key = dated.and_then(|timestamp| timestamp.key.as_deref());
    let unit = dated.map_or(TimeUnit::Seconds, |timestamp| timestamp.unit);
    let mut timestamp = None;
    let mut signatures = Vec::new();
    let mut entries = Vec::new();
    for (count, entry) in set.split(list.separator).enumerate() {
        if count >= MAX_ENTRIES {
            return Err("has too many entries");
        }
        let (key, value) = signature_format::split_entry(entry, list)?;
        if signature_format::is_time(timestamp_key, key, timestamp.is_some()) {
            // With two times it would be unclear which one is signed.
            if timestamp.is_some() {
                return Err("has two timestamps");
            }
            timestamp = Some(SentTimestamp::parse(value.as_bytes(), unit)?);
        } else if list.any_key || key == list.key {
            signatures.push(decode(spec, &signature.prefix, value.as_bytes())?);
        } else {
            entries.push((key.to_owned(), value.to_owned()));
        }
    }
    if signatures.is_empty() {
        return Err("contains no signature of this scheme's version");
    }
    if timestamp_key.is_some() && timestamp.is_none() {
        return Err("contains no timestamp");
    }
    Ok(TextCandidate {
        // A set without a time of its own uses the one of the request.
        timestamp: timestamp.or_else(|| shared.cloned()),
        signatures,
        entries,
    })
}

/// Returns the text at a pointer of a JSON object in base64.
fn open_envelope(pointer: &[String], value: &[u8]) -> Result<String, &'static str> {
    if value.len() > MAX_ENVELOPE {
        return Err("is too long");
    }
    let json = sign::decode(SignatureEncoding::Base64, value).ok_or("is not base64")?;
    let picked = ValuePicker::new([pointer]).pick(&json);
    match picked.map(|mut picked| picked.pop()) {
        Ok(Some(PickedValue::Text(text))) => Ok(Cow::into_owned(text)),
        Ok(Some(PickedValue::Duplicate)) => Err("contains two signatures"),
        Ok(_) => Err("contains no signature"),
        Err(_) => Err("is not base64 of a JSON object"),
    }
}

/// Decodes one signature and checks its length.
fn decode(spec: &TextSpec, prefix: &str, value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let text = value
        .strip_prefix(prefix.as_bytes())
        .ok_or("does not begin with the prefix of this scheme's signatures")?;
    if text.is_empty() {
        return Err("is empty");
    }
    // Hexadecimal is the longest encoding, with two characters for each byte.
    if text.len() > MAX_SIGNATURE_LEN * 2 {
        return Err("is too long");
    }
    let decoded = sign::decode(spec.encoding, text).ok_or(spec.encoding.fault())?;
    let is_fit = match &spec.method {
        SignMethod::Hmac(algorithm) | SignMethod::Hash(algorithm) => {
            decoded.len() == crate::scheme::mac::digest_len(*algorithm)
        }
        SignMethod::PublicKey { .. } => !decoded.is_empty(),
    };
    is_fit
        .then_some(decoded)
        .ok_or("does not have the length of a signature")
}
