//! HTTP helpers that both directions share: the answer's body, problem documents, header rules, reading a body, the
//! outgoing client, and fetching what providers publish.

pub mod answer;
pub mod client;
pub mod fetch;
pub mod headers;
pub mod outlive;
pub mod problem;
pub mod read_body;
pub mod remote_url;
