//! `[store]`: where accepted events are kept, how much of them, and for how long.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::model::{Retention, Store};
use crate::config::{Context, secrets};
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table, Value};
use crate::document::value;
use crate::model::secret::Secret;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Keys that open: the new one, and old ones until nothing is left that they sealed.
const MAX_KEYS: usize = 4;

/// Below this a key can be found by trying.
const MIN_KEY: usize = 16;

/// Reads the section; none where it is wrong.
pub(super) fn read(mut table: Table<'_>, context: &Context) -> Option<Store> {
    let path = table.require(&URL, |value| sqlite_path(value, context));
    let min_free = table.read(&MIN_FREE, size);
    let max_size = table.read(&MAX_SIZE, size);
    let max_events = table.read(&MAX_EVENTS, value::count);
    let retention = match table.table(&RETENTION) {
        Some(table) => retention(table),
        None => DEFAULT_RETENTION,
    };
    let keep_body = table.read(&KEEP_BODY, value::boolean);
    let encryption_keys = encryption_keys(&mut table, context);
    table.deny_unknown();
    Some(Store {
        path: path?.value,
        min_free: min_free.unwrap_or(DEFAULT_MIN_FREE),
        max_size,
        max_events,
        retention,
        keep_body: keep_body.unwrap_or(true),
        encryption_keys,
    })
}

fn sqlite_path(value: &Value<'_>, context: &Context) -> Result<PathBuf, Fault> {
    let text = value::text(value)?;
    if text.starts_with("postgres:") || text.starts_with("postgresql:") {
        return Err(Fault::new(
            "PostgreSQL is not supported by this version",
            URL.example,
        ));
    }
    match text.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.contains('\0') => Ok(context.folder.join(path)),
        _ => Err(Fault::new(
            format!("`{text}` does not say what kind of store it is and where"),
            format!("`sqlite:` and a path: `{}`", URL.example),
        )),
    }
}

fn size(value: &Value<'_>) -> Result<u64, Fault> {
    let size = value::size(value)?;
    Ok(u64::try_from(size).unwrap_or(u64::MAX))
}

fn retention(mut table: Table<'_>) -> Retention {
    let mut age = |key: &Key, default: Option<Duration>| {
        let read = table.read(key, |value| value::false_or(value, value::duration));
        read.unwrap_or(default)
    };
    let retention = Retention {
        delivered: age(&DELIVERED, DEFAULT_RETENTION.delivered),
        dead: age(&DEAD, DEFAULT_RETENTION.dead),
        attempts: age(&ATTEMPTS, DEFAULT_RETENTION.attempts),
        size: None,
    };
    let size = table.read(&SIZE, size);
    table.deny_unknown();
    Retention { size, ..retention }
}

fn encryption_keys(table: &mut Table<'_>, context: &Context) -> Vec<Arc<Secret>> {
    let Some(value) = table.value(&ENCRYPTION_KEY) else {
        return Vec::new();
    };
    let items = value.items().unwrap_or_else(|| vec![value]);
    if !(1..=MAX_KEYS).contains(&items.len()) {
        value.fault(Fault::new(
            format!("a store takes 1 to {MAX_KEYS} keys"),
            "the new one first, then those whose events are still stored",
        ));
    }
    let mut keys = Vec::new();
    for item in items.iter().take(MAX_KEYS) {
        let Some(key) = secrets::read_token(item, context) else {
            continue;
        };
        if key.expose().len() < MIN_KEY {
            item.fault(Fault::new(
                format!("this key has less than {MIN_KEY} bytes"),
                "make one with `openssl rand -base64 32`",
            ));
        }
        keys.push(Arc::new(key));
    }
    keys
}

// Room for the log of the store and for whatever else lives on this disk to notice before it is full.
const DEFAULT_MIN_FREE: u64 = 256 << 20;

const DEFAULT_RETENTION: Retention = Retention {
    delivered: Some(Duration::from_secs(7 * 24 * 3600)),
    dead: Some(Duration::from_secs(30 * 24 * 3600)),
    attempts: Some(DAY.saturating_mul(7)),
    size: None,
};

/// `[store]`.
pub(super) static SECTION: Section = Section {
    path: "store",
    doc: "Where routes in queue and hybrid mode keep what they accepted. With it, the events that apps of proxy routes took are remembered over restarts too.",
    keys: &[
        &URL,
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

pub(super) static URL: Key = Key {
    name: "url",
    kind: Kind::Text,
    default: None,
    example: "\"sqlite:/var/lib/hookgate/hookgate.db\"",
    doc: "`sqlite:` and the path of the file, which is made where it does not exist. Its folder must be on a local disk.",
};

static MIN_FREE: Key = Key {
    name: "min_free",
    kind: Kind::Size,
    default: Some("\"256MiB\""),
    example: "\"1GiB\"",
    doc: "Bytes that stay free on the store's disk; with less, events are answered 503 and their senders come again.",
};

static MAX_SIZE: Key = Key {
    name: "max_size",
    kind: Kind::Size,
    default: Some("no limit but `min_free`"),
    example: "\"20GiB\"",
    doc: "Bytes of the store; beyond it events are answered 503.",
};

static MAX_EVENTS: Key = Key {
    name: "max_events",
    kind: Kind::Count,
    default: Some("no limit"),
    example: "5000000",
    doc: "Events in the store; beyond it more are answered 503.",
};

static KEEP_BODY: Key = Key {
    name: "keep_body",
    kind: Kind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Whether the body of an event is kept after all its deliveries were delivered or cancelled; without it such an event cannot be replayed.",
};

static RETENTION: Key = Key {
    name: "retention",
    kind: Kind::Table(&RETENTION_SECTION),
    default: None,
    example: "{ delivered = \"7d\", dead = \"30d\" }",
    doc: "How long what has ended is kept.",
};

static ENCRYPTION_KEY: Key = Key {
    name: "encryption_key",
    kind: Kind::OneOrMore(&Kind::Either(&Kind::Text, &Kind::Table(&secrets::SECTION))),
    default: None,
    example: "{ credential = \"store-key\" }",
    doc: "Seals bodies, headers and answers in the store. Several while a key is changed: the first seals, all open. Ids and types stay readable.",
};

/// `[store.retention]`.
pub(super) static RETENTION_SECTION: Section = Section {
    path: "store.retention",
    doc: "How long what has ended is kept; what is still to be delivered stays in any case.",
    keys: &[&DELIVERED, &DEAD, &ATTEMPTS, &SIZE],
    required: &[],
    one_of: &[],
};

// Long enough to replay last week's events after a mistake of the app's.
static DELIVERED: Key = Key {
    name: "delivered",
    kind: Kind::FalseOr(&Kind::Duration),
    default: Some("\"7d\""),
    example: "\"30d\"",
    doc: "Events whose deliveries were all delivered or cancelled; `false`: for ever.",
};

static DEAD: Key = Key {
    name: "dead",
    kind: Kind::FalseOr(&Kind::Duration),
    default: Some("\"30d\""),
    example: "\"90d\"",
    doc: "Dead letters; `false`: until a person retries or discards them.",
};

static ATTEMPTS: Key = Key {
    name: "attempts",
    kind: Kind::FalseOr(&Kind::Duration),
    default: Some("\"7d\""),
    example: "\"1d\"",
    doc: "The attempts of deliveries that have ended; `false`: as long as their event.",
};

static SIZE: Key = Key {
    name: "size",
    kind: Kind::Size,
    default: Some("no limit"),
    example: "\"10GiB\"",
    doc: "Bytes of the store above which the oldest events that have ended go, whatever their age.",
};
