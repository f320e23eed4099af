//! Bounded queue of tasks for the writer thread.
//!
//! A task gets its reply only when its group is durable or has failed. A task beyond the bounds is rejected at once:
//! backpressure belongs at the sender, not in memory.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::store::error::StoreError;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};

/// Commits that may wait. A slow disk (5,000 a second) needs less than two seconds for them.
const MAX_COMMITS: usize = 8 * 1024;

/// Outcomes and takes may exceed the bound for commits: rejecting them would cause more work, and `deliver` bounds
/// them.
const MAX_TASKS: usize = 4 * MAX_COMMITS;

/// Total bytes of the heads and bodies that may wait.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Largest group, so that its first task does not wait long for its last.
const MAX_GROUP: usize = 1024;
const MAX_GROUP_BYTES: usize = 16 * 1024 * 1024;

/// A unit of work inside a group.
pub(super) trait WriterTask: Send {
    /// Does the work and keeps the result for the reply. An error fails the whole group.
    fn run(&mut self, work: &mut GroupWork) -> rusqlite::Result<()>;

    /// Reports to the caller that the work is durable.
    fn answer(self: Box<Self>);

    /// Reports to the caller why no work was done.
    fn refuse(self: Box<Self>, why: StoreError);
}

struct QueuedTask<T, F> {
    run: Option<F>,
    made: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> WriterTask for QueuedTask<T, F>
where
    T: Send,
    F: FnOnce(&mut GroupWork) -> Result<T, TaskFailure> + Send,
{
    fn run(&mut self, work: &mut GroupWork) -> rusqlite::Result<()> {
        let Some(run) = self.run.take() else {
            return Ok(());
        };
        self.made = Some(match run(work) {
            Ok(made) => Ok(made),
            // A rejected task has written nothing, so the rest of the group continues.
            Err(TaskFailure::Refused(err)) => Err(err),
            Err(TaskFailure::Sql(err)) => return Err(err),
        });
        Ok(())
    }

    fn answer(self: Box<Self>) {
        // The caller may be gone. A result that must be returned to the store does so when it is dropped.
        let _ = self
            .reply
            .send(self.made.unwrap_or(Err(StoreError::Closed)));
    }

    fn refuse(self: Box<Self>, why: StoreError) {
        let _ = self.reply.send(Err(why));
    }
}

/// Wraps a function as a task, and returns it with the receiver of its reply.
pub(super) fn enqueue_task<T, F>(
    run: F,
) -> (
    Box<dyn WriterTask>,
    oneshot::Receiver<Result<T, StoreError>>,
)
where
    T: Send + 'static,
    F: FnOnce(&mut GroupWork) -> Result<T, TaskFailure> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let ask = QueuedTask {
        run: Some(run),
        made: None,
        reply,
    };
    (Box::new(ask), answer)
}

/// How long a task may be postponed under load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskUrgency {
    /// New work, rejected while the queue is long.
    Commit,
    /// Work that ends or continues what was accepted.
    Outcome,
}

#[derive(Default)]
pub(super) struct WriterQueue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

#[derive(Default)]
struct QueueState {
    tasks: VecDeque<(Box<dyn WriterTask>, usize)>,
    /// Bytes of the waiting tasks and of the current group.
    bytes: usize,
    is_closed: bool,
}

/// The next thing for the writer to do.
pub(super) enum NextWork {
    Group(TaskGroup),
    /// No task came within the pause.
    Quiet,
    Closed,
}

/// Tasks that share one transaction.
#[derive(Default)]
pub(super) struct TaskGroup {
    pub(super) tasks: Vec<Box<dyn WriterTask>>,
    /// Bytes to return with [`WriterQueue::release`] after the group.
    pub(super) bytes: usize,
}

impl WriterQueue {
    pub(super) fn push(
        &self,
        task: Box<dyn WriterTask>,
        bytes: usize,
        urgency: TaskUrgency,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(StoreError::Closed);
        }
        let most = match urgency {
            TaskUrgency::Commit => MAX_COMMITS,
            TaskUrgency::Outcome => MAX_TASKS,
        };
        // A task that alone exceeds the bound is accepted into an empty queue, or it could never run.
        let is_heavy = state.bytes > 0 && state.bytes.saturating_add(bytes) > MAX_BYTES;
        if state.tasks.len() >= most || (is_heavy && urgency == TaskUrgency::Commit) {
            return Err(StoreError::Busy);
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.tasks.push_back((task, bytes));
        // The writer sleeps only while the queue is empty, so only the first task has to wake it.
        let is_first = state.tasks.len() == 1;
        drop(state);
        if is_first {
            self.wake.notify_one();
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().tasks.len()
    }

    /// Rejects all new tasks from now on. Waiting tasks are still handed out.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    pub(super) fn release(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Waits for tasks and takes as many as one group may hold.
    pub(super) fn take(&self, patience: Duration) -> NextWork {
        let mut state = self.state.lock();
        while state.tasks.is_empty() {
            // Only an empty queue ends the writer, so tasks from before the close are still written.
            if state.is_closed {
                return NextWork::Closed;
            }
            let waited = self.wake.wait_for(&mut state, patience);
            if waited.timed_out() && state.tasks.is_empty() && !state.is_closed {
                return NextWork::Quiet;
            }
        }
        let (mut count, mut bytes) = (0, 0_usize);
        // The first task always goes, even if it alone exceeds the bound.
        for (_, size) in state.tasks.iter().take(MAX_GROUP) {
            if count > 0 && bytes.saturating_add(*size) > MAX_GROUP_BYTES {
                break;
            }
            count += 1;
            bytes = bytes.saturating_add(*size);
        }
        let tasks = state.tasks.drain(..count).map(|(task, _)| task).collect();
        NextWork::Group(TaskGroup { tasks, bytes })
    }

    /// Sleeps for a while, or until the store is closed.
    pub(super) fn pause(&self, pause: Duration) {
        let mut state = self.state.lock();
        if !state.is_closed {
            // A new task also ends this pause early. The next round rejects it.
            self.wake.wait_for(&mut state, pause);
        }
    }

    /// Removes all waiting tasks, for the caller to reject.
    pub(super) fn take_all(&self) -> Vec<Box<dyn WriterTask>> {
        let mut state = self.state.lock();
        let tasks: Vec<_> = state.tasks.drain(..).collect();
        let bytes: usize = tasks.iter().map(|(_, bytes)| bytes).sum();
        state.bytes = state.bytes.saturating_sub(bytes);
        tasks.into_iter().map(|(task, _)| task).collect()
    }
}
