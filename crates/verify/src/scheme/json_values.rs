//! Reader that picks single values from a JSON body in one pass, without building the rest.
//!
//! Stricter than the parsers of most apps on purpose. A key that occurs twice on the path to a wanted value is
//! reported, because one parser takes the first and another the last, so gate and app could read different ids from one
//! signed body. Invalid UTF-8 anywhere is an error. Other values are skipped without recursion, so nesting costs no
//! stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess};
use serde::de::{Unexpected, Visitor};

/// RFC 6901 pointers, joined into one tree.
pub struct ValuePicker {
    root: PointerNode,
    count: usize,
}

/// Value that was found at one pointer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PickedValue<'b> {
    /// No value is present, or it is `null`.
    Absent,
    /// A string, or the digits of an integer.
    Text(Cow<'b, str>),
    /// A boolean, `true` or `false`.
    Bool(bool),
    /// A value of another type.
    Odd,
    /// A key on the path occurs twice.
    Duplicate,
}

/// Reason why no value can be read from a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PickError {
    /// The body does not begin like a JSON object or array.
    NotJson,
    /// The body begins like JSON but is not valid.
    Broken,
}

#[derive(Default)]
struct PointerNode {
    /// Positions of the pointers that end here.
    ends: Vec<usize>,
    children: Vec<(Box<str>, PointerNode)>,
    /// Children whose key is an array index, parsed once: a body may have a million elements.
    indexes: Vec<(usize, usize)>,
}

impl ValuePicker {
    /// Joins the pointers; their values come back in the same order.
    pub fn new<'p>(pointers: impl IntoIterator<Item = &'p [String]>) -> Self {
        let mut root = PointerNode::default();
        let mut count = 0;
        for pointer in pointers {
            root.insert(pointer, count);
            count += 1;
        }
        Self { root, count }
    }

    /// Reads the whole body, so that a duplicate after a found value is detected too.
    pub fn pick<'b>(&self, body: &'b [u8]) -> Result<Vec<PickedValue<'b>>, PickError> {
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        if !matches!(body.iter().find(|byte| !is_space(byte)), Some(b'{' | b'[')) {
            return Err(PickError::NotJson);
        }
        // The whole body at once, because serde_json does not check the text of values that it skips.
        let text = std::str::from_utf8(body).map_err(|_| PickError::Broken)?;
        let mut slots = vec![PickedValue::Absent; self.count];
        let mut json = serde_json::Deserializer::from_str(text);
        let walk = NodeValueSeed {
            node: &self.root,
            slots: &mut slots,
        };
        // `end` rejects text after the document.
        let walked = walk.deserialize(&mut json).and_then(|()| json.end());
        walked.map_err(|_| PickError::Broken)?;
        Ok(slots)
    }
}

impl PointerNode {
    fn insert(&mut self, pointer: &[String], slot: usize) {
        let Some((key, rest)) = pointer.split_first() else {
            self.ends.push(slot);
            return;
        };
        let position = self.children.iter().position(|(name, _)| **name == **key);
        let position = position.unwrap_or_else(|| {
            let position = self.children.len();
            // RFC 6901 section 4: array indexes have no leading zeros.
            let is_canonical = key == "0" || !key.starts_with(['0', '+']);
            if let Some(index) = key.parse().ok().filter(|_| is_canonical) {
                self.indexes.push((index, position));
            }
            self.children.push((key.as_str().into(), Self::default()));
            position
        });
        if let Some((_, child)) = self.children.get_mut(position) {
            child.insert(rest, slot);
        }
    }

    /// Fills every slot of this node and below it.
    fn fill<'b>(&self, slots: &mut [PickedValue<'b>], value: &PickedValue<'b>) {
        self.fill_ends(slots, value);
        for (_, child) in &self.children {
            child.fill(slots, value);
        }
    }

    fn fill_ends<'b>(&self, slots: &mut [PickedValue<'b>], value: &PickedValue<'b>) {
        for end in &self.ends {
            if let Some(slot) = slots.get_mut(*end) {
                *slot = value.clone();
            }
        }
    }
}

/// Visitor for the value at one node of the tree.
struct NodeValueSeed<'n, 's, 'b> {
    node: &'n PointerNode,
    slots: &'s mut [PickedValue<'b>],
}

impl<'b> NodeValueSeed<'_, '_, 'b> {
    fn end(self, value: &PickedValue<'b>) {
        self.node.fill_ends(self.slots, value);
    }
}

impl<'b> DeserializeSeed<'b> for NodeValueSeed<'_, '_, 'b> {
    type Value = ();

    fn deserialize<D: Deserializer<'b>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'b> Visitor<'b> for NodeValueSeed<'_, '_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'b str) -> Result<(), E> {
        self.end(&PickedValue::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.end(&PickedValue::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.end(&PickedValue::Text(Cow::Owned(number.to_string())));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.end(&PickedValue::Text(Cow::Owned(number.to_string())));
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        // Integers beyond 64 bits come here too. Parsers print such numbers differently, so gate and app could read two
        // ids.
        self.end(&PickedValue::Odd);
        Ok(())
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.end(&PickedValue::Bool(truth));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        // `null` counts as absent, so the slot stays as it is.
        Ok(())
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<(), A::Error> {
        // A pointer that ends at an object has no scalar value.
        self.node.fill_ends(self.slots, &PickedValue::Odd);
        let mut seen = vec![false; self.node.children.len()];
        while let Some(position) = map.next_key_seed(ChildKeySeed(self.node))? {
            // Keys without a wanted value are skipped without being parsed.
            let child = position.and_then(|position| self.node.children.get(position));
            let seen = position.and_then(|position| seen.get_mut(position));
            let (Some((_, child)), Some(seen)) = (child, seen) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // Report the duplicate at every wanted value below this key.
            if std::mem::replace(seen, true) {
                child.fill(self.slots, &PickedValue::Duplicate);
                map.next_value::<IgnoredAny>()?;
            } else {
                let slots = &mut *self.slots;
                map.next_value_seed(NodeValueSeed { node: child, slots })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut list: A) -> Result<(), A::Error> {
        self.node.fill_ends(self.slots, &PickedValue::Odd);
        let mut index = 0usize;
        loop {
            let mut indexes = self.node.indexes.iter();
            let child = indexes.find(|(wanted, _)| *wanted == index);
            let child = child.and_then(|(_, position)| self.node.children.get(*position));
            let more = match child {
                Some((_, child)) => {
                    let slots = &mut *self.slots;
                    list.next_element_seed(NodeValueSeed { node: child, slots })?
                        .is_some()
                }
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(());
            }
            index = index
                .checked_add(1)
                .ok_or_else(|| A::Error::invalid_length(index, &"a list that fits into memory"))?;
        }
    }
}

/// Finds an unescaped key among the children of a node.
struct ChildKeySeed<'n>(&'n PointerNode);

impl<'b> DeserializeSeed<'b> for ChildKeySeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'b>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for ChildKeySeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        // A linear search: a node has only a few children.
        Ok(self.0.children.iter().position(|(name, _)| **name == *key))
    }

    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Option<usize>, E> {
        Err(E::invalid_type(Unexpected::Bytes(key), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(pointers: &[&[&str]], body: &str) -> Result<Vec<String>, PickError> {
        let owned = |keys: &&[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let pointers: Vec<Vec<String>> = pointers.iter().map(owned).collect();
        let picker = ValuePicker::new(pointers.iter().map(Vec::as_slice));
        let picked = picker.pick(body.as_bytes())?;
        let text = |picked| match picked {
            PickedValue::Absent => "absent".to_owned(),
            PickedValue::Text(text) => format!("={text}"),
            PickedValue::Bool(_) | PickedValue::Odd => "odd".to_owned(),
            PickedValue::Duplicate => "duplicate".to_owned(),
        };
        Ok(picked.into_iter().map(text).collect())
    }

    fn one(body: &str) -> String {
        match pick(&[&["a", "b"]], body) {
            Ok(picked) => picked.concat(),
            Err(err) => format!("{err:?}"),
        }
    }

    #[test]
    fn values_are_found_where_the_pointer_says() {
        assert_eq!(one(r#"{"a":{"b":"x"}}"#), "=x");
        assert_eq!(
            one(r#" {"z":[{"a":{"b":1}}],"a":{"c":{"b":"no"},"b":"x"}} "#),
            "=x"
        );
        assert_eq!(one(r#"{"\u0061":{"b":"\u0078\ny"}}"#), "=x\ny");
        assert_eq!(one(r#"{"a":{"b":42}}"#), "=42");
        assert_eq!(one(r#"{"a":{"b":-42}}"#), "=-42");
        assert_eq!(
            one(r#"{"a":{"b":18446744073709551615}}"#),
            "=18446744073709551615"
        );
        for absent in [
            r"{}",
            r#"{"a":null}"#,
            r#"{"a":{}}"#,
            r#"{"a":{"b":null}}"#,
            r#"{"a":"b"}"#,
            "[]",
        ] {
            assert_eq!(one(absent), "absent", "{absent}");
        }
        for odd in [
            "1.0",
            "1e3",
            "18446744073709551616",
            "true",
            "{}",
            "[]",
            r#"["x"]"#,
        ] {
            assert_eq!(one(&format!(r#"{{"a":{{"b":{odd}}}}}"#)), "odd", "{odd}");
        }
    }

    #[test]
    fn several_pointers_are_read_in_one_pass() {
        let pointers: &[&[&str]] = &[
            &["id"],
            &["event", "type"],
            &["type"],
            &["list", "1", "id"],
            &["id"],
        ];
        let body = r#"{"type":"t","event":{"type":"e"},"list":[{"id":"no"},{"id":"l"},{"id":"no"}],"id":"i"}"#;
        assert_eq!(
            pick(pointers, body).unwrap(),
            ["=i", "=e", "=t", "=l", "=i"]
        );
        let body = r#"{"list":{"1":{"id":"by key"},"01":{"id":"no"}}}"#;
        assert_eq!(
            pick(pointers, body).unwrap(),
            ["absent", "absent", "absent", "=by key", "absent"]
        );
        assert_eq!(
            pick(&[&["01"], &["+1"], &["1"]], "[0,7]").unwrap(),
            ["absent", "absent", "=7"]
        );
    }

    #[test]
    fn a_key_that_stands_twice_on_the_way_is_reported() {
        for body in [
            r#"{"a":{"b":"x"},"a":{"b":"x"}}"#,
            r#"{"a":{"b":"x","b":"x"}}"#,
            r#"{"a":{"b":"x","c":0,"\u0062":"y"}}"#,
            r#"{"a":{"b":"x"},"a":null}"#,
            r#"{"a":null,"a":{"b":"x"}}"#,
            r#"{"a":1,"a":2,"a":{"b":"x"}}"#,
        ] {
            assert_eq!(one(body), "duplicate", "{body}");
        }
        assert_eq!(one(r#"{"a":{"b":"x"},"z":1,"z":2}"#), "=x");
    }

    #[test]
    fn what_is_not_json_and_what_is_broken_are_told_apart() {
        for text in ["", " ", "a=b", "\"a\"", "1", "\u{feff}{}", "<xml/>"] {
            assert_eq!(one(text), "NotJson", "{text:?}");
        }
        for text in [
            "{",
            r#"{"a":{"b":"x"}"#,
            r#"{"a":{"b":"x"}} x"#,
            r#"{"a":{"b":"x"}}{}"#,
            r#"{"a":{"b":"x"},}"#,
            r#"{"z":"\x","a":{"b":"x"}}"#,
            "{'a':1}",
        ] {
            assert_eq!(one(text), "Broken", "{text}");
        }
        let picker = ValuePicker::new([["a".to_owned()].as_slice()]);
        let bad = b"{\"z\":\"\xff\",\"a\":\"x\"}";
        assert_eq!(picker.pick(bad), Err(PickError::Broken));
    }

    #[test]
    fn depth_in_skipped_values_costs_no_stack() {
        let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(one(&format!(r#"{{"z":{deep},"a":{{"b":"x"}}}}"#)), "=x");
        assert_eq!(one(&format!(r#"{{"a":{{"b":{deep}}}}}"#)), "odd");
        let open = r#"{"a":"#.repeat(200_000);
        assert_eq!(one(&open), "Broken");
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let picker = ValuePicker::new([["a".to_owned()].as_slice()]);
            let _ = picker.pick(&body);
        }

        #[test]
        fn it_reads_what_the_full_parser_reads(body in r#"[{](\"[ab]\":([{]\"[ab]\":[01]{1,2}[}]|\"x\"|1),?){0,3}[}]"#) {
            let value: Result<serde_json::Value, _> = serde_json::from_str(&body);
            let picked = one(&body);
            match value {
                Err(_) => proptest::prop_assert_eq!(picked, "Broken"),
                Ok(value) => match value.pointer("/a/b") {
                    _ if picked == "duplicate" => {}
                    Some(found) => proptest::prop_assert_eq!(picked, format!("={found}")),
                    None => proptest::prop_assert_eq!(picked, "absent"),
                },
            }
        }
    }
}
