//! The part that a process of `hookgate run` plays, as the process that started it decided.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// Environment variable with the part of a new process.
pub(super) const VARIABLE: &str = "HOOKGATE_PROCESS";

/// The part that this process plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::app) struct CommandMode {
    /// True if the process at the other end of the standard input is to be replaced.
    pub(in crate::app) is_successor: bool,
    pub(super) role: ProcessRole,
}

/// The place of a process between service manager and gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ProcessRole {
    /// Starts the process that stays, prints its id, and ends. So that process becomes a child of the service manager,
    /// which learns of its end.
    Launcher,
    /// Decides by itself: it supervises a worker under systemd, and serves otherwise.
    Main,
    /// Serves under a supervisor.
    Worker,
}

impl CommandMode {
    pub(super) const LAUNCHER: &'static str = "launcher";
    const SUCCESSOR: &'static str = "successor";
    const WORKER: &'static str = "worker";
    const SUCCESSOR_WORKER: &'static str = "successor-worker";

    /// Reads the part from the environment.
    pub(in crate::app) fn from_environment() -> Self {
        Self::parse(&std::env::var(VARIABLE).unwrap_or_default())
    }

    fn parse(part: &str) -> Self {
        let (is_successor, role) = match part {
            Self::LAUNCHER => (true, ProcessRole::Launcher),
            Self::SUCCESSOR => (true, ProcessRole::Main),
            Self::SUCCESSOR_WORKER => (true, ProcessRole::Worker),
            Self::WORKER => (false, ProcessRole::Worker),
            // An unknown part comes from another version or from the user's environment, so this process starts as
            // usual.
            _ => (false, ProcessRole::Main),
        };
        Self { is_successor, role }
    }

    pub(in crate::app) fn is_worker(self) -> bool {
        self.role == ProcessRole::Worker
    }

    /// Returns the part of the worker that this process supervises.
    pub(super) fn worker(self) -> &'static str {
        match self.is_successor {
            true => Self::SUCCESSOR_WORKER,
            false => Self::WORKER,
        }
    }
}

/// Returns a command that starts this program again with a part.
pub(super) fn same_program(program: impl AsRef<OsStr>, part: &str) -> Command {
    let mut command = Command::new(program);
    let mut arguments = std::env::args_os();
    // The new process finds the file of a later program by this name.
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(VARIABLE, part);
    command
}

/// Starts the process that stays, and prints its id for the process that waits for it.
pub(super) fn launch() -> ExitCode {
    let mut command = same_program("/proc/self/exe", CommandMode::SUCCESSOR);
    // This process's standard output is a pipe to the process that waits for the id. The new one must not hold it open.
    command.stdout(Stdio::null());
    match command.spawn() {
        Ok(child) => {
            let _ = writeln!(std::io::stdout(), "{}", child.id());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: cannot start the new process: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a worker would start a worker of its own, or a successor would bind its own sockets.
    #[test]
    fn each_part_starts_the_next_one() {
        let parse = CommandMode::parse;
        assert_eq!(parse(CommandMode::LAUNCHER).role, ProcessRole::Launcher);
        let started = parse(CommandMode::SUCCESSOR);
        assert_eq!(
            (started.is_successor, started.role),
            (true, ProcessRole::Main)
        );
        let worker = parse(started.worker());
        assert!(worker.is_successor && worker.is_worker());
        let first = parse("");
        assert_eq!((first.is_successor, first.role), (false, ProcessRole::Main));
        let worker = parse(first.worker());
        assert!(!worker.is_successor && worker.is_worker());
    }
}
