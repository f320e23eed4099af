//! The strict check of one HTTP/1 head, as a pure function over its bytes.
//!
//! hyper accepts heads that other parsers in the chain may read differently: both framing headers, bare line feeds, two
//! hosts. A head that passes this check has one meaning only. The check allocates nothing; it needs one pass for the
//! line ends and one for the rest.

use std::sync::LazyLock;

use http::StatusCode;
use memchr::{memchr, memchr2, memmem};

/// Maximum number of headers. hyper has the same limit, and both respond with 431 beyond it.
const MAX_HEADERS: usize = 100;
const MAX_METHOD: usize = 24;

/// Finds the empty line at the end of a head. Prepared once, since that costs half as much as the search.
static HEAD_END: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));

/// The defect of a request head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadFault {
    /// The head has more bytes than `max_header_size`, or more than 100 headers.
    TooLarge,
    /// A line does not end in CR LF, or a CR is elsewhere.
    LineEnd,
    /// The head has a control character.
    Control,
    /// The first line is not `METHOD target HTTP/1.x`.
    RequestLine,
    /// The method is malformed, or useless for a gate (`CONNECT`, `TRACE`).
    Method,
    /// The target is neither a path nor an absolute URL of the same host, or has bytes that are not allowed in targets.
    Target,
    /// The version is not 1.0 or 1.1.
    Version,
    /// A line continues on the next one (obsolete line folding).
    Folded,
    /// A header line has no colon, a space before it, or a name that is not a token.
    HeaderName,
    /// A header that must be unique appears twice.
    Duplicate,
    /// The host is missing, appears twice, or is malformed.
    Host,
    /// `Content-Length` is not one plain number.
    ContentLength,
    /// `Transfer-Encoding` is not exactly `chunked`, or the request is HTTP/1.0.
    TransferEncoding,
    /// `Content-Length` and `Transfer-Encoding` are both present.
    BothFramings,
    /// An HTTP/2 request has a header of HTTP/1.1 connections (`Connection`, `Transfer-Encoding`, `Upgrade`).
    Upgrade,
}

impl HeadFault {
    /// Returns the status of the response.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the word for logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "head-too-large",
            Self::LineEnd => "line-end",
            Self::Control => "control-character",
            Self::RequestLine => "request-line",
            Self::Method => "method",
            Self::Target => "target",
            Self::Version => "version",
            Self::Folded => "folded-header",
            Self::HeaderName => "header-name",
            Self::Duplicate => "duplicate-header",
            Self::Host => "host",
            Self::ContentLength => "content-length",
            Self::TransferEncoding => "transfer-encoding",
            Self::BothFramings => "both-framings",
            Self::Upgrade => "upgrade",
        }
    }
}

/// The rule that decides where the body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// The request has no body.
    Empty,
    /// The body ends after this many bytes.
    Length(u64),
    /// The body ends after the last chunk.
    Chunked,
}

/// Finds the end of a head that arrives in pieces. It inspects each byte once, so that a slow sender costs linear time.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndFinder {
    scanned: usize,
    line: usize,
    is_first_line_checked: bool,
}

impl EndFinder {
    /// Returns the length of the head in `bytes`, or `None` where more bytes are needed.
    ///
    /// `bytes` must begin with the head and include all bytes of earlier calls. Faults that no further byte can repair
    /// are returned at once, so that the gate does not wait for a client that never sends the end.
    ///
    /// # Errors
    /// A line ends wrongly, the first line is empty, or it cannot become valid.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadFault> {
        if self.scanned == 0
            && let Some(end) = HEAD_END.find(bytes)
        {
            // The whole head has arrived at once, as nearly always. `check_head` checks each of its line ends.
            return Ok(Some(end.saturating_add(4)));
        }
        while let Some(offset) = memchr(b'\n', bytes.get(self.scanned..).unwrap_or_default()) {
            let at = self.scanned.saturating_add(offset);
            let line = bytes.get(self.line..at).unwrap_or_default();
            // A bare LF ends a line for some parsers and not for others.
            let Some((b'\r', text)) = line.split_last() else {
                return Err(HeadFault::LineEnd);
            };
            if text.is_empty() {
                let is_first = self.line == 0;
                return if is_first {
                    Err(HeadFault::RequestLine)
                } else {
                    Ok(Some(at.saturating_add(1)))
                };
            }
            self.line = at.saturating_add(1);
            self.scanned = self.line;
        }
        self.scanned = bytes.len();
        self.check_begin(bytes)?;
        Ok(None)
    }

    /// Checks the first line of an incomplete head.
    fn check_begin(&mut self, bytes: &[u8]) -> Result<(), HeadFault> {
        if self.is_first_line_checked {
            return Ok(());
        }
        if self.line == 0 {
            let method = bytes.iter().take_while(|byte| **byte != b' ');
            let is_good = bytes.first().is_none_or(u8::is_ascii_uppercase)
                && method.take(MAX_METHOD).all(|byte| is_method_byte(*byte));
            return if is_good {
                Ok(())
            } else {
                Err(HeadFault::Method)
            };
        }
        let first = memchr(b'\r', bytes).and_then(|end| bytes.get(..end));
        self.is_first_line_checked = true;
        check_request_line(first.unwrap_or_default()).map(|_| ())
    }
}

/// The parts of a request line that matter to the check.
struct RequestLine<'a> {
    is_version_10: bool,
    /// The authority of an absolute target.
    authority: Option<&'a [u8]>,
}

/// The headers that decide framing and host, as found so far.
#[derive(Default)]
struct FramingHeaders<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    is_chunked: bool,
    has_content_type: bool,
    has_authorization: bool,
    has_expect: bool,
}

/// Checks one whole head, including the empty line at its end.
///
/// # Errors
/// The first fault found.
pub fn check_head(head: &[u8]) -> Result<BodyFraming, HeadFault> {
    let mut rest = head;
    let first = next_line(&mut rest)?;
    let line = check_request_line(first)?;
    let mut seen = FramingHeaders::default();
    let mut count = 0_usize;
    loop {
        let text = next_line(&mut rest)?;
        if text.is_empty() {
            break;
        }
        count = count.saturating_add(1);
        if count > MAX_HEADERS {
            return Err(HeadFault::TooLarge);
        }
        seen.read_header(text, &line)?;
    }
    if !rest.is_empty() {
        return Err(HeadFault::LineEnd);
    }
    // `next_line` has already rejected any CR or LF that is not at the end of a line.
    if has_control(head) {
        return Err(HeadFault::Control);
    }
    seen.check_host(&line)?;
    // Both headers at once is the classic request smuggling attack (RFC 9112, section 6.3).
    match (seen.is_chunked, seen.length) {
        (true, Some(_)) => Err(HeadFault::BothFramings),
        (true, None) => Ok(BodyFraming::Chunked),
        (false, Some(0) | None) => Ok(BodyFraming::Empty),
        (false, Some(length)) => Ok(BodyFraming::Length(length)),
    }
}

impl<'a> FramingHeaders<'a> {
    fn read_header(&mut self, line: &'a [u8], request: &RequestLine<'_>) -> Result<(), HeadFault> {
        let (name, value) = split_header(line)?;
        // The length of most names is enough to tell that they do not matter.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let before = self.host.replace(value);
                before.map_or(Ok(()), |_| Err(HeadFault::Host))?;
            }
            6 if name.eq_ignore_ascii_case(b"expect") => once(&mut self.has_expect)?,
            // `Upgrade` needs no check: a server may ignore it (RFC 9110, section 7.8), and this one never switches
            // protocols.
            12 if name.eq_ignore_ascii_case(b"content-type") => once(&mut self.has_content_type)?,
            13 if name.eq_ignore_ascii_case(b"authorization") => {
                once(&mut self.has_authorization)?;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = plain_number(value).ok_or(HeadFault::ContentLength)?;
                let before = self.length.replace(length);
                before.map_or(Ok(()), |_| Err(HeadFault::ContentLength))?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let is_plain = value.eq_ignore_ascii_case(b"chunked");
                if !is_plain || self.is_chunked || request.is_version_10 {
                    return Err(HeadFault::TransferEncoding);
                }
                self.is_chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn check_host(&self, line: &RequestLine<'_>) -> Result<(), HeadFault> {
        match self.host {
            // Only HTTP/1.0 allows a request without `Host` (RFC 9112, section 3.2).
            None if line.is_version_10 && line.authority.is_none() => Ok(()),
            None => Err(HeadFault::Host),
            Some(host) if !is_host(host) => Err(HeadFault::Host),
            // An absolute target and `Host` must agree, or two parsers would see two hosts.
            Some(host) => match line.authority {
                Some(authority) if !authority.eq_ignore_ascii_case(host) => Err(HeadFault::Host),
                _ => Ok(()),
            },
        }
    }
}

/// Cuts off one line at CR LF, and rejects either character anywhere else.
fn next_line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], HeadFault> {
    let end = memchr2(b'\r', b'\n', rest).ok_or(HeadFault::LineEnd)?;
    let (line, after) = rest.split_at(end);
    *rest = after.strip_prefix(b"\r\n").ok_or(HeadFault::LineEnd)?;
    Ok(line)
}

fn check_request_line(line: &[u8]) -> Result<RequestLine<'_>, HeadFault> {
    let first = memchr(b' ', line).ok_or(HeadFault::RequestLine)?;
    let (method, rest) = line.split_at(first);
    let rest = rest.get(1..).unwrap_or_default();
    let second = memchr(b' ', rest).ok_or(HeadFault::RequestLine)?;
    let (target, version) = rest.split_at(second);
    check_method(method)?;
    let is_version_10 = match version {
        b" HTTP/1.1" => false,
        b" HTTP/1.0" => true,
        _ => return Err(HeadFault::Version),
    };
    Ok(RequestLine {
        is_version_10,
        authority: check_target(target)?,
    })
}

fn check_method(method: &[u8]) -> Result<(), HeadFault> {
    let is_spelled = (1..=MAX_METHOD).contains(&method.len())
        && method.iter().all(|byte| is_method_byte(*byte))
        && method.first() != Some(&b'-');
    match method {
        b"CONNECT" | b"TRACE" => Err(HeadFault::Method),
        _ if !is_spelled => Err(HeadFault::Method),
        _ => Ok(()),
    }
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'-'
}

/// Checks a target: a path, or an absolute URL, whose authority is returned.
fn check_target(target: &[u8]) -> Result<Option<&[u8]>, HeadFault> {
    if !target.iter().all(|byte| has_class(*byte, TARGET)) {
        return Err(HeadFault::Target);
    }
    if target.first() == Some(&b'/') {
        return Ok(None);
    }
    let after = strip_scheme(target).ok_or(HeadFault::Target)?;
    let slash = memchr(b'/', after).ok_or(HeadFault::Target)?;
    let authority = after.get(..slash).unwrap_or_default();
    if is_host(authority) {
        Ok(Some(authority))
    } else {
        Err(HeadFault::Target)
    }
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    let strip = |scheme: &[u8]| {
        let head = target.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme)
            .then(|| target.get(scheme.len()..))?
    };
    strip(b"http://").or_else(|| strip(b"https://"))
}

/// Splits a header line into name and value, without the white space around the value.
fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), HeadFault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(HeadFault::Folded);
    }
    let colon = line.iter().position(|byte| !has_class(*byte, TOKEN));
    let colon = colon.ok_or(HeadFault::HeaderName)?;
    let (name, rest) = line.split_at(colon);
    let Some((b':', value)) = rest.split_first() else {
        // A space before the colon is one of these: some parsers ignore it, others read another name (RFC 9112, section
        // 5.1).
        return Err(match rest.first() {
            Some(byte) if is_control(*byte) => HeadFault::Control,
            _ => HeadFault::HeaderName,
        });
    };
    if name.is_empty() {
        return Err(HeadFault::HeaderName);
    }
    Ok((name, trim(value)))
}

/// Checks one line of a trailer section, and returns its name.
pub(super) fn check_trailer_line(line: &[u8]) -> Result<&[u8], HeadFault> {
    let (name, value) = split_header(line)?;
    if value.iter().any(|byte| is_control(*byte)) {
        return Err(HeadFault::Control);
    }
    Ok(name)
}

/// Bit for bytes of a token (RFC 9110, section 5.6.2).
const TOKEN: u8 = 1;
/// Bit for bytes of a target: those of RFC 3986, and a few more that senders write into queries unescaped. Never `#`,
/// space, control characters or bytes beyond ASCII.
const TARGET: u8 = 2;

fn has_class(byte: u8, class: u8) -> bool {
    static CLASSES: [u8; 256] = class_table();
    let classes = CLASSES.get(usize::from(byte));
    classes.is_some_and(|classes| classes & class != 0)
}

const fn class_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        let is_token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        let is_target = matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'_' | b'a'..=b'~');
        #[expect(clippy::indexing_slicing, reason = "a u8 is always within 256")]
        {
            table[byte as usize] =
                if is_token { TOKEN } else { 0 } | if is_target { TARGET } else { 0 };
        }
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// Returns true where there is a control character other than tab, CR and LF. It has no early exit and works on bytes,
/// so that the compiler processes 16 of them at once.
fn has_control(head: &[u8]) -> bool {
    let seen = head.iter().fold(0_u8, |seen, byte| {
        let is_low = u8::from(*byte < 0x20);
        let is_blank =
            u8::from(*byte == b'\t') | u8::from(*byte == b'\r') | u8::from(*byte == b'\n');
        seen | (is_low & !is_blank) | u8::from(*byte == 0x7f)
    });
    seen != 0
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Parses digits only, up to the range of a `u64`. A sign or white space is rejected.
fn plain_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn once(flag: &mut bool) -> Result<(), HeadFault> {
    if std::mem::replace(flag, true) {
        return Err(HeadFault::Duplicate);
    }
    Ok(())
}

/// Returns true for a name, an IPv4 address or a bracketed IPv6 address, with or without a port. User and escapes are
/// rejected.
pub(super) fn is_host(host: &[u8]) -> bool {
    let (name, port) = if host.first() == Some(&b'[') {
        let Some(end) = memchr(b']', host) else {
            return false;
        };
        let (name, port) = host.split_at(end.saturating_add(1));
        // Parsed as an address, so that zone ids and other bracketed text are rejected.
        let inner = name
            .get(1..end)
            .and_then(|inner| std::str::from_utf8(inner).ok());
        if inner.is_none_or(|inner| inner.parse::<std::net::Ipv6Addr>().is_err()) {
            return false;
        }
        (name, port)
    } else {
        let end = memchr(b':', host).unwrap_or(host.len());
        let (name, port) = host.split_at(end);
        let is_name_byte =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !name.iter().all(is_name_byte) {
            return false;
        }
        (name, port)
    };
    let is_port = match port.split_first() {
        None => true,
        Some((b':', digits)) => {
            (1..=5).contains(&digits.len())
                && plain_number(digits).is_some_and(|number| number <= 65_535)
        }
        Some(_) => false,
    };
    !name.is_empty() && host.len() <= 255 && is_port
}

#[cfg(test)]
mod tests;
