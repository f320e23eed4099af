//! A chunked body ends at the same byte, or fails alike, however it is cut.
#![no_main]

use hookgate::edge::chunk_check::ChunkScanner;
use libfuzzer_sys::fuzz_target;

/// Where the body ended; none: it failed or is not at its end.
fn scan(bytes: &[u8], step: usize) -> Option<usize> {
    let mut scanner = ChunkScanner::default();
    let mut taken = 0;
    for piece in bytes.chunks(step.max(1)) {
        let count = scanner.scan(piece).ok()?;
        assert!(count <= piece.len());
        taken += count;
        if scanner.is_done() {
            return Some(taken);
        }
        assert_eq!(count, piece.len());
    }
    None
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    assert_eq!(scan(bytes, bytes.len()), scan(bytes, usize::from(step)),);
});
