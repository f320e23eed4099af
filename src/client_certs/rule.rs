//! The rule of one route for client certificates.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, DistinguishedName, RootCertStore};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::client_certs::crl;
use crate::client_certs::identity::{AllowedClients, PeerIdentity};
use crate::client_certs::peer::PeerCertificates;
use crate::model::clock::{ClockReading, millis};
use crate::net::text_file;

/// Largest file of authorities or revocation lists. The lists of large authorities have some MiB.
const MAX_FILE: u64 = 64 << 20;

/// Age from which the time of a file is definite: file systems count in steps of up to two seconds.
const FRESH_MS: i64 = 3_000;

/// Why the files of a rule cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ClientCertError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file is larger than any list.
    #[error("`{}` is larger than 64 MiB", path.display())]
    TooLarge {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file of authorities has no certificate that can be used.
    #[error("`{}` holds no certificate of an authority in PEM", path.display())]
    NoAuthority {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file has no revocation list.
    #[error("`{}` holds no certificate revocation list", path.display())]
    NoList {
        /// Path of the file.
        path: PathBuf,
    },
    /// The TLS library rejects a list.
    #[error("the revocation lists cannot be used: {0}")]
    List(String),
}

/// Why a client is not admitted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ClientCertFault {
    /// The client showed no certificate.
    Missing,
    /// The certificate is not valid for this route: the reason, in a few words.
    Invalid(&'static str),
    /// The certificate was revoked.
    Revoked,
    /// The certificate is valid, and the route does not admit its client.
    NotAllowed(Box<PeerIdentity>),
    /// The revocation lists cannot decide: the reason, in a few words.
    NoStatus(&'static str),
}

/// Settings of a rule.
pub(crate) struct ClientCertSettings {
    /// File with the authorities in PEM.
    pub ca: PathBuf,
    /// Files with revocation lists; empty: revocation is not checked.
    pub crl: Vec<PathBuf>,
    /// Patterns of names of admitted clients; empty: every client of the authorities.
    pub names: Vec<hookgate_verify::model::glob::GlobPattern>,
    /// Fingerprints of admitted certificates; empty: every certificate.
    pub fingerprints: Vec<String>,
    /// True if a list is used after its end.
    pub accepts_expired_crl: bool,
    /// True if the app gets the identity of the client.
    pub is_forwarded: bool,
}

/// The result of reading the files again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RefreshOutcome {
    /// The files have not changed.
    Unchanged,
    /// The files have changed and are in use.
    Changed,
}

/// The rule of one route: who may connect, with the authorities and lists in use.
pub struct ClientCertRule {
    ca: PathBuf,
    crl: Vec<PathBuf>,
    allowed: AllowedClients,
    accepts_expired_crl: bool,
    is_forwarded: bool,
    current: ArcSwap<LoadedFiles>,
    /// State of the files at the last read. Held during a read, so that an older one never replaces a newer one.
    stamps: Mutex<Vec<FileStamp>>,
}

/// Size and time of a file, by which a change shows without reading it: lists are large and change rarely.
#[derive(Clone, PartialEq, Eq)]
struct FileStamp {
    size: u64,
    modified: SystemTime,
    /// Device and inode, since a file that was renamed over the old one may be older.
    key: (u64, u64),
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            size: found.len(),
            modified: found.modified().ok()?,
            key: (found.dev(), found.ino()),
        })
    }

    /// Returns whether the file was written so recently that another write may have the same time.
    fn is_fresh(&self, now: ClockReading) -> bool {
        let since_epoch = self.modified.duration_since(SystemTime::UNIX_EPOCH);
        let modified_ms = since_epoch.map_or(0, millis);
        now.unix_ms.saturating_sub(modified_ms) < FRESH_MS
    }
}

/// Authorities and lists as they were read together.
struct LoadedFiles {
    /// Requires a valid chain, and with lists a good status of the client's own certificate.
    client: Arc<dyn ClientCertVerifier>,
    /// With lists: rejects a chain in which any certificate is on one of them.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    crl_until: Option<i64>,
    digest: [u8; 32],
}

impl fmt::Debug for ClientCertRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertRule")
            .field("ca", &self.ca)
            .field("crl", &self.crl)
            .finish_non_exhaustive()
    }
}

impl ClientCertRule {
    /// Loads the files of a rule.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub(crate) fn load(settings: ClientCertSettings) -> Result<Self, ClientCertError> {
        let loaded = LoadedFiles::read(&settings.ca, &settings.crl, settings.accepts_expired_crl)?;
        Ok(Self {
            ca: settings.ca,
            crl: settings.crl,
            allowed: AllowedClients {
                names: settings.names,
                fingerprints: settings.fingerprints,
            },
            accepts_expired_crl: settings.accepts_expired_crl,
            is_forwarded: settings.is_forwarded,
            current: ArcSwap::from_pointee(loaded),
            // The first refresh reads the files once more and takes their stamps.
            stamps: Mutex::default(),
        })
    }

    /// Reads the files again, and uses them where they have changed. Blocks on the files.
    ///
    /// # Errors
    /// As for [`Self::load`]. The files in use then stay, until their lists end.
    pub(crate) fn refresh(&self) -> Result<RefreshOutcome, ClientCertError> {
        let mut stamps = self.stamps.lock();
        let now = ClockReading::read();
        let found: Vec<FileStamp> = self.paths().filter_map(FileStamp::of).collect();
        // A missing file has no stamp. Reading it gives the error for the log.
        let is_whole = found.len() == self.paths().count();
        if is_whole && *stamps == found && !found.iter().any(|stamp| stamp.is_fresh(now)) {
            return Ok(RefreshOutcome::Unchanged);
        }
        let loaded = LoadedFiles::read(&self.ca, &self.crl, self.accepts_expired_crl)?;
        // Taken before the read: a write in between changes the stamp once more.
        *stamps = found;
        if loaded.digest == self.current.load().digest {
            return Ok(RefreshOutcome::Unchanged);
        }
        self.current.store(Arc::new(loaded));
        Ok(RefreshOutcome::Changed)
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&*self.ca).chain(self.crl.iter().map(PathBuf::as_path))
    }

    /// Returns the names of the authorities, from which a client chooses its certificate.
    pub(crate) fn hints(&self) -> Vec<DistinguishedName> {
        self.current.load().hints.clone()
    }

    /// Returns the earliest end of a list, in seconds since the Unix epoch, if its end matters.
    pub(crate) fn crl_until(&self) -> Option<i64> {
        self.current
            .load()
            .crl_until
            .filter(|_| !self.accepts_expired_crl)
    }

    /// Returns true if the app gets the identity of the client.
    pub(crate) fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    /// Returns the files of the rule, as the config names them.
    pub(crate) fn files(&self) -> (&Path, &[PathBuf]) {
        (&self.ca, &self.crl)
    }

    /// Returns the patterns and fingerprints of admitted clients.
    pub(crate) fn allowed(&self) -> (Vec<String>, &[String]) {
        let names = self.allowed.names.iter().map(ToString::to_string);
        (names.collect(), &self.allowed.fingerprints)
    }

    /// Returns true if a list is used after its end.
    pub(crate) fn accepts_expired_crl(&self) -> bool {
        self.accepts_expired_crl
    }

    /// Checks the certificates of a connection at this time, and returns the identity of the client.
    ///
    /// Each request is checked, since lists, authorities and time change while a connection is open.
    pub(crate) fn verify(
        &self,
        peer: Option<&PeerCertificates>,
        now: ClockReading,
    ) -> Result<PeerIdentity, ClientCertFault> {
        let (own, others) = peer
            .and_then(PeerCertificates::split)
            .ok_or(ClientCertFault::Missing)?;
        let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let loaded = self.current.load();
        for verifier in [Some(&loaded.client), loaded.chain.as_ref()]
            .into_iter()
            .flatten()
        {
            verifier
                .verify_client_cert(own, others, at)
                .map_err(|error| fault_of(&error))?;
        }
        let client = PeerIdentity::read(own).ok_or(ClientCertFault::Invalid("it is malformed"))?;
        match self.allowed.admit(&client) {
            true => Ok(client),
            false => Err(ClientCertFault::NotAllowed(Box::new(client))),
        }
    }
}

impl LoadedFiles {
    fn read(ca: &Path, crl: &[PathBuf], accepts_expired: bool) -> Result<Self, ClientCertError> {
        let mut digest = Sha256::new();
        let pem = read_file(ca)?;
        digest.update((pem.len() as u64).to_be_bytes());
        digest.update(&pem);
        let mut roots = RootCertStore::empty();
        let no_authority = || ClientCertError::NoAuthority {
            path: ca.to_owned(),
        };
        for authority in CertificateDer::pem_slice_iter(&pem) {
            let authority = authority.map_err(|_| no_authority())?;
            roots.add(authority).map_err(|_| no_authority())?;
        }
        if roots.is_empty() {
            return Err(no_authority());
        }
        let (mut lists, mut crl_until) = (Vec::new(), None);
        for path in crl {
            let bytes = read_file(path)?;
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(&bytes);
            let parsed =
                crl::parse(&bytes).ok_or_else(|| ClientCertError::NoList { path: path.clone() })?;
            crl_until = crl_until.into_iter().chain(parsed.until).min();
            lists.extend(parsed.lists);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let builder = || {
            let builder = WebPkiClientVerifier::builder_with_provider(
                Arc::clone(&roots),
                Arc::clone(&provider),
            );
            match accepts_expired {
                true => builder,
                false => builder.enforce_revocation_expiration(),
            }
        };
        let failed =
            |error: rustls::server::VerifierBuilderError| ClientCertError::List(error.to_string());
        let has_lists = !lists.is_empty();
        // Two questions: is the client's own certificate known to be good, and is any certificate of the chain known to be
        // revoked? One verifier for both would need a list of every authority in between, or would accept a client whose
        // authority has no list at all.
        let client = builder()
            .with_crls(lists.clone())
            .only_check_end_entity_revocation()
            .build()
            .map_err(failed)?;
        let chain = match has_lists {
            true => Some(
                builder()
                    .with_crls(lists)
                    .allow_unknown_revocation_status()
                    .build()
                    .map_err(failed)?,
            ),
            false => None,
        };
        Ok(Self {
            hints: client.root_hint_subjects().to_vec(),
            client,
            chain,
            crl_until,
            digest: digest.finalize().into(),
        })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, ClientCertError> {
    let failed = |source| ClientCertError::Read {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(ClientCertError::TooLarge {
            path: path.to_owned(),
        });
    }
    let mut bytes = std::fs::read(path).map_err(failed)?;
    // PEM files may come from other systems. A list in DER is no text and must stay as it is.
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) || bytes.starts_with(&[0xff, 0xfe]) {
        text_file::normalize(&mut bytes);
    }
    Ok(bytes)
}

fn fault_of(error: &rustls::Error) -> ClientCertFault {
    let rustls::Error::InvalidCertificate(error) = error else {
        return ClientCertFault::Invalid("it cannot be verified");
    };
    match error {
        CertificateError::Revoked => ClientCertFault::Revoked,
        CertificateError::UnknownRevocationStatus => {
            ClientCertFault::NoStatus("no list covers the authority of the certificate")
        }
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            ClientCertFault::NoStatus("a list is past its end")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ClientCertFault::Invalid("it is expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ClientCertFault::Invalid("it is not valid yet")
        }
        CertificateError::UnknownIssuer => {
            ClientCertFault::Invalid("no authority of the route issued it")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            ClientCertFault::Invalid("it is not a certificate for clients")
        }
        CertificateError::BadEncoding => ClientCertFault::Invalid("it is malformed"),
        _ => ClientCertFault::Invalid("it cannot be verified"),
    }
}
