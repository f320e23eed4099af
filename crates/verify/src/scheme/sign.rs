//! Signing as senders do it: for `resign`, tests and the demo, and as the counterpart of verification.

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use http::{HeaderName, Uri};

use crate::scheme::head::RequestHead;
use crate::scheme::mac::DigestBytes;
use crate::scheme::sent_timestamp::HTTP_DATE;
use crate::scheme::signature_format::SignatureFormat;
use crate::scheme::spec::{SchemeLocation, SignatureEncoding, TimeUnit};

/// Parts of a request that a sender signs.
#[derive(Clone, Copy, Debug)]
pub struct ToSign<'a> {
    /// Method, target and headers of the request; the headers that the scheme adds may be missing.
    pub head: RequestHead<'a>,
    /// Time of sending, in milliseconds since the epoch.
    pub unix_ms: i64,
    /// Event id, if the scheme has a header for it.
    pub id: Option<&'a str>,
    /// Body of the request, unchanged.
    pub body: &'a [u8],
}

/// Headers and parameters that a sender adds to a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SignatureParts {
    /// Headers to set on the request.
    pub headers: Vec<(HeaderName, String)>,
    /// Query parameters to set, percent-encoded already.
    pub query: Vec<(String, String)>,
}

/// Reason why a request cannot be signed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The position is beyond the last secret.
    #[error("the scheme has no secret at this position")]
    NoSecret,
    /// The scheme signs the event id, but there is no id.
    #[error("the scheme signs the event id, but the request has no id")]
    NoId,
    /// The scheme signs a header that is missing or repeated.
    #[error("the scheme signs a header that is missing or occurs twice")]
    NoHeader,
    /// The time has no text in the scheme's unit.
    #[error("the time cannot be written in the scheme's unit")]
    Time,
    /// The scheme has a public key, or a location that signing does not support.
    #[error("hookgate can verify requests of this scheme, but cannot sign them")]
    NoWay,
    /// The token contains bytes that a header cannot contain.
    #[error("the token is not text, so a header cannot contain it")]
    NotText,
}

impl SignatureParts {
    /// Adds a value at its location.
    pub(super) fn put(&mut self, place: &SchemeLocation, value: String) {
        match place {
            SchemeLocation::Header(name) => self.headers.push((name.clone(), value)),
            SchemeLocation::Query(name) => self.query.push((escape(name), escape(&value))),
            // The body is never changed, so a signature inside it is not supported.
            SchemeLocation::Form(_) | SchemeLocation::Json(_) => {}
        }
    }
}

impl SignatureFormat {
    /// Returns the signature in the scheme's format.
    pub(super) fn encode(&self, digest: &DigestBytes) -> String {
        let text = encode(self.encoding, digest.as_bytes());
        format!("{}{text}", self.prefix)
    }
}

/// Encodes bytes as text in an encoding.
pub(super) fn encode(encoding: SignatureEncoding, bytes: &[u8]) -> String {
    match encoding {
        SignatureEncoding::Hex => HEXLOWER.encode(bytes),
        SignatureEncoding::Base64 => BASE64.encode(bytes),
        SignatureEncoding::Base64Url => BASE64URL.encode(bytes),
        SignatureEncoding::Base64UrlUnpadded => BASE64URL_NOPAD.encode(bytes),
    }
}

/// Decodes a text, if it is the canonical one for its bytes, except for the case of hexadecimal digits.
pub(super) fn decode(encoding: SignatureEncoding, text: &[u8]) -> Option<Vec<u8>> {
    let alphabet = match encoding {
        SignatureEncoding::Hex => HEXLOWER_PERMISSIVE,
        SignatureEncoding::Base64 => BASE64,
        SignatureEncoding::Base64Url => BASE64URL,
        SignatureEncoding::Base64UrlUnpadded => BASE64URL_NOPAD,
    };
    let decoded = alphabet.decode(text).ok()?;
    // The decoder also accepts padded blocks in a row, so compare the lengths.
    (alphabet.encode_len(decoded.len()) == text.len()).then_some(decoded)
}

/// Formats a time. Units with digits only have no text for a time before 1970.
pub(super) fn timestamp_text(unit: TimeUnit, unix_ms: i64) -> Result<String, SignError> {
    match unit {
        TimeUnit::Rfc3339 => {
            let time = jiff::Timestamp::from_millisecond(unix_ms).map_err(|_| SignError::Time)?;
            Ok(time.to_string())
        }
        TimeUnit::HttpDate => {
            let time = jiff::Timestamp::from_millisecond(unix_ms).map_err(|_| SignError::Time)?;
            Ok(time.strftime(HTTP_DATE).to_string())
        }
        _ if unix_ms < 0 => Err(SignError::Time),
        TimeUnit::Seconds | TimeUnit::SecondsOrMillis => Ok((unix_ms / 1000).to_string()),
        TimeUnit::Millis => Ok(unix_ms.to_string()),
    }
}

/// Escapes everything except RFC 3986's unreserved characters as `%XX`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Returns the target with these parameters, which replace parameters of the same name.
pub fn with_query(target: &Uri, parameters: &[(String, String)]) -> Option<Uri> {
    let is_replaced = |pair: &str| {
        let name = pair.split('=').next().unwrap_or(pair);
        parameters.iter().any(|(replaced, _)| replaced == name)
    };
    let old = target.query().unwrap_or_default().split('&');
    // A second value under the same name would be ambiguous for the verifier.
    let kept = old.filter(|pair| !pair.is_empty() && !is_replaced(pair));
    let mut pairs: Vec<String> = kept.map(str::to_owned).collect();
    let new = parameters.iter();
    pairs.extend(new.map(|(name, value)| format!("{name}={value}")));
    format!("{}?{}", target.path(), pairs.join("&"))
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_but_the_canonical_one_is_refused() {
        use SignatureEncoding::{Base64, Base64Url, Base64UrlUnpadded, Hex};
        let bytes: &[u8] = &[0xfb, 0xef, 0xbe, 0xff];
        for (encoding, canonical, others) in [
            (Hex, "fbefbeff", &["fbefbeff=", "fbefbef", " fbefbeff"][..]),
            (
                Base64,
                "++++/w==",
                &["++++/w", "++++/w=", "----_w==", "++++/x=="],
            ),
            (
                Base64Url,
                "----_w==",
                &["----_w", "----_w=", "++++/w==", "----_x=="],
            ),
            (
                Base64UrlUnpadded,
                "----_w",
                &["----_w=", "----_w==", "++++/w", "----_x"],
            ),
        ] {
            assert_eq!(encode(encoding, bytes), canonical);
            assert_eq!(
                decode(encoding, canonical.as_bytes()).as_deref(),
                Some(bytes)
            );
            for other in others {
                assert_eq!(
                    decode(encoding, other.as_bytes()),
                    None,
                    "{encoding:?} {other}"
                );
            }
        }
        assert_eq!(decode(Hex, b"FBefBEff").as_deref(), Some(bytes));
    }

    #[test]
    fn parameters_take_the_place_of_their_namesakes() {
        let with = |target: &str| {
            let new = [("sig".to_owned(), "new".to_owned())];
            with_query(&target.parse().unwrap(), &new)
                .unwrap()
                .to_string()
        };
        assert_eq!(with("/in"), "/in?sig=new");
        assert_eq!(with("/in?a=1&sig=old&b=2&sig=x"), "/in?a=1&b=2&sig=new");
        assert_eq!(with("/in?signature=1"), "/in?signature=1&sig=new");
    }
}
