//! Captures the log of a gate, line by line.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

/// Log lines of a gate, in the order in which it wrote them.
#[derive(Clone)]
pub(super) struct LogCapture(Arc<LogCaptureInner>);

struct LogCaptureInner {
    lines: Mutex<Vec<Value>>,
    /// Bytes of a line that has not ended yet.
    unfinished: Mutex<Vec<u8>>,
    count: watch::Sender<usize>,
}

impl Default for LogCapture {
    fn default() -> Self {
        Self(Arc::new(LogCaptureInner {
            lines: Mutex::default(),
            unfinished: Mutex::default(),
            count: watch::channel(0).0,
        }))
    }
}

impl LogCapture {
    /// Returns the lines after the first `count`.
    pub(super) fn since(&self, count: usize) -> Vec<Value> {
        self.0.lines.lock().iter().skip(count).cloned().collect()
    }

    /// Waits until there are more than `count` lines, and returns those after the first `count`.
    pub(super) async fn more_than(&self, count: usize) -> Vec<Value> {
        let mut counts = self.0.count.subscribe();
        // The sender lives as long as this value, so the wait cannot fail.
        let _ = counts.wait_for(|written| *written > count).await;
        self.since(count)
    }

    /// Waits for a line that is as wanted. Returns `None` if there is no such line at the limit.
    pub(super) async fn wait_for(
        &self,
        is_wanted: impl Fn(&Value) -> bool,
        limit: Duration,
    ) -> Option<Value> {
        let waiting = async {
            let mut count = 0;
            loop {
                let lines = self.more_than(count).await;
                count += lines.len();
                let mut lines = lines.into_iter();
                if let Some(line) = lines.find(|line| is_wanted(line)) {
                    return line;
                }
            }
        };
        tokio::time::timeout(limit, waiting).await.ok()
    }
}

impl Write for LogCapture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut unfinished = self.0.unfinished.lock();
        unfinished.extend_from_slice(bytes);
        // The logger may write a line in pieces, or several at once.
        while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unfinished.drain(..=end).collect();
            let Ok(line) = serde_json::from_slice(&line) else {
                continue;
            };
            let mut lines = self.0.lines.lock();
            lines.push(line);
            let count = lines.len();
            // Unlocked before the notification: a task that wakes up locks the lines at once.
            drop(lines);
            self.0.count.send_replace(count);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
