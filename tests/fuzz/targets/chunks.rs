//! Fuzzes the check of chunked bodies: a body ends at the same byte, or fails alike, however it is split.
#![no_main]

use hookgate::internals::{ChunkScanner};
use libfuzzer_sys::fuzz_target;

/// Returns the position where the body ended, or `None` if it failed or is incomplete.
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
