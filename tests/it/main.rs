//! Integration tests: the real binary with real sockets, in front of an app that records every byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test that meets something unexpected shall panic, and reads the clock as the outside world does"
)]

mod acme;
mod harness;

mod admin;
mod alerts;
mod book;
mod boundary;
mod budget;
mod capture;
mod challenge;
mod cli;
mod client_certs;
mod clock_steps;
mod closing;
mod config;
mod config_files;
mod config_option;
mod console;
mod contract;
mod crash;
mod deadlines;
mod dedup;
mod destinations;
mod documents;
mod egress;
mod explain;
mod filter;
mod forward;
mod house;
mod http2;
mod http_signature;
mod hybrid;
mod identity;
mod inbox;
mod inbox_cli;
mod limits;
mod listen;
mod local;
mod monitor;
mod nodes;
mod oauth;
mod once;
mod postgres;
mod privacy;
mod promote;
mod record;
mod reload;
mod routing;
mod same_bytes;
mod schema;
mod schemes;
mod secrets;
mod send;
mod shutdown;
mod signature;
mod smoke;
mod sockets;
mod stacks;
mod status;
mod store_cli;
mod store_faults;
mod systemd;
mod testing;
mod tokens;
mod traces;
mod upstream_tls;
mod watching;
mod wire;
