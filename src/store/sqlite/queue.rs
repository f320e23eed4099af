//! What is asked of the writer: a bounded queue of tasks, each of which is run within a group and answered after it.
//!
//! A task's answer leaves only when its group is durable, or has failed. Who asks beyond the bounds is told so at once:
//! waiting happens at the sender, not in memory.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::store::StoreError;
use crate::store::sqlite::work::{Failure, Work};

/// Commits that may wait. At the rate of a slow disk (5,000 a second) this is under two seconds of work.
const MAX_COMMITS: usize = 8 * 1024;

/// Outcomes and takings may wait beyond it: refusing those would make more work, and `deliver` bounds them.
const MAX_TASKS: usize = 4 * MAX_COMMITS;

/// Bytes of heads and bodies that may wait.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// One group holds at most so much, so that the first in it does not wait long for the last.
const MAX_GROUP: usize = 1024;
const MAX_GROUP_BYTES: usize = 16 * 1024 * 1024;

/// Something to do within a group.
pub(super) trait Task: Send {
    /// Does it; what it made is kept until the answer. An error fails the whole group.
    fn run(&mut self, work: &mut Work) -> rusqlite::Result<()>;

    /// Tells whoever asked that it is durable.
    fn answer(self: Box<Self>);

    /// Tells whoever asked why nothing was done.
    fn refuse(self: Box<Self>, why: StoreError);
}

struct Ask<T, F> {
    run: Option<F>,
    made: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Task for Ask<T, F>
where
    T: Send,
    F: FnOnce(&mut Work) -> Result<T, Failure> + Send,
{
    fn run(&mut self, work: &mut Work) -> rusqlite::Result<()> {
        let Some(run) = self.run.take() else {
            return Ok(());
        };
        self.made = Some(match run(work) {
            Ok(made) => Ok(made),
            Err(Failure::Refused(err)) => Err(err),
            Err(Failure::Sql(err)) => return Err(err),
        });
        Ok(())
    }

    fn answer(self: Box<Self>) {
        // Nobody may be waiting any more. What has to be given back then does so when it is dropped.
        let _ = self
            .reply
            .send(self.made.unwrap_or(Err(StoreError::Closed)));
    }

    fn refuse(self: Box<Self>, why: StoreError) {
        let _ = self.reply.send(Err(why));
    }
}

/// A task of a function, and where its answer comes.
pub(super) fn ask<T, F>(run: F) -> (Box<dyn Task>, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnOnce(&mut Work) -> Result<T, Failure> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let ask = Ask {
        run: Some(run),
        made: None,
        reply,
    };
    (Box::new(ask), answer)
}

/// How much a task may be put behind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// New work: refused while much is waiting.
    Commit,
    /// What ends or goes on with work that was accepted.
    Outcome,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<(Box<dyn Task>, usize)>,
    /// Of those that wait and those in the group at hand.
    bytes: usize,
    is_closed: bool,
}

/// What the writer is to do next.
pub(super) enum Next {
    Group(Group),
    /// Nothing came for a while.
    Quiet,
    Closed,
}

/// Tasks that go into one transaction.
#[derive(Default)]
pub(super) struct Group {
    pub(super) tasks: Vec<Box<dyn Task>>,
    /// To be given back with [`Queue::release`].
    pub(super) bytes: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(
        &self,
        task: Box<dyn Task>,
        bytes: usize,
        urgency: Urgency,
    ) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(StoreError::Closed);
        }
        let most = match urgency {
            Urgency::Commit => MAX_COMMITS,
            Urgency::Outcome => MAX_TASKS,
        };
        // One that is larger than the bound goes alone.
        let is_heavy = state.bytes > 0 && state.bytes.saturating_add(bytes) > MAX_BYTES;
        if state.tasks.len() >= most || (is_heavy && urgency == Urgency::Commit) {
            return Err(StoreError::Busy);
        }
        state.bytes = state.bytes.saturating_add(bytes);
        state.tasks.push_back((task, bytes));
        let is_first = state.tasks.len() == 1;
        drop(state);
        if is_first {
            self.wake.notify_one();
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Nothing is taken in from now on; what waits is still handed out.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    pub(super) fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Waits for tasks, and takes as many as make one group.
    pub(super) fn take(&self, patience: Duration) -> Next {
        let mut state = self.lock();
        while state.tasks.is_empty() {
            if state.is_closed {
                return Next::Closed;
            }
            let (back, waited) = self
                .wake
                .wait_timeout(state, patience)
                .unwrap_or_else(PoisonError::into_inner);
            state = back;
            if waited.timed_out() && state.tasks.is_empty() && !state.is_closed {
                return Next::Quiet;
            }
        }
        let (mut count, mut bytes) = (0, 0_usize);
        for (_, size) in state.tasks.iter().take(MAX_GROUP) {
            if count > 0 && bytes.saturating_add(*size) > MAX_GROUP_BYTES {
                break;
            }
            count += 1;
            bytes = bytes.saturating_add(*size);
        }
        let tasks = state.tasks.drain(..count).map(|(task, _)| task).collect();
        Next::Group(Group { tasks, bytes })
    }

    /// Waits a while, unless it is closed before.
    pub(super) fn pause(&self, pause: Duration) {
        let state = self.lock();
        if !state.is_closed {
            // Woken by a task that comes meanwhile as well, which is refused then.
            let _ = self.wake.wait_timeout(state, pause);
        }
    }

    /// Takes all that waits out, to be refused.
    pub(super) fn take_all(&self) -> Vec<Box<dyn Task>> {
        let mut state = self.lock();
        let tasks: Vec<_> = state.tasks.drain(..).collect();
        let bytes: usize = tasks.iter().map(|(_, bytes)| bytes).sum();
        state.bytes = state.bytes.saturating_sub(bytes);
        tasks.into_iter().map(|(task, _)| task).collect()
    }
}
