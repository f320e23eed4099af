//! The edge: turns sockets into HTTP requests.
//!
//! It knows no webhooks and logs nothing. Everything that happens below the level of requests is counted (`counters`)
//! and reported to an observer (`event`).
//!
//! An `EdgeServer` survives reloads: a reload replaces the settings it holds, but not its limits and counters. The path of a
//! connection is in `connection`.

mod certificate_index;
mod certificate_store;
pub(crate) mod certificates;
pub(crate) mod challenge;
pub(crate) mod chunk_check;
mod client_auth;
mod connection;
mod connection_shared;
mod connection_watch;
pub(crate) mod counters;
mod error;
pub(crate) mod event;
mod frame_watch;
mod handler;
pub(crate) mod head_check;
mod head_guard;
mod header_block;
mod http1;
mod http1_builder;
mod http2;
mod limits;
pub(crate) mod listener;
pub(crate) mod managed;
mod proxy_protocol;
mod request_check;
mod server;
mod server_state;
pub(crate) mod settings;
mod source;
mod stop_signal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

pub(crate) use crate::edge::error::EdgeError;
pub(crate) use crate::edge::server_state::{EdgeObserver, EdgeServer};
