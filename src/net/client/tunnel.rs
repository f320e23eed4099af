//! Tunnels through an HTTP proxy (`CONNECT`, RFC 9110, section 9.3.6).
//!
//! The proxy sees the host and port only. TLS and requests pass through the tunnel, which is a TCP connection to the host
//! from then on.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::net::client::error::ConnectError;
use crate::net::client::tcp::connect_near;
use crate::net::egress_proxy::EgressProxy;

/// Maximum size of the head of the proxy's response. Squid's heads have less than 1 KiB.
const MAX_HEAD: usize = 8 * 1024;

/// Opens a tunnel to `target`, which is a host and a port.
pub(super) async fn open(
    proxy: &EgressProxy,
    target: &str,
    deadline: Instant,
) -> Result<TcpStream, ConnectError> {
    let (host, port) = (proxy.authority.host(), proxy.authority.port_u16());
    let host = hookgate_verify::net::host::bare(host);
    // The proxy is in the operator's network, so a private address is fine here.
    let connected = connect_near(host, port.unwrap_or(DEFAULT_PORT), deadline).await;
    let mut stream = connected.map_err(|error| ConnectError::Proxy(Box::new(error)))?;
    let asked = timeout_at(deadline, ask(&mut stream, proxy, target)).await;
    asked.map_err(|_| ConnectError::Timeout)??;
    Ok(stream)
}

/// Port of a proxy without one in its URL, as for any `http` URL.
const DEFAULT_PORT: u16 = 80;

async fn ask(
    stream: &mut TcpStream,
    proxy: &EgressProxy,
    target: &str,
) -> Result<(), ConnectError> {
    let failed = |error: io::Error| ConnectError::Proxy(Box::new(ConnectError::Refused(error)));
    // Wiped on drop, since it holds the password.
    let mut head = Zeroizing::new(Vec::with_capacity(512));
    head.extend_from_slice(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").as_bytes());
    if let Some(authorization) = proxy.authorization() {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(authorization.expose());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    // In one write: Nagle's algorithm is still on for this socket, and would hold back a second small one.
    stream.write_all(&head).await.map_err(failed)?;

    let mut answer = Vec::with_capacity(512);
    loop {
        // In a tunnel the client speaks first, with TLS or a request. So bytes behind the head come from the proxy itself,
        // and must not be taken for those of the host.
        if let Some(end) = head_end(&answer) {
            return match status(&answer) {
                Some(200..=299) if end == answer.len() => Ok(()),
                Some(200..=299) | None => Err(ConnectError::ProxyResponse),
                Some(status) => Err(ConnectError::Tunnel { status }),
            };
        }
        // The proxy is another program, whose response may never end, so the buffer has a bound.
        if answer.len() >= MAX_HEAD {
            return Err(ConnectError::ProxyResponse);
        }
        if stream.read_buf(&mut answer).await.map_err(failed)? == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Returns the length of the head, if it is complete.
fn head_end(answer: &[u8]) -> Option<usize> {
    let at = memchr::memmem::find(answer, b"\r\n\r\n")?;
    Some(at.saturating_add(4))
}

/// Parses the status line: `HTTP/1.1 200 Connection established`.
fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| answer.strip_prefix(b"HTTP/1.0 "))?;
    // A status code has exactly three digits (RFC 9112, section 4).
    let (digits, after) = rest.split_at_checked(3)?;
    // The reason phrase may be absent, the space before it too (RFC 9112, section 4, asks readers to be lenient).
    if !matches!(after.first(), Some(b' ' | b'\r')) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_has_three_digits() {
        for (text, expected) in [
            ("HTTP/1.1 200 Connection established\r\n", Some(200)),
            ("HTTP/1.0 407 \r\n", Some(407)),
            ("HTTP/1.1 200\r\n", Some(200)),
            ("HTTP/1.1 2000\r\n", None),
            ("HTTP/1.1 20 \r\n", None),
            ("HTTP/2 200 \r\n", None),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("", None),
        ] {
            assert_eq!(status(text.as_bytes()), expected, "{text}");
        }
    }
}
