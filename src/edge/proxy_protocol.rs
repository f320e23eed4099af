//! The PROXY protocol, versions 1 and 2, by which a load balancer names its client.
//!
//! The header is either required or rejected, and never guessed. The caller checks that the peer is trusted, and sets
//! the deadline. The reader takes not one byte more than the header, so that TLS begins right after it.

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::model::source::canonical;

/// Length of the shortest header of version 1, `PROXY UNKNOWN\r\n`.
const SHORTEST: usize = 15;
/// Maximum length of a line of version 1 (section 2.1 of the specification).
const LONGEST_V1: usize = 107;
/// Length of signature, command, family and length of version 2.
const FIXED_V2: usize = 16;
/// Maximum length of version 2 with its extensions: far more than balancers send, and far less than the 64 KiB that its
/// length field allows.
const LONGEST_V2: usize = FIXED_V2 + 2048;
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The reason why the first bytes are not a PROXY header.
#[derive(Debug, Error)]
pub(super) enum ProxyError {
    #[error("the connection ended within the PROXY header")]
    Io {
        #[source]
        source: io::Error,
    },
    #[error("the first bytes are not a PROXY protocol header")]
    Malformed,
    #[error("the PROXY header is too long")]
    TooLong,
}

impl ProxyError {
    /// Returns the reason, as the observer gets it.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Io { .. } => "the connection ended within the PROXY header",
            Self::Malformed => "the first bytes are not a PROXY protocol header",
            Self::TooLong => "the PROXY header is too long",
        }
    }
}

/// Reads the header. Returns `None` where the balancer acts for itself (`LOCAL`, `UNKNOWN`), so that the socket's
/// address counts.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<IpAddr>, ProxyError> {
    let mut buffer = Vec::with_capacity(128);
    fill(stream, &mut buffer, SHORTEST).await?;
    if buffer.starts_with(SIGNATURE_V2) {
        fill(stream, &mut buffer, FIXED_V2).await?;
        let rest = buffer.get(14..16).and_then(|bytes| bytes.try_into().ok());
        let whole = FIXED_V2 + usize::from(u16::from_be_bytes(rest.unwrap_or_default()));
        if whole > LONGEST_V2 {
            return Err(ProxyError::TooLong);
        }
        fill(stream, &mut buffer, whole).await?;
    } else if buffer.starts_with(b"PROXY ") {
        fill_line(stream, &mut buffer).await?;
    } else {
        return Err(ProxyError::Malformed);
    }
    parse(&buffer)
}

/// Reads until the buffer has `whole` bytes.
async fn fill(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    whole: usize,
) -> Result<(), ProxyError> {
    let have = buffer.len();
    buffer.resize(whole.max(have), 0);
    if let Some(space) = buffer.get_mut(have..) {
        let read = stream.read_exact(space).await;
        read.map_err(|source| ProxyError::Io { source })?;
    }
    Ok(())
}

/// Reads to the end of the line. It peeks first, and then takes only the bytes of the line.
async fn fill_line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), ProxyError> {
    while !buffer.ends_with(b"\n") {
        let room = LONGEST_V1.saturating_sub(buffer.len());
        if room == 0 {
            return Err(ProxyError::TooLong);
        }
        let mut seen = [0; LONGEST_V1];
        let space = seen.get_mut(..room).unwrap_or_default();
        let looked = stream.peek(space).await;
        let count = looked.map_err(|source| ProxyError::Io { source })?;
        if count == 0 {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(ProxyError::Io { source });
        }
        let line = seen.iter().take(count).position(|byte| *byte == b'\n');
        let more = line.map_or(count, |at| at.saturating_add(1));
        let whole = buffer.len().saturating_add(more);
        fill(stream, buffer, whole).await?;
    }
    Ok(())
}

/// Parses a whole header, and returns the client that it names.
fn parse(header: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
    let config = ParseConfig {
        include_tlvs: false,
        allow_v1: true,
        allow_v2: true,
    };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|_| ProxyError::Malformed)?;
    // A header that ends before the buffer does is malformed: its length fields and its bytes disagree.
    if length != header.len() {
        return Err(ProxyError::Malformed);
    }
    Ok(parsed
        .proxied_address()
        .map(|address| canonical(address.source.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::testing::socket_pair;
    use tokio::io::AsyncWriteExt;

    async fn check(bytes: &[u8], expected: Result<Option<&str>, ()>) {
        let (mut ours, mut theirs) = socket_pair().await;
        theirs.write_all(bytes).await.unwrap();
        theirs.write_all(b"rest").await.unwrap();
        theirs.shutdown().await.unwrap();
        let found = read(&mut ours).await;
        match expected {
            Err(()) => assert!(found.is_err(), "{bytes:?}"),
            Ok(ip) => {
                assert_eq!(found.unwrap(), ip.map(|ip| ip.parse().unwrap()));
                let mut rest = Vec::new();
                ours.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, b"rest");
            }
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE_V2.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[tokio::test]
    async fn version_1_and_2_name_the_sender_and_leave_the_rest() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0, 80, 1, 187];
        check(
            b"PROXY TCP4 203.0.113.9 10.0.0.1 80 443\r\n",
            Ok(Some("203.0.113.9")),
        )
        .await;
        check(
            b"PROXY TCP6 2001:db8::1 ::1 80 443\r\n",
            Ok(Some("2001:db8::1")),
        )
        .await;
        // A mapped address counts as the IPv4 address, since address lists have only that form.
        check(
            b"PROXY TCP6 ::ffff:203.0.113.9 ::1 80 443\r\n",
            Ok(Some("203.0.113.9")),
        )
        .await;
        check(b"PROXY UNKNOWN\r\n", Ok(None)).await;
        check(&v2(0x21, 0x11, &v4), Ok(Some("203.0.113.9"))).await;
        check(&v2(0x20, 0x11, &v4), Ok(None)).await;
        check(&v2(0x20, 0x00, &[]), Ok(None)).await;
    }

    #[tokio::test]
    async fn other_bytes_are_rejected() {
        check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Err(())).await;
        check(b"PROXY TCP4 203.0.113.9\r\n", Err(())).await;
        check(b"PROXY TCP4 203.0.113.9 10.0.0.1 80 443\n", Err(())).await;
        check(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(), Err(())).await;
        // Rejected for its length only: text after UNKNOWN is ignored.
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'1'; 200], b"\r\n"].concat();
        check(&long, Err(())).await;
        check(b"PROXY TCP4 203.0.113.9 10.0.0.1 ", Err(())).await;
        check(&v2(0x31, 0x11, &[0; 12]), Err(())).await;
        check(&v2(0x21, 0x11, &[0; 4]), Err(())).await;
        check(&v2(0x21, 0x11, &[0; 4000]), Err(())).await;
        check(b"PROX", Err(())).await;
    }

    /// Fails when bytes after a header are taken for a part of it.
    #[test]
    fn a_header_ends_where_it_says() {
        let line = b"PROXY TCP4 203.0.113.9 10.0.0.1 80 443\r\n".as_slice();
        assert!(parse(line).is_ok());
        assert!(parse(&[line, b"G"].concat()).is_err());
        assert!(parse(&v2(0x20, 0x00, &[])).is_ok());
        assert!(parse(&[v2(0x20, 0x00, &[]), vec![0]].concat()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, rest: Vec<u8>) {
            let _ = parse(&bytes);
            let _ = parse(&[b"PROXY ".as_slice(), &rest].concat());
            let _ = parse(&[SIGNATURE_V2, &rest].concat());
        }
    }
}
