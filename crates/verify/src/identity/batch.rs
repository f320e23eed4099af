//! Event types of a batch, which is a body with several events.
//!
//! A batch is wanted if one of its events is. The body is read in one pass, and only the distinct types are kept.

use crate::scheme::spec::BatchSpec;

use crate::identity::walk::{WalkedValue, walk_values};

/// Limit of the distinct types kept for one batch. A batch with more counts as wanted by every filter, so that no event
/// is lost.
const MAX_TYPES: usize = 64;

/// The distinct event types of one batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BatchTypes {
    known: Vec<Box<str>>,
    /// True if some element has no readable type.
    has_untyped: bool,
    /// True if the batch has more types than [`MAX_TYPES`].
    is_cut: bool,
}

/// The locations of the events of a batch and of their types.
pub struct BatchReader {
    steps: Box<[Box<str>]>,
    /// Number of steps at the end that are inside an element.
    inner: usize,
}

impl BatchTypes {
    /// Returns whether the body has no types of a batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && !self.has_untyped && !self.is_cut
    }

    /// Returns whether the batch has more types than are kept.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the distinct types of the events and the type of the request as a whole. `None` is an unknown type.
    pub fn each<'t>(&'t self, single: Option<&'t str>) -> impl Iterator<Item = Option<&'t str>> {
        let is_known = single.is_some_and(|text| self.known.iter().any(|known| **known == *text));
        // The type of the request as a whole counts too, unless one of the events has the same.
        let is_needed = self.is_empty() || (single.is_some() && !is_known);
        let alone = is_needed.then_some(single);
        let untyped = (self.has_untyped || self.is_cut).then_some(None);
        let known = self.known.iter().map(|text| Some(&**text));
        known.chain(alone).chain(untyped)
    }

    /// Returns whether at least one event is wanted; `wants` gets `None` for an unknown type.
    pub fn any(&self, single: Option<&str>, wants: impl Fn(Option<&str>) -> bool) -> bool {
        self.is_cut || self.each(single).any(wants)
    }

    fn add(&mut self, text: &str) {
        if self.known.iter().any(|known| **known == *text) {
            return;
        }
        match self.known.len() < MAX_TYPES {
            true => self.known.push(text.into()),
            false => self.is_cut = true,
        }
    }
}

impl BatchReader {
    /// Creates a reader; `None` if the sender's events have no type.
    #[must_use]
    pub fn new(spec: &BatchSpec) -> Option<Self> {
        let event_type = spec.event_type.as_ref()?;
        let steps = spec.elements.iter().chain(event_type);
        Some(Self {
            steps: steps.map(|step| step.as_str().into()).collect(),
            inner: event_type.len(),
        })
    }

    /// Reads the types. A body that is not JSON is not a batch.
    #[must_use]
    pub fn types(&self, body: &[u8]) -> BatchTypes {
        let mut types = BatchTypes::default();
        let is_whole = walk_values(body, &self.steps, self.inner, &mut |value| match value {
            WalkedValue::Text(text) => types.add(text),
            WalkedValue::Null | WalkedValue::Odd => types.has_untyped = true,
        });
        // A truncated body may have had more events, whose types are unknown.
        if !is_whole && !types.is_empty() {
            types.has_untyped = true;
        }
        types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(elements: &[&str], body: &str) -> Vec<String> {
        let steps = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect();
        let spec = BatchSpec {
            elements: steps(elements),
            event_type: Some(steps(&["type"])),
        };
        let types = BatchReader::new(&spec).unwrap().types(body.as_bytes());
        let each = types.each(Some("alone"));
        each.map(|text| text.unwrap_or("?").to_owned()).collect()
    }

    #[test]
    fn each_type_of_a_batch_is_read_once() {
        let body = r#"[{"type":"a"},{"n":1,"type":"b"},{"type":"a"}]"#;
        assert_eq!(types(&["*"], body), ["a", "b", "alone"]);
        let nested =
            r#"{"entry":[{"changes":[{"type":"a"},{"type":7}]},{"changes":[{"type":"b"}]}]}"#;
        assert_eq!(
            types(&["entry", "*", "changes", "*"], nested),
            ["a", "7", "b", "alone"]
        );
    }

    /// Fails when an event with an unknown type is left out of the list.
    #[test]
    fn an_element_without_a_type_is_seen() {
        for body in [
            r#"[{"type":"a"},{}]"#,
            r#"[{"type":"a"},{"type":null}]"#,
            r#"[{"type":"a"},{"type":"#,
        ] {
            assert_eq!(types(&["*"], body), ["a", "alone", "?"], "{body}");
        }
        assert_eq!(types(&["*"], "[]"), ["alone"]);
        assert_eq!(types(&["*"], "a=b"), ["alone"]);
        assert_eq!(types(&["*"], r#"{"type":"b"}"#), ["alone"]);
        assert_eq!(types(&["events", "*"], r#"{"type":"b"}"#), ["alone"]);
    }

    #[test]
    fn a_batch_with_too_many_types_is_wanted() {
        let elements: Vec<String> = (0..=MAX_TYPES)
            .map(|n| format!(r#"{{"type":"{n}"}}"#))
            .collect();
        let spec = BatchSpec {
            elements: vec!["*".to_owned()],
            event_type: Some(vec!["type".to_owned()]),
        };
        let body = format!("[{}]", elements.join(","));
        let types = BatchReader::new(&spec).unwrap().types(body.as_bytes());
        assert!(types.any(None, |_| false));
    }
}
