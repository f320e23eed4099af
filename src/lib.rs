//! hookgate: an edge proxy that verifies webhooks and forwards only the genuine ones.
//!
//! The modules appear in the order of the flow. Imports go one way, from a later module to an earlier one.
//! ARCHITECTURE.md describes each module; `pipeline` follows one request from its head to its response.

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
