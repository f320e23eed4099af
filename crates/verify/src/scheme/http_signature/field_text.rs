//! The text of a structured field, with all its lines.

use http::HeaderName;

use crate::scheme::head::RequestHead;
use crate::scheme::material_fault::MaterialFault;

pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("signature");
pub(super) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// Largest size of one structured field, in bytes, all its lines together.
const MAX_FIELD: usize = 16 * 1024;

/// Joins the lines of a field as RFC 9110 section 5.2 requires.
pub(super) fn joined(head: &RequestHead<'_>, name: &HeaderName) -> Result<Vec<u8>, MaterialFault> {
    let mut text = Vec::new();
    for line in head.headers.get_all(name) {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_bytes());
        if text.len() > MAX_FIELD {
            return Err(MaterialFault::malformed(name.as_str(), "is too long"));
        }
    }
    if text.is_empty() {
        return Err(MaterialFault::missing(name.as_str()));
    }
    Ok(text)
}
