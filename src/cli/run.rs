//! `hookgate run`: the gate in the foreground, until a signal ends it.

use std::path::Path;
use std::process::ExitCode;

use crate::app;

/// Runs the gate.
#[must_use]
pub(crate) fn run(path: &Path) -> ExitCode {
    app::run(path)
}
