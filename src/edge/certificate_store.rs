//! The certificates in use: those of files, and those that `[tls.acme]` manages.
//!
//! A set of files that cannot be loaded as a whole never replaces one that works.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::model::CertificateFiles;
use crate::edge::certificate_index::{CertificateIndex, ClientSignatureSchemes, requested_name};
use crate::edge::certificates::{CertificateError, CertificateInfo, date, read_pair};
use crate::edge::managed::ManagedCertificates;
use crate::model::clock::ClockReading;

/// The certificates in use, chosen by SNI and replaced as a whole.
#[derive(Debug)]
pub(super) struct CertificateStore {
    files: Vec<CertificateFiles>,
    current: ArcSwap<CertificateIndex>,
    managed: Arc<ManagedCertificates>,
    /// Held during a reload, so that only one runs at a time.
    reloading: Mutex<()>,
}

impl CertificateStore {
    /// Loads all pairs, expired ones included: an expired certificate is better than no service.
    pub(super) fn load(
        files: &[CertificateFiles],
        managed: Arc<ManagedCertificates>,
    ) -> Result<Self, CertificateError> {
        let pairs = files
            .iter()
            .map(|files| read_pair(&files.cert, &files.key))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            files: files.to_vec(),
            current: ArcSwap::from_pointee(CertificateIndex::of(&pairs)),
            managed,
            reloading: Mutex::new(()),
        })
    }

    /// Reads the files again. Returns true where they had changed. On any fault, the certificates in use stay.
    pub(super) fn reload(&self) -> Result<bool, CertificateError> {
        let _alone = self.reloading.lock();
        let pairs = self
            .files
            .iter()
            .map(|files| read_pair(&files.cert, &files.key))
            .collect::<Result<Vec<_>, _>>()?;
        let digests = pairs.iter().map(|pair| pair.digest);
        // Files that were written again with the same content are no change.
        if digests.eq(self.current.load().digests.iter().copied()) {
            return Ok(false);
        }
        // A reload has working certificates to keep, so it rejects expired ones, unlike the start.
        self.deny_expired_in(pairs.iter().map(|pair| &pair.info))?;
        self.current.store(Arc::new(CertificateIndex::of(&pairs)));
        Ok(true)
    }

    /// Returns an error where a certificate in use is expired.
    pub(super) fn deny_expired(&self) -> Result<(), CertificateError> {
        self.deny_expired_in(self.current.load().infos.iter())
    }

    /// Returns the facts of the certificates of files.
    pub(super) fn file_infos(&self) -> Vec<CertificateInfo> {
        self.current.load().infos.clone()
    }

    /// Returns the facts of all certificates in use, those of files first.
    pub(super) fn infos(&self) -> Vec<CertificateInfo> {
        let mut infos = self.file_infos();
        infos.extend(self.managed.current().infos.iter().cloned());
        infos
    }

    fn deny_expired_in<'a>(
        &self,
        infos: impl Iterator<Item = &'a CertificateInfo>,
    ) -> Result<(), CertificateError> {
        let now = ClockReading::read();
        for (files, info) in self.files.iter().zip(infos) {
            if info.is_expired(now) {
                return Err(CertificateError::Expired {
                    path: files.cert.clone(),
                    when: date(info.not_after),
                });
            }
        }
        Ok(())
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (files, managed) = (self.current.load(), self.managed.current());
        let schemes = ClientSignatureSchemes::of(&hello);
        // Files come first: the operator chose them for their names.
        requested_name(&hello)
            .and_then(|name| {
                let own = files.find(&name, &schemes);
                own.or_else(|| managed.find(&name, &schemes))
            })
            .or_else(|| files.find_default(&schemes))
            .or_else(|| managed.find_default(&schemes))
    }
}

#[cfg(test)]
mod tests;
