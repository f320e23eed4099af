//! The lock of the state folder, by which a restarted process knows that the former one is gone.
//!
//! Without it the deliveries of a process that crashed wait until its lease is over. With it they go on at once. While a
//! process that leaves still finishes its attempts, it holds the lock, and the one that follows gets it later.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use crate::model::database::PostgresSettings;

/// The locked file with the number of the node, or nothing if this process has no state folder, or another one uses it.
pub(super) struct StateLock {
    path: Option<PathBuf>,
    file: Mutex<Option<File>>,
    /// The process that held the lock before, until its row is ended.
    former_node: Mutex<Option<i32>>,
    /// The database that node numbers belong to.
    database: String,
}

impl StateLock {
    /// Returns the lock of a folder, which is not taken yet.
    pub(super) fn new(folder: Option<&Path>, settings: &PostgresSettings) -> Self {
        Self {
            path: folder.map(|folder| folder.join("node.lock")),
            file: Mutex::default(),
            former_node: Mutex::default(),
            database: format!("{settings} {}", settings.schema),
        }
    }

    /// Tries to lock the file, and reads the number of the former process. Returns `true` if it is locked by this call.
    pub(super) fn try_take(&self) -> bool {
        let mut held = self.file.lock();
        let (None, Some(path)) = (&*held, &self.path) else {
            return false;
        };
        let lock = || {
            let mut options = File::options();
            // Not truncated, because the number of the former process is read after the lock is taken.
            options.create(true).truncate(false).read(true).write(true);
            let file = options.open(path).ok()?;
            // The kernel releases it when the process ends, however that happens.
            flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
            Some(file)
        };
        let Some(mut file) = lock() else {
            return false;
        };
        let mut text = String::new();
        // A number that another database gave may be that of a live node in this one.
        let former_node = match file.read_to_string(&mut text) {
            Ok(_) => match text.trim().split_once(' ') {
                Some((node, of)) if of == self.database => node.parse().ok(),
                _ => None,
            },
            Err(_) => None,
        };
        *held = Some(file);
        *self.former_node.lock() = former_node;
        true
    }

    /// Returns the number of the process that held the lock before and is gone, until it is forgotten.
    pub(super) fn former_node(&self) -> Option<i32> {
        *self.former_node.lock()
    }

    /// Forgets the former process, because the database knows that it is gone.
    pub(super) fn forget_former(&self) {
        *self.former_node.lock() = None;
    }

    /// Writes the number of this process. Without it the next start waits for the lease instead.
    pub(super) fn write(&self, node: i32) {
        let mut held = self.file.lock();
        let Some(file) = held.as_mut() else {
            return;
        };
        let text = format!("{node} {}\n", self.database);
        // Rewritten in place, since the lock belongs to this open file: a new file with the same name would be
        // unlocked.
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.set_len(0))
            .and_then(|()| file.write_all(text.as_bytes()));
        if let Err(err) = written {
            tracing::warn!(%err, "the number of this node could not be written to `node.lock` in the state folder");
        }
    }
}
