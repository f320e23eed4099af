//! The nouns that every room shares: ids, secrets, the clock, the source of a request, rates; stretches of time in words.
//!
//! No I/O, no async, no logging; nothing here fails except in parsing.

pub mod clock;
pub mod delivery;
pub mod error;
pub mod glob;
pub mod ids;
pub mod rate;
pub mod secret;
pub mod source;
pub mod span;
pub mod trace;
