//! Whether ranges that a sender is said to publish can be true: held against what no sender has, and against the ranges
//! that were known before.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::net::special;

/// The widest range that is believed. A whole /8 belongs to a cloud, not to one of its customers.
const WIDEST_V4: u8 = 10;

/// Providers are given a /32 to /29 of IPv6; a /20 is a large carrier's.
const WIDEST_V6: u8 = 20;

/// Ranges may not shrink to less than half of what they covered, since senders add new ranges before they leave old ones.
const LEAST_KEPT_PERCENT: u128 = 50;

/// Nor grow to more than this many times,
const MOST_GROWTH: u128 = 16;

/// where that is more than a /16 of IPv4, or as many networks (/64) of IPv6.
const SMALL: u128 = 1 << 16;

/// Why ranges are not believed. The texts fit behind "what it answers".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Absurd {
    /// Loopback, private, link-local and the like: none from which anybody sends over the internet.
    #[error("holds `{net}`, from which nobody sends over the internet")]
    Special { net: IpNet },
    /// See [`WIDEST_V4`] and [`WIDEST_V6`].
    #[error("holds `{net}`, which is wider than any sender's range")]
    TooWide { net: IpNet },
    /// See [`LEAST_KEPT_PERCENT`].
    #[error("covers only {percent} % of the known {family} addresses")]
    Shrunk { percent: u128, family: &'static str },
    /// See [`MOST_GROWTH`].
    #[error("covers {times} times as many {family} addresses as were known")]
    Grown { times: u128, family: &'static str },
}

/// Whether these can be ranges of a sender at all.
pub(super) fn check(nets: &[IpNet]) -> Result<(), Absurd> {
    for net in nets {
        let widest = match net {
            IpNet::V4(_) => WIDEST_V4,
            IpNet::V6(_) => WIDEST_V6,
        };
        if net.prefix_len() < widest {
            return Err(Absurd::TooWide { net: *net });
        }
        if special::overlaps(net) {
            return Err(Absurd::Special { net: *net });
        }
    }
    Ok(())
}

/// Whether they can have followed those that were known before. Both without ranges within another.
pub(super) fn compare(before: &[IpNet], now: &[IpNet]) -> Result<(), Absurd> {
    let (before, now) = (Families::of(before), Families::of(now));
    compare_family("IPv4", &before.v4, &now.v4)?;
    compare_family("IPv6", &before.v6, &now.v6)
}

fn compare_family(family: &'static str, before: &[Part], now: &[Part]) -> Result<(), Absurd> {
    let (old, new) = (size(before), size(now));
    if old == 0 {
        return Ok(());
    }
    let kept = before.iter().map(|part| part.within(now)).sum::<u128>();
    let percent = kept.saturating_mul(100) / old;
    if percent < LEAST_KEPT_PERCENT {
        return Err(Absurd::Shrunk { percent, family });
    }
    let times = new / old;
    if times >= MOST_GROWTH && new > SMALL {
        return Err(Absurd::Grown { times, family });
    }
    Ok(())
}

/// A range as its first and its last address; of IPv6 its networks (/64) are counted, since addresses within one cost
/// nothing.
#[derive(Clone, Copy)]
struct Part {
    first: u128,
    last: u128,
}

impl Part {
    /// How much of it stands in the others.
    fn within(&self, others: &[Self]) -> u128 {
        let shared = others.iter().map(|other| {
            let first = self.first.max(other.first);
            let last = self.last.min(other.last);
            if first > last { 0 } else { last - first + 1 }
        });
        shared.sum()
    }
}

fn size(parts: &[Part]) -> u128 {
    let sizes = parts.iter().map(|part| part.last - part.first + 1);
    sizes.sum()
}

struct Families {
    v4: Vec<Part>,
    v6: Vec<Part>,
}

impl Families {
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

fn part_v4(net: Ipv4Net) -> Part {
    Part {
        first: net.network().to_bits().into(),
        last: net.broadcast().to_bits().into(),
    }
}

fn part_v6(net: Ipv6Net) -> Part {
    Part {
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
            assert!(matches!(absurd, Err(Absurd::TooWide { .. })), "{text}");
        }
        for text in [
            "10.1.0.0/16",
            "127.0.0.1/32",
            "169.254.169.254/32",
            "fd00::/32",
            "::1/128",
        ] {
            let absurd = check(&nets(&["8.8.8.0/24", text]));
            assert!(matches!(absurd, Err(Absurd::Special { .. })), "{text}");
        }
        check(&nets(&[
            "8.0.0.0/10",
            "2a0a:a440::/29",
            "44.228.126.217/32",
        ]))
        .unwrap();
    }

    // Fails when the parts of a range that are kept are not counted, or when a family is left out.
    #[test]
    fn what_cannot_have_followed() {
        let known = nets(&["8.8.8.0/24", "8.8.4.0/24", "2600:1f24:64:8000::/56"]);
        let shrunk = |percent, family| Err(Absurd::Shrunk { percent, family });
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
                Err(Absurd::Grown {
                    times: 256,
                    family: "IPv4",
                }),
            ),
            (
                nets(&["8.8.0.0/20", "2600:1f24::/32"]),
                Err(Absurd::Grown {
                    times: 1 << 24,
                    family: "IPv6",
                }),
            ),
        ] {
            assert_eq!(compare(&known, &now), judged, "{now:?}");
        }
        // A family that comes new has nothing to be held against.
        assert_eq!(
            compare(
                &nets(&["8.8.8.8/32"]),
                &nets(&["8.8.8.8/32", "2600:1f24::/32"])
            ),
            Ok(())
        );
    }
}
