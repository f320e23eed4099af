//! Test rig of the unit tests (`crate::test_rig`) and of the integration tests (`tests/it`): an app that records and
//! misbehaves, certificates, and waiting.
//!
//! Both include these files, so nothing here may use anything of either.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::must_use_candidate,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a test that meets something unexpected shall panic, and each of the two uses its part of the rig"
)]

pub mod acme_proxy;
pub mod app;
pub mod golden;
pub mod pebble;
pub mod postgres;
pub mod proxy;
pub mod tls;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine; only a failing test waits that long.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until the condition holds; panics with `what` if it does not within the limit.
pub async fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    poll_for(what, limit, async || condition().then_some(())).await;
}

/// Waits until the query finds something, and returns it; panics with `what` if it finds nothing within the limit.
pub async fn poll_for<T>(
    what: &str,
    limit: Duration,
    mut query: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = query().await {
            return found;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits like `wait_for`, and blocks the thread meanwhile.
pub fn block_until(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Lets time pass where the passing of time is the thing under test. `reason` says which deadline or pause that is.
///
/// A test that only waits for something to happen uses `wait_for`.
pub async fn let_time_pass(reason: &str, duration: Duration) {
    assert!(!reason.is_empty());
    tokio::time::sleep(duration).await;
}

/// Returns a listener on a free port of 127.0.0.1. It never accepts or responds by itself.
pub fn silent_listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}
