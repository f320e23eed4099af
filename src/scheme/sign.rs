//! Signing, the sender's side: for tests and the demo, and the oracle that verification is held against.

use data_encoding::{BASE64, BASE64URL, HEXLOWER};
use http::HeaderName;

use crate::scheme::Head;
use crate::scheme::mac::Digest;
use crate::scheme::material::Written;
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
        }
    }
}

impl Written {
    /// The signature as the scheme writes it.
    pub(super) fn encode(&self, digest: &Digest) -> String {
        let encoding = match self.encoding {
            Encoding::Hex => HEXLOWER,
            Encoding::Base64 => BASE64,
            Encoding::Base64Url => BASE64URL,
        };
        format!("{}{}", self.prefix, encoding.encode(digest.as_bytes()))
    }
}

/// The text of a time. Digits only, so a time before 1970 has none.
pub(super) fn timestamp_text(unit: TimeUnit, unix_ms: i64) -> Result<String, SignError> {
    match unit {
        TimeUnit::Rfc3339 => {
            let time = jiff::Timestamp::from_millisecond(unix_ms).map_err(|_| SignError::Time)?;
            Ok(time.to_string())
        }
        _ if unix_ms < 0 => Err(SignError::Time),
        TimeUnit::Seconds => Ok((unix_ms / 1000).to_string()),
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
