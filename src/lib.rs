//! hookgate: an edge proxy that verifies webhooks and forwards only the genuine ones.
//!
//! The rooms in the order of the flow; imports go one way, from the later room to the earlier one. ARCHITECTURE.md has
//! the map, `pipeline` the way of one request.

pub mod model;

pub mod net;

pub mod criteria;
pub mod document;
pub mod scheme;

pub mod providers;

pub mod config;

pub mod keys;
pub mod ranges;

pub mod edge;
pub mod gate;
pub mod store;

pub mod forward;
pub mod inbox;
pub mod record;

pub mod deliver;

pub mod pipeline;

pub mod explain;

pub mod admin;
pub mod console;

pub mod app;

pub mod testing;

pub mod cli;
