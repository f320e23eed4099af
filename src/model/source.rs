//! The source of a request: the client's address after the trusted-proxy rules.
//!
//! `edge` builds one for each request. The address checks of the gate and `record` read it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The source of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RequestSource {
    /// Address of the client. An IPv4-mapped IPv6 address appears as IPv4.
    pub ip: IpAddr,
    /// Address of the socket's other end. It differs from `ip` behind a trusted proxy.
    pub peer: SocketAddr,
    /// True where the request came over TLS.
    pub is_tls: bool,
}

/// The unit that limits count by: an IPv4 address, or the /64 of an IPv6 address, since a subscriber has at least a
/// /64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SourceKey(u64, bool);

impl SourceKey {
    /// Returns the key that an address belongs to.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match canonical(ip) {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits()), false),
            // The flag keeps an IPv4 address apart from a /64 with the same number.
            IpAddr::V6(v6) => Self(u64::try_from(v6.to_bits() >> 64).unwrap_or(0), true),
        }
    }

    /// Returns the IPv4 address, or the first address of the /64.
    pub(crate) fn ip(self) -> IpAddr {
        if self.1 {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.0) << 64))
        } else {
            IpAddr::V4(u32::try_from(self.0).unwrap_or(0).into())
        }
    }
}

/// Unwraps an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) to IPv4. Other addresses stay as they are.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
