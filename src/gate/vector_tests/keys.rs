//! Tests of vectors under other secrets, algorithms and encodings.

use hookgate_verify::scheme::spec::{
    BodyClaim, DigestAlgorithm, JwtAlgorithm, JwtKeys, JwtSpec, KeyAlgorithm, SchemeFamily,
    SchemeSpec, SecretEncoding, SignMethod, SignatureEncoding,
};
use sha2::{Digest as _, Sha256};

use super::case::Case;
use super::damage::{minimal, refused};
use super::spot::{Role, spots};
use super::{each, name};

// Fails when the key is cut, padded or not used: `Mac::new(algorithm, b"")`.
#[test]
fn a_secret_with_any_byte_changed_is_refused() {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        for secret in other_secrets(&provider.scheme, &whole.secret) {
            let what = format!("the secret {:?}", String::from_utf8_lossy(&secret));
            let damaged = Case {
                secret,
                ..whole.clone()
            };
            refused(provider, vector, &whole, &damaged, &what);
        }
    });
}

/// Encoder from a key to the text of a secret.
type Write = fn(&[u8]) -> Vec<u8>;

/// Returns wrong secrets: empty, cut, longer, and with each byte of the key changed.
fn other_secrets(spec: &SchemeSpec, secret: &[u8]) -> Vec<Vec<u8>> {
    if spec.has_own_keys() {
        return Vec::new();
    }
    let mut others = vec![vec![]];
    if let SchemeFamily::Jwt(family) = &spec.family
        && matches!(family.keys, JwtKeys::Asked(_))
    {
        // The secret only selects the key to fetch.
        return others;
    }
    if spec.is_public_key() {
        // Only the second half of the text is certainly the key; the first half names the algorithm.
        for at in secret.len() / 2..secret.len() {
            if secret[at].is_ascii_alphanumeric() && !is_in_armour(secret, at) {
                let is_a = secret[at].eq_ignore_ascii_case(&b'A');
                let other = if is_a { b'Q' } else { b'A' };
                others.push([&secret[..at], &[other], &secret[at + 1..]].concat());
            }
        }
        return others;
    }
    let form = spec.secret_form();
    let (prefix, text) = match secret.strip_prefix(form.strip_prefix.as_bytes()) {
        Some(text) => (form.strip_prefix.as_bytes(), text),
        None => (&b""[..], secret),
    };
    let (key, encode): (Vec<u8>, Write) = match form.encoding {
        SecretEncoding::Utf8 => (text.to_vec(), |key| key.to_vec()),
        SecretEncoding::Base64 => {
            let encoding = if text.contains(&b'=') || text.len().is_multiple_of(4) {
                data_encoding::BASE64
            } else {
                data_encoding::BASE64_NOPAD
            };
            (encoding.decode(text).unwrap(), |key| {
                data_encoding::BASE64.encode(key).into_bytes()
            })
        }
        SecretEncoding::Hex => (
            data_encoding::HEXLOWER_PERMISSIVE.decode(text).unwrap(),
            |key| data_encoding::HEXLOWER.encode(key).into_bytes(),
        ),
    };
    let mut keys: Vec<Vec<u8>> = (0..key.len())
        .map(|at| {
            let mut other = key.clone();
            other[at] ^= 1;
            other
        })
        .collect();
    keys.push(key[..key.len() - 1].to_vec());
    keys.push([&key[..], b"1"].concat());
    others.extend(keys.iter().map(|key| [prefix, &encode(key)].concat()));
    others
}

/// Returns whether the byte is in a line such as `-----END PUBLIC KEY-----`.
fn is_in_armour(text: &[u8], at: usize) -> bool {
    let start = text[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |line| line + 1);
    text[start..].starts_with(b"-----")
}

// Fails when the algorithm is taken from the request or from the length of the signature.
#[test]
fn another_algorithm_or_encoding_is_refused() {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        for (what, spec) in other_specs(&provider.scheme, &whole) {
            assert!(
                !whole.is_taken(&spec),
                "{}: taken as {what}",
                name(provider, vector)
            );
        }
    });
}

const ALGORITHMS: [DigestAlgorithm; 6] = [
    DigestAlgorithm::Md5,
    DigestAlgorithm::Sha1,
    DigestAlgorithm::Sha256,
    DigestAlgorithm::Sha384,
    DigestAlgorithm::Sha512,
    DigestAlgorithm::Keccak256,
];

const KEY_ALGORITHMS: [KeyAlgorithm; 9] = [
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::EcdsaP256,
    KeyAlgorithm::EcdsaP256Fixed,
    KeyAlgorithm::EcdsaP256Sha1,
    KeyAlgorithm::EcdsaP384,
    KeyAlgorithm::RsaSha1,
    KeyAlgorithm::RsaSha256,
    KeyAlgorithm::RsaSha256OfDigest,
    KeyAlgorithm::RsaSha512,
];

fn other_specs(spec: &SchemeSpec, whole: &Case) -> Vec<(String, SchemeSpec)> {
    let mut others = Vec::new();
    let mut add = |what: String, change: &dyn Fn(&mut SchemeSpec)| {
        let mut other = spec.clone();
        change(&mut other);
        others.push((what, other));
    };
    for other in ALGORITHMS {
        add(format!("{other:?}"), &|spec| match &mut spec.family {
            SchemeFamily::Hmac(family) => family.algorithm = other,
            SchemeFamily::Text(family) => match &mut family.method {
                SignMethod::Hmac(algorithm) | SignMethod::Hash(algorithm) => *algorithm = other,
                SignMethod::PublicKey { .. } => {}
            },
            SchemeFamily::Jwt(family) => {
                if let Some(claim) = &mut family.body_claim {
                    claim.digest_mut().digest = other;
                }
            }
            SchemeFamily::Token(_) | SchemeFamily::Certificate(_) | SchemeFamily::Http(_) => {}
        });
    }
    for (name, other) in JwtAlgorithm::ALL {
        add(name.to_owned(), &|spec| {
            if let SchemeFamily::Jwt(family) = &mut spec.family
                && !family.algorithms.contains(&other)
            {
                family.algorithms = vec![other];
            }
        });
    }
    for other in KEY_ALGORITHMS {
        add(format!("{other:?}"), &|spec| match &mut spec.family {
            SchemeFamily::Text(family) => match &mut family.method {
                SignMethod::PublicKey { algorithm, .. } => *algorithm = other,
                SignMethod::Hmac(_) | SignMethod::Hash(_) => {}
            },
            SchemeFamily::Hmac(_)
            | SchemeFamily::Token(_)
            | SchemeFamily::Jwt(_)
            | SchemeFamily::Certificate(_)
            | SchemeFamily::Http(_) => {}
        });
    }
    for other in [
        SignatureEncoding::Hex,
        SignatureEncoding::Base64,
        SignatureEncoding::Base64Url,
        SignatureEncoding::Base64UrlUnpadded,
    ] {
        add(format!("{other:?}"), &|spec| match &mut spec.family {
            SchemeFamily::Hmac(family) => family.encoding = other,
            SchemeFamily::Text(family) => family.encoding = other,
            SchemeFamily::Jwt(family) => {
                if let Some(claim) = &mut family.body_claim {
                    claim.digest_mut().encoding = other;
                }
            }
            SchemeFamily::Token(_) | SchemeFamily::Certificate(_) | SchemeFamily::Http(_) => {}
        });
    }
    others.retain(|(_, other)| {
        format!("{other:?}") != format!("{spec:?}") && !is_either_base64(spec, other, whole)
    });
    others
}

/// Returns whether a signature is valid in both base64 alphabets, which differ in two characters only.
fn is_either_base64(spec: &SchemeSpec, other: &SchemeSpec, whole: &Case) -> bool {
    if let (SchemeFamily::Jwt(one), SchemeFamily::Jwt(other)) = (&spec.family, &other.family) {
        return is_either_digest(one, other, whole);
    }
    let encoding = |spec: &SchemeSpec| match &spec.family {
        SchemeFamily::Hmac(family) => Some(family.encoding),
        SchemeFamily::Text(family) => Some(family.encoding),
        _ => None,
    };
    let is_base64 = |spec| encoding(spec).is_some_and(|one| one != SignatureEncoding::Hex);
    let special: &[u8] = if encoding(spec) == Some(SignatureEncoding::Base64) {
        b"+/"
    } else {
        b"-_"
    };
    let mut signatures = spots(spec)
        .into_iter()
        .filter(|(_, role)| matches!(role, Role::Signature(..)));
    let has_special = signatures.any(|(spot, _)| {
        let value = spot.read(whole).unwrap_or_default();
        value.iter().any(|byte| special.contains(byte))
    });
    encoding(spec) != encoding(other) && is_base64(spec) && is_base64(other) && !has_special
}

fn is_either_digest(one: &JwtSpec, other: &JwtSpec, whole: &Case) -> bool {
    let (Some(claim), Some(other_claim)) = (&one.body_claim, &other.body_claim) else {
        return false;
    };
    if one.algorithms != other.algorithms {
        return false;
    }
    let is_base64 = |claim: &BodyClaim| claim.digest().encoding != SignatureEncoding::Hex;
    let digest = Sha256::digest(&whole.body);
    let written = data_encoding::BASE64.encode(&digest);
    let is_same_digest = claim.digest().digest == other_claim.digest().digest;
    // An empty body may have no digest at all.
    whole.body.is_empty()
        || (is_same_digest
            && is_base64(claim)
            && is_base64(other_claim)
            && !written.contains(['+', '/']))
}
