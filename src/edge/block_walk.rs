//! Walks over a compressed header block (HPACK, RFC 7541) just far enough to see whether a pseudo-header is in it: the
//! trailers of an HTTP/2 request must not hold one (RFC 9113 8.1), and h2 does not look.
//!
//! Decodes nothing and keeps no table; a name that stands for an entry of the connection's own table is let pass. That
//! is harmless, since trailers are never used, only bad manners that cannot be seen without the table.

/// Entries 1 to 14 of the static table are the pseudo-headers (RFC 7541 appendix A).
const PSEUDO: std::ops::RangeInclusive<u8> = 1..=14;

/// Where in a block the walk stands.
#[derive(Debug, Default)]
pub(super) struct BlockWalk(State);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before a field.
    #[default]
    Field,
    /// Within a number whose value does not matter.
    Number { is_literal: bool },
    /// Before the length of a name or a value.
    Length { is_name: bool },
    /// Within a length.
    LongLength { text: Text, shift: u32 },
    /// Within a name or a value.
    Bytes { text: Text, is_first: bool },
}

#[derive(Clone, Copy, Debug)]
struct Text {
    is_name: bool,
    is_huffman: bool,
    left: usize,
}

impl BlockWalk {
    /// Takes the next byte; whether a pseudo-header begins there.
    pub(super) fn sees_pseudo(&mut self, byte: u8) -> bool {
        match self.0 {
            State::Field => return self.field(byte),
            State::Number { is_literal } if byte & 0x80 == 0 => self.0 = after_number(is_literal),
            State::Number { .. } => {}
            State::Length { is_name } => {
                let text = Text {
                    is_name,
                    is_huffman: byte & 0x80 != 0,
                    left: usize::from(byte & 0x7f),
                };
                self.0 = match text.left {
                    0x7f => State::LongLength { text, shift: 0 },
                    _ => text.begin(),
                };
            }
            State::LongLength { mut text, shift } => {
                let more = usize::from(byte & 0x7f).checked_shl(shift);
                text.left = text.left.saturating_add(more.unwrap_or(usize::MAX));
                self.0 = match byte & 0x80 {
                    0 => text.begin(),
                    _ => State::LongLength {
                        text,
                        shift: shift.saturating_add(7),
                    },
                };
            }
            State::Bytes { mut text, is_first } => {
                // The Huffman code of a colon is 1011100, in the upper seven bits.
                let is_colon = match text.is_huffman {
                    true => byte & 0xfe == 0b1011_1000,
                    false => byte == b':',
                };
                if is_first && text.is_name && is_colon {
                    return true;
                }
                text.left = text.left.saturating_sub(1);
                self.0 = match text.left {
                    0 => text.end(),
                    _ => State::Bytes {
                        text,
                        is_first: false,
                    },
                };
            }
        }
        false
    }

    fn field(&mut self, byte: u8) -> bool {
        let (index, most, is_literal) = match byte {
            0x80.. => (byte & 0x7f, 0x7f, false),
            0x40.. => (byte & 0x3f, 0x3f, true),
            // A new size of the table.
            0x20.. => {
                if byte & 0x1f == 0x1f {
                    self.0 = State::Number { is_literal: false };
                }
                return false;
            }
            _ => (byte & 0x0f, 0x0f, true),
        };
        if index < most && PSEUDO.contains(&index) {
            return true;
        }
        self.0 = if index == most {
            State::Number { is_literal }
        } else if index == 0 && is_literal {
            State::Length { is_name: true }
        } else {
            after_number(is_literal)
        };
        false
    }
}

impl Text {
    fn begin(self) -> State {
        match self.left {
            0 => self.end(),
            _ => State::Bytes {
                text: self,
                is_first: true,
            },
        }
    }

    fn end(self) -> State {
        match self.is_name {
            true => State::Length { is_name: false },
            false => State::Field,
        }
    }
}

fn after_number(is_literal: bool) -> State {
    match is_literal {
        true => State::Length { is_name: false },
        false => State::Field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_pseudo(block: &[u8]) -> bool {
        let mut walk = BlockWalk::default();
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
    fn other_headers_are_let_pass() {
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
