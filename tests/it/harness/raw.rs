//! Raw connections: writes any bytes, and reads responses leniently until close or a deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::LIMIT;
use super::client::{Client, Stream};

/// An open connection.
pub struct Raw {
    stream: Box<dyn Stream>,
}

/// Bytes received on a raw connection.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Every byte.
    pub bytes: Vec<u8>,
    /// True if the other side closed (or reset) before the deadline.
    pub is_closed: bool,
}

/// One response, parsed leniently.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    pub status: u16,
    /// Text of the head in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Raw {
    /// Connects, without TLS if `tls` is `None`.
    pub async fn connect(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        Self::open(&Client::new(address, tls)).await
    }

    /// Connects with the options of the client (source address, preamble, server name).
    pub async fn open(client: &Client) -> Self {
        Self {
            stream: client.open().await.unwrap(),
        }
    }

    /// Writes and flushes. Ignores errors: the other side may close, which shows when reading.
    pub async fn send(&mut self, bytes: &[u8]) {
        let writing = async {
            let _ = self.stream.write_all(bytes).await;
            let _ = self.stream.flush().await;
        };
        let _ = timeout(LIMIT, writing).await;
    }

    /// Closes the writing half: TLS close_notify and FIN.
    pub async fn finish(&mut self) {
        let _ = timeout(LIMIT, self.stream.shutdown()).await;
    }

    /// Reads until the other side closes or the limit is over.
    pub async fn read_until_close(&mut self, limit: Duration) -> Received {
        let deadline = Instant::now() + limit;
        let mut received = Received::default();
        let mut piece = vec![0; 16384];
        loop {
            match timeout_at(deadline, self.stream.read(&mut piece)).await {
                Err(_elapsed) => return received,
                Ok(Ok(0) | Err(_)) => {
                    received.is_closed = true;
                    return received;
                }
                Ok(Ok(count)) => received.bytes.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Reads one response with a declared length and keeps the connection open. `None` if it ended first.
    pub async fn read_answer(&mut self, limit: Duration) -> Option<RawAnswer> {
        let deadline = Instant::now() + limit;
        let mut bytes = Vec::new();
        let mut piece = vec![0; 16384];
        loop {
            let answers = parse(&bytes);
            if let Some(answer) = answers.into_iter().next() {
                return Some(answer);
            }
            match timeout_at(deadline, self.stream.read(&mut piece)).await {
                Err(_) | Ok(Ok(0) | Err(_)) => return None,
                Ok(Ok(count)) => bytes.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// Reads at least this many bytes, or until close or the limit.
    pub async fn read_at_least(&mut self, count: usize, limit: Duration) -> Vec<u8> {
        let deadline = Instant::now() + limit;
        let mut bytes = Vec::new();
        let mut piece = vec![0; 16384];
        while bytes.len() < count {
            match timeout_at(deadline, self.stream.read(&mut piece)).await {
                Err(_) | Ok(Ok(0) | Err(_)) => break,
                Ok(Ok(read)) => bytes.extend_from_slice(&piece[..read]),
            }
        }
        bytes
    }
}

impl Received {
    /// Returns the responses in the bytes.
    pub fn answers(&self) -> Vec<RawAnswer> {
        parse(&self.bytes)
    }

    /// Returns the statuses of the responses.
    pub fn statuses(&self) -> Vec<u16> {
        self.answers().iter().map(|answer| answer.status).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Parses every complete response. Bodies follow Content-Length, chunked ones keep their framing, and 1xx and
/// others have no body.
pub fn parse(mut bytes: &[u8]) -> Vec<RawAnswer> {
    let mut answers = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let Some(status) = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
        else {
            return answers;
        };
        let rest = &bytes[end + 4..];
        let mut lines = head.lines();
        let length = if head.contains("\r\ntransfer-encoding: chunked") {
            match rest.windows(5).position(|window| window == b"0\r\n\r\n") {
                Some(position) => position + 5,
                None => return answers,
            }
        } else {
            let length = lines.find_map(|line| line.strip_prefix("content-length:"));
            length
                .and_then(|length| length.trim().parse().ok())
                .unwrap_or(0)
        };
        if rest.len() < length {
            return answers;
        }
        answers.push(RawAnswer {
            status,
            head,
            body: rest[..length].to_vec(),
        });
        bytes = &rest[length..];
    }
    answers
}
