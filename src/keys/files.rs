//! Storage of fetched keys: one JSON file per source in the folder `keys` of the state folder.
//!
//! It saves the first request after a restart a fetch. A file holds the sender's response, not the parsed keys. It is
//! parsed, and certificate chains are verified, as if it had just been fetched; it is valid no longer than keys in
//! memory. A file that is damaged, too old, from the future or of another source is ignored.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::{BASE64, HEXLOWER};
use hookgate_verify::scheme::remote_keys::KeySource;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Version of the file format.
const VERSION: u32 = 1;

/// Largest file that is read, in bytes; far more than a fetch may return.
const MAX_BYTES: u64 = 1 << 20;

/// Limit of files; the oldest ones are removed first.
const MAX_FILES: usize = 128;

/// Contents of one file, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKeys {
    version: u32,
    url: String,
    fetched_unix_ms: i64,
    /// SHA-256 of `text`, in hexadecimal.
    sha256: String,
    /// The sender's response, in base64.
    text: String,
}

/// The folder and the names of its files, so that a source without a file costs no disk access.
pub(super) struct KeyFiles {
    folder: PathBuf,
    names: Mutex<HashSet<[u8; 32]>>,
}

impl KeyFiles {
    /// Lists the files that an earlier process left.
    pub(super) fn open(state_folder: &Path) -> Self {
        let folder = state_folder.join("keys");
        let names = file_names(&folder).into_iter().map(|(name, _)| name);
        Self {
            names: Mutex::new(names.collect()),
            folder,
        }
    }

    /// Returns whether there is a file for this source.
    pub(super) fn has(&self, source: &KeySource) -> bool {
        self.names.lock().contains(&source.fingerprint())
    }

    /// Returns the stored response of a source and its age, unless it is older than `held`.
    pub(super) fn load(
        &self,
        source: &KeySource,
        held: Duration,
        unix_ms: i64,
    ) -> Option<(Vec<u8>, Duration)> {
        let path = self.path(&source.fingerprint());
        let (stored, text) = match read(&path) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(
                    file = %path.display(),
                    error = %error,
                    "stored keys are damaged and will be fetched again"
                );
                return None;
            }
        };
        // Another version may mean something else by these fields; the URL guards against a file that was renamed.
        if stored.version != VERSION || stored.url != source.url().as_str() {
            return None;
        }
        let age = unix_ms.checked_sub(stored.fetched_unix_ms)?;
        // A time in the future comes from another clock, so the age is unknown.
        let age = Duration::from_millis(u64::try_from(age).ok()?);
        (age < held).then_some((text, age))
    }

    /// Stores the response of a source, completely or not at all.
    pub(super) fn save(&self, source: &KeySource, text: &[u8], unix_ms: i64) -> io::Result<()> {
        let stored = StoredKeys {
            version: VERSION,
            url: source.url().as_str().to_owned(),
            fetched_unix_ms: unix_ms,
            sha256: HEXLOWER.encode(&Sha256::digest(text)),
            text: BASE64.encode(text),
        };
        let name = source.fingerprint();
        let path = self.path(&name);
        let fresh = path.with_extension(format!("json.{}", std::process::id()));
        fs::create_dir_all(&self.folder)?;
        // Write a new file and rename it, so that no reader sees a part of it.
        let written = serde_json::to_vec(&stored)
            .map_err(io::Error::from)
            .and_then(|stored| write(&fresh, &stored))
            .and_then(|()| fs::rename(&fresh, &path));
        written.inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })?;
        let is_full = {
            let mut names = self.names.lock();
            names.insert(name);
            names.len() > MAX_FILES
        };
        if is_full {
            self.prune();
        }
        Ok(())
    }

    /// Removes the oldest files beyond the limit.
    fn prune(&self) {
        let mut found = file_names(&self.folder);
        found.sort_by_key(|(_, changed)| *changed);
        // The oldest modification times come first, so these are removed.
        let many = found.len().saturating_sub(MAX_FILES);
        for (name, _) in found.iter().take(many) {
            let _ = fs::remove_file(self.path(name));
        }
        let left = found.into_iter().skip(many).map(|(name, _)| name);
        *self.names.lock() = left.collect();
    }

    fn path(&self, name: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}.json", HEXLOWER.encode(name)))
    }
}

/// Lists the fingerprints that the files of a folder are named after, and when each file was written.
fn file_names(folder: &Path) -> Vec<([u8; 32], SystemTime)> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = files.filter_map(|file| {
        let name = file.file_name();
        let name = name.to_str()?.strip_suffix(".json")?;
        let name = HEXLOWER.decode(name.as_bytes()).ok()?.try_into().ok()?;
        let changed = file.metadata().ok()?.modified().ok()?;
        Some((name, changed))
    });
    named.collect()
}

fn read(path: &Path) -> io::Result<(StoredKeys, Vec<u8>)> {
    let mut whole = Vec::new();
    // A larger file is cut off, and then is not valid JSON.
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut whole)?;
    let stored: StoredKeys = serde_json::from_slice(&whole)?;
    let text = BASE64.decode(stored.text.as_bytes());
    let text = text.map_err(|_| io::Error::other("its text is not valid base64"))?;
    if HEXLOWER.encode(&Sha256::digest(&text)) != stored.sha256 {
        return Err(io::Error::other("its text does not match its digest"));
    }
    Ok((stored, text))
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    // Before the rename: otherwise a crash could leave an empty file under the final name.
    file.sync_all()
}
