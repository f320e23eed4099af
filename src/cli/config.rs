//! `hookgate config schema`: prints the JSON Schema of the config file, for editors.

use std::process::ExitCode;

use crate::cli::output::print;
use crate::config::reference;

/// Prints the JSON Schema of the config file to standard output.
pub(crate) fn print_schema() -> ExitCode {
    print(&format!("{:#}\n", reference::schema()));
    ExitCode::SUCCESS
}
