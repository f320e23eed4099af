//! The certificates that a client showed in its handshake.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

/// The certificates that the client of a connection showed in its handshake, its own first. They are not trusted yet.
///
/// The edge adds them to the extensions of each request of the connection.
#[derive(Clone, Debug)]
pub(crate) struct PeerCertificates(Arc<[CertificateDer<'static>]>);

impl PeerCertificates {
    /// Returns the certificates of a handshake; `None` if the client did not show any.
    pub(crate) fn of(shown: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        let shown = shown.filter(|shown| !shown.is_empty())?;
        Some(Self(shown.into()))
    }

    pub(super) fn split(&self) -> Option<(&CertificateDer<'static>, &[CertificateDer<'static>])> {
        self.0.split_first()
    }
}
