//! `hookgate config schema`: the JSON Schema of the config file, for editors.

use std::process::ExitCode;

use anstream::println;

use crate::config::reference;

/// Prints the schema.
#[must_use]
pub fn print_schema() -> ExitCode {
    println!("{:#}", reference::schema());
    ExitCode::SUCCESS
}
