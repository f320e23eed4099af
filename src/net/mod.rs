//! HTTP helpers that both directions share: the answer's body, problem documents, header rules, reading a body, the
//! outgoing client, what apps are told, fetching what providers publish, requests as files, and addresses that are none
//! on the internet.

pub mod answer;
pub mod client;
pub mod egress;
pub mod fetch;
pub mod headers;
pub mod hide;
pub mod host;
pub mod outgoing;
pub mod outlive;
pub mod plain_path;
pub mod problem;
pub mod read_body;
pub mod remote_url;
pub mod request_file;
pub mod sound;
pub mod special;
pub mod target_path;
#[cfg(test)]
pub(crate) mod testing;
pub mod text_file;
