//! Claims of a verified token, compared with the route and the request: issuer, audience, times, body and URL.

use std::borrow::Cow;

use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::scheme::head::RequestHead;
use crate::scheme::jwt::token::StrictObject;
use crate::scheme::mac::digest;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::read_head;
use crate::scheme::sent_timestamp::SignedTime;
use crate::scheme::sign;
use crate::scheme::signature_match::ValidityWindow;
use crate::scheme::spec::{
    BodyClaim, DigestClaim, JwtSpec, SignatureEncoding, TokenAudience, UrlClaim,
};

/// Leeway for different clocks, in milliseconds. Libraries allow up to 60 seconds.
const LEEWAY_MS: i64 = 60_000;

/// Values of the request that claims are compared with.
pub(super) struct ClaimContext<'r> {
    pub(super) head: RequestHead<'r>,
    pub(super) body: &'r [u8],
    pub(super) public_url: &'r str,
}

/// Validity period and age of the token.
pub(super) struct TokenValidity {
    pub(super) validity: ValidityWindow,
    /// Issue time, if it must be within the tolerance.
    pub(super) issued: Option<SignedTime>,
}

/// Compares all claims except the times, which the caller compares with the clock.
pub(super) fn check(
    spec: &JwtSpec,
    claims: &StrictObject,
    request: &ClaimContext<'_>,
) -> Result<TokenValidity, MaterialFault> {
    if !spec.issuers.is_empty() {
        let issuer = claims.find("iss").and_then(Value::as_str);
        let is_known = |issuer: &str| spec.issuers.iter().any(|known| known == issuer);
        require("iss", issuer, is_known, "is not an issuer of the sender")?;
    }
    // Before the remaining claims: a token for another audience is not ours at all.
    check_audience(spec, claims, request)?;
    for fixed in &spec.claims {
        let found = claims.find(&fixed.name).and_then(text);
        let is_same = |found: &str| found == fixed.value;
        require(
            &fixed.name,
            found.as_deref(),
            is_same,
            "does not have the required value",
        )?;
    }
    if let Some(claim) = &spec.body_claim {
        check_body(claim, claims, request.body)?;
    }
    if let Some(claim) = &spec.url_claim {
        check_url(claim, claims, &url(request))?;
    }
    times(spec, claims)
}

/// Returns the text of a value: a string, the digits of an integer, `true` or `false`.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Number(number) if !number.is_f64() => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

fn require(
    name: &str,
    value: Option<&str>,
    is_fit: impl FnOnce(&str) -> bool,
    fault: &'static str,
) -> Result<(), MaterialFault> {
    let value = value.ok_or_else(|| missing(name))?;
    if is_fit(value) {
        return Ok(());
    }
    Err(malformed(name, fault))
}

fn missing(name: &str) -> MaterialFault {
    MaterialFault::missing(&format!("claim `{name}`"))
}

fn malformed(name: &str, fault: &'static str) -> MaterialFault {
    MaterialFault::malformed(&format!("claim `{name}`"), fault)
}

/// Compares `aud`, which is one text or several (RFC 7519 section 4.1.3).
fn check_audience(
    spec: &JwtSpec,
    claims: &StrictObject,
    request: &ClaimContext<'_>,
) -> Result<(), MaterialFault> {
    let called;
    let wanted: &[String] = match &spec.audience {
        TokenAudience::Any => return Ok(()),
        TokenAudience::Route(wanted) => wanted,
        TokenAudience::Url => {
            called = [url(request)];
            &called
        }
    };
    let is_wanted = |value: &Value| {
        value
            .as_str()
            .is_some_and(|one| wanted.iter().any(|known| known == one))
    };
    let is_for_us = match claims.find("aud").ok_or_else(|| missing("aud"))? {
        Value::Array(several) => several.iter().any(is_wanted),
        one => is_wanted(one),
    };
    if is_for_us {
        return Ok(());
    }
    Err(malformed("aud", "is not in the route's `audience`"))
}

/// Compares the digest of the body. For some senders, a token without the claim means an empty body. For others it is for
/// something else, such as the tokens that LiveKit's servers sign for guests of a room.
fn check_body(claim: &BodyClaim, claims: &StrictObject, body: &[u8]) -> Result<(), MaterialFault> {
    let claim = match claim {
        BodyClaim::Always(claim) => claim,
        BodyClaim::UnlessEmpty(claim) => {
            if claims.find(&claim.name).is_none() && body.is_empty() {
                return Ok(());
            }
            claim
        }
    };
    check_digest(claim, claims, body, "is not the digest of the body")
}

fn check_url(claim: &UrlClaim, claims: &StrictObject, url: &str) -> Result<(), MaterialFault> {
    const FAULT: &str = "is not the called URL; check `public_url`";
    match claim {
        UrlClaim::Digest(claim) => check_digest(claim, claims, url.as_bytes(), FAULT),
        UrlClaim::Plain(name) => {
            let found = claims.find(name).and_then(Value::as_str);
            require(name, found, |found| found == url, FAULT)
        }
    }
}

fn check_digest(
    claim: &DigestClaim,
    claims: &StrictObject,
    over: &[u8],
    fault: &'static str,
) -> Result<(), MaterialFault> {
    let found = claims
        .find(&claim.name)
        .ok_or_else(|| missing(&claim.name))?;
    let found = found.as_str().and_then(|text| decode(claim.encoding, text));
    let found = found.ok_or_else(|| malformed(&claim.name, "is not a valid digest"))?;
    // The body is hashed only now, after all cheaper claims.
    let expected = digest(claim.digest, over);
    let is_equal = expected.is_some_and(|expected| bool::from(expected.as_bytes().ct_eq(&found)));
    if is_equal {
        return Ok(());
    }
    Err(malformed(&claim.name, fault))
}

/// Decodes a digest with optional padding. The claim is signed, so clients cannot choose another spelling.
fn decode(encoding: SignatureEncoding, text: &str) -> Option<Vec<u8>> {
    let padding = match encoding {
        SignatureEncoding::Base64 | SignatureEncoding::Base64Url => {
            "=".repeat((4 - text.len() % 4) % 4)
        }
        SignatureEncoding::Hex | SignatureEncoding::Base64UrlUnpadded => String::new(),
    };
    sign::decode(encoding, format!("{text}{padding}").as_bytes())
}

fn url(request: &ClaimContext<'_>) -> String {
    format!(
        "{}{}",
        request.public_url,
        read_head::path_query(&request.head)
    )
}

fn times(spec: &JwtSpec, claims: &StrictObject) -> Result<TokenValidity, MaterialFault> {
    let (exp, nbf) = (time(claims, "exp")?, time(claims, "nbf")?);
    let iat = time(claims, "iat")?;
    if spec.times.needs_exp && exp.is_none() {
        return Err(missing("exp"));
    }
    if spec.times.needs_iat && iat.is_none() {
        return Err(missing("iat"));
    }
    // A token from the future is not valid yet, even if it has no `nbf`.
    // The later one of both limits applies.
    // RFC 7519 sections 4.1.5 and 4.1.6: both claims are optional, so either may be the only start.
    let from = nbf.into_iter().chain(iat).max();
    let issued = iat.filter(|_| spec.times.needs_iat);
    Ok(TokenValidity {
        validity: ValidityWindow {
            name: "the token",
            from_ms: from.map(|from| from.saturating_sub(LEEWAY_MS)),
            until_ms: exp.map(|exp| exp.saturating_add(LEEWAY_MS)),
        },
        issued: issued.map(|unix_ms| SignedTime {
            unix_ms,
            is_in_seconds: true,
        }),
    })
}

/// Reads a time (RFC 7519 section 2): seconds since the epoch, possibly with a fraction. Returns whole seconds in
/// milliseconds.
fn time(claims: &StrictObject, name: &str) -> Result<Option<i64>, MaterialFault> {
    let Some(value) = claims.find(name) else {
        return Ok(None);
    };
    // Reject times far beyond any real one, so that the product below cannot overflow.
    let seconds = match value.as_i64() {
        Some(seconds) => seconds,
        None => value
            .as_f64()
            .filter(|seconds| seconds.abs() < 1e12)
            .and_then(|seconds| format!("{:.0}", seconds.floor()).parse().ok())
            .ok_or_else(|| malformed(name, "is not a valid time"))?,
    };
    if seconds.unsigned_abs() >= 1_000_000_000_000 {
        return Err(malformed(name, "is not a valid time"));
    }
    Ok(Some(seconds * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_may_be_left_out_of_a_claim_but_not_put_in() {
        use SignatureEncoding::{Base64, Base64Url, Base64UrlUnpadded};
        for (encoding, text, is_taken) in [
            (Base64, "++++/w==", true),
            (Base64, "++++/w", true),
            (Base64, "++++/x", false),
            (Base64Url, "----_w==", true),
            (Base64Url, "----_w", true),
            (Base64Url, "----_w====", false),
            (Base64UrlUnpadded, "----_w", true),
            (Base64UrlUnpadded, "----_w==", false),
        ] {
            assert_eq!(
                decode(encoding, text).is_some(),
                is_taken,
                "{encoding:?} {text}"
            );
        }
    }
}
