//! `schemas` of a route: JSON Schema files by event type, read and compiled with the config, so that a schema that is
//! wrong is an error of the config and a reload takes a changed file.

use std::path::Path;
use std::sync::Arc;

use crate::config::verification::Origin;
use crate::config::{Context, file};
use crate::criteria::schema::Schema;
use crate::document::key::{Key, Kind};
use crate::document::table::{Fault, Table, Value};
use crate::document::value;
use crate::model::glob::Glob;

/// Published schemas of whole APIs stay below; more is another file by mistake.
const MAX_FILE: u64 = 4 << 20;

/// Reads and compiles each file.
pub(super) fn read(
    table: &mut Table<'_>,
    origin: Option<&Origin>,
    context: &Context,
) -> Vec<(Glob, Arc<Schema>)> {
    let has_type = origin.is_none_or(|origin| !origin.spec.event_type.is_empty());
    let mut schemas = Vec::new();
    for (name, value) in table.named_values(&SCHEMAS) {
        let glob = value.check(|_| pattern(name, has_type));
        let schema = value.check(|value| load(value, context));
        if let (Some(glob), Some(schema)) = (glob, schema) {
            schemas.push((glob.value, Arc::new(schema.value)));
        }
    }
    schemas
}

fn pattern(name: &str, has_type: bool) -> Result<Glob, Fault> {
    let glob = Glob::parse(name).map_err(|err| {
        let help = "the event type: characters stand for themselves, `*` for any run of them";
        Fault::new(format!("`{name}`: {err}"), help)
    })?;
    if name.starts_with('!') {
        let help = "name the types that it is for";
        return Err(Fault::new(
            format!("`{name}`: a schema is for events, not against them"),
            help,
        ));
    }
    if !has_type && !glob.is_any() {
        return Err(Fault::new(
            "no event of this route has a type that hookgate can read",
            "write `\"*\"`, which stands for every event",
        ));
    }
    Ok(glob)
}

fn load(value: &Value<'_>, context: &Context) -> Result<Schema, Fault> {
    let path = context.folder.join(value::path(value)?);
    let text = read_file(&path)?;
    Schema::compile(&text).map_err(|err| {
        let message = format!("cannot use `{}`: {err}", path.display());
        Fault::new(
            message,
            "mend the file; `$ref` reaches only what stands in it",
        )
    })
}

fn read_file(path: &Path) -> Result<String, Fault> {
    let fail = |what: &str| {
        let message = format!("cannot read `{}`: {what}", path.display());
        Fault::new(
            message,
            "a JSON Schema; the path is relative to this config",
        )
    };
    let mut bytes = Vec::new();
    file::read_into(&mut bytes, path, MAX_FILE, "it is larger than 4 MiB")
        .map_err(|what| fail(&what))?;
    String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8"))
}

pub(super) static SCHEMAS: Key = Key {
    name: "schemas",
    kind: Kind::Map(&Kind::Path),
    default: None,
    example: "{ \"invoice.*\" = \"schemas/invoice.json\" }",
    doc: "JSON Schema files by event type, with `*` as in `events`; each whose pattern matches must fit, others are answered 422. Read again on reload.",
};
