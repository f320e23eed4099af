//! SQLite's side of a copy between databases.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use crate::model::clock::ClockReading;
use crate::store::error::StoreError;
use crate::store::partial::PartialFile;
use crate::store::sqlite::connect::{self, FileLock, open_failed};
use crate::store::sqlite::time_index::BlockSpans;
use crate::store::sqlite::{id_index, migrate, wal};
use crate::store::transfer_tables::{
    EVENT, PAGE_BYTES, TransferRow, TransferTable, TransferValue, read_key, row_size, write_key,
};

/// A file that a copy reads. No gate can open it meanwhile.
pub(in crate::store) struct SqliteSource {
    conn: Connection,
    /// Dropped after the connection: closing a file releases SQLite's locks on it.
    _lock: FileLock,
}

/// A file that a copy writes, under a temporary name until it is complete.
pub(in crate::store) struct SqliteTarget {
    conn: Connection,
    partial: PartialFile,
}

impl SqliteSource {
    /// Opens a store that no gate uses, and migrates it to the newest schema.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |err| open_failed(path, err);
        // Before anything touches the file, because a gate may have it open.
        let lock = FileLock::take(path)?;
        // As at the start of a gate: a process that died may have left a log that is not on the disk yet.
        wal::secure(path).map_err(|err| failed(connect::io_failed(&err)))?;
        let conn = connect::writer(path).map_err(failed)?;
        let form = migrate::form(&conn, path)?;
        if form == 0 {
            return Err(StoreError::Damaged {
                what: format!("`{}` is empty: it never was a store", path.display()),
            });
        }
        connect::prepare_writer(&conn).map_err(failed)?;
        migrate::migrate(&conn, form).map_err(failed)?;
        // One read transaction for the whole copy, so that all pages are of the same state.
        conn.execute_batch("BEGIN").map_err(StoreError::Read)?;
        Ok(Self { conn, _lock: lock })
    }

    /// Returns a text that changes with every write of a gate.
    pub(in crate::store) fn fingerprint(&self) -> Result<String, StoreError> {
        let sql = "SELECT json_array(events, claims, last_event, last_delivery, clock_ms,
            (SELECT max(id) FROM audit)) FROM total";
        let text = self.conn.query_row(sql, [], |row| row.get(0));
        text.map_err(StoreError::Read)
    }

    /// Returns the highest number that the store has ever given to an event or a delivery.
    pub(in crate::store) fn last_number(&self) -> Result<i64, StoreError> {
        let sql = "SELECT max(last_event, last_delivery) FROM total";
        let number = self.conn.query_row(sql, [], |row| row.get(0));
        number.map_err(StoreError::Read)
    }

    pub(in crate::store) fn count(&self, table: &TransferTable) -> Result<u64, StoreError> {
        count(&self.conn, table)
    }

    /// Reads the rows behind a key. PostgreSQL's text has no NUL, so it is written as `\0`.
    pub(in crate::store) fn page(
        &self,
        table: &TransferTable,
        after: &[TransferValue],
    ) -> Result<Vec<TransferRow>, StoreError> {
        let mut rows = page(&self.conn, table, after)?;
        for value in rows.iter_mut().flatten() {
            if let TransferValue::Text(text) = value
                && text.contains('\0')
            {
                *text = text.replace('\0', "\\0");
            }
        }
        Ok(rows)
    }
}

impl SqliteTarget {
    /// Creates a file, or goes on with one that an earlier copy of the same source left unfinished.
    pub(in crate::store) fn begin(path: &Path, fingerprint: &str) -> Result<Self, StoreError> {
        let failed = |err: std::io::Error| open_failed(path, connect::io_failed(&err));
        let partial = PartialFile::resume(path).map_err(|err| match err.kind() {
            std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::ResourceBusy => {
                StoreError::Output(err)
            }
            _ => failed(err),
        })?;
        let failed = |err| open_failed(partial.path(), err);
        let conn = connect::writer(partial.path()).map_err(failed)?;
        let form = migrate::form(&conn, partial.path())?;
        connect::prepare_writer(&conn).map_err(failed)?;
        migrate::migrate(&conn, form).map_err(failed)?;
        // Retention may have left a row without the one that it refers to, which changes nothing. And a power cut only
        // costs another start of the copy.
        let sql = "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 4000;
            CREATE TABLE IF NOT EXISTS copy_progress (name TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT";
        conn.execute_batch(sql).map_err(failed)?;
        let target = Self { conn, partial };
        match target.record("")? {
            Some(known) if known != fingerprint => Err(StoreError::Setup {
                what: format!(
                    "the source has changed since the copy to `{}` began: remove that file and copy again",
                    target.partial.path().display()
                ),
                source: None,
            }),
            Some(_) => Ok(target),
            None => {
                set_record(&target.conn, "", fingerprint).map_err(StoreError::Write)?;
                Ok(target)
            }
        }
    }

    fn record(&self, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT position FROM copy_progress WHERE name = ?1";
        let found = self.conn.query_row(sql, [name], |row| row.get(0));
        found.optional().map_err(StoreError::Read)
    }

    /// Returns the key of the last row that is copied.
    pub(in crate::store) fn position(
        &self,
        table: &TransferTable,
    ) -> Result<Option<TransferRow>, StoreError> {
        Ok(self.record(table.name)?.and_then(|text| read_key(&text)))
    }

    /// Writes rows and the key of the last one in one transaction.
    pub(in crate::store) fn write(
        &self,
        table: &TransferTable,
        rows: &[TransferRow],
    ) -> Result<(), StoreError> {
        let write = || -> rusqlite::Result<()> {
            self.conn.execute_batch("BEGIN IMMEDIATE")?;
            insert(&self.conn, table, rows)?;
            if let Some(last) = rows.last() {
                set_record(&self.conn, table.name, &write_key(&table.key_of(last)))?;
            }
            self.conn.execute_batch("COMMIT")
        };
        write().map_err(|err| {
            let _ = self.conn.execute_batch("ROLLBACK");
            StoreError::Write(err)
        })
    }

    pub(in crate::store) fn count(&self, table: &TransferTable) -> Result<u64, StoreError> {
        count(&self.conn, table)
    }

    pub(in crate::store) fn page(
        &self,
        table: &TransferTable,
        after: &[TransferValue],
    ) -> Result<Vec<TransferRow>, StoreError> {
        page(&self.conn, table, after)
    }

    /// Computes the counters, which continue behind the highest number of the source.
    pub(in crate::store) fn derive(&self, last_number: i64) -> Result<(), StoreError> {
        let derive = || -> rusqlite::Result<()> {
            self.conn.execute_batch(
                "BEGIN IMMEDIATE;
                DELETE FROM tally;
                INSERT INTO tally SELECT lane, state, count(*) FROM delivery GROUP BY lane, state",
            )?;
            let sql = "UPDATE total SET events = (SELECT count(*) FROM event),
                claims = (SELECT count(*) FROM claim),
                last_event = max(?1, (SELECT coalesce(max(id), 0) FROM event)),
                last_delivery = max(?1, (SELECT coalesce(max(id), 0) FROM delivery)), clock_ms = ?2";
            let now_ms = ClockReading::read().unix_ms;
            self.conn.execute(sql, params![last_number, now_ms])?;
            self.conn.execute_batch("COMMIT")
        };
        derive().map_err(StoreError::Write)
    }

    /// Removes the record of the progress, and gives the file its name.
    pub(in crate::store) fn finish(self) -> Result<(), StoreError> {
        let Self { conn, partial } = self;
        let closing = || -> rusqlite::Result<()> {
            // The whole file is synchronized below, before it gets its name.
            conn.execute_batch("DROP TABLE copy_progress; PRAGMA synchronous = FULL")?;
            // No log may remain beside the file, because the file is about to get another name.
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
                .map(drop)
        };
        closing().map_err(StoreError::Write)?;
        conn.close().map_err(|(_, err)| StoreError::Write(err))?;
        partial.finish().map_err(StoreError::Output)
    }
}

fn set_record(conn: &Connection, name: &str, position: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO copy_progress (name, position) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET position = excluded.position";
    conn.prepare_cached(sql)?
        .execute([name, position])
        .map(drop)
}

fn insert(conn: &Connection, table: &TransferTable, rows: &[TransferRow]) -> rusqlite::Result<()> {
    // `cursor` is the older name of a replay's position.
    let columns = table.list().replace("position", "\"cursor\"");
    let places = vec!["?"; table.columns.len()].join(", ");
    let sql = format!("INSERT INTO {} ({columns}) VALUES ({places})", table.name);
    let mut insert = conn.prepare_cached(&sql)?;
    let mut spans = BlockSpans::default();
    for row in rows {
        insert.execute(params_from_iter(row.iter().map(to_sqlite)))?;
        // The columns of `event` by which lists find it.
        if table.name == EVENT.name
            && let [id, _, _, received_ms, _, event_id, webhook_id, _] = &**row
        {
            let id = id.int().unwrap_or(0);
            spans.add(id, received_ms.int().unwrap_or(0));
            id_index::write(conn, id, event_id.text(), webhook_id.text())?;
        }
    }
    spans.flush(conn)
}

fn count(conn: &Connection, table: &TransferTable) -> Result<u64, StoreError> {
    let sql = format!("SELECT count(*) FROM {}", table.name);
    let count = conn.query_row(&sql, [], |row| row.get::<_, i64>(0));
    let count = count.map_err(StoreError::Read)?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn page(
    conn: &Connection,
    table: &TransferTable,
    after: &[TransferValue],
) -> Result<Vec<TransferRow>, StoreError> {
    let read = || -> rusqlite::Result<Vec<TransferRow>> {
        let (key, columns) = (table.key_list(), table.list());
        let places = vec!["?"; table.key].join(", ");
        let sql = format!(
            "SELECT {columns} FROM {} WHERE ({key}) > ({places}) ORDER BY {key} LIMIT {}",
            table.sqlite, table.page
        );
        let mut query = conn.prepare_cached(&sql)?;
        let mut rows = query.query(params_from_iter(after.iter().map(to_sqlite)))?;
        let mut found = Vec::new();
        let mut size = 0;
        while let Some(row) = rows.next()? {
            let values = (0..table.columns.len()).map(|column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => TransferValue::Null,
                    ValueRef::Integer(number) => TransferValue::Int(number),
                    // No column has fractions.
                    ValueRef::Real(_) => TransferValue::Null,
                    ValueRef::Text(text) => {
                        TransferValue::Text(String::from_utf8_lossy(text).into_owned())
                    }
                    ValueRef::Blob(bytes) => TransferValue::Bytes(bytes.to_vec()),
                })
            });
            let values: TransferRow = values.collect::<rusqlite::Result<_>>()?;
            size += row_size(&values);
            found.push(values);
            // After the row is added: one row beyond the bound must not keep the copy from moving on.
            if size > PAGE_BYTES {
                break;
            }
        }
        Ok(found)
    };
    read().map_err(StoreError::Read)
}

fn to_sqlite(value: &TransferValue) -> Value {
    match value {
        TransferValue::Null => Value::Null,
        TransferValue::Int(number) => Value::Integer(*number),
        TransferValue::Text(text) => Value::Text(text.clone()),
        TransferValue::Bytes(bytes) => Value::Blob(bytes.clone()),
    }
}
