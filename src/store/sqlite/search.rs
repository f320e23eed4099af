//! Searches: the index ranges that may hold matching rows.
//!
//! Lists are sorted by numbers, which follow the order of commits. A page begins behind a number, so rows that arrive
//! meanwhile shift or repeat nothing.

use rusqlite::Connection;

use crate::model::delivery::DeliveryState;
use crate::model::ids::RequestId;
use crate::store::filter::{SearchFilter, wants_lane};
use crate::store::lane_counts::{LaneCount, LaneTally};
use crate::store::names::DeliveryLane;
use crate::store::search::DeliverySearch;
use crate::store::sqlite::id_index;
use crate::store::sqlite::index_ranges::{
    CandidateRows, IndexRange, ListBounds, ReplayedEvents, original_deliveries,
};
use crate::store::sqlite::list_numbers::numbers;
use crate::store::sqlite::readers::ReadTransaction;
use crate::store::sqlite::time_index::{self, NumberRange};

/// Largest number of events with one id. More can only come from hash collisions.
const MAX_NAMED: usize = 10_000;

/// Largest number of replays in a state whose events are collected. Beyond it, all events are read.
const MAX_COLLECTED: i64 = 200_000;

/// Largest number of events whose deliveries are collected.
const MAX_NARROW: i64 = 100_000;

/// Returns the events that may match.
pub(super) fn event_candidates(
    look: &ReadTransaction<'_>,
    filter: &SearchFilter<'_>,
    mut bounds: ListBounds,
) -> rusqlite::Result<CandidateRows> {
    let search = filter.search;
    if let Some(id) = &search.id {
        return Ok(CandidateRows::listed(bounds, named(look.conn, id)?));
    }
    let Some(range) = time_index::range(look.conn, search.since_ms, search.before_ms)? else {
        return Ok(CandidateRows::new(bounds, Vec::new()));
    };
    bounds.range = bounds.range.and(range);
    if let Some(state) = search.state
        && let Some(candidates) = of_state(look, filter, state, bounds)?
    {
        return Ok(candidates);
    }
    let ranges = match &filter.kinds {
        None => vec![IndexRange::events(None)],
        Some(kinds) => {
            let kinds = kinds.iter().copied();
            kinds.map(|kind| IndexRange::events(Some(kind))).collect()
        }
    };
    Ok(CandidateRows::new(bounds, ranges))
}

fn named(conn: &Connection, id: &str) -> rusqlite::Result<Vec<i64>> {
    let mut found = id_index::find(conn, id, MAX_NAMED)?;
    if let Some(uid) = RequestId::parse(id) {
        found.extend(with_uid(conn, uid)?);
    }
    Ok(found)
}

fn with_uid(conn: &Connection, uid: RequestId) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT id FROM event WHERE uid = ?1";
    numbers(conn, sql, [&uid.as_bytes()[..]])
}

/// Returns the events with a delivery in a state. Returns `None` if reading all events is cheaper.
fn of_state(
    look: &ReadTransaction<'_>,
    filter: &SearchFilter<'_>,
    state: DeliveryState,
    mut bounds: ListBounds,
) -> rusqlite::Result<Option<CandidateRows>> {
    // A page knows by its bounds how few events it covers, so they must not lie beyond the newest one.
    let newest = numbers(look.conn, "SELECT last_event FROM total", [])?;
    bounds.range.last = newest.into_iter().fold(bounds.range.last, i64::min);
    let wanted =
        |lane: &DeliveryLane, found: DeliveryState| filter.wants_kind(lane.kind) && found == state;
    let (replays, originals): (Vec<_>, Vec<_>) = LaneTally::load(look.conn)?
        .counts(&look.names, wanted)
        .into_iter()
        .partition(|counted| counted.lane.is_replay);
    let count: i64 = replays.iter().map(|counted| counted.count).sum();
    if count > MAX_COLLECTED {
        return Ok(None);
    }
    let replayed = ReplayedEvents {
        lanes: replays.iter().map(|counted| counted.id).collect(),
        state: state.code(),
        count,
    };
    let ranges = originals
        .iter()
        .map(|counted| IndexRange::events_of_deliveries(counted.id, state.code()))
        .collect();
    Ok(Some(CandidateRows::by_delivery(bounds, ranges, replayed)))
}

/// Returns the deliveries that may match.
pub(super) fn delivery_candidates(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
    bounds: ListBounds,
) -> rusqlite::Result<CandidateRows> {
    let conn = look.conn;
    let named = match (search.uid, &search.event.id) {
        (Some(uid), _) => Some(with_uid(conn, uid)?),
        (None, Some(id)) => Some(named(conn, id)?),
        (None, None) => None,
    };
    if let Some(events) = named {
        let mut found = Vec::new();
        for event in events {
            let sql = "SELECT id FROM delivery INDEXED BY delivery_event WHERE event = ?1";
            found.extend(numbers(conn, sql, [event])?);
        }
        return Ok(CandidateRows::listed(bounds, found));
    }
    let Some(range) = time_index::range(conn, search.event.since_ms, search.event.before_ms)?
    else {
        return Ok(CandidateRows::new(bounds, Vec::new()));
    };
    let is_any_time = range == NumberRange::ALL;
    // Without criteria the table itself is one range, which is cheaper than merging all lanes.
    let is_all = search.state.is_none()
        && search.destination.is_none()
        && search.is_replay.is_none()
        && filter.kinds.is_none()
        && is_any_time;
    if is_all {
        let ranges = vec![IndexRange::all_deliveries()];
        return Ok(CandidateRows::new(bounds, ranges));
    }
    let counts = wanted_counts(look, search, filter)?;
    if is_narrow(range, &counts) {
        let sql = "SELECT id FROM delivery INDEXED BY delivery_event WHERE event BETWEEN ?1 AND ?2";
        let found = numbers(conn, sql, [range.first, range.last])?;
        return Ok(CandidateRows::listed(bounds, found));
    }
    let originals = match is_any_time {
        true => NumberRange::ALL,
        false => original_deliveries(conn, range)?,
    };
    let ranges = counts.iter().map(|counted| {
        let (lane, state) = (counted.id, counted.state.code());
        match counted.lane.is_replay {
            true if !is_any_time => IndexRange::replays_of(lane, state, range),
            _ => IndexRange::deliveries(lane, state, originals),
        }
    });
    Ok(CandidateRows::new(bounds, ranges.collect()))
}

/// Returns whether a range holds so few events that reading all their deliveries is cheaper than reading all replays.
fn is_narrow(range: NumberRange, counts: &[LaneCount]) -> bool {
    let replays = counts.iter().filter(|counted| counted.lane.is_replay);
    let count: i64 = replays.map(|counted| counted.count).sum();
    let events = range.last - range.first;
    events <= MAX_NARROW && events < count / 2
}

/// Returns the lanes and states that may hold matching deliveries.
pub(super) fn wanted_counts(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
) -> rusqlite::Result<Vec<LaneCount>> {
    let is_wanted = |lane: &DeliveryLane, state: DeliveryState| {
        wants_lane(&look.names, search, filter, lane)
            && search.state.is_none_or(|wanted| wanted == state)
    };
    Ok(LaneTally::load(look.conn)?.counts(&look.names, is_wanted))
}
