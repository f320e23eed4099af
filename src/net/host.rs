//! Host names as URLs, `Host` headers and TLS write them.

/// Without the brackets that an IPv6 address has in a URL.
#[must_use]
pub fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Cuts off the dot of the root, with which a name means the same host (RFC 1034 3.1). Two of them are no name.
#[must_use]
pub fn without_root(host: &str) -> &str {
    match host.strip_suffix('.') {
        Some(name) if !name.is_empty() && !name.ends_with('.') => name,
        _ => host,
    }
}
