//! Integration with systemd: socket activation, readiness, reloads, watchdog and journal.
//!
//! Without systemd everything here does nothing. A notification that cannot be sent is logged and has no other effect;
//! systemd then acts by its own timeouts.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use socket2::SockRef;
use thiserror::Error;
use tokio::task::JoinHandle;

use crate::model::error::chain;
use crate::record::log::StderrKind;

/// Error from a socket that systemd handed over.
#[derive(Debug, Error)]
pub(crate) enum HandoverError {
    /// The file descriptor is not a TCP socket.
    #[error("socket {position} that systemd handed over is not a TCP socket")]
    Kind {
        /// Position among the sockets of the unit, from 1.
        position: usize,
        /// Error that the system returned.
        source: io::Error,
    },
    /// The socket is one accepted connection (`Accept=yes`).
    #[error(
        "socket {position} that systemd handed over is not a listening socket: set `Accept=no` in the socket unit"
    )]
    NotListening {
        /// Position among the sockets of the unit, from 1.
        position: usize,
    },
    /// The options of the socket cannot be read or set.
    #[error("cannot use socket {position} that systemd handed over")]
    Options {
        /// Position among the sockets of the unit, from 1.
        position: usize,
        /// Error that the system returned.
        source: io::Error,
    },
}

/// Returns the folder for state such as fetched keys: the unit's `StateDirectory=`, else `/var/lib/hookgate`.
pub(crate) fn state_dir() -> PathBuf {
    let named = env::var_os("STATE_DIRECTORY");
    // A unit may have several directories, separated by colons.
    let first = named.as_ref().and_then(|named| {
        let named = named.to_str()?;
        named.split(':').next().filter(|first| !first.is_empty())
    });
    first.unwrap_or("/var/lib/hookgate").into()
}

/// Returns the unit's `RuntimeDirectory=` for sockets, or `None` outside of systemd.
pub(crate) fn runtime_dir() -> Option<OsString> {
    env::var_os("RUNTIME_DIRECTORY")
}

/// Returns the listeners that systemd handed over, ready for tokio; empty without systemd. Call it once and before any
/// thread starts, because it removes `LISTEN_FDS` from the environment.
///
/// # Errors
/// If a file descriptor is not a listening TCP socket.
pub(crate) fn listeners() -> Result<Vec<TcpListener>, HandoverError> {
    let mut handed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed.len() {
        let position = index.saturating_add(1);
        let taken = handed.take_tcp_listener(index);
        let taken = taken.map_err(|source| HandoverError::Kind { position, source })?;
        if let Some(listener) = taken {
            check(&listener, position)?;
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

fn check(listener: &TcpListener, position: usize) -> Result<(), HandoverError> {
    let fault = |source| HandoverError::Options { position, source };
    if !SockRef::from(listener).is_listener().map_err(fault)? {
        return Err(HandoverError::NotListening { position });
    }
    // A program that this one starts must not hold the socket open.
    rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::CLOEXEC)
        .map_err(|errno| fault(errno.into()))?;
    // systemd hands over blocking sockets, which would block the runtime.
    listener.set_nonblocking(true).map_err(fault)
}

/// Detects if stderr is the journal's own stream: `JOURNAL_STREAM` has its device and inode.
pub(crate) fn stderr() -> StderrKind {
    let is_journal = || {
        let stream = env::var("JOURNAL_STREAM").ok()?;
        let (device, inode) = stream.split_once(':')?;
        let metadata = std::fs::metadata("/proc/self/fd/2").ok()?;
        let expected = (device.parse().ok()?, inode.parse().ok()?);
        Some(expected == (metadata.dev(), metadata.ino()))
    };
    match is_journal() {
        Some(true) => StderrKind::Journal,
        _ => StderrKind::Other,
    }
}

/// Notifies systemd that the gate accepts requests: after the start, and after each reload, successful or not.
pub(crate) fn notify_ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// Notifies systemd that a reload begins; `notify_ready` must follow.
pub(crate) fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => log_notify_error(&error),
    }
}

/// Notifies systemd that the gate stops, and may need up to `at_most`.
pub(crate) fn notify_stopping(at_most: Duration) {
    // The library takes 32 bits: 71 minutes at most.
    let micros = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("finishing requests and deliveries in flight"),
        NotifyState::ExtendTimeoutUsec(micros),
    ]);
}

/// Notifies systemd that another process is the main process of the service from now on.
pub(crate) fn notify_main(pid: u32) {
    notify(&[NotifyState::MainPid(pid)]);
}

/// Pings the watchdog while `probe` returns true in time, if the unit has `WatchdogSec=`. The probe must show that
/// requests can still be processed.
pub(crate) fn spawn_watchdog<F>(
    probe: impl Fn() -> F + Send + Sync + 'static,
) -> Option<JoinHandle<()>>
where
    F: Future<Output = bool> + Send + 'static,
{
    let period = sd_notify::watchdog_enabled()?;
    // A pause and a slow probe together take half a period at most, so at least two pings fit into each.
    Some(tokio::spawn(watch(period / 4, probe)))
}

async fn watch<F: Future<Output = bool>>(pause: Duration, probe: impl Fn() -> F) {
    loop {
        tokio::time::sleep(pause).await;
        if let Ok(true) = tokio::time::timeout(pause, probe()).await {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(
                "the watchdog probe failed; systemd restarts the service if it keeps failing"
            );
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log_notify_error(&error);
    }
}

fn log_notify_error(error: &io::Error) {
    tracing::warn!(error = %chain(error), "cannot notify systemd");
}

/// Removes control characters and cuts the text: systemd reads one assignment per line, so a line end would begin
/// another.
fn one_line(text: &str) -> String {
    let is_fit = |letter: &char| !letter.is_control();
    text.chars().filter(is_fit).take(200).collect()
}

/// Returns the name of this machine.
pub(crate) fn host_name() -> Arc<str> {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::test_rig::{LIMIT, silent_listener, wait_for};

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("3 routes\nMAINPID=1\0"), "3 routesMAINPID=1");
        assert_eq!(one_line(&"x".repeat(1000)).len(), 200);
    }

    #[test]
    fn only_a_listening_socket_is_taken() {
        let (listener, _) = silent_listener();
        assert!(check(&listener, 1).is_ok());
        let quiet = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let quiet: TcpListener = quiet.unwrap().into();
        assert!(matches!(
            check(&quiet, 2),
            Err(HandoverError::NotListening { position: 2 })
        ));
    }

    #[tokio::test]
    async fn a_probe_that_is_stuck_is_given_up_and_repeated() {
        let asked = AtomicU32::new(0);
        let watching = watch(Duration::from_millis(20), || {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                if number == 1 {
                    std::future::pending::<()>().await;
                }
                true
            }
        });
        let asked_again = wait_for("four probes", LIMIT, || asked.load(Ordering::Relaxed) >= 4);
        tokio::select! {
            () = watching => panic!("watching never ends"),
            () = asked_again => {}
        }
    }
}
