//! `hookgate completions SHELL`: prints the completion script of a shell.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

/// Prints the completion script for the commands of `C` to standard output.
pub(crate) fn print<C: CommandFactory>(shell: Shell) {
    let mut command = C::command();
    // Into memory first, since the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "hookgate", &mut script);
    let mut out = io::stdout();
    // A reader that closed the pipe, such as `head`, is not a failure.
    let _ = out.write_all(&script).and_then(|()| out.flush());
}
