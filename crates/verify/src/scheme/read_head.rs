//! Reads single values of a request head: headers, query parameters, and the target.

use std::borrow::Cow;

use http::HeaderName;

use crate::scheme::head::RequestHead;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::spec::SchemeLocation;

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
pub fn read_query<'h>(head: &RequestHead<'h>, name: &str) -> Result<Cow<'h, [u8]>, MaterialFault> {
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

/// Returns path and query as they were sent.
pub(super) fn path_query(head: &RequestHead<'_>) -> String {
    let path = head.uri.path();
    match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}
