//! Storage of accounts, certificates and orders: files of this machine, or the store that nodes share.
//!
//! The folder `acme` of the state folder has one JSON file for each document, with mode 0600, written completely or not
//! at all. With a shared store, the documents live there, and the files are copies: a node that starts while the database
//! is away still serves its certificates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::acme::records::RecordKind;
use crate::store::certificate_item::CertificateItem;
use crate::store::{Store, StoreError};

/// Largest file, far more than any chain.
const MAX_BYTES: u64 = 1 << 20;

/// The reason why a document cannot be read or written.
#[derive(Debug, Error)]
pub(crate) enum StorageError {
    #[error("cannot write to `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot use the shared store")]
    Store(#[from] StoreError),
    #[error("cannot write a document as JSON")]
    Json(#[from] serde_json::Error),
    #[error("a task of the storage panicked: this is a bug")]
    Panicked,
}

/// Documents by kind and name.
#[derive(Default)]
pub(super) struct StoredRecords {
    documents: BTreeMap<(RecordKind, String), Zeroizing<Vec<u8>>>,
    /// Documents of this machine that the shared store lacks.
    missing: Vec<(RecordKind, String)>,
}

impl StoredRecords {
    /// Returns a document, unless it is absent or of an unknown form.
    pub(super) fn get<T: DeserializeOwned>(&self, kind: RecordKind, name: &str) -> Option<T> {
        let content = self.documents.get(&(kind, name.to_owned()))?;
        serde_json::from_slice(content).ok()
    }
}

/// Place of all documents. Cheap to clone.
#[derive(Clone)]
pub(super) struct RecordStorage {
    folder: Arc<Path>,
    /// The store that nodes share; `None` for files only.
    shared: Option<Store>,
}

impl RecordStorage {
    pub(super) fn new(state_folder: &Path, store: Option<Store>) -> Self {
        Self {
            folder: state_folder.join("acme").into(),
            // A store of one process gives no node a name, and files are all that it needs.
            shared: store.filter(|store| store.node_name().is_some()),
        }
    }

    /// Returns true if several nodes share the documents.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Creates the folder, readable for this user only. Blocks.
    pub(super) fn create_folder(&self) -> Result<(), StorageError> {
        let mut builder = DirBuilder::new();
        let created = builder.recursive(true).mode(0o700).create(&self.folder);
        // A folder that cannot be written would be noticed only after the first order, whose certificate were lost.
        let probe = self.folder.join(format!(".probe.{}", std::process::id()));
        let written = created.and_then(|()| write(&probe, b""));
        written
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|source| self.file_error(source))
    }

    /// Reads the documents of this machine. A file that is damaged is ignored. Blocks.
    pub(super) fn read_files(&self) -> StoredRecords {
        let mut records = StoredRecords::default();
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for file in files {
            let name = file.file_name();
            let Some((kind, name)) = name.to_str().and_then(key_of) else {
                continue;
            };
            let mut content = Zeroizing::new(Vec::new());
            let read = File::open(file.path())
                .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut content));
            match read {
                Ok(_) => drop(records.documents.insert((kind, name), content)),
                Err(error) => tracing::warn!(
                    file = %file.path().display(),
                    error = %error,
                    "a file of [tls.acme] cannot be read"
                ),
            }
        }
        records
    }

    /// Reads all documents but the challenges: those of the shared store, and those of this machine that it lacks.
    pub(super) async fn read_all(&self) -> Result<StoredRecords, StorageError> {
        let storage = self.clone();
        let files = tokio::task::spawn_blocking(move || storage.read_files()).await;
        let mut records = files.map_err(|_| StorageError::Panicked)?;
        let Some(store) = &self.shared else {
            return Ok(records);
        };
        let kinds = RecordKind::ALL.iter();
        let kinds = kinds.filter(|(_, kind)| *kind != RecordKind::Challenge);
        let kinds = kinds.map(|(word, _)| (*word).to_owned()).collect();
        let mut missing: BTreeSet<_> = records.documents.keys().cloned().collect();
        for item in store.certificate_items(kinds).await? {
            let Some(kind) = RecordKind::of_word(&item.kind) else {
                continue;
            };
            let key = (kind, item.name);
            // The copies let this node start without the database.
            if is_copied(kind) && records.documents.get(&key) != Some(&item.content) {
                self.write_file(kind, &key.1, &item.content).await?;
            }
            missing.remove(&key);
            records.documents.insert(key, item.content);
        }
        // Orders and states of files are of a time before the store was shared.
        records.missing = missing
            .into_iter()
            .filter(|(kind, _)| is_copied(*kind))
            .collect();
        Ok(records)
    }

    /// Writes copies of this machine that the shared store lacks, as after the move from files to a store.
    pub(super) async fn share_missing(&self, records: &StoredRecords) -> Result<(), StorageError> {
        let Some(store) = &self.shared else {
            return Ok(());
        };
        for (kind, name) in &records.missing {
            let key = (*kind, name.clone());
            if let Some(content) = records.documents.get(&key) {
                let item = CertificateItem {
                    kind: kind.word().to_owned(),
                    name: name.clone(),
                    content: content.clone(),
                };
                store.put_certificate_item(item).await?;
            }
        }
        Ok(())
    }

    /// Reads the pending challenges of all nodes.
    pub(super) async fn read_challenges<T: DeserializeOwned>(
        &self,
    ) -> Result<Vec<T>, StorageError> {
        let Some(store) = &self.shared else {
            return Ok(Vec::new());
        };
        let kinds = vec![RecordKind::Challenge.word().to_owned()];
        let items = store.certificate_items(kinds).await?.into_iter();
        Ok(items
            .filter_map(|item| serde_json::from_slice(&item.content).ok())
            .collect())
    }

    /// Returns a value that changes when another node writes a document.
    pub(super) async fn version(&self) -> Result<(i64, i64), StorageError> {
        match &self.shared {
            Some(store) => Ok(store.certificate_version().await?),
            None => Ok((0, 0)),
        }
    }

    /// Writes a document. It is durable, for all nodes, when this returns.
    pub(super) async fn put<T: Serialize>(
        &self,
        kind: RecordKind,
        name: &str,
        document: &T,
    ) -> Result<(), StorageError> {
        let content = Zeroizing::new(serde_json::to_vec(document)?);
        if let Some(store) = &self.shared {
            let item = CertificateItem {
                kind: kind.word().to_owned(),
                name: name.to_owned(),
                content: content.clone(),
            };
            store.put_certificate_item(item).await?;
            if !is_copied(kind) {
                return Ok(());
            }
        }
        self.write_file(kind, name, &content).await
    }

    /// Removes a document if it exists.
    pub(super) async fn remove(&self, kind: RecordKind, name: &str) -> Result<(), StorageError> {
        if let Some(store) = &self.shared {
            let (kind, name) = (kind.word().to_owned(), name.to_owned());
            store.remove_certificate_item(kind, name).await?;
        }
        match fs::remove_file(self.path(kind, name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.file_error(source)),
            _ => Ok(()),
        }
    }

    /// Takes or extends the lease of the node that orders; without a shared store there is only this one.
    pub(super) async fn take_lease(&self, length: Duration) -> Result<bool, StorageError> {
        match &self.shared {
            Some(store) => Ok(store.take_certificate_lease(length).await?),
            None => Ok(true),
        }
    }

    /// Ends the lease of this node.
    pub(super) async fn end_lease(&self) {
        if let Some(store) = &self.shared {
            // If this fails, the lease ends by itself.
            let _ = store.end_certificate_lease().await;
        }
    }

    /// Returns the path of a document's file.
    pub(super) fn path(&self, kind: RecordKind, name: &str) -> PathBuf {
        // `*` is awkward in a shell, and `_` is in no name of a certificate.
        let name = name.replace('*', "_");
        self.folder.join(format!("{}-{name}.json", kind.word()))
    }

    async fn write_file(
        &self,
        kind: RecordKind,
        name: &str,
        content: &Zeroizing<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let (path, content) = (self.path(kind, name), content.clone());
        let task = tokio::task::spawn_blocking(move || replace(&path, &content));
        let written = task.await.map_err(|_| StorageError::Panicked)?;
        written.map_err(|source| self.file_error(source))
    }

    fn file_error(&self, source: io::Error) -> StorageError {
        StorageError::File {
            path: self.folder.to_path_buf(),
            source,
        }
    }
}

/// Returns true for documents of which each node of a shared store has a copy. The others mean nothing without the store.
fn is_copied(kind: RecordKind) -> bool {
    matches!(kind, RecordKind::Account | RecordKind::Certificate)
}

/// Returns kind and name of a file.
fn key_of(file_name: &str) -> Option<(RecordKind, String)> {
    let (word, name) = file_name.strip_suffix(".json")?.split_once('-')?;
    Some((RecordKind::of_word(word)?, name.replace('_', "*")))
}

/// Writes a new file and renames it, so that no reader and no crash sees a part of it.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension(format!("json.{}", std::process::id()));
    let written = write(&fresh, content).and_then(|()| fs::rename(&fresh, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })?;
    // The rename itself is durable only with its folder: a certificate that is lost costs one more order.
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // The mode is set at creation: a key must not be readable for a moment.
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
