//! Listening sockets on their way to the successor.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The use of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::app) enum SocketPurpose {
    /// Handed over by systemd at the first start.
    Activated,
    /// A public address of the config.
    Public,
    /// The address of the admin listener.
    Admin,
    /// A path: the admin listener, or the socket of a route.
    Path,
}

/// The name by which the successor finds a socket: its address or path as the config has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::app) struct HandedSocket {
    pub(in crate::app) purpose: SocketPurpose,
    pub(in crate::app) address: String,
}

/// The listening sockets of a predecessor. Those that the config no longer has are closed with this.
#[derive(Debug, Default)]
pub(in crate::app) struct InheritedSockets {
    sockets: Vec<(HandedSocket, OwnedFd)>,
}

impl InheritedSockets {
    pub(super) fn new(sockets: Vec<(HandedSocket, OwnedFd)>) -> Self {
        Self { sockets }
    }

    /// Takes the sockets that systemd handed over to the first process.
    pub(in crate::app) fn take_activated(&mut self) -> Vec<TcpListener> {
        let is_activated =
            |(name, _): &mut (HandedSocket, OwnedFd)| name.purpose == SocketPurpose::Activated;
        let taken = self.sockets.extract_if(.., is_activated);
        taken.map(|(_, socket)| TcpListener::from(socket)).collect()
    }

    /// Takes the socket of an address, if there is one.
    pub(in crate::app) fn take_tcp(
        &mut self,
        purpose: SocketPurpose,
        address: SocketAddr,
    ) -> Option<TcpListener> {
        let socket = self.take(purpose, &address.to_string())?;
        Some(TcpListener::from(socket))
    }

    /// Takes the socket of a path, if there is one.
    pub(in crate::app) fn take_path(&mut self, path: &Path) -> Option<UnixListener> {
        let socket = self.take(SocketPurpose::Path, &path.display().to_string())?;
        Some(UnixListener::from(socket))
    }

    fn take(&mut self, purpose: SocketPurpose, address: &str) -> Option<OwnedFd> {
        let is_wanted = |(name, _): &(HandedSocket, OwnedFd)| {
            name.purpose == purpose && name.address == address
        };
        let position = self.sockets.iter().position(is_wanted)?;
        Some(self.sockets.swap_remove(position).1)
    }
}
