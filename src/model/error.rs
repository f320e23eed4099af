//! Printing errors: one helper, since `Display` of our errors never repeats its source.

use std::error::Error;
use std::fmt::Write;

/// The error and all its sources on one line, joined by `: `.
#[must_use]
pub fn chain(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
