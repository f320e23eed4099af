//! IP addresses that are not public hosts: loopback, private networks, multicast, reserved ranges.
//!
//! The ranges are those of the IANA registries (RFC 6890, <https://www.iana.org/assignments/iana-ipv4-special-registry>
//! and <https://www.iana.org/assignments/iana-ipv6-special-registry>), plus multicast and the reserved rest.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::host::without_root;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

static SPECIAL_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// All global unicast addresses are in 2000::/3.
static GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

/// Special ranges inside it: IETF protocol assignments with Teredo, documentation, 6to4, documentation again.
static SPECIAL_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 23),
    v6(0x2001, 0xdb8, 32),
    v6(0x2002, 0, 16),
    v6(0x3fff, 0, 20),
];

/// NAT64 (RFC 6052): packets to such an address reach the IPv4 address in its last 32 bits.
static NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// 6to4 (RFC 3056): the IPv4 address follows the first 16 bits.
static SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 16);

/// Returns the IPv4 address inside an IPv6 address that only wraps one: IPv4-mapped, NAT64 or 6to4. Other addresses
/// stay as they are.
pub(crate) fn unwrapped(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else {
        return ip;
    };
    let bits = v6.to_bits();
    let wrapped = if NAT64.contains(&v6) {
        bits
    } else if SIX_TO_FOUR.contains(&v6) {
        bits >> 80
    } else {
        return ip.to_canonical();
    };
    u32::try_from(wrapped & u128::from(u32::MAX)).map_or(ip, |bits| IpAddr::V4(bits.into()))
}

/// Returns true where the address, also when wrapped, is a public host. A 6to4 address never is: its relays are gone
/// (RFC 7526), so its packets get lost or go astray.
pub fn is_public(ip: IpAddr) -> bool {
    // Checked before unwrapping, which would judge by the IPv4 address inside.
    let is_six_to_four = matches!(ip, IpAddr::V6(v6) if SIX_TO_FOUR.contains(&v6));
    !is_six_to_four && !overlaps(&IpNet::from(unwrapped(ip)))
}

/// Returns true where the address, also when wrapped, is link-local. Metadata services of clouds are among these.
pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    match unwrapped(ip) {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Metadata services of clouds that are not link-local: Azure, Alibaba, Oracle, and Amazon over IPv6.
static METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Names of metadata services inside their clouds.
static METADATA_NAMES: [&str; 4] = [
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Returns true for an address, also when wrapped, to which the gate never connects: link-local, or a metadata service.
pub fn is_forbidden(ip: IpAddr) -> bool {
    is_link_local(ip) || METADATA.contains(&unwrapped(ip))
}

/// Returns true for a host of a URL to which the gate never connects: a forbidden address in any spelling that
/// resolvers accept, or the name of a metadata service.
pub fn is_forbidden_host(host: &str) -> bool {
    match url::Host::parse(without_root(host)) {
        Ok(url::Host::Ipv4(ip)) => is_forbidden(ip.into()),
        Ok(url::Host::Ipv6(ip)) => is_forbidden(ip.into()),
        Ok(url::Host::Domain(name)) => METADATA_NAMES.contains(&name.as_str()),
        // The connection checks the resolved address once more, whatever the name is.
        Err(_) => false,
    }
}

/// Returns the address that a host of a URL means, in any spelling that resolvers accept. Returns `None` for a name.
pub fn literal_address(host: &str) -> Option<IpAddr> {
    match url::Host::parse(without_root(host)) {
        Ok(url::Host::Ipv4(ip)) => Some(ip.into()),
        Ok(url::Host::Ipv6(ip)) => Some(ip.into()),
        Ok(url::Host::Domain(_)) | Err(_) => None,
    }
}

/// Returns true where the range contains a special address.
pub fn overlaps(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => {
            let mut all = SPECIAL_V4.iter();
            all.any(|special| special.contains(net) || net.contains(special))
        }
        IpNet::V6(net) => {
            let mut all = SPECIAL_V6.iter();
            // Everything outside 2000::/3 is special: loopback, link-local, unique local, multicast and unassigned.
            !GLOBAL_V6.contains(net)
                || all.any(|special| special.contains(net) || net.contains(special))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_hosts_are_found_in_every_spelling() {
        for host in [
            "169.254.169.254",
            "169.254.1.1",
            "169.254.169.254.",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "168.63.129.16",
            "metadata.google.internal",
            "METADATA.google.internal.",
        ] {
            assert!(is_forbidden_host(host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "10.0.0.1",
            "[::1]",
            "[fd00::1]",
            "app",
            "metadata.example",
        ] {
            assert!(!is_forbidden_host(host), "{host}");
        }
    }

    #[test]
    fn special_and_global() {
        for special in [
            "0.0.0.0/8",
            "10.20.0.0/16",
            "100.64.1.0/24",
            "127.0.0.1/32",
            "169.254.169.254/32",
            "172.31.255.255/32",
            "192.0.0.8/32",
            "192.0.2.1/32",
            "192.168.1.1/32",
            "198.19.0.1/32",
            "224.0.0.1/32",
            "255.255.255.255/32",
            "192.0.0.0/8",
            "::/128",
            "::1/128",
            "::ffff:8.8.8.8/128",
            "64:ff9b::808:808/128",
            "fe80::1/128",
            "fc00::1/128",
            "ff02::1/128",
            "2001::1/128",
            "2001:db8::1/128",
            "2002:a00:1::/48",
            "3fff::1/128",
            "2000::/3",
        ] {
            assert!(overlaps(&special.parse().unwrap()), "{special}");
        }
        for global in [
            "1.1.1.1/32",
            "9.255.255.255/32",
            "11.0.0.0/8",
            "100.128.0.0/9",
            "172.32.0.0/16",
            "192.0.1.0/24",
            "223.255.255.255/32",
            "2001:200::/32",
            "2606:4700::/32",
            "2a0a:a440::/29",
        ] {
            assert!(!overlaps(&global.parse().unwrap()), "{global}");
        }
    }

    // Mutation: `unwrapped` returns `ip` for NAT64.
    #[test]
    fn a_wrapped_address_is_still_found() {
        for special in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2002:808:808::1",
            "2001:0:808:808::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
        for public in [
            "8.8.8.8",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2606:4700::1111",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn link_local_is_seen_through_what_wraps_it() {
        for local in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
        ] {
            assert!(is_link_local(local.parse().unwrap()), "{local}");
        }
        for other in ["127.0.0.1", "10.0.0.1", "::1", "fd00::1"] {
            assert!(!is_link_local(other.parse().unwrap()), "{other}");
        }
    }
}
