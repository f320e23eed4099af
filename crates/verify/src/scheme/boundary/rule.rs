//! Rules for single values, bodies and header lists.

use std::borrow::Cow;

use http::HeaderName;
use memchr::memmem;

use crate::scheme::head::RequestHead;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::read_head;
use crate::scheme::sent_timestamp::SentTimestamp;
use crate::scheme::spec::{SchemeLocation, TimeUnit};
use crate::scheme::whole_request::WholeRequest;

/// Earliest plausible time: a second of the year 2001, in milliseconds. From then on seconds have ten digits.
pub(crate) const FIRST_SECOND: i64 = 1_000_000_000_000;

/// Digits of that time in seconds.
pub(crate) const FIRST_DIGITS: usize = 10;

/// Rule for one value of the signed text.
pub(crate) struct ValueRule {
    pub(super) location: SchemeLocation,
    /// True for the signed event id, which the caller has read already.
    pub(super) is_id: bool,
    pub(super) forbids: ForbiddenText,
}

pub(crate) enum ForbiddenText {
    /// The delimiter next to the value.
    Text(String),
    /// The delimiter, then a time of this unit, then the delimiter after the time or the end of the value.
    TimeBehind(String, TimeUnit, String),
    /// Control characters, which no text contains.
    Control,
    /// Every character that is not part of a word.
    NotWord,
}

/// Forbidden beginning of a body if the signed text is `{id}L{timestamp}L{body}`, with or without delimiters.
pub(crate) enum BodyStart {
    /// The delimiters, and the unit of the time between them.
    Delimited(String, TimeUnit, String),
    /// A word that contains a time: without delimiters it could be the end of an id and the time after it.
    Word(TimeUnit),
}

pub(crate) struct HeaderListing {
    pub(super) header: HeaderName,
    /// Headers that each list must contain: the list itself, so that no other list gives the same text, and the time.
    pub(super) needed: Vec<HeaderName>,
}

impl ValueRule {
    pub(super) fn check(&self, whole: &WholeRequest<'_>) -> Result<(), MaterialFault> {
        match whole.read(&self.location)? {
            Some(value) => self.check_value(&value),
            None => Ok(()),
        }
    }

    pub(super) fn check_value(&self, value: &[u8]) -> Result<(), MaterialFault> {
        let is_bad = match &self.forbids {
            ForbiddenText::Text(text) => memmem::find(value, text.as_bytes()).is_some(),
            ForbiddenText::TimeBehind(text, unit, end) => {
                // A value that is too long by another one contains the delimiter. Ids seldom do, so this comes first.
                let has_delimiter = positions(value, text.as_bytes()).next().is_some();
                // A value with JSON or XML in it is the beginning of a body, not an id.
                has_delimiter
                    && (has_time(value, text, *unit, end) || value.iter().any(is_structure))
            }
            ForbiddenText::Control => !is_text(value),
            ForbiddenText::NotWord => !value.iter().all(is_word),
        };
        let fault = "contains the text that separates the signed values";
        if is_bad {
            return Err(self.location.malformed(fault));
        }
        Ok(())
    }
}

impl BodyStart {
    pub(super) fn is_at(&self, body: &[u8]) -> bool {
        match self {
            Self::Word(unit) => {
                let end = body.iter().take_while(|byte| is_word(byte)).count();
                holds_time(body.get(..end).unwrap_or_default(), *unit)
            }
            Self::Delimited(before, unit, after) => {
                // This much could be part of an id: the rest of one whose beginning is in the header.
                let is_id = |byte: &&u8| byte.is_ascii_graphic() && !is_structure(byte);
                let length = body.iter().take_while(is_id).count();
                if length == 0 {
                    return false;
                }
                let start = body.get(..length).unwrap_or_default();
                // The signed text has the delimiter before the body, so a time at its very beginning counts too.
                let text = [before.as_bytes(), start].concat();
                positions(&text, before.as_bytes()).any(|at| {
                    let rest = text.get(at + before.len()..).unwrap_or_default();
                    let end = memmem::find(rest, after.as_bytes());
                    let time = end.and_then(|end| rest.get(..end));
                    time.is_some_and(|time| is_time(time, *unit))
                })
            }
        }
    }
}

/// Returns whether a byte is part of the syntax of JSON or XML, which no id contains.
pub(crate) fn is_structure(byte: &u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b'<' | b'>' | b'"')
}

/// Returns the positions of a delimiter in a value.
///
/// Every verified request of some schemes comes here, with a value of some 30 bytes and a delimiter of one: building a
/// `memmem` searcher for it costs more than the search.
pub(crate) fn positions<'t>(text: &'t [u8], delimiter: &'t [u8]) -> impl Iterator<Item = usize> {
    let first = delimiter.first();
    let found = first.map(|first| memchr::memchr_iter(*first, text));
    // An empty delimiter is everywhere.
    let everywhere = match first {
        None => 0..text.len().saturating_add(1),
        Some(_) => 0..0,
    };
    let found = found.into_iter().flatten().chain(everywhere);
    found.filter(|at| {
        let rest = text.get(*at..);
        rest.is_some_and(|rest| rest.starts_with(delimiter))
    })
}

pub(crate) fn is_word(byte: &u8) -> bool {
    // Twitch's ids are UUIDs, or base64 with padding.
    byte.is_ascii_alphanumeric() || b"_-.:=+/".contains(byte)
}

/// Returns whether a time could begin somewhere in the word, or end in it.
pub(crate) fn holds_time(word: &[u8], unit: TimeUnit) -> bool {
    match unit {
        TimeUnit::Seconds | TimeUnit::Millis | TimeUnit::SecondsOrMillis => {
            // A digit in front could also be the end of a time that begins before the word.
            let is_number = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
            word.first().is_some_and(u8::is_ascii_digit)
                || word.windows(FIRST_DIGITS).any(is_number)
        }
        // The date and its `T` are enough: every RFC 3339 time begins with them.
        TimeUnit::Rfc3339 => word.windows(11).any(|part| {
            let at = |index: usize, wanted: &[u8]| {
                part.get(index).is_some_and(|byte| wanted.contains(byte))
            };
            at(4, b"-") && at(7, b"-") && at(10, b"Tt")
        }),
        // An HTTP date begins with the name of a day, so any word could be its beginning.
        TimeUnit::HttpDate => !word.is_empty(),
    }
}

pub(crate) fn is_time(text: &[u8], unit: TimeUnit) -> bool {
    let time = SentTimestamp::parse(text, unit);
    // An earlier time is outside of any sensible tolerance, so it gives no second reading.
    time.is_ok_and(|time| time.unix_ms() >= FIRST_SECOND)
}

/// Returns whether the value contains a time after the delimiter `text`, ended by `end` or by the end of the value.
pub(crate) fn has_time(value: &[u8], text: &str, unit: TimeUnit, end: &str) -> bool {
    positions(value, text.as_bytes()).any(|at| {
        let rest = value.get(at + text.len()..).unwrap_or_default();
        let time = match end {
            "" => leading_time(rest),
            end => rest.get(..memmem::find(rest, end.as_bytes()).unwrap_or(rest.len())),
        };
        time.is_some_and(|time| is_time(time, unit))
    })
}

/// Returns the digits at the beginning, for a time without a delimiter after it.
pub(crate) fn leading_time(rest: &[u8]) -> Option<&[u8]> {
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    rest.get(..rest.iter().take_while(is_digit).count())
}

pub(crate) fn is_text(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !b"\t\r\n".contains(byte);
    std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(is_control)
}

impl ValueRule {
    /// Returns whether the rule can never apply: headers cannot contain a line break.
    pub(super) fn is_void(&self) -> bool {
        let (ForbiddenText::Text(text) | ForbiddenText::TimeBehind(text, ..)) = &self.forbids
        else {
            return false;
        };
        matches!(self.location, SchemeLocation::Header(_)) && text.contains('\n')
    }
}

impl HeaderListing {
    /// Rejects lists that allow a second reading of the signed text.
    ///
    /// Entries are `name:value` with `;` between them, and values may contain `;` too. So each name may begin only one
    /// piece of the text, and the list is itself an entry. Then the text has only one reading.
    pub(super) fn check(&self, head: &RequestHead<'_>) -> Result<(), MaterialFault> {
        let fault = |fault| MaterialFault::malformed(self.header.as_str(), fault);
        let list = read_head::read_header(head, &self.header)?;
        let list = std::str::from_utf8(list).map_err(|_| fault("is not text"))?;
        // Header names are case-insensitive, so compare them in lower case.
        let names: Vec<String> = list
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        let is_listed = |name: &HeaderName| names.iter().any(|listed| listed == name.as_str());
        if !self.needed.iter().all(is_listed) {
            return Err(fault("does not list a header that hookgate reads"));
        }
        let mut pieces: Vec<Cow<'_, [u8]>> = Vec::new();
        for name in &names {
            let value = head.headers.get(name.as_str());
            let value = value.map(|value| value.as_bytes().trim_ascii());
            let mut parts = value.unwrap_or_default().split(|byte| *byte == b';');
            let first = parts.next().unwrap_or_default();
            pieces.push(Cow::Owned([name.as_bytes(), b":", first].concat()));
            pieces.extend(parts.map(Cow::Borrowed));
        }
        let begins = |piece: &[u8], name: &str| {
            let rest = piece.strip_prefix(name.as_bytes());
            rest.is_some_and(|rest| rest.starts_with(b":"))
        };
        let is_once = |name: &String| {
            let found = pieces.iter().filter(|piece| begins(piece, name));
            found.count() == 1
        };
        match names.iter().all(is_once) {
            true => Ok(()),
            false => Err(fault(
                "lists a header whose entry could begin at another position",
            )),
        }
    }
}
