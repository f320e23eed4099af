//! Binding listeners, and the options of each accepted socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// How many connections the kernel holds for us: enough for a burst of handshakes on one core.
const BACKLOG: i32 = 4096;

/// Dead peers are found by the kernel even where no timer of ours runs: after 60 s + 4 x 15 s.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// Listens on an address. `[::]` takes IPv4 connections too, whatever the system's default is, unless `is_v6_only`. Needs a
/// tokio runtime.
///
/// # Errors
/// Whatever the system says, such as an address in use or a port that needs privileges.
pub fn bind(address: SocketAddr, is_v6_only: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() && is_v6_only {
        socket.set_only_v6(true)?;
    } else if address.is_ipv6() && address.ip().is_unspecified() {
        // A system without IPv4 may refuse that, and then there is nothing to take.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Takes over a socket that listens already, as systemd hands it over. Needs a tokio runtime.
///
/// # Errors
/// Whatever the system says about a descriptor that is no listening socket.
pub fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Sets the options of an accepted socket. A peer that is gone by now makes these fail, which its first read tells anyway.
pub(super) fn prepare(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}
