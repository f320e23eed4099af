//! The main process of the service under systemd: it starts the gate as its child, and passes signals on.
//!
//! systemd starts the next process only when the main process has ended. A gate that drains for 25 s would hold up a
//! restart for so long, and connections cannot move to another process. So the main process is another one: it ends as
//! soon as the gate has released everything that the next one needs, while the gate goes on.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitCode, ExitStatus, Stdio};

use rustix::process::{Pid, Signal as KillSignal, kill_process, set_parent_process_death_signal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::succession::command_mode::{CommandMode, ProcessRole, launch, same_program};
use crate::app::succession::control::control_path;

/// Byte that a worker writes to its standard output when its supervisor can end.
const LEAVE: &[u8] = b"L";

/// Plays the parts that do not serve. Returns `None` if this process is to serve.
pub(in crate::app) fn play(mode: CommandMode) -> Option<ExitCode> {
    match mode.role {
        ProcessRole::Launcher => Some(launch()),
        ProcessRole::Worker => {
            // Whatever ends the supervisor ends the worker, so that systemd can stop a gate that hangs.
            let bound = set_parent_process_death_signal(Some(KillSignal::KILL));
            if let Err(error) = bound {
                eprintln!("warning: the gate will not end with its supervisor: {error}");
            }
            None
        }
        // Without a control socket a next process could not find this one, so there is no need to outlive a restart.
        ProcessRole::Main => {
            let is_service = std::env::var_os("NOTIFY_SOCKET").is_some();
            let is_needed = is_service && control_path().is_some();
            is_needed.then(|| supervise(mode))
        }
    }
}

/// Lets the supervisor of this process end. Runs on the main thread, to which the signal of the supervisor's end belongs.
pub(in crate::app) fn leave_supervisor() -> io::Result<()> {
    // First, or the end of the supervisor would kill this process, which still drains.
    set_parent_process_death_signal(None)?;
    let mut output = io::stdout().lock();
    io::Write::write_all(&mut output, LEAVE)?;
    io::Write::flush(&mut output)
}

fn supervise(mode: CommandMode) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let supervised = runtime.and_then(|runtime| runtime.block_on(watch_worker(mode)));
    supervised.unwrap_or_else(|error| {
        eprintln!("error: cannot supervise the gate: {error}");
        ExitCode::FAILURE
    })
}

async fn watch_worker(mode: CommandMode) -> io::Result<ExitCode> {
    // Before the worker exists, so that no signal is lost.
    let mut ended = signal(SignalKind::child())?;
    let mut restart = signal(SignalKind::user_defined1())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut upgrade = signal(SignalKind::user_defined2())?;
    let mut child = start_worker(mode)?;
    let output = child.stdout.take().map(OwnedFd::from);
    let mut output = output.map(pipe::Receiver::from_owned_fd).transpose()?;
    loop {
        let passed_on = tokio::select! {
            // In this order: the announcement of a restart comes before the stop.
            biased;
            () = next(&mut restart) => KillSignal::USR1,
            () = next(&mut terminate) => KillSignal::TERM,
            () = next(&mut interrupt) => KillSignal::INT,
            () = next(&mut hangup) => KillSignal::HUP,
            () = next(&mut upgrade) => KillSignal::USR2,
            has_left = worker_leaves(&mut output) => match has_left {
                true => return Ok(ExitCode::SUCCESS),
                false => {
                    // A closed output would be ready in every round, so it is no longer polled.
                    output = None;
                    continue;
                }
            },
            () = next(&mut ended) => match child.try_wait()? {
                Some(status) => return Ok(code(status)),
                None => continue,
            },
        };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The worker may have ended, which its own signal reports.
            let _ = kill_process(pid, passed_on);
        }
    }
}

fn start_worker(mode: CommandMode) -> io::Result<Child> {
    let mut command = same_program("/proc/self/exe", mode.worker());
    let own = std::process::id().to_string();
    // These variables are valid only for the process whose id they name, which is not that of the worker.
    let is_own = |name| std::env::var(name).is_ok_and(|pid| pid == own);
    if is_own("LISTEN_PID") {
        // The worker inherits the descriptors at the same numbers.
        command.env_remove("LISTEN_PID");
    } else {
        command.env_remove("LISTEN_FDS");
    }
    if is_own("WATCHDOG_PID") {
        command.env_remove("WATCHDOG_PID");
    }
    command.stdout(Stdio::piped()).spawn()
}

async fn next(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the worker writes that it leaves. Returns `false` if it has closed its output.
async fn worker_leaves(output: &mut Option<pipe::Receiver>) -> bool {
    let Some(output) = output else {
        return std::future::pending().await;
    };
    let mut byte = [0; 1];
    output.read_exact(&mut byte).await.is_ok()
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    // As shells do: systemd must consider a worker that was killed as failed.
    let killed = || {
        status
            .signal()
            .and_then(|signal| u8::try_from(128 + signal).ok())
    };
    ExitCode::from(code.or_else(killed).unwrap_or(1))
}
