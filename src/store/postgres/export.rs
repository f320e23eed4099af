//! Export of events as JSON lines, each with its deliveries and their attempts.
//!
//! It reads in short transactions: a long one would keep the server from removing rows that the nodes delete meanwhile.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use hookgate_verify::model::secret::Secret;
use serde_json::{Value, json};

use crate::model::database::PostgresSettings;
use crate::model::delivery::DeliveryState;
use crate::store::error::StoreError;
use crate::store::event::StoredEventRow;
use crate::store::export_line::{attempt_value, event_fields};
use crate::store::names::NameTable;
use crate::store::postgres::session::Session;
use crate::store::postgres::{attempt_rows, event_rows, hours, keys, names, offline};
use crate::store::seal::{ContentSealer, DerivedKey};

/// Events that one transaction reads.
const AT_ONCE: i64 = 256;

/// Lines of some events, with the numbers of written events and of all events.
struct ExportedLines {
    lines: Vec<String>,
    done: u64,
    total: u64,
}

/// Writes the events that were received at `since_ms` or later, with their deliveries and attempts, as one line of JSON
/// each, oldest first. `progress` gets the number of written events and of all events. Fails with `SchemaKey` if the keys do
/// not decrypt an event. Blocks.
pub(in crate::store) fn export_database(
    settings: &PostgresSettings,
    secrets: &[Secret],
    since_ms: Option<i64>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    let derived = DerivedKey::derive_all(secrets);
    std::thread::scope(|scope| {
        // One batch is written while the next one is read.
        let (sender, lines) = sync_channel::<ExportedLines>(1);
        let reader = scope.spawn(move || {
            offline::on_session(settings, async |session| {
                let sealer = keys::read(session, &derived).await?;
                let export = DatabaseExport {
                    session,
                    sealer: &sealer,
                    schema: &settings.schema,
                    since_ms: since_ms.unwrap_or(i64::MIN),
                };
                export.run(since_ms, &sender).await
            })
        });
        let mut written = Ok(());
        for some in lines {
            written = some
                .lines
                .iter()
                .try_for_each(|line| writeln!(out, "{line}"))
                .map_err(StoreError::Output);
            if written.is_err() {
                // The receiver is dropped here, which ends the reader.
                break;
            }
            progress(some.done, some.total);
        }
        let read = reader.join().unwrap_or(Err(StoreError::Closed));
        written.and(read)?;
        out.flush().map_err(StoreError::Output)
    })
}

struct DatabaseExport<'a> {
    session: &'a Session,
    sealer: &'a ContentSealer,
    schema: &'a str,
    since_ms: i64,
}

impl DatabaseExport<'_> {
    async fn run(
        &self,
        since_ms: Option<i64>,
        lines: &SyncSender<ExportedLines>,
    ) -> Result<(), StoreError> {
        let failed = StoreError::Postgres;
        let range = hours::range(self.session, since_ms, None).await;
        let Some(range) = range.map_err(failed)? else {
            return Ok(());
        };
        let sql = "SELECT coalesce(max(id), 0) FROM event";
        let newest: i64 = self
            .session
            .query_one(sql, &[])
            .await
            .map_err(failed)?
            .get(0);
        let last = range.last.min(newest);
        let sql = "SELECT count(*) FROM event WHERE id BETWEEN $1 AND $2";
        let total = self.session.query_one(sql, &[&range.first, &last]).await;
        let total = u64::try_from(total.map_err(failed)?.get::<_, i64>(0)).unwrap_or(0);
        let (mut seen, mut done) = (range.first.saturating_sub(1), 0);
        loop {
            offline::begin(self.session).await?;
            let read = self.read_some(seen, last).await;
            offline::end(self.session).await?;
            let Some((to, count, some)) = read? else {
                return Ok(());
            };
            seen = to;
            done += count;
            let some = ExportedLines {
                lines: some,
                done,
                // An estimate: nodes may add and delete events meanwhile.
                total: total.max(done),
            };
            if lines.send(some).is_err() {
                return Ok(());
            }
        }
    }

    /// Reads some events. Returns the last one, their number and their lines, or `None` if no more are left.
    async fn read_some(
        &self,
        seen: i64,
        last: i64,
    ) -> Result<Option<(i64, u64, Vec<String>)>, StoreError> {
        let failed = StoreError::Postgres;
        let sql = "SELECT id FROM event WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3";
        let rows = self.session.query(sql, &[&seen, &last, &AT_ONCE]).await;
        let ids: Vec<i64> = rows.map_err(failed)?.iter().map(|row| row.get(0)).collect();
        let Some(to) = ids.last().copied() else {
            return Ok(None);
        };
        // Nodes may add names meanwhile, so read them in the same transaction as the events.
        let (names, _) = names::load(self.session).await.map_err(failed)?;
        let names = Arc::new(names);
        let mut events = event_rows::read_many(self.session, &names, &ids)
            .await
            .map_err(failed)?;
        let mut deliveries = self.deliveries(&names, &ids).await.map_err(failed)?;
        let mut lines = Vec::with_capacity(ids.len());
        for id in &ids {
            if let Some(stored) = events.remove(id)
                && let Some(line) = self.line(stored, deliveries.remove(id).unwrap_or_default())?
            {
                lines.push(line.to_string());
            }
        }
        Ok(Some((to, u64::try_from(ids.len()).unwrap_or(0), lines)))
    }

    fn line(
        &self,
        stored: StoredEventRow,
        deliveries: Vec<Value>,
    ) -> Result<Option<Value>, StoreError> {
        if stored.received_ms < self.since_ms {
            return Ok(None);
        }
        // The nodes encrypt everything after the first key, so another program wrote this event.
        if stored.is_forged(self.sealer) {
            tracing::warn!(
                event = stored.id,
                "an event is left out: it is unencrypted, but newer than the first encryption key"
            );
            return Ok(None);
        }
        let opened = stored.try_open(self.sealer);
        let event = opened.ok_or_else(|| StoreError::SchemaKey {
            schema: self.schema.to_owned(),
        })?;
        let mut line = event_fields(&event);
        line.insert("deliveries".to_owned(), deliveries.into());
        Ok(Some(Value::Object(line)))
    }

    /// Returns the deliveries of events, oldest first, with their attempts.
    async fn deliveries(
        &self,
        names: &NameTable,
        events: &[i64],
    ) -> Result<HashMap<i64, Vec<Value>>, tokio_postgres::Error> {
        let sql = "SELECT id, event, lane, state, attempts, created_ms, ended_ms FROM any_delivery
            WHERE event = ANY($1) ORDER BY id";
        let rows = self.session.query(sql, &[&events]).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let mut attempts = attempt_rows::read(self.session, self.sealer, &ids).await?;
        let mut found: HashMap<i64, Vec<Value>> = HashMap::new();
        for row in &rows {
            let id: i64 = row.get(0);
            let lane = names.lanes.get(&row.get::<_, i64>(2));
            let name = lane.and_then(|lane| names.destinations.get(&lane.destination));
            let state = DeliveryState::from_code(row.get::<_, i16>(3).into());
            let attempts = attempts.remove(&id).unwrap_or_default();
            let attempts: Vec<Value> = attempts.into_iter().map(attempt_value).collect();
            found.entry(row.get(1)).or_default().push(json!({
                "id": id,
                "destination": name.map(|destination| destination.name.as_str()),
                "state": state.map(DeliveryState::word),
                "is_replay": lane.is_some_and(|lane| lane.is_replay),
                "attempt_count": row.get::<_, i32>(4),
                "created_ms": row.get::<_, i64>(5),
                "ended_ms": row.get::<_, Option<i64>>(6),
                "attempts": attempts,
            }));
        }
        Ok(found)
    }
}
