//! Deadlines for answers of the database that count only while this process runs.
//!
//! A process that was stopped (a suspended machine, `SIGSTOP`) finds that its whole deadline has passed when it wakes,
//! although the answer may have come long ago. To take the database for lost then would fail commits and takes for
//! nothing, and let copies of an event pass two nodes.

use std::time::Duration;

/// Steps of a deadline. However long the process is stopped, only the step in which it was stopped is over at once.
const STEPS: u32 = 8;

/// Runs work for at most this long. Returns `None` if it has not ended by then.
pub(super) async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(work);
    for _ in 0..STEPS {
        if let Ok(done) = tokio::time::timeout(patience / STEPS, &mut work).await {
            return Some(done);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::instant;

    // Fails when a process that stood still gives up although the answer comes just after it goes on, or when nothing ends
    // the wait.
    #[tokio::test]
    async fn a_process_that_stood_still_goes_on_waiting() {
        let patience = Duration::from_millis(400);
        let (reply, answer) = tokio::sync::oneshot::channel();
        let standing_still = async {
            tokio::task::yield_now().await;
            let began = instant();
            while began.elapsed() < patience + patience / 4 {
                std::hint::spin_loop();
            }
            // The timers fire before the answer is there.
            tokio::task::yield_now().await;
            reply.send(7).unwrap();
        };
        let (answered, ()) = tokio::join!(biased; within(patience, answer), standing_still);
        assert_eq!(answered, Some(Ok(7)));
        let forever = std::future::pending::<()>();
        assert_eq!(within(patience, forever).await, None);
    }
}
