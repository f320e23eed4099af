//! `hookgate config schema`: prints the JSON Schema of the config file, for editors.

use std::process::ExitCode;

use anstream::println;

use crate::config::reference;

/// Prints the JSON Schema of the config file to standard output.
pub(crate) fn print_schema() -> ExitCode {
    println!("{:#}", reference::schema());
    ExitCode::SUCCESS
}
