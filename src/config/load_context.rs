//! Values that every section may need beside its table.

use std::path::PathBuf;

use crate::model::clock::ClockReading;

/// Values that every section may need beside its table.
pub(crate) struct LoadContext {
    /// The folder of the config file; relative paths start here.
    pub(super) folder: PathBuf,
    pub(super) now: ClockReading,
}
