//! Compiled JSON Schema and its validation errors.
//!
//! Nothing is ever fetched: a reference to another file or host is rejected when the schema is compiled. Patterns run
//! on an engine whose time is linear in the text. A validation error shows location and rule, never a value of the
//! body.

use std::fmt;

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

/// Maximum number of errors that are reported for one value.
const MAX_MISFITS: usize = 5;

/// Maximum number of characters of one error, and of its location.
const MAX_TEXT: usize = 120;

/// Maximum number of characters of a message about the operator's schema.
const MAX_MESSAGE: usize = 400;

/// A compiled JSON Schema without references to other documents.
pub struct EventSchema {
    validator: Validator,
}

/// Reason why a text is not a usable schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The text is not JSON; the message has line and column.
    #[error("it is not JSON: {0}")]
    Json(String),
    /// The text is JSON, but not a valid schema.
    #[error("it is not a JSON Schema: at `{location}`: {message}")]
    Schema {
        /// JSON pointer into the schema.
        location: String,
        /// Description of the error at this location.
        message: String,
    },
}

/// A location of the body that violates the schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaViolation {
    /// JSON pointer into the body, cut if it is long.
    pub location: Box<str>,
    /// Violated rule, without values of the body, cut if it is long.
    pub fault: Box<str>,
}

impl EventSchema {
    /// Compiles a schema from its JSON text.
    ///
    /// # Errors
    /// If the text is not a JSON Schema, or refers to another file.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        let schema: Value =
            serde_json::from_str(text).map_err(|err| SchemaError::Json(err.to_string()))?;
        let options = jsonschema::options()
            .with_retriever(NoRetrieval)
            // The engine without look-around and backreferences never backtracks, so no pattern is exponential.
            .with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|err| SchemaError::Schema {
            location: match err.instance_path().as_str() {
                "" => "/".to_owned(),
                place => place.to_owned(),
            },
            message: cut(&err, MAX_MESSAGE).into(),
        })?;
        Ok(Self { validator })
    }

    /// Returns the first violations, at most `MAX_MISFITS`; empty if the value is valid.
    #[must_use]
    pub fn misfits(&self, value: &Value) -> Vec<SchemaViolation> {
        // The plain check is faster than collecting errors, and most events are valid.
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let errors = self.validator.iter_errors(value).take(MAX_MISFITS);
        let mut misfits: Vec<_> = errors
            .map(|err| SchemaViolation {
                location: cut(err.instance_path(), MAX_TEXT),
                // Masked: a message with values would put data of the event into the log.
                fault: cut(&err.masked(), MAX_TEXT),
            })
            .collect();
        if misfits.is_empty() {
            // Only reached if both functions of the library disagree. An invalid value must not pass.
            misfits.push(SchemaViolation {
                location: "".into(),
                fault: "the value is not valid".into(),
            });
        }
        misfits
    }
}

impl fmt::Display for SchemaViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.location.is_empty() {
            "/"
        } else {
            &self.location
        };
        write!(f, "{place}: {}", self.fault)
    }
}

/// Retriever that rejects every reference to another document.
struct NoRetrieval;

impl Retrieve for NoRetrieval {
    fn retrieve(&self, _: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err("a `$ref` can only refer to the same file, for example to `#/$defs/name`".into())
    }
}

/// Cuts a text at `limit` characters; `…` marks a cut.
fn cut(text: &dyn fmt::Display, limit: usize) -> Box<str> {
    let text = text.to_string();
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn misfits(schema: &Value, value: &Value) -> Vec<String> {
        let schema = EventSchema::compile(&schema.to_string()).unwrap();
        schema
            .misfits(value)
            .iter()
            .map(SchemaViolation::to_string)
            .collect()
    }

    #[test]
    fn misfits_have_a_place_and_a_rule_and_no_value() {
        let schema = json!({
            "type": "object",
            "required": ["id"],
            "properties": { "id": {}, "amount": { "type": "integer" }, "mail": { "pattern": "^[a-z]+$" } },
            "additionalProperties": false,
        });
        assert_eq!(misfits(&schema, &json!({ "id": 1, "amount": 2 })), [""; 0]);
        let all = misfits(
            &schema,
            &json!({ "amount": "hush", "mail": "HUSH", "more": "hush" }),
        );
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(
            all.iter().any(|text| text.starts_with("/amount: ")),
            "{all:?}"
        );
        assert!(!all.concat().to_lowercase().contains("hush"), "{all:?}");
    }

    #[test]
    fn reported_texts_are_bounded() {
        let schema = json!({ "items": { "type": "string" }, "additionalProperties": false });
        let list: Vec<u32> = (0..1000).collect();
        assert_eq!(misfits(&schema, &json!(list)).len(), MAX_MISFITS);
        let long = "k".repeat(5000);
        let all = misfits(&schema, &json!({ long: 1 }));
        assert!(all.concat().chars().count() < 3 * MAX_TEXT, "{all:?}");
    }

    /// Fails if references are fetched, or silently ignored.
    #[test]
    fn nothing_is_fetched() {
        for reference in [
            "http://127.0.0.1:1/x.json",
            "file:///etc/passwd",
            "other.json",
        ] {
            let schema = json!({ "$ref": reference }).to_string();
            assert!(EventSchema::compile(&schema).is_err(), "{reference}");
        }
        for schema in [
            "{",
            "[]",
            "7",
            r#"{"type":"nothing"}"#,
            r#"{"pattern":"("}"#,
            r#"{"pattern":"(?=x)"}"#,
        ] {
            assert!(EventSchema::compile(schema).is_err(), "{schema}");
        }
        let inner = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "string" } } });
        assert_eq!(misfits(&inner, &json!(1)).len(), 1);
    }
}
