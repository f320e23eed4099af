//! Strict parser of a whole JSON body, for schemas and conditions.
//!
//! It is stricter than `serde_json` alone: a key that appears twice in one object is an error, because the app's parser
//! may take the other value. Depth and number of values are bounded.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, Map, Number, Value};

/// Maximum nesting of objects and arrays, which is more than any known sender uses.
const MAX_DEPTH: usize = 64;

/// Maximum number of values in one body; a push of 2,000 commits has half of it.
const MAX_VALUES: usize = 100_000;

/// Maximum length of a parsed body in bytes. A config with a larger `max_body` on such a route is rejected.
pub(crate) const MAX_BODY: usize = 4 << 20;

/// Reason why a body is not valid, unambiguous JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum JsonFault {
    /// The bytes are not JSON, or there is more after the JSON value.
    #[error("the body is not JSON")]
    NotJson,
    /// An object has a key twice, so its meaning depends on the parser.
    #[error("the body has an object with a duplicate key")]
    Duplicate,
    /// Objects and arrays are nested deeper than `MAX_DEPTH`.
    #[error("the body is nested more than 64 levels deep")]
    TooDeep,
    /// The number of values exceeds `MAX_VALUES`.
    #[error("the body holds more than 100000 values")]
    TooMany,
    /// The body is longer than [`MAX_BODY`].
    #[error("the body is longer than 4 MiB")]
    TooLong,
}

#[cfg(test)]
thread_local! {
    /// Number of bodies that this thread parsed.
    pub(crate) static PARSED: Cell<usize> = const { Cell::new(0) };
}

/// Parses a whole body into a value.
///
/// # Errors
/// Returns a [`JsonFault`] if the body is not JSON, ambiguous or beyond a bound.
pub(crate) fn parse(body: &[u8]) -> Result<Value, JsonFault> {
    #[cfg(test)]
    PARSED.set(PARSED.get() + 1);
    if body.len() > MAX_BODY {
        return Err(JsonFault::TooLong);
    }
    // JSON must be UTF-8 (RFC 8259, section 8.1).
    let text = std::str::from_utf8(body).map_err(|_| JsonFault::NotJson)?;
    let bounds = JsonBounds {
        remaining: Cell::new(MAX_VALUES),
        // serde can only carry a text in its error, so the fault is passed beside it.
        fault: Cell::new(JsonFault::NotJson),
    };
    let seed = BoundedValueSeed {
        bounds: &bounds,
        depth: 0,
    };
    let mut deserializer = Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer);
    // More bytes after the value make the document ambiguous.
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|_| bounds.fault.get())
}

/// Remaining number of values, and the fault that stopped the parser.
struct JsonBounds {
    remaining: Cell<usize>,
    fault: Cell<JsonFault>,
}

/// Deserializer seed and visitor that count values and depth while they build the value.
#[derive(Clone, Copy)]
struct BoundedValueSeed<'b> {
    bounds: &'b JsonBounds,
    depth: usize,
}

impl BoundedValueSeed<'_> {
    /// Returns the seed for the next level, or an error beyond `MAX_DEPTH`.
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.fail(JsonFault::TooDeep));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    /// Notes the fault and returns an error that stops the parser.
    fn fail<E: Error>(self, fault: JsonFault) -> E {
        self.bounds.fault.set(fault);
        E::custom(fault)
    }
}

impl<'de> DeserializeSeed<'de> for BoundedValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        match self.bounds.remaining.get().checked_sub(1) {
            Some(left) => self.bounds.remaining.set(left),
            None => return Err(self.fail(JsonFault::TooMany)),
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BoundedValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| self.fail(JsonFault::NotJson))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            // The keys are compared after decoding, so an escaped spelling counts as the same key.
            if map.insert(key, value).is_some() {
                return Err(self.fail(JsonFault::Duplicate));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_parsers_read_differently_is_a_fault() {
        let deep = |count: usize| format!("{}{}", "[".repeat(count), "]".repeat(count));
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        let long = format!("\"{}\"", "x".repeat(MAX_BODY));
        for (body, fault) in [
            ("", JsonFault::NotJson),
            ("{", JsonFault::NotJson),
            ("{}x", JsonFault::NotJson),
            ("\u{feff}{}", JsonFault::NotJson),
            ("[1e999]", JsonFault::NotJson),
            ("[NaN]", JsonFault::NotJson),
            (r#"{"a":1,"b":{"c":1,"c":1}}"#, JsonFault::Duplicate),
            (r#"{"a":1,"\u0061":2}"#, JsonFault::Duplicate),
            (deep(65).as_str(), JsonFault::TooDeep),
            (deep(100_000).as_str(), JsonFault::TooDeep),
            (many.as_str(), JsonFault::TooMany),
            (long.as_str(), JsonFault::TooLong),
        ] {
            let start: String = body.chars().take(20).collect();
            assert_eq!(parse(body.as_bytes()), Err(fault), "{start}");
        }
        assert_eq!(parse(b"\"\xff\""), Err(JsonFault::NotJson));
        assert!(parse(deep(64).as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn all_else_is_what_serde_json_reads(text in r#"[\[\]{}",:01a.\\ -]{0,24}"#) {
            let ours = parse(text.as_bytes());
            let theirs = serde_json::from_str::<Value>(&text);
            if ours != Err(JsonFault::Duplicate) {
                prop_assert_eq!(ours.ok(), theirs.ok());
            }
        }
    }
}
