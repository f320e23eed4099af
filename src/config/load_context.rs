//! Values that every section may need beside its table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::clock::ClockReading;
use crate::net::egress_proxy::EgressProxy;

/// Values that every section may need beside its table.
pub(crate) struct LoadContext {
    /// The folder of the main config file; relative paths start here, wherever hookgate was started.
    pub(super) folder: PathBuf,
    pub(super) now: ClockReading,
    /// The proxy of the file, which external destinations use.
    pub(super) egress_proxy: Option<Arc<EgressProxy>>,
}

impl LoadContext {
    /// Creates the context for a main file, at the time of the call.
    pub(super) fn of(main: &Path) -> Self {
        Self {
            folder: main.parent().unwrap_or(Path::new("")).to_owned(),
            now: ClockReading::read(),
            egress_proxy: None,
        }
    }
}
