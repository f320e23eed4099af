//! Shared test harness: the gate as a process, a recording app, independent senders, raw sockets.
//!
//! No fixed sleeps: `wait_for` polls a condition up to a limit. The kernel chooses every port.

#![allow(dead_code, reason = "each test file uses its part of the harness")]

pub mod app;
pub mod client;
pub mod command;
pub mod gate;
pub mod listener;
pub mod raw;
pub mod sender;
pub mod tls;

use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine; only a failing test waits that long.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Polls the condition every few milliseconds; panics with `what` if it does not hold within the limit.
pub async fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the seconds since the Unix epoch.
pub fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}

/// Sends a signal to a process that a test started.
pub fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status();
    assert!(status.unwrap().success(), "kill -{name} {pid}");
}
