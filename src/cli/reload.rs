//! `hookgate reload`: asks the running gate to reload its config, or to upgrade if its program has changed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app;
use crate::cli::output::print;
use crate::model::error::chain;

/// Where the unit of the service has the control socket.
const DEFAULT: &str = "/run/hookgate/control.sock";

#[derive(Args)]
pub(crate) struct ReloadArguments {
    /// Control socket of the gate; by default that of the service
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Asks the gate, waits for the outcome, and prints it.
pub(crate) fn run(arguments: ReloadArguments) -> ExitCode {
    let named = arguments.socket.or_else(app::control_path);
    let path = named.unwrap_or_else(|| DEFAULT.into());
    match app::request_reload(&path) {
        Ok(text) => {
            print(&format!("{text}\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            anstream::eprintln!("error: {} ({})", chain(&error), path.display());
            ExitCode::FAILURE
        }
    }
}
