//! The connection between a process and its successor: frames, and descriptors beside them.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::app::succession::error::SuccessionError;
use crate::app::succession::frame::SuccessionFrame;

/// Largest frame in bytes. A frame of claims has about 50 bytes for each.
const MAX_FRAME: usize = 4 << 20;

/// Descriptors in one message. The kernel allows 253.
const MAX_SOCKETS: usize = 64;

/// A connection to the other process.
#[derive(Debug)]
pub(in crate::app) struct SuccessionChannel {
    stream: UnixStream,
}

impl SuccessionChannel {
    /// Needs a tokio runtime.
    pub(super) fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        Ok(Self { stream })
    }

    pub(super) fn of(stream: UnixStream) -> Self {
        Self { stream }
    }

    pub(super) async fn send(&mut self, frame: &SuccessionFrame) -> Result<(), SuccessionError> {
        let text = serde_json::to_vec(frame).map_err(io::Error::from)?;
        let length = u32::try_from(text.len()).map_err(|_| SuccessionError::Unexpected)?;
        // A length before each frame, since a stream socket keeps no boundaries.
        self.stream.write_all(&length.to_be_bytes()).await?;
        self.stream.write_all(&text).await?;
        Ok(())
    }

    /// Receives the next frame, within a limit.
    pub(super) async fn receive(
        &mut self,
        limit: Duration,
    ) -> Result<SuccessionFrame, SuccessionError> {
        let late = |_| SuccessionError::Late {
            seconds: limit.as_secs(),
        };
        timeout(limit, self.next()).await.map_err(late)?
    }

    /// Receives the next frame, however long that takes.
    pub(super) async fn next(&mut self) -> Result<SuccessionFrame, SuccessionError> {
        let mut length = [0; 4];
        self.read(&mut length).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        // Before the buffer exists, so that a peer of another version cannot make this process allocate 4 GiB.
        if length > MAX_FRAME {
            return Err(SuccessionError::Unexpected);
        }
        let mut text = vec![0; length];
        self.read(&mut text).await?;
        serde_json::from_slice(&text).map_err(|_| SuccessionError::Unexpected)
    }

    async fn read(&mut self, bytes: &mut [u8]) -> Result<(), SuccessionError> {
        match self.stream.read_exact(bytes).await {
            Ok(_) => Ok(()),
            // Both mean that the other process is gone: the kernel resets a Unix socket that was closed with unread
            // bytes.
            Err(err)
                if matches!(
                    err.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                Err(SuccessionError::Ended)
            }
            Err(err) => Err(err.into()),
        }
    }

    /// Sends descriptors, each message with one byte, since the kernel passes no descriptor without data.
    pub(super) async fn send_sockets(&self, sockets: &[OwnedFd]) -> Result<(), SuccessionError> {
        for some in sockets.chunks(MAX_SOCKETS) {
            let some: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
            let send = || send_once(self.stream.as_fd(), &some);
            self.stream.async_io(Interest::WRITABLE, send).await?;
        }
        Ok(())
    }

    /// Receives this number of descriptors.
    pub(super) async fn receive_sockets(
        &self,
        count: usize,
    ) -> Result<Vec<OwnedFd>, SuccessionError> {
        let mut sockets = Vec::new();
        while sockets.len() < count {
            let receive = || receive_once(self.stream.as_fd());
            let some = self.stream.async_io(Interest::READABLE, receive).await?;
            // The other process ended, or a limit on descriptors cut the message.
            if some.is_empty() {
                return Err(SuccessionError::Ended);
            }
            sockets.extend(some);
        }
        match sockets.len() == count {
            true => Ok(sockets),
            false => Err(SuccessionError::Unexpected),
        }
    }
}

/// Returns room for the descriptors of one message.
fn room() -> Vec<MaybeUninit<u8>> {
    vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))]
}

fn send_once(stream: BorrowedFd<'_>, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut room = room();
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    sendmsg(
        stream,
        &[IoSlice::new(&[0])],
        &mut control,
        // A peer that is gone must be an error and not a signal that ends this process.
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

fn receive_once(stream: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut room = room();
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0];
    recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        // Children must not inherit them.
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            sockets.extend(some);
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    // Fails when a descriptor gets lost, or when the frames around the descriptors are torn.
    #[tokio::test]
    async fn sockets_and_frames_arrive_in_their_order() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut one = SuccessionChannel::new(one).unwrap();
        let mut other = SuccessionChannel::new(other).unwrap();
        let listeners: Vec<_> = (0..MAX_SOCKETS + 1)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<_> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .collect();
        let sockets: Vec<OwnedFd> = listeners.into_iter().map(OwnedFd::from).collect();
        one.send(&SuccessionFrame::WantStore).await.unwrap();
        one.send_sockets(&sockets).await.unwrap();
        one.send(&SuccessionFrame::Ready).await.unwrap();
        let limit = Duration::from_secs(10);
        let first = other.receive(limit).await.unwrap();
        assert!(matches!(first, SuccessionFrame::WantStore), "{first:?}");
        let arrived = other.receive_sockets(sockets.len()).await.unwrap();
        let arrived: Vec<_> = arrived
            .into_iter()
            .map(|socket| TcpListener::from(socket).local_addr().unwrap())
            .collect();
        assert_eq!(arrived, ports);
        let last = other.receive(limit).await.unwrap();
        assert!(matches!(last, SuccessionFrame::Ready), "{last:?}");
        drop(one);
        assert!(matches!(
            other.receive(limit).await,
            Err(SuccessionError::Ended)
        ));
    }
}
