//! The gate: checks one request in a fixed order and returns an event or a reject.
//!
//! `admit` holds that order. The gate writes no logs and no counters, and it sends no response except one to a URL
//! check. It fills in a `Verdict` beside every admission, so that no code path can skip it. `pipeline` calls the gate
//! and carries out its decision.

mod admission;
mod admit;
mod arrival;
pub(crate) mod budget;
pub(crate) mod challenge;
mod check;
mod check_timings;
pub(crate) mod condition;
pub(crate) mod dedup;
mod dedup_check;
pub(crate) mod event;
pub(crate) mod filter;
mod filter_kind;
mod framing;
mod key_hash;
mod key_rule;
pub(crate) mod rate_limit;
pub(crate) mod reject;
pub(crate) mod route;
pub(crate) mod rules;
mod schema;
mod shared;
mod socket_peer;
mod spent_ids;
mod url_check;
pub(crate) mod verdict;
mod verify;

#[cfg(test)]
mod vector_tests;

pub(crate) use crate::gate::admission::GateAdmission;
pub(crate) use crate::gate::framing::host;
pub(crate) use crate::gate::shared::Gate;
