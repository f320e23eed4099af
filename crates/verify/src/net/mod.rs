//! Hosts and URLs: which of them are public, and how they are shown without their secrets.

pub mod host;
pub mod redact;
pub mod remote_url;
pub mod special_addresses;
