//! Where alerts survive a restart: a file of the state folder, or the store that several nodes share.
//!
//! Everything is in named rows of text. Of several nodes, the one that has the duty of alerts writes most rows and sends
//! all messages. The others leave what they find, and acknowledgments, in rows of their own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError};

/// Version of the file format.
const VERSION: u32 = 1;

/// Largest file that is read, in bytes. A thousand routes take less than one MiB.
const MAX_BYTES: u64 = 64 << 20;

/// Name of the file in the state folder.
const FILE: &str = "alerts.json";

/// A row with its new text; `None` deletes it.
pub(super) type AlertRow = (String, Option<String>);

/// Where alerts survive a restart.
#[derive(Clone)]
pub(crate) enum AlertKeeper {
    /// A file that only this process uses.
    File(AlertFile),
    /// Rows in the database of several nodes.
    Shared(Store),
}

/// The file, with the rows that are in it.
#[derive(Clone)]
pub(crate) struct AlertFile {
    path: PathBuf,
    rows: Arc<Mutex<BTreeMap<String, String>>>,
}

#[derive(Serialize, Deserialize)]
struct StoredAlerts {
    version: u32,
    rows: BTreeMap<String, String>,
}

/// The error of a keeper.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeeperError {
    #[error("cannot write `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("another node has the duty of alerts")]
    DutyLost,
}

impl AlertKeeper {
    /// Returns the keeper of a gate: the store if several nodes may share it, otherwise a file of the state folder.
    pub(crate) fn new(state_folder: &Path, store: Option<Store>) -> Self {
        match store.filter(|store| store.node_name().is_some()) {
            Some(store) => Self::Shared(store),
            None => Self::File(AlertFile {
                path: state_folder.join(FILE),
                rows: Arc::default(),
            }),
        }
    }

    /// Takes or prolongs the duty of alerts. Returns its term, which is new whenever the duty has changed hands, or `None`
    /// if another node has the duty.
    pub(super) async fn take_duty(&self, lease: Duration) -> Result<Option<i64>, KeeperError> {
        match self {
            Self::File(_) => Ok(Some(0)),
            Self::Shared(store) => Ok(store.take_alert_duty(lease).await?),
        }
    }

    /// Reads all rows.
    pub(super) async fn load(&self) -> Result<Vec<(String, String)>, KeeperError> {
        match self {
            Self::File(file) => {
                let file = file.clone();
                let read = tokio::task::spawn_blocking(move || file.read()).await;
                Ok(read.unwrap_or_default())
            }
            Self::Shared(store) => Ok(store.alert_rows("").await?),
        }
    }

    /// Reads the rows whose name begins with a text. Only other nodes write rows behind the back of this one.
    pub(super) async fn rows_of_others(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, String)>, KeeperError> {
        match self {
            Self::File(_) => Ok(Vec::new()),
            Self::Shared(store) => Ok(store.alert_rows(prefix).await?),
        }
    }

    /// Writes all rows or fails. With a term, they are written only while this node has the duty in this term.
    pub(super) async fn save(
        &self,
        term: Option<i64>,
        rows: Vec<AlertRow>,
    ) -> Result<(), KeeperError> {
        match self {
            Self::File(file) => {
                let file = file.clone();
                let path = file.path.clone();
                let written = tokio::task::spawn_blocking(move || file.write(rows)).await;
                let written =
                    written.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
                written.map_err(|source| KeeperError::File { path, source })
            }
            Self::Shared(store) => match store.put_alert_rows(term, rows).await? {
                true => Ok(()),
                false => Err(KeeperError::DutyLost),
            },
        }
    }
}

impl AlertFile {
    /// Reads the file. A file that is missing or damaged has no rows: the alerts begin again.
    fn read(&self) -> Vec<(String, String)> {
        let mut text = Vec::new();
        let file = File::open(&self.path);
        // Bounded, so that a wrong file cannot fill the memory. A document that is cut fails to parse.
        let read = file.and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
        let stored = read
            .and_then(|_| serde_json::from_slice::<StoredAlerts>(&text).map_err(io::Error::from));
        let rows = match stored {
            Ok(stored) if stored.version == VERSION => stored.rows,
            // Another version may give the rows another meaning, so the alerts begin again.
            Ok(_) => BTreeMap::new(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(
                        file = %self.path.display(),
                        error = %error,
                        "the stored alerts cannot be read, they begin again"
                    );
                }
                BTreeMap::new()
            }
        };
        *self.rows.lock() = rows.clone();
        rows.into_iter().collect()
    }

    /// Writes the file with these changes, completely or not at all.
    fn write(&self, changes: Vec<AlertRow>) -> io::Result<()> {
        let stored = {
            let mut rows = self.rows.lock();
            for (name, body) in changes {
                match body {
                    Some(body) => rows.insert(name, body),
                    None => rows.remove(&name),
                };
            }
            StoredAlerts {
                version: VERSION,
                rows: rows.clone(),
            }
        };
        let text = serde_json::to_vec(&stored)?;
        // The process id keeps the file apart from that of a process that takes over.
        let fresh = self
            .path
            .with_extension(format!("json.{}", std::process::id()));
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Write a new file and rename it, so that no reader sees a part of it.
        let written = write_new(&fresh, &text).and_then(|()| fs::rename(&fresh, &self.path));
        written.inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })
    }
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    // Only for the owner: sentences about problems name routes, destinations and files.
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    // Before the rename: otherwise a crash could leave an empty file under the final name.
    file.sync_all()
}
