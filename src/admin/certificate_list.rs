//! The JSON shape of certificates, for `/certificates` and for problems.

use crate::acme::CertificateHealth;
use crate::admin::documents::{ApiTimestamp, CertificateDocument, CertificateFailure};
use crate::model::clock::ClockReading;

const DAY: i64 = 86_400;

/// Converts certificates to their JSON shape, with the days that are left.
pub(super) fn certificates_of(
    health: Vec<CertificateHealth>,
    now: ClockReading,
) -> Vec<CertificateDocument> {
    // Euclidean division: a certificate that expired an hour ago has -1 days left, not 0.
    let days = |not_after: i64| not_after.saturating_sub(now.unix_seconds()).div_euclid(DAY);
    let each = health.into_iter().map(|one| CertificateDocument {
        names: one.names,
        not_after: one
            .not_after
            .map(|not_after| ApiTimestamp(not_after.saturating_mul(1000))),
        days_left: one.not_after.map(days),
        origin: one.origin.word().to_owned(),
        next_renewal: one.next_renewal_ms.map(ApiTimestamp),
        failure: one.failure.map(|failure| CertificateFailure {
            at: ApiTimestamp(failure.at_ms),
            count: failure.count,
            reason: failure.text,
        }),
    });
    each.collect()
}
