//! Conversion of a secret's text into its key.
//!
//! Config runs it for each secret at load time, so that an unusable secret is an error there and not a rejection later.

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use crate::model::secret::Secret;
use crate::scheme::error::SchemeError;
use crate::scheme::mac::digest;
use crate::scheme::spec::{SecretEncoding, SecretForm};

/// Returns the key in the secret's text; the first one if there are several.
pub(super) fn decode(form: &SecretForm, secret: &Secret) -> Result<Secret, SchemeError> {
    match decode_all(form, secret)?.into_iter().next() {
        Some(key) => Ok(key),
        None => Err(SchemeError::SecretEmpty),
    }
}

/// Returns the key for each form that the secret's text can have; at least one.
pub(super) fn decode_all(form: &SecretForm, secret: &Secret) -> Result<Vec<Secret>, SchemeError> {
    if form.alternative.is_none() {
        return decode_one(form, secret).map(|key| vec![key]);
    }
    let mut keys = Vec::new();
    let mut fault = SchemeError::SecretEmpty;
    let forms = std::iter::successors(Some(form), |form| form.alternative.as_deref());
    for form in forms {
        match decode_one(form, secret) {
            Ok(key) => keys.push(key),
            Err(found) => fault = found,
        }
    }
    match keys.is_empty() {
        true => Err(fault),
        false => Ok(keys),
    }
}

fn decode_one(form: &SecretForm, secret: &Secret) -> Result<Secret, SchemeError> {
    let text = secret.expose();
    let text = text
        // The prefix is optional, because some dashboards show the secret without it.
        .strip_prefix(form.strip_prefix.as_bytes())
        .unwrap_or(text);
    let key = match form.encoding {
        SecretEncoding::Utf8 => text.to_vec(),
        SecretEncoding::Base64 => decode_base64(text)?,
        SecretEncoding::Hex => HEXLOWER_PERMISSIVE
            .decode(text)
            .map_err(|_| SchemeError::SecretNotHex)?,
    };
    // With an empty key, every client could compute the HMAC.
    if key.is_empty() {
        return Err(SchemeError::SecretEmpty);
    }
    let key = match form.derive {
        None => key,
        Some(algorithm) => {
            // The decoded text is a secret too, so wipe it after deriving the key.
            let whole = Zeroizing::new(key);
            let derived = digest(algorithm, &whole).ok_or(SchemeError::SecretEmpty)?;
            derived.as_bytes().to_vec()
        }
    };
    Ok(Secret::new(key))
}

/// Decodes base64. Padding is optional in secrets, but everything else must be canonical.
fn decode_base64(text: &[u8]) -> Result<Vec<u8>, SchemeError> {
    // A length that is a multiple of 4 has padding or needs no padding; `BASE64` decodes both.
    let encoding = if text.len().is_multiple_of(4) {
        BASE64
    } else {
        BASE64_NOPAD
    };
    encoding
        .decode(text)
        .map_err(|_| SchemeError::SecretNotBase64)
}
