//! Times: when a certificate is renewed, and when a failed attempt is repeated.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::acme::failure::FailureKind;
use crate::acme::records::RenewalWindow;
use crate::edge::certificates::CertificateInfo;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Longest pause that a CA may ask for. Beyond it a certificate could expire for one wrong header.
const MOST_ASKED: Duration = Duration::from_secs(7 * 86_400);

/// Returns the time at which a certificate is renewed, in seconds since the epoch: within the window that the CA
/// suggests, or else after two thirds of the lifetime.
pub(super) fn renewal_seconds(info: &CertificateInfo, window: Option<&RenewalWindow>) -> i64 {
    let lifetime = info.not_after.saturating_sub(info.not_before).max(0);
    let usual = info.not_before.saturating_add(lifetime / 3 * 2);
    let Some(window) = window.filter(|window| window.end_seconds > window.start_seconds) else {
        return usual;
    };
    // A random point of the window (RFC 9773, section 4.2), which must be the same for each node and after a restart.
    let width = window.end_seconds.saturating_sub(window.start_seconds);
    let chosen = window.start_seconds.saturating_add(share_of(width, window));
    // A window at the very end, or after it, would leave no time for failures.
    chosen.min(info.not_after.saturating_sub(lifetime / 10))
}

fn share_of(width: i64, window: &RenewalWindow) -> i64 {
    let text = format!("{} {}", window.certificate, window.start_seconds);
    let digest = Sha256::digest(text);
    let number = digest.first_chunk().copied().map_or(0, u16::from_be_bytes);
    // Divided first, so that no width overflows.
    (width / (1 << 16)).saturating_mul(i64::from(number))
        + (width % (1 << 16)).saturating_mul(i64::from(number)) / (1 << 16)
}

/// Returns the pause before the next attempt, after this many failures in a row.
pub(super) fn pause(kind: FailureKind, failures: u32, asked: Option<Duration>) -> Duration {
    let (first, most) = match kind {
        FailureKind::Away | FailureKind::Local => (MINUTE, HOUR),
        // At most four in an hour: Let's Encrypt allows five failed validations of a name.
        FailureKind::Refused => (5 * MINUTE, 6 * HOUR),
        FailureKind::RateLimited => (HOUR, DAY),
        // Nothing is wrong with the name, and the next attempt differs from the failed one.
        FailureKind::NoAccount | FailureKind::AlreadyReplaced | FailureKind::BadNonce => {
            (Duration::from_secs(1), HOUR)
        }
    };
    let exponent = failures.saturating_sub(1).min(20);
    let pause = first.saturating_mul(1 << exponent).min(most);
    let pause = pause.max(asked.unwrap_or_default().min(MOST_ASKED));
    // Jitter only extends it, since a rate limit must be respected.
    pause.saturating_add(random_part(pause / 10))
}

/// Returns the time after an order in which no other one follows, for a certificate with this lifetime in seconds. A
/// wrong clock would otherwise order again and again, until the CA refuses the name for a week.
pub(super) fn rest(lifetime: i64) -> Duration {
    Duration::from_secs(u64::try_from(lifetime / 3).unwrap_or(0)).min(6 * HOUR)
}

/// Returns the pause before the CA is asked for the renewal window again.
pub(super) fn window_pause(asked: Duration) -> Duration {
    // RFC 9773, section 4.3: at least once a day, and not in a hurry.
    asked.clamp(MINUTE, DAY)
}

/// Returns a random duration below `whole`.
fn random_part(whole: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without a random source there is no jitter; the attempt itself still works.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    whole.saturating_mul(u32::from(u16::from_le_bytes(bytes))) / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(not_before: i64, not_after: i64) -> CertificateInfo {
        CertificateInfo {
            names: Vec::new(),
            not_before,
            not_after,
        }
    }

    fn window(start_seconds: i64, end_seconds: i64) -> RenewalWindow {
        RenewalWindow {
            certificate: "a".to_owned(),
            start_seconds,
            end_seconds,
            explanation: None,
        }
    }

    /// Fails when another share of the lifetime counts, or the window of the CA does not.
    #[test]
    fn a_certificate_is_renewed_in_the_window_or_after_two_thirds() {
        assert_eq!(renewal_seconds(&info(0, 90), None), 60);
        for start in [10, 40, 100_000] {
            let window = window(start, start + 1_000_000);
            let chosen = renewal_seconds(&info(0, 10_000_000), Some(&window));
            assert!((start..start + 1_000_000).contains(&chosen), "{chosen}");
            // The same point each time, so that a restart does not choose another one.
            let again = renewal_seconds(&info(0, 10_000_000), Some(&window));
            assert_eq!(chosen, again);
        }
        // Windows without a width, and after the end of the certificate.
        assert_eq!(renewal_seconds(&info(0, 90), Some(&window(50, 50))), 60);
        assert_eq!(renewal_seconds(&info(0, 90), Some(&window(500, 600))), 81);
    }

    /// Fails when a CA that is away gets requests in a hurry, or a rate limit is not respected.
    #[test]
    fn pauses_grow_and_respect_the_ca() {
        let most = |least: Duration| least.saturating_add(least / 10);
        for (kind, failures, asked, least) in [
            (FailureKind::Away, 1, None, MINUTE),
            (FailureKind::Away, 3, None, 4 * MINUTE),
            (FailureKind::Away, 4_000_000_000, None, HOUR),
            (FailureKind::Away, 1, Some(2 * HOUR), 2 * HOUR),
            (FailureKind::Refused, 1, None, 5 * MINUTE),
            (FailureKind::Refused, 4, None, 40 * MINUTE),
            (FailureKind::Refused, 30, None, 6 * HOUR),
            (FailureKind::RateLimited, 1, None, HOUR),
            (FailureKind::RateLimited, 1, Some(3 * DAY), 3 * DAY),
            (FailureKind::RateLimited, 1, Some(300 * DAY), 7 * DAY),
        ] {
            let found = pause(kind, failures, asked);
            assert!(
                (least..=most(least)).contains(&found),
                "{kind:?} {failures}: {found:?}"
            );
        }
        // Five failed validations in an hour are Let's Encrypt's limit.
        let begins: Duration = (1..=4)
            .map(|failures| pause(FailureKind::Refused, failures, None))
            .sum();
        assert!(begins > HOUR);
    }
}
