//! The listening sockets of this process, held open for its successor.

use std::os::fd::{AsFd, OwnedFd};

use parking_lot::Mutex;

use crate::app::succession::sockets::{HandedSocket, SocketPurpose};

/// Duplicates of all listening sockets. While they are open, connections queue in the kernel even if this process no
/// longer accepts them.
#[derive(Default)]
pub(in crate::app) struct SocketBook {
    sockets: Mutex<Vec<(HandedSocket, OwnedFd)>>,
}

impl SocketBook {
    /// Adds a socket. Without a free descriptor it is left out, and the successor binds its own.
    pub(in crate::app) fn add(&self, purpose: SocketPurpose, address: String, socket: impl AsFd) {
        if let Ok(socket) = socket.as_fd().try_clone_to_owned() {
            let name = HandedSocket { purpose, address };
            self.sockets.lock().push((name, socket));
        }
    }

    /// Closes all sockets. Without another process that has them, further connections are refused.
    pub(in crate::app) fn close(&self) {
        self.sockets.lock().clear();
    }

    /// Returns the names of all sockets, and a duplicate of each.
    pub(super) fn duplicates(&self) -> (Vec<HandedSocket>, Vec<OwnedFd>) {
        let sockets = self.sockets.lock();
        let duplicates = sockets.iter().filter_map(|(name, socket)| {
            // Without a free descriptor the successor binds its own socket.
            Some((name.clone(), socket.try_clone().ok()?))
        });
        duplicates.unzip()
    }
}
