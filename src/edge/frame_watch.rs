//! Reads the frame headers of an HTTP/2 connection, to find incomplete heads and floods.
//!
//! hyper and h2 have no deadline for a head that has begun and never ends, and they respond to each frame without
//! content. This module finds both, and trailers with pseudo-headers.
//!
//! A pure state machine over the bytes from the peer. It changes no byte.

use crate::edge::header_block::HeaderBlockScanner;

/// Length of the client's preface, which comes before the first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;
const HEAD: usize = 9;

/// Token bucket for frames without content: its size, and its refill per second. A client needs a handful of such
/// frames per request.
const BURST: u32 = 500;
const PER_SECOND: u64 = 50;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// The position in the peer's byte stream.
#[derive(Debug)]
pub(super) struct FrameWatch {
    preface_remaining: usize,
    head: [u8; HEAD],
    head_len: usize,
    payload_remaining: usize,
    kind: u8,
    /// True from the begin of a header block until the last byte of the frame that ends it.
    is_in_block: bool,
    ends_block: bool,
    /// Highest stream id so far. A header block on this stream or a lower one is a trailer section.
    newest_stream: u32,
    trailers: Option<TrailerSection>,
    tokens: u32,
    refilled_ms: u64,
}

/// The classification of the newest bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FrameStatus {
    /// Between frames, or within the body of a request.
    Whole,
    /// Within the preface, a frame header, a control frame or a header block: a deadline applies.
    Partial,
    /// Too many frames without content.
    Flood,
    /// A trailer section has a pseudo-header.
    BadTrailers,
}

/// A trailer section. Counts which bytes of its current frame are padding or priority fields, and not header fields.
#[derive(Debug, Default)]
struct TrailerSection {
    walk: HeaderBlockScanner,
    is_padded: bool,
    priority_remaining: u8,
    fragment_remaining: usize,
}

impl Default for FrameWatch {
    fn default() -> Self {
        Self {
            preface_remaining: PREFACE,
            head: [0; HEAD],
            head_len: 0,
            payload_remaining: 0,
            kind: DATA,
            is_in_block: false,
            ends_block: false,
            newest_stream: 0,
            trailers: None,
            tokens: BURST,
            refilled_ms: 0,
        }
    }
}

impl FrameWatch {
    /// Reads the newest bytes and classifies them. `now_ms` is called only for frames without content; `has_streams` is
    /// true while a request is open.
    pub(super) fn see(
        &mut self,
        mut bytes: &[u8],
        has_streams: bool,
        now_ms: impl Fn() -> u64,
    ) -> FrameStatus {
        skip(&mut bytes, &mut self.preface_remaining);
        while !bytes.is_empty() {
            if self.payload_remaining > 0 {
                let piece = bytes.get(..self.payload_remaining).unwrap_or(bytes);
                // Only the payload of frames in a trailer section is scanned.
                if let Some(trailers) = self.trailers.as_mut().filter(|_| self.kind != DATA)
                    && piece.iter().any(|byte| trailers.sees_pseudo(*byte))
                {
                    return FrameStatus::BadTrailers;
                }
                skip(&mut bytes, &mut self.payload_remaining);
            } else if let Some((first, rest)) = bytes.split_first() {
                if let Some(slot) = self.head.get_mut(self.head_len) {
                    *slot = *first;
                }
                bytes = rest;
                self.head_len = self.head_len.saturating_add(1);
                if self.head_len >= HEAD && !self.begin_frame(has_streams, &now_ms) {
                    return FrameStatus::Flood;
                }
            }
            if self.payload_remaining == 0 && self.head_len == 0 && self.ends_block {
                (self.is_in_block, self.ends_block) = (false, false);
                self.trailers = None;
            }
        }
        let is_mid_frame = self.head_len > 0 || (self.payload_remaining > 0 && self.kind != DATA);
        if self.preface_remaining > 0 || is_mid_frame || self.is_in_block {
            FrameStatus::Partial
        } else {
            FrameStatus::Whole
        }
    }

    /// Handles a complete frame header. Returns false for a flood.
    fn begin_frame(&mut self, has_streams: bool, now_ms: &impl Fn() -> u64) -> bool {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        // Frame format: 24 bits of length, type, flags, stream id (RFC 9113, section 4.1).
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (self.head_len, self.payload_remaining, self.kind) = (0, length, kind);
        let carries = match kind {
            HEADERS | CONTINUATION => {
                self.is_in_block = true;
                self.ends_block = flags & END_HEADERS != 0;
                self.begin_block(kind, flags, length, u32::from_be_bytes(stream));
                // Only the first frame of a block and frames with content count as useful.
                kind == HEADERS || length > 0
            }
            // An empty DATA frame is useful once, to end a stream (CVE-2019-9518).
            DATA => length > 0 || flags & END_STREAM != 0,
            // A client that reads a long response sends many. Without an open request they have no use.
            WINDOW_UPDATE => has_streams,
            _ => false,
        };
        // The clock is read only here, so an ordinary request does not pay for it.
        carries || self.spend(now_ms())
    }

    /// Distinguishes a trailer section from the head of a new stream.
    fn begin_block(&mut self, kind: u8, flags: u8, length: usize, stream: u32) {
        let is_first = kind == HEADERS;
        if is_first && stream > self.newest_stream {
            self.newest_stream = stream;
            self.trailers = None;
        } else if is_first {
            self.trailers = Some(TrailerSection::default());
        }
        if let Some(trailers) = &mut self.trailers {
            // Only HEADERS frames have padding and priority fields, not CONTINUATION (RFC 9113, sections 6.2 and 6.10).
            trailers.is_padded = is_first && flags & PADDED != 0;
            let has_priority = is_first && flags & WITH_PRIORITY != 0;
            trailers.priority_remaining = if has_priority { 5 } else { 0 };
            trailers.fragment_remaining = length
                .saturating_sub(usize::from(trailers.is_padded))
                .saturating_sub(usize::from(trailers.priority_remaining));
        }
    }

    fn spend(&mut self, now_ms: u64) -> bool {
        let gone = now_ms.saturating_sub(self.refilled_ms);
        let refill = gone.saturating_mul(PER_SECOND) / 1000;
        // `refilled_ms` moves only when a token is added. Otherwise, frequent calls would never add one.
        if refill > 0 {
            let refill = u32::try_from(refill).unwrap_or(BURST);
            self.tokens = self.tokens.saturating_add(refill).min(BURST);
            self.refilled_ms = now_ms;
        }
        match self.tokens.checked_sub(1) {
            None => false,
            Some(left) => {
                self.tokens = left;
                true
            }
        }
    }
}

impl TrailerSection {
    fn sees_pseudo(&mut self, byte: u8) -> bool {
        // The first byte of a padded frame is the length of the padding at its end (RFC 9113, section 6.2).
        if std::mem::take(&mut self.is_padded) {
            self.fragment_remaining = self.fragment_remaining.saturating_sub(usize::from(byte));
        } else if self.priority_remaining > 0 {
            self.priority_remaining = self.priority_remaining.saturating_sub(1);
        } else if self.fragment_remaining > 0 {
            self.fragment_remaining = self.fragment_remaining.saturating_sub(1);
            return self.walk.sees_pseudo(byte);
        }
        false
    }
}

fn skip(bytes: &mut &[u8], left: &mut usize) {
    let count = bytes.len().min(*left);
    *bytes = bytes.get(count..).unwrap_or_default();
    *left = left.saturating_sub(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.extend(payload);
        bytes
    }

    fn after(pieces: &[Vec<u8>]) -> FrameStatus {
        let mut at_once = FrameWatch::default();
        let bytes = [vec![0; PREFACE], pieces.concat()].concat();
        let sight = at_once.see(&bytes, true, || 0);
        let mut bytewise = FrameWatch::default();
        let mut last = FrameStatus::Whole;
        for byte in bytes {
            last = bytewise.see(&[byte], true, || 0);
            if !matches!(last, FrameStatus::Whole | FrameStatus::Partial) {
                break;
            }
        }
        assert_eq!(sight, last);
        sight
    }

    #[test]
    fn a_header_block_is_partial_until_its_end() {
        assert_eq!(after(&[]), FrameStatus::Whole);
        assert_eq!(
            FrameWatch::default().see(b"PRI", true, || 0),
            FrameStatus::Partial
        );
        assert_eq!(
            after(&[frame(HEADERS, END_HEADERS, b"abc")]),
            FrameStatus::Whole
        );
        assert_eq!(after(&[frame(HEADERS, 0, b"abc")]), FrameStatus::Partial);
        let middle = frame(CONTINUATION, 0, b"x");
        assert_eq!(
            after(&[frame(HEADERS, 0, b"abc"), middle.clone()]),
            FrameStatus::Partial
        );
        let end = frame(CONTINUATION, END_HEADERS, b"");
        assert_eq!(
            after(&[frame(HEADERS, 0, b"abc"), middle, end]),
            FrameStatus::Whole
        );
        assert_eq!(
            after(&[frame(DATA, 0, b"abc")[..11].to_vec()]),
            FrameStatus::Whole
        );
        assert_eq!(
            after(&[frame(4, 0, b"abcdef")[..11].to_vec()]),
            FrameStatus::Partial
        );
    }

    // Mutation: `Some(TrailerSection::default())` -> `None` in `begin_block`.
    #[test]
    fn trailers_must_not_have_pseudo_headers() {
        let head = frame(HEADERS, END_HEADERS, b"\x83");
        let check = |trailers: &[Vec<u8>], expected| {
            let frames = [std::slice::from_ref(&head), trailers].concat();
            assert_eq!(after(&frames), expected);
        };
        check(&[frame(HEADERS, 5, b"\0\x01x\x01y")], FrameStatus::Whole);
        check(&[frame(HEADERS, 5, b"\x84")], FrameStatus::BadTrailers);
        check(
            &[frame(HEADERS, 13, b"\x02\0\x01x\x01y\x84\x84")],
            FrameStatus::Whole,
        );
        check(&[frame(HEADERS, 13, b"\0\x84")], FrameStatus::BadTrailers);
        check(
            &[frame(HEADERS, 0x25, b"\x84\x84\x84\x84\x84\0\x01x\x01y")],
            FrameStatus::Whole,
        );
        let begin = frame(HEADERS, 1, b"\0\x01x\x01");
        check(
            &[begin.clone(), frame(CONTINUATION, 4, b"\x84")],
            FrameStatus::Whole,
        );
        check(
            &[begin, frame(CONTINUATION, 4, b"y\x84")],
            FrameStatus::BadTrailers,
        );
    }

    // Mutation: `carries || self.spend(..)` -> `true`.
    #[test]
    fn frames_without_content_are_counted() {
        for (kind, flags, payload) in [
            (6, 0, [0; 8].as_slice()),
            (4, 0, &[]),
            (3, 0, &[0; 4]),
            (DATA, 0, &[]),
            (0x20, 0, &[]),
        ] {
            let many = vec![frame(kind, flags, payload); 2000];
            assert_eq!(after(&many), FrameStatus::Flood, "{kind}");
            assert_eq!(after(&many[..100]), FrameStatus::Whole, "{kind}");
        }
        assert_eq!(after(&vec![frame(DATA, 0, b"x"); 2000]), FrameStatus::Whole);
        assert_eq!(
            after(&vec![frame(WINDOW_UPDATE, 0, &[0; 4]); 2000]),
            FrameStatus::Whole
        );
        let mut slow = FrameWatch::default();
        slow.see(&[0; PREFACE], false, || 0);
        for second in 0..2000 {
            let ping = frame(6, 0, &[0; 8]);
            assert_eq!(slow.see(&ping, false, || second * 1000), FrameStatus::Whole);
        }
    }
}
