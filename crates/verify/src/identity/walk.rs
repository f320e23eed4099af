//! Walk over every value of a JSON body at a path with wildcards, in one pass and without building the rest.
//!
//! Repeated keys are walked all, so that no value stays unseen whichever one the app takes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One value at the end of the path, or where the path breaks off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WalkedValue<'t> {
    /// A string, or the digits of an integer.
    Text(&'t str),
    /// `null`.
    Null,
    /// Something else, or a path that breaks off.
    Odd,
}

/// Reports every value at the end of `steps`, of which `*` is each element of a list. A path that breaks off is reported
/// within its last `inner` steps only: before them the body is of another kind. Returns whether the body is JSON up to the
/// end of its value.
pub(super) fn walk_values(
    body: &[u8],
    steps: &[Box<str>],
    inner: usize,
    report: &mut dyn FnMut(WalkedValue<'_>),
) -> bool {
    let Ok(text) = std::str::from_utf8(body) else {
        return false;
    };
    // From text, not from bytes: serde_json accepts invalid UTF-8 in strings that it skips.
    let mut json = serde_json::Deserializer::from_str(text);
    let walk = ValueWalk {
        steps,
        inner,
        report,
    };
    walk.deserialize(&mut json).is_ok()
}

/// Reads one value on the path.
struct ValueWalk<'w> {
    steps: &'w [Box<str>],
    inner: usize,
    report: &'w mut dyn FnMut(WalkedValue<'_>),
}

impl ValueWalk<'_> {
    fn found(self, text: &str) {
        match self.steps.is_empty() {
            true => (self.report)(WalkedValue::Text(text)),
            false => self.end(WalkedValue::Odd),
        }
    }

    fn end(self, value: WalkedValue<'_>) {
        // Before the last `inner` steps, an end only means that the body is of another kind.
        if self.steps.len() <= self.inner {
            (self.report)(value);
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueWalk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueWalk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.found(text);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.found(&number.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.found(&number.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.end(WalkedValue::Odd);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.end(WalkedValue::Odd);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.end(WalkedValue::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        match self.steps.split_first() {
            Some((step, rest)) if **step == *"*" => {
                while items
                    .next_element_seed(ValueWalk {
                        steps: rest,
                        inner: self.inner,
                        report: &mut *self.report,
                    })?
                    .is_some()
                {}
            }
            _ => {
                // Not the expected structure. The elements must still be consumed, so that the rest of the document can
                // be read.
                while items.next_element::<IgnoredAny>()?.is_some() {}
                self.end(WalkedValue::Odd);
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let wanted = self.steps.split_first();
        let mut is_found = false;
        // The loop goes on after a hit: a repeated key is reported each time, because the app may read either value.
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match wanted {
                Some((step, rest)) if **step == *key => {
                    is_found = true;
                    map.next_value_seed(ValueWalk {
                        steps: rest,
                        inner: self.inner,
                        report: &mut *self.report,
                    })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if !is_found {
            self.end(WalkedValue::Odd);
        }
        Ok(())
    }
}
