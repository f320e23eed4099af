//! Generator of the JSON Schema of the config file.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use serde_json::{Map, Value as Json, json};

use crate::config::reference::toml_value::json_of;
use crate::config::root::ROOT;

/// Returns the JSON Schema (draft 2020-12) of the config file.
pub(crate) fn schema() -> Json {
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

fn section_schema(section: &SectionDefinition, definitions: &mut Map<String, Json>) -> Json {
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

fn kind_schema(kind: &ValueKind, definitions: &mut Map<String, Json>) -> Json {
    match kind {
        ValueKind::Bool => json!({ "type": "boolean" }),
        ValueKind::Text
        | ValueKind::Path
        | ValueKind::Network
        | ValueKind::Address
        | ValueKind::Time => {
            json!({ "type": "string" })
        }
        ValueKind::Choice(choices) => json!({ "enum": choices }),
        ValueKind::Count => json!({ "type": "integer", "minimum": 1 }),
        ValueKind::Amount => json!({ "type": "integer", "minimum": 0 }),
        ValueKind::Number => json!({ "type": "number" }),
        ValueKind::Duration => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" }),
        ValueKind::Size => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$" },
            { "type": "integer", "minimum": 1 },
        ] }),
        ValueKind::Rate => json!({ "anyOf": [
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
        ValueKind::Url => json!({ "type": "string", "pattern": "^https?://" }),
        ValueKind::AppUrl => json!({ "type": "string", "pattern": "^(https?://|unix:[/@])" }),
        ValueKind::List(item) => {
            json!({ "type": "array", "items": kind_schema(item, definitions) })
        }
        ValueKind::OneOrMore(item) => {
            let item = kind_schema(item, definitions);
            json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
        }
        ValueKind::Either(left, right) => {
            let (left, right) = (
                kind_schema(left, definitions),
                kind_schema(right, definitions),
            );
            json!({ "anyOf": [left, right] })
        }
        ValueKind::FalseOr(other) => {
            json!({ "anyOf": [{ "const": false }, kind_schema(other, definitions)] })
        }
        ValueKind::Table(section) => reference_to(section, definitions),
        ValueKind::Tables(section) => {
            json!({ "type": "array", "items": reference_to(section, definitions) })
        }
        ValueKind::Map(value) => {
            json!({ "type": "object", "additionalProperties": kind_schema(value, definitions) })
        }
        ValueKind::Named(section) => {
            json!({ "type": "object", "additionalProperties": reference_to(section, definitions) })
        }
    }
}

fn reference_to(section: &SectionDefinition, definitions: &mut Map<String, Json>) -> Json {
    if !definitions.contains_key(section.path) {
        // Inserted before its content, so that a section that contains itself does not recurse forever.
        definitions.insert(section.path.to_owned(), Json::Null);
        let schema = section_schema(section, definitions);
        definitions.insert(section.path.to_owned(), schema);
    }
    json!({ "$ref": format!("#/$defs/{}", section.path) })
}

fn description(key: &KeyDefinition) -> String {
    match key.default {
        Some(default) => format!("{} Default: {default}. Example: {}", key.doc, key.example),
        None => format!("{} Example: {}", key.doc, key.example),
    }
}
