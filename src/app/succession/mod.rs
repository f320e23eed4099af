//! Restart and upgrade without a stall: one process takes over from another one that still finishes its exchanges.
//!
//! The new process is the successor, the old one its predecessor. Both talk over a Unix socket (`channel`, `frame`): the
//! successor of an upgrade has it as its standard input (`spawn`), that of a restart connects to the control socket
//! (`control`). The predecessor passes its listening sockets (`sockets`), shares the store, and once the successor has
//! everything that it needs, stops accepting connections and reports its claims in flight (`claims`). A successor that
//! fails before that changes nothing.
//!
//! systemd waits for the end of the main process before it starts the next one. So under systemd the main process is not
//! the gate but its parent (`supervisor`), which ends as soon as the gate has released everything, while the gate drains.

mod channel;
mod claims;
pub(super) mod command_mode;
pub(super) mod control;
pub(super) mod error;
mod frame;
pub(super) mod predecessor;
pub(super) mod socket_book;
pub(super) mod sockets;
pub(super) mod spawn;
pub(super) mod successor;
pub(super) mod supervisor;
