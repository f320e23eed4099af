//! Request files, which `capture` and `listen --save` write, and `explain` and `replay-file` read.
//!
//! A request file is an HTTP/1.1 message as on the wire, with the exact bytes of the body. Lines that begin with `#`
//! may come first and describe the origin of the request:
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
//! Line ends before the body are CRLF when written. LF alone is accepted too, since people edit such files.

mod part;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use hookgate_verify::net::redact::MASK;
use http::{HeaderMap, Method, header};

use crate::net::request_file::part::header_of;

/// Maximum size of everything before the body, comments included, in bytes.
pub(crate) const MAX_HEAD: usize = 256 * 1024;
/// Maximum number of lines before the body.
const MAX_LINES: usize = 1024;
/// Maximum size of the body, in bytes: the largest that a route may accept in one piece.
pub(crate) const MAX_BODY: usize = 256 * 1024 * 1024;

/// Time at which the request was received (RFC 3339).
pub(crate) const RECEIVED: &str = "received";
/// Address of the client that sent it.
pub(crate) const SOURCE: &str = "source";
/// The request id from hookgate.
pub(crate) const REQUEST_ID: &str = "request-id";
/// Name of the route that received it.
pub(crate) const ROUTE: &str = "route";
/// Id of the reason for the rejection.
pub(crate) const REFUSED: &str = "refused";
/// Names of the parts whose values were masked, since they may be tokens.
pub(crate) const MASKED: &str = "masked";
/// Extent of the body, where the file does not have all of it.
pub(crate) const BODY: &str = "body";

/// A request with the known facts about its origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestFile {
    /// Comment lines without their `# `. A fact has the form `name: value`.
    pub comments: Vec<String>,
    /// Method of the request line.
    pub method: Method,
    /// Path and query, as they were sent.
    pub target: String,
    /// Names and values in their order, with names as they were written.
    pub headers: Vec<(String, Bytes)>,
    /// The body, without any transfer coding.
    pub body: Bytes,
}

/// The reason why a text is not a request file, or a request cannot be written as one. It never contains a header's
/// value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{message}", line_location(*line))]
pub struct RequestFileError {
    /// Line number from 1, or 0 where the error is not about one line.
    pub line: usize,
    /// The error and the correction.
    pub message: String,
}

/// The reason why a request file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// The content is not a valid request file.
    #[error("{0}")]
    Content(#[source] RequestFileError),
}

impl RequestFile {
    /// Creates a request without comments and headers.
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

    /// Adds a fact about the origin of the request.
    pub fn add_comment(&mut self, name: &str, value: &str) {
        self.comments.push(format!("{name}: {value}"));
    }

    /// Returns the value of a fact.
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

    /// Returns the value of a header that appears exactly once and is text.
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

    /// Sets a header, and removes all others of its name.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.remove_header(name);
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.headers.push((name.to_owned(), value));
    }

    /// Removes every header of this name.
    pub fn remove_header(&mut self, name: &str) {
        self.headers
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }

    /// Returns the headers as a map.
    ///
    /// # Errors
    /// A name or a value is invalid. The headers that [`RequestFile::parse`] returns are always valid.
    pub fn header_map(&self) -> Result<HeaderMap, RequestFileError> {
        let mut map = HeaderMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let (name, value) = header_of(name, value).map_err(|message| fault(0, message))?;
            map.append(name, value);
        }
        Ok(map)
    }

    /// Lists the parts that are masked: names of headers, and `the query`.
    #[must_use]
    pub fn masked(&self) -> Vec<&str> {
        let headers = self.headers.iter();
        let masked = headers.filter(|(_, value)| value == MASK.as_bytes());
        let mut names: Vec<&str> = masked.map(|(name, _)| name.as_str()).collect();
        // A header may appear several times in a row; its name is listed once.
        names.dedup();
        let query = self.target.split_once('?');
        if query.is_some_and(|(_, query)| query.contains(MASK)) {
            names.push("the query");
        }
        names
    }

    /// Adds a comment that lists the masked parts, where there are any.
    pub fn mark_masked(&mut self) {
        let masked = self.masked().join(", ");
        if !masked.is_empty() {
            self.add_comment(MASKED, &masked);
        }
    }

    /// Returns a warning where `Content-Length` differs from the body, which an editor's line end often causes.
    #[must_use]
    pub fn length_warning(&self) -> Option<String> {
        let said: usize = self.header("content-length")?.trim().parse().ok()?;
        let is = self.body.len();
        if said == is {
            return None;
        }
        // The most common accident: an editor adds a line end when it saves the file.
        let newline = match is == said.saturating_add(1) && self.body.ends_with(b"\n") {
            true => "; an editor may have added a line end",
            false => "",
        };
        Some(format!(
            "`Content-Length` is {said} bytes, but the body has {is}{newline}"
        ))
    }
}

fn too_long() -> String {
    format!("the part before the body has more than {MAX_LINES} lines or {MAX_HEAD} bytes")
}

fn fault(line: usize, message: impl Into<String>) -> RequestFileError {
    RequestFileError {
        line,
        message: message.into(),
    }
}

fn line_location(line: usize) -> String {
    let mut place = String::new();
    if line > 0 {
        // Writing to a string cannot fail.
        let _ = write!(place, "line {line}: ");
    }
    place
}

/// Returns true for headers that only describe the transfer. They are not sent again as they were.
pub(crate) fn is_framing(name: &str) -> bool {
    [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
    ]
    .iter()
    .any(|framing| framing.as_str().eq_ignore_ascii_case(name))
}
