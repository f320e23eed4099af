//! The lock of the state folder, by which a restarted process knows that the former one is gone.
//!
//! Without it the deliveries of a process that crashed wait until its lease is over. With it they go on at once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use crate::model::database::PostgresSettings;

/// The locked file with the number of the node, or nothing if this process has no state folder, or another one uses it.
pub(super) struct StateLock {
    file: Option<Mutex<File>>,
    former_node: Option<i32>,
    /// The database that node numbers belong to.
    database: String,
}

impl StateLock {
    /// Locks the file of a folder and reads the number of the former process.
    pub(super) fn take(folder: Option<&Path>, settings: &PostgresSettings) -> Self {
        let database = format!("{settings} {}", settings.schema);
        let locked = folder.and_then(|folder| {
            let mut options = File::options();
            // Not truncated, because the number of the former process is read after the lock is taken.
            options.create(true).truncate(false).read(true).write(true);
            let file = options.open(folder.join("node.lock")).ok()?;
            // The kernel releases it when the process ends, however that happens.
            flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
            Some(file)
        });
        let Some(mut file) = locked else {
            return Self {
                file: None,
                former_node: None,
                database,
            };
        };
        let mut text = String::new();
        // A number that another database gave may be that of a live node in this one.
        let former_node = match file.read_to_string(&mut text) {
            Ok(_) => match text.trim().split_once(' ') {
                Some((node, of)) if of == database => node.parse().ok(),
                _ => None,
            },
            Err(_) => None,
        };
        Self {
            file: Some(Mutex::new(file)),
            former_node,
            database,
        }
    }

    /// Returns the number of the process that held the lock before, which is gone.
    pub(super) fn former_node(&self) -> Option<i32> {
        self.former_node
    }

    /// Writes the number of this process. Without it the next start waits for the lease instead.
    pub(super) fn write(&self, node: i32) {
        let Some(file) = &self.file else {
            return;
        };
        let mut file = file.lock();
        let text = format!("{node} {}\n", self.database);
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.set_len(0))
            .and_then(|()| file.write_all(text.as_bytes()));
        if let Err(err) = written {
            tracing::warn!(%err, "the number of this node could not be written to `node.lock` in the state folder");
        }
    }
}
