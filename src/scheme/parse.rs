//! A TOML table -> [`Spec`]: the same reader for the `[scheme]` of a provider file and of a route.
//!
//! What contradicts itself only together with secrets or a route is found by `Scheme::compile`.

use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Placed, Table, Value};
use crate::document::value;
use crate::scheme::spec::{
    Algorithm, Encoding, Family, Field, HmacSpec, ListSpec, Part, Place, SecretEncoding,
    SecretForm, SignatureSpec, Spec, Template, TimeUnit, TimestampSpec, TokenPlace, TokenSpec,
};

const FAMILIES: [&str; 2] = ["hmac", "token"];

/// Reads a scheme. Each fault stands in the report; none where nothing could be made of the rest.
pub fn parse_spec(table: &mut Table<'_>) -> Option<Spec> {
    let family = table.require(&TYPE, |value| {
        value::choice(value, &[("hmac", true), ("token", false)])
    });
    let event_id = fields(table, &EVENT_ID);
    let event_type = fields(table, &EVENT_TYPE);
    let family = match family?.value {
        true => {
            table.refuse(TOKEN.name, |_| not_of("token", "hmac"));
            hmac(table).map(Family::Hmac)
        }
        false => {
            for key in [
                &ALGORITHM, &ENCODING, &SIGNATURE, &SIGNED, &TIMESTAMP, &SECRET,
            ] {
                table.refuse(key.name, |_| not_of(key.name, "token"));
            }
            token(table).map(Family::Token)
        }
    };
    table.deny_unknown();
    Some(Spec {
        family: family?,
        event_id: event_id?,
        event_type: event_type?,
    })
}

fn not_of(key: &str, family: &str) -> Fault {
    Fault::new(
        format!("a scheme of type `{family}` has no `{key}`"),
        "remove it, or change `type`",
    )
}

fn hmac(table: &mut Table<'_>) -> Option<HmacSpec> {
    let algorithm = table.require(&ALGORITHM, |value| {
        value::choice(
            value,
            &[
                ("sha1", Algorithm::Sha1),
                ("sha256", Algorithm::Sha256),
                ("sha384", Algorithm::Sha384),
                ("sha512", Algorithm::Sha512),
            ],
        )
    });
    let encoding = table.require(&ENCODING, |value| {
        value::choice(
            value,
            &[
                ("hex", Encoding::Hex),
                ("base64", Encoding::Base64),
                ("base64url", Encoding::Base64Url),
            ],
        )
    });
    let signed = table.require(&SIGNED, template);
    let signature = signature(table);
    let timestamp = optional(table, &TIMESTAMP, timestamp);
    let secret = optional(table, &SECRET, secret_form);
    Some(HmacSpec {
        algorithm: algorithm?.value,
        encoding: encoding?.value,
        signature: signature?,
        signed: signed?.value,
        timestamp: timestamp?,
        secret: secret?.unwrap_or_default(),
    })
}

/// `Some(None)`: absent; `None`: wrong.
fn optional<'a, T>(
    table: &mut Table<'a>,
    key: &Key,
    parse: impl FnOnce(&mut Table<'a>) -> Option<T>,
) -> Option<Option<T>> {
    if !table.has(key) {
        // Asking makes the key known.
        table.value(key);
        return Some(None);
    }
    let mut inner = table.table(key)?;
    let parsed = parse(&mut inner);
    inner.deny_unknown();
    parsed.map(Some)
}

fn signature(table: &mut Table<'_>) -> Option<SignatureSpec> {
    if !table.has(&SIGNATURE) {
        table.missing(&SIGNATURE);
    }
    optional(table, &SIGNATURE, |table| {
        let place = place(table);
        let prefix = table.read(&PREFIX, value::any_text).unwrap_or_default();
        let separator = table.read(&LIST, value::character);
        let key = table.read_placed(&KEY, value::any_text);
        let assign = table.read(&ASSIGN, value::character);
        if let (Some(key), None) = (&key, separator) {
            table.error(
                key.span,
                Fault::new(
                    "a `key` needs a list to look it up in",
                    "add `list = \",\"`, the character between the entries",
                ),
            );
            return None;
        }
        let key = key.map(|key| key.value).unwrap_or_default();
        let list = separator.map(|separator| ListSpec {
            separator,
            key,
            assign: assign.unwrap_or('='),
        });
        Some(SignatureSpec {
            place: place?,
            prefix,
            list,
        })
    })?
}

fn timestamp(table: &mut Table<'_>) -> Option<TimestampSpec> {
    let place = place(table);
    let key = table.read(&KEY, value::text);
    let unit = table.require(&UNIT, |value| {
        value::choice(
            value,
            &[
                ("s", TimeUnit::Seconds),
                ("ms", TimeUnit::Millis),
                ("rfc3339", TimeUnit::Rfc3339),
            ],
        )
    });
    Some(TimestampSpec {
        place: place?,
        key,
        unit: unit?.value,
    })
}

fn secret_form(table: &mut Table<'_>) -> Option<SecretForm> {
    let encoding = table.read(&SECRET_ENCODING, |value| {
        value::choice(
            value,
            &[
                ("utf8", SecretEncoding::Utf8),
                ("base64", SecretEncoding::Base64),
                ("hex", SecretEncoding::Hex),
            ],
        )
    });
    let strip_prefix = table.read(&STRIP_PREFIX, value::text);
    Some(SecretForm {
        encoding: encoding.unwrap_or_default(),
        strip_prefix: strip_prefix.unwrap_or_default(),
    })
}

fn token(table: &mut Table<'_>) -> Option<TokenSpec> {
    if !table.has(&TOKEN) {
        table.missing(&TOKEN);
    }
    optional(table, &TOKEN, |table| {
        let header = table.read(&HEADER, value::header);
        let prefix = table.read(&PREFIX, value::any_text);
        let query = table.read(&QUERY, value::text);
        let basic = table.read(&BASIC, value::boolean);
        let place = match (header, query, basic.unwrap_or(false)) {
            (Some(name), None, false) => TokenPlace::Header {
                name,
                prefix: prefix.unwrap_or_default(),
            },
            (None, Some(name), false) => TokenPlace::Query(name),
            (None, None, true) => TokenPlace::Basic,
            _ => {
                table.absent(
                    "a token stands in exactly one place",
                    "write one of `{ header = \"X-Token\" }`, `{ query = \"token\" }` and `{ basic = true }`",
                );
                return None;
            }
        };
        Some(TokenSpec { place })
    })?
}

/// Reads `header` or `query`.
fn place(table: &mut Table<'_>) -> Option<Place> {
    let is_named = table.has(&HEADER) || table.has(&QUERY);
    let header = table.read_placed(&HEADER, value::header);
    let query = table.read_placed(&QUERY, value::text);
    match (header, query) {
        (Some(header), None) => Some(Place::Header(header.value)),
        (None, Some(query)) => Some(Place::Query(query.value)),
        (Some(_), Some(Placed { span, .. })) => {
            let fault = Fault::new(
                "`header` and `query` exclude each other",
                "remove one of them",
            );
            table.error(span, fault);
            None
        }
        (None, None) => {
            if !is_named {
                table.absent(
                    format!("`{}` does not say where it stands", table.path()),
                    "add `header = \"NAME\"` or `query = \"NAME\"`",
                );
            }
            None
        }
    }
}

/// The places of an id or a type; none where one of them is wrong.
fn fields(table: &mut Table<'_>, key: &Key) -> Option<Vec<Field>> {
    if !table.has(key) {
        table.value(key);
        return Some(Vec::new());
    }
    let value = table.value(key)?;
    let path = format!("{}.{}", table.path(), key.name);
    let items = value.items().unwrap_or_else(|| vec![value]);
    items.iter().map(|item| field(item, &path)).collect()
}

fn field(value: &Value<'_>, path: &str) -> Option<Field> {
    let Some(mut table) = value.table(value.span(), path.to_owned()) else {
        value.fault(value.unexpected("a table", "{ header = \"X-Event-Id\" }"));
        return None;
    };
    let header = table.read(&HEADER, value::header);
    let json = table.read(&JSON, pointer);
    let is_named = table.has(&HEADER) || table.has(&JSON);
    table.deny_unknown();
    match (header, json) {
        (Some(header), None) => Some(Field::Header(header)),
        (None, Some(json)) => Some(Field::Json(json)),
        (None, None) if is_named => None,
        _ => {
            value.fault(Fault::new(
                "an id or type stands in a header or in the body, one of them",
                "`{ header = \"X-Event-Id\" }` or `{ json = \"/id\" }`; several places as a list",
            ));
            None
        }
    }
}

/// An RFC 6901 pointer below the top of the body.
fn pointer(value: &Value<'_>) -> Result<Vec<String>, Fault> {
    const HELP: &str = "`\"/id\"`, or `\"/data/id\"`; `~1` stands for `/` and `~0` for `~`";
    let text = value::text(value)?;
    let wrong = || Fault::new(format!("`{text}` is not a JSON pointer"), HELP);
    let steps = text.strip_prefix('/').ok_or_else(wrong)?;
    let steps: Option<Vec<String>> = steps.split('/').map(unescape_step).collect();
    steps.ok_or_else(wrong)
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

const PART_NAMES: &str = "`{body}`, `{timestamp}`, `{id}`, `{method}`, `{path}`, `{path_query}`, `{url}` and `{header:NAME}`";

fn template(value: &Value<'_>) -> Result<Template, Fault> {
    let text = value::text(value)?;
    let template = parse_template(&text)?;
    match template
        .parts
        .iter()
        .filter(|part| **part == Part::Body)
        .count()
    {
        1 => Ok(template),
        0 => Err(Fault::new(
            "the signed text leaves out `{body}`, so anybody could change the body",
            "put `{body}` where the sender puts the body, for example `\"{timestamp}.{body}\"`",
        )),
        _ => Err(Fault::new(
            "the signed text holds `{body}` more than once",
            "a body that is verified as it arrives can stand there only once",
        )),
    }
}

/// Parses `"{timestamp}.{body}"`; `{{` and `}}` stand for the braces themselves.
fn parse_template(text: &str) -> Result<Template, Fault> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        literal.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else if let Some((name, after)) =
            from.strip_prefix('{').and_then(|from| from.split_once('}'))
        {
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part(name)?);
            rest = after;
        } else {
            return Err(Fault::new(
                "a brace in the signed text has no partner",
                format!("the parts are {PART_NAMES}; `{{{{` and `}}}}` stand for plain braces"),
            ));
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(Template { parts })
}

fn part(name: &str) -> Result<Part, Fault> {
    Ok(match name {
        "body" => Part::Body,
        "timestamp" => Part::Timestamp,
        "id" => Part::Id,
        "method" => Part::Method,
        "path" => Part::Path,
        "path_query" => Part::PathQuery,
        "url" => Part::Url,
        _ => {
            let header = name
                .strip_prefix("header:")
                .and_then(|name| name.parse().ok());
            Part::Header(header.ok_or_else(|| {
                Fault::new(
                    format!("the signed text has no part `{{{name}}}`"),
                    format!("the parts are {PART_NAMES}"),
                )
            })?)
        }
    })
}

/// `[scheme]` of a provider file, `[routes.NAME.scheme]` of a config.
pub static SECTION: Section = Section {
    path: "routes.NAME.scheme",
    doc: "A scheme of one's own, where no provider fits.",
    keys: &[
        &TYPE,
        &ALGORITHM,
        &ENCODING,
        &SIGNATURE,
        &SIGNED,
        &TIMESTAMP,
        &EVENT_ID,
        &EVENT_TYPE,
        &SECRET,
        &TOKEN,
    ],
    required: &["type"],
    one_of: &[],
};

static SIGNATURE_SECTION: Section = Section {
    path: "routes.NAME.scheme.signature",
    doc: "Where the signature stands.",
    keys: &[&HEADER, &QUERY, &PREFIX, &LIST, &KEY, &ASSIGN],
    required: &[],
    one_of: &[&["header", "query"]],
};

static TIMESTAMP_SECTION: Section = Section {
    path: "routes.NAME.scheme.timestamp",
    doc: "Where the signed time stands.",
    keys: &[&HEADER, &QUERY, &KEY, &UNIT],
    required: &["unit"],
    one_of: &[&["header", "query"]],
};

static SECRET_SECTION: Section = Section {
    path: "routes.NAME.scheme.secret",
    doc: "How the text of a secret becomes the key.",
    keys: &[&SECRET_ENCODING, &STRIP_PREFIX],
    required: &[],
    one_of: &[],
};

static TOKEN_SECTION: Section = Section {
    path: "routes.NAME.scheme.token",
    doc: "Where the token stands.",
    keys: &[&HEADER, &PREFIX, &QUERY, &BASIC],
    required: &[],
    one_of: &[&["header", "query", "basic"]],
};

static FIELD_SECTION: Section = Section {
    path: "routes.NAME.scheme.event_id",
    doc: "Where an id or a type stands.",
    keys: &[&HEADER, &JSON],
    required: &[],
    one_of: &[&["header", "json"]],
};

static TYPE: Key = Key {
    name: "type",
    kind: Kind::Choice(&FAMILIES),
    default: None,
    example: "\"hmac\"",
    doc: "An HMAC over a text made of the request, or a shared token that is sent as it is.",
};

static ALGORITHM: Key = Key {
    name: "algorithm",
    kind: Kind::Choice(&["sha1", "sha256", "sha384", "sha512"]),
    default: None,
    example: "\"sha256\"",
    doc: "The digest under the HMAC; `\"sha1\"` only where the sender has nothing better.",
};

static ENCODING: Key = Key {
    name: "encoding",
    kind: Kind::Choice(&["hex", "base64", "base64url"]),
    default: None,
    example: "\"hex\"",
    doc: "How the signature is written.",
};

static SIGNATURE: Key = Key {
    name: "signature",
    kind: Kind::Table(&SIGNATURE_SECTION),
    default: None,
    example: "{ header = \"X-Webhook-Signature\", prefix = \"sha256=\" }",
    doc: "Where the signature stands: a header or query parameter, the text before it, and where there are several entries the character between them (`list`), the key of those that count and the character behind the key (`assign`).",
};

static SIGNED: Key = Key {
    name: "signed",
    kind: Kind::Text,
    default: None,
    example: "\"{timestamp}.{body}\"",
    doc: "The text that is signed, made of `{body}` (exactly once), `{timestamp}`, `{id}`, `{method}`, `{path}`, `{path_query}`, `{url}`, `{header:NAME}` and plain text.",
};

static TIMESTAMP: Key = Key {
    name: "timestamp",
    kind: Kind::Table(&TIMESTAMP_SECTION),
    default: None,
    example: "{ header = \"X-Webhook-Timestamp\", unit = \"s\" }",
    doc: "Where the time stands and whether it counts seconds (`s`), milliseconds (`ms`) or is `rfc3339`; in a list of entries, `key` names the entry.",
};

static EVENT_ID: Key = Key {
    name: "event_id",
    kind: Kind::OneOrMore(&Kind::Table(&FIELD_SECTION)),
    default: None,
    example: "{ header = \"X-Webhook-ID\" }",
    doc: "Where the id of the event stands: a header, or a JSON pointer into the body. Of several places the first that is there counts.",
};

static EVENT_TYPE: Key = Key {
    name: "event_type",
    kind: Kind::OneOrMore(&Kind::Table(&FIELD_SECTION)),
    default: None,
    example: "{ json = \"/type\" }",
    doc: "Where the type of the event stands, as for `event_id`.",
};

static SECRET: Key = Key {
    name: "secret",
    kind: Kind::Table(&SECRET_SECTION),
    default: Some("{ encoding = \"utf8\" }"),
    example: "{ encoding = \"base64\", strip_prefix = \"whsec_\" }",
    doc: "How the text of the secret becomes the key: its encoding, and text before it that is no part of the key.",
};

static TOKEN: Key = Key {
    name: "token",
    kind: Kind::Table(&TOKEN_SECTION),
    default: None,
    example: "{ header = \"X-Gitlab-Token\" }",
    doc: "Where the token stands: a header with an optional `prefix`, a query parameter, or HTTP Basic.",
};

static HEADER: Key = Key {
    name: "header",
    kind: Kind::Text,
    default: None,
    example: "\"X-Webhook-Signature\"",
    doc: "The name of a header.",
};

static QUERY: Key = Key {
    name: "query",
    kind: Kind::Text,
    default: None,
    example: "\"signature\"",
    doc: "The name of a query parameter.",
};

static PREFIX: Key = Key {
    name: "prefix",
    kind: Kind::Text,
    default: Some("\"\""),
    example: "\"sha256=\"",
    doc: "Text that stands before the value.",
};

static LIST: Key = Key {
    name: "list",
    kind: Kind::Text,
    default: None,
    example: "\",\"",
    doc: "The character between the entries of a value that holds several.",
};

static KEY: Key = Key {
    name: "key",
    kind: Kind::Text,
    default: None,
    example: "\"v1\"",
    doc: "The key of the entry.",
};

static ASSIGN: Key = Key {
    name: "assign",
    kind: Kind::Text,
    default: Some("\"=\""),
    example: "\"=\"",
    doc: "The character between the key of an entry and its value.",
};

static UNIT: Key = Key {
    name: "unit",
    kind: Kind::Choice(&["s", "ms", "rfc3339"]),
    default: None,
    example: "\"s\"",
    doc: "How the time is written.",
};

static SECRET_ENCODING: Key = Key {
    name: "encoding",
    kind: Kind::Choice(&["utf8", "base64", "hex"]),
    default: Some("\"utf8\""),
    example: "\"base64\"",
    doc: "How the key stands in the secret's text.",
};

static STRIP_PREFIX: Key = Key {
    name: "strip_prefix",
    kind: Kind::Text,
    default: None,
    example: "\"whsec_\"",
    doc: "Text before the key that is no part of it.",
};

static BASIC: Key = Key {
    name: "basic",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "HTTP Basic; the secret is `user:password`.",
};

static JSON: Key = Key {
    name: "json",
    kind: Kind::Text,
    default: None,
    example: "\"/id\"",
    doc: "A JSON pointer into the body.",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::report::Style;
    use crate::document::{Document, Source};
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Spec, String> {
        let source = Source::new("scheme.toml", text.to_owned());
        let document = Document::parse(&source);
        let spec = parse_spec(&mut document.root());
        let report = document.into_report();
        assert!(spec.is_some() || report.has_errors(), "{report:?}");
        let spec = spec.filter(|_| !report.has_errors());
        spec.ok_or_else(|| report.render(Style::Plain))
    }

    const HMAC: &str = "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\n";

    #[test]
    fn the_schemes_of_the_documentation() {
        let stripe = format!(
            "{HMAC}signature = {{ header = \"Stripe-Signature\", list = \",\", key = \"v1\" }}
signed = \"{{timestamp}}.{{body}}\"
timestamp = {{ header = \"Stripe-Signature\", key = \"t\", unit = \"s\" }}
event_id = {{ json = \"/id\" }}
event_type = [{{ header = \"X\" }}, {{ json = \"/a~1b/~0\" }}]
"
        );
        let spec = parse(&stripe).unwrap();
        assert_eq!(spec.event_id, [Field::Json(vec!["id".to_owned()])]);
        let json = vec!["a/b".to_owned(), "~".to_owned()];
        assert_eq!(spec.event_type.last(), Some(&Field::Json(json)));
        let Family::Hmac(hmac) = spec.family else {
            panic!("not an HMAC");
        };
        let list = hmac.signature.list.unwrap();
        assert_eq!(
            (list.separator, list.key.as_str(), list.assign),
            (',', "v1", '=')
        );
        let parts = [Part::Timestamp, Part::Literal(".".to_owned()), Part::Body];
        assert_eq!(hmac.signed.parts, parts);
        assert!(parse("type = \"token\"\ntoken = { basic = true }\n").is_ok());
    }

    #[test]
    fn templates() {
        let parts = parse_template("v0{{:{header:X-A}}}{body}").unwrap().parts;
        let expected = [
            Part::Literal("v0{:".to_owned()),
            Part::Header("x-a".parse().unwrap()),
            Part::Literal("}".to_owned()),
            Part::Body,
        ];
        assert_eq!(parts, expected);
        for text in [
            "{",
            "}",
            "{bod}",
            "{body",
            "{header:}",
            "{header:a b}",
            "a}b",
        ] {
            assert!(parse_template(text).is_err(), "{text}");
        }
    }

    #[test]
    fn faults() {
        for (text, message) in [
            ("", "needs `type`"),
            ("type = \"hmca\"", "did you mean `\"hmac\"`?"),
            ("type = \"hmac\"", "needs `signed`"),
            ("type = \"token\"\ntoken = {}", "exactly one place"),
            (
                "type = \"token\"\ntoken = { query = \"t\" }\nsigned = \"{body}\"",
                "has no `signed`",
            ),
            (
                "type = \"token\"\ntoken = { query = \"t\" }\nevent_id = \"id\"",
                "expected a table",
            ),
            (
                "type = \"token\"\ntoken = { query = \"t\" }\nevent_id = { json = \"id\" }",
                "not a JSON pointer",
            ),
        ] {
            let rendered = parse(text).unwrap_err();
            assert!(rendered.contains(message), "{text}: {rendered}");
        }
        for (signed, message) in [
            ("{timestamp}", "leaves out `{body}`"),
            ("{body}{body}", "more than once"),
        ] {
            let text = format!("{HMAC}signature = {{ header = \"X\" }}\nsigned = \"{signed}\"\n");
            assert!(parse(&text).unwrap_err().contains(message), "{signed}");
        }
    }

    proptest! {
        #[test]
        fn no_template_panics(text in ".{0,30}", braces in "[{}a:]{0,20}") {
            let _ = parse_template(&text);
            let _ = parse_template(&braces);
        }
    }
}
