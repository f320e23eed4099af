//! The only path to apps, destinations and collectors: every request that hookgate sends on purpose leaves here.
//!
//! `exchange` sends one request on a pooled connection and waits for the response, with one error type for all callers.
//! For a sender that waits, `forward` builds a new request from the event (`request`, `sign`), sends it to the upstream
//! of the route (`endpoint`) and relays the response (`response`). Deliveries from the store, the test commands and the
//! export of traces build their own requests and use `exchange`. Nothing here decides about an event: the caller spends
//! or releases the claim.

pub(crate) mod endpoint;
mod error;
mod exchange;
mod forward;
mod request;
mod response;
mod sign;

pub(crate) use crate::dispatch::endpoint::{RouteTargets, TargetError};
pub(crate) use crate::dispatch::error::DispatchError;
pub(crate) use crate::dispatch::exchange::exchange;
pub(crate) use crate::dispatch::forward::{UpstreamResponse, forward, forward_unverified};

#[cfg(test)]
mod tests;
