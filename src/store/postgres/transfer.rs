//! PostgreSQL's side of a copy between databases.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::postgres::lease::BEAT;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::{connect, migrate, pooler};
use crate::store::transfer_tables::{
    CONTENT, ColumnKind, DELIVERY, DELIVERY_STATE, PAGE_BYTES, TransferRow, TransferTable,
    TransferValue, read_key, write_key,
};

/// Lock of a running copy, beside a number for the schema.
const COPY_LOCK: i32 = 0x636f_7079;

/// Columns that only open deliveries have in PostgreSQL, beside those of the table.
const OPEN_EXTRA: [(&str, ColumnKind); 4] = [
    ("node", ColumnKind::Int32),
    ("turn", ColumnKind::Int64),
    ("until_ms", ColumnKind::Int64),
    ("size", ColumnKind::Int64),
];

/// Columns of open deliveries that ended ones lack, and the other way round.
const NOT_IN_ENDED: [&str; 4] = ["is_behind", "due_ms", "round", "round_began_ms"];
const NOT_IN_OPEN: [&str; 1] = ["ended_ms"];

/// A schema that a copy reads, in one snapshot.
pub(in crate::store) struct PostgresSource {
    session: Session,
}

/// A schema that a copy writes. Gates reject it until the copy is complete.
pub(in crate::store) struct PostgresTarget {
    session: Session,
    /// Number of the node that deliveries in flight belong to. It is gone, so the first gate returns them to the queue.
    node: i32,
}

impl PostgresSource {
    pub(in crate::store) async fn open(settings: &PostgresSettings) -> Result<Self, StoreError> {
        let session = open(settings).await?;
        let found = migrate::version(&session, &settings.schema).await?;
        // The copied columns are those of one version, so the source must have this version.
        if found != migrate::FORM {
            return Err(StoreError::Setup {
                what: format!(
                    "the schema `{schema}` has version {found}, and this hookgate copies version {known}: run \
                    `hookgate store migrate` first",
                    schema = settings.schema,
                    known = migrate::FORM
                ),
                source: None,
            });
        }
        // Before the snapshot, inside which a beat would never change.
        refuse_live_nodes(&session).await?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        session.batch(begin).await.map_err(StoreError::Postgres)?;
        Ok(Self { session })
    }

    /// Returns a text that changes with every gate that starts, and with everything that one commits.
    pub(in crate::store) async fn fingerprint(&self) -> Result<String, StoreError> {
        let sql = "SELECT concat_ws(' ', (SELECT last_value FROM number), (SELECT last_value FROM turn),
            (SELECT max(id) FROM node), (SELECT max(id) FROM audit), (SELECT max(version) FROM name_version))";
        let row = self.session.query_one(sql, &[]).await;
        Ok(row.map_err(StoreError::Postgres)?.get(0))
    }

    /// Returns the highest number that the store has ever given to an event or a delivery.
    pub(in crate::store) async fn last_number(&self) -> Result<i64, StoreError> {
        let sql = "SELECT last_value FROM number";
        let row = self.session.query_one(sql, &[]).await;
        Ok(row.map_err(StoreError::Postgres)?.get(0))
    }

    pub(in crate::store) async fn count(&self, table: &TransferTable) -> Result<u64, StoreError> {
        count(&self.session, table).await
    }

    pub(in crate::store) async fn page(
        &self,
        table: &TransferTable,
        after: &[TransferValue],
    ) -> Result<Vec<TransferRow>, StoreError> {
        page(&self.session, table, after).await
    }
}

impl PostgresTarget {
    /// Marks an empty schema as a copy, or goes on with one that an earlier copy of the same source left unfinished.
    pub(in crate::store) async fn begin(
        settings: &PostgresSettings,
        fingerprint: &str,
    ) -> Result<Self, StoreError> {
        let session = open(settings).await?;
        // A copy has time, and a session that was cut off may end only when a busy server looks at it.
        let waited = session.batch("SET lock_timeout = '30s'").await;
        waited.map_err(StoreError::Postgres)?;
        migrate::migrate(&session, settings).await?;
        // A lock of the session, since a copy is many transactions. The server releases it if this process dies.
        let sql = "SELECT pg_try_advisory_lock($1, hashtext($2))";
        let row = session
            .query_one(sql, &[&COPY_LOCK, &settings.schema])
            .await;
        if !row.map_err(StoreError::Postgres)?.get::<_, bool>(0) {
            return Err(refused(format!(
                "another copy into the schema `{}` is running",
                settings.schema
            )));
        }
        if !migrate::is_copy(&session, &settings.schema).await? {
            refuse_live_nodes(&session).await?;
            mark(&session, settings, fingerprint).await?;
        }
        let sql = "SELECT position, node FROM copy_progress WHERE name = ''";
        let row = session.query_one(sql, &[]).await;
        let row = row.map_err(StoreError::Postgres)?;
        let known: String = row.get(0);
        // Pages of two different states of the source do not fit together.
        if known != fingerprint {
            return Err(refused(format!(
                "the source has changed since the copy began: remove the copy with `DROP SCHEMA {} CASCADE`, and copy \
                again",
                settings.schema
            )));
        }
        Ok(Self {
            node: row.get(1),
            session,
        })
    }

    /// Returns the key of the last row that is copied.
    pub(in crate::store) async fn position(
        &self,
        table: &TransferTable,
    ) -> Result<Option<TransferRow>, StoreError> {
        let sql = "SELECT position FROM copy_progress WHERE name = $1";
        let row = self.session.query_opt(sql, &[&table.name]).await;
        let row = row.map_err(StoreError::Postgres)?;
        Ok(row.and_then(|row| read_key(row.get(0))))
    }

    /// Writes rows and the key of the last one in one transaction.
    pub(in crate::store) async fn write(
        &self,
        table: &TransferTable,
        rows: &[TransferRow],
    ) -> Result<(), StoreError> {
        let write = async {
            self.session.batch("BEGIN").await?;
            self.insert(table, rows).await?;
            // In the transaction of the rows, so that a copy that goes on neither repeats nor skips any.
            if let Some(last) = rows.last() {
                let sql = "INSERT INTO copy_progress (name, position) VALUES ($1, $2)
                    ON CONFLICT (name) DO UPDATE SET position = excluded.position";
                let key = write_key(&table.key_of(last));
                self.session.execute(sql, &[&table.name, &key]).await?;
            }
            self.session.batch("COMMIT").await
        };
        write.await.map_err(StoreError::Postgres)
    }

    async fn insert(
        &self,
        table: &TransferTable,
        rows: &[TransferRow],
    ) -> Result<(), tokio_postgres::Error> {
        if table.name == DELIVERY.name {
            return self.insert_deliveries(rows).await;
        }
        let mut columns = table.columns.to_vec();
        let mut extra = None;
        // The nodes that did these actions have no name in a file.
        if table.name == "audit" {
            columns.push(("node", ColumnKind::Text));
            extra = Some(TransferValue::Text("sqlite".to_owned()));
        }
        let rows = rows.iter().map(|row| {
            let mut row: Vec<&TransferValue> = row.iter().collect();
            row.extend(&extra);
            row
        });
        self.copy_in(table.name, &columns, rows).await
    }

    /// Writes open and ended deliveries to their tables.
    async fn insert_deliveries(&self, rows: &[TransferRow]) -> Result<(), tokio_postgres::Error> {
        const IN_FLIGHT: i64 = 1;
        const LAST_OPEN: i64 = 2;
        let node = TransferValue::Int(self.node.into());
        let (zero, null) = (TransferValue::Int(0), TransferValue::Null);
        let state = |row: &TransferRow| row.get(DELIVERY_STATE).and_then(TransferValue::int);
        let is_open = |row: &&TransferRow| state(row).unwrap_or(0) <= LAST_OPEN;
        let pick = |without: &'static [&'static str]| {
            let columns = DELIVERY.columns.iter().enumerate();
            columns.filter(|(_, (name, _))| !without.contains(name))
        };
        let open = rows.iter().filter(is_open).map(|row| {
            let mut values: Vec<&TransferValue> = pick(&NOT_IN_OPEN)
                .filter_map(|(column, _)| row.get(column))
                .collect();
            // These belong to a node that is gone, with an end in the past, so the first gate takes them over at once.
            match state(row) == Some(IN_FLIGHT) {
                true => values.extend([&node, &zero, &zero, &zero]),
                false => values.extend([&null, &null, &null, &zero]),
            }
            values
        });
        let mut columns: Vec<_> = pick(&NOT_IN_OPEN).map(|(_, column)| *column).collect();
        columns.extend(OPEN_EXTRA);
        self.copy_in("open_delivery", &columns, open).await?;
        let ended = rows.iter().filter(|row| !is_open(row)).map(|row| {
            let values = pick(&NOT_IN_ENDED).filter_map(|(column, _)| row.get(column));
            values.collect()
        });
        let columns: Vec<_> = pick(&NOT_IN_ENDED).map(|(_, column)| *column).collect();
        self.copy_in("delivery", &columns, ended).await
    }

    async fn copy_in<'a>(
        &self,
        table: &str,
        columns: &[(&'static str, ColumnKind)],
        rows: impl Iterator<Item = Vec<&'a TransferValue>>,
    ) -> Result<(), tokio_postgres::Error> {
        let mut rows = rows.peekable();
        // A page may have only open or only ended deliveries.
        if rows.peek().is_none() {
            return Ok(());
        }
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        let types: Vec<Type> = columns.iter().map(|(_, kind)| sql_type(*kind)).collect();
        let sql = format!("COPY {table} ({}) FROM STDIN BINARY", names.join(", "));
        let sink = self.session.client.copy_in::<_, Bytes>(&sql).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for row in rows {
            let values: Vec<_> = row
                .iter()
                .zip(columns)
                .map(|(value, (_, kind))| to_postgres(value, *kind))
                .collect();
            let values: Vec<SqlValue<'_>> = values
                .iter()
                .map(|value| &**value as SqlValue<'_>)
                .collect();
            writer.as_mut().write(&values).await?;
        }
        writer.finish().await.map(drop)
    }

    pub(in crate::store) async fn count(&self, table: &TransferTable) -> Result<u64, StoreError> {
        count(&self.session, table).await
    }

    pub(in crate::store) async fn page(
        &self,
        table: &TransferTable,
        after: &[TransferValue],
    ) -> Result<Vec<TransferRow>, StoreError> {
        page(&self.session, table, after).await
    }

    /// Computes counters and sizes, and sets the sequences behind the highest number of the source.
    pub(in crate::store) async fn derive(&self, last_number: i64) -> Result<(), StoreError> {
        // Counts are computed from the copied rows, since the two kinds of stores keep them in different forms.
        let mut sql = "BEGIN;
            DELETE FROM tally; DELETE FROM tally_change;
            INSERT INTO tally SELECT lane, state, count(*) FROM any_delivery GROUP BY lane, state;
            INSERT INTO tally SELECT 0, 0, count(*) FROM event;
            INSERT INTO tally SELECT 0, 1, count(*) FROM claim;
            UPDATE open_delivery o SET size = octet_length(c.head) + coalesce(octet_length(c.body), 0)
                FROM content c WHERE c.event = o.event;"
            .to_owned();
        // A number that the source gave is never given again, even if its row is deleted: sealed bytes are bound to it.
        sql.push_str(&format!(
            "SELECT setval('number', greatest({last_number}, 1, (SELECT max(id) FROM event),
                (SELECT max(id) FROM any_delivery)));"
        ));
        for table in [
            "sealing_key",
            "route",
            "destination",
            "kind",
            "lane",
            "replay",
            "audit",
        ] {
            // The third argument: the number is used unless the table is empty.
            sql.push_str(&format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL)
                    FROM {table};"
            ));
        }
        // Without statistics the first searches would be planned for empty tables.
        sql.push_str("COMMIT; ANALYZE");
        let derived = self.session.batch(&sql).await;
        derived.map_err(StoreError::Postgres)
    }

    /// Removes the mark, so that gates may use the schema.
    pub(in crate::store) async fn finish(self) -> Result<(), StoreError> {
        // The node stays while a delivery refers to it: a takeover finds its rows by it. One transaction, so that a
        // gate sees the schema either marked or complete.
        let sql = format!(
            "BEGIN;
            DELETE FROM node WHERE id = {node} AND NOT EXISTS (SELECT 1 FROM open_delivery WHERE node = {node});
            DROP TABLE copy_progress; COMMIT",
            node = self.node
        );
        let finished = self.session.batch(&sql).await;
        finished.map_err(StoreError::Postgres)
    }
}

async fn open(settings: &PostgresSettings) -> Result<Session, StoreError> {
    let session = connect::open(settings, "copy").await?;
    pooler::refuse(settings, &session).await?;
    // The other database may need a while between two statements.
    let sql = "SET idle_in_transaction_session_timeout = 0";
    session.batch(sql).await.map_err(StoreError::Postgres)?;
    Ok(session)
}

/// Creates the record of the progress in an empty schema.
async fn mark(
    session: &Session,
    settings: &PostgresSettings,
    fingerprint: &str,
) -> Result<(), StoreError> {
    let schema = &settings.schema;
    let sql = "SELECT EXISTS (SELECT 1 FROM route) OR EXISTS (SELECT 1 FROM event)
        OR EXISTS (SELECT 1 FROM sealing_key) OR EXISTS (SELECT 1 FROM audit)";
    let row = session.query_one(sql, &[]).await;
    if row.map_err(StoreError::Postgres)?.get(0) {
        return Err(refused(format!(
            "the schema `{schema}` has data already: name another one, or remove it with `DROP SCHEMA {schema} CASCADE`"
        )));
    }
    let work = async {
        session
            .batch(
                "BEGIN; CREATE TABLE copy_progress (name text PRIMARY KEY, position text NOT NULL, node integer)",
            )
            .await?;
        let sql = "WITH gone AS (INSERT INTO node (name, version, form, started_ms, ended_ms, is_gone)
            SELECT 'store copy', $1, $2, now_ms, now_ms, true
            FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms) t RETURNING id)
            INSERT INTO copy_progress (name, position, node) SELECT '', $3, id FROM gone";
        let version = env!("CARGO_PKG_VERSION");
        session
            .execute(sql, &[&version, &migrate::FORM, &fingerprint])
            .await?;
        session.batch("COMMIT").await
    };
    work.await.map_err(StoreError::Postgres)
}

/// Rejects a schema that a gate uses: one whose beat changes, seen by this process's own clock.
async fn refuse_live_nodes(session: &Session) -> Result<(), StoreError> {
    let beats = async || -> Result<Vec<Row>, StoreError> {
        let sql = "SELECT id, beat, name FROM node WHERE ended_ms IS NULL ORDER BY id";
        let rows = session.query(sql, &[]).await;
        rows.map_err(StoreError::Postgres)
    };
    let before = beats().await?;
    if before.is_empty() {
        return Ok(());
    }
    // Two beats and a half: one may be late. The nodes of crashed processes stay as they are.
    tokio::time::sleep(BEAT.mul_f64(2.0) + Duration::from_secs(2)).await;
    let ident = |row: &Row| -> (i32, i64) { (row.get(0), row.get(1)) };
    let after = beats().await?;
    let changed = after
        .iter()
        .find(|row| !before.iter().any(|old| ident(old) == ident(row)));
    match changed {
        None => Ok(()),
        Some(row) => Err(refused(format!(
            "the node `{}` is running: stop all gates that use this schema first",
            row.get::<_, String>(2)
        ))),
    }
}

fn refused(what: String) -> StoreError {
    StoreError::Setup { what, source: None }
}

async fn count(session: &Session, table: &TransferTable) -> Result<u64, StoreError> {
    let sql = format!("SELECT count(*) FROM {}", table.postgres);
    let row = session.query_one(&sql, &[]).await;
    let count: i64 = row.map_err(StoreError::Postgres)?.get(0);
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Reads the rows behind a key.
async fn page(
    session: &Session,
    table: &TransferTable,
    after: &[TransferValue],
) -> Result<Vec<TransferRow>, StoreError> {
    let page = match table.name == CONTENT.name {
        true => content_page(session, table, after).await?,
        false => table.page,
    };
    let (key, columns) = (table.key_list(), table.list());
    let places: Vec<_> = (1..=table.key).map(|place| format!("${place}")).collect();
    // A comparison of keys and not an offset: it begins in the index, however far the copy is.
    let sql = format!(
        "SELECT {columns} FROM {} WHERE ({key}) > ({}) ORDER BY {key} LIMIT {page}",
        table.postgres,
        places.join(", ")
    );
    let values: Vec<_> = after
        .iter()
        .zip(table.columns)
        .map(|(value, (_, kind))| to_postgres(value, *kind))
        .collect();
    let values: Vec<SqlValue<'_>> = values
        .iter()
        .map(|value| &**value as SqlValue<'_>)
        .collect();
    let rows = session.query(&sql, &values).await;
    let rows = rows.map_err(StoreError::Postgres)?;
    let read = |row: &Row| {
        let columns = table.columns.iter().enumerate();
        columns
            .map(|(place, (_, kind))| from_postgres(row, place, *kind))
            .collect()
    };
    Ok(rows.iter().map(read).collect())
}

/// Returns how many of the next contents fit into a page. At least one is read, whatever its size.
async fn content_page(
    session: &Session,
    table: &TransferTable,
    after: &[TransferValue],
) -> Result<usize, StoreError> {
    let first = after.first().and_then(TransferValue::int).unwrap_or(0);
    // Only the sizes, so that no page of large bodies is in memory before its bound is known.
    let sql = format!(
        "SELECT (octet_length(head) + coalesce(octet_length(body), 0))::bigint FROM content WHERE event > $1
        ORDER BY event LIMIT {}",
        table.page
    );
    let rows = session.query(&sql, &[&first]).await;
    let mut size = 0;
    let rows = rows.map_err(StoreError::Postgres)?;
    let fitting = rows.iter().take_while(|row| {
        let bytes: i64 = row.get(0);
        size += usize::try_from(bytes).unwrap_or(0);
        size <= PAGE_BYTES
    });
    Ok(fitting.count().max(1))
}

fn sql_type(kind: ColumnKind) -> Type {
    match kind {
        ColumnKind::Int64 => Type::INT8,
        ColumnKind::Int32 => Type::INT4,
        ColumnKind::Int16 => Type::INT2,
        ColumnKind::Bool => Type::BOOL,
        ColumnKind::Text => Type::TEXT,
        ColumnKind::Bytes => Type::BYTEA,
    }
}

/// Converts a value for a column. Whole numbers that a column cannot hold become its limit.
fn to_postgres(value: &TransferValue, kind: ColumnKind) -> Box<dyn ToSql + Sync + '_> {
    let number = value.int();
    match kind {
        ColumnKind::Int64 => Box::new(number),
        ColumnKind::Int32 => {
            let limit = |number: i64| number.clamp(i32::MIN.into(), i32::MAX.into());
            Box::new(number.and_then(|number| i32::try_from(limit(number)).ok()))
        }
        ColumnKind::Int16 => {
            let limit = |number: i64| number.clamp(i16::MIN.into(), i16::MAX.into());
            Box::new(number.and_then(|number| i16::try_from(limit(number)).ok()))
        }
        ColumnKind::Bool => Box::new(number.map(|number| number != 0)),
        ColumnKind::Text => Box::new(value.text()),
        ColumnKind::Bytes => Box::new(match value {
            TransferValue::Bytes(bytes) => Some(&**bytes),
            _ => None,
        }),
    }
}

fn from_postgres(row: &Row, place: usize, kind: ColumnKind) -> TransferValue {
    let int = |number: Option<i64>| number.map_or(TransferValue::Null, TransferValue::Int);
    match kind {
        ColumnKind::Int64 => int(row.get(place)),
        ColumnKind::Int32 => int(row.get::<_, Option<i32>>(place).map(i64::from)),
        ColumnKind::Int16 => int(row.get::<_, Option<i16>>(place).map(i64::from)),
        ColumnKind::Bool => int(row.get::<_, Option<bool>>(place).map(i64::from)),
        ColumnKind::Text => row
            .get::<_, Option<String>>(place)
            .map_or(TransferValue::Null, TransferValue::Text),
        ColumnKind::Bytes => row
            .get::<_, Option<Vec<u8>>>(place)
            .map_or(TransferValue::Null, TransferValue::Bytes),
    }
}
