//! Captures the log lines of the demo's gate, which hold the verdict and the reason of each request.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;

/// Verdict of one request, as the log line has it.
#[derive(Clone, Default)]
pub(super) struct LoggedVerdict {
    pub(super) verdict: String,
    pub(super) reason: Option<String>,
    pub(super) is_replayed_body: bool,
    pub(super) route: String,
    pub(super) status: u64,
}

/// Log lines with a verdict, in the order in which the gate wrote them.
#[derive(Clone)]
pub(super) struct LogCapture(Arc<LogCaptureInner>);

struct LogCaptureInner {
    lines: Mutex<Vec<LoggedVerdict>>,
    unfinished: Mutex<Vec<u8>>,
    count: watch::Sender<usize>,
}

impl Default for LogCapture {
    fn default() -> Self {
        let (count, _) = watch::channel(0);
        let (lines, unfinished) = (Mutex::default(), Mutex::default());
        Self(Arc::new(LogCaptureInner {
            lines,
            unfinished,
            count,
        }))
    }
}

impl LogCapture {
    /// Creates a logger that writes into this capture.
    pub(super) fn logger(&self) -> anyhow::Result<Arc<LineLogger>> {
        let writer = Box::new(self.clone());
        let logger = LineLogger::to_writer(LineEncoding::Json, tracing::Level::INFO, writer);
        logger.context("cannot start the log")
    }

    pub(super) fn count(&self) -> usize {
        self.0.lines.lock().len()
    }

    /// Returns the lines after the first `count`.
    pub(super) fn since(&self, count: usize) -> Vec<LoggedVerdict> {
        self.0.lines.lock().iter().skip(count).cloned().collect()
    }

    /// Waits until a line after the first `count` is as wanted, and returns it. At the limit, returns the newest line.
    pub(super) async fn wait_for_line(
        &self,
        count: usize,
        is_wanted: impl Fn(&LoggedVerdict) -> bool,
        limit: Duration,
    ) -> Option<LoggedVerdict> {
        let mut counts = self.0.count.subscribe();
        let waiting = counts.wait_for(|_| self.since(count).iter().any(&is_wanted));
        // A timeout is not an error here: the table then shows the line that was logged instead.
        let _ = tokio::time::timeout(limit, waiting).await;
        let mut lines = self.since(count);
        // The last one: a flood has many lines with the same verdict.
        let wanted = lines.iter().rposition(is_wanted);
        wanted
            .map(|index| lines.swap_remove(index))
            .or_else(|| lines.pop())
    }

    /// Waits until there are more than `count` lines.
    pub(super) async fn wait_for_more(&self, count: usize) {
        let mut counts = self.0.count.subscribe();
        // The sender lives as long as this value, so the wait cannot fail.
        let _ = counts.wait_for(|seen| *seen > count).await;
    }

    fn take(&self, line: &[u8]) {
        let Ok(line) = serde_json::from_slice::<Value>(line) else {
            return;
        };
        let text = |key: &str| line.get(key).and_then(Value::as_str).map(str::to_owned);
        // Lines without a verdict, such as that of the start, are not about a request.
        let Some(verdict) = text("verdict") else {
            return;
        };
        let mut lines = self.0.lines.lock();
        lines.push(LoggedVerdict {
            verdict,
            reason: text("reason"),
            is_replayed_body: line.get("replayed_body") == Some(&Value::Bool(true)),
            route: text("route").unwrap_or_default(),
            status: line
                .get("status")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        });
        let count = lines.len();
        // Unlocked before the notification: a task that wakes up locks the lines at once.
        drop(lines);
        self.0.count.send_replace(count);
    }
}

impl Write for LogCapture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut unfinished = self.0.unfinished.lock();
        unfinished.extend_from_slice(bytes);
        // The logger may write a line in pieces, or several at once.
        while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unfinished.drain(..=end).collect();
            self.take(&line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
