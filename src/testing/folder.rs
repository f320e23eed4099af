//! A private folder with a throw-away certificate in it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

/// The certificate's names.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A folder that only this user can read; removed in the end.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one for temporary files, whose name begins like this.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(name: &str) -> io::Result<Self> {
        let base = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let mut path = base.clone();
        // Made with its mode and never reused: nobody else on the machine can have prepared it.
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

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes an authority (`ca.pem`), and a certificate of it for this machine (`cert.pem`, `key.pem`); gives the
    /// authority for clients to trust.
    ///
    /// # Errors
    /// No key can be made, or a file cannot be written.
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

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that is gone already is as good.
        let _ = fs::remove_dir_all(&self.0);
    }
}
