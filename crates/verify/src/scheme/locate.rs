//! Location of one value in the text of a JSON body.
//!
//! A retry may differ from the first attempt in the time that its sender writes into the body. With the location of that
//! value, the rest can be compared.

use std::fmt;
use std::ops::Range;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// Returns the bytes of the value at an RFC 6901 pointer, or `None` where the body is not JSON or has no such value.
///
/// Of two members with one key the last counts. No caller has to care: a scheme that reads a value refuses two of them.
pub fn find_value(body: &[u8], pointer: &[String]) -> Option<Range<usize>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut found = text;
    // One pass for each step, over ever smaller parts: linear in the body, since pointers are short.
    for step in pointer {
        let mut json = serde_json::Deserializer::from_str(found);
        // The rest of the value must be JSON too, or the parts could not be compared.
        let child = Child { step }.deserialize(&mut json).ok()??;
        json.end().ok()?;
        found = child.get();
    }
    // A raw value is a part of the text that it was read from.
    let start = found.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let end = start.checked_add(found.len())?;
    (end <= text.len()).then_some(start..end)
}

/// Finds one member of an object or one element of an array.
struct Child<'p> {
    step: &'p str,
}

impl<'de> DeserializeSeed<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match key == self.step {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let wanted: usize = self.step.parse().map_err(A::Error::custom)?;
        let mut found = None;
        let mut index = 0;
        while let Some(value) = seq.next_element::<&RawValue>()? {
            if index == wanted {
                found = Some(value);
            }
            index += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'b>(body: &'b str, pointer: &[&str]) -> Option<&'b str> {
        let pointer: Vec<String> = pointer.iter().map(|step| (*step).to_owned()).collect();
        find_value(body.as_bytes(), &pointer).and_then(|range| body.get(range))
    }

    /// Fails when the location is that of an equal value elsewhere, or begins beside the value.
    #[test]
    fn a_value_is_found_in_its_place() {
        let body = r#" {"a": 17, "é": [1, {"at" : 17 }], "at":"17"}"#;
        let inner = find_value(body.as_bytes(), &["é", "1", "at"].map(str::to_owned)).unwrap();
        assert_eq!(body.get(inner.clone()), Some("17"));
        assert_eq!(
            body.get(..inner.start),
            Some(r#" {"a": 17, "é": [1, {"at" : "#)
        );
        assert_eq!(found(body, &["at"]), Some("\"17\""));
        assert_eq!(found(body, &["a"]), Some("17"));
        for absent in [&["b"][..], &["a", "b"], &["é", "2"], &["é", "x"]] {
            assert_eq!(found(body, absent), None, "{absent:?}");
        }
        for broken in ["", "a=1", "{\"at\":1", "{\"at\":1}x", "\"at\""] {
            assert_eq!(found(broken, &["at"]), None, "{broken}");
        }
    }
}
