//! The command line: one file per command. Exit codes: 0 done, 1 failed, 2 wrong usage or config.
//!
//! Commands talk to the person at the terminal; what they do is done by the rooms below.

pub mod check;
mod completions;
pub mod config;
pub mod output;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wrong usage or a config that cannot be used; clap ends with the same code.
pub const EXIT_USAGE: u8 = 2;

#[derive(Parser)]
#[command(
    name = "hookgate",
    version,
    about = "An edge proxy that verifies webhooks and forwards only the genuine ones",
    long_about = "An edge proxy that verifies webhooks and forwards only the genuine ones.\n\n\
        hookgate stands in front of your app, terminates TLS, and decides for each webhook whether it is \
        genuine, fresh, allowed and new. One TOML file says how; one binary does it.",
    after_help = "Examples:\n  \
        hookgate completions bash > /etc/bash_completion.d/hookgate\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage or config.",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show everything that is wrong with a config file
    #[command(after_help = "Examples:\n  \
            hookgate check --config /etc/hookgate/hookgate.toml\n\n\
            Exit codes: 0 no errors, 2 errors.")]
    Check {
        /// The config file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Describe the config file
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a script that completes hookgate's commands in your shell
    #[command(after_help = "Examples:\n  \
            hookgate completions bash > /etc/bash_completion.d/hookgate\n  \
            hookgate completions zsh > \"${fpath[1]}/_hookgate\"\n  \
            hookgate completions fish > ~/.config/fish/completions/hookgate.fish")]
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the config file, for editors
    Schema,
}

/// Reads the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Check { config, json } => check::run(&config, json),
        Command::Config {
            command: ConfigCommand::Schema,
        } => config::print_schema(),
        Command::Completions { shell } => {
            completions::print::<Arguments>(shell);
            ExitCode::SUCCESS
        }
    }
}
