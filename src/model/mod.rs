//! Types that every module shares: ids, secrets, clocks, request sources, rates, deliveries, traces.
//!
//! This module does no I/O, is not async and logs nothing. Nothing in it fails except parsing.

pub mod clock;
pub mod delivery;
pub mod error;
pub mod glob;
pub mod ids;
pub mod rate;
pub mod secret;
pub mod source;
pub mod span;
pub mod trace;
