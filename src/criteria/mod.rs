//! What an event must be like, as the operator writes it: JSON Schemas, conditions in CEL. Compiled when the config is loaded, held against
//! verified events by `gate`.
//!
//! Nothing here reads a file or a socket. What is read from an event is the work of whoever can sign, which need not be
//! somebody who means well: depth, number of values and length of what is told are bounded.

pub mod body;
pub mod json;
pub mod schema;
pub mod when;
