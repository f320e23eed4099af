//! HTTP code that both directions share.
//!
//! Response bodies and problem documents, header rules, reading of bodies, the outgoing client and its egress guard,
//! fetches from providers, headers for upstreams, request files and special addresses. No module here knows a route or
//! decides about a request.

pub(crate) mod app_url;
pub(crate) mod client;
pub(crate) mod detach;
pub(crate) mod egress;
pub(crate) mod egress_proxy;
pub(crate) mod event_headers;
pub(crate) mod fetch;
pub(crate) mod headers;
pub(crate) mod https_request;
pub(crate) mod plain_path;
pub(crate) mod problem;
pub(crate) mod read_body;
pub(crate) mod request_file;
pub(crate) mod response;
pub(crate) mod response_check;
pub(crate) mod retry_after;
pub(crate) mod target_path;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text_file;
