//! HTTP code that both directions share.
//!
//! Response bodies and problem documents, header rules, reading of bodies, the outgoing client and its egress guard,
//! fetches from providers, headers for upstreams, request files and special addresses. No module here knows a route or
//! decides about a request.

pub mod client;
pub mod detach;
pub mod egress;
pub mod event_headers;
pub mod fetch;
pub mod headers;
pub mod host;
pub mod plain_path;
pub mod problem;
pub mod read_body;
pub mod redact;
pub mod remote_url;
pub mod request_file;
pub mod response;
pub mod response_check;
pub mod special_addresses;
pub mod target_path;
#[cfg(test)]
pub(crate) mod testing;
pub mod text_file;
