//! The guard between TLS and hyper on an HTTP/1 connection.
//!
//! hyper gets the bytes of a head only after `head_check` has accepted them, and never a byte past the end of the
//! current message.
//!
//! To hyper, a bad head looks like the end of the connection; the driver then finds the fault in the guard and
//! responds. A fault in a chunked body makes the read fail. The next head is not inspected before the last response is
//! out, so that its rejection cannot come in between. The guard allocates memory only for heads that arrive in pieces.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::Instant;

use crate::edge::chunk_check::{ChunkFault, ChunkScanner};
use crate::edge::connection_watch::{ConnectionWatch, WriteWatch};
use crate::edge::head_check::{BodyFraming, EndFinder, HeadFault, check_head};
use crate::edge::transport::ConnectionTransport;

/// Maximum number of empty lines before a head. RFC 9112, section 2.2 asks servers to ignore at least one. Old clients
/// end a body with one, and no client sends more than a few.
const MAX_EMPTY_LINES: u8 = 8;

/// The guard of one connection.
pub(super) struct HeadGuard {
    transport: ConnectionTransport,
    watch: Arc<ConnectionWatch>,
    writes: WriteWatch,
    max_head: usize,
    head_timeout: Duration,
    /// Deadline of the connection's first head; `None` once that head was complete.
    first_head_by: Option<Instant>,
    position: StreamPosition,
    fault: Option<HeadFault>,
    is_ended: bool,
    /// True where bytes of the next request wait for the end of the current one.
    is_holding_back: bool,
}

/// The position of the next byte in the stream of messages.
enum StreamPosition {
    /// Before or within a head.
    Head(PartialHead),
    /// Within a complete head that arrived in pieces, or for which hyper has no room: `handed` bytes of it were passed
    /// on.
    Handing {
        head: Vec<u8>,
        handed: usize,
        framing: BodyFraming,
    },
    /// Within a body of this many more bytes.
    Length(u64),
    /// Within a chunked body.
    Chunked(ChunkScanner),
}

/// A head that arrives in pieces.
#[derive(Default)]
struct PartialHead {
    bytes: Vec<u8>,
    finder: EndFinder,
    empty_lines: u8,
    /// True between the CR and the LF of an empty line.
    is_within_empty_line: bool,
}

/// State that a guard takes over from the idle time before it.
#[derive(Clone, Copy, Default)]
pub(super) struct IdleCarryover {
    /// Deadline of the connection's first head; `None` where it was already served.
    pub(super) first_head_by: Option<Instant>,
    /// Number of empty lines skipped since the last request.
    pub(super) empty_lines: u8,
}

/// The state of the head after the newest bytes.
enum HeadProgress {
    Incomplete,
    Whole { end: usize, framing: BodyFraming },
}

impl StreamPosition {
    fn after(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::Empty => Self::Head(PartialHead::default()),
            BodyFraming::Length(length) => Self::Length(length),
            BodyFraming::Chunked => Self::Chunked(ChunkScanner::default()),
        }
    }
}

impl HeadGuard {
    pub(super) fn new(
        transport: ConnectionTransport,
        watch: Arc<ConnectionWatch>,
        max_head: usize,
        head_timeout: Duration,
        write_timeout: Duration,
        waited: IdleCarryover,
    ) -> Self {
        Self {
            transport,
            watch,
            writes: WriteWatch::new(write_timeout),
            max_head,
            head_timeout,
            first_head_by: waited.first_head_by,
            position: StreamPosition::Head(PartialHead {
                empty_lines: waited.empty_lines,
                ..PartialHead::default()
            }),
            fault: None,
            is_ended: false,
            is_holding_back: false,
        }
    }

    /// Returns the connection, the fault of its last head, and whether the peer has closed its side.
    pub(super) fn into_parts(self) -> (ConnectionTransport, Option<HeadFault>, bool) {
        (self.transport, self.fault, self.is_ended)
    }

    /// Returns true where parking the connection loses nothing, since no message has begun.
    pub(super) fn is_between_messages(&self) -> bool {
        matches!(&self.position, StreamPosition::Head(gathered) if gathered.is_fresh())
    }

    /// Returns the number of empty lines skipped since the last request.
    pub(super) fn empty_lines(&self) -> u8 {
        match &self.position {
            StreamPosition::Head(gathered) => gathered.empty_lines,
            _ => 0,
        }
    }

    /// Passes on all bytes that are allowed now. Passing on nothing means the end of the connection.
    fn poll_hand_over(
        &mut self,
        context: &mut Context<'_>,
        space: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.position {
                StreamPosition::Handing {
                    head,
                    handed,
                    framing,
                } => {
                    let rest = head.get(*handed..).unwrap_or_default();
                    let piece = rest.get(..space.remaining()).unwrap_or(rest);
                    space.put_slice(piece);
                    *handed = handed.saturating_add(piece.len());
                    if *handed >= head.len() {
                        self.position = StreamPosition::after(*framing);
                    }
                    return Poll::Ready(Ok(()));
                }
                StreamPosition::Length(left) => {
                    // At most `left` bytes are passed on. The rest belongs to the next request, which hyper must not
                    // see yet.
                    let bytes = ready!(self.transport.poll_fill(context))?;
                    self.is_ended = bytes.is_empty();
                    let count = within(*left, bytes.len().min(space.remaining()));
                    space.put_slice(bytes.get(..count).unwrap_or_default());
                    self.transport.consume(count);
                    *left = left.saturating_sub(count as u64);
                    if *left == 0 {
                        self.position = StreamPosition::Head(PartialHead::default());
                    }
                    return Poll::Ready(Ok(()));
                }
                StreamPosition::Chunked(scanner) => {
                    let bytes = ready!(self.transport.poll_fill(context))?;
                    self.is_ended = bytes.is_empty();
                    // Scans no more than hyper has room for: scanned bytes cannot be scanned again.
                    let seen = bytes.get(..space.remaining()).unwrap_or(bytes);
                    let count = scanner.scan(seen).map_err(chunk_error)?;
                    space.put_slice(seen.get(..count).unwrap_or_default());
                    self.transport.consume(count);
                    if scanner.is_done() {
                        self.position = StreamPosition::Head(PartialHead::default());
                    }
                    return Poll::Ready(Ok(()));
                }
                StreamPosition::Head(_) => {
                    if !ready!(self.poll_head(context, space))? {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    /// Reads on in the head. Returns false where the caller must stop: bytes were passed on, or the connection ends.
    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        space: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.fault.is_some() {
            return Poll::Ready(Ok(false));
        }
        let bytes = ready!(self.transport.poll_fill(context))?;
        if bytes.is_empty() {
            self.is_ended = true;
            return Poll::Ready(Ok(false));
        }
        // Comes before any check of the bytes, so that a pipelined bad head cannot overtake the response before it.
        if self.watch.is_busy.load(Relaxed) {
            self.is_holding_back = true;
            return Poll::Pending;
        }
        let StreamPosition::Head(gathered) = &mut self.position else {
            return Poll::Ready(Ok(true));
        };
        let (first_head_by, head_timeout) = (self.first_head_by, self.head_timeout);
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let time_left = || first_head_by.map_or(head_timeout, until);
        let empty = gathered.skip_empty_lines(bytes);
        if let Ok(count @ 1..) = empty {
            self.transport.consume(count);
            // Between requests, an empty line is not a head, so that an idle connection stays idle. Half of an empty
            // line is.
            if gathered.is_within_empty_line {
                self.watch.begin_head(time_left());
            } else {
                self.watch.end_head();
            }
            return Poll::Ready(Ok(true));
        }
        let step = empty.and_then(|_| gathered.step(bytes, self.max_head, space.remaining()));
        match step {
            Err(fault) => {
                self.fault = Some(fault);
                self.watch.end_head();
                Poll::Ready(Ok(false))
            }
            Ok((HeadProgress::Incomplete, count)) => {
                self.transport.consume(count);
                self.watch.begin_head(time_left());
                Poll::Ready(Ok(true))
            }
            Ok((HeadProgress::Whole { end, framing }, count)) => {
                self.first_head_by = None;
                self.watch.end_head();
                // From here until the response is flushed, the next head waits.
                self.watch.is_busy.store(true, Relaxed);
                self.watch.served.fetch_add(1, Relaxed);
                if gathered.bytes.is_empty() {
                    // The head arrived at once, as nearly always. It goes straight from the decrypted record to hyper,
                    // with the body bytes that are already there.
                    let mut count = end;
                    self.position = StreamPosition::after(framing);
                    if let StreamPosition::Length(left) = &mut self.position {
                        let room = bytes.len().min(space.remaining()).saturating_sub(end);
                        let body = within(*left, room);
                        *left = left.saturating_sub(body as u64);
                        count = count.saturating_add(body);
                        if *left == 0 {
                            self.position = StreamPosition::Head(PartialHead::default());
                        }
                    }
                    space.put_slice(bytes.get(..count).unwrap_or_default());
                    self.transport.consume(count);
                    return Poll::Ready(Ok(false));
                }
                self.transport.consume(count);
                self.position = StreamPosition::Handing {
                    head: std::mem::take(&mut gathered.bytes),
                    handed: 0,
                    framing,
                };
                Poll::Ready(Ok(true))
            }
        }
    }

    /// Allows the next head to be inspected once the last response has been flushed.
    fn end_request(&mut self, context: &Context<'_>) {
        if self.watch.is_busy.load(Relaxed) && self.watch.take_answered() {
            self.watch.is_busy.store(false, Relaxed);
            if std::mem::take(&mut self.is_holding_back) {
                context.waker().wake_by_ref();
            }
        }
    }
}

impl PartialHead {
    /// Returns true where only complete empty lines have arrived.
    fn is_fresh(&self) -> bool {
        self.bytes.is_empty() && !self.is_within_empty_line
    }

    /// Counts the bytes of empty lines before the head, which are skipped (RFC 9112, section 2.2). Only CR LF counts,
    /// since parsers disagree about a single CR or LF.
    fn skip_empty_lines(&mut self, bytes: &[u8]) -> Result<usize, HeadFault> {
        if !self.bytes.is_empty() {
            return Ok(0);
        }
        let mut count = 0_usize;
        for byte in bytes {
            match (self.is_within_empty_line, byte) {
                (true, b'\n') => self.is_within_empty_line = false,
                (true, _) => return Err(HeadFault::LineEnd),
                (false, b'\r') if self.empty_lines >= MAX_EMPTY_LINES => {
                    return Err(HeadFault::RequestLine);
                }
                (false, b'\r') => {
                    self.is_within_empty_line = true;
                    self.empty_lines = self.empty_lines.saturating_add(1);
                }
                (false, _) => break,
            }
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// Inspects the newest bytes, and stores them unless the head is complete among them and fits into `room`. Also
    /// returns how many of the bytes to consume.
    fn step(
        &mut self,
        bytes: &[u8],
        max: usize,
        room: usize,
    ) -> Result<(HeadProgress, usize), HeadFault> {
        if self.bytes.is_empty() {
            let seen = bytes.get(..max).unwrap_or(bytes);
            if let Some(end) = self.finder.find(seen)? {
                let framing = check_head(seen.get(..end).unwrap_or_default())?;
                // hyper's buffer has no room for the whole head, so it is stored and passed on in parts.
                if end > room {
                    self.bytes
                        .extend_from_slice(seen.get(..end).unwrap_or_default());
                }
                return Ok((HeadProgress::Whole { end, framing }, end));
            }
            if seen.len() >= max {
                return Err(HeadFault::TooLarge);
            }
            self.bytes.extend_from_slice(seen);
            return Ok((HeadProgress::Incomplete, seen.len()));
        }
        let before = self.bytes.len();
        // The maximum counts over all pieces of a head.
        let room = max.saturating_sub(before);
        let seen = bytes.get(..room).unwrap_or(bytes);
        self.bytes.extend_from_slice(seen);
        if let Some(end) = self.finder.find(&self.bytes)? {
            self.bytes.truncate(end);
            let framing = check_head(&self.bytes)?;
            return Ok((
                HeadProgress::Whole { end, framing },
                end.saturating_sub(before),
            ));
        }
        if self.bytes.len() >= max {
            return Err(HeadFault::TooLarge);
        }
        Ok((HeadProgress::Incomplete, seen.len()))
    }
}

fn within(left: u64, room: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(room)
}

fn chunk_error(fault: ChunkFault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

impl Read for HeadGuard {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut space: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_hand_over(context, &mut space)
    }
}

impl Write for HeadGuard {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = this.transport.poll_write(context, bytes);
        this.writes
            .track_progress(&this.watch, &result, |count| Some(*count));
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = this.transport.poll_write_vectored(context, slices);
        this.writes
            .track_progress(&this.watch, &result, |count| Some(*count));
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = this.transport.poll_flush(context);
        this.writes.track_progress(&this.watch, &result, |()| None);
        if matches!(result, Poll::Ready(Ok(()))) {
            this.end_request(context);
        }
        result
    }

    /// Does nothing: the driver takes the connection back and shuts it down itself, with a deadline.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
