//! Text files, as editors of other systems write them.

use zeroize::Zeroize;

/// The byte-order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Converts the text of a file to plain UTF-8.
///
/// Removes a byte-order mark, and decodes ASCII text in UTF-16 with its mark, as Windows writes it. Other bytes with
/// the same beginning stay as they are: they may be a random key.
pub(crate) fn normalize(bytes: &mut Vec<u8>) {
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
        return;
    }
    let Some((mark, rest)) = bytes.split_at_checked(2) else {
        return;
    };
    let order: fn([u8; 2]) -> u16 = match mark {
        b"\xff\xfe" => u16::from_le_bytes,
        b"\xfe\xff" => u16::from_be_bytes,
        _ => return,
    };
    // An odd number of bytes is not UTF-16.
    let (units, []) = rest.as_chunks::<2>() else {
        return;
    };
    let ascii = |unit: u16| u8::try_from(unit).ok().filter(|byte| is_text(*byte));
    let decoded: Option<Vec<u8>> = units.iter().map(|unit| ascii(order(*unit))).collect();
    if let Some(decoded) = decoded {
        // The old bytes may be a secret, so they are wiped before they are replaced.
        bytes.zeroize();
        *bytes = decoded;
    }
}

fn is_text(byte: u8) -> bool {
    byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        normalize(&mut bytes);
        bytes
    }

    #[test]
    fn marks_are_removed_and_ascii_in_utf_16_is_decoded() {
        for (written, read) in [
            (b"".as_slice(), b"".as_slice()),
            (b"\xef\xbb\xbf", b""),
            (b"\xef\xbb\xbfkey", b"key"),
            (b"\xef\xbb\xbf\xef\xbb\xbfkey", b"\xef\xbb\xbfkey"),
            (b"key\xef\xbb\xbf", b"key\xef\xbb\xbf"),
            (b"\xff\xfek\0e\0y\0\r\0\n\0", b"key\r\n"),
            (b"\xfe\xff\0k\0e\0y", b"key"),
            (b"\xff\xfe", b""),
            // Random keys.
            (b"\xff\xfek\0e\0y", b"\xff\xfek\0e\0y"),
            (b"\xff\xfe\x12\x34\x56\x78", b"\xff\xfe\x12\x34\x56\x78"),
            (b"\xff", b"\xff"),
        ] {
            assert_eq!(normalized(written), read);
        }
    }
}
