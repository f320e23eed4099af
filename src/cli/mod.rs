//! The command line: one file per command. Exit codes: 0 done, 1 failed, 2 wrong usage or config.
//!
//! Commands talk to the person at the terminal; what they do is done by the rooms below.

mod completions;
pub mod output;

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

/// Reads the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Completions { shell } => {
            completions::print::<Arguments>(shell);
            ExitCode::SUCCESS
        }
    }
}
