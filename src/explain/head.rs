//! Hypotheses about headers: renamed, dropped, doubled or cut, and other signature formats.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use hookgate_verify::scheme::spec::{
    DigestAlgorithm, SchemeFamily, SchemeLocation, SchemeSpec, SignMethod, SignatureEncoding,
    SignatureSpec, TokenLocation,
};
use hookgate_verify::scheme::{Scheme, ToSign};
use http::{HeaderName, HeaderValue};

use crate::explain::case::RefusalCase;
use crate::explain::cause::{CauseFinding, RefusalCause};
use crate::explain::time;
use crate::explain::trial::{TrialBudget, VerificationTrial};
use crate::gate::reject::Reject;

/// Maximum number of headers that are tried in place of a missing one.
const MAX_HEADERS: usize = 100;

/// Minimum number of matching characters of a signature that cannot be a coincidence.
const SURE: usize = 16;

/// Digests to try, the most common ones first.
const ALGORITHMS: [DigestAlgorithm; 5] = [
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha1,
    DigestAlgorithm::Sha512,
    DigestAlgorithm::Sha384,
    DigestAlgorithm::Md5,
];

/// Finds the first change of the head under which the request verifies.
pub(super) fn find(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    // From the cheapest to the most expensive; `cut` needs no verification, but only makes sense if no try has passed.
    let found = renamed(case, hunt);
    let found = found.or_else(|| doubled(case, hunt));
    let found = found.or_else(|| written_otherwise(case, hunt));
    let found = found.or_else(|| other_version(case, hunt));
    found.or_else(|| cut(case))
}

/// Guesses why a header is missing, if no hypothesis verifies.
pub(super) fn guess(case: &RefusalCase<'_>) -> Option<CauseFinding> {
    let Reject::MissingMaterial { name } = case.reject else {
        return None;
    };
    let is_header = case.route.scheme.headers().iter().any(|own| *own == **name);
    // nginx and others drop such headers by default, which explains a missing header better than an unset secret.
    if is_header && name.contains('_') {
        return Some(RefusalCause::HeaderDropped.likely(name));
    }
    let detail = match case.proxy_evidence() {
        Some(proxy) => format!("`{name}` is not there (it came through a proxy: `{proxy}`)"),
        None => format!("`{name}` is not there"),
    };
    Some(RefusalCause::NotSigned.likely(&detail))
}

/// Tries the value of every other header in place of the missing one.
fn renamed(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let Reject::MissingMaterial { name } = case.reject else {
        return None;
    };
    let own = case.route.scheme.headers();
    let missing = own.iter().find(|own| own.as_str() == &**name)?;
    let headers = case.base.headers.iter().take(MAX_HEADERS);
    for (name, value) in headers {
        // Every header is tried, without regard to its name: a renamed one can have any.
        let trial = case.base.with_header(missing, value.clone());
        if hunt.passes(&trial) {
            return Some(RefusalCause::HeaderRenamed.proven(&format!("`{name}`")));
        }
    }
    None
}

/// Tries each single value of a header that has two, on two lines or joined.
fn doubled(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    for name in case.route.scheme.headers() {
        let lines: Vec<&HeaderValue> = case.base.headers.get_all(&name).iter().collect();
        let halves = match lines.as_slice() {
            // A proxy may have joined two equal values into one line (RFC 9110, section 5.3).
            [only] => half(only).into_iter().collect(),
            // Four lines are enough: more copies than that come from an attacker.
            several => several.iter().take(4).map(|one| (*one).clone()).collect(),
        };
        let halves: Vec<HeaderValue> = halves;
        for value in halves {
            if hunt.passes(&case.base.with_header(&name, value)) {
                return Some(RefusalCause::SignatureDoubled.proven(name.as_str()));
            }
        }
    }
    None
}

/// Returns the first half of a value that repeats itself, with or without a separator between the halves.
fn half(value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    for between in ["", ",", ", ", ";", " "] {
        let length = text.len().checked_sub(between.len())? / 2;
        let (first, last) = (text.get(..length)?, text.get(text.len() - length..)?);
        if length > 0 && first == last && text.len() == 2 * length + between.len() {
            let middle = text.get(length..length + between.len())?;
            if middle == between {
                return HeaderValue::from_str(first).ok();
            }
        }
    }
    None
}

/// Mutable parts of a scheme that define the format of its signature.
struct SignatureFormatMut<'s> {
    signature: &'s mut SignatureSpec,
    encoding: &'s mut SignatureEncoding,
    algorithm: Option<&'s mut DigestAlgorithm>,
}

/// Returns the format parts of a scheme, or `None` for families with a fixed format.
fn written(spec: &mut SchemeSpec) -> Option<SignatureFormatMut<'_>> {
    match &mut spec.family {
        SchemeFamily::Hmac(family) => Some(SignatureFormatMut {
            signature: &mut family.signature,
            encoding: &mut family.encoding,
            algorithm: Some(&mut family.algorithm),
        }),
        SchemeFamily::Text(family) => Some(SignatureFormatMut {
            signature: family.signatures.first_mut()?,
            encoding: &mut family.encoding,
            algorithm: match &mut family.method {
                SignMethod::Hmac(algorithm) | SignMethod::Hash(algorithm) => Some(algorithm),
                SignMethod::PublicKey { .. } => None,
            },
        }),
        SchemeFamily::Token(_)
        | SchemeFamily::Jwt(_)
        | SchemeFamily::Certificate(_)
        | SchemeFamily::Http(_) => None,
    }
}

/// Tries other prefixes, encodings and algorithms, and combinations of them.
fn written_otherwise(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    if let Some(finding) = token_prefix(case, hunt) {
        return Some(finding);
    }
    let mut spec = case.route.scheme.clone();
    let SignatureFormatMut {
        signature,
        encoding,
        algorithm,
    } = written(&mut spec)?;
    let own = (signature.prefix.clone(), *encoding, algorithm.copied());
    let value = case.value(&signature.location)?;
    // The scheme's prefix, no prefix, and the word that the sender wrote.
    let mut prefixes = vec![own.0.clone()];
    for prefix in [String::new(), leading_word(&value)] {
        if !prefixes.contains(&prefix) {
            prefixes.push(prefix);
        }
    }
    let algorithms: Vec<Option<DigestAlgorithm>> = match own.2 {
        None => vec![None],
        own => [own]
            .into_iter()
            .chain(ALGORITHMS.map(Some).into_iter().filter(|one| *one != own))
            .collect(),
    };
    // The route's own algorithm comes first, so that a mere difference of encoding is not reported as another
    // algorithm.
    for algorithm in algorithms {
        for prefix in &prefixes {
            for spelling in [
                SignatureSpelling::Own,
                SignatureSpelling::Hex,
                SignatureSpelling::Base64,
            ] {
                let way = SignatureVariant {
                    prefix,
                    spelling,
                    algorithm,
                };
                let Some(trial) = way.trial(case, &value) else {
                    continue;
                };
                if hunt.passes(&trial) {
                    return Some(way.finding(&own));
                }
            }
        }
    }
    None
}

/// Encoding of a signature to try.
#[derive(Clone, Copy)]
enum SignatureSpelling {
    Own,
    Hex,
    /// Any variant of base64: URL-safe or not, padded or not.
    Base64,
}

/// Combination of prefix, encoding and algorithm to try.
struct SignatureVariant<'w> {
    prefix: &'w str,
    spelling: SignatureSpelling,
    algorithm: Option<DigestAlgorithm>,
}

impl SignatureVariant<'_> {
    fn trial<'c>(&self, case: &RefusalCase<'c>, value: &str) -> Option<VerificationTrial<'c>> {
        let mut trial = case.base.clone();
        let written = written(trial.spec.to_mut())?;
        self.prefix.clone_into(&mut written.signature.prefix);
        if let (Some(slot), Some(algorithm)) = (written.algorithm, self.algorithm) {
            *slot = algorithm;
        }
        match self.spelling {
            SignatureSpelling::Own => {}
            SignatureSpelling::Hex => *written.encoding = SignatureEncoding::Hex,
            SignatureSpelling::Base64 => *written.encoding = SignatureEncoding::Base64UrlUnpadded,
        }
        // All variants of base64 are converted to one, so that a single try covers them.
        if matches!(self.spelling, SignatureSpelling::Base64) {
            let SchemeLocation::Header(name) = written.signature.location.clone() else {
                return Some(trial);
            };
            let value = HeaderValue::from_str(&url_safe(value)).ok()?;
            trial.headers.to_mut().insert(name, value);
        }
        Some(trial)
    }

    fn finding(&self, own: &(String, SignatureEncoding, Option<DigestAlgorithm>)) -> CauseFinding {
        if self.algorithm != own.2 {
            let name = self.algorithm.map(DigestAlgorithm::name);
            return RefusalCause::WrongAlgorithm.proven(name.unwrap_or("another one"));
        }
        match (self.spelling, self.prefix == own.0) {
            (SignatureSpelling::Own, _) | (_, false) => {
                let detail = match self.prefix {
                    "" => "no prefix".to_owned(),
                    // Safe to show: a leading word before `=` is recognized by its form and is not part of the
                    // signature.
                    prefix => format!("`{prefix}`"),
                };
                RefusalCause::SignaturePrefix.proven(&detail)
            }
            (SignatureSpelling::Hex, true) => RefusalCause::SignatureEncoding.proven("`hex`"),
            (SignatureSpelling::Base64, true) if own.1 == SignatureEncoding::Base64 => {
                RefusalCause::SignatureEncoding.proven("`base64url`, or base64 without padding")
            }
            (SignatureSpelling::Base64, true) if own.1 == SignatureEncoding::Hex => {
                RefusalCause::SignatureEncoding.proven("`base64`")
            }
            (SignatureSpelling::Base64, true) => {
                RefusalCause::SignatureEncoding.proven("`base64`, or with other padding")
            }
        }
    }
}

/// Tries a token without its prefix (`Bearer `), or with another one.
fn token_prefix(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let SchemeFamily::Token(token) = &case.route.scheme.family else {
        return None;
    };
    let TokenLocation::Header { name, prefix } = &token.location else {
        return None;
    };
    let value = case.value(&SchemeLocation::Header(name.clone()))?;
    // The token without the scheme's prefix; then each prefix that a sender may have used is removed too.
    let bare = value.strip_prefix(prefix.as_str()).unwrap_or(&value);
    for (found, detail) in [
        ("", "no prefix"),
        ("Bearer ", "`Bearer `"),
        ("Token ", "`Token `"),
    ] {
        let Some(bare) = bare.strip_prefix(found) else {
            continue;
        };
        let value = HeaderValue::from_str(&format!("{prefix}{bare}")).ok()?;
        if hunt.passes(&case.base.with_header(name, value)) {
            return Some(RefusalCause::SignaturePrefix.proven(detail));
        }
    }
    None
}

/// Returns a lower-case word before the signature, such as `sha1=`, or an empty text.
fn leading_word(value: &str) -> String {
    let end = value.find('=').filter(|end| (1..=12).contains(end));
    let word = end.and_then(|end| value.get(..=end)).unwrap_or_default();
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'=';
    // A word with capitals or other characters may be a part of a base64 signature, which must not be shown.
    match word.bytes().all(is_word) && word.len() < value.len() {
        true => word.to_owned(),
        false => String::new(),
    }
}

/// Converts any variant of base64 to URL-safe base64 without padding, in each entry of a list.
fn url_safe(value: &str) -> String {
    let text = value.replace('+', "-").replace('/', "_");
    text.split_inclusive([',', ' '])
        .map(|entry| {
            let end = entry.trim_end_matches([',', ' ']);
            let rest = entry.get(end.len()..).unwrap_or_default();
            format!("{}{rest}", end.trim_end_matches('='))
        })
        .collect()
}

/// Tries the other entries of a list, under keys such as `v0`.
fn other_version(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let mut trial = case.base.clone();
    let written = written(trial.spec.to_mut())?;
    let list = written.signature.list.as_mut()?;
    let SchemeLocation::Header(place) = &written.signature.location else {
        return None;
    };
    let value = case.base.headers.get(place)?.to_str().ok()?;
    let entries = value.split(list.separator);
    // Bounded, because an attacker chooses the number of entries.
    let keys: Vec<String> = entries
        .filter_map(|entry| Some(entry.trim().split_once(list.assign)?.0.to_owned()))
        .take(16)
        .collect();
    keys.into_iter().find_map(|key| {
        let trial = case.base.varied(|trial| {
            if let Some(list) = self::written(trial.spec.to_mut())
                .and_then(|written| written.signature.list.as_mut())
            {
                list.key = key;
            }
        });
        hunt.passes(&trial)
            .then(|| RefusalCause::SignatureVersion.proven(""))
    })
}

/// Detects a truncated signature by comparing it with a fresh one, which never leaves this function.
fn cut(case: &RefusalCase<'_>) -> Option<CauseFinding> {
    let mut spec = case.route.scheme.clone();
    let written = written(&mut spec)?;
    let SchemeLocation::Header(name) = written.signature.location.clone() else {
        return None;
    };
    let assign = written.signature.list.as_ref().map(|list| list.assign);
    let found = case.value(&SchemeLocation::Header(name.clone()))?;
    let texts: Vec<_> = case
        .base
        .secrets
        .iter()
        .map(|entry| &entry.secret)
        .collect();
    let scheme = Scheme::compile(&case.base.spec, &texts, case.base.public_url.as_deref()).ok()?;
    let id = spec
        .id_header()
        .and_then(|name| case.base.headers.get(name));
    let to_sign = ToSign {
        head: case.base.head(),
        unix_ms: time::written_ms(case).unwrap_or_default(),
        id: id.and_then(|id| id.to_str().ok()),
        body: &case.base.body,
    };
    // Any of the secrets may have made the truncated signature.
    for index in 0..scheme.secret_count() {
        let stamp = scheme.sign(index, &to_sign).ok()?;
        let (_, right) = stamp.headers.into_iter().find(|(own, _)| *own == name)?;
        // The entry's key is not part of the signature.
        let right = match assign {
            Some(assign) => right
                .rsplit_once(assign)
                .map_or(right.as_str(), |(_, last)| last),
            None => &right,
        };
        if let Some(length) = cut_length(&found, right) {
            let detail = format!("only {length} of its {} characters are there", right.len());
            return Some(RefusalCause::SignatureCut.proven(&detail));
        }
    }
    None
}

/// Returns how many leading characters of the right text the found one ends with, from `SURE` on.
fn cut_length(found: &str, right: &str) -> Option<usize> {
    let longest = right.len().saturating_sub(1).min(found.len());
    let fits = |length: &usize| {
        right
            .get(..*length)
            .is_some_and(|start| found.ends_with(start))
    };
    // The longest match counts: a shorter one is contained in it.
    (SURE..=longest).rev().find(fits)
}

/// Describes the form of a value without showing any part of it.
pub(super) fn shape(value: &str) -> String {
    let bare = value.trim_start_matches(leading_word(value).as_str());
    // Hexadecimal before base64, because most hexadecimal texts are valid base64 too.
    let kind = if bare.is_empty() {
        "nothing"
    } else if HEXLOWER_PERMISSIVE.decode(bare.as_bytes()).is_ok() {
        "hexadecimal"
    } else if BASE64URL_NOPAD.decode(url_safe(bare).as_bytes()).is_ok() {
        "base64"
    } else {
        "text"
    };
    match kind {
        "nothing" => "an empty value".to_owned(),
        _ => format!("{} characters of {kind}", bare.len()),
    }
}

/// Returns true if the request has a header with this name.
pub(super) fn has(case: &RefusalCase<'_>, name: &HeaderName) -> bool {
    case.base.headers.contains_key(name)
}
