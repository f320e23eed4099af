//! Defects for `send --bad`: requests that a gate must reject.

use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use hookgate_verify::scheme::spec::{SchemeLocation, SchemeSpec};
use http::Method;

use crate::cli::failure::CommandFailure;
use crate::model::clock::millis;
use crate::net::request_file::RequestFile;
use crate::testing::EventSender;

/// Minimum distance of a wrong timestamp from now. It is more if the tolerance of the route needs more.
const OFF: Duration = Duration::from_hours(1);

/// Kind of defect of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum RequestDefect {
    /// One character of the signature is changed
    Signature,
    /// Signed with a wrong secret
    Secret,
    /// Body extended after it was signed
    Body,
    /// Signed with a timestamp that is too old
    Timestamp,
    /// Signed with a timestamp in the future
    Future,
    /// No signature
    Missing,
    /// A value that is not a signature
    Malformed,
    /// The signature twice
    Twice,
    /// A valid event, sent twice
    Replay,
    /// PUT instead of POST
    Method,
    /// A path without a route
    Path,
    /// A body of `--size` bytes with a valid signature
    Oversize,
}

impl RequestDefect {
    /// Rejects a defect that events of this sender cannot have.
    pub(super) fn check(self, spec: &SchemeSpec) -> Result<(), CommandFailure> {
        let cannot = match self {
            Self::Timestamp | Self::Future if !spec.is_dated() => {
                "this provider signs no timestamp"
            }
            Self::Body if !spec.signs_body() => "this provider's signature does not cover the body",
            _ => return Ok(()),
        };
        Err(CommandFailure::usage(cannot).help("choose another kind of `--bad`"))
    }

    /// Returns the time of signing in milliseconds since the epoch.
    pub(super) fn time(self, now_ms: i64, tolerance: Duration) -> i64 {
        let off = OFF.max(tolerance.saturating_mul(2));
        let off = millis(off);
        match self {
            Self::Timestamp => now_ms.saturating_sub(off),
            Self::Future => now_ms.saturating_add(off),
            _ => now_ms,
        }
    }

    /// Applies a defect that the signature covers. Call it before signing.
    pub(super) fn before(self, event: &mut RequestFile, size: usize) {
        if self != Self::Oversize {
            return;
        }
        let is_json = event.body.starts_with(b"{") || event.body.starts_with(b"[");
        let mut body = event.body.to_vec();
        if !is_json {
            body.extend_from_slice(b"&padding=");
        }
        // Blanks after JSON and a longer value in a form keep the body valid, so that only its size is wrong.
        let padding = if is_json { b' ' } else { b'x' };
        body.resize(body.len().max(size), padding);
        event.body = body.into();
    }

    /// Applies a defect that breaks the signature. Call it after signing.
    pub(super) fn after(self, event: &mut RequestFile, sender: &EventSender) {
        let place = sender.signature_location();
        match self {
            Self::Signature => change(event, place.as_ref(), flipped),
            Self::Malformed => change(event, place.as_ref(), |_| "garbage".to_owned()),
            Self::Missing => remove(event, place.as_ref()),
            Self::Twice => double(event, place.as_ref()),
            Self::Body => {
                let is_json = event.body.starts_with(b"{") || event.body.starts_with(b"[");
                // The body stays well-formed, so that the receiver must find out by the signature.
                let more: &[u8] = if is_json { b" " } else { b"&forged=1" };
                event.body = Bytes::from([&event.body, more].concat());
            }
            Self::Method => event.method = Method::PUT,
            Self::Path => event.target = "/hookgate-test/nowhere".to_owned(),
            Self::Secret | Self::Timestamp | Self::Future | Self::Replay | Self::Oversize => {}
        }
    }
}

fn change(
    event: &mut RequestFile,
    place: Option<&SchemeLocation>,
    change: impl Fn(&str) -> String,
) {
    match place {
        Some(SchemeLocation::Header(name)) => {
            let value = event.header(name.as_str()).map(&change);
            event.set_header(name.as_str(), &value.unwrap_or_default());
        }
        Some(SchemeLocation::Query(name)) => {
            event.target = with_pairs(&event.target, |pair| match pair.split_once('=') {
                Some((found, value)) if found == name => {
                    vec![format!("{found}={}", change(value))]
                }
                _ => vec![pair.to_owned()],
            });
        }
        _ => {}
    }
}

fn remove(event: &mut RequestFile, place: Option<&SchemeLocation>) {
    match place {
        Some(SchemeLocation::Header(name)) => event.remove_header(name.as_str()),
        Some(SchemeLocation::Query(name)) => {
            event.target = with_pairs(&event.target, |pair| match is_named(pair, name) {
                true => Vec::new(),
                false => vec![pair.to_owned()],
            });
        }
        _ => {}
    }
}

fn double(event: &mut RequestFile, place: Option<&SchemeLocation>) {
    match place {
        Some(SchemeLocation::Header(name)) => {
            let is_named =
                |(found, _): &&(String, Bytes)| found.eq_ignore_ascii_case(name.as_str());
            let found = event.headers.iter().find(is_named).cloned();
            // A second header line, not a comma in the first: parsers differ on which of the two counts.
            event.headers.extend(found);
        }
        Some(SchemeLocation::Query(name)) => {
            event.target = with_pairs(&event.target, |pair| match is_named(pair, name) {
                true => vec![pair.to_owned(), pair.to_owned()],
                false => vec![pair.to_owned()],
            });
        }
        _ => {}
    }
}

fn is_named(pair: &str, name: &str) -> bool {
    pair.split('=').next() == Some(name)
}

fn with_pairs(target: &str, change: impl Fn(&str) -> Vec<String>) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let pairs: Vec<String> = query.split('&').flat_map(change).collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

/// Changes one letter in the middle of the longest run of letters and digits. The value stays well-formed in each
/// encoding, so that only a comparison of the signature finds the change.
fn flipped(value: &str) -> String {
    let mut longest = (0, 0);
    let mut start = 0;
    // The blank at the end closes the last run.
    for (index, byte) in value.bytes().chain([b' ']).enumerate() {
        if !byte.is_ascii_alphanumeric() {
            if index - start > longest.1 - longest.0 {
                longest = (start, index);
            }
            start = index + 1;
        }
    }
    let middle = longest.0 + (longest.1 - longest.0) / 2;
    let flip = |(index, letter): (usize, char)| match (index == middle, letter) {
        (true, 'a') => 'b',
        (true, _) => 'a',
        (false, letter) => letter,
    };
    value.char_indices().map(flip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_of_the_signature_changes() {
        for (value, wrong) in [
            (
                "t=1700000000,v1=00112233445566778899",
                "t=1700000000,v1=0011223344a566778899",
            ),
            ("v1,AAaaAA==", "v1,AAabAA=="),
            ("sha256=aaaaaaaa", "sha256=aaaabaaa"),
        ] {
            assert_eq!(flipped(value), wrong);
        }
    }
}
