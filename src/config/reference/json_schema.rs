//! Generator of the JSON Schema of the config file.

use serde_json::{Map, Value as Json, json};

use crate::config::reference::{ROOT, json_of};
use crate::document::key::{Key, Kind, Section};

/// Returns the JSON Schema (draft 2020-12) of the config file.
#[must_use]
pub fn schema() -> Json {
    let mut definitions = Map::new();
    let root = section_schema(&ROOT, &mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hookgate.toml",
        "$defs": definitions,
    });
    if let (Some(schema), Json::Object(root)) = (schema.as_object_mut(), root) {
        schema.extend(root);
    }
    schema
}

fn section_schema(section: &Section, definitions: &mut Map<String, Json>) -> Json {
    let mut properties = Map::new();
    for key in section.keys {
        let mut schema = kind_schema(&key.kind, definitions);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(description(key)));
            if let Some(default) = key.default.and_then(json_of) {
                schema.insert("default".to_owned(), default);
            }
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let choices: Vec<Json> = section
        .one_of
        .iter()
        .map(|names| {
            let each = names.iter().map(|name| json!({ "required": [name] }));
            json!({ "oneOf": each.collect::<Vec<_>>() })
        })
        .collect();
    let mut schema = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": section.required,
        "additionalProperties": false,
    });
    // `allOf` of `oneOf`: each group of alternatives must have exactly one member.
    if let (Some(schema), false) = (schema.as_object_mut(), choices.is_empty()) {
        schema.insert("allOf".to_owned(), json!(choices));
    }
    schema
}

fn kind_schema(kind: &Kind, definitions: &mut Map<String, Json>) -> Json {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Text | Kind::Path | Kind::Network | Kind::Address | Kind::Time => {
            json!({ "type": "string" })
        }
        Kind::Choice(choices) => json!({ "enum": choices }),
        Kind::Count => json!({ "type": "integer", "minimum": 1 }),
        Kind::Amount => json!({ "type": "integer", "minimum": 0 }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Duration => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" }),
        Kind::Size => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$" },
            { "type": "integer", "minimum": 1 },
        ] }),
        Kind::Rate => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+/[smh]$" },
            {
                "type": "object",
                "properties": {
                    "per_second": { "type": "integer", "minimum": 1 },
                    "burst": { "type": "integer", "minimum": 1 },
                },
                "required": ["per_second"],
                "additionalProperties": false,
            },
        ] }),
        Kind::Url => json!({ "type": "string", "pattern": "^https?://" }),
        Kind::List(item) => json!({ "type": "array", "items": kind_schema(item, definitions) }),
        Kind::OneOrMore(item) => {
            let item = kind_schema(item, definitions);
            json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
        }
        Kind::Either(left, right) => {
            let (left, right) = (
                kind_schema(left, definitions),
                kind_schema(right, definitions),
            );
            json!({ "anyOf": [left, right] })
        }
        Kind::FalseOr(other) => {
            json!({ "anyOf": [{ "const": false }, kind_schema(other, definitions)] })
        }
        Kind::Table(section) => reference_to(section, definitions),
        Kind::Tables(section) => {
            json!({ "type": "array", "items": reference_to(section, definitions) })
        }
        Kind::Map(value) => {
            json!({ "type": "object", "additionalProperties": kind_schema(value, definitions) })
        }
        Kind::Named(section) => {
            json!({ "type": "object", "additionalProperties": reference_to(section, definitions) })
        }
    }
}

fn reference_to(section: &Section, definitions: &mut Map<String, Json>) -> Json {
    if !definitions.contains_key(section.path) {
        // Inserted before its content, so that a section that contains itself does not recurse forever.
        definitions.insert(section.path.to_owned(), Json::Null);
        let schema = section_schema(section, definitions);
        definitions.insert(section.path.to_owned(), schema);
    }
    json!({ "$ref": format!("#/$defs/{}", section.path) })
}

fn description(key: &Key) -> String {
    match key.default {
        Some(default) => format!("{} Default: {default}. Example: {}", key.doc, key.example),
        None => format!("{} Example: {}", key.doc, key.example),
    }
}
