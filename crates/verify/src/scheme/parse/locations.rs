//! Parser for locations in a request: signatures, timestamps, ids and tokens.

use crate::document::key::KeyDefinition;
use crate::document::table::{TomlTable, TomlValue, ValueFault};
use crate::document::value;
use crate::scheme::parse::keys::{
    ABSENT, ASSIGN, BASE64_JSON, BASIC, CLAIM, FORM, HEADER, JSON, KEY, LIST, NUMBERED, PREFIX,
    QUERY, QUOTED, SETS, TRIM, UNIT, VALUE, WITHOUT,
};
use crate::scheme::spec::{
    FieldLocation, ListSpec, RequirementRule, SchemeLocation, SchemeRequirement, SignatureSpec,
    TimeUnit, TimestampSpec, TokenLocation,
};

/// Highest number of a numbered header. DocuSign allows 100 keys, each with a header of its own
/// (<https://developers.docusign.com/platform/webhooks/connect/hmac/>).
const MAX_NUMBERED: usize = 100;

/// Reads the locations of the signature; returns `None` if one of them is wrong.
pub(super) fn signatures(
    table: &mut TomlTable<'_>,
    key: &KeyDefinition,
) -> Option<Vec<SignatureSpec>> {
    if !table.has(key) {
        table.missing(key);
    }
    let places = each(table, key, |table| {
        let signature = signature(table);
        let numbered = table.read(&NUMBERED, |value| value::amount(value, MAX_NUMBERED));
        Some(numbered_locations(signature?, numbered))
    })?;
    Some(places.into_iter().flatten().collect())
}

/// Expands a numbered header into one location for each number from 1 on; returns other locations unchanged.
fn numbered_locations(signature: SignatureSpec, numbered: Option<usize>) -> Vec<SignatureSpec> {
    // Only header names can be numbered.
    let (Some(last), SchemeLocation::Header(stem)) = (numbered, &signature.location) else {
        return vec![signature];
    };
    let names = (1..=last).filter_map(|number| format!("{stem}{number}").parse().ok());
    names
        .map(|name| SignatureSpec {
            location: SchemeLocation::Header(name),
            ..signature.clone()
        })
        .collect()
}

/// Reads the rules for other values of the request; returns `None` if one of them is wrong.
pub(super) fn requirements(
    table: &mut TomlTable<'_>,
    key: &KeyDefinition,
) -> Option<Vec<SchemeRequirement>> {
    each(table, key, |table| {
        let place = parse_location(table);
        let rule = rule(table);
        Some(SchemeRequirement {
            location: place?,
            rule: rule?,
        })
    })
}

fn rule(table: &mut TomlTable<'_>) -> Option<RequirementRule> {
    let value = table.read(&VALUE, value::text).map(RequirementRule::Is);
    let without = table
        .read(&WITHOUT, value::text)
        .map(RequirementRule::Without);
    let absent = table.read(&ABSENT, value::boolean);
    let absent = absent.and_then(|is_absent| is_absent.then_some(RequirementRule::Absent));
    let mut rules = [value, without, absent].into_iter().flatten();
    let rule = rules.next();
    // Several rules for one value belong into separate entries.
    if rule.is_none() || rules.next().is_some() {
        table.absent(
            format!("`{}` must have exactly one rule", table.path()),
            "add one of `value = \"TEXT\"`, `without = \"TEXT\"` and `absent = true`",
        );
        return None;
    }
    rule
}

/// Reads the locations of an id or a type; returns `None` if one of them is wrong.
pub(super) fn fields(table: &mut TomlTable<'_>, key: &KeyDefinition) -> Option<Vec<FieldLocation>> {
    each(table, key, field)
}

/// Reads one location of an id, a type or a part of a key.
pub(super) fn field(table: &mut TomlTable<'_>) -> Option<FieldLocation> {
    if table.has(&CLAIM) {
        return table.read(&CLAIM, value::text).map(FieldLocation::Claim);
    }
    // Together they mean JSON inside a form field, not two locations.
    if table.has(&FORM) && table.has(&JSON) {
        let form = table.read(&FORM, value::text);
        let json = table.read(&JSON, pointer);
        return Some(FieldLocation::FormJson(form?, json?));
    }
    Some(match parse_location(table)? {
        SchemeLocation::Header(name) => FieldLocation::Header(name),
        SchemeLocation::Query(name) => FieldLocation::Query(name),
        SchemeLocation::Form(name) => FieldLocation::Form(name),
        SchemeLocation::Json(pointer) => FieldLocation::Json(pointer),
    })
}

/// Reads one table, or a list of them. An absent key gives an empty list.
pub(super) fn each<'a, T>(
    table: &mut TomlTable<'a>,
    key: &KeyDefinition,
    mut parse: impl FnMut(&mut TomlTable<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    if !table.has(key) {
        table.value(key);
        return Some(Vec::new());
    }
    let value = table.value(key)?;
    let path = format!("{}.{}", table.path(), key.name);
    let items = value.items().unwrap_or_else(|| vec![value]);
    let parsed: Vec<Option<T>> = items
        .iter()
        .map(|item| {
            let Some(mut inner) = item.table(item.span(), path.clone()) else {
                item.fault(item.unexpected("a table", key.example));
                return None;
            };
            let parsed = parse(&mut inner);
            inner.deny_unknown();
            parsed
        })
        // Read all items before failing, so that every error is reported at once.
        .collect();
    parsed.into_iter().collect()
}

fn signature(table: &mut TomlTable<'_>) -> Option<SignatureSpec> {
    let place = parse_location(table);
    let base64_json = table.read_placed(&BASE64_JSON, pointer);
    let prefix = table.read(&PREFIX, value::any_text).unwrap_or_default();
    let separator = table.read(&LIST, value::character);
    let key = table.read_placed(&KEY, value::any_text);
    let assign = table.read(&ASSIGN, value::character);
    let trim = table.read(&TRIM, value::boolean).unwrap_or(false);
    let is_quoted = table.read(&QUOTED, value::boolean).unwrap_or(false);
    let sets = table.read(&SETS, value::character);
    if let (Some(key), None) = (&key, separator) {
        let fault = ValueFault::new(
            "`key` requires `list`",
            "add `list = \",\"` with the character between the entries",
        );
        table.error(key.span, fault);
        return None;
    }
    if let (Some(base64_json), Some(_)) = (&base64_json, separator) {
        let fault = ValueFault::new(
            "a value is either a list or base64 of a JSON object",
            "remove `base64_json` or `list`",
        );
        table.error(base64_json.span, fault);
        return None;
    }
    let key = key.map(|key| key.value).unwrap_or_default();
    let list = separator.map(|separator| ListSpec {
        separator,
        any_key: key == "*",
        key,
        assign: assign.unwrap_or('='),
        trim,
        is_quoted,
        sets,
    });
    Some(SignatureSpec {
        location: place?,
        base64_json: base64_json.map(|one| one.value),
        prefix,
        list,
    })
}

/// Reads the location and the unit of the timestamp.
pub(super) fn timestamp(table: &mut TomlTable<'_>) -> Option<TimestampSpec> {
    let place = parse_location(table);
    let key = table.read(&KEY, value::any_text);
    let unit = table.require(&UNIT, |value| {
        value::choice(
            value,
            &[
                ("s", TimeUnit::Seconds),
                ("ms", TimeUnit::Millis),
                ("rfc3339", TimeUnit::Rfc3339),
                ("http_date", TimeUnit::HttpDate),
                ("s_or_ms", TimeUnit::SecondsOrMillis),
            ],
        )
    });
    Some(TimestampSpec {
        location: place?,
        key,
        unit: unit?.value,
    })
}

/// Reads the location of a shared token.
pub(super) fn parse_token_location(table: &mut TomlTable<'_>) -> Option<TokenLocation> {
    let header = table.read(&HEADER, value::header);
    let prefix = table.read(&PREFIX, value::any_text);
    let query = table.read(&QUERY, value::text);
    let form = table.read(&FORM, value::text);
    let json = table.read(&JSON, pointer);
    let basic = table.read(&BASIC, value::boolean).unwrap_or(false);
    match (header, query, form, json, basic) {
        (Some(name), None, None, None, false) => Some(TokenLocation::Header {
            name,
            prefix: prefix.unwrap_or_default(),
        }),
        (None, Some(name), None, None, false) => Some(TokenLocation::Query(name)),
        (None, None, Some(name), None, false) => Some(TokenLocation::Form(name)),
        (None, None, None, Some(pointer), false) => Some(TokenLocation::Json(pointer)),
        (None, None, Some(name), Some(pointer), false) => {
            Some(TokenLocation::FormJson(name, pointer))
        }
        (None, None, None, None, true) => Some(TokenLocation::Basic),
        _ => {
            table.absent(
                "a token needs exactly one location",
                "write one of `{ header = \"X-Token\" }`, `{ query = \"token\" }`, `{ form = \"token\" }`, `{ json = \"/token\" }` and `{ basic = true }`",
            );
            None
        }
    }
}

/// Reads one location: `header`, `query`, `form` or `json`.
pub(super) fn parse_location(table: &mut TomlTable<'_>) -> Option<SchemeLocation> {
    let keys = [&HEADER, &QUERY, &FORM, &JSON];
    let named: Vec<&KeyDefinition> = keys.into_iter().filter(|key| table.has(key)).collect();
    let header = table.read_placed(&HEADER, value::header);
    let query = table.read_placed(&QUERY, value::text);
    let form = table.read_placed(&FORM, value::text);
    let json = table.read_placed(&JSON, pointer);
    if named.len() > 1 {
        let spans = [
            header.as_ref().map(|one| one.span),
            query.as_ref().map(|one| one.span),
            form.as_ref().map(|one| one.span),
            json.as_ref().map(|one| one.span),
        ];
        if let Some(span) = spans.into_iter().flatten().last() {
            let names: Vec<String> = named.iter().map(|key| format!("`{}`", key.name)).collect();
            let fault = ValueFault::new(
                format!("{} exclude each other", names.join(" and ")),
                "remove one of them",
            );
            table.error(span, fault);
        }
        return None;
    }
    // A wrong value has an error of its own; this one is for a missing location.
    if named.is_empty() {
        table.absent(
            format!("`{}` has no location", table.path()),
            "add `header = \"NAME\"`, `query = \"NAME\"`, `form = \"NAME\"` or `json = \"/POINTER\"`",
        );
    }
    let header = header.map(|one| SchemeLocation::Header(one.value));
    let query = query.map(|one| SchemeLocation::Query(one.value));
    let form = form.map(|one| SchemeLocation::Form(one.value));
    let json = json.map(|one| SchemeLocation::Json(one.value));
    header.or(query).or(form).or(json)
}

/// Reads an RFC 6901 pointer to a value inside the body.
fn pointer(value: &TomlValue<'_>) -> Result<Vec<String>, ValueFault> {
    const HELP: &str =
        "write it as in `\"/id\"` or `\"/data/id\"`; `~1` means `/` and `~0` means `~`";
    let text = value::text(value)?;
    parse_pointer(&text)
        .ok_or_else(|| ValueFault::new(format!("`{text}` is not a JSON pointer"), HELP))
}

/// Splits a pointer into its steps and unescapes them.
pub(super) fn parse_pointer(text: &str) -> Option<Vec<String>> {
    let steps = text.strip_prefix('/')?;
    steps.split('/').map(unescape_step).collect()
}

fn unescape_step(step: &str) -> Option<String> {
    let mut plain = String::new();
    let mut chars = step.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(plain)
}
