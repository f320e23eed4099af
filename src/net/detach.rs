//! Detached futures, and containment of panics.
//!
//! hyper drops a request's future when the sender closes the connection. After the claim, the exchange with the
//! upstream must continue all the same. `outlive` polls such a future in place, which costs nothing, and spawns it as a
//! task only when it is dropped unfinished.
//!
//! A panic must end one request only, so `contain` turns it into an error.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The error for a future that panicked. The future must not be polled again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CaughtPanic;

/// Runs a future and turns a panic into an error; the panic hook of the process has logged it.
///
/// Takes the future pinned in place. An async function would store a future that it gets by value twice, and copy all
/// of it at each step.
pub(crate) async fn contain<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, CaughtPanic> {
    poll_fn(|context| {
        // The future is never polled again after a panic, so its inconsistent state cannot be observed. State shared
        // beyond it (claims, counters, pools) is protected by `Drop` and atomics.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(CaughtPanic)),
        }
    })
    .await
}

/// Wraps a future so that it continues as a task of `tracker` when it is dropped unfinished. The future must contain
/// its own panics.
pub(crate) fn detach<F>(future: F, tracker: &TaskTracker) -> DetachedFuture<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    DetachedFuture {
        future: Some(Box::pin(future)),
        tracker: tracker.clone(),
    }
}

/// The future that `outlive` returns.
pub(crate) struct DetachedFuture<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    future: Option<Pin<Box<F>>>,
    tracker: TaskTracker,
}

impl<F> Future for DetachedFuture<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = &mut self.future else {
            // Only a future that was polled after it finished gets here.
            return Poll::Pending;
        };
        // Polled in place, so that the common case needs no task.
        let poll = future.as_mut().poll(context);
        if poll.is_ready() {
            self.future = None;
        }
        poll
    }
}

impl<F> Drop for DetachedFuture<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        let Some(future) = self.future.take() else {
            return;
        };
        // Without a runtime the process is ending. The future is dropped, and its claim expires.
        if let Ok(runtime) = Handle::try_current() {
            self.tracker.spawn_on(
                async move {
                    drop(future.await);
                },
                &runtime,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[tokio::test]
    async fn a_future_dropped_unfinished_continues() {
        let tracker = TaskTracker::new();
        let (go, done) = (Arc::new(Notify::new()), oneshot::channel());
        let (gate, (sender, receiver)) = (Arc::clone(&go), done);
        let work = detach(
            async move {
                gate.notified().await;
                sender.send(7).unwrap();
            },
            &tracker,
        );
        assert!(
            tokio::time::timeout(Duration::from_millis(5), work)
                .await
                .is_err()
        );
        go.notify_one();
        assert_eq!(receiver.await.unwrap(), 7);
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn a_finished_future_starts_no_task() {
        let tracker = TaskTracker::new();
        assert_eq!(detach(async { 7 }, &tracker).await, 7);
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn a_panic_ends_one_future_only() {
        let panicked = contain(pin!(async { panic!("as it should") })).await;
        assert_eq!(panicked, Err::<(), _>(CaughtPanic));
        assert_eq!(contain(pin!(async { 7 })).await, Ok(7));
    }
}
