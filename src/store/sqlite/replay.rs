//! Replays: delivering old events again, as new deliveries in the order of the events.
//!
//! A replay is a row with its search and a cursor. Each step creates the next deliveries and moves the cursor in one
//! transaction, so a restart neither repeats nor skips any. Only rows from before the request count.

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::delivery::DeliveryState;
use crate::model::ids::{DestinationName, RequestId};
use crate::store::error::StoreError;
use crate::store::filter::{ListedEvent, SearchFilter};
use crate::store::names::{DeliveryLane, NameTable};
use crate::store::replay_text::{is_by_event, read_search, replay_scope, write_search};
use crate::store::search::{DeliverySearch, ReplayRow, ReplaySearch};
use crate::store::sqlite::commit::NewDeliveryRow;
use crate::store::sqlite::count;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::index_ranges::ListBounds;
use crate::store::sqlite::lists::each_delivery;
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::readers::{LONG_PATIENCE, PATIENCE, ReadTransaction};
use crate::store::sqlite::search::event_candidates;
use crate::store::sqlite::store::SqliteStore;

/// Priority of replayed deliveries: live deliveries go first.
const PRIORITY: i8 = -1;

/// The end of a replay, and its number of deliveries.
struct ReplayExtent {
    last: i64,
    total: i64,
}

/// The rows that the next step delivers again.
struct ReplayBatch {
    cursor: i64,
    ids: Vec<i64>,
    is_last: bool,
}

impl SqliteStore {
    async fn measure(&self, replay: &ReplaySearch) -> Result<ReplayExtent, StoreError> {
        let search = replay.search.clone();
        let look = self
            .shared
            .read(LONG_PATIENCE, move |look| measure(look, &search));
        look.await
    }

    /// Counts the deliveries that a replay would create.
    pub(crate) async fn count_replay(&self, replay: &ReplaySearch) -> Result<u64, StoreError> {
        let extent = self.measure(replay).await?;
        Ok(u64::try_from(extent.total).unwrap_or(0))
    }

    /// Starts a replay, which `step_replay` then works off. It survives a restart.
    pub(crate) async fn begin_replay(
        &self,
        replay: ReplaySearch,
        now_ms: i64,
    ) -> Result<ReplayRow, StoreError> {
        let extent = self.measure(&replay).await?;
        let run = move |work: &mut GroupWork| work.begin_replay(&replay.search, &extent, now_ms);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    /// Creates the next `limit` deliveries of a replay that is not paused. Returns `None` if the replay does not exist.
    pub(crate) async fn step_replay(
        &self,
        id: i64,
        limit: u64,
        now_ms: i64,
    ) -> Result<Option<ReplayRow>, StoreError> {
        let look = self
            .shared
            // A reader selects the rows. The writer checks that the cursor has not moved since.
            .read(LONG_PATIENCE, move |look| next(look, id, limit));
        let batch = look.await?;
        let run = move |work: &mut GroupWork| work.step_replay(id, batch.as_ref(), now_ms);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    /// Pauses a replay, or resumes it.
    pub(crate) async fn pause_replay(
        &self,
        id: i64,
        is_paused: bool,
    ) -> Result<Option<ReplayRow>, StoreError> {
        let run = move |work: &mut GroupWork| work.pause_replay(id, is_paused);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    /// Lists replays, newest first.
    pub(crate) async fn replays(&self, limit: u64) -> Result<Vec<ReplayRow>, StoreError> {
        let look = self
            .shared
            .read(PATIENCE, move |look| list(look.conn, limit));
        look.await
    }
}

/// Calls a function for each row to deliver again: deliveries, or events.
fn each(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    bounds: ListBounds,
    each: &mut dyn FnMut(i64) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let Some(name) = search.destination.as_ref().filter(|_| is_by_event(search)) else {
        return each_delivery(look, search, bounds, each);
    };
    let mut events = search.event.clone();
    // Each event goes to the destination, whatever the state of its deliveries.
    events.state = None;
    let filter = SearchFilter::new(&events, &look.names);
    let bounds = match search.uid {
        None => bounds,
        Some(uid) => match just(look.conn, uid, bounds)? {
            None => return Ok(()),
            Some(bounds) => bounds,
        },
    };
    let mut candidates = event_candidates(look, &filter, bounds)?;
    while let Some(event) = candidates.next(look.conn)? {
        let Some(line) = ListedEvent::read(look.conn, event)? else {
            continue;
        };
        let is_uid = search.uid.is_none_or(|uid| *uid.as_bytes() == line.uid);
        let is_reached = destination_of(&look.names, line.kind, name).is_some();
        if is_uid && is_reached && filter.wants(&line) && !each(event)? {
            break;
        }
    }
    Ok(())
}

/// Narrows the bounds, oldest first, to a single event.
fn just(
    conn: &Connection,
    uid: RequestId,
    bounds: ListBounds,
) -> rusqlite::Result<Option<ListBounds>> {
    let mut stmt = conn.prepare_cached("SELECT id FROM event WHERE uid = ?1")?;
    let found = stmt.query_row([&uid.as_bytes()[..]], |row| row.get(0));
    let found: Option<i64> = found.optional()?;
    let range = bounds.range;
    let found = found.filter(|event| (range.first..=range.last).contains(event));
    Ok(found.map(|event| ListBounds::oldest_first(event, event)))
}

/// Returns the destination of this name that events of a kind may go to.
fn destination_of(names: &NameTable, kind: i64, name: &DestinationName) -> Option<i64> {
    let route = names.kinds.get(&kind)?.route;
    names.destination(route, name)
}

fn measure(look: &ReadTransaction<'_>, search: &DeliverySearch) -> rusqlite::Result<ReplayExtent> {
    let column = match is_by_event(search) {
        true => "last_event",
        false => "last_delivery",
    };
    let sql = format!("SELECT {column} FROM total");
    // Remember the newest row now, so that later rows do not extend the replay.
    let last = look.conn.query_row(&sql, [], |row| row.get(0))?;
    if let Some(total) = count_at_once(look, search)? {
        return Ok(ReplayExtent { last, total });
    }
    let mut total = 0;
    let bounds = ListBounds::oldest_first(1, last);
    each(look, search, bounds, &mut |_| {
        total += 1;
        Ok(true)
    })?;
    Ok(ReplayExtent { last, total })
}

fn count_at_once(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
) -> rusqlite::Result<Option<i64>> {
    let filter = SearchFilter::new(&search.event, &look.names);
    match &search.destination {
        Some(_) if is_by_event(search) && search.uid.is_some() => Ok(None),
        Some(name) if is_by_event(search) => count::events(look, &filter, name),
        _ => count::deliveries(look, search, &filter),
    }
}

const COLUMNS: &str = "id, created_ms, total, done, skipped, is_paused, is_ended, search";

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<ReplayRow> {
    let unsigned = |column| -> rusqlite::Result<u64> {
        Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
    };
    Ok(ReplayRow {
        id: row.get(0)?,
        created_ms: row.get(1)?,
        total: unsigned(2)?,
        done: unsigned(3)?,
        skipped: unsigned(4)?,
        is_paused: row.get(5)?,
        is_ended: row.get(6)?,
        scope: replay_scope(&row.get::<_, String>(7)?),
    })
}

fn find(conn: &Connection, id: i64) -> rusqlite::Result<Option<ReplayRow>> {
    let sql = format!("SELECT {COLUMNS} FROM replay WHERE id = ?1");
    conn.prepare_cached(&sql)?
        .query_row([id], row_of)
        .optional()
}

fn list(conn: &Connection, limit: u64) -> rusqlite::Result<Vec<ReplayRow>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let sql = format!("SELECT {COLUMNS} FROM replay ORDER BY id DESC LIMIT ?1");
    let mut stmt = conn.prepare_cached(&sql)?;
    let rows = stmt.query_map([limit], row_of)?;
    rows.collect()
}

/// Returns the rows of the next step. Returns `None` if the replay does not exist or has nothing to do.
fn next(look: &ReadTransaction<'_>, id: i64, limit: u64) -> rusqlite::Result<Option<ReplayBatch>> {
    let sql =
        "SELECT search, cursor, last FROM replay WHERE id = ?1 AND is_paused = 0 AND is_ended = 0";
    let mut stmt = look.conn.prepare_cached(sql)?;
    let found = stmt.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let Some((text, cursor, last)): Option<(String, i64, i64)> = found.optional()? else {
        return Ok(None);
    };
    // The stored search decides, so that a restart continues exactly the same replay.
    let search = read_search(&text);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let bounds = ListBounds::oldest_first(cursor + 1, last);
    let mut batch = ReplayBatch {
        cursor,
        ids: Vec::new(),
        is_last: true,
    };
    each(look, &search, bounds, &mut |id| {
        if batch.ids.len() >= limit {
            batch.is_last = false;
            return Ok(false);
        }
        batch.ids.push(id);
        Ok(true)
    })?;
    Ok(Some(batch))
}

impl GroupWork {
    fn begin_replay(
        &mut self,
        search: &DeliverySearch,
        extent: &ReplayExtent,
        now_ms: i64,
    ) -> Result<ReplayRow, TaskFailure> {
        let sql = "INSERT INTO replay
            (created_ms, search, last, cursor, total, done, skipped, is_paused, is_ended)
            VALUES (?1, ?2, ?3, 0, ?4, 0, 0, 0, ?5)";
        let text = write_search(search).to_string();
        let values = params![now_ms, text, extent.last, extent.total, extent.total == 0];
        self.conn.execute(sql, values)?;
        let id = self.conn.last_insert_rowid();
        let found = find(&self.conn, id)?;
        Ok(found.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
    }

    fn pause_replay(&mut self, id: i64, is_paused: bool) -> Result<Option<ReplayRow>, TaskFailure> {
        let sql = "UPDATE replay SET is_paused = ?2 WHERE id = ?1";
        self.conn.execute(sql, params![id, is_paused])?;
        Ok(find(&self.conn, id)?)
    }

    fn step_replay(
        &mut self,
        id: i64,
        batch: Option<&ReplayBatch>,
        now_ms: i64,
    ) -> Result<Option<ReplayRow>, TaskFailure> {
        let sql = "SELECT search FROM replay
            WHERE id = ?1 AND cursor = ?2 AND is_paused = 0 AND is_ended = 0";
        let found: Option<String> = match batch {
            None => None,
            // Another step may have moved the cursor first.
            Some(batch) => self
                .conn
                .query_row(sql, [id, batch.cursor], |row| row.get(0))
                .optional()?,
        };
        if let (Some(text), Some(batch)) = (found, batch) {
            let search = read_search(&text);
            let mut skipped = 0;
            for source in &batch.ids {
                skipped += i64::from(!self.replay_one(&search, *source, now_ms)?);
            }
            // At the end the total becomes what was really delivered: rows may have been deleted since the count.
            let sql = "UPDATE replay SET cursor = ?2, done = done + ?3, skipped = skipped + ?4,
                is_ended = ?5, total = CASE ?5 WHEN 1 THEN done + ?3 ELSE max(total, done + ?3) END
                WHERE id = ?1";
            let done = i64::try_from(batch.ids.len()).unwrap_or(i64::MAX);
            // Skipped rows advance the cursor too, or the next step would select them again.
            let cursor = batch.ids.last().copied().unwrap_or(batch.cursor);
            self.conn
                .execute(sql, params![id, cursor, done, skipped, batch.is_last])?;
        }
        Ok(find(&self.conn, id)?)
    }

    /// Replays one row. Returns `false` if its body is no longer stored.
    fn replay_one(
        &mut self,
        search: &DeliverySearch,
        source: i64,
        now_ms: i64,
    ) -> rusqlite::Result<bool> {
        let destination = search.destination.as_ref().filter(|_| is_by_event(search));
        let found = match destination {
            None => self.of_delivery(source)?,
            Some(name) => self.of_event(source, name)?,
        };
        let Some((event, kind, destination, order_key)) = found else {
            return Ok(false);
        };
        let sql = "SELECT body IS NOT NULL FROM content WHERE event = ?1";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let has_body: Option<bool> = stmt.query_row([event], |row| row.get(0)).optional()?;
        drop(stmt);
        // Retention or `keep_body` may have deleted the body since the count.
        if has_body != Some(true) {
            return Ok(false);
        }
        let lane = self.lane(DeliveryLane {
            kind,
            destination,
            is_replay: true,
        })?;
        let due_ms = now_ms.saturating_add(self.clock.skew_ms());
        self.insert_delivery(&NewDeliveryRow {
            event,
            lane,
            destination,
            state: DeliveryState::Pending,
            priority: PRIORITY,
            due_ms,
            order_key,
            created_ms: now_ms,
            round_began_ms: due_ms,
        })?;
        Ok(true)
    }

    fn of_delivery(&self, id: i64) -> rusqlite::Result<Option<ReplaySource>> {
        let sql = "SELECT delivery.event, event.kind, delivery.destination, delivery.order_key
            FROM delivery JOIN event ON event.id = delivery.event WHERE delivery.id = ?1";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let found = stmt.query_row([id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        });
        found.optional()
    }

    fn of_event(
        &self,
        event: i64,
        name: &DestinationName,
    ) -> rusqlite::Result<Option<ReplaySource>> {
        let sql = "SELECT kind FROM event WHERE id = ?1";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let kind: Option<i64> = stmt.query_row([event], |row| row.get(0)).optional()?;
        let Some(kind) = kind else {
            return Ok(None);
        };
        let Some(destination) = destination_of(&self.names, kind, name) else {
            return Ok(None);
        };
        let sql = "SELECT order_key FROM delivery INDEXED BY delivery_event
            WHERE event = ?1 AND destination = ?2 ORDER BY id DESC LIMIT 1";
        let mut stmt = self.conn.prepare_cached(sql)?;
        // The last delivery to this destination has the order key, which the replay keeps.
        let order_key: Option<Option<i64>> = stmt
            .query_row([event, destination], |row| row.get(0))
            .optional()?;
        Ok(Some((event, kind, destination, order_key.flatten())))
    }
}

/// Event, kind, destination and order key of a row to replay.
type ReplaySource = (i64, i64, i64, Option<i64>);
