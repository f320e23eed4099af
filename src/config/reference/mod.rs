//! Generators that read the key rows: JSON Schema, README reference, and `config.example.toml`.
//!
//! Tests compare the files with the output of this module. `UPDATE=1 cargo test` writes them.

#[cfg(test)]
mod example;
mod json_schema;
#[cfg(test)]
mod markdown;
#[cfg(test)]
mod tests;

use serde_json::Value as Json;

pub(crate) use crate::config::reference::json_schema::schema;

/// Parses a default that is written as TOML; returns `None` for a default in words.
fn json_of(default: &str) -> Option<Json> {
    let table: toml::Table = toml::from_str(&format!("a = {default}")).ok()?;
    serde_json::to_value(table.get("a")?).ok()
}
