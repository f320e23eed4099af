//! Signature material: unverified values from the head that are present exactly once and well-formed.
//!
//! Strict on purpose. A value that two parsers could read differently is rejected, because the app may read it the
//! other way. Providers never send such values.

use std::borrow::Cow;

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use http::HeaderName;

use crate::scheme::RequestHead;
use crate::scheme::http_signature::HttpCandidate;
use crate::scheme::jwt::token::ParsedJwt;
use crate::scheme::mac::{DigestBytes, digest_len};
use crate::scheme::spec::{DigestAlgorithm, ListSpec, SchemeLocation, SignatureEncoding, TimeUnit};

/// Limit of signatures in one list. A sender that rotates its secret sends two; each costs a decode and a comparison.
const MAX_SIGNATURES: usize = 16;

/// Limit of entries in one list, including those of other versions.
const MAX_ENTRIES: usize = 32;

/// Limit of digits in a timestamp in seconds: beyond the year 30000.
const MAX_SECONDS_DIGITS: usize = 12;

/// Limit of digits in seconds, if milliseconds are possible as well.
const MAX_MIXED_SECONDS_DIGITS: usize = 11;

/// Limit of digits in a timestamp in milliseconds.
const MAX_MILLIS_DIGITS: usize = 15;

/// Length of an RFC 3339 time with nanoseconds and an offset, rounded up.
const MAX_TIMESTAMP_LEN: usize = 40;

/// Current format of HTTP dates (RFC 9110 section 5.6.7).
pub(super) const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// Length of the longest decoded digest, with the bytes for its base64 padding.
const MAX_DECODED: usize = 66;

/// Unverified values of the head that a scheme needs.
pub struct SignatureMaterial<'h> {
    pub(super) proof: PresentedProof<'h>,
    pub(super) timestamp: Option<SentTimestamp>,
    pub(super) id: &'h [u8],
}

/// Proof of authenticity that is compared with the keys.
pub(super) enum PresentedProof<'h> {
    /// Decoded signatures with the digest's length; any of them may match.
    Signatures(SignatureList),
    /// A shared token, as the request shows it.
    Token(Cow<'h, [u8]>),
    /// A signed token, parsed but not verified.
    Jwt(Box<ParsedJwt>),
    /// HTTP Message Signatures; any of them may match.
    Http(Vec<HttpCandidate>),
    /// Nothing yet: only the whole request shows the proof.
    Whole,
}

/// One signature or several. Only a list with several allocates.
pub(super) struct SignatureList {
    pub(super) first: DigestBytes,
    pub(super) rest: Vec<DigestBytes>,
}

/// Time that the sender has signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedTime {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// Given in whole seconds, so that ages must be computed in whole seconds too.
    pub is_in_seconds: bool,
}

impl SignedTime {
    /// Returns the meaning of a timestamp.
    pub(super) fn of(timestamp: &SentTimestamp) -> Self {
        Self {
            unix_ms: timestamp.unix_ms,
            is_in_seconds: matches!(timestamp.unit, TimeUnit::Seconds | TimeUnit::HttpDate),
        }
    }
}

/// A timestamp as it was sent, with its meaning.
#[derive(Clone)]
pub(super) struct SentTimestamp {
    text: [u8; MAX_TIMESTAMP_LEN],
    len: usize,
    unix_ms: i64,
    unit: TimeUnit,
}

/// Reason why a request has no usable material.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MaterialFault {
    /// The value is not present.
    Missing {
        /// Name of the header or parameter.
        name: Box<str>,
    },
    /// The value is present, but not in the scheme's format, or more than once.
    Malformed {
        /// Name of the header or parameter.
        name: Box<str>,
        /// Description of the fault, for logs.
        fault: &'static str,
    },
}

impl<'h> SignatureMaterial<'h> {
    /// Returns the signed time, if the scheme has one in the head.
    #[must_use]
    pub fn signed_time(&self) -> Option<SignedTime> {
        self.timestamp.as_ref().map(SignedTime::of)
    }

    /// Returns the signed event id; empty if the scheme signs no id there.
    pub(crate) fn id(&self) -> &'h [u8] {
        self.id
    }

    /// Returns the text of the timestamp as it was sent.
    pub(super) fn timestamp_text(&self) -> &[u8] {
        let text = |timestamp| SentTimestamp::text(timestamp);
        self.timestamp.as_ref().map(text).unwrap_or_default()
    }
}

impl SentTimestamp {
    /// Returns the text as it was sent.
    pub(super) fn text(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    /// Returns the milliseconds since the Unix epoch.
    pub(super) fn unix_ms(&self) -> i64 {
        self.unix_ms
    }

    /// Parses the text; the error says what is wrong with it.
    pub(super) fn parse(text: &[u8], unit: TimeUnit) -> Result<Self, &'static str> {
        // The mixed unit is settled here, since `SignedTime` computes ages in whole seconds for senders of seconds
        // only.
        let unit = match unit {
            TimeUnit::SecondsOrMillis if text.len() > MAX_MIXED_SECONDS_DIGITS => TimeUnit::Millis,
            TimeUnit::SecondsOrMillis => TimeUnit::Seconds,
            unit => unit,
        };
        let unix_ms = match unit {
            TimeUnit::Seconds | TimeUnit::SecondsOrMillis => {
                parse_digits(text, MAX_SECONDS_DIGITS)?.saturating_mul(1000)
            }
            TimeUnit::Millis => parse_digits(text, MAX_MILLIS_DIGITS)?,
            TimeUnit::Rfc3339 => parse_rfc3339(text)?,
            TimeUnit::HttpDate => parse_http_date(text)?,
        };
        let mut timestamp = Self {
            text: [0; MAX_TIMESTAMP_LEN],
            len: text.len(),
            unix_ms,
            unit,
        };
        let room = timestamp.text.get_mut(..text.len());
        room.ok_or("is too long")?.copy_from_slice(text);
        Ok(timestamp)
    }
}

impl MaterialFault {
    /// Returns the error for a value that is not present.
    pub(super) fn missing(name: &str) -> Self {
        Self::Missing { name: name.into() }
    }

    /// Returns the error for a value that is not as the scheme needs it.
    pub(in crate::scheme) fn malformed(name: &str, fault: &'static str) -> Self {
        Self::Malformed {
            name: name.into(),
            fault,
        }
    }
}

impl SchemeLocation {
    /// Returns the name of the header, parameter or field.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Header(name) => name.as_str().into(),
            Self::Query(name) | Self::Form(name) => name.as_str().into(),
            Self::Json(pointer) => format!("/{}", pointer.join("/")).into(),
        }
    }
}

/// Reads the only value at a location in the head.
pub(super) fn read<'h>(
    head: &RequestHead<'h>,
    place: &SchemeLocation,
) -> Result<Cow<'h, [u8]>, MaterialFault> {
    match place {
        SchemeLocation::Header(name) => read_header(head, name).map(Cow::Borrowed),
        SchemeLocation::Query(name) => read_query(head, name),
        SchemeLocation::Form(_) | SchemeLocation::Json(_) => Err(place.missing()),
    }
}

/// Reads the only value of a header. Two lines are rejected even if they are equal: the app may use either.
pub(super) fn read_header<'h>(
    head: &RequestHead<'h>,
    name: &HeaderName,
) -> Result<&'h [u8], MaterialFault> {
    let mut values = head.headers.get_all(name).iter();
    let value = values
        .next()
        .ok_or_else(|| MaterialFault::missing(name.as_str()))?;
    // The app may use the other line, so a repeated header is never unambiguous.
    if values.next().is_some() {
        return Err(MaterialFault::malformed(name.as_str(), "occurs twice"));
    }
    Ok(value.as_bytes())
}

/// Reads the only value of a query parameter, percent-decoded. A `+` is not decoded: in tokens and signatures senders
/// write a space as `%20` if they escape at all, and base64 contains bare `+`.
pub(crate) fn read_query<'h>(
    head: &RequestHead<'h>,
    name: &str,
) -> Result<Cow<'h, [u8]>, MaterialFault> {
    let query = head.uri.query().unwrap_or_default();
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // An escaped spelling of the name counts too: the app sees it as the same parameter.
        let is_named = match percent_decode(key) {
            Some(key) => key == name.as_bytes(),
            None => false,
        };
        if is_named && found.replace(value).is_some() {
            return Err(MaterialFault::malformed(name, "occurs twice"));
        }
    }
    let value = found.ok_or_else(|| MaterialFault::missing(name))?;
    percent_decode(value)
        .ok_or_else(|| MaterialFault::malformed(name, "has an invalid percent escape"))
}

/// Decodes percent escapes; returns `None` if a `%` is not followed by two hexadecimal digits.
pub(super) fn percent_decode(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    Some(Cow::Owned(decoded))
}

/// Format of one signature in a request.
#[derive(Clone)]
pub(super) struct SignatureFormat {
    pub(super) algorithm: DigestAlgorithm,
    pub(super) encoding: SignatureEncoding,
    pub(super) prefix: Box<str>,
}

impl SignatureFormat {
    /// Parses one signature; the error says what is wrong with it.
    pub(super) fn parse(&self, text: &[u8]) -> Result<DigestBytes, &'static str> {
        let text = text
            .strip_prefix(self.prefix.as_bytes())
            .ok_or("does not begin with the prefix of this scheme's signatures")?;
        let (encoding, fault) = match self.encoding {
            SignatureEncoding::Hex => (HEXLOWER_PERMISSIVE, "is not hexadecimal"),
            SignatureEncoding::Base64 => (BASE64, "is not base64"),
            SignatureEncoding::Base64Url => (BASE64URL, "is not URL-safe base64"),
            SignatureEncoding::Base64UrlUnpadded => (BASE64URL_NOPAD, "is not URL-safe base64"),
        };
        const LENGTH: &str = "does not have the length of a signature";
        // The length is checked first, so a long header is never decoded.
        if text.len() != encoding.encode_len(digest_len(self.algorithm)) {
            return Err(LENGTH);
        }
        let mut buffer = [0; MAX_DECODED];
        let len = encoding.decode_len(text.len()).map_err(|_| LENGTH)?;
        let room = buffer.get_mut(..len).ok_or(LENGTH)?;
        let len = encoding.decode_mut(text, room).map_err(|_| fault)?;
        // Padding in the middle gives a text of the right length with fewer bytes.
        if len != digest_len(self.algorithm) {
            return Err(fault);
        }
        let bytes = room.get(..len).ok_or(LENGTH)?;
        DigestBytes::new(bytes).ok_or(LENGTH)
    }
}

/// Values of a list that matter for verification.
pub(super) struct ListValues<'v> {
    pub(super) signatures: SignatureList,
    /// Value of the entry under the timestamp's key.
    pub(super) timestamp: Option<&'v [u8]>,
}

/// Parses a list; the error says what is wrong with it.
pub(super) fn parse_list<'v>(
    value: &'v [u8],
    list: &ListSpec,
    written: &SignatureFormat,
    timestamp_key: Option<&str>,
) -> Result<ListValues<'v>, &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| "is not text")?;
    let mut signatures: Option<SignatureList> = None;
    let mut timestamp = None;
    // Entries are parsed before anything is verified, so their number is bounded.
    for (count, entry) in text.split(list.separator).enumerate() {
        if count >= MAX_ENTRIES {
            return Err("has too many entries");
        }
        let (key, value) = split_entry(entry, list)?;
        if is_time(timestamp_key, key, timestamp.is_some()) {
            if timestamp.replace(value.as_bytes()).is_some() {
                return Err("has two timestamps");
            }
        } else if key == list.key {
            // One malformed signature rejects the whole list, because no genuine sender writes one.
            let digest = written.parse(value.as_bytes())?;
            match &mut signatures {
                None => {
                    signatures = Some(SignatureList {
                        first: digest,
                        rest: Vec::new(),
                    });
                }
                Some(found) if found.rest.len() + 1 < MAX_SIGNATURES => found.rest.push(digest),
                // Each signature costs a comparison with every MAC.
                Some(_) => return Err("has too many signatures"),
            }
        }
    }
    Ok(ListValues {
        signatures: signatures.ok_or("contains no signature of this scheme's version")?,
        timestamp,
    })
}

/// Returns whether an entry is the timestamp: the one under its key, or the first entry if entries have no keys.
pub(super) fn is_time(wanted: Option<&str>, key: &str, is_found: bool) -> bool {
    wanted.is_some_and(|wanted| wanted == key && !(wanted.is_empty() && is_found))
}

/// Splits an entry into key and value; bare values have the empty key.
pub(super) fn split_entry<'v>(
    entry: &'v str,
    list: &ListSpec,
) -> Result<(&'v str, &'v str), &'static str> {
    let entry = if list.trim {
        let entry = entry.trim_matches(' ');
        // Some senders write a comma and a space between entries.
        entry.strip_suffix(',').unwrap_or(entry)
    } else {
        entry
    };
    if list.key.is_empty() && !list.any_key {
        return Ok(("", entry));
    }
    let (key, value) = entry
        .split_once(list.assign)
        .ok_or("has an entry without a value")?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if key.is_empty() || !key.bytes().all(is_word) {
        return Err("has an entry with an invalid key");
    }
    if list.is_quoted {
        return Ok((key, unquote(value)?));
    }
    // Spaces occur in lists of names, such as Hook0's; signatures and times contain no spaces.
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("has an entry with an invalid value");
    }
    Ok((key, value))
}

/// Removes the double quotes around a value, in which nothing may be escaped.
fn unquote(value: &str) -> Result<&str, &'static str> {
    let inner = value.strip_prefix('"');
    let inner = inner.and_then(|value| value.strip_suffix('"'));
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    inner
        .filter(|value| value.bytes().all(is_plain))
        .ok_or("has an entry without double quotes around it")
}

/// Returns path and query as they were sent.
pub(super) fn path_query(head: &RequestHead<'_>) -> String {
    let path = head.uri.path();
    match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Parses digits only: `i64::from_str` would accept a sign, and the app's parser perhaps spaces. A leading zero is
/// rejected: next to a body in the signed text, it could belong to the body with the same time.
fn parse_digits(text: &[u8], max: usize) -> Result<i64, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > 1 && text.starts_with(b"0") {
        return Err("begins with a zero");
    }
    if text.len() > max {
        return Err("is too long");
    }
    // It cannot overflow: `max` keeps the number below the 19 digits of an `i64`.
    text.iter().try_fold(0i64, |value, byte| {
        if !byte.is_ascii_digit() {
            return Err("is not made of digits");
        }
        Ok(value * 10 + i64::from(byte - b'0'))
    })
}

fn parse_rfc3339(text: &[u8]) -> Result<i64, &'static str> {
    const FAULT: &str = "is not an RFC 3339 time";
    let is_fit = |byte: &u8| byte.is_ascii_digit() || b"TZtz:.+-".contains(byte);
    if text.len() > MAX_TIMESTAMP_LEN {
        return Err("is too long");
    }
    // A year with a sign would have another length, so the text must begin with a digit.
    if !text.iter().all(is_fit) || !text.first().is_some_and(u8::is_ascii_digit) {
        return Err(FAULT);
    }
    let text = std::str::from_utf8(text).map_err(|_| FAULT)?;
    let time: jiff::Timestamp = text.parse().map_err(|_| FAULT)?;
    Ok(time.as_millisecond())
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT`. The obsolete formats are rejected, because senders have no reason to use
/// them.
fn parse_http_date(text: &[u8]) -> Result<i64, &'static str> {
    const FAULT: &str = "is not an HTTP date";
    let text = std::str::from_utf8(text).map_err(|_| FAULT)?;
    let time = jiff::fmt::strtime::parse(HTTP_DATE, text).map_err(|_| FAULT)?;
    let time = time
        .to_datetime()
        .and_then(|time| jiff::tz::Offset::UTC.to_timestamp(time));
    let time = time.map_err(|_| FAULT)?;
    // A time has only one spelling; jiff also accepts other spaces and other case.
    if time.strftime(HTTP_DATE).to_string() != text {
        return Err(FAULT);
    }
    Ok(time.as_millisecond())
}

#[cfg(test)]
mod tests;
