//! The side of the process that takes over.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::app::cross_reload::{CrossReloadHandle, CrossReloadState};
use crate::app::succession::channel::SuccessionChannel;
use crate::app::succession::claims::AdoptedClaims;
use crate::app::succession::error::SuccessionError;
use crate::app::succession::frame::SuccessionFrame;
use crate::app::succession::sockets::InheritedSockets;

/// Time for each step of the predecessor, which has nothing to do but to answer.
const STEP: Duration = Duration::from_secs(20);

/// Time for the first answer. Without it this process starts as if there were no predecessor.
const FIRST: Duration = Duration::from_secs(5);

/// The process that this one follows.
pub(in crate::app) struct Predecessor {
    channel: SuccessionChannel,
    sockets: InheritedSockets,
    adopted: AdoptedClaims,
}

impl Predecessor {
    /// Takes the connection that the predecessor passed as standard input.
    ///
    /// # Errors
    /// The connection failed, so that this process must not start: the predecessor goes on.
    pub(in crate::app) async fn of_stdin(is_supervised: bool) -> Result<Self, SuccessionError> {
        let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
        let channel = SuccessionChannel::new(UnixStream::from(socket))?;
        Self::greet(channel, is_supervised, STEP).await
    }

    /// Connects to a predecessor that drains before a restart. Returns `None` if there is no such process.
    pub(in crate::app) async fn find(control: &Path, is_supervised: bool) -> Option<Self> {
        let socket = tokio::net::UnixStream::connect(control).await.ok()?;
        let found = Self::greet(SuccessionChannel::of(socket), is_supervised, FIRST).await;
        if let Err(error) = &found {
            tracing::warn!(%error, "the former process does not hand over: starting without it");
        }
        found.ok()
    }

    async fn greet(
        mut channel: SuccessionChannel,
        is_supervised: bool,
        limit: Duration,
    ) -> Result<Self, SuccessionError> {
        let pid = std::process::id();
        // Under a supervisor the service manager must watch that one, which is the parent of this process.
        let main = match is_supervised {
            true => rustix::process::getppid().map_or(pid, |parent| {
                u32::try_from(parent.as_raw_nonzero().get()).unwrap_or(pid)
            }),
            false => pid,
        };
        channel.send(&SuccessionFrame::Hello { pid, main }).await?;
        let names = match channel.receive(limit).await? {
            SuccessionFrame::Sockets { names } => names,
            SuccessionFrame::Refused { text } => return Err(SuccessionError::Refused(text)),
            _ => return Err(SuccessionError::Unexpected),
        };
        let sockets = channel.receive_sockets(names.len()).await?;
        let sockets = InheritedSockets::new(names.into_iter().zip(sockets).collect());
        Ok(Self {
            channel,
            sockets,
            adopted: AdoptedClaims::default(),
        })
    }

    pub(in crate::app) fn take_sockets(&mut self) -> InheritedSockets {
        std::mem::take(&mut self.sockets)
    }

    /// Waits until the store can be opened.
    pub(in crate::app) async fn want_store(&mut self) -> Result<(), SuccessionError> {
        self.channel.send(&SuccessionFrame::WantStore).await?;
        match self.channel.receive(STEP).await? {
            SuccessionFrame::StoreFree => Ok(()),
            SuccessionFrame::Refused { text } => Err(SuccessionError::Refused(text)),
            _ => Err(SuccessionError::Unexpected),
        }
    }

    /// Reports that this process is complete, and adopts the claims in flight. It may serve afterward.
    pub(in crate::app) async fn take_over(
        &mut self,
        state: &CrossReloadState,
    ) -> Result<(), SuccessionError> {
        self.channel.send(&SuccessionFrame::Ready).await?;
        loop {
            match self.channel.receive(STEP).await? {
                SuccessionFrame::Claims { route, changes } => {
                    self.adopted.apply(state, &route, &changes);
                }
                SuccessionFrame::Go => return Ok(()),
                _ => return Err(SuccessionError::Unexpected),
            }
        }
    }

    /// Reports that this process serves, and waits until it is the main process of the service.
    pub(in crate::app) async fn become_main(&mut self, state: &CrossReloadHandle) {
        if self.channel.send(&SuccessionFrame::Serving).await.is_err() {
            return;
        }
        loop {
            match self.channel.receive(STEP).await {
                Ok(SuccessionFrame::Claims { route, changes }) => {
                    let state = { state.lock().clone() };
                    self.adopted.apply(&state, &route, &changes);
                }
                // The predecessor ended without a word. This process serves already, so it goes on.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Applies the changes of claims until the predecessor has ended.
pub(in crate::app) async fn follow_claims(predecessor: Predecessor, state: CrossReloadHandle) {
    let Predecessor {
        mut channel,
        mut adopted,
        ..
    } = predecessor;
    while let Ok(frame) = channel.next().await {
        if let SuccessionFrame::Claims { route, changes } = frame {
            let state = { state.lock().clone() };
            adopted.apply(&state, &route, &changes);
        }
    }
}
