//! The requests that a receiver has recorded: the newest ones, bounded in number and size.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::testing::receiver::received::ReceivedRequest;

/// Maximum number of recorded requests.
const MAX_COUNT: usize = 1000;
/// Maximum bytes of recorded requests, bodies and heads together.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Recorded requests, which tasks can wait for.
pub(super) struct RequestBuffer {
    held: Mutex<RequestBufferInner>,
    /// Number of requests that were recorded in total.
    count: watch::Sender<u64>,
}

#[derive(Default)]
struct RequestBufferInner {
    requests: VecDeque<Arc<ReceivedRequest>>,
    bytes: usize,
    next: u64,
}

impl Default for RequestBuffer {
    fn default() -> Self {
        Self {
            held: Mutex::default(),
            count: watch::channel(0).0,
        }
    }
}

impl RequestBuffer {
    /// Returns the number for the next request. Each number is given once.
    pub(super) fn number(&self) -> u64 {
        let mut held = self.held.lock();
        let number = held.next;
        held.next = number.saturating_add(1);
        number
    }

    /// Records a request, and drops the oldest ones beyond the limits.
    pub(super) fn push(&self, received: ReceivedRequest) {
        let mut held = self.held.lock();
        held.bytes = held.bytes.saturating_add(size(&received));
        // Connections are concurrent: a request may be recorded after one with a higher number.
        let after = held
            .requests
            .partition_point(|one| one.number < received.number);
        held.requests.insert(after, Arc::new(received));
        while held.requests.len() > MAX_COUNT || held.bytes > MAX_BYTES {
            let Some(oldest) = held.requests.pop_front() else {
                break;
            };
            held.bytes = held.bytes.saturating_sub(size(&oldest));
        }
        // Unlocked before the notification: a task that wakes up takes the lock at once.
        drop(held);
        self.count
            .send_modify(|count| *count = count.saturating_add(1));
    }

    pub(super) fn all(&self) -> Vec<Arc<ReceivedRequest>> {
        self.held.lock().requests.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        let mut held = self.held.lock();
        held.requests.clear();
        held.bytes = 0;
    }

    /// Waits for the first request with this number or a higher one.
    pub(super) async fn at_least(&self, number: u64) -> Arc<ReceivedRequest> {
        let mut counts = self.count.subscribe();
        loop {
            // Before the lookup: a request that arrives between the lookup and the wait then ends the wait.
            counts.mark_unchanged();
            let found = self.first(number);
            if let Some(found) = found {
                return found;
            }
            // The sender is part of `self`, so the wait cannot fail.
            let _ = counts.changed().await;
        }
    }

    fn first(&self, number: u64) -> Option<Arc<ReceivedRequest>> {
        let held = self.held.lock();
        let mut requests = held.requests.iter();
        requests.find(|one| one.number >= number).cloned()
    }
}

fn size(received: &ReceivedRequest) -> usize {
    let request = &received.request;
    let headers = request.headers.iter();
    let headers: usize = headers
        // 64 bytes for the allocations of a header, so that many empty headers count as well.
        .map(|(name, value)| name.len() + value.len() + 64)
        .sum();
    request.body.len() + request.target.len() + headers
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;

    use super::*;
    use crate::net::request_file::RequestFile;

    fn push(kept: &RequestBuffer, bytes: usize) {
        kept.push(ReceivedRequest {
            number: kept.number(),
            unix_ms: 0,
            source: ([127, 0, 0, 1], 1).into(),
            request: RequestFile::new(Method::POST, "/", Bytes::from(vec![0; bytes])),
            verdict: None,
            answer: String::new(),
        });
    }

    // Mutation: leave out the loop in `push`.
    #[tokio::test]
    async fn recorded_requests_are_bounded_in_number_and_size() {
        let kept = RequestBuffer::default();
        (0..MAX_COUNT + 5).for_each(|_| push(&kept, 1));
        assert_eq!(kept.all().len(), MAX_COUNT);
        assert_eq!(kept.at_least(0).await.number, 5);
        (0..5).for_each(|_| push(&kept, MAX_BYTES / 3));
        assert_eq!(kept.all().len(), 2);
        kept.clear();
        assert!(kept.all().is_empty());
    }
}
