//! The Markdown of the config reference, which a test compares with the docs.

use std::fmt::Write;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition};

use crate::config::reference::{default_text, sections};

/// Returns the tables of the config reference as Markdown.
pub(super) fn markdown() -> String {
    let mut out = String::new();
    for listed in sections() {
        let section = listed.definition;
        let header = match section.path {
            "" => listed.header,
            _ => format!("`{}`", listed.header),
        };
        let _ = writeln!(out, "## {header}\n\n{}\n", section.doc);
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
        Some(default) => default_text(default),
        None if section.required.contains(&key.name) => "required".to_owned(),
        None if section.one_of.iter().any(|names| names.contains(&key.name)) => {
            "one of them is required".to_owned()
        }
        None => "not set".to_owned(),
    }
}
