//! Binds listeners, and sets the options of accepted sockets.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// Number of connections that the kernel queues for the gate: enough for a burst of handshakes on one core.
const BACKLOG: i32 = 4096;

/// TCP keepalive finds dead peers even where no timer of the gate runs: after 60 s + 4 x 15 s.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// Listens on an address. `[::]` also accepts IPv4 connections, whatever the system's default is, unless `is_v6_only`
/// is set.
///
/// Needs a tokio runtime.
///
/// # Errors
/// The error of the system, such as an address in use or a port that needs privileges.
pub(crate) fn bind(address: SocketAddr, is_v6_only: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Without this, a restart fails while old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() && is_v6_only {
        socket.set_only_v6(true)?;
    } else if address.is_ipv6() && address.ip().is_unspecified() {
        // A system without IPv4 may reject this option, and then there are no IPv4 connections to accept.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Takes over a listening socket, as systemd passes it. Needs a tokio runtime.
///
/// # Errors
/// The error of the system for a descriptor that is not a listening socket.
pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Sets the options of an accepted socket. They fail where the peer has already closed it, which the first read reports
/// anyway.
pub(super) fn prepare(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}
