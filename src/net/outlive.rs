//! Futures that must not die with the connection that asked for them, and panics that must not end more than one request.
//!
//! hyper drops a request's future when the sender hangs up. From the claim on, the exchange with the app has to go on all
//! the same. `outlive` polls it in place, which costs nothing, and hands what is left of it to a task of its own only when
//! it is dropped unfinished.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future whose panic was caught: it must not be polled again.
#[derive(Debug, PartialEq, Eq)]
pub struct Panicked;

/// Runs a future and turns its panic into an error; the hook of the process has told of it. Takes it pinned where it
/// stands: an async function holds a future that is handed to it by value twice, and all of it is copied at each step.
///
/// # Errors
/// The future panicked.
pub async fn contain<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panicked> {
    poll_fn(|context| {
        // The future is never polled again after a panic, so nobody sees what the panic left half done; what is shared
        // beyond it (claims, counters, pools) is guarded by `Drop` and atomics.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// A future that goes on in a task of `tracker` when it is dropped unfinished. It must contain its own panics.
pub fn outlive<F>(future: F, tracker: &TaskTracker) -> Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    Outliving {
        future: Some(Box::pin(future)),
        tracker: tracker.clone(),
    }
}

/// What `outlive` gives.
pub struct Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    future: Option<Pin<Box<F>>>,
    tracker: TaskTracker,
}

impl<F> Future for Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = &mut self.future else {
            return Poll::Pending;
        };
        let poll = future.as_mut().poll(context);
        if poll.is_ready() {
            self.future = None;
        }
        poll
    }
}

impl<F> Drop for Outliving<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        let Some(future) = self.future.take() else {
            return;
        };
        // Without a runtime the process is ending: what is left is dropped, and its claim left to expire.
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
    async fn what_is_dropped_unfinished_goes_on() {
        let tracker = TaskTracker::new();
        let (go, done) = (Arc::new(Notify::new()), oneshot::channel());
        let (gate, (tell, told)) = (Arc::clone(&go), done);
        let work = outlive(
            async move {
                gate.notified().await;
                tell.send(7).unwrap();
            },
            &tracker,
        );
        assert!(
            tokio::time::timeout(Duration::from_millis(5), work)
                .await
                .is_err()
        );
        go.notify_one();
        assert_eq!(told.await.unwrap(), 7);
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn what_finished_starts_no_task() {
        let tracker = TaskTracker::new();
        assert_eq!(outlive(async { 7 }, &tracker).await, 7);
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn a_panic_ends_one_future_only() {
        let panicked = contain(pin!(async { panic!("as it should") })).await;
        assert_eq!(panicked, Err::<(), _>(Panicked));
        assert_eq!(contain(pin!(async { 7 })).await, Ok(7));
    }
}
