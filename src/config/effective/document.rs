//! Values of the effective config, and the builder of one section.
//!
//! Tables keep the order of their entries, so that the document reads like the reference of the config.

use std::fmt;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

/// One value of the effective config.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum EffectiveValue {
    /// Entries in the order of the section.
    Table(EffectiveTable),
    /// Values that contain tables.
    List(Vec<EffectiveValue>),
    /// Any value without a table whose order matters.
    Plain(Json),
}

/// A table of the effective config: names and values in their order.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct EffectiveTable {
    /// Every name with its value.
    pub(crate) entries: Vec<(String, EffectiveValue)>,
}

/// Field beside the keys of a section, which programs of API users may read.
#[derive(Clone, Copy)]
pub(super) enum ExtraField {
    /// Labels of a route's secrets.
    Secrets,
    /// A route or destination has a condition.
    HasWhen,
    /// A route signs forwarded requests.
    SignsUpstream,
    /// The key that identifies an event, in words.
    DedupKey,
    /// The key counts together with the digest of the body.
    BindsBody,
    /// A destination gets signed requests.
    IsSigned,
    /// A destination gets requests that are signed in the sender's scheme.
    Resign,
    /// Count of the encryption keys of the store.
    EncryptionKeys,
}

/// Builder of the table of one section.
///
/// Values are set under the definitions that the reader uses. A test fails if a key of a section has no value.
pub(super) struct SectionDocument {
    section: &'static SectionDefinition,
    values: Vec<(&'static KeyDefinition, EffectiveValue)>,
    extras: Vec<(ExtraField, EffectiveValue)>,
}

impl EffectiveValue {
    /// Creates a table of named tables, such as the routes.
    pub(super) fn named(entries: impl Iterator<Item = (String, Self)>) -> Self {
        Self::Table(EffectiveTable {
            entries: entries.collect(),
        })
    }

    /// Returns whether the value is null: the key is off or not set.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Plain(Json::Null))
    }

    /// Returns the value under a name of the table.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Table(table) = self else {
            return None;
        };
        let mut entries = table.entries.iter();
        entries.find_map(|(key, value)| (key == name).then_some(value))
    }
}

impl Default for EffectiveValue {
    fn default() -> Self {
        Self::Plain(Json::Null)
    }
}

impl From<Option<Self>> for EffectiveValue {
    fn from(value: Option<Self>) -> Self {
        value.unwrap_or_default()
    }
}

impl From<Vec<Self>> for EffectiveValue {
    fn from(values: Vec<Self>) -> Self {
        Self::List(values)
    }
}

impl Serialize for EffectiveTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for EffectiveTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

/// Visitor that keeps the order of a map, which the maps of `serde_json` lose.
struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = EffectiveTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EffectiveTable, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(EffectiveTable { entries })
    }
}

impl ExtraField {
    fn name(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::HasWhen => "has_when",
            Self::SignsUpstream => "signs_upstream",
            Self::DedupKey => "key",
            Self::BindsBody => "binds_body",
            Self::IsSigned => "is_signed",
            Self::Resign => "resign",
            Self::EncryptionKeys => "encryption_keys",
        }
    }
}

impl SectionDocument {
    pub(super) fn new(section: &'static SectionDefinition) -> Self {
        Self {
            section,
            values: Vec::new(),
            extras: Vec::new(),
        }
    }

    /// Sets the value of a key of this section.
    pub(super) fn set(self, key: &'static KeyDefinition, value: impl Into<Json>) -> Self {
        self.nest(key, EffectiveValue::Plain(value.into()))
    }

    /// Sets the value of a key whose value has tables.
    pub(super) fn nest(
        mut self,
        key: &'static KeyDefinition,
        value: impl Into<EffectiveValue>,
    ) -> Self {
        self.values.push((key, value.into()));
        self
    }

    /// Adds a field that is not a key of the config.
    pub(super) fn extra(mut self, field: ExtraField, value: impl Into<Json>) -> Self {
        let value = EffectiveValue::Plain(value.into());
        self.extras.push((field, value));
        self
    }

    /// Returns the table: the keys in the order of the section, then the other fields.
    pub(super) fn finish(mut self) -> EffectiveValue {
        let mut entries = Vec::new();
        for key in self.section.keys {
            // By address, because two keys of different sections may have the same name.
            let is_it = |(set, _): &(&KeyDefinition, EffectiveValue)| std::ptr::eq(*set, *key);
            if let Some(position) = self.values.iter().position(is_it) {
                let (_, value) = self.values.swap_remove(position);
                entries.push((key.name.to_owned(), value));
            }
        }
        debug_assert!(self.values.is_empty(), "a key is not of this section");
        let extras = self.extras.into_iter();
        entries.extend(extras.map(|(field, value)| (field.name().to_owned(), value)));
        EffectiveValue::Table(EffectiveTable { entries })
    }
}
