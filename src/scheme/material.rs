//! Signature material: what a scheme reads from the head, present exactly once, well-formed and decoded, not yet verified.
//!
//! Strict on purpose. A value that two parsers could read in two ways is refused, since the app behind may read it in the
//! other one; the providers never send such values.

use std::borrow::Cow;

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use http::HeaderName;

use crate::scheme::Head;
use crate::scheme::http_signature::Candidate;
use crate::scheme::jwt::token::Token;
use crate::scheme::mac::{Digest, digest_len};
use crate::scheme::spec::{Algorithm, Encoding, ListSpec, Place, TimeUnit};

/// Signatures in one list. A sender that rolls its secret sends two; each one costs a decode and a comparison.
const MAX_SIGNATURES: usize = 16;

/// Entries in one list, those of other versions included.
const MAX_ENTRIES: usize = 32;

/// Digits of a timestamp in seconds: beyond the year 30000.
const MAX_SECONDS_DIGITS: usize = 12;

/// Digits of a timestamp in seconds, where milliseconds are possible too.
const MAX_MIXED_SECONDS_DIGITS: usize = 11;

/// Digits of a timestamp in milliseconds.
const MAX_MILLIS_DIGITS: usize = 15;

/// RFC 3339 with nanoseconds and an offset.
const MAX_TIMESTAMP_LEN: usize = 40;

/// The form of RFC 9110 section 5.6.7 that is written today.
pub(super) const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// The longest base64 of a digest, decoded with the bytes that its padding stands for.
const MAX_DECODED: usize = 66;

/// What the head holds for a scheme, not yet verified.
pub struct Material<'h> {
    pub(super) proof: Proof<'h>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) id: &'h [u8],
}

/// What is compared.
pub(super) enum Proof<'h> {
    /// Decoded signatures of the digest's length; any of them may match.
    Signatures(Signatures),
    /// The token.
    Token(Cow<'h, [u8]>),
    /// A signed token.
    Jwt(Box<Token>),
    /// HTTP Message Signatures; any of them may match.
    Http(Vec<Candidate>),
    /// Only the whole request shows it.
    Whole,
}

/// At least one signature. Only a list with several allocates.
pub(super) struct Signatures {
    pub(super) first: Digest,
    pub(super) rest: Vec<Digest>,
}

/// A signed time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignedTime {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// Whether it was given in whole seconds, so that ages are to be counted in whole seconds too.
    pub is_in_seconds: bool,
}

impl SignedTime {
    /// What a timestamp means.
    pub(super) fn of(timestamp: &Timestamp) -> Self {
        Self {
            unix_ms: timestamp.unix_ms,
            is_in_seconds: matches!(timestamp.unit, TimeUnit::Seconds | TimeUnit::HttpDate),
        }
    }
}

/// A timestamp as it was sent, and what it means.
#[derive(Clone)]
pub(super) struct Timestamp {
    text: [u8; MAX_TIMESTAMP_LEN],
    len: usize,
    unix_ms: i64,
    unit: TimeUnit,
}

/// Why a head has no usable material.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MaterialFault {
    /// Not there.
    Missing {
        /// The header or parameter.
        name: Box<str>,
    },
    /// There, but not as the scheme writes it, or more than once.
    Malformed {
        /// The header or parameter.
        name: Box<str>,
        /// What is wrong.
        fault: &'static str,
    },
}

impl Material<'_> {
    /// The signed time, where the scheme has one in the head.
    #[must_use]
    pub fn signed_time(&self) -> Option<SignedTime> {
        self.timestamp.as_ref().map(SignedTime::of)
    }

    /// The text of the timestamp as it was sent.
    pub(super) fn timestamp_text(&self) -> &[u8] {
        let text = |timestamp| Timestamp::text(timestamp);
        self.timestamp.as_ref().map(text).unwrap_or_default()
    }
}

impl Timestamp {
    /// The text as it was sent.
    pub(super) fn text(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    /// Milliseconds since the Unix epoch.
    pub(super) fn unix_ms(&self) -> i64 {
        self.unix_ms
    }

    /// Reads the text; the error says what is wrong with it.
    pub(super) fn parse(text: &[u8], unit: TimeUnit) -> Result<Self, &'static str> {
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
    /// A header that is not there.
    pub(super) fn missing(name: &str) -> Self {
        Self::Missing { name: name.into() }
    }

    /// A value that is not as it should be.
    pub(in crate::scheme) fn malformed(name: &str, fault: &'static str) -> Self {
        Self::Malformed {
            name: name.into(),
            fault,
        }
    }
}

impl Place {
    /// The name of the header, parameter or field.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Header(name) => name.as_str().into(),
            Self::Query(name) | Self::Form(name) => name.as_str().into(),
            Self::Json(pointer) => format!("/{}", pointer.join("/")).into(),
        }
    }
}

/// The one value in a place of the head.
pub(super) fn read<'h>(head: &Head<'h>, place: &Place) -> Result<Cow<'h, [u8]>, MaterialFault> {
    match place {
        Place::Header(name) => read_header(head, name).map(Cow::Borrowed),
        Place::Query(name) => read_query(head, name),
        Place::Form(_) | Place::Json(_) => Err(place.missing()),
    }
}

/// The one value of a header. Two lines are refused even where they are equal: the app may take either.
pub(super) fn read_header<'h>(
    head: &Head<'h>,
    name: &HeaderName,
) -> Result<&'h [u8], MaterialFault> {
    let mut values = head.headers.get_all(name).iter();
    let value = values
        .next()
        .ok_or_else(|| MaterialFault::missing(name.as_str()))?;
    if values.next().is_some() {
        return Err(MaterialFault::malformed(name.as_str(), "stands twice"));
    }
    Ok(value.as_bytes())
}

/// The one value of a query parameter, percent-decoded. A `+` stays one: senders that escape at all write a space as
/// `%20` or not at all in tokens and signatures, and base64 is full of bare `+`.
pub fn read_query<'h>(head: &Head<'h>, name: &str) -> Result<Cow<'h, [u8]>, MaterialFault> {
    let query = head.uri.query().unwrap_or_default();
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // An escaped spelling of the name counts too: the app behind will see it as the same parameter.
        let is_named = match percent_decode(key) {
            Some(key) => key == name.as_bytes(),
            None => false,
        };
        if is_named && found.replace(value).is_some() {
            return Err(MaterialFault::malformed(name, "stands twice"));
        }
    }
    let value = found.ok_or_else(|| MaterialFault::missing(name))?;
    percent_decode(value).ok_or_else(|| MaterialFault::malformed(name, "has a broken escape"))
}

/// None where a `%` is not followed by two hexadecimal digits.
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

/// How one signature is written.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) algorithm: Algorithm,
    pub(super) encoding: Encoding,
    pub(super) prefix: Box<str>,
}

impl Written {
    /// Reads one signature; the error says what is wrong with it.
    pub(super) fn parse(&self, text: &[u8]) -> Result<Digest, &'static str> {
        let text = text
            .strip_prefix(self.prefix.as_bytes())
            .ok_or("does not begin as this scheme's signatures do")?;
        let (encoding, fault) = match self.encoding {
            Encoding::Hex => (HEXLOWER_PERMISSIVE, "is not hexadecimal"),
            Encoding::Base64 => (BASE64, "is not base64"),
            Encoding::Base64Url => (BASE64URL, "is not URL-safe base64"),
            Encoding::Base64UrlUnpadded => (BASE64URL_NOPAD, "is not URL-safe base64"),
        };
        const LENGTH: &str = "has not the length of a signature";
        if text.len() != encoding.encode_len(digest_len(self.algorithm)) {
            return Err(LENGTH);
        }
        let mut buffer = [0; MAX_DECODED];
        let len = encoding.decode_len(text.len()).map_err(|_| LENGTH)?;
        let room = buffer.get_mut(..len).ok_or(LENGTH)?;
        let len = encoding.decode_mut(text, room).map_err(|_| fault)?;
        // Padding in the middle makes a text of the right length that holds fewer bytes.
        if len != digest_len(self.algorithm) {
            return Err(fault);
        }
        let bytes = room.get(..len).ok_or(LENGTH)?;
        Digest::new(bytes).ok_or(LENGTH)
    }
}

/// What a list holds.
pub(super) struct ListValues<'v> {
    pub(super) signatures: Signatures,
    /// The entry under the timestamp's key.
    pub(super) timestamp: Option<&'v [u8]>,
}

/// Reads a list; the error says what is wrong with it.
pub(super) fn parse_list<'v>(
    value: &'v [u8],
    list: &ListSpec,
    written: &Written,
    timestamp_key: Option<&str>,
) -> Result<ListValues<'v>, &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| "is not text")?;
    let mut signatures: Option<Signatures> = None;
    let mut timestamp = None;
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
            let digest = written.parse(value.as_bytes())?;
            match &mut signatures {
                None => {
                    signatures = Some(Signatures {
                        first: digest,
                        rest: Vec::new(),
                    });
                }
                Some(found) if found.rest.len() + 1 < MAX_SIGNATURES => found.rest.push(digest),
                Some(_) => return Err("has too many signatures"),
            }
        }
    }
    Ok(ListValues {
        signatures: signatures.ok_or("holds no signature of this scheme's version")?,
        timestamp,
    })
}

/// Whether an entry is the time: the one under its key, or the first of entries without keys.
pub(super) fn is_time(wanted: Option<&str>, key: &str, is_found: bool) -> bool {
    wanted.is_some_and(|wanted| wanted == key && !(wanted.is_empty() && is_found))
}

/// The key and value of an entry; bare values have the empty key.
pub(super) fn split_entry<'v>(
    entry: &'v str,
    list: &ListSpec,
) -> Result<(&'v str, &'v str), &'static str> {
    let entry = if list.trim {
        let entry = entry.trim_matches(' ');
        // Some senders put a comma and a space between entries.
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
        return Err("has an entry with an odd key");
    }
    if list.is_quoted {
        return Ok((key, unquote(value)?));
    }
    // Spaces stand in lists of names, such as Hook0's; no signature and no time has any.
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("has an entry with an odd value");
    }
    Ok((key, value))
}

/// What stands between double quotes, in which nothing is escaped.
fn unquote(value: &str) -> Result<&str, &'static str> {
    let inner = value.strip_prefix('"');
    let inner = inner.and_then(|value| value.strip_suffix('"'));
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    inner
        .filter(|value| value.bytes().all(is_plain))
        .ok_or("has an entry that does not stand between quotes")
}

/// Path and query as they were sent.
pub(super) fn path_query(head: &Head<'_>) -> String {
    let path = head.uri.path();
    match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Digits only: `i64::from_str` would take a sign, and the app's parser perhaps spaces. No zero in front: beside a body in
/// the signed text it could be the body's, with the same time.
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
    // A year with a sign would have another length.
    if !text.iter().all(is_fit) || !text.first().is_some_and(u8::is_ascii_digit) {
        return Err(FAULT);
    }
    let text = std::str::from_utf8(text).map_err(|_| FAULT)?;
    let time: jiff::Timestamp = text.parse().map_err(|_| FAULT)?;
    Ok(time.as_millisecond())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; a sender has no reason to write one of the older forms.
fn parse_http_date(text: &[u8]) -> Result<i64, &'static str> {
    const FAULT: &str = "is not an HTTP date";
    let text = std::str::from_utf8(text).map_err(|_| FAULT)?;
    let time = jiff::fmt::strtime::parse(HTTP_DATE, text).map_err(|_| FAULT)?;
    let time = time
        .to_datetime()
        .and_then(|time| jiff::tz::Offset::UTC.to_timestamp(time));
    let time = time.map_err(|_| FAULT)?;
    // Only one spelling of a time: jiff forgives spaces and the case of letters.
    if time.strftime(HTTP_DATE).to_string() != text {
        return Err(FAULT);
    }
    Ok(time.as_millisecond())
}

#[cfg(test)]
mod tests;
