//! `hookgate completions SHELL`: prints the completion script of a shell.

use clap::CommandFactory;
use clap_complete::Shell;

/// Prints the completion script for the commands of `C` to standard output.
pub(crate) fn print<C: CommandFactory>(shell: Shell) {
    let mut command = C::command();
    clap_complete::generate(shell, &mut command, "hookgate", &mut std::io::stdout());
}
