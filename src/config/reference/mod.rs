//! Generators that read the key rows: JSON Schema, README reference, and `config.example.toml`.
//!
//! Tests compare the files with the output of this module. `UPDATE=1 cargo test` writes them.

mod example;
mod json_schema;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use serde_json::Value as Json;

pub use crate::config::reference::example::example;
pub use crate::config::reference::json_schema::schema;
use crate::config::{
    ADMIN, LOG, ROUTES, SERVER, STORE, TELEMETRY, TLS, admin, dedup, destination, destination_tls,
    log, retry, route, secrets, server, socket, store, telemetry, tls, upstreams,
};
use crate::document::key::{KeyDefinition, SectionDefinition};
use crate::scheme::parse;

/// The table at the root of the file.
static ROOT: SectionDefinition = SectionDefinition {
    path: "",
    doc: "The config of hookgate.",
    keys: &[&SERVER, &TLS, &ADMIN, &STORE, &LOG, &TELEMETRY, &ROUTES],
    required: &["routes"],
    one_of: &[],
};

/// The sections of the reference, in its order.
static SECTIONS: [&SectionDefinition; 19] = [
    &server::SECTION,
    &tls::SECTION,
    &tls::CERTIFICATE_SECTION,
    &admin::SECTION,
    &admin::TOKENS_SECTION,
    &admin::TLS_SECTION,
    &store::SECTION,
    &store::RETENTION_SECTION,
    &log::SECTION,
    &telemetry::SECTION,
    &route::SECTION,
    &upstreams::SECTION,
    &destination::SECTION,
    &retry::SECTION,
    &socket::SECTION,
    &destination_tls::SECTION,
    &secrets::SECTION,
    &dedup::SECTION,
    &parse::keys::SECTION,
];

/// Parses a default that is written as TOML; returns `None` for a default in words.
fn json_of(default: &str) -> Option<Json> {
    let table: toml::Table = toml::from_str(&format!("a = {default}")).ok()?;
    serde_json::to_value(table.get("a")?).ok()
}

/// Returns the reference of the README as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        // Arrays of tables have double brackets in TOML.
        let header = match section.path {
            "tls.certificates" | "admin.tokens" => format!("[[{}]]", section.path),
            path => format!("[{path}]"),
        };
        let _ = writeln!(out, "### `{header}`\n\n{}\n", section.doc);
        out.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
        for key in section.keys {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} |",
                key.name,
                key.kind.word(),
                default_cell(section, key),
                key.doc,
            );
        }
        out.push('\n');
    }
    out
}

fn default_cell(section: &SectionDefinition, key: &KeyDefinition) -> String {
    match key.default {
        Some(default) if json_of(default).is_some() => format!("`{default}`"),
        Some(default) => default.to_owned(),
        None if section.required.contains(&key.name) => "required".to_owned(),
        None if section.one_of.iter().any(|names| names.contains(&key.name)) => {
            "one of them is required".to_owned()
        }
        None => "not set".to_owned(),
    }
}
