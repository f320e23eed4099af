//! Bounded decompression of gzip bodies (RFC 1952).
//!
//! The plain text is only for verification and for reading values: the gate forwards the original bytes.

use std::io::Read as _;

// Over a slice it reads no byte after the end of the stream; the decoder over readers buffers.
use flate2::bufread::GzDecoder;

/// First bytes of every gzip stream. No JSON text and no form begins with them.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Limit of plain bytes per compressed byte. JSON of webhooks compresses to a tenth or less; gzip can reach 1,032.
const MAX_RATIO: usize = 100;

/// Plain bytes that any body may have, because the ratio of a short body means little.
const ALWAYS: usize = 64 * 1024;

/// Reason why a body has no plain text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GzipFault {
    /// The body is not exactly one complete gzip stream.
    Broken,
    /// The body is compressed more than any genuine one.
    Ratio,
    /// The plain text is longer than a body may be.
    TooLarge,
}

/// Returns the plain text of a compressed body; `None` if the body is not compressed.
///
/// # Errors
/// Returns an error if the stream is broken or exceeds a limit.
pub fn plain(body: &[u8], max: usize) -> Result<Option<Box<[u8]>>, GzipFault> {
    if !body.starts_with(&MAGIC) {
        return Ok(None);
    }
    let by_ratio = body.len().saturating_mul(MAX_RATIO).max(ALWAYS);
    let limit = max.min(by_ratio);
    let mut text = Vec::new();
    // `take` stops the decoder at the limit, so a small body cannot fill the memory.
    let mut bounded = GzDecoder::new(body).take(u64::try_from(limit).unwrap_or(u64::MAX));
    bounded
        .read_to_end(&mut text)
        .map_err(|_| GzipFault::Broken)?;
    let mut decoder = bounded.into_inner();
    // Reading past the end also makes the decoder verify the checksum.
    match decoder.read(&mut [0]) {
        Ok(0) => {}
        // The lower of both limits is the one that the text has reached.
        Ok(_) if max <= by_ratio => return Err(GzipFault::TooLarge),
        Ok(_) => return Err(GzipFault::Ratio),
        Err(_) => return Err(GzipFault::Broken),
    }
    // Reject a second stream: some readers append it, and others ignore it.
    if !decoder.into_inner().is_empty() {
        return Err(GzipFault::Broken);
    }
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_compressed_is_read_in_plain() {
        let text = br#"{"type":"message.new"}"#;
        assert_eq!(plain(text, 10), Ok(None));
        assert_eq!(plain(b"", 10), Ok(None));
        let packed = gzip(text);
        assert_eq!(plain(&packed, text.len()), Ok(Some(text[..].into())));
        assert_eq!(plain(&packed, text.len() - 1), Err(GzipFault::TooLarge));
        assert_eq!(plain(&gzip(b""), 10), Ok(Some([].into())));
    }

    /// Fails if the checksum, the end, or the data after the end is not checked.
    #[test]
    fn a_broken_stream_has_no_plain_text() {
        let packed = gzip(b"some text");
        for cut in 2..packed.len() {
            assert_eq!(plain(&packed[..cut], 100), Err(GzipFault::Broken), "{cut}");
        }
        let mut damaged = packed.clone();
        let sum = damaged.len() - 5;
        damaged[sum] ^= 1;
        assert_eq!(plain(&damaged, 100), Err(GzipFault::Broken));
        let twice = [packed.clone(), packed.clone()].concat();
        assert_eq!(plain(&twice, 100), Err(GzipFault::Broken));
        let trailed = [&packed[..], b"x"].concat();
        assert_eq!(plain(&trailed, 100), Err(GzipFault::Broken));
    }

    /// Fails if a small body can make the gate write a large one.
    #[test]
    fn a_bomb_stops_at_the_ratio() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000, "{}", bomb.len());
        assert_eq!(plain(&bomb, 100 << 20), Err(GzipFault::Ratio));
        assert_eq!(plain(&bomb, 1 << 19), Err(GzipFault::TooLarge));
    }
}
