//! Reads the files that a config names: none is taken that is larger than its kind can be.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::net::text_file;

/// Reads the text of a file, without a byte-order mark, into an empty buffer.
///
/// # Errors
/// What the system says; `too_large` where there are more bytes than `limit`.
pub(super) fn read_into(
    bytes: &mut Vec<u8>,
    path: &Path,
    limit: u64,
    too_large: &str,
) -> Result<(), String> {
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(bytes))
        .map_err(|err| err.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(too_large.to_owned());
    }
    text_file::normalize(bytes);
    Ok(())
}
