//! The control socket in the runtime folder of the service: reload requests, and the successor of a restart.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::app::succession::channel::SuccessionChannel;
use crate::app::succession::error::SuccessionError;
use crate::app::succession::frame::SuccessionFrame;
use crate::app::systemd;

/// Name of the socket.
const NAME: &str = "control.sock";

/// Time for the first frame of a connection.
const FIRST: Duration = Duration::from_secs(2);

/// Time for an answer. An upgrade has several steps, each with its own limit.
const ANSWER: Duration = Duration::from_secs(90);

/// Requests that wait. Further ones wait in the kernel.
const WAITING: usize = 4;

/// The control socket of a running gate. Dropping it removes its file, unless a successor has replaced that.
pub(in crate::app) struct ControlSocket {
    requests: mpsc::Receiver<SuccessionChannel>,
    path: PathBuf,
    id: (u64, u64),
}

impl ControlSocket {
    /// Binds the socket in place of the one of a former process. Needs a tokio runtime.
    pub(in crate::app) fn bind(path: PathBuf) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        // A process that crashed between `bind` and `rename` leaves this file, and `bind` fails where a file exists.
        let _ = std::fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh)?;
        // Only the owner: a client can have the listening sockets. The folder is private too.
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        let found = std::fs::symlink_metadata(&fresh)?;
        // Replaces the other name at once, so that there always is a socket.
        std::fs::rename(&fresh, &path)?;
        let (sender, requests) = mpsc::channel(WAITING);
        tokio::spawn(accept(listener, sender));
        Ok(Self {
            requests,
            path,
            id: (found.dev(), found.ino()),
        })
    }

    /// Returns the next connection.
    pub(in crate::app) async fn next(&mut self) -> ControlRequest {
        loop {
            let Some(mut channel) = self.requests.recv().await else {
                // Without the accepting task, which ends with the runtime, no request can come.
                return std::future::pending().await;
            };
            match channel.receive(FIRST).await {
                Ok(SuccessionFrame::Reload) => {
                    return ControlRequest::Reload(ReloadAnswer { channel });
                }
                Ok(SuccessionFrame::Hello { pid, main }) => {
                    return ControlRequest::Successor(WaitingSuccessor { channel, pid, main });
                }
                // A connection without a valid first frame is dropped, so that it does not hold up those behind it.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Returns the path of the control socket: in the unit's `RuntimeDirectory=`. `None` outside of systemd.
pub(crate) fn control_path() -> Option<PathBuf> {
    let folders = systemd::runtime_dir()?;
    // systemd separates several folders with colons.
    let first = folders.to_str()?.split(':').next()?;
    (!first.is_empty()).then(|| Path::new(first).join(NAME))
}

/// A request that came over the control socket.
pub(in crate::app) enum ControlRequest {
    Reload(ReloadAnswer),
    Successor(WaitingSuccessor),
}

/// An operator who waits for the outcome of a reload.
pub(in crate::app) struct ReloadAnswer {
    channel: SuccessionChannel,
}

/// A new process that asks for everything that this one has.
pub(in crate::app) struct WaitingSuccessor {
    pub(super) channel: SuccessionChannel,
    pub(super) pid: u32,
    pub(super) main: u32,
}

impl ReloadAnswer {
    /// Sends the outcome. The operator may be gone.
    pub(in crate::app) async fn send(mut self, outcome: Result<String, String>) {
        let frame = match outcome {
            Ok(text) => SuccessionFrame::Done { text },
            Err(text) => SuccessionFrame::Refused { text },
        };
        let _ = self.channel.send(&frame).await;
    }
}

impl WaitingSuccessor {
    /// Refuses: this process serves, and has not been asked to leave.
    pub(in crate::app) async fn refuse(mut self) {
        let text = "another process serves and stays".to_owned();
        let _ = self.channel.send(&SuccessionFrame::Refused { text }).await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A successor has bound its own socket under this name, which must survive this process.
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.id);
        if is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn accept(listener: UnixListener, sender: mpsc::Sender<SuccessionChannel>) {
    loop {
        let accepted = tokio::select! {
            () = sender.closed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if sender.send(SuccessionChannel::of(stream)).await.is_err() {
                    return;
                }
            }
            // Without free descriptors each further `accept` fails at once, so a pause keeps the loop from spinning.
            Err(_) => tokio::time::sleep(FIRST).await,
        }
    }
}

/// Asks the running gate to reload its config, or to upgrade if its program has changed. Returns what it has done.
///
/// # Errors
/// The gate does not answer, or refused.
pub(crate) fn request_reload(path: &Path) -> Result<String, SuccessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = tokio::net::UnixStream::connect(path).await?;
        let mut channel = SuccessionChannel::of(stream);
        channel.send(&SuccessionFrame::Reload).await?;
        match channel.receive(ANSWER).await? {
            SuccessionFrame::Done { text } => Ok(text),
            SuccessionFrame::Refused { text } => Err(SuccessionError::Refused(text)),
            _ => Err(SuccessionError::Unexpected),
        }
    })
}
