//! The byte stream of a connection, TLS or plain, as one type, so that other code is compiled once.
//!
//! Reading lends bytes instead of copying them (`poll_fill_buf`, then `consume`). The guard can therefore inspect bytes
//! before any other code, and body bytes are copied only once, into the reader's buffer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::client_certs::PeerCertificates;

/// Size of the read buffer of plain connections, in bytes.
const PLAIN_BUFFER: usize = 8192;

/// A connection. Boxed inside, so that the task of an idle connection stays small.
pub(super) enum ConnectionTransport {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(Box<PlainStream>),
}

/// A plain socket, with the bytes that were read and not yet consumed.
pub(super) struct PlainStream {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl ConnectionTransport {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self::Plain(Box::new(PlainStream {
            stream,
            buffer: Vec::new(),
            start: 0,
            end: 0,
        }))
    }

    /// Returns true where ALPN selected HTTP/2.
    pub(super) fn is_h2(&self) -> bool {
        match self {
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            Self::Plain(_) => false,
        }
    }

    /// Returns the certificates that the client showed. They are in the ticket of a session, so a resumed one has them too.
    pub(super) fn peer_certificates(&self) -> Option<PeerCertificates> {
        match self {
            Self::Tls(tls) => PeerCertificates::of(tls.get_ref().1.peer_certificates()),
            Self::Plain(_) => None,
        }
    }

    /// Lends the bytes that can be read now. An empty slice means the end of the stream.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        match self {
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_fill_buf(context),
            Self::Plain(plain) => plain.poll_fill(context),
        }
    }

    /// Marks `count` of the lent bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        match self {
            Self::Tls(tls) => Pin::new(tls.as_mut()).consume(count),
            Self::Plain(plain) => plain.start = plain.start.saturating_add(count).min(plain.end),
        }
    }

    /// Frees memory that only a busy connection needs.
    pub(super) fn release(&mut self) {
        // TLS manages its own buffers; only the plain one can be freed here.
        if let Self::Plain(plain) = self
            && plain.start == plain.end
        {
            (plain.buffer, plain.start, plain.end) = (Vec::new(), 0, 0);
        }
    }

    /// Returns the socket below TLS.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Self::Tls(tls) => tls.get_mut().0,
            Self::Plain(plain) => &mut plain.stream,
        }
    }

    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(context, bytes),
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_write(context, bytes),
        }
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write_vectored(context, slices),
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_write_vectored(context, slices),
        }
    }

    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(context),
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_flush(context),
        }
    }

    /// Closes the sending side: the TLS alert, then the FIN of the socket.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(context),
            Self::Plain(plain) => Pin::new(&mut plain.stream).poll_shutdown(context),
        }
    }
}

impl PlainStream {
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.start >= self.end {
            // Waits for readiness first, so that an idle connection has no buffer.
            ready!(self.stream.poll_read_ready(context))?;
            if self.buffer.is_empty() {
                self.buffer.resize(PLAIN_BUFFER, 0);
            }
            let mut space = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut space))?;
            (self.start, self.end) = (0, space.filled().len());
        }
        let lent = self.buffer.get(self.start..self.end).unwrap_or_default();
        Poll::Ready(Ok(lent))
    }
}
