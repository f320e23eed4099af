//! `schemas` of a route: JSON Schema files by event type.
//!
//! They are read and compiled with the config. So an invalid schema is a config error, and a reload picks up a changed
//! file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::glob::GlobPattern;

use crate::config::file;
use crate::config::load_context::LoadContext;
use crate::config::model::SchemaRule;
use crate::config::scheme_origin::SchemeOrigin;
use crate::criteria::schema::EventSchema;

/// Largest schema file in bytes. Published schemas of whole APIs stay below; a larger file is probably the wrong one.
const MAX_FILE: u64 = 4 << 20;

/// Reads and compiles each schema file.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    origin: Option<&SchemeOrigin>,
    context: &LoadContext,
) -> Vec<SchemaRule> {
    let has_type = origin.is_none_or(|origin| !origin.spec.event_type.is_empty());
    let mut schemas = Vec::new();
    for (name, value) in table.named_values(&SCHEMAS) {
        // Check pattern and file independently, so that both errors are reported.
        let glob = value.check(|_| pattern(name, has_type));
        let loaded = value.check(|value| load(value, context));
        if let (Some(glob), Some(loaded)) = (glob, loaded) {
            let (path, schema) = loaded.value;
            schemas.push(SchemaRule {
                pattern: glob.value,
                path,
                schema: Arc::new(schema),
            });
        }
    }
    schemas
}

fn pattern(name: &str, has_type: bool) -> Result<GlobPattern, ValueFault> {
    let glob = GlobPattern::parse(name).map_err(|err| {
        let help =
            "write the event type: `*` matches any characters, other characters match themselves";
        ValueFault::new(format!("`{name}`: {err}"), help)
    })?;
    if name.starts_with('!') {
        let help = "name the event types that must fit the schema";
        return Err(ValueFault::new(
            format!("`{name}`: the pattern of a schema cannot exclude event types"),
            help,
        ));
    }
    if !has_type && !glob.is_any() {
        return Err(ValueFault::new(
            "hookgate cannot read the event type on this route",
            "write `\"*\"`, which matches every event",
        ));
    }
    Ok(glob)
}

fn load(
    value: &TomlValue<'_>,
    context: &LoadContext,
) -> Result<(PathBuf, EventSchema), ValueFault> {
    let path = context.folder.join(value::path(value)?);
    let text = read_file(&path)?;
    let schema = EventSchema::compile(&text).map_err(|err| {
        let message = format!("cannot use `{}`: {err}", path.display());
        ValueFault::new(
            message,
            "fix the file; `$ref` can refer only to parts of the same file",
        )
    })?;
    Ok((path, schema))
}

fn read_file(path: &Path) -> Result<String, ValueFault> {
    let fail = |what: &str| {
        let message = format!("cannot read `{}`: {what}", path.display());
        ValueFault::new(
            message,
            "name a JSON Schema file; a relative path starts at the folder of this config",
        )
    };
    let mut bytes = Vec::new();
    file::read_into(&mut bytes, path, MAX_FILE, "it is larger than 4 MiB")
        .map_err(|what| fail(&what))?;
    String::from_utf8(bytes).map_err(|_| fail("it is not valid UTF-8"))
}

pub(super) static SCHEMAS: KeyDefinition = KeyDefinition {
    name: "schemas",
    kind: ValueKind::Map(&ValueKind::Path),
    default: None,
    example: "{ \"invoice.*\" = \"schemas/invoice.json\" }",
    doc: "JSON Schema files by event type, with `*` as in `events`. The body must fit every schema whose pattern matches; other requests get 422. The files are read again on reload.",
};
