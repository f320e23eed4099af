//! Plausibility checks of published ranges.
//!
//! A list is compared with addresses that no provider can have, and with the ranges that were known before.

use hookgate_verify::net::special_addresses;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Shortest accepted prefix of IPv4. A whole /8 belongs to a cloud, not to one of its customers.
const WIDEST_V4: u8 = 10;

/// Shortest accepted prefix of IPv6. Registries give providers a /32 to /29; a /20 belongs to a large carrier.
const WIDEST_V6: u8 = 20;

/// Minimum share of the known addresses that must stay. Providers add new ranges before they drop old ones.
const LEAST_KEPT_PERCENT: u128 = 50;

/// Factor of growth from which a list is rejected, if it is also larger than `SMALL`.
const MOST_GROWTH: u128 = 16;

/// Size below which any growth is accepted: a /16 of IPv4, or as many networks (/64) of IPv6.
const SMALL: u128 = 1 << 16;

/// Reason why ranges are not plausible. Each text continues "the list at URL".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ImplausibleRanges {
    /// The range is loopback, private, link-local or the like, so its addresses do not appear on the internet.
    #[error("contains `{net}`, which is not a public address range")]
    Special { net: IpNet },
    /// The range is wider than [`WIDEST_V4`] or [`WIDEST_V6`].
    #[error("contains `{net}`, which is wider than the ranges of any provider")]
    TooWide { net: IpNet },
    /// Less than [`LEAST_KEPT_PERCENT`] of the known addresses are left.
    #[error("covers only {percent} % of the known {family} addresses")]
    Shrunk { percent: u128, family: &'static str },
    /// The list grew by [`MOST_GROWTH`] times or more.
    #[error("covers {times} times as many {family} addresses as the known list")]
    Grown { times: u128, family: &'static str },
}

/// Rejects ranges that no provider can have.
pub(super) fn check(nets: &[IpNet]) -> Result<(), ImplausibleRanges> {
    for net in nets {
        let widest = match net {
            IpNet::V4(_) => WIDEST_V4,
            IpNet::V6(_) => WIDEST_V6,
        };
        // Before the special ranges, because 0.0.0.0/0 overlaps all of them.
        if net.prefix_len() < widest {
            return Err(ImplausibleRanges::TooWide { net: *net });
        }
        if special_addresses::overlaps(net) {
            return Err(ImplausibleRanges::Special { net: *net });
        }
    }
    Ok(())
}

/// Rejects ranges that differ too much from the known ones.
pub(super) fn compare(before: &[IpNet], now: &[IpNet]) -> Result<(), ImplausibleRanges> {
    let (before, now) = (AddressFamilies::of(before), AddressFamilies::of(now));
    compare_family("IPv4", &before.v4, &now.v4)?;
    compare_family("IPv6", &before.v6, &now.v6)
}

/// Compares the ranges of one address family.
fn compare_family(
    family: &'static str,
    before: &[AddressInterval],
    now: &[AddressInterval],
) -> Result<(), ImplausibleRanges> {
    let (old, new) = (size(before), size(now));
    // A new address family has no known ranges to compare with.
    if old == 0 {
        return Ok(());
    }
    // Neither list overlaps itself, so no address counts twice.
    let kept = before.iter().map(|part| part.within(now)).sum::<u128>();
    let percent = kept.saturating_mul(100) / old;
    if percent < LEAST_KEPT_PERCENT {
        return Err(ImplausibleRanges::Shrunk { percent, family });
    }
    let times = new / old;
    // A provider that had a single address may well publish a few networks.
    if times >= MOST_GROWTH && new > SMALL {
        return Err(ImplausibleRanges::Grown { times, family });
    }
    Ok(())
}

/// Range from its first to its last address. For IPv6 the units are /64 networks, because one host gets a whole /64.
#[derive(Clone, Copy)]
struct AddressInterval {
    first: u128,
    last: u128,
}

impl AddressInterval {
    /// Counts the addresses that are also in the others, which must not overlap each other.
    fn within(&self, others: &[Self]) -> u128 {
        let shared = others.iter().map(|other| {
            let first = self.first.max(other.first);
            let last = self.last.min(other.last);
            if first > last { 0 } else { last - first + 1 }
        });
        shared.sum()
    }
}

/// Counts the addresses of ranges that do not overlap.
fn size(parts: &[AddressInterval]) -> u128 {
    let sizes = parts.iter().map(|part| part.last - part.first + 1);
    sizes.sum()
}

/// Ranges by address family, merged so that no address counts twice.
struct AddressFamilies {
    v4: Vec<AddressInterval>,
    v6: Vec<AddressInterval>,
}

impl AddressFamilies {
    fn of(nets: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in IpNet::aggregate(&nets.to_vec()) {
            match net {
                IpNet::V4(net) => v4.push(part_v4(net)),
                IpNet::V6(net) => v6.push(part_v6(net)),
            }
        }
        Self { v4, v6 }
    }
}

fn part_v4(net: Ipv4Net) -> AddressInterval {
    AddressInterval {
        first: net.network().to_bits().into(),
        last: net.broadcast().to_bits().into(),
    }
}

fn part_v6(net: Ipv6Net) -> AddressInterval {
    AddressInterval {
        first: net.network().to_bits() >> 64,
        last: net.broadcast().to_bits() >> 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_no_sender_has() {
        for text in ["0.0.0.0/0", "8.0.0.0/9", "::/0", "2600::/12"] {
            let absurd = check(&nets(&["8.8.8.0/24", text]));
            assert!(
                matches!(absurd, Err(ImplausibleRanges::TooWide { .. })),
                "{text}"
            );
        }
        for text in [
            "10.1.0.0/16",
            "127.0.0.1/32",
            "169.254.169.254/32",
            "fd00::/32",
            "::1/128",
        ] {
            let absurd = check(&nets(&["8.8.8.0/24", text]));
            assert!(
                matches!(absurd, Err(ImplausibleRanges::Special { .. })),
                "{text}"
            );
        }
        check(&nets(&[
            "8.0.0.0/10",
            "2a0a:a440::/29",
            "44.228.126.217/32",
        ]))
        .unwrap();
    }

    // Fails if the remaining parts of a range are not counted, or if a family is left out.
    #[test]
    fn what_cannot_have_followed() {
        let known = nets(&["8.8.8.0/24", "8.8.4.0/24", "2600:1f24:64:8000::/56"]);
        let shrunk = |percent, family| Err(ImplausibleRanges::Shrunk { percent, family });
        for (now, judged) in [
            (nets(&["8.8.8.0/24", "2600:1f24:64:8000::/56"]), Ok(())),
            (
                nets(&["8.8.8.0/25", "8.8.4.0/25", "2600:1f24:64:8000::/48"]),
                Ok(()),
            ),
            (
                nets(&["8.8.8.0/25", "2600:1f24:64:8000::/56"]),
                shrunk(25, "IPv4"),
            ),
            (
                nets(&["9.9.9.0/24", "9.9.8.0/24", "2600:1f24:64:8000::/56"]),
                shrunk(0, "IPv4"),
            ),
            (nets(&["8.8.8.0/24"]), shrunk(0, "IPv6")),
            (nets(&["8.8.0.0/20", "2600:1f24:64:8000::/56"]), Ok(())),
            (
                nets(&["8.8.0.0/15", "2600:1f24:64:8000::/56"]),
                Err(ImplausibleRanges::Grown {
                    times: 256,
                    family: "IPv4",
                }),
            ),
            (
                nets(&["8.8.0.0/20", "2600:1f24::/32"]),
                Err(ImplausibleRanges::Grown {
                    times: 1 << 24,
                    family: "IPv6",
                }),
            ),
        ] {
            assert_eq!(compare(&known, &now), judged, "{now:?}");
        }
        // A new address family has nothing to be compared with.
        assert_eq!(
            compare(
                &nets(&["8.8.8.8/32"]),
                &nets(&["8.8.8.8/32", "2600:1f24::/32"])
            ),
            Ok(())
        );
    }
}
