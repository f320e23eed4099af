//! Bounded queue of log lines between the threads that log and the thread that writes.
//!
//! All threads append to one buffer, under a lock that is held for a copy of one line. So lines keep the order in which
//! they were logged, and a line costs no system call: the writer takes the whole buffer at a fixed pace while lines
//! come. Pushing a line must never wait for the target of the log.

use std::fmt;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::record::line_batch::LineBatch;

/// Maximum number of lines that wait.
const QUEUE_LINES: usize = 4096;

/// Maximum number of bytes that wait. The writer may hold as many again.
const QUEUE_BYTES: usize = 2 * 1024 * 1024;

/// Number of bytes that the writer takes at once, before its pace is over.
const BATCH_BYTES: usize = 32 * 1024;

/// Bounded queue of log lines with many producers and one writer.
pub(super) struct LineQueue {
    state: Mutex<LineQueueState>,
    /// Wakes the writer.
    wake: Condvar,
    /// Wakes those that wait until lines are written or the writer has ended.
    progress: Condvar,
    /// Time in which lines gather before the writer takes them.
    pace: Duration,
}

#[derive(Default)]
struct LineQueueState {
    waiting: LineBatch,
    /// A waiting line must not wait for others.
    is_urgent: bool,
    is_closed: bool,
    writer: WriterPhase,
    /// Number of lines that were taken in since the start.
    accepted: u64,
    /// Number of accepted lines that the writer has passed on or lost.
    finished: u64,
    dropped: u64,
    /// Dropped lines that no line of the log reports yet.
    unreported: u64,
}

/// Phase of the writer thread, which decides if a line has to wake it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum WriterPhase {
    /// The writer writes, or lets lines gather. It looks at the queue by itself.
    #[default]
    Active,
    /// No line came for a while, and the writer waits for the next one.
    Parked,
    Ended,
}

/// Outcome of writing one batch.
#[derive(Clone, Copy, Default)]
pub(super) struct WrittenBatch {
    /// Number of lines that [`LineQueue::take`] handed out.
    pub(super) taken: usize,
    /// Number of these lines that the target did not accept.
    pub(super) lost: usize,
    /// Dropped lines whose report did not reach the target either.
    pub(super) unreported: u64,
}

impl LineQueue {
    pub(super) fn new(pace: Duration) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            progress: Condvar::new(),
            pace,
        }
    }

    /// Appends a line, or drops and counts it if the queue is full or closed. Never waits for the writer.
    ///
    /// An urgent line is written at once, together with all lines before it.
    pub(super) fn push(&self, line: &[u8], is_urgent: bool) {
        let mut state = self.state.lock();
        if state.is_closed || !state.has_room(line.len()) {
            state.dropped += 1;
            state.unreported += 1;
            return;
        }
        let was_due = state.is_due();
        state.waiting.push(line);
        state.accepted += 1;
        state.is_urgent |= is_urgent;
        // The first line after a pause wakes the writer. Later ones wake it only if it must not wait for its pace.
        let is_parked = state.writer == WriterPhase::Parked;
        if is_parked {
            state.writer = WriterPhase::Active;
        }
        let is_wake = is_parked || (state.is_due() && !was_due);
        // Unlocked before the wake-up, or the writer would run into the lock at once.
        drop(state);
        if is_wake {
            self.wake.notify_one();
        }
    }

    /// Waits until lines are due and swaps them into the empty `batch`. Only the writer calls it.
    ///
    /// Returns the number of dropped lines that have to be reported, or `None` if the queue is closed and empty.
    pub(super) fn take(&self, batch: &mut LineBatch) -> Option<u64> {
        let mut state = self.state.lock();
        // Under load, lines gather here and the pace ends the wait: no line has to wake the writer.
        self.wake
            .wait_while_for(&mut state, |state| !state.is_due(), self.pace);
        if state.waiting.is_empty() && !state.is_closed {
            self.park(&mut state);
        }
        state.is_urgent = false;
        // Only a closed queue ends the wait without a line.
        if state.waiting.is_empty() {
            return None;
        }
        std::mem::swap(&mut state.waiting, batch);
        Some(std::mem::take(&mut state.unreported))
    }

    /// Accounts for a batch that the writer is done with.
    pub(super) fn finish(&self, written: WrittenBatch) {
        let mut state = self.state.lock();
        let lost = count(written.lost);
        state.finished += count(written.taken);
        state.dropped += lost;
        state.unreported += lost + written.unreported;
        drop(state);
        self.progress.notify_all();
    }

    /// Accounts for the end of the writer. Lines that still wait are dropped, as are all later ones.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.writer = WriterPhase::Ended;
        state.dropped += count(state.waiting.line_count());
        state.waiting = LineBatch::default();
        drop(state);
        self.progress.notify_all();
    }

    /// Wakes the writer for all waiting lines, and waits until they are written or the timeout is over.
    pub(super) fn flush(&self, timeout: Duration) {
        let mut state = self.state.lock();
        let accepted = state.accepted;
        if !state.waiting.is_empty() {
            state.is_urgent = true;
            self.wake.notify_one();
        }
        let is_unfinished = |state: &mut LineQueueState| {
            state.finished < accepted && state.writer != WriterPhase::Ended
        };
        self.progress
            .wait_while_for(&mut state, is_unfinished, timeout);
    }

    /// Rejects all later lines. The writer still gets those that wait, and ends.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// Waits until the writer has ended, or until the timeout.
    pub(super) fn wait_for_end(&self, timeout: Duration) {
        let mut state = self.state.lock();
        let is_running = |state: &mut LineQueueState| state.writer != WriterPhase::Ended;
        self.progress
            .wait_while_for(&mut state, is_running, timeout);
    }

    /// Returns the number of lines that were dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }

    fn park(&self, state: &mut MutexGuard<'_, LineQueueState>) {
        state.writer = WriterPhase::Parked;
        self.wake
            .wait_while(state, |state| state.waiting.is_empty() && !state.is_closed);
        state.writer = WriterPhase::Active;
    }
}

impl LineQueueState {
    /// Returns true if the writer must take the lines before its pace is over.
    fn is_due(&self) -> bool {
        self.is_urgent || self.is_closed || self.waiting.byte_count() >= BATCH_BYTES
    }

    fn has_room(&self, length: usize) -> bool {
        self.waiting.line_count() < QUEUE_LINES
            && self.waiting.byte_count().saturating_add(length) <= QUEUE_BYTES
    }
}

impl fmt::Debug for LineQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the lines, which are long.
        f.write_str("LineQueue")
    }
}

fn count(lines: usize) -> u64 {
    u64::try_from(lines).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pace that no test waits for: what is written is written for another reason.
    const NEVER: Duration = Duration::from_secs(3600);

    /// Fails if each line wakes the writer: a flood of warnings would then cost system calls for each.
    #[test]
    fn only_urgent_lines_and_full_batches_are_due() {
        let queue = LineQueue::new(NEVER);
        let is_due = || queue.state.lock().is_due();
        queue.push(b"one\n", false);
        assert!(!is_due());
        queue.push(b"two\n", true);
        assert!(is_due());
        let mut batch = LineBatch::default();
        assert_eq!(queue.take(&mut batch), Some(0));
        assert_eq!(batch.line_count(), 2);
        assert!(!is_due(), "what is taken is due no longer");
        let line = [b'x'; 1024];
        for _ in 0..BATCH_BYTES / line.len() {
            assert!(!is_due());
            queue.push(&line, false);
        }
        assert!(is_due());
    }

    /// Fails if the queue has no bound, or if a line is lost without being counted.
    #[test]
    fn lines_beyond_either_bound_are_dropped_and_counted() {
        for (line, bound) in [
            (&b"x\n"[..], QUEUE_LINES),
            (&[b'x'; 4096][..], QUEUE_BYTES / 4096),
        ] {
            let queue = LineQueue::new(NEVER);
            for _ in 0..bound + 3 {
                queue.push(line, false);
            }
            assert_eq!(queue.dropped(), 3);
            queue.close();
            queue.push(line, true);
            let mut batch = LineBatch::default();
            assert_eq!(queue.take(&mut batch), Some(4));
            assert_eq!(batch.line_count(), bound);
            batch.clear();
            assert_eq!(queue.take(&mut batch), None);
        }
    }

    /// Fails if lines that a target did not accept are not counted, or a report that failed is not repeated.
    #[test]
    fn lost_lines_are_counted_and_reported_again() {
        let queue = LineQueue::new(Duration::ZERO);
        queue.push(b"one\n", false);
        let mut batch = LineBatch::default();
        assert_eq!(queue.take(&mut batch), Some(0));
        queue.finish(WrittenBatch {
            taken: 1,
            lost: 1,
            unreported: 7,
        });
        assert_eq!(queue.dropped(), 1);
        queue.push(b"two\n", false);
        batch.clear();
        assert_eq!(queue.take(&mut batch), Some(8));
    }

    /// Fails if a writer that ended, by a panic for example, makes the end of the process wait.
    #[test]
    fn the_end_of_the_writer_drops_what_waits() {
        let queue = LineQueue::new(NEVER);
        queue.push(b"one\n", false);
        queue.end();
        queue.push(b"two\n", false);
        assert_eq!(queue.dropped(), 2);
        queue.flush(NEVER);
        queue.wait_for_end(NEVER);
    }
}
