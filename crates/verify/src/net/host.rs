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

/// Returns true for a label of a DNS name: 1 to 63 letters, digits and bytes of `punctuation`, with no hyphen at either
/// end. `punctuation` is `-` for host names (RFC 1123, section 2.1), and `-_` where names of internal networks are valid
/// too.
pub fn is_dns_label(label: &str, punctuation: &[u8]) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || punctuation.contains(&byte);
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a label is too long, or a hyphen is at its end, and it still counts as valid.
    #[test]
    fn labels_have_letters_digits_and_hyphens_inside() {
        let longest = "a".repeat(63);
        for valid in ["a", "7", "a-b", "A--9", longest.as_str()] {
            assert!(is_dns_label(valid, b"-"), "{valid}");
        }
        let too_long = "a".repeat(64);
        for invalid in ["", "-", "-a", "a-", "a.b", "a b", "é", too_long.as_str()] {
            assert!(!is_dns_label(invalid, b"-_"), "{invalid}");
        }
        assert!(!is_dns_label("_a", b"-") && is_dns_label("_a_", b"-_"));
    }
}
