//! Signing, the sender's side: for tests and the demo, and the oracle that verification is held against.

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use http::{HeaderName, Uri};

use crate::scheme::Head;
use crate::scheme::mac::Digest;
use crate::scheme::material::{HTTP_DATE, Written};
use crate::scheme::spec::{Encoding, Place, TimeUnit};

/// What a sender signs.
#[derive(Clone, Copy, Debug)]
pub struct ToSign<'a> {
    /// Method, target and headers of the request; the headers that the scheme adds need not be there.
    pub head: Head<'a>,
    /// The time of sending.
    pub unix_ms: i64,
    /// The event id, where the scheme has a header for it.
    pub id: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What a sender adds to a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// Headers.
    pub headers: Vec<(HeaderName, String)>,
    /// Query parameters, percent-encoded.
    pub query: Vec<(String, String)>,
}

/// Why a request cannot be signed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The position is beyond the last secret.
    #[error("the scheme has no secret at this position")]
    NoSecret,
    /// The scheme signs the id.
    #[error("the scheme signs the event id, and none is given")]
    NoId,
    /// The scheme signs a header.
    #[error("the scheme signs a header that is not there exactly once")]
    NoHeader,
    /// The time has no such text.
    #[error("the time cannot be written in the scheme's unit")]
    Time,
    /// A public key, or a place that this side does not write to.
    #[error("requests of this scheme can be verified here, but not signed")]
    NoWay,
    /// A token that no header can hold.
    #[error("the token is not text")]
    NotText,
}

impl Stamp {
    /// Adds a value in its place.
    pub(super) fn put(&mut self, place: &Place, value: String) {
        match place {
            Place::Header(name) => self.headers.push((name.clone(), value)),
            Place::Query(name) => self.query.push((escape(name), escape(&value))),
            // Nobody signs into the body here.
            Place::Form(_) | Place::Json(_) => {}
        }
    }
}

impl Written {
    /// The signature as the scheme writes it.
    pub(super) fn encode(&self, digest: &Digest) -> String {
        let text = encode(self.encoding, digest.as_bytes());
        format!("{}{text}", self.prefix)
    }
}

/// The text of some bytes.
pub(super) fn encode(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => HEXLOWER.encode(bytes),
        Encoding::Base64 => BASE64.encode(bytes),
        Encoding::Base64Url => BASE64URL.encode(bytes),
        Encoding::Base64UrlUnpadded => BASE64URL_NOPAD.encode(bytes),
    }
}

/// The bytes of a text, where it is the one canonical text for them but for the case of hexadecimal digits.
pub(super) fn decode(encoding: Encoding, text: &[u8]) -> Option<Vec<u8>> {
    let alphabet = match encoding {
        Encoding::Hex => HEXLOWER_PERMISSIVE,
        Encoding::Base64 => BASE64,
        Encoding::Base64Url => BASE64URL,
        Encoding::Base64UrlUnpadded => BASE64URL_NOPAD,
    };
    let decoded = alphabet.decode(text).ok()?;
    // Padded blocks in a row decode too.
    (alphabet.encode_len(decoded.len()) == text.len()).then_some(decoded)
}

/// The text of a time. Digits only, so a time before 1970 has none.
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

/// Everything but RFC 3986's unreserved characters as `%XX`.
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

/// The target with these parameters in place of those of the same name.
#[must_use]
pub fn with_query(target: &Uri, parameters: &[(String, String)]) -> Option<Uri> {
    let is_replaced = |pair: &str| {
        let name = pair.split('=').next().unwrap_or(pair);
        parameters.iter().any(|(replaced, _)| replaced == name)
    };
    let old = target.query().unwrap_or_default().split('&');
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
        use Encoding::{Base64, Base64Url, Base64UrlUnpadded, Hex};
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
