//! `[store]`: location of accepted events, their limits, and their retention.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{SpannedValue, TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::secret::Secret;

use crate::config::load_context::LoadContext;
use crate::config::model::{RetentionSection, StoreSection};
use crate::config::store_url::StoreUrl;
use crate::config::{secrets, store_postgres, store_url};
use crate::model::database::{DatabaseLocation, SqliteFile};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Limit of encryption keys: the new one, and old ones until no event that they sealed is left.
const MAX_KEYS: usize = 4;

/// Shortest encryption key in bytes; a shorter one can be found by brute force.
const MIN_KEY: usize = 16;

/// Reads the section; returns `None` if it has no valid `url`.
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> Option<StoreSection> {
    let url = table.require(&URL, |value| store_url::parse(&value::text(value)?));
    let url_span = url.as_ref().map(|url| url.span);
    let location = match url {
        Some(url) => location(&mut table, url, context),
        None => {
            // Without the kind of database it is unknown which keys belong here.
            store_postgres::ignore(&mut table);
            table.ignore(MIN_FREE.name);
            None
        }
    };
    let max_size = table.read(&MAX_SIZE, size);
    let max_events = table.read(&MAX_EVENTS, value::count);
    let retention = match table.table(&RETENTION) {
        Some(table) => retention(table),
        None => DEFAULT_RETENTION,
    };
    let keep_body = table.read(&KEEP_BODY, value::boolean);
    let encryption_keys = encryption_keys(&mut table, context);
    table.deny_unknown();
    Some(StoreSection {
        location: location?,
        url_span: url_span?,
        max_size,
        max_events,
        retention,
        keep_body: keep_body.unwrap_or(true),
        encryption_keys,
    })
}

/// Reads only the location, without the password.
pub(super) fn read_location(
    mut table: TomlTable<'_>,
    context: &LoadContext,
) -> Option<DatabaseLocation> {
    let url = table.require(&URL, |value| store_url::parse(&value::text(value)?))?;
    match url.value {
        StoreUrl::Sqlite(_) => location(&mut table, url, context),
        StoreUrl::Postgres(postgres) => {
            let settings =
                store_postgres::read_without_password(&mut table, postgres, url.span, context)?;
            Some(DatabaseLocation::Postgres(Box::new(settings)))
        }
    }
}

/// Reads the keys of the database that the URL names, and rejects those of the other one.
fn location(
    table: &mut TomlTable<'_>,
    url: SpannedValue<StoreUrl>,
    context: &LoadContext,
) -> Option<DatabaseLocation> {
    match url.value {
        StoreUrl::Sqlite(path) => {
            store_postgres::refuse(table);
            let min_free = table.read(&MIN_FREE, size);
            Some(DatabaseLocation::Sqlite(SqliteFile {
                path: context.folder.join(path),
                min_free: min_free.unwrap_or(DEFAULT_MIN_FREE),
            }))
        }
        StoreUrl::Postgres(postgres) => {
            table.refuse(MIN_FREE.name, |_| {
                ValueFault::new(
                    "`min_free` needs a database file: hookgate cannot see the disk of a PostgreSQL server",
                    "remove it, and watch the server's disk; `max_size` limits the size of the schema",
                )
            });
            let settings = store_postgres::read(table, postgres, url.span, context)?;
            Some(DatabaseLocation::Postgres(Box::new(settings)))
        }
    }
}

fn size(value: &TomlValue<'_>) -> Result<u64, ValueFault> {
    let size = value::size(value)?;
    Ok(u64::try_from(size).unwrap_or(u64::MAX))
}

fn retention(mut table: TomlTable<'_>) -> RetentionSection {
    // `false` means forever, so the default may only replace a key that is absent.
    let mut age = |key: &KeyDefinition, default: Option<Duration>| {
        let read = table.read(key, |value| value::false_or(value, value::duration));
        read.unwrap_or(default)
    };
    let retention = RetentionSection {
        delivered: age(&DELIVERED, DEFAULT_RETENTION.delivered),
        dead: age(&DEAD, DEFAULT_RETENTION.dead),
        attempts: age(&ATTEMPTS, DEFAULT_RETENTION.attempts),
        size: None,
    };
    // Not in the literal above, where the closure `age` still borrows the table.
    let size = table.read(&SIZE, size);
    table.deny_unknown();
    RetentionSection { size, ..retention }
}

fn encryption_keys(table: &mut TomlTable<'_>, context: &LoadContext) -> Vec<Arc<Secret>> {
    let Some(value) = table.value(&ENCRYPTION_KEY) else {
        return Vec::new();
    };
    let items = value.items().unwrap_or_else(|| vec![value]);
    if !(1..=MAX_KEYS).contains(&items.len()) {
        value.fault(ValueFault::new(
            format!("a store can have 1 to {MAX_KEYS} keys"),
            "list the new key first, then the old keys of events that are still stored",
        ));
    }
    let mut keys = Vec::new();
    // The order matters: the first key encrypts.
    for item in items.iter().take(MAX_KEYS) {
        let Some(key) = secrets::read_token(item, context) else {
            continue;
        };
        if key.expose().len() < MIN_KEY {
            item.fault(ValueFault::new(
                format!("this key has fewer than {MIN_KEY} bytes"),
                "make one with `openssl rand -base64 32`",
            ));
        }
        keys.push(Arc::new(key));
    }
    keys
}

// Enough for the store's write-ahead log, and for other programs on this disk to notice before it is full.
const DEFAULT_MIN_FREE: u64 = 256 << 20;

const DEFAULT_RETENTION: RetentionSection = RetentionSection {
    delivered: Some(Duration::from_secs(7 * 24 * 3600)),
    dead: Some(Duration::from_secs(30 * 24 * 3600)),
    attempts: Some(DAY.saturating_mul(7)),
    size: None,
};

/// Keys of the `[store]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "store",
    doc: "Database for the events of routes in queue and hybrid mode: a file of this process, or a PostgreSQL database that several nodes share. With a store, dedup of proxy routes also survives restarts.",
    keys: &[
        &URL,
        &store_postgres::PASSWORD,
        &store_postgres::CA,
        &store_postgres::CERT,
        &store_postgres::KEY,
        &store_postgres::INSECURE,
        &store_postgres::SCHEMA,
        &store_postgres::NODE,
        &store_postgres::DURABILITY,
        &MIN_FREE,
        &MAX_SIZE,
        &MAX_EVENTS,
        &KEEP_BODY,
        &RETENTION,
        &ENCRYPTION_KEY,
    ],
    required: &["url"],
    one_of: &[],
};

pub(super) static URL: KeyDefinition = KeyDefinition {
    name: "url",
    kind: ValueKind::Text,
    default: None,
    example: "\"sqlite:/var/lib/hookgate/hookgate.db\"",
    doc: "`sqlite:` and the path of the database file, which is created if it does not exist. It must be on a local disk. Or a PostgreSQL database, `postgres://hookgate@db1,db2/hookgate`: of several servers the first one that accepts writes is used, and `?host=/run/postgresql` names the folder of a Unix socket. TLS with a verified certificate is the default; `?sslmode=disable` turns it off on this machine.",
};

pub(super) static MIN_FREE: KeyDefinition = KeyDefinition {
    name: "min_free",
    kind: ValueKind::Size,
    default: Some("\"256MiB\""),
    example: "\"1GiB\"",
    doc: "Free space to keep on the disk of a database file. With less, events get 503, and their senders retry later. Not with PostgreSQL, whose disk hookgate cannot see.",
};

pub(super) static MAX_SIZE: KeyDefinition = KeyDefinition {
    name: "max_size",
    kind: ValueKind::Size,
    default: Some("no limit but `min_free`"),
    example: "\"20GiB\"",
    doc: "Maximum size of the store. Beyond it, events get 503, and their senders retry later.",
};

pub(super) static MAX_EVENTS: KeyDefinition = KeyDefinition {
    name: "max_events",
    kind: ValueKind::Count,
    default: Some("no limit"),
    example: "5000000",
    doc: "Maximum number of events in the store. Beyond it, events get 503, and their senders retry later.",
};

pub(super) static KEEP_BODY: KeyDefinition = KeyDefinition {
    name: "keep_body",
    kind: ValueKind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Keeps the body of an event after all its deliveries were delivered or cancelled. With `false`, such events cannot be replayed.",
};

pub(super) static RETENTION: KeyDefinition = KeyDefinition {
    name: "retention",
    kind: ValueKind::Table(&RETENTION_SECTION),
    default: None,
    example: "{ delivered = \"7d\", dead = \"30d\" }",
    doc: "How long to keep events and attempts that have ended.",
};

pub(super) static ENCRYPTION_KEY: KeyDefinition = KeyDefinition {
    name: "encryption_key",
    kind: ValueKind::OneOrMore(&ValueKind::Either(
        &ValueKind::Text,
        &ValueKind::Table(&secrets::SECTION),
    )),
    default: None,
    example: "{ credential = \"store-key\" }",
    doc: "Key that encrypts bodies, headers and responses in the store. Event ids and types stay readable. To rotate it, list the new key first, then the old ones: the first key encrypts, and all of them decrypt.",
};

/// Keys of the `[store.retention]` section.
pub(super) static RETENTION_SECTION: SectionDefinition = SectionDefinition {
    path: "store.retention",
    doc: "How long to keep events and attempts that have ended. Events with pending deliveries are always kept.",
    keys: &[&DELIVERED, &DEAD, &ATTEMPTS, &SIZE],
    required: &[],
    one_of: &[],
};

// Long enough to replay the events of last week after a bug in the app.
pub(super) static DELIVERED: KeyDefinition = KeyDefinition {
    name: "delivered",
    kind: ValueKind::FalseOr(&ValueKind::Duration),
    default: Some("\"7d\""),
    example: "\"30d\"",
    doc: "How long to keep events whose deliveries were all delivered or cancelled. `false` keeps them forever.",
};

pub(super) static DEAD: KeyDefinition = KeyDefinition {
    name: "dead",
    kind: ValueKind::FalseOr(&ValueKind::Duration),
    default: Some("\"30d\""),
    example: "\"90d\"",
    doc: "How long to keep dead letters. `false` keeps them until an operator retries or discards them.",
};

pub(super) static ATTEMPTS: KeyDefinition = KeyDefinition {
    name: "attempts",
    kind: ValueKind::FalseOr(&ValueKind::Duration),
    default: Some("\"7d\""),
    example: "\"1d\"",
    doc: "How long to keep the attempts of deliveries that have ended. `false` keeps them as long as their event.",
};

pub(super) static SIZE: KeyDefinition = KeyDefinition {
    name: "size",
    kind: ValueKind::Size,
    default: Some("no limit"),
    example: "\"10GiB\"",
    doc: "Size of the store above which the oldest ended events are deleted, whatever their age.",
};
