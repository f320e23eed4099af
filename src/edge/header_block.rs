//! Scans an HPACK header block (RFC 7541) for pseudo-headers.
//!
//! The trailers of an HTTP/2 request must not have any (RFC 9113, section 8.1), and h2 0.4.20 has neither a check nor a
//! setting for that: `recv_trailers` drops the pseudo-headers and delivers the rest. No app is at risk, because trailers
//! are never forwarded. The scan exists because a malformed request must get an error (section 8.1.1), which h2spec
//! tests (http2/8.1.2.1). Delete it when h2 rejects such trailers: `odd_sequences_of_frames_are_refused` shows that.
//!
//! The scan decodes nothing and keeps no table, so it lets pass a name that refers to the connection's dynamic table.

/// The entries of the static table that are pseudo-headers (RFC 7541, appendix A).
const PSEUDO: std::ops::RangeInclusive<u8> = 1..=14;

/// A scanner's position in a header block.
#[derive(Debug, Default)]
pub(super) struct HeaderBlockScanner(BlockState);

#[derive(Clone, Copy, Debug, Default)]
enum BlockState {
    /// Before the first byte of a field.
    #[default]
    Field,
    /// Within a number whose value does not matter.
    Number { is_literal: bool },
    /// Before the length of a name or a value.
    Length { is_name: bool },
    /// Within a length of several bytes.
    LongLength { text: HpackString, shift: u32 },
    /// Within the bytes of a name or a value.
    Bytes { text: HpackString, is_first: bool },
}

#[derive(Clone, Copy, Debug)]
struct HpackString {
    is_name: bool,
    is_huffman: bool,
    remaining: usize,
}

impl HeaderBlockScanner {
    /// Scans the next byte. Returns true where a pseudo-header begins there.
    pub(super) fn sees_pseudo(&mut self, byte: u8) -> bool {
        match self.0 {
            BlockState::Field => return self.field(byte),
            BlockState::Number { is_literal } if byte & 0x80 == 0 => {
                self.0 = after_number(is_literal)
            }
            BlockState::Number { .. } => {}
            BlockState::Length { is_name } => {
                let text = HpackString {
                    is_name,
                    is_huffman: byte & 0x80 != 0,
                    remaining: usize::from(byte & 0x7f),
                };
                self.0 = match text.remaining {
                    0x7f => BlockState::LongLength { text, shift: 0 },
                    _ => text.begin(),
                };
            }
            BlockState::LongLength { mut text, shift } => {
                // Seven bits per byte, least significant first (RFC 7541, section 5.1). An overlong number saturates.
                let more = usize::from(byte & 0x7f).checked_shl(shift);
                text.remaining = text.remaining.saturating_add(more.unwrap_or(usize::MAX));
                self.0 = match byte & 0x80 {
                    0 => text.begin(),
                    _ => BlockState::LongLength {
                        text,
                        shift: shift.saturating_add(7),
                    },
                };
            }
            BlockState::Bytes { mut text, is_first } => {
                // The Huffman code of a colon is 1011100, in the upper seven bits (RFC 7541, appendix B).
                let is_colon = match text.is_huffman {
                    true => byte & 0xfe == 0b1011_1000,
                    false => byte == b':',
                };
                // A name that begins with a colon is a pseudo-header, also where it is spelled out as a literal.
                if is_first && text.is_name && is_colon {
                    return true;
                }
                text.remaining = text.remaining.saturating_sub(1);
                self.0 = match text.remaining {
                    0 => text.end(),
                    _ => BlockState::Bytes {
                        text,
                        is_first: false,
                    },
                };
            }
        }
        false
    }

    fn field(&mut self, byte: u8) -> bool {
        // The first bits give the kind of the field (RFC 7541, section 6): indexed, literal with indexing, size update,
        // or literal without indexing.
        let (index, most, is_literal) = match byte {
            0x80.. => (byte & 0x7f, 0x7f, false),
            0x40.. => (byte & 0x3f, 0x3f, true),
            // A new size of the dynamic table.
            0x20.. => {
                if byte & 0x1f == 0x1f {
                    self.0 = BlockState::Number { is_literal: false };
                }
                return false;
            }
            _ => (byte & 0x0f, 0x0f, true),
        };
        if index < most && PSEUDO.contains(&index) {
            return true;
        }
        // A prefix of ones means that the index goes on in the next bytes, beyond the entries of interest.
        self.0 = if index == most {
            BlockState::Number { is_literal }
        } else if index == 0 && is_literal {
            BlockState::Length { is_name: true }
        } else {
            after_number(is_literal)
        };
        false
    }
}

impl HpackString {
    fn begin(self) -> BlockState {
        match self.remaining {
            0 => self.end(),
            _ => BlockState::Bytes {
                text: self,
                is_first: true,
            },
        }
    }

    fn end(self) -> BlockState {
        match self.is_name {
            true => BlockState::Length { is_name: false },
            false => BlockState::Field,
        }
    }
}

fn after_number(is_literal: bool) -> BlockState {
    match is_literal {
        true => BlockState::Length { is_name: false },
        false => BlockState::Field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_pseudo(block: &[u8]) -> bool {
        let mut walk = HeaderBlockScanner::default();
        block.iter().any(|byte| walk.sees_pseudo(*byte))
    }

    #[test]
    fn pseudo_headers_are_seen_in_each_spelling() {
        assert!(has_pseudo(b"\x83"));
        assert!(has_pseudo(b"\x04\x01/"));
        assert!(has_pseudo(b"\x44\x01/"));
        assert!(has_pseudo(b"\0\x05:path\x01/"));
        assert!(has_pseudo(b"\x40\x85\xb9\x49\x53\x39\xe4\x01/"));
        assert!(has_pseudo(b"\0\x01x\x01y\x83"));
        assert!(has_pseudo(b"\0\x01x\x7f\x01yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\x83"));
        assert!(has_pseudo(b"\x3f\x01\x83"));
    }

    #[test]
    fn other_headers_are_accepted() {
        for block in [
            b"".as_slice(),
            b"\0\x01x\x01:",
            b"\0\x02x:\x01\x83",
            b"\0\x01x\0\0\x01y\x01\x84",
            b"\x0f\x0d\x01\x83",
            b"\xbe",
            b"\xff\x01",
            b"\x5f\x03txt",
        ] {
            assert!(!has_pseudo(block), "{block:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            has_pseudo(&bytes);
        }
    }
}
