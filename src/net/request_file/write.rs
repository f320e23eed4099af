//! Formatting of request files.
//!
//! It writes only requests that parse back to the same value.

use crate::net::request_file::part::{header_of, target_of};
use crate::net::request_file::{
    MAX_BODY, MAX_HEAD, MAX_LINES, RequestFile, RequestFileError, fault, too_long,
};

impl RequestFile {
    /// Formats the file. Parsing the result returns the same request.
    ///
    /// # Errors
    /// A part would parse as something else, such as a line end in a header or a space in the target.
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
