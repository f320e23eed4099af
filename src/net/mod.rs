//! HTTP helpers that both directions share: the answer's body, problem documents, header rules, reading a body, the
//! outgoing client, fetching what providers publish, and addresses that are none on the internet.

pub mod answer;
pub mod client;
pub mod fetch;
pub mod headers;
pub mod outlive;
pub mod problem;
pub mod read_body;
pub mod remote_url;
pub mod special;
#[cfg(test)]
pub(crate) mod testing;
