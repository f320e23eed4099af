//! A compiled JSON Schema, and what of a value does not fit it.
//!
//! References to other files or hosts are refused when it is compiled: nothing is fetched. Patterns run on an engine whose
//! time grows with the text only. What is told of a misfit are the place and the rule, never a value of the body.

use std::fmt;

use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

/// Misfits that are told of one value.
const MAX_MISFITS: usize = 5;

/// Characters that are told of one misfit, and of its place.
const MAX_TEXT: usize = 120;

/// Characters of a message about a schema of the operator's.
const MAX_MESSAGE: usize = 400;

/// A compiled schema.
pub struct Schema {
    validator: Validator,
}

/// Why a text is no schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The text is not JSON; the message has line and column.
    #[error("it is not JSON: {0}")]
    Json(String),
    /// It is JSON, but no schema that can be used.
    #[error("it is not a JSON Schema: at `{place}`: {message}")]
    Schema {
        /// A JSON pointer into the schema.
        place: String,
        /// What is wrong there.
        message: String,
    },
}

/// One place that does not fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfit {
    /// A JSON pointer into the body, cut where it is long.
    pub place: Box<str>,
    /// Which rule it breaks, cut where it is long.
    pub fault: Box<str>,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// A text that is no JSON Schema, or that refers to another file.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        let schema: Value =
            serde_json::from_str(text).map_err(|err| SchemaError::Json(err.to_string()))?;
        let options = jsonschema::options()
            .with_retriever(Nowhere)
            .with_pattern_options(PatternOptions::regex());
        let validator = options.build(&schema).map_err(|err| SchemaError::Schema {
            place: match err.instance_path().as_str() {
                "" => "/".to_owned(),
                place => place.to_owned(),
            },
            message: cut(&err, MAX_MESSAGE).into(),
        })?;
        Ok(Self { validator })
    }

    /// The first places that do not fit; none where all fits.
    #[must_use]
    pub fn misfits(&self, value: &Value) -> Vec<Misfit> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        let errors = self.validator.iter_errors(value).take(MAX_MISFITS);
        let mut misfits: Vec<_> = errors
            .map(|err| Misfit {
                place: cut(err.instance_path(), MAX_TEXT),
                fault: cut(&err.masked(), MAX_TEXT),
            })
            .collect();
        if misfits.is_empty() {
            // The two ways of the library would have to disagree. What does not fit must not pass.
            misfits.push(Misfit {
                place: "".into(),
                fault: "it does not fit".into(),
            });
        }
        misfits
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() {
            "/"
        } else {
            &self.place
        };
        write!(f, "{place}: {}", self.fault)
    }
}

/// Fetches nothing.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, _: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err("only what stands in the same file, such as under `$defs`, can be referred to".into())
    }
}

/// As much of a text as is told.
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

    fn told(schema: &Value, value: &Value) -> Vec<String> {
        let schema = Schema::compile(&schema.to_string()).unwrap();
        schema
            .misfits(value)
            .iter()
            .map(Misfit::to_string)
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
        assert_eq!(told(&schema, &json!({ "id": 1, "amount": 2 })), [""; 0]);
        let all = told(
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
    fn what_is_told_is_bounded() {
        let schema = json!({ "items": { "type": "string" }, "additionalProperties": false });
        let list: Vec<u32> = (0..1000).collect();
        assert_eq!(told(&schema, &json!(list)).len(), MAX_MISFITS);
        let long = "k".repeat(5000);
        let all = told(&schema, &json!({ long: 1 }));
        assert!(all.concat().chars().count() < 3 * MAX_TEXT, "{all:?}");
    }

    /// Fails when references are resolved, or left out without a word.
    #[test]
    fn nothing_is_fetched() {
        for reference in [
            "http://127.0.0.1:1/x.json",
            "file:///etc/passwd",
            "other.json",
        ] {
            let schema = json!({ "$ref": reference }).to_string();
            assert!(Schema::compile(&schema).is_err(), "{reference}");
        }
        for schema in [
            "{",
            "[]",
            "7",
            r#"{"type":"nothing"}"#,
            r#"{"pattern":"("}"#,
            r#"{"pattern":"(?=x)"}"#,
        ] {
            assert!(Schema::compile(schema).is_err(), "{schema}");
        }
        let inner = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "string" } } });
        assert_eq!(told(&inner, &json!(1)).len(), 1);
    }
}
