//! Renewal information (ARI, RFC 9773): the window in which the CA suggests to renew a certificate.

use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error};
use rustls::pki_types::CertificateDer;

use crate::acme::account;
use crate::acme::failure::OrderFailure;
use crate::acme::http::AuthorityHttp;
use crate::acme::records::RenewalWindow;
use crate::acme::renewal::window_pause;
use crate::acme::storage::{RecordStorage, StoredRecords};
use crate::config::model::AcmeSection;

/// Pause after a question that failed: RFC 9773 suggests six hours without a `Retry-After`.
const FAILED_PAUSE: Duration = Duration::from_secs(6 * 3600);

/// Pause for a CA without renewal information, which may get it one day.
const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(86_400);

/// The leaf of a certificate in use, by which the CA knows it.
pub(super) struct LeafCertificate {
    /// Identifies the certificate in storage.
    pub(super) digest: String,
    pub(super) leaf: CertificateDer<'static>,
}

/// Outcome of a question.
pub(super) struct WindowAnswer {
    /// `None` if the CA suggests no window or could not be asked.
    pub(super) window: Option<RenewalWindow>,
    /// Pause until the next question.
    pub(super) pause: Duration,
}

/// Asks for the window of a certificate. A failure changes nothing: two thirds of the lifetime remain the rule.
pub(super) async fn ask(
    section: &AcmeSection,
    http: &AuthorityHttp,
    storage: &RecordStorage,
    records: &StoredRecords,
    leaf: &LeafCertificate,
) -> WindowAnswer {
    let none = |pause| WindowAnswer {
        window: None,
        pause,
    };
    let Ok(id) = CertificateIdentifier::try_from(&leaf.leaf) else {
        return none(UNSUPPORTED_PAUSE);
    };
    let asked = async {
        let account = account::open(section, http, storage, records).await?;
        Ok::<_, OrderFailure>(account.renewal_info(&id).await)
    };
    match asked.await {
        Ok(Ok((info, pause))) => WindowAnswer {
            window: Some(RenewalWindow {
                certificate: leaf.digest.clone(),
                start_seconds: info.suggested_window.start.unix_timestamp(),
                end_seconds: info.suggested_window.end.unix_timestamp(),
                explanation: info.explanation_url,
            }),
            pause: window_pause(pause),
        },
        Ok(Err(Error::Unsupported(_))) => none(UNSUPPORTED_PAUSE),
        Ok(Err(error)) => {
            let failure = OrderFailure::from(error);
            tracing::debug!(reason = failure.text, "the CA gave no renewal information");
            none(FAILED_PAUSE)
        }
        Err(failure) => {
            tracing::debug!(reason = failure.text, "the CA gave no renewal information");
            none(FAILED_PAUSE)
        }
    }
}
