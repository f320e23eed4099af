//! The gate: head + body -> event or reject. No logging, no counters, no answers written.

pub mod event;
pub mod reject;
pub mod route;
pub mod verdict;
