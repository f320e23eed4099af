//! Reminders about secrets that expire soon or that a rotation left unused.
//!
//! A reminder appears in two places: in the list of what needs attention while it holds, and once in the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::documents::SecretUseDocument;
use crate::admin::node_counts::{self, SecretUses};
use crate::admin::state::AdminState;
use crate::model::clock::{ClockReading, millis};
use crate::model::problem::{FoundProblem, ProblemKind};

const DAY_MS: i64 = 86_400_000;

/// Time without a match after which an old secret is reported.
const IDLE_MS: i64 = 7 * DAY_MS;

/// Time between two checks for the log.
const PERIOD: Duration = Duration::from_secs(60);

/// A reminder about one secret.
struct RotationNotice<'a> {
    secret: &'a SecretUseDocument,
    kind: ProblemKind,
    text: String,
    /// True on the last day of a secret, which is worth a second line in the log.
    is_urgent: bool,
}

/// Logs reminders about secrets until the future is dropped.
pub(crate) async fn watch_secrets(state: Arc<AdminState>) {
    let mut notified = HashSet::new();
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let uses = node_counts::secrets_now(&state).await;
        let found = findings(&uses, soon_ms(&state), ClockReading::read().unix_ms);
        let mut holding = HashSet::new();
        for finding in found {
            let secret = finding.secret;
            // With the urgency in the key, the last day of a secret logs a second line.
            let key = (
                secret.route.clone(),
                secret.name.clone(),
                finding.kind,
                finding.is_urgent,
            );
            if !notified.contains(&key) {
                tracing::warn!(
                    route = secret.route,
                    secret = secret.name,
                    "{}",
                    finding.text
                );
            }
            holding.insert(key);
        }
        // Forget reminders that no longer hold: they are logged again if they return, and the set cannot grow.
        notified = holding;
    }
}

/// Returns the reminders for the list of what needs attention.
pub(super) async fn problems(state: &AdminState, now: ClockReading) -> Vec<FoundProblem> {
    let uses = node_counts::secrets_now(state).await;
    let found = findings(&uses, soon_ms(state), now.unix_ms).into_iter();
    let each = found.map(|finding| {
        let subject = format!("{}/{}", finding.secret.route, finding.secret.name);
        let level = u32::from(finding.is_urgent);
        FoundProblem::new(finding.kind, subject, finding.text).with_level(level)
    });
    each.collect()
}

/// Returns how long before its expiry a secret is reported first. It is reported again on its last day.
fn soon_ms(state: &AdminState) -> i64 {
    let soon = state.controls.alerts.plan().watch.secret_expiry;
    millis(soon)
}

/// Finds at most one reminder for each secret; an expiry comes before disuse.
fn findings(uses: &SecretUses, soon_ms: i64, now_ms: i64) -> Vec<RotationNotice<'_>> {
    let secrets = &uses.secrets;
    secrets
        .iter()
        .filter_map(|secret| {
            // Another node may still need a secret that matches nothing here, so disuse is reported only if the uses on
            // all nodes are known.
            let since_ms = uses.complete_since_ms;
            ends_soon(secret, soon_ms, now_ms)
                .or_else(|| is_idle(secret, secrets, since_ms?, now_ms))
        })
        .collect()
}

/// Reports a secret that expires soon.
fn ends_soon(secret: &SecretUseDocument, soon_ms: i64, now_ms: i64) -> Option<RotationNotice<'_>> {
    // From 1: a secret that has expired already matches nothing and needs no reminder.
    let left_ms = secret.until?.0.saturating_sub(now_ms);
    if !(1..=soon_ms).contains(&left_ms) {
        return None;
    }
    let left = match left_ms / DAY_MS {
        0 => "in less than a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    };
    Some(RotationNotice {
        secret,
        kind: ProblemKind::SecretEnds,
        text: format!(
            "the secret `{}` of route `{}` expires {left}: requests signed with it are rejected then",
            secret.name, secret.route
        ),
        is_urgent: left_ms < DAY_MS,
    })
}

/// Reports an old secret of a rotation: it matches nothing, while another secret of the route does.
fn is_idle<'a>(
    secret: &'a SecretUseDocument,
    all: &[SecretUseDocument],
    started_ms: i64,
    now_ms: i64,
) -> Option<RotationNotice<'a>> {
    let is_used = |other: &&SecretUseDocument| {
        let last = other.last_match.map_or(i64::MIN, |moment| moment.0);
        other.route == secret.route
            && other.name != secret.name
            && now_ms.saturating_sub(last) < IDLE_MS
    };
    let used = all.iter().find(is_used)?;
    // Counts begin with the process and with the secret's start, so a week must have passed since both.
    let since = [secret.last_match, secret.not_before].into_iter().flatten();
    let since = since.map(|moment| moment.0).fold(started_ms, i64::max);
    let is_over = secret.until.is_some_and(|until| until.0 <= now_ms);
    if is_over || now_ms.saturating_sub(since) < IDLE_MS {
        return None;
    }
    Some(RotationNotice {
        secret,
        kind: ProblemKind::SecretIdle,
        text: format!(
            "the secret `{}` of route `{}` has matched nothing for a week, while `{}` has: remove it, unless a sender \
             is yet to switch to it",
            secret.name, secret.route, used.name
        ),
        is_urgent: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::documents::ApiTimestamp;

    const NOW: i64 = 1_764_000_000_000;

    fn secret(name: &str) -> SecretUseDocument {
        SecretUseDocument {
            route: "shop".to_owned(),
            name: name.to_owned(),
            not_before: None,
            until: None,
            matches: 0,
            last_match: None,
        }
    }

    fn found(secrets: &[SecretUseDocument], started_ms: i64) -> Vec<(String, &'static str, bool)> {
        found_since(secrets, Some(started_ms))
    }

    fn found_since(
        secrets: &[SecretUseDocument],
        complete_since_ms: Option<i64>,
    ) -> Vec<(String, &'static str, bool)> {
        let uses = SecretUses {
            secrets: secrets.to_vec(),
            counted_since_ms: NOW,
            complete_since_ms,
        };
        let found = findings(&uses, 7 * DAY_MS, NOW).into_iter();
        found
            .map(|each| (each.secret.name.clone(), each.kind.word(), each.is_urgent))
            .collect()
    }

    #[test]
    fn a_secret_is_reported_a_week_before_its_expiry_and_on_its_last_day() {
        let ends_in = |ms| SecretUseDocument {
            until: Some(ApiTimestamp(NOW + ms)),
            ..secret("old")
        };
        for (ms, expected) in [
            (7 * DAY_MS + 1, None),
            (7 * DAY_MS, Some(false)),
            (DAY_MS, Some(false)),
            (DAY_MS - 1, Some(true)),
            (1, Some(true)),
            (0, None),
            (-1, None),
        ] {
            let found = found(&[ends_in(ms)], NOW);
            let expected = expected.map(|urgent| ("old".to_owned(), "secret_ends", urgent));
            assert_eq!(found, Vec::from_iter(expected), "{ms}");
        }
    }

    #[test]
    fn an_old_secret_is_reported_after_a_week_in_which_only_another_matched() {
        let matched = |name, ms| SecretUseDocument {
            matches: 1,
            last_match: Some(ApiTimestamp(NOW - ms)),
            ..secret(name)
        };
        let idle = vec![("old".to_owned(), "secret_idle", false)];
        let month = NOW - 30 * DAY_MS;
        let new = matched("new", 1000);
        assert_eq!(found(&[new.clone(), matched("old", IDLE_MS)], month), idle);
        assert_eq!(found(&[new.clone(), secret("old")], month), idle);
        // The report of another node is missing.
        assert_eq!(found_since(&[new.clone(), secret("old")], None), []);
        assert_eq!(
            found(&[new.clone(), matched("old", IDLE_MS - 1)], month),
            []
        );
        // The process or the secret is younger than a week.
        assert_eq!(found(&[new.clone(), secret("old")], NOW - IDLE_MS + 1), []);
        let young = SecretUseDocument {
            not_before: Some(ApiTimestamp(NOW - DAY_MS)),
            ..secret("old")
        };
        assert_eq!(found(&[new.clone(), young], month), []);
        // Without requests for the route, nothing is known about its secrets.
        assert_eq!(found(&[matched("new", IDLE_MS), secret("old")], month), []);
        let other = SecretUseDocument {
            route: "other".to_owned(),
            ..new
        };
        assert_eq!(found(&[other, secret("old")], month), []);
    }
}
