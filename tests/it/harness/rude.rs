//! Hostile client: raw bytes over TLS, and hand-made HTTP/2 frames. Nothing here checks what it sends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::harness::sender::{Provider, mac};
use crate::harness::tls::trust_any_server;

/// TLS connection that sends any bytes.
pub struct Wire {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// Bytes that were read before the end or the deadline.
pub struct Ending {
    pub bytes: Vec<u8>,
    pub is_closed: bool,
    pub took: Duration,
}

impl Ending {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Returns the status of each response of an HTTP/1 connection.
    pub fn statuses(&self) -> Vec<u16> {
        let text = self.text();
        let parts = text.split("HTTP/1.1 ").skip(1);
        parts
            .filter_map(|part| part.get(..3)?.parse().ok())
            .collect()
    }
}

impl Wire {
    /// Connects and accepts any certificate.
    pub fn connect(address: SocketAddr, alpn: &[u8]) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let mut config = trust_any_server(provider, rustls::DEFAULT_VERSIONS).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        let write_limit = Some(Duration::from_secs(10));
        socket.set_write_timeout(write_limit).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Self { stream }
    }

    /// Sends bytes. An error means that the peer has closed, which some tests expect. A peer that neither reads nor
    /// closes causes no error.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.stream.write_all(bytes);
        let sent = sent.and_then(|()| self.stream.flush());
        let is_stuck = sent.as_ref().is_err_and(is_timeout);
        assert!(!is_stuck, "the peer neither reads nor closes");
        sent
    }

    /// Reads until the peer closes, or until the limit.
    pub fn read_to_end(&mut self, limit: Duration) -> Ending {
        self.read_until(limit, |_| false)
    }

    /// Reads until the bytes suffice, the peer closes, or the limit is over.
    pub fn read_until(&mut self, limit: Duration, is_enough: impl Fn(&[u8]) -> bool) -> Ending {
        let start = Instant::now();
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            let left = limit.saturating_sub(start.elapsed());
            let is_over = left.is_zero();
            if is_over || is_enough(&bytes) {
                return Ending {
                    bytes,
                    is_closed: false,
                    took: start.elapsed(),
                };
            }
            self.stream.sock.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if is_timeout(&error) => {}
                // An end with or without close_notify, or a reset.
                Ok(_) | Err(_) => {
                    return Ending {
                        bytes,
                        is_closed: true,
                        took: start.elapsed(),
                    };
                }
            }
        }
    }

    /// Closes the writing half with close_notify of TLS.
    pub fn finish(&mut self) {
        self.stream.conn.send_close_notify();
        let _ = self.stream.conn.complete_io(&mut self.stream.sock);
        let _ = self.stream.sock.shutdown(std::net::Shutdown::Write);
    }

    /// Closes the socket without close_notify.
    pub fn cut(self) {
        let _ = self.stream.sock.shutdown(std::net::Shutdown::Both);
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Returns the signature header of the GitHub scheme for a body.
pub fn signature(body: &[u8]) -> String {
    let secret = Provider::Github.secret().as_bytes();
    format!("sha256={}", HEXLOWER.encode(&mac(secret, &[body])))
}

/// Encodes an HTTP/2 frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Encodes header fields as HPACK literals, without table and Huffman code, so that any bytes can be sent.
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length_prefix(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn length_prefix(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(u8::try_from(length).unwrap());
        return;
    }
    block.push(127);
    let mut left = length - 127;
    while left >= 128 {
        block.push(u8::try_from(left % 128).unwrap() | 128);
        left /= 128;
    }
    block.push(u8::try_from(left).unwrap());
}

/// Returns the client's preface with empty settings.
pub fn preface() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
        &frame(4, 0, 0, &[]),
    ]
    .concat()
}

/// HTTP/2 frame that was received.
pub struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// Splits bytes into complete frames.
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push(Frame {
            kind: head[3],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: payload.to_vec(),
        });
        bytes = rest;
    }
    frames
}

/// Returns whether a stream got a response with status 200.
pub fn is_ok(frames: &[Frame], stream: u32) -> bool {
    let mut heads = frames
        .iter()
        .filter(|frame| frame.kind == 1 && frame.stream == stream);
    heads.any(|head| head.payload.first() == Some(&0x88))
}
