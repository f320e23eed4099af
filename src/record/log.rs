//! The log: a queue of lines and one thread that writes them to stderr or journald.
//!
//! Logging must never block a request. A line is copied into a queue, and the writer passes many lines on at once. If
//! the reader of the log is too slow and the queue is full, the line is dropped and counted, and the count is logged
//! once there is room. Only `close` waits for the writer, and the hook of a panic, each for a bounded time.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tracing::Level;

use crate::config::model::LogFormat;
use crate::model::clock::ClockReading;
use crate::record::line_batch::LineBatch;
use crate::record::line_queue::{LineQueue, WrittenBatch};
use crate::record::log_line::{LineEncoding, LogLine};
use crate::record::log_sink::LogSink;

/// Interval at which the writer takes lines while they come. What waits is lost if the process is killed.
const WRITE_PACE: Duration = Duration::from_millis(5);

/// Maximum time that the end of the process waits for the writer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum time that a panic waits for the writer. Usually the lines are written within a fraction of a millisecond.
const PANIC_TIMEOUT: Duration = Duration::from_millis(100);

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
    queue: Arc<LineQueue>,
}

/// Chooses encoding and destination of the lines.
pub(super) fn choose(format: LogFormat, stderr: StderrKind) -> (LineEncoding, LogSink) {
    match format {
        LogFormat::Text => (LineEncoding::Text, LogSink::stderr()),
        LogFormat::Json => (LineEncoding::Json, LogSink::stderr()),
        LogFormat::Auto => match journal().filter(|_| stderr == StderrKind::Journal) {
            // Datagrams keep fields apart, so that `journalctl` can filter by them.
            Some(socket) => (LineEncoding::Journal, LogSink::Journal(socket)),
            None if io::stderr().is_terminal() => (LineEncoding::Text, LogSink::stderr()),
            None => (LineEncoding::Json, LogSink::stderr()),
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
        Self::start(encoding, level, LogSink::stream(writer))
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

    /// Returns the number of lines that were dropped: the queue was full, or the target did not accept them.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
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
    pub(crate) fn write(&self, mut line: LogLine) {
        let is_urgent = line.is_urgent();
        self.queue.push(line.finish().as_bytes(), is_urgent);
    }

    /// Writes all queued lines, as the process may end after a panic. Blocks for a tenth of a second at most.
    pub(crate) fn flush_for_panic(&self) {
        self.queue.flush(PANIC_TIMEOUT);
    }

    /// Writes all queued lines and ends the writer; later lines are dropped. Blocks for two seconds at most.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.queue.wait_for_end(CLOSE_TIMEOUT);
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
        Self::start_at_pace(encoding, level, sink, WRITE_PACE)
    }

    fn start_at_pace(
        encoding: LineEncoding,
        level: Level,
        sink: LogSink,
        pace: Duration,
    ) -> Result<Arc<Self>, LogError> {
        let queue = Arc::new(LineQueue::new(pace));
        let writer = LogWriter {
            encoding,
            sink,
            queue: Arc::clone(&queue),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| LogError::Thread { source })?;
        Ok(Arc::new(Self {
            encoding,
            level: AtomicU8::new(rank(level)),
            queue,
        }))
    }
}

impl Drop for LineLogger {
    fn drop(&mut self) {
        // Without this, the writer would wait forever for lines that cannot come.
        self.queue.close();
    }
}

/// State of the writer thread.
struct LogWriter {
    encoding: LineEncoding,
    sink: LogSink,
    queue: Arc<LineQueue>,
}

impl LogWriter {
    /// Writes lines until the queue is closed and empty.
    fn run(mut self) {
        let mut batch = LineBatch::default();
        while let Some(dropped) = self.queue.take(&mut batch) {
            let taken = batch.line_count();
            if dropped > 0 {
                batch.push(self.dropped_line(dropped).finish().as_bytes());
            }
            let lost = self.sink.write(&batch);
            batch.clear();
            // The report is the last line. If it is lost, its count goes into the next report.
            let is_report_lost = dropped > 0 && lost.is_last;
            self.queue.finish(WrittenBatch {
                taken,
                lost: lost.count - usize::from(is_report_lost),
                unreported: if is_report_lost { dropped } else { 0 },
            });
        }
    }

    fn dropped_line(&self, count: u64) -> LogLine {
        let now = ClockReading::read();
        let mut line = LogLine::new(self.encoding, now, Level::WARN, "log", "log lines dropped");
        line.count("count", count);
        line
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // Also after a panic of this thread, so that `close` does not wait for it.
        self.queue.end();
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
mod tests;
