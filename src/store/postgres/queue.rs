//! Bounded queues of commits and outcomes, which the writers take in groups.
//!
//! A task beyond the bounds is rejected at once: backpressure belongs at the sender, not in memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::model::clock;
use crate::store::error::StoreError;
use crate::store::postgres::sealed_outcome::SealedOutcome;
use crate::store::rows::CommitOutcome;
use crate::store::sealed_event::SealedEvent;

/// Commits that may wait.
const MAX_COMMITS: usize = 8 * 1024;

/// Outcomes may exceed the bound for commits: rejecting them would cause more work, and `deliver` bounds them.
const MAX_OUTCOMES: usize = 4 * MAX_COMMITS;

/// Total bytes of heads and bodies that may wait.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Bytes that an entry counts for, beside its payload.
const TASK_SIZE: usize = 512;

/// Largest group. Larger ones are no faster, and their first task waits longer for the last.
const MAX_GROUP: usize = 128;
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// A group of this size begins beside one that is still running. Smaller ones wait for it, and grow meanwhile: a
/// transaction costs the server as much as some 15 events do.
const WORTHWHILE_GROUP: usize = 32;

/// Longest wait for a running group. It may itself wait for a lock of another node.
const LONGEST_GATHERING: Duration = Duration::from_millis(25);

/// Longest wait of a task before its group begins. Its sender is about to give up.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The queues of a node.
pub(super) struct GroupQueue {
    pub(super) commits: TaskQueue<SealedEvent, CommitOutcome>,
    pub(super) outcomes: TaskQueue<SealedOutcome, bool>,
}

/// Tasks of one kind that wait for a writer.
pub(super) struct TaskQueue<T, R> {
    state: Mutex<GroupQueueState<T, R>>,
    wake: Notify,
    most: usize,
}

struct GroupQueueState<T, R> {
    tasks: VecDeque<GroupTask<T, R>>,
    bytes: usize,
    /// Groups that writers took and have not ended.
    running: usize,
    is_closed: bool,
}

/// Tasks of one transaction. The queue counts the group as running until it is dropped.
pub(super) struct QueuedGroup<'a, T, R> {
    queue: &'a TaskQueue<T, R>,
    pub(super) tasks: Vec<GroupTask<T, R>>,
}

impl<T, R> Drop for QueuedGroup<'_, T, R> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.running = state.running.saturating_sub(1);
        // Another writer may wait for this moment.
        if !state.tasks.is_empty() {
            self.queue.wake.notify_one();
        }
    }
}

/// A task with the sender of its reply.
pub(super) struct GroupTask<T, R> {
    pub(super) task: T,
    reply: oneshot::Sender<Result<R, StoreError>>,
    bytes: usize,
    queued: Instant,
}

impl Default for GroupQueue {
    fn default() -> Self {
        Self {
            commits: TaskQueue::new(MAX_COMMITS),
            outcomes: TaskQueue::new(MAX_OUTCOMES),
        }
    }
}

impl GroupQueue {
    /// Rejects all new tasks from now on. Waiting tasks are still handed out.
    pub(super) fn close(&self) {
        self.commits.close();
        self.outcomes.close();
    }
}

impl<T, R> GroupTask<T, R> {
    /// Replies to the caller, who may be gone.
    pub(super) fn answer(self, result: Result<R, StoreError>) {
        let _ = self.reply.send(result);
    }

    /// Returns how long ago the task was queued.
    pub(super) fn age(&self) -> Duration {
        clock::instant().saturating_duration_since(self.queued)
    }
}

impl<T, R> TaskQueue<T, R> {
    fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(GroupQueueState {
                tasks: VecDeque::new(),
                bytes: 0,
                running: 0,
                is_closed: false,
            }),
            wake: Notify::new(),
            most,
        }
    }

    /// Adds a task and waits for its result.
    pub(super) async fn push(&self, task: T, bytes: usize) -> Result<R, StoreError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(StoreError::Closed);
            }
            let bytes = bytes.saturating_add(TASK_SIZE);
            // A task that alone exceeds the bound is accepted into an empty queue, or it could never run.
            let is_heavy = state.bytes > 0 && state.bytes.saturating_add(bytes) > MAX_BYTES;
            if state.tasks.len() >= self.most || is_heavy {
                return Err(StoreError::Busy);
            }
            state.bytes = state.bytes.saturating_add(bytes);
            state.tasks.push_back(GroupTask {
                task,
                reply,
                bytes,
                queued: clock::instant(),
            });
        }
        self.wake.notify_one();
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Waits for tasks and takes as many as one group may hold. Returns `None` after the queue is closed and empty.
    pub(super) async fn take(&self) -> Option<QueuedGroup<'_, T, R>> {
        loop {
            let gathering = {
                let mut state = self.state.lock();
                let gathering = state.gathering();
                if gathering.is_none() {
                    let tasks = state.take_group();
                    if !tasks.is_empty() {
                        state.running += 1;
                        // Another writer may take the rest at once.
                        if !state.tasks.is_empty() {
                            self.wake.notify_one();
                        }
                        return Some(QueuedGroup { queue: self, tasks });
                    }
                    if state.is_closed {
                        // Passes the end on to the next writer.
                        self.wake.notify_one();
                        return None;
                    }
                }
                gathering
            };
            match gathering {
                // The end of the wait needs no handling: the state decides again.
                Some(rest) => drop(tokio::time::timeout(rest, self.wake.notified()).await),
                None => self.wake.notified().await,
            }
        }
    }

    /// Rejects all waiting tasks, because the database is away.
    pub(super) fn refuse_all(&self, why: impl Fn() -> StoreError) {
        let tasks: Vec<_> = {
            let mut state = self.state.lock();
            state.bytes = 0;
            state.tasks.drain(..).collect()
        };
        // Without the lock: a reply wakes its caller, who may push again at once.
        for task in tasks {
            task.answer(Err(why()));
        }
    }

    fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_one();
    }
}

impl<T, R> GroupQueueState<T, R> {
    /// Returns how long the waiting tasks may still wait for a running group to end.
    fn gathering(&self) -> Option<Duration> {
        let first = self.tasks.front()?;
        if self.running == 0 || self.is_closed || self.tasks.len() >= WORTHWHILE_GROUP {
            return None;
        }
        let rest = LONGEST_GATHERING.checked_sub(first.age())?;
        (!rest.is_zero()).then_some(rest)
    }

    fn take_group(&mut self) -> Vec<GroupTask<T, R>> {
        let (mut group, mut bytes) = (Vec::new(), 0_usize);
        while let Some(task) = self.tasks.pop_front() {
            self.bytes = self.bytes.saturating_sub(task.bytes);
            if task.age() > LONGEST_WAIT {
                task.answer(Err(StoreError::Busy));
                continue;
            }
            bytes = bytes.saturating_add(task.bytes);
            group.push(task);
            // Looks at the next task before it takes it, so that only a first task can exceed the bound on bytes.
            let next = self.tasks.front().map_or(0, |next| next.bytes);
            if group.len() >= MAX_GROUP || bytes.saturating_add(next) > MAX_GROUP_BYTES {
                break;
            }
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;

    use super::*;

    type NumberQueue = TaskQueue<u32, u32>;

    /// Queues so many tasks, whose callers are then gone.
    async fn push(queue: &NumberQueue, count: u32) {
        for number in 0..count {
            let mut pushed = Box::pin(queue.push(number, 1));
            assert!(poll!(&mut pushed).is_pending());
        }
    }

    // Fails when a second writer begins a small group beside a running one, or when it does not begin after its end.
    #[tokio::test]
    async fn a_small_group_grows_while_another_one_runs() {
        let queue = NumberQueue::new(100);
        push(&queue, 1).await;
        let first = queue.take().await.unwrap();
        push(&queue, 2).await;
        let mut second = Box::pin(queue.take());
        assert!(poll!(&mut second).is_pending());
        push(&queue, 3).await;
        drop(first);
        let Poll::Ready(Some(second)) = poll!(&mut second) else {
            panic!("the group does not begin");
        };
        assert_eq!(second.tasks.len(), 5);
    }

    // Fails when large groups wait for each other, which would leave one of two sessions idle.
    #[tokio::test]
    async fn a_large_group_begins_at_once() {
        let queue = NumberQueue::new(100);
        push(&queue, 1).await;
        let _first = queue.take().await.unwrap();
        push(&queue, u32::try_from(WORTHWHILE_GROUP).unwrap()).await;
        let mut second = Box::pin(queue.take());
        assert!(poll!(&mut second).is_ready());
    }

    // Fails when a group that waits for a lock of another node holds up all other commits of its node.
    #[tokio::test]
    async fn a_small_group_does_not_wait_for_ever() {
        let queue = NumberQueue::new(100);
        push(&queue, 1).await;
        let _first = queue.take().await.unwrap();
        push(&queue, 1).await;
        let second = tokio::time::timeout(Duration::from_secs(5), queue.take());
        assert_eq!(second.await.unwrap().unwrap().tasks.len(), 1);
    }
}
