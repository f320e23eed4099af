//! The host of a URL.

/// Without the brackets that an IPv6 address has in a URL.
#[must_use]
pub fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
