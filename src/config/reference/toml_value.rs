//! Values that are written as TOML.

use serde_json::Value as Json;

/// Parses a default that is written as TOML; returns `None` for a default in words.
pub(crate) fn json_of(default: &str) -> Option<Json> {
    let table: toml::Table = toml::from_str(&format!("a = {default}")).ok()?;
    serde_json::to_value(table.get("a")?).ok()
}
