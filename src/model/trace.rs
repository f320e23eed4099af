//! The W3C trace context of a request: trace id, parent span and sampling flag.
//!
//! All span ids are derived from the request id. A delivery that happens days later therefore finds its trace without
//! any stored state, and a log line is enough to find the trace.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::model::ids::RequestId;

/// Length of a `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;

/// A span id of the W3C trace context.
pub(crate) type SpanId = [u8; 8];

/// The trace context of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TraceContext {
    uid: RequestId,
    /// Trace id: the sender's where its trace is continued, otherwise the request id.
    pub id: [u8; 16],
    /// The sender's span, where the trace continues that of the sender.
    pub parent: Option<SpanId>,
    /// True where the spans of this trace are exported.
    pub is_sampled: bool,
}

/// A part of the processing that has its own span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TracePart {
    /// The request as a whole.
    Request,
    /// One stage of the request, by its name.
    Stage(&'static str),
    /// One attempt of a delivery: its delivery id and attempt number.
    Attempt(i64, u32),
}

impl TraceContext {
    /// Starts a new trace. `share`, from 0 to 1, is the fraction of requests that are sampled.
    ///
    /// The decision follows from the request id, so every part of one request makes the same one.
    pub(crate) fn new(uid: RequestId, share: f64) -> Self {
        // The last bytes of the id are random bits; the first ones are the time.
        let [.., a, b, c, d] = *uid.as_bytes();
        let chance = f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0);
        Self {
            uid,
            id: *uid.as_bytes(),
            parent: None,
            is_sampled: chance < share,
        }
    }

    /// Continues the trace that a `traceparent` names, or returns `None` where the header is malformed.
    pub(crate) fn continued(uid: RequestId, traceparent: &str) -> Option<Self> {
        // All versions so far begin with the 55 bytes of version 00.
        let (head, rest) = traceparent.split_at_checked(LENGTH)?;
        let mut parts = head.split('-');
        let (version, id) = (parts.next()?, parts.next()?);
        let (parent, flags) = (parts.next()?, parts.next()?);
        // A later version may append fields after a `-`; version 00 may not, and version `ff` is invalid (W3C Trace
        // Context).
        let is_longer = !rest.is_empty();
        let is_known = version != "ff" && (version != "00" || !is_longer);
        if parts.next().is_some() || !is_known || (is_longer && !rest.starts_with('-')) {
            return None;
        }
        bytes::<1>(version)?;
        let (id, parent, [flags]) = (bytes(id)?, bytes(parent)?, bytes(flags)?);
        // The specification forbids ids of all zeros.
        if id == [0; 16] || parent == [0; 8] {
            return None;
        }
        Some(Self {
            uid,
            id,
            parent: Some(parent),
            is_sampled: flags & 1 == 1,
        })
    }

    /// Derives the id of a span from the request id and the part.
    pub(crate) fn span(&self, part: TracePart) -> SpanId {
        // Derived, not random: a delivery in another process, days later, gets the same parent span.
        let mut digest = Sha256::new_with_prefix(self.uid.as_bytes());
        match part {
            TracePart::Request => digest.update(b"request"),
            TracePart::Stage(name) => digest.update(name),
            TracePart::Attempt(delivery, attempt) => {
                digest.update(delivery.to_be_bytes());
                digest.update(attempt.to_be_bytes());
            }
        }
        let mut id = SpanId::default();
        let all = digest.finalize();
        id.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        // A span id of all zeros is invalid. Its probability is 1 in 2^64, and all that is lost then is one span.
        id
    }

    /// Formats the `traceparent` for a request that is sent within this part.
    pub(crate) fn header(&self, part: TracePart) -> String {
        let mut text = String::with_capacity(LENGTH);
        let (id, span) = (HEXLOWER.encode(&self.id), HEXLOWER.encode(&self.span(part)));
        // Writing to a string cannot fail.
        let _ = write!(text, "00-{id}-{span}-{:02x}", u8::from(self.is_sampled));
        text
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid() -> RequestId {
        RequestId::new(1_700_000_000_000, [7; 10])
    }

    #[test]
    fn a_traceparent_is_read_strictly() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::continued(uid(), good).unwrap();
        assert_eq!(
            HEXLOWER.encode(&trace.id),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(trace.parent.unwrap()[..2], [0, 0xf0]);
        assert!(trace.is_sampled);
        assert!(
            !TraceContext::continued(uid(), &good.replace("-01", "-00"))
                .unwrap()
                .is_sampled
        );
        assert!(TraceContext::continued(uid(), &format!("cc{}-more", &good[2..])).is_some());
        for bad in [
            String::new(),
            good.to_uppercase(),
            format!("{good}-more"),
            format!("ff{}", &good[2..]),
            format!("cc{}more", &good[2..]),
            good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            good.replace('-', "_"),
            good.replace("4bf9", "4b\u{e9}"),
            good[..54].to_owned(),
        ] {
            assert_eq!(TraceContext::continued(uid(), &bad), None, "{bad}");
        }
    }

    #[test]
    fn each_part_has_its_own_span_and_the_header_names_it() {
        let trace = TraceContext::new(uid(), 1.0);
        let parts = [
            TracePart::Request,
            TracePart::Stage("upstream"),
            TracePart::Attempt(1, 1),
            TracePart::Attempt(1, 2),
            TracePart::Attempt(2, 1),
        ];
        let spans: std::collections::BTreeSet<_> = parts.map(|part| trace.span(part)).into();
        assert_eq!(spans.len(), parts.len());
        let read = TraceContext::continued(uid(), &trace.header(TracePart::Request)).unwrap();
        assert_eq!((read.id, read.is_sampled), (trace.id, true));
        assert_eq!(read.parent, Some(trace.span(TracePart::Request)));
    }

    #[test]
    fn a_share_is_sampled() {
        let sampled = (0..1000u16).filter(|number| {
            let mut random = [0; 10];
            random[6..8].copy_from_slice(&number.wrapping_mul(40_503).to_be_bytes());
            TraceContext::new(RequestId::new(0, random), 0.1).is_sampled
        });
        assert!((60..140).contains(&sampled.count()));
        assert!(!TraceContext::new(uid(), 0.0).is_sampled);
    }
}
