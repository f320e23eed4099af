//! Lists of events, deliveries and attempts.

use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use rusqlite::{Connection, OptionalExtension};

use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::model::ids::RequestId;
use crate::store::error::StoreError;
use crate::store::filter::{ListedEvent, SearchFilter, wants_lane};
use crate::store::rows::AttemptRecord;
use crate::store::seal::{ContentSealer, SealedPart};
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, EventRow, EventSearch, ListPage,
};
use crate::store::sqlite::index_ranges::ListBounds;
use crate::store::sqlite::readers::{PATIENCE, ReadTransaction};
use crate::store::sqlite::search::{delivery_candidates, event_candidates};
use crate::store::sqlite::store::SqliteStore;

/// Largest number of rows in a page.
const MAX_PAGE: u32 = 1000;

fn state_of(code: i64) -> DeliveryState {
    // A check constraint of the file allows no other code.
    DeliveryState::from_code(code).unwrap_or(DeliveryState::Cancelled)
}

impl SqliteStore {
    /// Lists events, newest first. A page holds at most 1,000 rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn events(
        &self,
        search: EventSearch,
        page: ListPage,
    ) -> Result<Vec<EventRow>, StoreError> {
        let look = move |look: &ReadTransaction<'_>| events(look, &search, page);
        self.shared.read(PATIENCE, look).await
    }

    /// Lists deliveries, newest first. A page holds at most 1,000 rows.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn deliveries(
        &self,
        search: DeliverySearch,
        page: ListPage,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let look = move |look: &ReadTransaction<'_>| deliveries(look, &search, page);
        self.shared.read(PATIENCE, look).await
    }

    /// Returns the attempts of a delivery in their order.
    pub(crate) async fn attempts(
        &self,
        delivery: DeliveryId,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let sealer = self.shared.sealer();
        let look = move |look: &ReadTransaction<'_>| attempts(look.conn, &sealer, delivery);
        self.shared.read(PATIENCE, look).await
    }
}

fn events(
    look: &ReadTransaction<'_>,
    search: &EventSearch,
    page: ListPage,
) -> rusqlite::Result<Vec<EventRow>> {
    let limit = usize::try_from(page.limit.min(MAX_PAGE)).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    if limit > 0 {
        each_event(look, search, page.after, &mut |row| {
            rows.push(row);
            Ok(rows.len() < limit)
        })?;
    }
    Ok(rows)
}

/// Calls a function for each matching event, newest first, until it returns `false`.
pub(super) fn each_event(
    look: &ReadTransaction<'_>,
    search: &EventSearch,
    after: Option<i64>,
    each: &mut dyn FnMut(EventRow) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let filter = SearchFilter::new(search, &look.names);
    let mut candidates = event_candidates(look, &filter, ListBounds::page(after))?;
    while let Some(id) = candidates.next(look.conn)? {
        let line = ListedEvent::read(look.conn, id)?;
        let Some(line) = line.filter(|line| filter.wants(line)) else {
            continue;
        };
        let deliveries = states_of(look.conn, id)?;
        let wanted = search
            .state
            .and_then(|state| usize::try_from(state.code()).ok());
        if wanted.is_none_or(|state| deliveries.get(state).is_some_and(|count| *count > 0))
            && !each(line.into_row(&look.names, deliveries))?
        {
            break;
        }
    }
    Ok(())
}

/// Counts the deliveries of an event by state.
fn states_of(conn: &Connection, event: i64) -> rusqlite::Result<[u64; 6]> {
    let mut states = [0; 6];
    let sql = "SELECT state FROM delivery INDEXED BY delivery_event WHERE event = ?1";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut rows = stmt.query([event])?;
    while let Some(row) = rows.next()? {
        let state: usize = row.get::<_, u8>(0)?.into();
        if let Some(count) = states.get_mut(state) {
            *count += 1;
        }
    }
    Ok(states)
}

fn deliveries(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    page: ListPage,
) -> rusqlite::Result<Vec<DeliveryRow>> {
    let limit = usize::try_from(page.limit.min(MAX_PAGE)).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    each_delivery(look, search, ListBounds::page(page.after), &mut |id| {
        rows.extend(delivery_row(look, id)?);
        Ok(rows.len() < limit)
    })?;
    rows.truncate(limit);
    Ok(rows)
}

/// Calls a function for each matching delivery, until it returns `false`.
pub(super) fn each_delivery(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    bounds: ListBounds,
    each: &mut dyn FnMut(i64) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let filter = SearchFilter::new(&search.event, &look.names);
    let mut candidates = delivery_candidates(look, search, &filter, bounds)?;
    while let Some(id) = candidates.next(look.conn)? {
        if is_wanted(look, search, &filter, id)? && !each(id)? {
            break;
        }
    }
    Ok(())
}

fn is_wanted(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
    id: i64,
) -> rusqlite::Result<bool> {
    let sql = "SELECT event, lane, state FROM delivery WHERE id = ?1";
    let mut stmt = look.conn.prepare_cached(sql)?;
    let found = stmt.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let Some((event, lane, state)): Option<(i64, i64, i64)> = found.optional()? else {
        return Ok(false);
    };
    let is_state = search.state.is_none_or(|wanted| wanted.code() == state);
    let lane = look.names.lanes.get(&lane);
    if !is_state || !lane.is_some_and(|lane| wants_lane(&look.names, search, filter, lane)) {
        // Lane and state are in memory or in the row that is already read, so they are checked before the event.
        return Ok(false);
    }
    // The lane and the state decided already, so the event row is not needed.
    if search.event == EventSearch::default() && search.uid.is_none() {
        return Ok(true);
    }
    let line = ListedEvent::read(look.conn, event)?;
    let is_uid = |line: &ListedEvent| search.uid.is_none_or(|uid| *uid.as_bytes() == line.uid);
    Ok(line.is_some_and(|line| filter.wants(&line) && is_uid(&line)))
}

fn delivery_row(look: &ReadTransaction<'_>, id: i64) -> rusqlite::Result<Option<DeliveryRow>> {
    let sql = "SELECT event, lane, state, attempts, created_ms, due_ms, ended_ms, last_status,
        last_error FROM delivery WHERE id = ?1";
    let mut stmt = look.conn.prepare_cached(sql)?;
    let mut rows = stmt.query([id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let names = &look.names;
    let (Some(line), Some(lane)) = (
        ListedEvent::read(look.conn, row.get(0)?)?,
        names.lanes.get(&row.get::<_, i64>(1)?),
    ) else {
        return Ok(None);
    };
    let Some(destination) = names.destinations.get(&lane.destination) else {
        return Ok(None);
    };
    let state = state_of(row.get(2)?);
    // In other states the column holds the start of an attempt or an old time.
    let is_due = matches!(state, DeliveryState::Pending | DeliveryState::Waiting);
    let due_ms: i64 = row.get(5)?;
    Ok(Some(DeliveryRow {
        id: DeliveryId(id),
        uid: RequestId::from_bytes(line.uid),
        route: names.route_name(destination.route),
        destination: destination.name.clone(),
        event_id: line.event_id.as_deref().and_then(EventId::parse),
        event_type: line.event_type(names).map(Into::into),
        state,
        attempts: row.get(3)?,
        is_replay: lane.is_replay,
        created_ms: row.get(4)?,
        due_ms: is_due.then_some(due_ms.saturating_sub(look.skew_ms)),
        ended_ms: row.get(6)?,
        last_status: row.get(7)?,
        last_error: row.get(8)?,
    }))
}

pub(super) fn attempts(
    conn: &Connection,
    sealer: &ContentSealer,
    delivery: DeliveryId,
) -> rusqlite::Result<Vec<AttemptRow>> {
    let sql = "SELECT event.uid, event.id FROM delivery JOIN event ON event.id = delivery.event
        WHERE delivery.id = ?1";
    let mut stmt = conn.prepare_cached(sql)?;
    let found = stmt.query_row([delivery.0], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((uid, event)): Option<([u8; 16], i64)> = found.optional()? else {
        return Ok(Vec::new());
    };
    let sql = "SELECT number, started_ms, duration_ms, status, error, detail, sealing_key, answer
        FROM attempt WHERE delivery = ?1 ORDER BY number";
    let mut stmt = conn.prepare_cached(sql)?;
    let rows = stmt.query_map([delivery.0], |row| {
        let number = row.get(0)?;
        let part = SealedPart::Answer(delivery.0, number);
        let answer = sealer.open_part((row.get(6)?, event), &uid, part, row.get(7)?);
        let error: Option<String> = row.get(4)?;
        let detail: Option<String> = row.get(5)?;
        Ok(AttemptRow {
            number,
            record: AttemptRecord {
                started_ms: row.get(1)?,
                duration_ms: row.get(2)?,
                status: row.get(3)?,
                error: error.map(|word| (word, detail.unwrap_or_default())),
                response_start: answer.map(Bytes::from).unwrap_or_default(),
            },
        })
    })?;
    rows.collect()
}
