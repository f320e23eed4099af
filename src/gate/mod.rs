//! The gate: head + body -> event or reject. No logging, no counters, no answers written.

pub mod challenge;
pub mod event;
pub mod identity;
mod pick;
pub mod reject;
pub mod route;
pub mod signature;
pub mod verdict;

#[cfg(test)]
mod vector_tests;
