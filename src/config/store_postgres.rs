//! Keys of `[store]` that apply to PostgreSQL only: password, TLS, schema, node and durability.

use std::path::PathBuf;
use std::sync::Arc;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;

use crate::config::load_context::LoadContext;
use crate::config::secrets;
use crate::config::store_url::PostgresUrl;
use crate::model::database::{CommitDurability, PostgresSettings, PostgresTls};

/// Name of the schema if the config has no other.
pub(crate) const DEFAULT_SCHEMA: &str = "hookgate";

/// Longest name of a schema that PostgreSQL does not cut off.
const MAX_SCHEMA: usize = 63;

const MAX_NODE: usize = 64;

/// All keys of this file.
static KEYS: [&KeyDefinition; 8] = [
    &PASSWORD,
    &CA,
    &CERT,
    &KEY,
    &INSECURE,
    &SCHEMA,
    &NODE,
    &DURABILITY,
];

/// Marks the keys as known without reading them.
pub(super) fn ignore(table: &mut TomlTable<'_>) {
    for key in KEYS {
        table.ignore(key.name);
    }
}

/// Rejects the keys beside the URL of a file.
pub(super) fn refuse(table: &mut TomlTable<'_>) {
    for key in KEYS {
        table.refuse(key.name, |_| {
            ValueFault::new(
                format!("`{}` has no effect on a database file", key.name),
                "remove it; it is for stores of the form `postgres://`",
            )
        });
    }
}

/// Reads the keys beside a `postgres://` URL.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    url: PostgresUrl,
    url_span: TextSpan,
    context: &LoadContext,
) -> Option<PostgresSettings> {
    let password = table.value(&PASSWORD);
    let has_password = password.is_some();
    let password = password.and_then(|value| secrets::read_password(&value, context));
    // Also after a wrong password, so that all errors of the section appear at once.
    let settings = read_without_password(table, url, url_span, context)?;
    Some(PostgresSettings {
        // An unreadable password has an error of its own.
        password: match has_password {
            true => Some(Arc::new(password?)),
            false => None,
        },
        ..settings
    })
}

/// Reads the keys like [`read`], without `password`.
pub(super) fn read_without_password(
    table: &mut TomlTable<'_>,
    url: PostgresUrl,
    url_span: TextSpan,
    context: &LoadContext,
) -> Option<PostgresSettings> {
    let tls = tls(table, &url, url_span, context);
    let schema = table.read(&SCHEMA, schema_name);
    let node = table.read(&NODE, node_name);
    let durability = table.read(&DURABILITY, |value| {
        value::choice(value, &CommitDurability::ALL)
    });
    Some(PostgresSettings {
        hosts: url.hosts,
        database: url.database,
        user: url.user,
        password: None,
        tls: tls?,
        schema: schema.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned()),
        node: node.unwrap_or_else(host_name),
        durability: durability.unwrap_or_default(),
        // The config does not know it; `app` sets it.
        state_folder: None,
    })
}

fn tls(
    table: &mut TomlTable<'_>,
    url: &PostgresUrl,
    url_span: TextSpan,
    context: &LoadContext,
) -> Option<PostgresTls> {
    let file = |table: &mut TomlTable<'_>, key| -> Option<PathBuf> {
        let path = table.read(key, value::path);
        path.map(|path| context.folder.join(path))
    };
    // All keys are read before the first return, so that the rest of them does not count as unknown.
    let ca = file(table, &CA);
    let cert = file(table, &CERT);
    let key = file(table, &KEY);
    let insecure = table.read_placed(&INSECURE, value::boolean);
    let is_insecure = insecure.is_some_and(|insecure| insecure.value);
    if url.is_plain && !url.is_local() && !is_insecure {
        let fault =
            "`sslmode=disable` would send the password and all events over the network in clear";
        let help = "remove `sslmode=disable`, and add `ca` if the server's certificate is from an authority of your \
            own; on a network that is encrypted below, add `insecure = true`";
        table.error(url_span, ValueFault::new(fault, help).label("not loopback"));
        return None;
    }
    if let Some(insecure) = insecure.filter(|_| is_insecure && !url.is_plain) {
        let fault = "`insecure` has no effect: connections are encrypted without `sslmode=disable`";
        table.warning(insecure.span, ValueFault::new(fault, "remove it"));
    }
    if url.is_plain || url.has_sockets_only() {
        for key in [&CA, &CERT, &KEY].into_iter().filter(|key| table.has(key)) {
            let fault = ValueFault::new(
                format!("`{}` has no effect without TLS", key.name),
                match url.is_plain {
                    true => "remove it, or remove `sslmode=disable` from the URL",
                    false => "remove it: a Unix socket has no TLS",
                },
            );
            let span = table.name_span_of(key);
            table.error(span.unwrap_or(url_span), fault);
        }
        return Some(PostgresTls::Disabled);
    }
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        // A path that is wrong has an error of its own.
        (Some(_), None) if !table.has(&KEY) => {
            table.missing(&KEY);
            return None;
        }
        (None, Some(_)) if !table.has(&CERT) => {
            table.missing(&CERT);
            return None;
        }
        _ => return None,
    };
    Some(PostgresTls::Verified { ca, client })
}

fn schema_name(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    schema_of(&value::text(value)?)
}

/// Parses the name of a schema. It needs no quotes in SQL, so that an operator can type it anywhere.
pub(crate) fn schema_of(name: &str) -> Result<String, ValueFault> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_taken = name.starts_with("pg_") || name == "information_schema";
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    if name.len() <= MAX_SCHEMA && starts_well && name.bytes().all(is_plain) && !is_taken {
        return Ok(name.to_owned());
    }
    Err(ValueFault::new(
        match is_taken {
            true => format!("the schema `{name}` belongs to PostgreSQL itself"),
            false => format!("`{name}` is not a valid schema name"),
        },
        format!(
            "use at most {MAX_SCHEMA} lowercase letters, digits and `_`, and no digit first: `hookgate`"
        ),
    ))
}

fn is_node_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

fn node_name(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let name = value::text(value)?;
    if name.len() <= MAX_NODE && name.bytes().all(is_node_byte) {
        return Ok(name);
    }
    Err(ValueFault::new(
        format!("`{name}` is not a valid node name"),
        format!("use at most {MAX_NODE} letters, digits, `-`, `_` and `.`"),
    ))
}

/// Returns the host's name, without characters that a node's name may not have.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    let mut name = uname.nodename().to_bytes().to_vec();
    name.retain(|byte| is_node_byte(*byte));
    name.truncate(MAX_NODE);
    match String::from_utf8(name) {
        Ok(name) if !name.is_empty() => name,
        _ => "node".to_owned(),
    }
}

pub(super) static PASSWORD: KeyDefinition = KeyDefinition {
    name: "password",
    kind: ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"store-password\" }",
    doc: "PostgreSQL: password of the user in `url`. It is never part of the URL, which settings and errors show.",
};

pub(super) static CA: KeyDefinition = KeyDefinition {
    name: "ca",
    kind: ValueKind::Path,
    default: Some("the authorities of the system"),
    example: "\"/etc/hookgate/db-ca.pem\"",
    doc: "PostgreSQL: PEM file with the authorities that may have signed the server's certificate. Read again for each connection.",
};

pub(super) static CERT: KeyDefinition = KeyDefinition {
    name: "cert",
    kind: ValueKind::Path,
    default: None,
    example: "\"/etc/hookgate/db-client.pem\"",
    doc: "PostgreSQL: PEM file with the certificate of this client. Read again for each connection.",
};

pub(super) static KEY: KeyDefinition = KeyDefinition {
    name: "key",
    kind: ValueKind::Path,
    default: None,
    example: "\"/etc/hookgate/db-client.key\"",
    doc: "PostgreSQL: PEM file with the key of `cert`.",
};

pub(super) static INSECURE: KeyDefinition = KeyDefinition {
    name: "insecure",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "PostgreSQL: allows `sslmode=disable` for servers on other machines. The password and all events then cross the network in clear.",
};

pub(super) static SCHEMA: KeyDefinition = KeyDefinition {
    name: "schema",
    kind: ValueKind::Text,
    default: Some("\"hookgate\""),
    example: "\"hookgate\"",
    doc: "PostgreSQL: schema with hookgate's tables. It is created if it does not exist. All nodes of one inbox name the same.",
};

pub(super) static NODE: KeyDefinition = KeyDefinition {
    name: "node",
    kind: ValueKind::Text,
    default: Some("the name of the host"),
    example: "\"edge-1\"",
    doc: "PostgreSQL: name of this node in the console, the API and the server's list of connections. Give each node a different one.",
};

pub(super) static DURABILITY: KeyDefinition = KeyDefinition {
    name: "durability",
    kind: ValueKind::Choice(&value::choice_words(&CommitDurability::ALL)),
    default: Some("\"replica\""),
    example: "\"replica\"",
    doc: "PostgreSQL: when an event counts as stored. `local`: on the primary's disk. `replica`: also on the synchronous standbys that the server names (`synchronous_standby_names`). `applied`: also visible to queries there.",
};
