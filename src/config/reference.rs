//! What is made of the key rows: the JSON Schema, the reference in the README, and `config.example.toml`. Tests compare
//! the files with what stands here; `UPDATE=1 cargo test` writes them.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};

use crate::config::{
    ADMIN, LOG, ROUTES, SERVER, STORE, TELEMETRY, TLS, admin, dedup, destination, log, retry,
    route, secrets, server, socket, store, telemetry, tls, upstreams,
};
use crate::document::key::{Key, Kind, Section};
use crate::scheme::parse;

/// The table at the top of the file.
static ROOT: Section = Section {
    path: "",
    doc: "The config of hookgate.",
    keys: &[&SERVER, &TLS, &ADMIN, &STORE, &LOG, &TELEMETRY, &ROUTES],
    required: &["routes"],
    one_of: &[],
};

/// The sections of the reference, in its order.
static SECTIONS: [&Section; 19] = [
    &server::SECTION,
    &tls::SECTION,
    &tls::CERTIFICATE_SECTION,
    &admin::SECTION,
    &admin::TOKENS_SECTION,
    &admin::TLS_SECTION,
    &store::SECTION,
    &store::RETENTION_SECTION,
    &log::SECTION,
    &telemetry::SECTION,
    &route::SECTION,
    &upstreams::SECTION,
    &destination::SECTION,
    &retry::SECTION,
    &socket::SECTION,
    &destination::TLS_SECTION,
    &secrets::SECTION,
    &dedup::SECTION,
    &parse::keys::SECTION,
];

/// The JSON Schema (draft 2020-12) of the config file.
#[must_use]
pub fn schema() -> Json {
    let mut definitions = Map::new();
    let root = section_schema(&ROOT, &mut definitions);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hookgate.toml",
        "$defs": definitions,
    });
    if let (Some(schema), Json::Object(root)) = (schema.as_object_mut(), root) {
        schema.extend(root);
    }
    schema
}

fn section_schema(section: &Section, definitions: &mut Map<String, Json>) -> Json {
    let mut properties = Map::new();
    for key in section.keys {
        let mut schema = kind_schema(&key.kind, definitions);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(description(key)));
            if let Some(default) = key.default.and_then(json_of) {
                schema.insert("default".to_owned(), default);
            }
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let choices: Vec<Json> = section
        .one_of
        .iter()
        .map(|names| {
            let each = names.iter().map(|name| json!({ "required": [name] }));
            json!({ "oneOf": each.collect::<Vec<_>>() })
        })
        .collect();
    let mut schema = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": section.required,
        "additionalProperties": false,
    });
    if let (Some(schema), false) = (schema.as_object_mut(), choices.is_empty()) {
        schema.insert("allOf".to_owned(), json!(choices));
    }
    schema
}

fn kind_schema(kind: &Kind, definitions: &mut Map<String, Json>) -> Json {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Text | Kind::Path | Kind::Network | Kind::Address | Kind::Time => {
            json!({ "type": "string" })
        }
        Kind::Choice(choices) => json!({ "enum": choices }),
        Kind::Count => json!({ "type": "integer", "minimum": 1 }),
        Kind::Amount => json!({ "type": "integer", "minimum": 0 }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Duration => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" }),
        Kind::Size => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB)?$" },
            { "type": "integer", "minimum": 1 },
        ] }),
        Kind::Rate => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+/[smh]$" },
            {
                "type": "object",
                "properties": {
                    "per_second": { "type": "integer", "minimum": 1 },
                    "burst": { "type": "integer", "minimum": 1 },
                },
                "required": ["per_second"],
                "additionalProperties": false,
            },
        ] }),
        Kind::Url => json!({ "type": "string", "pattern": "^https?://" }),
        Kind::List(item) => json!({ "type": "array", "items": kind_schema(item, definitions) }),
        Kind::OneOrMore(item) => {
            let item = kind_schema(item, definitions);
            json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
        }
        Kind::Either(left, right) => {
            let (left, right) = (
                kind_schema(left, definitions),
                kind_schema(right, definitions),
            );
            json!({ "anyOf": [left, right] })
        }
        Kind::FalseOr(other) => {
            json!({ "anyOf": [{ "const": false }, kind_schema(other, definitions)] })
        }
        Kind::Table(section) => reference_to(section, definitions),
        Kind::Tables(section) => {
            json!({ "type": "array", "items": reference_to(section, definitions) })
        }
        Kind::Map(value) => {
            json!({ "type": "object", "additionalProperties": kind_schema(value, definitions) })
        }
        Kind::Named(section) => {
            json!({ "type": "object", "additionalProperties": reference_to(section, definitions) })
        }
    }
}

fn reference_to(section: &Section, definitions: &mut Map<String, Json>) -> Json {
    if !definitions.contains_key(section.path) {
        // Entered first, so that a section that holds itself would end here.
        definitions.insert(section.path.to_owned(), Json::Null);
        let schema = section_schema(section, definitions);
        definitions.insert(section.path.to_owned(), schema);
    }
    json!({ "$ref": format!("#/$defs/{}", section.path) })
}

fn description(key: &Key) -> String {
    match key.default {
        Some(default) => format!("{} Default: {default}. Example: {}", key.doc, key.example),
        None => format!("{} Example: {}", key.doc, key.example),
    }
}

/// A default that is written as TOML, as JSON; none for one in words.
fn json_of(default: &str) -> Option<Json> {
    let table: toml::Table = toml::from_str(&format!("a = {default}")).ok()?;
    serde_json::to_value(table.get("a")?).ok()
}

/// The reference of the README, as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let header = match section.path {
            "tls.certificates" | "admin.tokens" => format!("[[{}]]", section.path),
            path => format!("[{path}]"),
        };
        let _ = writeln!(out, "### `{header}`\n\n{}\n", section.doc);
        out.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
        for key in section.keys {
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} |",
                key.name,
                key.kind.word(),
                default_cell(section, key),
                key.doc,
            );
        }
        out.push('\n');
    }
    out
}

fn default_cell(section: &Section, key: &Key) -> String {
    match key.default {
        Some(default) if json_of(default).is_some() => format!("`{default}`"),
        Some(default) => default.to_owned(),
        None if section.required.contains(&key.name) => "required".to_owned(),
        None if section.one_of.iter().any(|names| names.contains(&key.name)) => {
            "one of them is required".to_owned()
        }
        None => "none".to_owned(),
    }
}

/// The lines of the example that are not commented out.
const ACTIVE: [(&str, &str, &str); 13] = [
    ("server", "listen", "[\"0.0.0.0:443\", \"[::]:443\"]"),
    ("tls", "cert", "\"/etc/hookgate/tls/fullchain.pem\""),
    ("tls", "key", "\"/etc/hookgate/tls/privkey.pem\""),
    ("admin", "listen", "\"127.0.0.1:9180\""),
    ("routes.stripe", "path", "\"/stripe\""),
    ("routes.stripe", "provider", "\"stripe\""),
    ("routes.stripe", "secret", "{ env = \"STRIPE_SECRET\" }"),
    (
        "routes.stripe",
        "upstream",
        "\"http://127.0.0.1:8080/webhooks/stripe\"",
    ),
    ("routes.github", "path", "\"/github\""),
    ("routes.github", "provider", "\"github\""),
    ("routes.github", "secret", "{ env = \"GITHUB_SECRET\" }"),
    ("routes.github", "max_body", "\"25MiB\""),
    (
        "routes.github",
        "upstream",
        "\"http://127.0.0.1:8080/webhooks/github\"",
    ),
];

/// A complete commented config: two routes that work once their secrets are set, and every key with its default.
#[must_use]
pub fn example() -> String {
    let mut out = "\
# An example of /etc/hookgate/hookgate.toml with every key. Lines that begin with `#` and a key show what could stand
# there; the default holds as long as they are comments. `hookgate check --config FILE` says what is wrong with a file.
# Made from the definitions of the keys in the code.
#
# Durations are \"500ms\", \"30s\", \"5m\", \"1h30m\", \"7d\"; sizes \"64KiB\", \"1MiB\"; rates \"100/s\", \"600/m\" or
# { per_second = 50, burst = 100 }. Relative paths are relative to this file.
"
    .to_owned();
    for section in [
        &server::SECTION,
        &tls::SECTION,
        &admin::SECTION,
        &log::SECTION,
    ] {
        out.push_str(&example_section(section, section.path));
    }
    out.push_str(&example_section(&route::SECTION, "routes.stripe"));
    out.push_str("\n# A minimal route. GitHub sends bodies of up to 25 MiB, more than the default takes.\n[routes.github]\n");
    for (_, key, value) in ACTIVE
        .iter()
        .filter(|(path, _, _)| *path == "routes.github")
    {
        let _ = writeln!(out, "{key} = {value}");
    }
    out.push_str(LEGACY);
    out.push_str(QUEUE);
    for (section, path) in [
        (&telemetry::SECTION, "telemetry"),
        (&store::SECTION, "store"),
        (&store::RETENTION_SECTION, "store.retention"),
        (&destination::SECTION, "routes.orders.destinations.ci"),
    ] {
        out.push_str(&commented(&example_section(section, path)));
    }
    out
}

/// The same with no line that counts.
fn commented(text: &str) -> String {
    let line = |line: &str| match line.is_empty() || line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("# {line}\n"),
    };
    text.lines().map(line).collect()
}

fn example_section(section: &Section, path: &str) -> String {
    let mut out = format!("\n# {}\n[{path}]\n", section.doc);
    for key in section.keys {
        // A table of its own has its example at the end of the file, an array of tables in the reference.
        if matches!(key.kind, Kind::Table(_)) {
            continue;
        }
        out.push_str(&wrapped(key.doc));
        let active = ACTIVE
            .iter()
            .find(|(active_path, name, _)| *active_path == path && *name == key.name);
        match (active, key.default) {
            (Some((_, name, value)), _) => {
                let _ = writeln!(out, "{name} = {value}");
            }
            (None, Some(default)) => {
                let _ = writeln!(
                    out,
                    "# Default: {default}.\n# {} = {}",
                    key.name, key.example
                );
            }
            (None, None) => {
                let _ = writeln!(out, "# {} = {}", key.name, key.example);
            }
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// A sentence as comment lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > 120 {
            out.push_str(&line);
            out.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    out + &line + "\n"
}

const LEGACY: &str = r#"
# A sender with a scheme of its own, and a secret that is being rotated.
# [routes.legacy]
# path = "/legacy"
# upstream = "http://127.0.0.1:8081/in"
# secret = [{ credential = "legacy-new" }, { credential = "legacy-old", until = 2027-01-31 }]
# [routes.legacy.scheme]
# type = "hmac"
# algorithm = "sha256"
# encoding = "hex"
# signature = { header = "X-Webhook-Signature", prefix = "sha256=" }
# signed = "{timestamp}.{body}"
# timestamp = { header = "X-Webhook-Timestamp", unit = "ms" }
# event_id = { header = "X-Webhook-ID" }
# event_type = { json = "/type" }
"#;

const QUEUE: &str = r#"
# A route whose events are stored, answered at once, and delivered with retries; it needs `[store]`.
# [routes.orders]
# path = "/orders"
# provider = "shopify"
# secret = { credential = "shopify" }
# mode = "queue"
# upstream = "http://127.0.0.1:8080/orders"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use crate::document::report::Style;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    /// Compares a file with what it should hold, or writes it.
    fn compare(path: &Path, expected: &str) {
        if env::var_os("UPDATE").is_some() {
            fs::write(path, expected).unwrap();
        }
        let found = fs::read_to_string(path).unwrap_or_default();
        let is_same = found == expected;
        assert!(
            is_same,
            "{} is not up to date: UPDATE=1 cargo test",
            path.display()
        );
    }

    fn with_literal_secrets(text: &str) -> String {
        text.replace("{ env = \"STRIPE_SECRET\" }", "\"whsec_8fJq2LxW0aZ1\"")
            .replace("{ env = \"GITHUB_SECRET\" }", "\"0aZ18fJq2LxW0aZ1\"")
    }

    fn load_errors(text: &str) -> String {
        load_text("a.toml", text)
            .map_or_else(|report| report.render(Style::Plain), |_| String::new())
    }

    #[test]
    fn the_example_is_up_to_date_and_loads() {
        compare(&file("config.example.toml"), &example());
        let loaded = load_text("a.toml", with_literal_secrets(&example()));
        let loaded = loaded.unwrap_or_else(|report| panic!("{}", report.render(Style::Plain)));
        assert_eq!(loaded.config.routes.len(), 2);
        // Nothing but the literal secrets that were put in here.
        assert_eq!(loaded.report.summary(), "0 errors, 2 warnings");
    }

    #[test]
    fn the_readme_holds_the_reference() {
        let path = file("README.md");
        let Ok(text) = fs::read_to_string(&path) else {
            return;
        };
        let (begin, end) = ("<!-- reference:begin -->\n", "<!-- reference:end -->");
        let (before, rest) = text.split_once(begin).expect("README.md has a begin mark");
        let (_, after) = rest.split_once(end).expect("README.md has an end mark");
        compare(
            &path,
            &format!("{before}{begin}\n{}{end}{after}", markdown()),
        );
    }

    #[test]
    fn the_schema_takes_the_example_and_no_unknown_key() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let json = |text: &str| -> Json {
            serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
        };
        let good = json(&example());
        if let Err(err) = validator.validate(&good) {
            panic!("{err} at {}", err.instance_path());
        }
        for (from, to) in [
            ("provider = \"stripe\"", "provder = \"stripe\""),
            ("path = \"/stripe\"", "path = \"/stripe\"\nprefix = \"/a\""),
            ("upstream = \"http:", "upstream = \"ftp:"),
            ("\nmax_body = \"25MiB\"", "\nmax_body = \"25MB\""),
        ] {
            let text = example().replacen(from, to, 1);
            assert!(!validator.is_valid(&json(&text)), "{to}");
        }
    }

    /// A config with one more line in a section.
    fn with_line(path: &str, line: &str) -> String {
        let route = "[routes.a]\npath = \"/a\"\nprovider = \"stripe\"\nsecret = \"whsec_8fJq2LxW0aZ1\"\nupstream = \"http://127.0.0.1/\"\n";
        let own = "[routes.a]\npath = \"/a\"\nsecret = \"whsec_8fJq2LxW0aZ1\"\nupstream = \"http://127.0.0.1/\"\n[routes.a.scheme]\n";
        let hmac = "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { header = \"X\" }\nsigned = \"{body}\"\n";
        let name = line.split_once(' ').map_or("", |(name, _)| name);
        let base = match path {
            "routes.NAME" => route.to_owned(),
            "routes.NAME.dedup" => format!("{route}[routes.a.dedup]\n"),
            "routes.NAME.secret" => {
                route.replace("secret = \"whsec_8fJq2LxW0aZ1\"", "") + "[routes.a.secret]\n"
            }
            "routes.NAME.scheme" if name == "token" || line == "type = \"token\"" => {
                format!("{own}type = \"token\"\n")
            }
            "routes.NAME.scheme" if name == "public_key" => {
                let rsa = hmac.replace("\"hmac\"", "\"rsa\"");
                format!("{own}{rsa}")
            }
            "routes.NAME.scheme" => format!("{own}{hmac}"),
            "tls.certificates" => {
                format!("{route}[[tls.certificates]]\ncert = \"a\"\nkey = \"b\"\n")
            }
            "admin.tls" => format!(
                "{route}[admin]\nlisten = \"127.0.0.1:9180\"\n[admin.tls]\ncert = \"a\"\nkey = \"b\"\n"
            ),
            "admin.tokens" => {
                let entry = "name = \"a\"\nrole = \"viewer\"\ntoken = \"correct-horse\"\n";
                format!("{route}[admin]\nlisten = \"127.0.0.1:9180\"\n[[admin.tokens]]\n{entry}")
            }
            "routes.NAME.destinations.NAME" => {
                let queue = route.replace("upstream = ", "mode = \"queue\"\nupstream = ");
                let url = "url = \"http://127.0.0.1/\"\n";
                format!("{queue}[store]\nurl = \"sqlite:x\"\n[routes.a.destinations.b]\n{url}")
            }
            "routes.NAME.destinations.NAME.retry" | "routes.NAME.destinations.NAME.tls" => {
                let queue = route.replace("upstream = ", "mode = \"queue\"\nupstream = ");
                let last = path.rsplit('.').next().unwrap_or_default();
                format!(
                    "{queue}[store]\nurl = \"sqlite:x\"\n[routes.a.destinations.b]\nurl = \"http://127.0.0.1/\"\n[routes.a.destinations.b.{last}]\n"
                )
            }
            "routes.NAME.socket" => {
                let queue = route.replace("upstream = ", "mode = \"queue\"\nupstream = ");
                format!(
                    "{queue}[store]\nurl = \"sqlite:x\"\n[routes.a.socket]\npath = \"s\"\nusers = [0]\n"
                )
            }
            "store" => format!("{route}[store]\nurl = \"sqlite:x\"\n"),
            "store.retention" => {
                format!("{route}[store]\nurl = \"sqlite:x\"\n[store.retention]\n")
            }
            "routes.NAME.upstreams" => {
                let row = "url = \"http://127.0.0.1/\"\nevents = [\"*\"]\n";
                format!("{route}[[routes.a.upstreams]]\n{row}")
            }
            "tls" => format!("{route}[tls]\ncert = \"a\"\nkey = \"b\"\n"),
            "admin" => format!("{route}[admin]\nlisten = \"127.0.0.1:9180\"\n"),
            _ => format!("{route}[{path}]\n"),
        };
        // A key must not stand there twice.
        let start = format!("{name} = ");
        let last = base.rfind("\n[").unwrap_or(0);
        let (head, tail) = base.split_at(last);
        let kept: String = tail
            .split_inclusive('\n')
            .filter(|line| !line.starts_with(&start))
            .collect();
        format!("{head}{kept}{line}\n")
    }

    #[test]
    fn every_example_is_a_value_of_its_key() {
        for section in SECTIONS {
            for key in section.keys {
                let line = format!("{} = {}", key.name, key.example);
                let shown = load_errors(&with_line(section.path, &line));
                for sign in [
                    "this is not TOML",
                    "unknown key",
                    "expected",
                    " is not a",
                    "choices",
                ] {
                    assert!(!shown.contains(sign), "{line}\n{shown}");
                }
            }
        }
    }

    #[test]
    fn the_rows_are_the_keys_that_are_read() {
        for section in SECTIONS {
            let shown = load_errors(&with_line(section.path, "qqqqqqqqqqqq = 1"));
            let (_, list) = shown
                .split_once("the keys here are ")
                .unwrap_or_else(|| panic!("{shown}"));
            let list = list.lines().next().unwrap();
            let read: BTreeSet<&str> = list
                .split(['`', ',', ' '])
                .filter(|name| !name.is_empty())
                .collect();
            let mut rows: BTreeSet<&str> = section.keys.iter().map(|key| key.name).collect();
            if section.path == "routes.NAME.scheme" {
                // Refused in this family.
                for name in [
                    "token",
                    "public_key",
                    "algorithms",
                    "keys",
                    "jwks",
                    "issuer",
                    "audience",
                    "tolerance_claim",
                    "body_claim",
                    "url_claim",
                    "claims",
                    "route_claims",
                    "hosts",
                ] {
                    rows.remove(name);
                }
            }
            assert_eq!(read, rows, "[{}]", section.path);
        }
    }
}
