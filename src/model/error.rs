//! Formats an error together with its sources.
//!
//! `Display` of our errors never repeats the source, so a log line needs this helper to show the whole chain.

use std::error::Error;
use std::fmt::Write;

/// Joins an error and all its sources with `: ` on one line.
pub(crate) fn chain(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
