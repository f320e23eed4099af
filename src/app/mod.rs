//! Builds everything from a config, runs it, and changes it alive.

pub mod hardening;
pub mod systemd;
