//! TCP connections: a name to its addresses, and the first address that accepts.

use std::net::SocketAddr;

use hookgate_verify::net::special_addresses::is_forbidden;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::net::client::error::ConnectError;

/// Connects to a host of the operator's own network, such as a proxy, by its name or address.
pub(super) async fn connect_near(
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let found = timeout_at(deadline, system_addresses(host, port)).await;
    let mut addresses = found.map_err(|_| ConnectError::Timeout)??;
    // The operator's DNS may be under the control of others, so a name that leads to a metadata service is rejected
    // here, too.
    addresses.retain(|address| !is_forbidden(address.ip()));
    if addresses.is_empty() {
        return Err(ConnectError::Forbidden);
    }
    connect_to_any(&addresses, deadline).await
}

/// Returns the addresses that the system's resolver knows for a name or an address.
pub(super) async fn system_addresses(
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = tokio::net::lookup_host((host, port)).await;
    Ok(found.map_err(ConnectError::Resolve)?.collect())
}

/// Tries one address after the other. Each gets an equal part of the time left, so that a silent one does not use up
/// the time of those after it.
pub(super) async fn connect_to_any(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::Timeout;
    for (tried, address) in addresses.iter().enumerate() {
        let share = share(deadline, addresses.len().saturating_sub(tried));
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = ConnectError::Refused(error),
            Err(_) => last = ConnectError::Timeout,
        }
    }
    Err(last)
}

/// Returns an equal part of the time until a deadline.
pub(super) fn share(deadline: Instant, parts: usize) -> std::time::Duration {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    deadline.saturating_duration_since(Instant::now()) / parts.max(1)
}
