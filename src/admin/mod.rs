//! The operator's door: metrics and health.
