//! Schema, reference and example.
