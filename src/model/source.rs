//! Who sends: the address of the sender after the trusted-proxy rules.
//!
//! Made by `edge` for each request, read by the gate's address checks and by `record`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The sender of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// The sender's address; an IPv4-mapped IPv6 address is unwrapped.
    pub ip: IpAddr,
    /// The other end of the socket, which differs from `ip` behind a trusted proxy.
    pub peer: SocketAddr,
    /// Whether the request came over TLS.
    pub is_tls: bool,
}

/// What limits count as one source: an IPv4 address, or the /64 of an IPv6 address (one subscriber has at least that).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SourceKey(u64, bool);

impl SourceKey {
    /// The key of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match canonical(ip) {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits()), false),
            IpAddr::V6(v6) => Self(u64::try_from(v6.to_bits() >> 64).unwrap_or(0), true),
        }
    }

    /// The address, or the first address of the /64.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        if self.1 {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.0) << 64))
        } else {
            IpAddr::V4(u32::try_from(self.0).unwrap_or(0).into())
        }
    }
}

/// The IPv4 address where an IPv6 address merely wraps one (`::ffff:a.b.c.d`).
#[must_use]
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
