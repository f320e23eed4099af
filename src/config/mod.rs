//! Config text -> `Config`, with every error at once.

pub mod model;
