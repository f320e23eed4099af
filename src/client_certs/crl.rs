//! Certificate revocation lists: reading them, and when they end.

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// Lists of one file.
pub(super) struct RevocationLists {
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    /// Earliest end of a list, in seconds since the Unix epoch; `None` if no list has one.
    pub(super) until: Option<i64>,
}

/// Parses the lists of a file: PEM with one or more lists, or one list in DER. Returns `None` without any.
pub(super) fn parse(bytes: &[u8]) -> Option<RevocationLists> {
    let pem: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
    let lists = match pem {
        Ok(lists) if !lists.is_empty() => lists,
        // Authorities publish their lists in DER.
        _ => vec![CertificateRevocationListDer::from(bytes.to_vec())],
    };
    let mut until: Option<i64> = None;
    for list in &lists {
        let (_, parsed) = CertificateRevocationList::from_der(list).ok()?;
        let end = parsed.next_update().map(|end| end.timestamp());
        until = until.into_iter().chain(end).min();
    }
    Some(RevocationLists { lists, until })
}
