//! Wrong on purpose: what a gate has to refuse.

use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use http::Method;

use crate::cli::failure::Failure;
use crate::net::request_file::RequestFile;
use crate::scheme::spec::{Place, Spec};
use crate::testing::Sender;

/// How far the time is off at least.
const OFF: Duration = Duration::from_hours(1);

/// What is wrong with an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Bad {
    /// One character of the signature is another
    Signature,
    /// Signed with another secret
    Secret,
    /// Something is appended to the body after it was signed
    Body,
    /// Signed long ago
    Timestamp,
    /// Signed for a time to come
    Future,
    /// No signature
    Missing,
    /// A signature that is none
    Malformed,
    /// The signature stands there twice
    Twice,
    /// A good event, sent a second time
    Replay,
    /// PUT instead of POST
    Method,
    /// A path that no route has
    Path,
    /// A good signature over a body of `--size`
    Oversize,
}

impl Bad {
    /// Whether this sender's events can be wrong in this way.
    pub(super) fn check(self, spec: &Spec) -> Result<(), Failure> {
        let cannot = match self {
            Self::Timestamp | Self::Future if !spec.is_dated() => "this provider signs no time",
            Self::Body if !spec.signs_body() => "this provider's signature does not cover the body",
            _ => return Ok(()),
        };
        Err(Failure::usage(cannot).help("another kind of `--bad`"))
    }

    /// When the event is signed: milliseconds since the epoch.
    pub(super) fn time(self, now_ms: i64, tolerance: Duration) -> i64 {
        let off = OFF.max(tolerance.saturating_mul(2));
        let off = i64::try_from(off.as_millis()).unwrap_or(i64::MAX);
        match self {
            Self::Timestamp => now_ms.saturating_sub(off),
            Self::Future => now_ms.saturating_add(off),
            _ => now_ms,
        }
    }

    /// Before it is signed.
    pub(super) fn before(self, event: &mut RequestFile, size: usize) {
        if self != Self::Oversize {
            return;
        }
        let is_json = event.body.starts_with(b"{") || event.body.starts_with(b"[");
        let mut body = event.body.to_vec();
        if !is_json {
            body.extend_from_slice(b"&padding=");
        }
        let padding = if is_json { b' ' } else { b'x' };
        body.resize(body.len().max(size), padding);
        event.body = body.into();
    }

    /// After it was signed.
    pub(super) fn after(self, event: &mut RequestFile, sender: &Sender) {
        let place = sender.signature_place();
        match self {
            Self::Signature => change(event, place.as_ref(), flipped),
            Self::Malformed => change(event, place.as_ref(), |_| "garbage".to_owned()),
            Self::Missing => remove(event, place.as_ref()),
            Self::Twice => double(event, place.as_ref()),
            Self::Body => {
                let is_json = event.body.starts_with(b"{") || event.body.starts_with(b"[");
                let more: &[u8] = if is_json { b" " } else { b"&forged=1" };
                event.body = Bytes::from([&event.body, more].concat());
            }
            Self::Method => event.method = Method::PUT,
            Self::Path => event.target = "/hookgate-test/nowhere".to_owned(),
            Self::Secret | Self::Timestamp | Self::Future | Self::Replay | Self::Oversize => {}
        }
    }
}

fn change(event: &mut RequestFile, place: Option<&Place>, change: impl Fn(&str) -> String) {
    match place {
        Some(Place::Header(name)) => {
            let value = event.header(name.as_str()).map(&change);
            event.set_header(name.as_str(), &value.unwrap_or_default());
        }
        Some(Place::Query(name)) => {
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

fn remove(event: &mut RequestFile, place: Option<&Place>) {
    match place {
        Some(Place::Header(name)) => event.remove_header(name.as_str()),
        Some(Place::Query(name)) => {
            event.target = with_pairs(&event.target, |pair| match is_named(pair, name) {
                true => Vec::new(),
                false => vec![pair.to_owned()],
            });
        }
        _ => {}
    }
}

fn double(event: &mut RequestFile, place: Option<&Place>) {
    match place {
        Some(Place::Header(name)) => {
            let is_named =
                |(found, _): &&(String, Bytes)| found.eq_ignore_ascii_case(name.as_str());
            let found = event.headers.iter().find(is_named).cloned();
            event.headers.extend(found);
        }
        Some(Place::Query(name)) => {
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

/// With another letter in the middle of the longest run of letters and digits: still well-formed, in each encoding.
fn flipped(value: &str) -> String {
    let mut longest = (0, 0);
    let mut start = 0;
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
    fn one_letter_of_the_signature_is_another() {
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
