//! The names of a plan with their certificates and states, as storage has them, and what is due for each.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use instant_acme::CertificateIdentifier;

use crate::acme::health::{CertificateHealth, CertificateOrigin, RenewalFailure};
use crate::acme::order;
use crate::acme::plan::AcmePlan;
use crate::acme::records::{CertificateRecord, NameRecord, RecordKind};
use crate::acme::renewal::renewal_seconds;
use crate::acme::storage::{RecordStorage, StoredRecords};
use crate::acme::window::LeafCertificate;
use crate::config::model::{AcmeSection, ChallengeKind};
use crate::edge::certificates::{CertificateInfo, CertificatePair};
use crate::model::clock::ClockReading;

/// All names of a plan, in its order.
#[derive(Default)]
pub(super) struct ManagedNames(Vec<ManagedName>);

/// A name with its certificate and its state.
struct ManagedName {
    name: String,
    certificate: Option<HeldCertificate>,
    state: NameRecord,
}

/// A certificate in use.
struct HeldCertificate {
    directory: String,
    profile: Option<String>,
    pair: Arc<CertificatePair>,
}

/// Work that is due for a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DueWork {
    /// A first certificate, or a renewal.
    Order,
    /// A question for the renewal window.
    Window,
}

impl ManagedNames {
    /// Takes the names of a plan with what storage has about them.
    pub(super) fn of(
        section: &AcmeSection,
        records: &StoredRecords,
        storage: &RecordStorage,
    ) -> Self {
        let names = section.names.iter().map(|wanted| {
            let name = &wanted.name;
            let stored: Option<CertificateRecord> = records.get(RecordKind::Certificate, name);
            let certificate = stored.and_then(|stored| {
                let parsed = order::parse(&stored, name, storage);
                // A file that was damaged is replaced by a new order.
                let parsed = parsed.inspect_err(|failure| {
                    let reason = failure.text.as_str();
                    tracing::warn!(name, reason, "a stored certificate is ignored");
                });
                Some(HeldCertificate {
                    directory: stored.directory,
                    profile: stored.profile,
                    pair: Arc::new(parsed.ok()?),
                })
            });
            ManagedName {
                state: records.get(RecordKind::State, name).unwrap_or_default(),
                name: name.clone(),
                certificate,
            }
        });
        Self(names.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has_certificate(&self) -> bool {
        self.0.iter().any(|name| name.certificate.is_some())
    }

    pub(super) fn last_failure(&self) -> Option<String> {
        let mut failures = self.0.iter().map(|name| &name.state.failure);
        failures.find_map(Clone::clone)
    }

    /// Returns the certificates for the edge.
    pub(super) fn pairs(&self) -> Vec<Arc<CertificatePair>> {
        let held = self.0.iter().filter_map(|name| name.certificate.as_ref());
        held.map(|held| Arc::clone(&held.pair)).collect()
    }

    /// Identifies the certificates, so that a change is noticed.
    pub(super) fn digests(&self) -> Vec<(String, String)> {
        let held = self.0.iter().filter_map(|name| {
            let held = name.certificate.as_ref()?;
            Some((name.name.clone(), held.digest()))
        });
        held.collect()
    }

    /// Returns what is due, in the order of the plan. Names that a certificate of a file covers need nothing.
    pub(super) fn due(
        &self,
        plan: &AcmePlan,
        covered: &[CertificateInfo],
        now: ClockReading,
    ) -> Vec<(String, DueWork)> {
        let due = self.managed(covered, now).filter_map(|name| {
            let (at_ms, work) = name.next(&plan.section);
            (at_ms <= now.unix_ms).then(|| (name.name.clone(), work))
        });
        due.collect()
    }

    /// Returns the time until something is due.
    pub(super) fn pause(
        &self,
        plan: &AcmePlan,
        covered: &[CertificateInfo],
        now: ClockReading,
    ) -> Duration {
        let next = self.managed(covered, now);
        let next = next.map(|name| name.next(&plan.section).0).min();
        let left_ms = next.map_or(i64::MAX, |next| next.saturating_sub(now.unix_ms));
        // At least a second, so that no error in a time makes the rounds spin.
        Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).max(Duration::from_secs(1))
    }

    /// Returns the health of each name that is managed.
    pub(super) fn health(&self, covered: &[CertificateInfo]) -> Vec<CertificateHealth> {
        let now = ClockReading::read();
        let health = self.managed(covered, now).map(|name| {
            let failure = name.state.failure.as_ref().map(|text| RenewalFailure {
                at_ms: name.state.failed_ms.unwrap_or_default(),
                count: name.state.failures,
                text: text.clone(),
            });
            let held = name.certificate.as_ref();
            CertificateHealth {
                names: vec![name.name.clone()],
                origin: CertificateOrigin::Acme,
                not_after: held.map(|held| held.pair.info.not_after),
                next_renewal_ms: Some(name.order_ms().max(name.state.retry_ms)),
                failure,
            }
        });
        health.collect()
    }

    pub(super) fn state(&self, name: &str) -> NameRecord {
        self.find(name)
            .map(|found| found.state.clone())
            .unwrap_or_default()
    }

    /// Returns the last moment of a certificate, in seconds since the epoch.
    pub(super) fn not_after(&self, name: &str) -> Option<i64> {
        let held = self.find(name)?.certificate.as_ref()?;
        Some(held.pair.info.not_after)
    }

    /// Returns the leaf of a certificate.
    pub(super) fn leaf(&self, name: &str) -> Option<LeafCertificate> {
        let held = self.find(name)?.certificate.as_ref()?;
        Some(LeafCertificate {
            digest: held.digest(),
            leaf: held.pair.key.cert.first()?.clone(),
        })
    }

    /// Returns the certificate that an order replaces, if the CA gave renewal information for it.
    pub(super) fn replaces(&self, name: &str) -> Option<CertificateIdentifier<'static>> {
        let found = self.find(name)?;
        // A CA without renewal information rejects the field, and another CA does not know the certificate.
        found.window()?;
        let leaf = self.leaf(name)?;
        let id = CertificateIdentifier::try_from(&leaf.leaf).ok()?;
        Some(id.into_owned())
    }

    /// Returns the challenges for the next attempt: after each failure, another one comes first.
    pub(super) fn kinds(&self, section: &AcmeSection, name: &str) -> Vec<ChallengeKind> {
        let is_wildcard = name.starts_with("*.");
        let fits = |kind: &&ChallengeKind| !is_wildcard || **kind == ChallengeKind::DnsPersist;
        let mut kinds: Vec<_> = section.challenges.iter().filter(fits).copied().collect();
        let failures = usize::try_from(self.state(name).failures).unwrap_or(0);
        let first = failures.checked_rem(kinds.len()).unwrap_or(0);
        kinds.rotate_left(first);
        kinds
    }

    fn find(&self, name: &str) -> Option<&ManagedName> {
        self.0.iter().find(|known| known.name == name)
    }

    /// Returns the names that no valid certificate of a file covers.
    fn managed(
        &self,
        covered: &[CertificateInfo],
        now: ClockReading,
    ) -> impl Iterator<Item = &ManagedName> {
        self.0.iter().filter(move |name| {
            let mut files = covered.iter();
            !files.any(|info| info.covers(&name.name) && !info.is_expired(now))
        })
    }
}

impl ManagedName {
    /// Returns what comes next, and when.
    fn next(&self, section: &AcmeSection) -> (i64, DueWork) {
        let is_other = |held: &HeldCertificate| {
            held.directory != section.directory || held.profile != section.profile
        };
        let order_ms = match &self.certificate {
            // A certificate of another CA or profile is replaced at once, for example after a trial.
            Some(held) if is_other(held) => 0,
            _ => self.order_ms(),
        };
        let order_ms = order_ms.max(self.state.retry_ms);
        // Without a certificate there is nothing to ask about.
        if self.certificate.is_some() && self.state.ask_ms < order_ms {
            return (self.state.ask_ms, DueWork::Window);
        }
        (order_ms, DueWork::Order)
    }

    /// Returns the time at which an order is due, apart from failures.
    fn order_ms(&self) -> i64 {
        let Some(held) = &self.certificate else {
            return 0;
        };
        let due_ms = renewal_seconds(&held.pair.info, self.window()).saturating_mul(1000);
        // The clock of this machine, or a window, may say that even a new certificate is due.
        due_ms.max(self.state.rest_ms)
    }

    /// Returns the window that the CA suggested for the certificate in use.
    fn window(&self) -> Option<&crate::acme::records::RenewalWindow> {
        let held = self.certificate.as_ref()?;
        let window = self.state.window.as_ref()?;
        (window.certificate == held.digest()).then_some(window)
    }
}

impl HeldCertificate {
    fn digest(&self) -> String {
        HEXLOWER.encode(&self.pair.digest())
    }
}
