//! Tables of a store that a copy between SQLite and PostgreSQL moves, in a form that both share.
//!
//! Derived rows (counts, indexes of times and ids) are not among them: the target computes its own.

use std::fmt::Write;

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

/// Type of a column, as PostgreSQL has it. SQLite has whole numbers, text and bytes only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum ColumnKind {
    Int64,
    Int32,
    Int16,
    Bool,
    Text,
    Bytes,
}

/// A value of a row. Booleans are 0 or 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::store) enum TransferValue {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Values of one row, in the order of the table's columns.
pub(in crate::store) type TransferRow = Vec<TransferValue>;

/// A table, with the query that reads it from each database.
pub(in crate::store) struct TransferTable {
    /// Name in both databases, and in messages.
    pub(in crate::store) name: &'static str,
    pub(in crate::store) columns: &'static [(&'static str, ColumnKind)],
    /// How many of the first columns form the key, in whose order rows are read.
    pub(in crate::store) key: usize,
    /// The text behind `FROM` in SQLite.
    pub(in crate::store) sqlite: &'static str,
    /// The text behind `FROM` in PostgreSQL.
    pub(in crate::store) postgres: &'static str,
    /// Most rows of one page.
    pub(in crate::store) page: usize,
}

/// Bytes after which a page ends, beside its number of rows.
pub(in crate::store) const PAGE_BYTES: usize = 8 << 20;

use ColumnKind::{Bool, Bytes, Int16, Int32, Int64, Text};

/// Position of `state` among the columns of [`DELIVERY`].
pub(in crate::store) const DELIVERY_STATE: usize = 4;

/// Deliveries, open and ended. Columns that matter only while a delivery is open are 0 in ended ones.
pub(in crate::store) static DELIVERY: TransferTable = TransferTable {
    name: "delivery",
    columns: &[
        ("id", Int64),
        ("event", Int64),
        ("lane", Int64),
        ("destination", Int64),
        ("state", Int16),
        ("is_behind", Bool),
        ("priority", Int16),
        ("due_ms", Int64),
        ("order_key", Int64),
        ("attempts", Int32),
        ("round", Int32),
        ("round_began_ms", Int64),
        ("created_ms", Int64),
        ("ended_ms", Int64),
        ("last_status", Int16),
        ("last_error", Text),
    ],
    key: 1,
    sqlite: "(SELECT id, event, lane, destination, state, is_behind * (state < 3) AS is_behind, priority,
        due_ms * (state < 3) AS due_ms, order_key, attempts, round * (state < 3) AS round,
        round_began_ms * (state < 3) AS round_began_ms, created_ms,
        CASE WHEN state < 3 THEN NULL ELSE coalesce(ended_ms, created_ms) END AS ended_ms, last_status, last_error
        FROM delivery)",
    postgres: "(SELECT id, event, lane, destination, state, is_behind, priority, due_ms, order_key, attempts, round,
        round_began_ms, created_ms, NULL::bigint AS ended_ms, last_status, last_error FROM open_delivery
        UNION ALL SELECT id, event, lane, destination, state, false, priority, 0, order_key, attempts, 0, 0,
        created_ms, ended_ms, last_status, last_error FROM delivery) AS delivery",
    page: 1000,
};

/// Heads and bodies of events.
pub(in crate::store) static CONTENT: TransferTable = TransferTable {
    name: "content",
    columns: &[
        ("event", Int64),
        ("sealing_key", Int64),
        ("head", Bytes),
        ("body", Bytes),
    ],
    key: 1,
    sqlite: "content",
    postgres: "content",
    page: 500,
};

/// Events without their content.
pub(in crate::store) static EVENT: TransferTable = TransferTable {
    name: "event",
    columns: &[
        ("id", Int64),
        ("uid", Bytes),
        ("kind", Int64),
        ("received_ms", Int64),
        ("body_size", Int64),
        ("event_id", Text),
        ("webhook_id", Text),
        ("event_type", Text),
    ],
    key: 1,
    sqlite: "event",
    postgres: "event",
    page: 1000,
};

/// Dedup keys. A claim that a proxy route still holds is left out: the gate that holds it is stopped.
static CLAIM: TransferTable = TransferTable {
    name: "claim",
    columns: &[
        ("route", Int64),
        ("key", Bytes),
        ("expires_ms", Int64),
        ("status", Int16),
    ],
    key: 2,
    sqlite: "claim",
    postgres: "(SELECT route, key, expires_ms, status FROM claim WHERE status IS NOT NULL) AS claim",
    page: 1000,
};

static ATTEMPT: TransferTable = TransferTable {
    name: "attempt",
    columns: &[
        ("delivery", Int64),
        ("number", Int32),
        ("started_ms", Int64),
        ("duration_ms", Int64),
        ("status", Int16),
        ("error", Text),
        ("detail", Text),
        ("sealing_key", Int64),
        ("answer", Bytes),
    ],
    key: 2,
    sqlite: "attempt",
    postgres: "attempt",
    page: 500,
};

static SEALING_KEY: TransferTable = TransferTable {
    name: "sealing_key",
    columns: &[
        ("id", Int64),
        ("print", Bytes),
        ("last_clear", Int64),
        ("last_clear_seal", Bytes),
    ],
    key: 1,
    sqlite: "sealing_key",
    postgres: "sealing_key",
    page: 1000,
};

static ROUTE: TransferTable = TransferTable {
    name: "route",
    columns: &[("id", Int64), ("name", Text), ("is_paused", Bool)],
    key: 1,
    sqlite: "route",
    postgres: "route",
    page: 1000,
};

static DESTINATION: TransferTable = TransferTable {
    name: "destination",
    columns: &[
        ("id", Int64),
        ("route", Int64),
        ("name", Text),
        ("is_paused", Bool),
        ("disabled", Text),
    ],
    key: 1,
    sqlite: "destination",
    postgres: "destination",
    page: 1000,
};

static KIND: TransferTable = TransferTable {
    name: "kind",
    columns: &[
        ("id", Int64),
        ("route", Int64),
        ("provider", Text),
        ("event_type", Text),
        ("is_rest", Bool),
    ],
    key: 1,
    sqlite: "kind",
    postgres: "kind",
    page: 1000,
};

static LANE: TransferTable = TransferTable {
    name: "lane",
    columns: &[
        ("id", Int64),
        ("kind", Int64),
        ("destination", Int64),
        ("is_replay", Bool),
    ],
    key: 1,
    sqlite: "lane",
    postgres: "lane",
    page: 1000,
};

static REPLAY: TransferTable = TransferTable {
    name: "replay",
    columns: &[
        ("id", Int64),
        ("created_ms", Int64),
        ("search", Text),
        ("last", Int64),
        ("position", Int64),
        ("total", Int64),
        ("done", Int64),
        ("skipped", Int64),
        ("is_paused", Bool),
        ("is_ended", Bool),
    ],
    key: 1,
    sqlite: "(SELECT *, \"cursor\" AS position FROM replay)",
    postgres: "replay",
    page: 1000,
};

static AUDIT: TransferTable = TransferTable {
    name: "audit",
    columns: &[
        ("id", Int64),
        ("at_ms", Int64),
        ("who", Text),
        ("role", Text),
        ("source", Text),
        ("action", Text),
        ("target", Text),
        ("detail", Text),
        ("status", Int16),
    ],
    key: 1,
    sqlite: "audit",
    postgres: "audit",
    page: 1000,
};

/// All tables, each behind those that its rows refer to.
pub(in crate::store) static TABLES: [&TransferTable; 12] = [
    &SEALING_KEY,
    &ROUTE,
    &DESTINATION,
    &KIND,
    &LANE,
    &EVENT,
    &CONTENT,
    &CLAIM,
    &DELIVERY,
    &ATTEMPT,
    &REPLAY,
    &AUDIT,
];

impl TransferTable {
    /// Returns the names of the columns, separated by commas.
    pub(in crate::store) fn list(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// Returns the names of the key's columns, separated by commas.
    pub(in crate::store) fn key_list(&self) -> String {
        let names = self.columns.iter().take(self.key);
        let names: Vec<_> = names.map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// Returns a key before all rows.
    pub(in crate::store) fn start(&self) -> TransferRow {
        let first = |kind: &ColumnKind| match kind {
            Bytes => TransferValue::Bytes(Vec::new()),
            // Below every number that is given, and still in the range of a key of 32 bits.
            _ => TransferValue::Int(i64::from(i32::MIN)),
        };
        let keys = self.columns.iter().take(self.key);
        keys.map(|(_, kind)| first(kind)).collect()
    }

    /// Returns the key of a row.
    pub(in crate::store) fn key_of(&self, row: &[TransferValue]) -> TransferRow {
        row.iter().take(self.key).cloned().collect()
    }
}

impl TransferValue {
    /// Returns the bytes that the value takes in memory, roughly.
    pub(in crate::store) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    pub(in crate::store) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    pub(in crate::store) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Returns the bytes of all values of a row, roughly.
pub(in crate::store) fn row_size(row: &[TransferValue]) -> usize {
    row.iter().map(TransferValue::size).sum()
}

/// Writes a key as text, for the record of a copy's progress.
pub(in crate::store) fn write_key(key: &[TransferValue]) -> String {
    let values = key.iter().map(|value| match value {
        TransferValue::Int(number) => json!(number),
        TransferValue::Bytes(bytes) => json!(data_encoding::HEXLOWER.encode(bytes)),
        // No key has these.
        TransferValue::Null | TransferValue::Text(_) => Json::Null,
    });
    Json::Array(values.collect()).to_string()
}

/// Reads a key from its text.
pub(in crate::store) fn read_key(text: &str) -> Option<TransferRow> {
    let values: Vec<Json> = serde_json::from_str(text).ok()?;
    let read = |value: &Json| match value {
        Json::Number(number) => number.as_i64().map(TransferValue::Int),
        Json::String(text) => {
            let bytes = data_encoding::HEXLOWER.decode(text.as_bytes());
            bytes.ok().map(TransferValue::Bytes)
        }
        _ => None,
    };
    values.iter().map(read).collect()
}

/// Number and digest of the rows of a table, by which both sides of a copy are compared.
#[derive(Default)]
pub(in crate::store) struct TableDigest {
    rows: u64,
    digest: Sha256,
}

impl TableDigest {
    pub(in crate::store) fn add(&mut self, row: &[TransferValue]) {
        self.rows += 1;
        for value in row {
            let (tag, bytes): (u8, &[u8]) = match value {
                TransferValue::Null => (0, &[]),
                TransferValue::Int(number) => {
                    self.digest.update([1]);
                    self.digest.update(number.to_le_bytes());
                    continue;
                }
                TransferValue::Text(text) => (2, text.as_bytes()),
                TransferValue::Bytes(bytes) => (3, bytes),
            };
            // The length separates values, so that no other division gives the same digest.
            self.digest.update([tag]);
            self.digest.update(bytes.len().to_le_bytes());
            self.digest.update(bytes);
        }
    }

    /// Returns the number of rows, and the digest as text.
    pub(in crate::store) fn finish(self) -> (u64, String) {
        let mut text = String::new();
        // Eight bytes are enough against accidents, and keep the message short.
        for byte in self.digest.finalize().iter().take(8) {
            let _ = write!(text, "{byte:02x}");
        }
        (self.rows, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a copy that goes on would begin at another row than the one behind the last.
    #[test]
    fn keys_survive_their_text() {
        for table in TABLES {
            let start = table.start();
            assert_eq!(read_key(&write_key(&start)), Some(start), "{}", table.name);
        }
        let key = vec![
            TransferValue::Int(7),
            TransferValue::Bytes(vec![0, 255, 10]),
        ];
        assert_eq!(write_key(&key), "[7,\"00ff0a\"]");
        assert_eq!(read_key(&write_key(&key)), Some(key));
        assert_eq!(read_key("[null]"), None);
    }

    /// Fails when rows with the same bytes in other places give the same digest.
    #[test]
    fn digests_differ_with_the_division_of_values() {
        let digest = |values: &[TransferValue]| {
            let mut digest = TableDigest::default();
            digest.add(values);
            digest.finish().1
        };
        let text = |text: &str| TransferValue::Text(text.to_owned());
        let bytes = TransferValue::Bytes(b"ab".to_vec());
        let all = [
            digest(&[text("ab"), text("")]),
            digest(&[text("a"), text("b")]),
            digest(&[bytes, text("")]),
            digest(&[text("ab"), TransferValue::Null]),
            digest(&[TransferValue::Int(0), TransferValue::Null]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one));
        }
    }
}
