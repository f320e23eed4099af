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

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use crate::net::hide::MASK;

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

    /// Reads a file.
    ///
    /// # Errors
    /// The first line that is not as it should be.
    pub fn parse(text: &[u8]) -> Result<Self, RequestFileError> {
        let mut lines = Lines {
            rest: text,
            read: 0,
            number: 0,
        };
        let mut comments = Vec::new();
        let mut line = lines.next()?;
        while let Some(comment) = line.strip_prefix(b"#") {
            let comment = comment.strip_prefix(b" ").unwrap_or(comment);
            let comment = std::str::from_utf8(comment);
            let comment = comment.map_err(|_| fault(lines.number, "the comment is not UTF-8"))?;
            comments.push(comment.to_owned());
            line = lines.next()?;
        }
        let (method, target) =
            request_line(line).map_err(|message| fault(lines.number, message))?;
        let mut headers = Vec::new();
        loop {
            let line = lines.next()?;
            if line.is_empty() {
                break;
            }
            let header = header_line(line).map_err(|message| fault(lines.number, message))?;
            headers.push(header);
        }
        if lines.rest.len() > MAX_BODY {
            return Err(fault(
                0,
                format!("the body is longer than {MAX_BODY} bytes"),
            ));
        }
        let body = Bytes::copy_from_slice(lines.rest);
        Ok(Self {
            comments,
            method,
            target,
            headers,
            body,
        })
    }

    /// Reads the file at this path; never more of it than a request may have.
    ///
    /// # Errors
    /// It cannot be read, or holds no request.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        use io::Read as _;

        let most = MAX_HEAD.saturating_add(MAX_BODY).saturating_add(1);
        let mut text = Vec::new();
        let file = fs::File::open(path).map_err(ReadError::Io)?;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        file.take(most)
            .read_to_end(&mut text)
            .map_err(ReadError::Io)?;
        Self::parse(&text).map_err(ReadError::Content)
    }

    /// The bytes of the file. What they hold is read back as it is.
    ///
    /// # Errors
    /// A part that would be read back as something else: a line end in a header, a space in the target, and so on.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RequestFileError> {
        let wrong = |message| fault(0, message);
        let mut file = Vec::with_capacity(self.body.len().saturating_add(1024));
        for comment in &self.comments {
            if comment.contains(['\r', '\n']) {
                return Err(wrong("a comment holds a line end".to_owned()));
            }
            file.extend_from_slice(format!("# {comment}\r\n").as_bytes());
        }
        target_of(&self.target).map_err(wrong)?;
        let line = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        file.extend_from_slice(line.as_bytes());
        for (name, value) in &self.headers {
            header_of(name, value).map_err(wrong)?;
            file.extend_from_slice(name.as_bytes());
            file.extend_from_slice(b": ");
            file.extend_from_slice(value);
            file.extend_from_slice(b"\r\n");
        }
        file.extend_from_slice(b"\r\n");
        if file.len() > MAX_HEAD || self.comments.len() + self.headers.len() + 2 > MAX_LINES {
            return Err(wrong(too_long()));
        }
        if self.body.len() > MAX_BODY {
            return Err(wrong(format!("the body is longer than {MAX_BODY} bytes")));
        }
        file.extend_from_slice(&self.body);
        Ok(file)
    }
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

/// The lines before the body.
struct Lines<'a> {
    rest: &'a [u8],
    read: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its end. The empty one ends the head, and has to be there.
    fn next(&mut self) -> Result<&'a [u8], RequestFileError> {
        self.number += 1;
        let window = self.rest.get(..MAX_HEAD).unwrap_or(self.rest);
        let Some(end) = memchr::memchr(b'\n', window) else {
            return Err(self.unended(window.len()));
        };
        let (line, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest.get(1..).unwrap_or(&[]);
        self.read = self.read.saturating_add(end).saturating_add(1);
        if self.read > MAX_HEAD || self.number > MAX_LINES {
            return Err(fault(0, too_long()));
        }
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn unended(&self, left: usize) -> RequestFileError {
        if left >= MAX_HEAD {
            return fault(0, too_long());
        }
        match self.number {
            1 if left == 0 => fault(
                0,
                "the file is empty; its first line should be like `POST /path HTTP/1.1`",
            ),
            number => fault(
                number,
                "the file ends before the empty line that ends the headers; without a body it \
                 ends with that line",
            ),
        }
    }
}

/// Method and target of `POST /path HTTP/1.1`.
fn request_line(line: &[u8]) -> Result<(Method, String), String> {
    const RIGHT: &str = "it should be like `POST /path HTTP/1.1`";
    let text =
        std::str::from_utf8(line).map_err(|_| format!("the request line is not ASCII; {RIGHT}"))?;
    let mut words = text.split(' ');
    let (method, target, version) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(version), None) => (method, target, version),
        _ => {
            return Err(format!(
                "the request line does not have three words with one space between; {RIGHT}"
            ));
        }
    };
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| format!("the request line begins with no method; {RIGHT}"))?;
    target_of(target)?;
    if version != "HTTP/1.1" {
        return Err("the request line does not end with ` HTTP/1.1`".to_owned());
    }
    Ok((method, target.to_owned()))
}

/// The target as hyper would read it.
fn target_of(target: &str) -> Result<Uri, String> {
    const RIGHT: &str = "it should be a path, with a query or without: `/path?a=1`";
    if !target.starts_with('/') {
        return Err(format!("the target does not begin with `/`; {RIGHT}"));
    }
    if target.contains('#') {
        return Err(format!(
            "the target has a fragment, which is never sent; {RIGHT}"
        ));
    }
    let is_plain = |byte: u8| byte > b' ' && byte != 0x7f;
    match target.bytes().all(is_plain) {
        true => target
            .parse()
            .map_err(|_| format!("the target is none; {RIGHT}")),
        false => Err(format!(
            "the target holds a space or a control character; {RIGHT}"
        )),
    }
}

fn header_line(line: &[u8]) -> Result<(String, Bytes), String> {
    const RIGHT: &str = "a header line is `Name: value`";
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(format!(
            "the line begins with a space; {RIGHT}, and goes over one line"
        ));
    }
    let colon = memchr::memchr(b':', line).ok_or_else(|| {
        format!("no header has this form; {RIGHT}, and an empty line stands before the body")
    })?;
    let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
    let value = value.get(1..).unwrap_or(&[]).trim_ascii();
    let name = String::from_utf8_lossy(name);
    header_of(&name, value)?;
    Ok((name.into_owned(), Bytes::copy_from_slice(value)))
}

fn header_of(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), String> {
    let shown: String = name.escape_debug().take(64).collect();
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        format!("`{shown}` is no name of a header; names are letters, digits and hyphens")
    })?;
    if value.trim_ascii().len() != value.len() {
        return Err(format!(
            "the value of `{shown}` begins or ends with white space"
        ));
    }
    let value = HeaderValue::from_bytes(value)
        .map_err(|_| format!("the value of `{shown}` holds a control character"))?;
    Ok((parsed, value))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &[u8] =
        b"# received: 2026-05-03T10:11:12.345Z\n# by hand\nPOST /a?b=%20c HTTP/1.1\r\n\
        Host: hooks.example.com\nX-Two: 1\r\nx-two:  2 \r\n\r\n{\"a\":1}\n";

    #[test]
    fn every_part_is_read() {
        let file = RequestFile::parse(FILE).unwrap();
        assert_eq!(file.method, Method::POST);
        assert_eq!(file.target, "/a?b=%20c");
        assert_eq!(file.fact("Received"), Some("2026-05-03T10:11:12.345Z"));
        assert_eq!(file.comments.get(1).unwrap(), "by hand");
        let names: Vec<&str> = file.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "X-Two", "x-two"]);
        assert_eq!(file.header("host"), Some("hooks.example.com"));
        assert_eq!(file.header("x-two"), None);
        assert_eq!(
            file.header_map().unwrap().get_all("x-two").iter().count(),
            2
        );
        assert_eq!(file.body, "{\"a\":1}\n");
        assert_eq!(RequestFile::parse(&file.to_bytes().unwrap()).unwrap(), file);
    }

    #[test]
    fn errors_say_where_what_and_what_would_be_right() {
        for (text, line, part) in [
            ("", 0, "is empty"),
            ("POST /a HTTP/1.1", 1, "ends before the empty line"),
            ("POST /a HTTP/1.1\nA: 1\n", 3, "ends before the empty line"),
            ("# x\nPOST  /a HTTP/1.1\n\n", 2, "`POST /path HTTP/1.1`"),
            ("PO(ST /a HTTP/1.1\n\n", 1, "no method"),
            ("POST a HTTP/1.1\n\n", 1, "begin with `/`"),
            ("POST /a#b HTTP/1.1\n\n", 1, "fragment"),
            ("POST /a HTTP/2\n\n", 1, "` HTTP/1.1`"),
            ("POST /a HTTP/1.1\nA b: 1\n\n", 2, "`A b` is no name"),
            ("POST /a HTTP/1.1\nA : 1\n\n", 2, "no name"),
            ("POST /a HTTP/1.1\nA: 1\n b\n\n", 3, "begins with a space"),
            ("POST /a HTTP/1.1\nA: 1\u{1}\n\n", 2, "control character"),
            (
                "POST /a HTTP/1.1\n{\"a\"}\n\n",
                2,
                "empty line stands before the body",
            ),
        ] {
            let error = RequestFile::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.to_string().contains(part), "{text:?}: {error}");
        }
    }

    // Fails when an error shows what may be a token.
    #[test]
    fn an_error_shows_no_value() {
        let error = RequestFile::parse(b"POST / HTTP/1.1\nAuthorization: s3cret\x01\n\n");
        assert!(!error.unwrap_err().to_string().contains("s3cret"));
    }

    #[test]
    fn what_would_be_read_back_otherwise_is_not_written() {
        let file = || RequestFile::new(Method::POST, "/", Bytes::new());
        let with = |name: &str, value: &'static str| RequestFile {
            headers: vec![(name.to_owned(), Bytes::from_static(value.as_bytes()))],
            ..file()
        };
        for file in [
            with("a", "1\r\nb: 2"),
            with("a\nb", "1"),
            with("a", " 1"),
            RequestFile {
                target: "/ HTTP/1.1".to_owned(),
                ..file()
            },
            RequestFile {
                comments: vec!["a\nb".to_owned()],
                ..file()
            },
            with(
                "a",
                std::str::from_utf8(Vec::leak(vec![b'x'; MAX_HEAD])).unwrap(),
            ),
        ] {
            assert!(file.to_bytes().is_err(), "{:.100}", format!("{file:?}"));
        }
    }

    #[test]
    fn a_line_end_of_an_editor_is_told() {
        let file = |body: &str| {
            let text = format!("POST / HTTP/1.1\nContent-Length: 2\n\n{body}");
            RequestFile::parse(text.as_bytes())
                .unwrap()
                .length_warning()
        };
        assert_eq!(file("{}"), None);
        assert!(file("{}\n").unwrap().contains("an editor"));
        assert!(!file("{1}").unwrap().contains("an editor"));
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let long = [
            b"POST / HTTP/1.1\n".as_slice(),
            &b"a: 1\n".repeat(MAX_LINES),
        ]
        .concat();
        assert!(
            RequestFile::parse(&long)
                .unwrap_err()
                .message
                .contains("more than")
        );
        let wide = vec![b'x'; MAX_HEAD + 1];
        assert!(
            RequestFile::parse(&wide)
                .unwrap_err()
                .message
                .contains("more than")
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            comments in proptest::collection::vec("[^\r\n]{0,20}", 0..4),
            method in "[A-Z]{1,7}",
            target in "/[a-zA-Z0-9%?&=._~/-]{0,30}",
            headers in proptest::collection::vec(("[A-Za-z0-9-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..8),
            body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let file = RequestFile {
                comments,
                method: method.parse().unwrap(),
                target,
                headers: headers.into_iter().map(|(name, value)| (name, Bytes::from(value))).collect(),
                body: Bytes::from(body),
            };
            prop_assert_eq!(RequestFile::parse(&file.to_bytes().unwrap()).unwrap(), file);
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(file) = RequestFile::parse(&text) {
                prop_assert_eq!(RequestFile::parse(&file.to_bytes().unwrap()).unwrap(), file);
            }
        }
    }
}
