//! Types that every module shares: ids, secrets, clocks, request sources, rates, deliveries, traces.
//!
//! This module does no I/O, is not async and logs nothing. Nothing in it fails except parsing.

pub(crate) mod clock;
pub(crate) mod database;
pub(crate) mod delivery;
pub(crate) mod error;
pub(crate) mod ids;
pub(crate) mod problem;
pub(crate) mod route_scope;
pub(crate) mod source;
pub(crate) mod trace;
