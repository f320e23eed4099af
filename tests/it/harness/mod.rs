//! Shared test harness: the gate as a process, a recording app, independent senders, raw sockets.
//!
//! The app, the certificates and waiting come from the rig that the unit tests share (`tests/rig`). The kernel chooses
//! every port.

#![allow(dead_code, reason = "each test file uses its part of the harness")]

pub mod blocking;
pub mod client;
pub mod command;
pub mod gate;
pub mod listener;
pub mod raw;
pub mod rude;
pub mod sender;
pub mod transcript;

#[path = "../../rig/mod.rs"]
mod rig;

pub use rig::*;

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
