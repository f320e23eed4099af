//! Operator's criteria for events: JSON Schemas and conditions in CEL.
//!
//! They are compiled when the config is loaded, and `gate` evaluates them on verified events. This module never reads a
//! file or a socket. A sender with a valid signature may still be hostile, so depth, number of values and length of
//! messages are bounded.

pub(crate) mod body;
pub(crate) mod json;
pub(crate) mod schema;
pub(crate) mod when;
