//! Health of certificates, for operators: expiry, next renewal and the last failure.

/// State of one certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CertificateHealth {
    /// Names and addresses that it covers.
    pub(crate) names: Vec<String>,
    pub(crate) origin: CertificateOrigin,
    /// Last moment of its validity in seconds since the epoch; `None` while there is no certificate yet.
    pub(crate) not_after: Option<i64>,
    /// Time of the next attempt to get or renew it, in milliseconds since the epoch; `None` for files.
    pub(crate) next_renewal_ms: Option<i64>,
    /// The failures since the last success; `None` if the last attempt succeeded.
    pub(crate) failure: Option<RenewalFailure>,
}

/// Origin of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CertificateOrigin {
    /// Files that the operator replaces.
    File,
    /// A CA, by ACME.
    Acme,
}

impl CertificateOrigin {
    /// Returns the word for documents.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Acme => "acme",
        }
    }
}

/// Failures to get or renew a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RenewalFailure {
    /// Time of the last one, in milliseconds since the epoch.
    pub(crate) at_ms: i64,
    /// Number of them since the last success.
    pub(crate) count: u32,
    /// The reason of the last one.
    pub(crate) text: String,
}

impl CertificateHealth {
    /// Returns the state of a certificate of files.
    pub(crate) fn of_file(names: Vec<String>, not_after: i64) -> Self {
        Self {
            names,
            origin: CertificateOrigin::File,
            not_after: Some(not_after),
            next_renewal_ms: None,
            failure: None,
        }
    }
}
