//! The way of a line from whoever made it to stderr or journald: a bounded queue and one writer thread.
//!
//! Nobody waits for a log: where the queue is full, since whoever reads the log is slower than it grows, the line is
//! dropped and counted, and the count is told once there is room. `close` waits, for a bounded time, until what was
//! queued is written.

use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tracing::Level;

use crate::config::model::{Log, LogFormat};
use crate::model::clock::Now;
use crate::record::line::{Encoding, Line};

/// Lines in the queue at most.
const QUEUE_LINES: usize = 4096;

/// Bytes in the queue at most.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// Lines that are ready together are written together, up to about so many bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// How long the end of the process waits for the writer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The writer thread.
    #[error("cannot start the thread that writes the log")]
    Thread {
        /// The error of the system.
        source: io::Error,
    },
    /// Another subscriber is there.
    #[error("the process has a log already")]
    Installed,
}

/// Where stderr leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stderr {
    /// To journald, as `app` finds by `JOURNAL_STREAM`.
    Journal,
    /// Elsewhere.
    Other,
}

/// Takes lines and writes them in a thread of its own.
#[derive(Debug)]
pub struct Logger {
    encoding: Encoding,
    level: AtomicU8,
    queue: RwLock<Option<SyncSender<Vec<u8>>>>,
    /// Hangs up when the writer has ended.
    ended: Mutex<Receiver<()>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    queued_bytes: AtomicUsize,
    dropped: AtomicU64,
    dropped_untold: AtomicU64,
}

/// Where the writer thread writes.
enum Sink {
    Stream(Box<dyn Write + Send>),
    Journal(UnixDatagram),
}

/// Starts the log of the process as the config says, and takes in what the program tells by `tracing`.
///
/// # Errors
/// No thread, or a log that is there already.
pub fn init(log: &Log, stderr: Stderr) -> Result<Arc<Logger>, LogError> {
    let (encoding, sink) = choose(log.format, stderr);
    let logger = Logger::start(encoding, log.level, sink)?;
    crate::record::tell::install(&logger).map_err(|_| LogError::Installed)?;
    Ok(logger)
}

fn choose(format: LogFormat, stderr: Stderr) -> (Encoding, Sink) {
    let stream = || Sink::Stream(Box::new(io::stderr()));
    match format {
        LogFormat::Text => (Encoding::Text, stream()),
        LogFormat::Json => (Encoding::Json, stream()),
        LogFormat::Auto => match journal().filter(|_| stderr == Stderr::Journal) {
            Some(socket) => (Encoding::Journal, Sink::Journal(socket)),
            None if io::stderr().is_terminal() => (Encoding::Text, stream()),
            None => (Encoding::Json, stream()),
        },
    }
}

fn journal() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(JOURNAL_SOCKET).ok()?;
    Some(socket)
}

impl Logger {
    /// A log that goes to any writer, as tests and `demo` need it.
    ///
    /// # Errors
    /// No thread.
    pub fn to_writer(
        encoding: Encoding,
        level: Level,
        writer: Box<dyn Write + Send>,
    ) -> Result<Arc<Self>, LogError> {
        Self::start(encoding, level, Sink::Stream(writer))
    }

    /// Takes another level, as a reload does.
    pub fn set_level(&self, level: Level) {
        self.level.store(rank(level), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    /// Whether lines of this level are written.
    #[must_use]
    pub fn is_enabled(&self, level: Level) -> bool {
        rank(level) <= self.level.load(Ordering::Relaxed)
    }

    /// Lines that found no room in the queue.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    /// A line in the making, to be handed to [`Logger::write`].
    #[must_use]
    pub fn line(&self, now: Now, level: Level, target: &str, message: &str) -> Line {
        Line::new(self.encoding, now, level, target, message)
    }

    /// Queues a line, or drops it where there is no room. Never blocks.
    pub fn write(&self, line: Line) {
        self.push(line.finish());
    }

    /// Writes all that was queued before and ends the writer; lines that come later are dropped. Blocks for two seconds
    /// at most.
    pub fn close(&self) {
        let queue = self.queue.write().map(|mut queue| queue.take());
        drop(queue);
        if let Ok(ended) = self.ended.lock() {
            // Nothing is ever sent; the error is the end of the writer, or of our patience with whoever reads the log.
            let _ = ended.recv_timeout(CLOSE_TIMEOUT);
        }
    }

    /// The most verbose level that is written.
    pub(super) fn level(&self) -> Level {
        LEVELS
            .into_iter()
            .find(|level| rank(*level) == self.level.load(Ordering::Relaxed))
            .unwrap_or(Level::INFO)
    }

    fn start(encoding: Encoding, level: Level, sink: Sink) -> Result<Arc<Self>, LogError> {
        let (sender, receiver) = sync_channel(QUEUE_LINES);
        let (alive, ended) = sync_channel(0);
        let state = Arc::<State>::default();
        let writer = Writer {
            encoding,
            sink,
            state: Arc::clone(&state),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
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
        let queued = self.state.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let is_queued = queued < QUEUE_BYTES && {
            // Only `close` ever takes this lock for writing.
            let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
            queue
                .as_ref()
                .is_some_and(|queue| queue.try_send(bytes).is_ok())
        };
        if !is_queued {
            self.state.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
            self.state.dropped_untold.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    encoding: Encoding,
    sink: Sink,
    state: Arc<State>,
}

impl Writer {
    /// Writes until all senders are gone and the queue is empty.
    fn run(mut self, queue: &Receiver<Vec<u8>>) {
        let mut batch = Vec::new();
        while let Ok(line) = queue.recv() {
            self.take(&mut batch, &line);
            while let Ok(line) = queue.try_recv() {
                self.take(&mut batch, &line);
            }
            self.flush(&mut batch);
        }
    }

    fn take(&mut self, batch: &mut Vec<u8>, line: &[u8]) {
        match &mut self.sink {
            Sink::Journal(socket) => {
                // A journal that is gone cannot be told of.
                let _ = socket.send(line);
            }
            Sink::Stream(_) => batch.extend_from_slice(line),
        }
        self.state
            .queued_bytes
            .fetch_sub(line.len(), Ordering::Relaxed);
        if batch.len() >= WRITE_BYTES {
            self.flush(batch);
        }
    }

    fn flush(&mut self, batch: &mut Vec<u8>) {
        self.tell_dropped(batch);
        if let Sink::Stream(writer) = &mut self.sink {
            // Nobody can be told of a log that cannot be written.
            let _ = writer.write_all(batch).and_then(|()| writer.flush());
        }
        batch.clear();
    }

    fn tell_dropped(&self, batch: &mut Vec<u8>) {
        let count = self.state.dropped_untold.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let now = Now::read();
        let mut line = Line::new(self.encoding, now, Level::WARN, "log", "log lines dropped");
        line.count("count", count);
        match &self.sink {
            Sink::Journal(socket) => {
                let _ = socket.send(&line.finish());
            }
            Sink::Stream(_) => batch.extend_from_slice(&line.finish()),
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

    /// A reader of the log that does not read until it is told to.
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

    fn say(logger: &Logger, message: &str) {
        logger.write(logger.line(Now::at_unix_seconds(0), Level::INFO, "test", message));
    }

    #[test]
    fn close_writes_what_was_queued() {
        let kept = Kept::default();
        let logger =
            Logger::to_writer(Encoding::Text, Level::INFO, Box::new(kept.clone())).unwrap();
        for number in 0..2000 {
            say(&logger, &format!("line {number}"));
        }
        logger.close();
        assert_eq!(kept.text().lines().count(), 2000);
        say(&logger, "too late");
        assert_eq!(logger.dropped(), 1);
    }

    #[test]
    fn a_log_that_nobody_reads_blocks_nobody_and_tells_what_it_dropped() {
        let (kept, (go, wait)) = (Kept::default(), channel());
        let stuck = Box::new(Stuck(wait, kept.clone()));
        let logger = Logger::to_writer(Encoding::Text, Level::INFO, stuck).unwrap();
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
        let logger = Logger::start(Encoding::Journal, Level::INFO, Sink::Journal(ours)).unwrap();
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
        let logger = Logger::to_writer(Encoding::Text, Level::INFO, Box::new(io::sink())).unwrap();
        assert!(logger.is_enabled(Level::INFO) && !logger.is_enabled(Level::DEBUG));
        logger.set_level(Level::TRACE);
        assert!(logger.is_enabled(Level::TRACE));
        assert_eq!(logger.level(), Level::TRACE);
    }
}
