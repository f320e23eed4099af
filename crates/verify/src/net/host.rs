//! Host names, as URLs, `Host` headers and TLS write them.

/// Removes the brackets that an IPv6 address has in a URL.
pub fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Removes the dot of the DNS root, which does not change the host (RFC 1034, section 3.1). Two dots are not a valid
/// name and stay.
pub fn without_root(host: &str) -> &str {
    match host.strip_suffix('.') {
        Some(name) if !name.is_empty() && !name.ends_with('.') => name,
        _ => host,
    }
}
