//! Settings of one store file.

use std::path::PathBuf;

use hookgate_verify::model::secret::Secret;

use crate::model::database::SqliteFile;
use crate::store::options::StoreOptions;

/// Settings with which a file is opened.
pub(in crate::store) struct SqliteOptions {
    pub(in crate::store) path: PathBuf,
    pub(super) encryption_keys: Vec<Secret>,
    pub(super) keep_body: bool,
    /// Largest size in bytes of the file and its write-ahead log.
    pub(super) max_size: Option<u64>,
    pub(super) max_events: Option<u64>,
    /// Bytes that must stay free on the disk.
    pub(super) min_free: u64,
}

impl SqliteOptions {
    /// Combines the settings of a store with the location of its file.
    pub(in crate::store) fn new(file: SqliteFile, options: StoreOptions) -> Self {
        Self {
            path: file.path,
            encryption_keys: options.encryption_keys,
            keep_body: options.keep_body,
            max_size: options.max_size,
            max_events: options.max_events,
            min_free: file.min_free,
        }
    }
}
