//! Errors of the listeners and their settings.

use thiserror::Error;

use crate::edge::certificates::CertificateError;

/// The reason why settings cannot be built.
#[derive(Debug, Error)]
pub(crate) enum EdgeError {
    /// A certificate, a key or an authority file cannot be used.
    #[error("cannot use the certificate")]
    Certificate {
        /// The defect of the file.
        #[from]
        source: CertificateError,
    },
    /// The authorities for client certificates cannot be used.
    #[error("cannot use the authorities of `client_ca`")]
    ClientCa {
        /// The error of the TLS library.
        source: rustls::server::VerifierBuilderError,
    },
    /// The TLS library rejected the settings.
    #[error("cannot set up TLS")]
    Tls {
        /// The error of the TLS library.
        source: rustls::Error,
    },
}
