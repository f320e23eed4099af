//! `hookgate run`: runs the gate in the foreground until a signal stops it.

use std::path::Path;
use std::process::ExitCode;

use crate::app;

/// Runs the gate with the config at `path` and returns the exit code of the process.
pub(crate) fn run(path: &Path) -> ExitCode {
    app::run(path)
}
