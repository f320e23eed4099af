//! Starting the program again, from its file.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::app::succession::channel::SuccessionChannel;
use crate::app::succession::command_mode::{CommandMode, same_program};
use crate::app::succession::error::SuccessionError;

/// The file of this program, as it was found at the start.
#[derive(Clone, Debug)]
pub(in crate::app) struct ProgramFile {
    path: PathBuf,
}

impl ProgramFile {
    /// Returns the path under which this program was started.
    pub(in crate::app) fn find() -> Self {
        let first = std::env::args_os().next().map(PathBuf::from);
        // A path is better than the file behind it: an upgrade may turn a symbolic link to another file.
        let named = first.filter(|path| path.is_absolute());
        let path = named.or_else(|| std::env::current_exe().ok());
        Self {
            path: path.unwrap_or_default(),
        }
    }

    /// Returns whether another file has this path by now, so that a new process would run another program.
    pub(in crate::app) fn is_replaced(&self) -> bool {
        let id = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
        // The link leads to the running file even if it was deleted.
        match (id(&self.path), id(Path::new("/proc/self/exe"))) {
            (Ok(found), Ok(running)) => found != running,
            // Without a file there is nothing to start.
            _ => false,
        }
    }
}

/// Starts the program with the arguments of this process, and returns the connection to it.
pub(in crate::app) async fn spawn_successor(
    program: &ProgramFile,
) -> Result<SuccessionChannel, SuccessionError> {
    let (own, other) = UnixStream::pair()?;
    let launch = launcher(&program.path, other.into());
    // Blocking: the launcher starts a process and ends, which takes milliseconds.
    let launched = tokio::task::spawn_blocking(launch).await;
    launched.map_err(|_| SuccessionError::Ended)??;
    Ok(SuccessionChannel::new(own)?)
}

/// Returns a function that starts a launcher with this standard input, and waits for it.
fn launcher(
    program: &Path,
    input: OwnedFd,
) -> impl FnOnce() -> Result<(), SuccessionError> + Send + 'static {
    let program = program.to_owned();
    move || {
        let failed = |source| SuccessionError::Spawn {
            program: program.display().to_string(),
            source,
        };
        let mut command = same_program(&program, CommandMode::LAUNCHER);
        command.arg0(&program);
        // They name this process.
        for of_this_process in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(of_this_process);
        }
        command.stdin(Stdio::from(input)).stdout(Stdio::piped());
        let output = command.spawn().map_err(failed)?.wait_with_output();
        let output = output.map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout);
        // Another program, or a version that knows no parts, prints no number.
        let is_started = output.status.success() && text.trim().parse::<u32>().is_ok();
        is_started.then_some(()).ok_or(SuccessionError::Ended)
    }
}
