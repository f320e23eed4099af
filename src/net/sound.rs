//! Whether an app's answer has one meaning only: hyper reads some that another reader could take for something else.

use std::fmt;

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, response};

use crate::net::headers::{Occurrence, single};

/// What is wrong with an answer that hyper could read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerFault {
    /// 101, although nothing asked for it.
    Upgrade,
    /// A status outside 200 to 599.
    Status,
    /// `Content-Length` beside `Transfer-Encoding`, several of one, or an encoding other than `chunked`.
    Framing,
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upgrade => "it switches protocols",
            Self::Status => "its status is not one of HTTP",
            Self::Framing => "its length is ambiguous",
        })
    }
}

/// Refuses an answer that another reader could take for something else.
///
/// # Errors
/// See [`AnswerFault`].
pub fn check_answer(head: &response::Parts) -> Result<(), AnswerFault> {
    let status = head.status.as_u16();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(AnswerFault::Upgrade);
    }
    if !(200..600).contains(&status) {
        return Err(AnswerFault::Status);
    }
    if !is_length_sound(&head.headers) {
        return Err(AnswerFault::Framing);
    }
    Ok(())
}

/// One `Content-Length` of digits, or `chunked` alone, or neither; hyper takes more than that.
fn is_length_sound(headers: &HeaderMap) -> bool {
    let is_chunked = match single(headers, &TRANSFER_ENCODING) {
        Occurrence::None => false,
        Occurrence::One(value) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        Occurrence::One(_) | Occurrence::Many => return false,
    };
    match single(headers, &CONTENT_LENGTH) {
        Occurrence::None => true,
        Occurrence::One(value) => !is_chunked && value.as_bytes().iter().all(u8::is_ascii_digit),
        Occurrence::Many => false,
    }
}
