//! Scans a chunked body as strictly as `head_check` checks heads.
//!
//! The guard needs it to know where the next head begins. A pure state machine: it takes bytes and returns how many of
//! them belong to the body.

use thiserror::Error;

use crate::edge::head_check::{HeadFault, check_trailer_line};

/// Maximum number of hex digits of a chunk's size, which is what a `u64` can hold.
const MAX_DIGITS: u8 = 16;
/// Maximum length of the extensions in one line, in bytes. Honest senders use no extensions.
const MAX_EXTENSION: u16 = 255;
/// Maximum length of the whole trailer section, in bytes.
const MAX_TRAILER: usize = 4096;
/// Names that describe where a message ends or where it goes. They are not allowed in trailers (RFC 9110, section
/// 6.5.1).
const FORBIDDEN: [&[u8]; 6] = [
    b"content-length",
    b"transfer-encoding",
    b"host",
    b"connection",
    b"trailer",
    b"upgrade",
];

/// The defect of a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ChunkFault {
    /// The size is not 1 to 16 hex digits.
    #[error("malformed chunk size")]
    Size,
    /// The extension is too long or has control characters.
    #[error("malformed chunk extension")]
    Extension,
    /// A line or a chunk does not end in CR LF.
    #[error("chunk without CR LF at its end")]
    LineEnd,
    /// The trailer section is too long.
    #[error("trailer section too long")]
    TrailerTooLong,
    /// A trailer line is malformed, or has a name that is not allowed in trailers.
    #[error("malformed trailer")]
    Trailer,
}

/// A scanner with its position in a chunked body.
#[derive(Debug)]
pub struct ChunkScanner {
    state: ChunkState,
    /// The trailer section so far. Empty for nearly every body.
    trailer: Vec<u8>,
    /// Start of the current line in `trailer`.
    line: usize,
}

#[derive(Clone, Copy, Debug)]
enum ChunkState {
    Size { digits: u8, size: u64 },
    Extension { length: u16, size: u64 },
    SizeLf { size: u64 },
    Data { remaining: u64 },
    DataCr,
    DataLf,
    Trailer,
    Done,
}

const NEXT_SIZE: ChunkState = ChunkState::Size { digits: 0, size: 0 };

impl Default for ChunkScanner {
    fn default() -> Self {
        Self {
            state: NEXT_SIZE,
            trailer: Vec::new(),
            line: 0,
        }
    }
}

impl ChunkScanner {
    /// Scans bytes and returns how many of them belong to the body. The count is smaller than the input only at the
    /// body's end.
    ///
    /// # Errors
    /// The first fault. The scanner must not be used after it.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<usize, ChunkFault> {
        let mut at = 0_usize;
        while let Some(byte) = bytes.get(at) {
            match self.state {
                ChunkState::Done => break,
                ChunkState::Data { remaining: left } => {
                    // Data is skipped in one step, so the cost depends on the number of chunks and not on their size.
                    let here = bytes.len().saturating_sub(at);
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(here);
                    at = at.saturating_add(take);
                    let left = left.saturating_sub(take as u64);
                    self.state = match left {
                        0 => ChunkState::DataCr,
                        left => ChunkState::Data { remaining: left },
                    };
                }
                state => {
                    self.state = self.step(state, *byte)?;
                    at = at.saturating_add(1);
                }
            }
        }
        Ok(at)
    }

    /// Returns true after the last byte of the body.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, ChunkState::Done)
    }

    fn step(&mut self, state: ChunkState, byte: u8) -> Result<ChunkState, ChunkFault> {
        match (state, byte) {
            (ChunkState::Size { digits, size }, _) => size_step(digits, size, byte),
            (ChunkState::Extension { size, .. }, b'\r') => Ok(ChunkState::SizeLf { size }),
            (ChunkState::Extension { length, size }, b' '..=b'~' | b'\t')
                if length < MAX_EXTENSION =>
            {
                let length = length.saturating_add(1);
                Ok(ChunkState::Extension { length, size })
            }
            (ChunkState::Extension { .. }, _) => Err(ChunkFault::Extension),
            // The chunk of size 0 is the last one (RFC 9112, section 7.1).
            (ChunkState::SizeLf { size: 0 }, b'\n') => Ok(ChunkState::Trailer),
            (ChunkState::SizeLf { size }, b'\n') => Ok(ChunkState::Data { remaining: size }),
            (ChunkState::DataCr, b'\r') => Ok(ChunkState::DataLf),
            (ChunkState::DataLf, b'\n') => Ok(NEXT_SIZE),
            (ChunkState::Trailer, _) => self.trailer_step(byte),
            // A bare CR or LF is an error here, although some parsers accept it: they would see another end of the
            // body.
            (ChunkState::SizeLf { .. } | ChunkState::DataCr | ChunkState::DataLf, _) => {
                Err(ChunkFault::LineEnd)
            }
            (ChunkState::Data { .. } | ChunkState::Done, _) => Ok(state),
        }
    }

    fn trailer_step(&mut self, byte: u8) -> Result<ChunkState, ChunkFault> {
        // Trailers are buffered, so their size needs a bound.
        if self.trailer.len() >= MAX_TRAILER {
            return Err(ChunkFault::TrailerTooLong);
        }
        self.trailer.push(byte);
        if byte != b'\n' {
            return Ok(ChunkState::Trailer);
        }
        let Some([line @ .., b'\r', b'\n']) = self.trailer.get(self.line..) else {
            return Err(ChunkFault::LineEnd);
        };
        if line.is_empty() {
            return Ok(ChunkState::Done);
        }
        let name = check_trailer_line(line).map_err(|_: HeadFault| ChunkFault::Trailer)?;
        if FORBIDDEN
            .iter()
            .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
        {
            return Err(ChunkFault::Trailer);
        }
        self.line = self.trailer.len();
        Ok(ChunkState::Trailer)
    }
}

fn size_step(digits: u8, size: u64, byte: u8) -> Result<ChunkState, ChunkFault> {
    let value = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b';' if digits > 0 => return Ok(ChunkState::Extension { length: 1, size }),
        b'\r' if digits > 0 => return Ok(ChunkState::SizeLf { size }),
        _ => return Err(ChunkFault::Size),
    };
    // More digits would overflow the size, or differ between parsers that ignore leading zeros and those that do not.
    if digits >= MAX_DIGITS {
        return Err(ChunkFault::Size);
    }
    Ok(ChunkState::Size {
        digits: digits + 1,
        size: (size << 4) | u64::from(value),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8]) -> Result<Option<usize>, ChunkFault> {
        let mut scanner = ChunkScanner::default();
        let taken = scanner.scan(bytes)?;
        Ok(scanner.is_done().then_some(taken))
    }

    #[test]
    fn a_body_ends_where_it_ends() {
        let check = |body: &str| {
            assert_eq!(
                scan(format!("{body}GET /").as_bytes()),
                Ok(Some(body.len())),
                "{body:?}"
            );
        };
        check("0\r\n\r\n");
        check("5\r\nhello\r\n0\r\n\r\n");
        check("05\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n");
        check("5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n");
        check("0\r\nX-Checksum: 1\r\nY: 2\r\n\r\n");
    }

    // Mutation for each line: let the state that rejects it continue instead.
    #[test]
    fn ambiguous_bodies_are_rejected() {
        use ChunkFault::*;
        for (body, fault) in [
            ("\r\n", Size),
            ("+5\r\nhello", Size),
            (" 5\r\nhello", Size),
            ("5 \r\nhello", Size),
            ("0x5\r\nhello", Size),
            ("g\r\n", Size),
            (";a\r\n", Size),
            ("-1\r\n", Size),
            ("5\nhello", Size),
            ("00000000000000005\r\nhello", Size),
            ("fffffffffffffffff\r\n", Size),
            ("5;a\nhello", Extension),
            ("5;a\0\r\nhello", Extension),
            ("5;a\x0b\r\nhello", Extension),
            ("5\rxhello", LineEnd),
            ("5\r\r\nhello", LineEnd),
            ("5\r\nhello0\r\n\r\n", LineEnd),
            ("5\r\nhello\n0\r\n\r\n", LineEnd),
            ("5\r\nhello\rx", LineEnd),
            ("0\r\n\n", LineEnd),
            ("0\r\nX: 1\n\r\n", LineEnd),
            ("0\r\nX\r\n\r\n", Trailer),
            ("0\r\nX : 1\r\n\r\n", Trailer),
            ("0\r\nX: 1\r\n y\r\n\r\n", Trailer),
            ("0\r\nX: \0\r\n\r\n", Trailer),
            ("0\r\nContent-Length: 5\r\n\r\n", Trailer),
            ("0\r\ntransfer-encoding: chunked\r\n\r\n", Trailer),
            ("0\r\nHOST: a\r\n\r\n", Trailer),
        ] {
            assert_eq!(scan(body.as_bytes()), Err(fault), "{body:?}");
        }
        let long = format!("5;{}\r\n", "a".repeat(300));
        assert_eq!(scan(long.as_bytes()), Err(Extension));
        let long = format!("0\r\nX: {}\r\n\r\n", "a".repeat(5000));
        assert_eq!(scan(long.as_bytes()), Err(TrailerTooLong));
    }

    proptest! {
        #[test]
        fn splits_do_not_change_the_verdict(
            body in prop::collection::vec(
                prop_oneof![
                    Just("5\r\nhello\r\n".to_owned()), Just("0\r\n".to_owned()), Just("\r\n".to_owned()),
                    Just("X: 1\r\n".to_owned()), "[0-9a-f;\r\n]{0,6}",
                ], 0..6),
            cut in 1_usize..9,
        ) {
            let bytes = body.concat().into_bytes();
            let mut scanner = ChunkScanner::default();
            let mut taken = Ok(0);
            for piece in bytes.chunks(cut) {
                match scanner.scan(piece) {
                    Ok(more) => taken = taken.map(|sum: usize| sum + more),
                    Err(fault) => { taken = Err(fault); break; }
                }
            }
            prop_assert_eq!(scan(&bytes), taken.map(|sum| scanner.is_done().then_some(sum)));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = scan(&bytes);
        }
    }
}
