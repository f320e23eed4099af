//! Counting matching deliveries and events without reading each row.
//!
//! Stretches of events that lie within the requested times are counted in the indexes. Only the blocks at the edges are
//! read row by row.

use rusqlite::Connection;

use crate::model::delivery::DeliveryState;
use crate::model::ids::DestinationName;
use crate::store::filter::{ListedEvent, SearchFilter, wants_lane};
use crate::store::lane_counts::LaneCount;
use crate::store::names::NameTable;
use crate::store::search::DeliverySearch;
use crate::store::sqlite::index_ranges::original_deliveries;
use crate::store::sqlite::readers::ReadTransaction;
use crate::store::sqlite::search::wanted_counts;
use crate::store::sqlite::time_index::{self, EventStretch, NumberRange};

/// Counts the matching deliveries. Returns `None` if that requires reading each row.
pub(super) fn deliveries(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
) -> rusqlite::Result<Option<i64>> {
    if search.uid.is_some() || !filter.is_countable() {
        return Ok(None);
    }
    let (conn, counts) = (look.conn, wanted_counts(look, search, filter)?);
    let event = &search.event;
    if event.since_ms.is_none() && event.before_ms.is_none() {
        return Ok(Some(counts.iter().map(|counted| counted.count).sum()));
    }
    let mut total = 0;
    for stretch in time_index::stretches(conn, event.since_ms, event.before_ms)? {
        // A block at the edge may hold events outside the times, so its rows are read one by one.
        total += match stretch.is_within {
            true => in_lanes(conn, &counts, stretch.range)?,
            false => at_edge(look, search, filter, stretch.range)?,
        };
    }
    Ok(Some(total))
}

/// Counts the deliveries of these lanes and states whose events are in a range.
fn in_lanes(conn: &Connection, counts: &[LaneCount], events: NumberRange) -> rusqlite::Result<i64> {
    let originals = original_deliveries(conn, events)?;
    let mut total = 0;
    for counted in counts {
        let (sql, range) = match counted.lane.is_replay {
            false => (
                "SELECT count(*) FROM delivery INDEXED BY delivery_lane
                WHERE lane = ?1 AND state = ?2 AND id BETWEEN ?3 AND ?4",
                originals,
            ),
            true => (
                "SELECT count(*) FROM delivery INDEXED BY delivery_lane
                WHERE lane = ?1 AND state = ?2 AND event BETWEEN ?3 AND ?4",
                events,
            ),
        };
        let values = [counted.id, counted.state.code(), range.first, range.last];
        let mut stmt = conn.prepare_cached(sql)?;
        total += stmt.query_row(values, |row| row.get::<_, i64>(0))?;
    }
    Ok(total)
}

/// Counts the matching deliveries of a range by reading each event.
fn at_edge(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
    range: NumberRange,
) -> rusqlite::Result<i64> {
    let sql = "SELECT lane, state FROM delivery INDEXED BY delivery_event WHERE event = ?1";
    let mut stmt = look.conn.prepare_cached(sql)?;
    let mut total = 0;
    each_event(look.conn, filter, range, &mut |line| {
        let mut rows = stmt.query([line.id])?;
        while let Some(row) = rows.next()? {
            let state = DeliveryState::from_code(row.get(1)?);
            let lane = look.names.lanes.get(&row.get(0)?);
            let is_wanted = lane.is_some_and(|lane| wants_lane(&look.names, search, filter, lane))
                && search.state.is_none_or(|wanted| Some(wanted) == state);
            total += i64::from(is_wanted);
        }
        Ok(())
    })?;
    Ok(total)
}

fn each_event(
    conn: &Connection,
    filter: &SearchFilter<'_>,
    range: NumberRange,
    each: &mut dyn FnMut(&ListedEvent) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT {} FROM event WHERE id >= ?1 AND id <= ?2",
        ListedEvent::COLUMNS
    );
    let mut stmt = conn.prepare_cached(&sql)?;
    let mut rows = stmt.query([range.first, range.last])?;
    while let Some(row) = rows.next()? {
        let line = ListedEvent::of(row)?;
        if filter.wants(&line) {
            each(&line)?;
        }
    }
    Ok(())
}

/// Counts the matching events that may go to the destination of this name. Returns `None` if that requires reading each
/// row.
pub(super) fn events(
    look: &ReadTransaction<'_>,
    filter: &SearchFilter<'_>,
    name: &DestinationName,
) -> rusqlite::Result<Option<i64>> {
    if !filter.is_countable() {
        return Ok(None);
    }
    let (conn, search) = (look.conn, filter.search);
    let reaches = |kind: i64| filter.wants_kind(kind) && reaches(&look.names, kind, name);
    let mut total = 0;
    for EventStretch { range, is_within } in
        time_index::stretches(conn, search.since_ms, search.before_ms)?
    {
        if is_within {
            for kind in look.names.kinds.keys().filter(|kind| reaches(**kind)) {
                let sql = "SELECT count(*) FROM event INDEXED BY event_kind
                    WHERE kind = ?1 AND id >= ?2 AND id <= ?3";
                let values = [*kind, range.first, range.last];
                let mut stmt = conn.prepare_cached(sql)?;
                total += stmt.query_row(values, |row| row.get::<_, i64>(0))?;
            }
        } else {
            each_event(conn, filter, range, &mut |line| {
                total += i64::from(reaches(line.kind));
                Ok(())
            })?;
        }
    }
    Ok(Some(total))
}

/// Returns whether events of a kind may go to the destination of this name.
fn reaches(names: &NameTable, kind: i64, name: &DestinationName) -> bool {
    let kind = names.kinds.get(&kind);
    kind.is_some_and(|kind| names.destination(kind.route, name).is_some())
}
