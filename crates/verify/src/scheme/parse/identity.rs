//! Parser for `[identity]` of a provider file: the dedup key and the events of a batch.

use crate::document::key::{KeyDefinition, ValueKind};
use crate::document::table::{TomlTable, TomlValue, ValueFault};
use crate::document::value;
use crate::scheme::parse::keys::{CLAIM, FORM, HEADER, JSON, QUERY};
use crate::scheme::parse::locations;
use crate::scheme::spec::{BatchSpec, FieldLocation, IdentityKey, KeyPart};

/// Reads a key: one location, `all` of several parts, `signed_bytes`, or `nothing`. Leaves all other keys to the
/// caller.
pub(crate) fn identity_key(table: &mut TomlTable<'_>) -> Option<IdentityKey> {
    let has_nothing = table.read(&NOTHING, value::boolean).unwrap_or(false);
    let has_location = has_location(table);
    let forms = [
        has_nothing,
        table.has(&SIGNED_BYTES),
        table.has(&ALL),
        has_location,
    ];
    // Two forms would be two keys, and it would be unclear which one counts.
    if forms.into_iter().filter(|is_there| *is_there).count() != 1 {
        table.absent(
            format!("`{}` must have exactly one key that identifies an event", table.path()),
            "write one of `header`, `json`, `form`, `query`, `claim`, `all = [...]`, `signed_bytes = true` and `nothing = true`",
        );
        return None;
    }
    if has_nothing {
        return Some(IdentityKey::default());
    }
    if table.has(&ALL) {
        let parts = all(table)?;
        return Some(IdentityKey { parts });
    }
    let part = part(table)?;
    Some(IdentityKey { parts: vec![part] })
}

/// Reads `batch`: the location of its elements, and the location of the type in each of them. Leaves all other keys to
/// the caller.
pub(crate) fn batch(table: &mut TomlTable<'_>) -> Option<BatchSpec> {
    let elements = table.require(&ELEMENTS, pointer);
    let event_type = table.has(&ELEMENT_TYPE);
    let event_type = match event_type {
        true => Some(table.read(&ELEMENT_TYPE, pointer)?),
        false => None,
    };
    Some(BatchSpec {
        elements: elements?.value,
        event_type,
    })
}

/// Reads `place`: one location or a list of them.
pub(crate) fn locations(
    table: &mut TomlTable<'_>,
    key: &KeyDefinition,
) -> Option<Vec<FieldLocation>> {
    locations::fields(table, key)
}

fn has_location(table: &TomlTable<'_>) -> bool {
    let keys = [&HEADER, &JSON, &FORM, &QUERY, &CLAIM];
    keys.into_iter().any(|key| table.has(key))
}

/// Reads the parts of `all`; each is a table, or a list of alternatives.
fn all(table: &mut TomlTable<'_>) -> Option<Vec<KeyPart>> {
    let value = table.value(&ALL)?;
    let path = format!("{}.all", table.path());
    let Some(items) = value.items().filter(|items| !items.is_empty()) else {
        value.fault(value.unexpected("a list of locations", ALL.example));
        return None;
    };
    let parts = items.iter().map(|item| element(item, &path));
    parts.collect()
}

fn element(item: &TomlValue<'_>, path: &str) -> Option<KeyPart> {
    let alternatives = item.items().unwrap_or_else(|| vec![*item]);
    let mut fields = Vec::new();
    for alternative in &alternatives {
        let Some(mut inner) = alternative.table(alternative.span(), path.to_owned()) else {
            alternative.fault(alternative.unexpected("a table", ALL.example));
            return None;
        };
        let part = part(&mut inner);
        inner.deny_unknown();
        match part? {
            // It is always present, so alternatives after it would never be used.
            KeyPart::SignedBytes if alternatives.len() == 1 => return Some(KeyPart::SignedBytes),
            KeyPart::SignedBytes => {
                alternative.fault(ValueFault::new(
                    "`signed_bytes` cannot have alternatives, because it is always present",
                    "put it into a separate element",
                ));
                return None;
            }
            KeyPart::Fields(found) => fields.extend(found),
        }
    }
    Some(KeyPart::Fields(fields))
}

fn part(table: &mut TomlTable<'_>) -> Option<KeyPart> {
    if table.read(&SIGNED_BYTES, value::boolean) == Some(true) {
        return Some(KeyPart::SignedBytes);
    }
    let field = locations::field(table)?;
    Some(KeyPart::Fields(vec![field]))
}

fn pointer(value: &TomlValue<'_>) -> Result<Vec<String>, ValueFault> {
    let text = value::text(value)?;
    locations::parse_pointer(&text).ok_or_else(|| {
        ValueFault::new(
            format!("`{text}` is not a JSON pointer"),
            "write it as in `\"/events/*\"`, where `*` matches each element",
        )
    })
}

static NOTHING: KeyDefinition = KeyDefinition {
    name: "nothing",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Requests have nothing that identifies the event, so there is no dedup.",
};

static SIGNED_BYTES: KeyDefinition = KeyDefinition {
    name: "signed_bytes",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Uses the digest of the signed bytes. For senders whose events never have equal bytes.",
};

static ALL: KeyDefinition = KeyDefinition {
    name: "all",
    kind: ValueKind::Text,
    default: None,
    example: "[{ header = \"X-Channel\" }, { header = \"X-Number\" }]",
    doc: "Several parts that together identify an event. An element may be a list of alternatives.",
};

static ELEMENTS: KeyDefinition = KeyDefinition {
    name: "elements",
    kind: ValueKind::Text,
    default: None,
    example: "\"/events/*\"",
    doc: "Location of the events in a body with several of them; `*` matches each element of an array.",
};

static ELEMENT_TYPE: KeyDefinition = KeyDefinition {
    name: "type",
    kind: ValueKind::Text,
    default: None,
    example: "\"/type\"",
    doc: "Location of the event type, as a pointer inside one element.",
};
