//! Parsing of request files.
//!
//! Each error gives its line and the correction.

use std::path::Path;
use std::{fs, io};

use bytes::Bytes;
use http::Method;

use crate::net::request_file::part::{header_of, target_of};
use crate::net::request_file::{
    MAX_BODY, MAX_HEAD, MAX_LINES, ReadError, RequestFile, RequestFileError, fault, too_long,
};

impl RequestFile {
    /// Parses the bytes of a file.
    ///
    /// # Errors
    /// The first line that is invalid.
    pub fn parse(text: &[u8]) -> Result<Self, RequestFileError> {
        let mut lines = HeadLines {
            rest: text,
            read: 0,
            number: 0,
        };
        let mut comments = Vec::new();
        let mut line = lines.next()?;
        while let Some(comment) = line.strip_prefix(b"#") {
            // One space belongs to the syntax, and further ones to the comment.
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

    /// Reads the file at this path, but never more bytes than a request may have.
    ///
    /// # Errors
    /// The file cannot be read, or is not a request file.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        use io::Read as _;

        // One byte more than allowed, so that `parse` can see that the body is too long.
        let most = MAX_HEAD.saturating_add(MAX_BODY).saturating_add(1);
        let mut text = Vec::new();
        let file = fs::File::open(path).map_err(ReadError::Io)?;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        file.take(most)
            .read_to_end(&mut text)
            .map_err(ReadError::Io)?;
        Self::parse(&text).map_err(ReadError::Content)
    }
}

/// The lines before the body.
struct HeadLines<'a> {
    rest: &'a [u8],
    read: usize,
    number: usize,
}

impl<'a> HeadLines<'a> {
    /// Returns the next line without its end. The empty line that ends the head must exist.
    fn next(&mut self) -> Result<&'a [u8], RequestFileError> {
        self.number += 1;
        // A search in a bounded window, so that a file without line ends does not cost a scan of 256 MiB.
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

/// Parses method and target of `POST /path HTTP/1.1`.
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
        .map_err(|_| format!("the request line does not begin with a method; {RIGHT}"))?;
    target_of(target)?;
    if version != "HTTP/1.1" {
        return Err("the request line does not end with ` HTTP/1.1`".to_owned());
    }
    Ok((method, target.to_owned()))
}

fn header_line(line: &[u8]) -> Result<(String, Bytes), String> {
    const RIGHT: &str = "a header line is `Name: value`";
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(format!(
            "the line begins with a space; {RIGHT}, on a single line"
        ));
    }
    let colon = memchr::memchr(b':', line).ok_or_else(|| {
        format!("this is not a header; {RIGHT}, and an empty line must come before the body")
    })?;
    let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
    let value = value.get(1..).unwrap_or(&[]).trim_ascii();
    let name = String::from_utf8_lossy(name);
    header_of(&name, value)?;
    Ok((name.into_owned(), Bytes::copy_from_slice(value)))
}
