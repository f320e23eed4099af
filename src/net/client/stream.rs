//! The socket of one upstream connection, by TCP, TLS or a Unix socket, with a probe past the runtime's readiness cache.
//!
//! tokio asks the kernel only after epoll has reported an event. A connection that the upstream has just closed, or on
//! which unexpected bytes arrived, can therefore look idle and clean for a moment. `ReadinessProbe` makes the next read ask the
//! kernel, so that the gate sees the current state before it writes a request.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// A stream to an upstream.
pub(super) enum UpstreamStream {
    Plain(ProbedStream<TcpStream>),
    Tls(Box<TlsStream<ProbedStream<TcpStream>>>),
    Unix(ProbedStream<UnixStream>),
}

/// A socket whose next read can be made to ask the kernel.
pub(super) struct ProbedStream<S> {
    stream: S,
    probe: ReadinessProbe,
}

/// The flag that requests a probe; the connection's owner holds a copy.
#[derive(Clone, Default)]
pub(super) struct ReadinessProbe(Arc<AtomicBool>);

impl ReadinessProbe {
    /// Makes the next read ask the kernel, whatever the runtime's cache says.
    pub(super) fn arm(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        // A load is cheaper than a swap, and nearly every read finds the flag unset.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

impl<S> ProbedStream<S> {
    pub(super) fn new(stream: S, probe: ReadinessProbe) -> Self {
        Self { stream, probe }
    }
}

impl<S: AsyncRead + AsFd + Unpin> AsyncRead for ProbedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.probe.take() {
            // An idle connection has no bytes to read, so the buffer only has to hold the beginning of an unexpected
            // response.
            let mut bytes = [0; 512];
            // Bytes beyond the room of the caller would be lost, since the read takes them from the socket.
            let room = bytes.len().min(buffer.remaining());
            // Bypasses the runtime, whose cached readiness would report a wait without asking the kernel.
            let read =
                (&*SockRef::from(&self.stream)).read(bytes.get_mut(..room).unwrap_or(&mut []));
            match read {
                // A count of zero is the end of the stream, which the caller recognizes by a buffer without new bytes.
                Ok(count) => {
                    buffer.put_slice(bytes.get(..count).unwrap_or(&[]));
                    return Poll::Ready(Ok(()));
                }
                // Nothing to read: the runtime's read below registers the waker.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ProbedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
