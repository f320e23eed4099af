//! hookgate: an edge proxy that verifies webhooks and forwards only the genuine ones.
//!
//! The modules appear in the order of the flow. Imports go one way, from a later module to an earlier one.
//! ARCHITECTURE.md describes each module; `pipeline` follows one request from its head to its response.

mod model;

mod net;

mod criteria;

mod client_certs;

mod config;

mod keys;
mod ranges;

mod edge;
mod gate;
mod store;

mod acme;

mod dispatch;

mod alerts;
mod inbox;
mod record;

mod deliver;

mod pipeline;

mod explain;

mod admin;
mod console;

mod app;

pub mod testing;

mod cli;

#[doc(hidden)]
pub mod internals;

#[cfg(test)]
#[path = "../tests/rig/mod.rs"]
mod test_rig;

pub use crate::cli::main as run;
