//! The Markdown of the config reference, which a test compares with the docs.

use std::fmt::Write;

use crate::config::reference::json_of;
use crate::config::{
    admin, dedup, destination, destination_tls, log, retry, route, secrets, server, socket, store,
    telemetry, tls, upstreams,
};
use crate::document::key::{KeyDefinition, SectionDefinition};
use crate::scheme::parse;

/// The sections of the reference, in its order.
pub(super) static SECTIONS: [&SectionDefinition; 19] = [
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

/// Returns the reference of the README as Markdown.
pub(super) fn markdown() -> String {
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
