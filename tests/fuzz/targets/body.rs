//! Fuzzes the readers of multipart forms and of compressed bodies.
//!
//! No body makes them panic, and they never read more than arrived or than is allowed. The first line of the input is
//! the content type.
#![no_main]

use hookgate::internals::{decompress, read_form};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

const MAX_PLAIN: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (first, body) = input.split_at(end.unwrap_or(0));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(first) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    if let Ok(fields) = read_form(&headers, body) {
        let read: usize = fields
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(read <= body.len(), "{read} bytes of {}", body.len());
    }
    for bytes in [input, body] {
        if let Ok(Some(text)) = decompress(bytes, MAX_PLAIN) {
            assert!(text.len() <= MAX_PLAIN);
        }
    }
});
