//! Strict parser for `multipart/form-data` bodies (RFC 7578), which runs before anything is verified.
//!
//! A body that two parsers could split differently is rejected, because the app may split it the other way. One pass
//! over the body, with limits for parts and for the head of each part.

use std::borrow::Cow;

use http::{HeaderMap, header};
use memchr::memmem;

use crate::scheme::form_field::FormField;

/// Limit of parts in one body: fields and files of an email with many attachments.
const MAX_PARTS: usize = 1000;

/// Largest head of one part, in bytes; file names can be long.
const MAX_HEAD: usize = 8 * 1024;

/// Limit of header lines in one part. Senders write three.
const MAX_LINES: usize = 16;

/// Longest boundary that RFC 2046 section 5.1.1 allows.
const MAX_BOUNDARY: usize = 70;

/// Returns the boundary of a multipart form; `None` if the headers declare another kind of body.
///
/// # Errors
/// Returns a text that says what is wrong with the header.
pub(super) fn boundary(headers: &HeaderMap) -> Result<Option<Vec<u8>>, &'static str> {
    const FAULT: &str = "the form has no usable boundary";
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = lines.next().map(|value| value.as_bytes()) else {
        return Ok(None);
    };
    let end = value.iter().position(|byte| *byte == b';');
    let (kind, rest) = value
        .split_at_checked(end.unwrap_or(value.len()))
        .unwrap_or((value, b""));
    if !kind
        .trim_ascii()
        .eq_ignore_ascii_case(b"multipart/form-data")
    {
        return Ok(None);
    }
    // Two content types could have two boundaries.
    if lines.next().is_some() {
        return Err("the content type occurs twice");
    }
    let found = only_parameter(rest, "boundary").map_err(|_| FAULT)?;
    let found = found.ok_or(FAULT)?;
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    let is_boundary = (1..=MAX_BOUNDARY).contains(&found.len())
        && found.iter().all(is_fit)
        && !found.ends_with(b" ");
    is_boundary.then_some(Some(found)).ok_or(FAULT)
}

/// Parses the fields in the order of the body. Files, and fields that are not valid UTF-8, have an empty value.
///
/// # Errors
/// Returns a text that says what is wrong with the body.
pub(super) fn fields<'b>(
    body: &'b [u8],
    boundary: &[u8],
) -> Result<Vec<FormField<'b>>, &'static str> {
    let delimiter = [b"\r\n--", boundary].concat();
    let finder = memmem::Finder::new(&delimiter);
    // The first boundary has no line break in front.
    let first = delimiter.get(2..).unwrap_or_default();
    // RFC 2046 section 5.1.1 allows a preamble in front. Two parsers could disagree on where it ends, so it is
    // rejected.
    let mut rest = body
        .strip_prefix(first)
        .ok_or("the form does not begin with its boundary")?;
    let mut fields = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(b"--") {
            return match after {
                b"" | b"\r\n" => Ok(fields),
                _ => Err("the form continues after its end"),
            };
        }
        let part = rest
            .strip_prefix(b"\r\n")
            .ok_or("the form has other text after a boundary")?;
        if fields.len() >= MAX_PARTS {
            return Err("the form has too many parts");
        }
        // One search per part over the rest: linear in total, because each byte is searched once.
        let end = finder.find(part).ok_or("the form has no end")?;
        let (part, after) = part.split_at_checked(end).unwrap_or((part, b""));
        fields.push(field(part)?);
        rest = after.get(delimiter.len()..).unwrap_or_default();
    }
}

fn field(part: &[u8]) -> Result<FormField<'_>, &'static str> {
    const BLANK: &[u8] = b"\r\n\r\n";
    // Bounded, so that a part without a blank line is not searched to its end.
    let window = part.get(..MAX_HEAD).unwrap_or(part);
    let end = memmem::find(window, BLANK).ok_or("a part of the form has no end of its head")?;
    let (head, content) = part.split_at_checked(end).unwrap_or((part, b""));
    let content = content.get(BLANK.len()..).unwrap_or_default();
    let head = PartHead::parse(head)?;
    let text = match std::str::from_utf8(content) {
        Ok(text) if !head.is_file => text,
        _ => "",
    };
    Ok((Cow::Owned(head.name), Cow::Borrowed(text)))
}

struct PartHead {
    name: String,
    is_file: bool,
}

impl PartHead {
    fn parse(head: &[u8]) -> Result<Self, &'static str> {
        let mut disposition = None;
        let mut is_encoded = false;
        for (count, line) in lines(head).enumerate() {
            if count >= MAX_LINES {
                return Err("a part of the form has too many headers");
            }
            let colon =
                memchr::memchr(b':', line).ok_or("a part of the form has a malformed head")?;
            let (name, value) = line.split_at_checked(colon).unwrap_or((line, b""));
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            // Some parsers take a line that begins with a space as a continuation of the one before, and others do not.
            if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
                return Err("a part of the form has a malformed head");
            }
            if name.eq_ignore_ascii_case(b"content-disposition") {
                if disposition.replace(value).is_some() {
                    return Err("a part of the form has two dispositions");
                }
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                let plain: [&[u8]; 3] = [b"7bit", b"8bit", b"binary"];
                is_encoded |= !plain.iter().any(|one| value.eq_ignore_ascii_case(one));
            }
        }
        let disposition = disposition.ok_or("a part of the form has no disposition")?;
        let end = memchr::memchr(b';', disposition).ok_or("a part of the form has no name")?;
        let (kind, rest) = disposition
            .split_at_checked(end)
            .unwrap_or((disposition, b""));
        if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
            return Err("a part of the form has another disposition");
        }
        let name = only_parameter(rest, "name")?.ok_or("a part of the form has no name")?;
        let name = String::from_utf8(name)
            .map_err(|_| "a part of the form has a name that is not valid UTF-8")?;
        // RFC 7578 section 4.2 forbids `filename*`, but a parser that knows it sees a file instead of a field.
        let is_file = only_parameter(rest, "filename")?.is_some()
            || only_parameter(rest, "filename*")?.is_some();
        // Most form parsers ignore the encoding, as RFC 7578 section 4.7 requires; some do not.
        if is_encoded && !is_file {
            return Err("a field of the form has a transfer encoding");
        }
        Ok(Self { name, is_file })
    }
}

/// Splits a head into its lines, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(end) = memmem::find(text, b"\r\n") else {
            return Some(text);
        };
        let (line, after) = text.split_at_checked(end)?;
        rest = after.get(2..);
        Some(line)
    })
}

/// Returns the only parameter of this name in `; name=value; name="value"`.
///
/// In quotes, a backslash escapes a quote or another backslash, as Go and old browsers write them. A parser without
/// such escapes ends the value earlier; the rest of the value then is not a valid parameter for that parser.
fn only_parameter(mut rest: &[u8], wanted: &str) -> Result<Option<Vec<u8>>, &'static str> {
    const FAULT: &str = "a part of the form has malformed parameters";
    let mut found = None;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(found);
        }
        rest = rest.strip_prefix(b";").ok_or(FAULT)?.trim_ascii_start();
        if rest.is_empty() {
            return Ok(found);
        }
        // The `;` ends the search at a parameter without a value, which would otherwise take the `=` of the next one.
        let equals = memchr::memchr2(b'=', b';', rest).ok_or(FAULT)?;
        let (name, value) = rest.split_at_checked(equals).unwrap_or((rest, b""));
        let value = value.strip_prefix(b"=").ok_or(FAULT)?;
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted).ok_or(FAULT)?,
            None => {
                let end = memchr::memchr(b';', value).unwrap_or(value.len());
                let (value, after) = value.split_at_checked(end).unwrap_or((value, b""));
                // A quote inside a bare value is read differently by different parsers.
                if value.contains(&b'"') {
                    return Err(FAULT);
                }
                (value.trim_ascii_end().to_vec(), after)
            }
        };
        rest = after;
        let is_wanted = name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes());
        if is_wanted && found.replace(value).is_some() {
            return Err("a part of the form has a parameter twice");
        }
    }
}

/// Splits at the closing quote, and unescapes the text before it.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, text.get(at + 1..)?)),
            b'\\' => match text.get(at + 1) {
                Some(escaped @ (b'"' | b'\\')) => {
                    value.push(*escaped);
                    bytes.next();
                }
                _ => value.push(b'\\'),
            },
            _ => value.push(*byte),
        }
    }
    None
}

#[cfg(test)]
mod tests;
