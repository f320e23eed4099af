//! A request as a file: what `capture` and `listen --save` write, and `explain` and `replay-file` read.
//!
//! It is an HTTP/1.1 message as it is on the wire, with the body bytes exactly as they were. Lines that begin with `#`
//! may stand before it and say where it came from:
//!
//! ```text
//! # received: 2026-05-03T10:11:12.345Z
//! # source: 203.0.113.7
//! POST /stripe?x=1 HTTP/1.1
//! Host: hooks.example.com
//! Stripe-Signature: t=1777803072,v1=5257a8...
//!
//! {"id":"evt_1"}
//! ```
//!
//! Line ends before the body are CRLF when written; LF alone is read too, since people edit such files.

mod part;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use crate::net::hide::MASK;
use crate::net::request_file::part::header_of;

/// Everything before the body, comments included.
pub const MAX_HEAD: usize = 256 * 1024;
/// Lines before the body.
const MAX_LINES: usize = 1024;
/// The body: as long as the longest that a route may take in one piece.
pub const MAX_BODY: usize = 256 * 1024 * 1024;

/// When the request came: RFC 3339.
pub const RECEIVED: &str = "received";
/// The address of the client.
pub const SOURCE: &str = "source";
/// Hookgate's id of the request.
pub const REQUEST_ID: &str = "request-id";
/// The route that it came to.
pub const ROUTE: &str = "route";
/// The code of the reason why it was refused.
pub const REFUSED: &str = "refused";
/// Where values were taken out, since they may be tokens.
pub const MASKED: &str = "masked";
/// How much of the body is there, where it is not all of it.
pub const BODY: &str = "body";

/// A request, and what is known of where it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestFile {
    /// Comment lines without their `# `; a fact is `name: value`.
    pub comments: Vec<String>,
    /// The method.
    pub method: Method,
    /// Path and query as they were sent.
    pub target: String,
    /// Names and values in their order, names as they were written.
    pub headers: Vec<(String, Bytes)>,
    /// The body, without any transfer coding.
    pub body: Bytes,
}

/// Why a text is no request file, or a request cannot be written as one. Never holds a value of a header.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{message}", place(*line))]
pub struct RequestFileError {
    /// From 1; 0 where it is no single line.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Why a request file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// What it holds.
    #[error("{0}")]
    Content(#[source] RequestFileError),
}

impl RequestFile {
    /// A request without comments and headers.
    #[must_use]
    pub fn new(method: Method, target: impl Into<String>, body: Bytes) -> Self {
        Self {
            comments: Vec::new(),
            method,
            target: target.into(),
            headers: Vec::new(),
            body,
        }
    }

    /// Adds a fact about where the request came from.
    pub fn note(&mut self, name: &str, value: &str) {
        self.comments.push(format!("{name}: {value}"));
    }

    /// The fact of this name.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        let mut comments = self.comments.iter();
        comments.find_map(|comment| {
            let (found, value) = comment.split_once(':')?;
            found
                .trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim())
        })
    }

    /// The only value of a header, where it stands once and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(found, _)| found.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// Puts a header in place of all of its name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.remove_header(name);
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.headers.push((name.to_owned(), value));
    }

    /// Takes out every header of this name.
    pub fn remove_header(&mut self, name: &str) {
        self.headers
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }

    /// The headers as a map.
    ///
    /// # Errors
    /// Where a name or a value is none; not for what [`RequestFile::parse`] gave.
    pub fn header_map(&self) -> Result<HeaderMap, RequestFileError> {
        let mut map = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let (name, value) = header_of(name, value).map_err(|message| fault(0, message))?;
            map.append(name, value);
        }
        Ok(map)
    }

    /// Where a value stands masked: names of headers, and `the query`.
    #[must_use]
    pub fn masked(&self) -> Vec<&str> {
        let headers = self.headers.iter();
        let masked = headers.filter(|(_, value)| value == MASK.as_bytes());
        let mut names: Vec<&str> = masked.map(|(name, _)| name.as_str()).collect();
        names.dedup();
        let query = self.target.split_once('?');
        if query.is_some_and(|(_, query)| query.contains(MASK)) {
            names.push("the query");
        }
        names
    }

    /// Notes where a value stands masked.
    pub fn note_masked(&mut self) {
        let masked = self.masked().join(", ");
        if !masked.is_empty() {
            self.note(MASKED, &masked);
        }
    }

    /// What looks like an accident of editing: a length in the head that is not the body's.
    #[must_use]
    pub fn length_warning(&self) -> Option<String> {
        let said: usize = self.header("content-length")?.trim().parse().ok()?;
        let is = self.body.len();
        if said == is {
            return None;
        }
        let newline = match is == said.saturating_add(1) && self.body.ends_with(b"\n") {
            true => "; an editor may have put a line end behind it",
            false => "",
        };
        Some(format!(
            "Content-Length says {said} bytes, but the body has {is}{newline}"
        ))
    }
}

fn too_long() -> String {
    format!("what stands before the body has more than {MAX_LINES} lines or {MAX_HEAD} bytes")
}

fn fault(line: usize, message: impl Into<String>) -> RequestFileError {
    RequestFileError {
        line,
        message: message.into(),
    }
}

fn place(line: usize) -> String {
    let mut place = String::new();
    if line > 0 {
        // Writing to a string cannot fail.
        let _ = write!(place, "line {line}: ");
    }
    place
}

/// Whether a header is about the way of the message only: it is not sent again as it was.
#[must_use]
pub fn is_framing(name: &str) -> bool {
    [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
    ]
    .iter()
    .any(|framing| framing.as_str().eq_ignore_ascii_case(name))
}
