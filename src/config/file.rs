//! Bounded reader for the files that a config names.
//!
//! It must never load a file that is larger than its kind can be, such as a device or the wrong file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::net::text_file;

/// Reads the text of a file, without a byte-order mark, into an empty buffer.
///
/// # Errors
/// Returns the system's error, or `too_large` if the file has more than `limit` bytes.
pub(super) fn read_into(
    bytes: &mut Vec<u8>,
    path: &Path,
    limit: u64,
    too_large: &str,
) -> Result<(), String> {
    // One byte more than the limit shows that the file is too large, without reading the rest of it.
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(bytes))
        .map_err(|err| err.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(too_large.to_owned());
    }
    text_file::normalize(bytes);
    Ok(())
}
