//! The source of a request: socket peer, PROXY protocol header or `X-Forwarded-For`.
//!
//! `X-Forwarded-For` applies only where the peer is a trusted proxy.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use crate::model::source::canonical;

/// The addresses of a connection, before any head is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerAddress {
    /// Address of the socket's other end.
    pub(super) socket: SocketAddr,
    /// Client address from the PROXY protocol, or else the socket's.
    pub(super) ip: IpAddr,
}

/// Returns the source of one request.
///
/// Each proxy appends the address that it saw itself. An entry of `X-Forwarded-For` therefore counts only where all
/// entries to its right are trusted proxies. An entry that an untrusted client wrote is always further left.
pub(super) fn sender(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut last = peer;
    if !is_trusted(peer, trusted) {
        return last;
    }
    // From right to left, over several header lines as if they were one list.
    for line in headers.get_all("x-forwarded-for").iter().rev() {
        for entry in line.as_bytes().rsplit(|byte| *byte == b',') {
            // An entry that is not an address ends the search, since the entries before it cannot be attributed.
            let Some(ip) = parse(entry) else {
                return last;
            };
            last = ip;
            if !is_trusted(ip, trusted) {
                return last;
            }
        }
    }
    last
}

/// Returns true where the address is a trusted proxy.
pub(super) fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&ip))
}

/// Parses `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let ip = if let Ok(ip) = text.parse::<IpAddr>() {
        ip
    } else if let Ok(with_port) = text.parse::<SocketAddr>() {
        with_port.ip()
    } else {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?)
    };
    Some(canonical(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, lines: &[&str], expected: &str) {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let found = sender(peer.parse().unwrap(), &trusted, &headers);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{lines:?}");
    }

    // Mutation: walk the list from the left, or remove the `is_trusted(peer)` test.
    #[test]
    fn only_entries_of_trusted_proxies_count() {
        check("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        check(
            "10.0.0.1",
            &["1.1.1.1", "203.0.113.9, 10.0.0.2"],
            "203.0.113.9",
        );
        check("10.0.0.1", &["1.1.1.1, garbage, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &["garbage"], "10.0.0.1");
        check("10.0.0.1", &["203.0.113.9,"], "10.0.0.1");
        check("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn all_spellings_of_an_address_are_read() {
        check("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
        check("10.0.0.1", &["2001:db8::1"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1");
        check("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9");
        check("10.0.0.1", &["9.9.9.9, ::ffff:10.0.0.7"], "9.9.9.9");
    }
}
