//! Ways of signing: compiled once when the config is loaded, then driven by the gate.

pub mod spec;
