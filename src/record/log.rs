//! Log output: a bounded queue and one writer thread for stderr or journald.
//!
//! Logging must never block a request. If the reader of the log is too slow and the queue is full, the line is dropped
//! and counted, and the count is logged once there is room. Only `close` waits, for a bounded time, until the queue is
//! written.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tracing::Level;

use crate::config::model::LogFormat;
use crate::model::clock::ClockReading;
use crate::record::log_line::{LineEncoding, LogLine};

/// Maximum number of lines in the queue.
const QUEUE_LINES: usize = 4096;

/// Maximum number of bytes in the queue.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes after which a batch of lines is written; one system call then serves many lines.
const WRITE_BYTES: usize = 64 * 1024;

/// Maximum time that the end of the process waits for the writer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Error from starting the log.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    /// The system did not start the writer thread.
    #[error("cannot start the thread that writes the log")]
    Thread {
        /// Error that the system returned.
        source: io::Error,
    },
    /// Another global `tracing` subscriber is already installed.
    #[error("the process already has a log: a global tracing subscriber is installed")]
    Installed,
}

/// Kind of destination behind stderr, which decides the format with `format = "auto"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StderrKind {
    /// Stderr goes to journald, as `app` finds out by `JOURNAL_STREAM`.
    Journal,
    /// Stderr goes to a terminal, a file or a pipe.
    Other,
}

/// Handle of the log: queues lines for the writer thread.
#[derive(Debug)]
pub(crate) struct LineLogger {
    encoding: LineEncoding,
    level: AtomicU8,
    queue: RwLock<Option<SyncSender<Vec<u8>>>>,
    /// Disconnects when the writer thread has ended.
    ended: Mutex<Receiver<()>>,
    state: Arc<LoggerState>,
}

#[derive(Debug, Default)]
struct LoggerState {
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
    dropped_unreported: AtomicU64,
}

/// Output of the writer thread.
pub(super) enum LogSink {
    Stream(Box<dyn Write + Send>),
    Journal(UnixDatagram),
}

/// Chooses encoding and destination of the lines.
pub(super) fn choose(format: LogFormat, stderr: StderrKind) -> (LineEncoding, LogSink) {
    let stream = || LogSink::Stream(Box::new(io::stderr()));
    match format {
        LogFormat::Text => (LineEncoding::Text, stream()),
        LogFormat::Json => (LineEncoding::Json, stream()),
        LogFormat::Auto => match journal().filter(|_| stderr == StderrKind::Journal) {
            // Datagrams keep fields apart, so that `journalctl` can filter by them.
            Some(socket) => (LineEncoding::Journal, LogSink::Journal(socket)),
            None if io::stderr().is_terminal() => (LineEncoding::Text, stream()),
            None => (LineEncoding::Json, stream()),
        },
    }
}

fn journal() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(JOURNAL_SOCKET).ok()?;
    Some(socket)
}

impl LineLogger {
    /// Starts a log that goes to any writer, for tests and `demo`.
    pub(crate) fn to_writer(
        encoding: LineEncoding,
        level: Level,
        writer: Box<dyn Write + Send>,
    ) -> Result<Arc<Self>, LogError> {
        Self::start(encoding, level, LogSink::Stream(writer))
    }

    /// Changes the level, as a reload does.
    pub(crate) fn set_level(&self, level: Level) {
        self.level.store(rank(level), Ordering::Relaxed);
        // `tracing` caches per call site if it is enabled; without this a more verbose level would have no effect.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Returns true if lines of this level are written.
    pub(crate) fn is_enabled(&self, level: Level) -> bool {
        rank(level) <= self.level.load(Ordering::Relaxed)
    }

    /// Returns the number of lines that were dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// Starts a line in the log's format; pass it to [`LineLogger::write`] when it has its fields.
    pub(crate) fn line(
        &self,
        now: ClockReading,
        level: Level,
        target: &str,
        message: &str,
    ) -> LogLine {
        LogLine::new(self.encoding, now, level, target, message)
    }

    /// Queues a line, or drops it if the queue is full. Never blocks.
    pub(crate) fn write(&self, line: LogLine) {
        self.push(line.finish());
    }

    /// Writes all queued lines and ends the writer; later lines are dropped. Blocks for two seconds at most.
    pub(crate) fn close(&self) {
        // Dropping the only sender ends the writer's loop once the queue is empty.
        drop(self.queue.write().take());
        // The channel carries no values: it disconnects when the writer ends, or times out if the log's reader is too
        // slow.
        let _ = self.ended.lock().recv_timeout(CLOSE_TIMEOUT);
    }

    /// Returns the most verbose level that is written.
    pub(super) fn level(&self) -> Level {
        LEVELS
            .into_iter()
            .find(|level| rank(*level) == self.level.load(Ordering::Relaxed))
            .unwrap_or(Level::INFO)
    }

    pub(super) fn start(
        encoding: LineEncoding,
        level: Level,
        sink: LogSink,
    ) -> Result<Arc<Self>, LogError> {
        let (sender, receiver) = sync_channel(QUEUE_LINES);
        // A channel without messages: its disconnection is the signal that the thread has ended.
        let (alive, ended) = sync_channel(0);
        let state = Arc::<LoggerState>::default();
        let writer = LogWriter {
            encoding,
            sink,
            state: Arc::clone(&state),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                // Dropped when the thread ends, even by a panic, which wakes `close`.
                let _alive = alive;
                writer.run(&receiver);
            })
            .map_err(|source| LogError::Thread { source })?;
        Ok(Arc::new(Self {
            encoding,
            level: AtomicU8::new(rank(level)),
            queue: RwLock::new(Some(sender)),
            ended: Mutex::new(ended),
            state,
        }))
    }

    fn push(&self, bytes: Vec<u8>) {
        let length = bytes.len();
        // Added before the check, so that threads that push at once cannot exceed the bound together.
        let queued = self.state.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let is_queued = queued < QUEUE_BYTES && {
            // Only `close` takes this lock for writing, so readers do not wait.
            let queue = self.queue.read();
            queue
                .as_ref()
                .is_some_and(|queue| queue.try_send(bytes).is_ok())
        };
        if !is_queued {
            // Undo the reservation of the dropped line.
            self.state.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
            self.state
                .dropped_unreported
                .fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// State of the writer thread.
struct LogWriter {
    encoding: LineEncoding,
    sink: LogSink,
    state: Arc<LoggerState>,
}

impl LogWriter {
    /// Writes lines until all senders are gone and the queue is empty.
    fn run(mut self, queue: &Receiver<Vec<u8>>) {
        let mut batch = Vec::new();
        while let Ok(line) = queue.recv() {
            self.take(&mut batch, &line);
            // Everything that is ready goes into the same batch: a flood of lines then costs few system calls.
            while let Ok(line) = queue.try_recv() {
                self.take(&mut batch, &line);
            }
            self.flush(&mut batch);
        }
    }

    fn take(&mut self, batch: &mut Vec<u8>, line: &[u8]) {
        match &mut self.sink {
            LogSink::Journal(socket) => {
                // If journald is gone there is no other place to report it.
                let _ = socket.send(line);
            }
            LogSink::Stream(_) => batch.extend_from_slice(line),
        }
        self.state
            .queued_bytes
            .fetch_sub(line.len(), Ordering::Relaxed);
        // A bounded batch keeps memory small and shows lines soon, even if they never stop.
        if batch.len() >= WRITE_BYTES {
            self.flush(batch);
        }
    }

    fn flush(&mut self, batch: &mut Vec<u8>) {
        self.log_dropped(batch);
        if let LogSink::Stream(writer) = &mut self.sink {
            // If the log cannot be written there is no other place to report it.
            let _ = writer.write_all(batch).and_then(|()| writer.flush());
        }
        batch.clear();
    }

    fn log_dropped(&self, batch: &mut Vec<u8>) {
        // Reset by the swap, so that each dropped line is reported exactly once.
        let count = self.state.dropped_unreported.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let now = ClockReading::read();
        let mut line = LogLine::new(self.encoding, now, Level::WARN, "log", "log lines dropped");
        line.count("count", count);
        match &self.sink {
            LogSink::Journal(socket) => {
                let _ = socket.send(&line.finish());
            }
            LogSink::Stream(_) => batch.extend_from_slice(&line.finish()),
        }
    }
}

const LEVELS: [Level; 5] = [
    Level::ERROR,
    Level::WARN,
    Level::INFO,
    Level::DEBUG,
    Level::TRACE,
];

fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::record::testing::Kept;

    /// A reader of the log that does not read until the test lets it.
    struct Stuck(Receiver<()>, Kept);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(logger: &LineLogger, message: &str) {
        logger.write(logger.line(
            ClockReading::at_unix_seconds(0),
            Level::INFO,
            "test",
            message,
        ));
    }

    #[test]
    fn close_writes_what_was_queued() {
        let kept = Kept::default();
        let logger =
            LineLogger::to_writer(LineEncoding::Text, Level::INFO, Box::new(kept.clone())).unwrap();
        for number in 0..2000 {
            say(&logger, &format!("line {number}"));
        }
        logger.close();
        assert_eq!(kept.text().lines().count(), 2000);
        say(&logger, "too late");
        assert_eq!(logger.dropped(), 1);
    }

    #[test]
    fn a_log_without_a_reader_blocks_no_caller_and_reports_what_it_dropped() {
        let (kept, (go, wait)) = (Kept::default(), channel());
        let stuck = Box::new(Stuck(wait, kept.clone()));
        let logger = LineLogger::to_writer(LineEncoding::Text, Level::INFO, stuck).unwrap();
        for _ in 0..10_000 {
            say(&logger, "one of many");
        }
        let dropped = logger.dropped();
        assert!(dropped >= 10_000 - 2 * 4096, "{dropped}");
        drop(go);
        logger.close();
        let text = kept.text();
        let counts = text
            .lines()
            .filter_map(|line| line.split_once("log lines dropped count="));
        let told: u64 = counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum();
        assert_eq!(told, dropped);
        let written = text.matches("one of many").count();
        assert_eq!(u64::try_from(written).unwrap() + dropped, 10_000);
    }

    #[test]
    fn journald_gets_a_datagram_for_each_line() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let logger =
            LineLogger::start(LineEncoding::Journal, Level::INFO, LogSink::Journal(ours)).unwrap();
        say(&logger, "one");
        say(&logger, "two\nPRIORITY=0");
        logger.close();
        let mut buffer = [0; 512];
        for message in ["one", "two\\nPRIORITY=0"] {
            let length = theirs.recv(&mut buffer).unwrap();
            let expected = format!(
                "PRIORITY=6\nSYSLOG_IDENTIFIER=hookgate\nHOOKGATE_TARGET=test\nMESSAGE={message}\n"
            );
            assert_eq!(buffer[..length], *expected.as_bytes());
        }
    }

    #[test]
    fn the_level_can_change() {
        let logger =
            LineLogger::to_writer(LineEncoding::Text, Level::INFO, Box::new(io::sink())).unwrap();
        assert!(logger.is_enabled(Level::INFO) && !logger.is_enabled(Level::DEBUG));
        logger.set_level(Level::TRACE);
        assert!(logger.is_enabled(Level::TRACE));
        assert_eq!(logger.level(), Level::TRACE);
    }
}
