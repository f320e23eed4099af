//! Rejects upstream responses that another HTTP parser could read differently than hyper.
//!
//! The sender, or a proxy in front of the gate, must not be led to another end of the response.

use std::fmt;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, response};

use crate::net::headers::{HeaderOccurrence, single};

/// The defect of a response that hyper could parse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResponseFault {
    /// 101, although the request asked for no upgrade.
    Upgrade,
    /// A status outside 200 to 599.
    Status,
    /// `Content-Length` beside `Transfer-Encoding`, several of one, or an encoding other than `chunked`.
    Framing,
}

impl fmt::Display for ResponseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upgrade => "it switches protocols",
            Self::Status => "its status is not a valid HTTP status",
            Self::Framing => "its length is ambiguous",
        })
    }
}

/// Rejects a response that another parser could read differently.
pub(crate) fn check_answer(head: &response::Parts) -> Result<(), ResponseFault> {
    let status = head.status.as_u16();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ResponseFault::Upgrade);
    }
    // hyper handles 1xx itself, and a status of 600 or more has no class that a client could act on.
    if !(200..600).contains(&status) {
        return Err(ResponseFault::Status);
    }
    if !is_length_sound(&head.headers) {
        return Err(ResponseFault::Framing);
    }
    Ok(())
}

/// Returns true for one `Content-Length` of digits, for `chunked` alone, or for neither. hyper accepts more than that.
fn is_length_sound(headers: &HeaderMap) -> bool {
    let is_chunked = match single(headers, &TRANSFER_ENCODING) {
        HeaderOccurrence::None => false,
        HeaderOccurrence::One(value) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        HeaderOccurrence::One(_) | HeaderOccurrence::Many => return false,
    };
    match single(headers, &CONTENT_LENGTH) {
        HeaderOccurrence::None => true,
        HeaderOccurrence::One(value) => {
            !is_chunked && value.as_bytes().iter().all(u8::is_ascii_digit)
        }
        HeaderOccurrence::Many => false,
    }
}
