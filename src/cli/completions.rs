//! `hookgate completions SHELL`: the shell's own completion script on standard output.

use clap::CommandFactory;
use clap_complete::Shell;

/// Prints the script for the commands of `C`.
pub(crate) fn print<C: CommandFactory>(shell: Shell) {
    let mut command = C::command();
    clap_complete::generate(shell, &mut command, "hookgate", &mut std::io::stdout());
}
