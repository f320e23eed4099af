//! A temporary private folder with a certificate for tests.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

/// Names in the certificate.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Temporary folder that only this user can read. Dropping it removes it.
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Creates a folder among the temporary files; its name starts with `name`.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn make(name: &str) -> io::Result<Self> {
        let base = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let mut path = base.clone();
        // Created with its mode and never reused, so that no other user can have put files or links into it.
        for attempt in 0..10_000 {
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
                    path = base.with_extension(attempt.to_string());
                }
                Err(err) => return Err(err),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a new authority (`ca.pem`) and a certificate of it for `localhost` (`cert.pem`, `key.pem`). Returns the
    /// authority's certificate, for clients to trust.
    ///
    /// # Errors
    /// A key cannot be generated, or a file cannot be written.
    pub fn write_certificates(&self, authority: &str) -> anyhow::Result<CertificateDer<'static>> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params
            .distinguished_name
            .push(DnType::CommonName, authority);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(NAMES.map(str::to_owned))?.signed_by(&key, &authority)?;
        fs::write(self.0.join("ca.pem"), authority.pem())?;
        fs::write(self.0.join("cert.pem"), leaf.pem())?;
        fs::write(self.0.join("key.pem"), key.serialize_pem())?;
        Ok(authority.der().clone())
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // An error is ignored: the folder may be gone already, and `drop` has no caller to report to.
        let _ = fs::remove_dir_all(&self.0);
    }
}
