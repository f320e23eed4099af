//! Random numbers for pauses.

/// Returns a random number from 0.0 up to 1.0.
pub(crate) fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without a source of randomness retries only lose their jitter, so this ignores the error.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
