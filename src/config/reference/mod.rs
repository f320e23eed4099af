//! Generators that read the key rows: JSON Schema, Markdown reference, and `config.example.toml`.
//!
//! Tests compare the files with the output of this module. `tests/renew` writes them. The man page
//! hookgate.toml(5) reads the same [`sections`].

#[cfg(test)]
mod example;
mod json_schema;
#[cfg(test)]
mod markdown;
#[cfg(test)]
mod tests;
mod toml_value;

use hookgate_verify::document::key::{SectionDefinition, ValueKind};

pub(crate) use crate::config::reference::json_schema::schema;
use crate::config::reference::toml_value::json_of;
use crate::config::root::ROOT;

/// A table of the config, as the reference lists it.
pub(crate) struct ListedSection {
    /// The header as TOML writes it, such as `[server]` or `[[admin.tokens]]`; words for the keys without one.
    pub(crate) header: String,
    pub(crate) definition: &'static SectionDefinition,
}

/// Returns every table of the config once, in the order of the reference: a table before the tables within it.
pub(crate) fn sections() -> Vec<ListedSection> {
    // The keys before the first table, which have no header of their own.
    let mut listed = vec![ListedSection {
        header: "The top of the file".to_owned(),
        definition: &ROOT,
    }];
    list_below(&ROOT, &mut listed);
    // Few routes have a scheme of their own, and its many tables would separate a route from its destinations.
    listed.sort_by_key(|section: &ListedSection| {
        section.definition.path.starts_with("routes.NAME.scheme")
    });
    listed
}

/// Lists the tables below a section that are not listed yet.
fn list_below(section: &SectionDefinition, listed: &mut Vec<ListedSection>) {
    for key in section.keys {
        for table in key.kind.sections() {
            let is_listed = listed
                .iter()
                .any(|other| other.definition.path == table.path);
            // A table that several sections share, such as that of a secret, follows the section in its path.
            if is_listed || !table.path.starts_with(section.path) {
                continue;
            }
            let header = match key.kind {
                ValueKind::Tables(_) => format!("[[{}]]", table.path),
                _ => format!("[{}]", table.path),
            };
            listed.push(ListedSection {
                header,
                definition: table,
            });
            list_below(table, listed);
        }
    }
}

/// Returns a default as the reference writes it: a TOML value in backticks, or words as they are.
pub(crate) fn default_text(default: &str) -> String {
    match json_of(default) {
        Some(_) => format!("`{default}`"),
        None => default.to_owned(),
    }
}
