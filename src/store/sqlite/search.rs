//! Searches: the index runs that may hold matching rows, in the order of the list.
//!
//! Lists are sorted by numbers, which follow the order of commits. A page begins behind a number, so rows that arrive
//! meanwhile shift or repeat nothing.

use rusqlite::{Connection, OptionalExtension};

use crate::model::delivery::DeliveryState;
use crate::model::ids::RequestId;
use crate::store::search::DeliverySearch;
use crate::store::sqlite::filter::SearchFilter;
use crate::store::sqlite::id_index;
use crate::store::sqlite::lane_counts::{LaneCount, LaneTally};
use crate::store::sqlite::list_numbers::numbers;
use crate::store::sqlite::merge::{IndexRun, MergedRuns, RunOrder, RunPart};
use crate::store::sqlite::names::{DeliveryLane, NameTable};
use crate::store::sqlite::readers::ReadTransaction;
use crate::store::sqlite::time_index::{self, EventRange};

/// Largest number of events with one id. More can only come from hash collisions.
const MAX_NAMED: usize = 10_000;

/// Largest number of replays in a state whose events are collected. Beyond it, all events are read.
const MAX_COLLECTED: i64 = 200_000;

/// Largest number of events whose deliveries are collected.
const MAX_NARROW: i64 = 100_000;

/// Numbers of rows that may match, in order.
pub(super) enum SearchCandidates {
    Listed(std::vec::IntoIter<i64>),
    Merged(MergedRuns),
    /// Events of deliveries in a state: those of original deliveries, merged with those of replays.
    OfState {
        originals: MergedRuns,
        waiting: Option<i64>,
        /// Events of replays, the newest last.
        replayed: Vec<i64>,
    },
}

impl SearchCandidates {
    fn listed(mut found: Vec<i64>, order: RunOrder, from: i64, to: i64) -> Self {
        found.sort_unstable();
        found.dedup();
        match order {
            RunOrder::OldestFirst => found.retain(|id| *id > from && *id <= to),
            RunOrder::NewestFirst => {
                found.reverse();
                found.retain(|id| *id < from && *id >= to);
            }
        }
        Self::Listed(found.into_iter())
    }

    pub(super) fn next(&mut self, conn: &Connection) -> rusqlite::Result<Option<i64>> {
        match self {
            Self::Listed(list) => Ok(list.next()),
            Self::Merged(merged) => merged.next(conn),
            Self::OfState {
                originals,
                waiting,
                replayed,
            } => {
                if waiting.is_none()
                    && let Some(delivery) = originals.next(conn)?
                {
                    *waiting = Some(event_of(conn, delivery)?);
                }
                // Each event must come out once, though both lists may hold it.
                let newest = (*waiting).max(replayed.last().copied());
                replayed.pop_if(|event| Some(*event) == newest);
                // Deliveries of one event are adjacent.
                while newest.is_some() && *waiting == newest {
                    let next = originals.next(conn)?;
                    *waiting = next.map(|delivery| event_of(conn, delivery)).transpose()?;
                }
                Ok(newest)
            }
        }
    }
}

fn event_of(conn: &Connection, delivery: i64) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT event FROM delivery WHERE id = ?1")?
        .query_row([delivery], |row| row.get(0))
}

/// First and last number of a list, in its order.
#[derive(Clone, Copy)]
pub(super) struct ListBounds {
    pub(super) order: RunOrder,
    /// Start of the list, exclusive.
    pub(super) from: i64,
    /// End of the list, inclusive.
    pub(super) last: i64,
}

impl ListBounds {
    pub(super) fn page(after: Option<i64>) -> Self {
        Self {
            order: RunOrder::NewestFirst,
            from: after.unwrap_or(i64::MAX),
            last: 0,
        }
    }

    /// Returns the part of a run within a range of its numbers.
    fn part(self, run: IndexRun, range: EventRange) -> RunPart {
        let (from, to) = match self.order {
            RunOrder::NewestFirst => (self.from.min(range.last + 1), self.last.max(range.first)),
            RunOrder::OldestFirst => (self.from.max(range.first - 1), self.last.min(range.last)),
        };
        RunPart {
            run,
            from,
            last: to,
        }
    }
}

/// Returns the events that may match.
pub(super) fn event_candidates(
    look: &ReadTransaction<'_>,
    filter: &SearchFilter<'_>,
    bounds: ListBounds,
) -> rusqlite::Result<SearchCandidates> {
    let search = filter.search;
    if let Some(id) = &search.id {
        let found = named(look.conn, id)?;
        return Ok(SearchCandidates::listed(
            found,
            bounds.order,
            bounds.from,
            bounds.last,
        ));
    }
    let Some(range) = time_index::range(look.conn, search.since_ms, search.before_ms)? else {
        return Ok(SearchCandidates::Listed(Vec::new().into_iter()));
    };
    if let Some(state) = search.state
        && let Some(candidates) = of_state(look, filter, state, bounds, range)?
    {
        return Ok(candidates);
    }
    let runs = match &filter.kinds {
        None => vec![IndexRun::AllEvents],
        Some(kinds) => kinds
            .iter()
            .map(|kind| IndexRun::EventsOf { kind: *kind })
            .collect(),
    };
    let parts: Vec<_> = runs
        .into_iter()
        .map(|run| bounds.part(run, range))
        .collect();
    MergedRuns::new(look.conn, &parts, bounds.order).map(SearchCandidates::Merged)
}

fn named(conn: &Connection, id: &str) -> rusqlite::Result<Vec<i64>> {
    let mut found = id_index::find(conn, id, MAX_NAMED)?;
    if let Some(uid) = RequestId::parse(id) {
        let sql = "SELECT id FROM event WHERE uid = ?1";
        found.extend(numbers(conn, sql, [&uid.as_bytes()[..]])?);
    }
    Ok(found)
}

/// Returns the events with a delivery in a state, newest first. Returns `None` if reading all events is cheaper.
fn of_state(
    look: &ReadTransaction<'_>,
    filter: &SearchFilter<'_>,
    state: DeliveryState,
    bounds: ListBounds,
    range: EventRange,
) -> rusqlite::Result<Option<SearchCandidates>> {
    let tally = LaneTally::load(look.conn)?;
    let wanted =
        |lane: &DeliveryLane, found: DeliveryState| filter.wants_kind(lane.kind) && found == state;
    let (replays, originals): (Vec<_>, Vec<_>) = tally
        .runs(&look.names, wanted)
        .into_iter()
        .partition(|counted| counted.lane.is_replay);
    let count: i64 = replays.iter().map(|counted| counted.count).sum();
    if count > MAX_COLLECTED || bounds.order == RunOrder::OldestFirst {
        return Ok(None);
    }
    // Originals follow the order of events, so a range of events is a range of their numbers.
    let (from, to) = (
        bounds.from.min(range.last + 1),
        bounds.last.max(range.first),
    );
    let mut parts = Vec::new();
    for counted in &originals {
        parts.push(RunPart {
            run: counted.run(),
            from: seek(look.conn, counted, from)?,
            last: seek(look.conn, counted, to)?,
        });
    }
    let mut replayed = Vec::new();
    for counted in &replays {
        let sql = "SELECT event FROM delivery INDEXED BY delivery_lane
            WHERE lane = ?1 AND state = ?2 AND event < ?3 AND event >= ?4";
        let values = [counted.id, state.code(), from, to];
        replayed.extend(numbers(look.conn, sql, values)?);
    }
    replayed.sort_unstable();
    replayed.dedup();
    Ok(Some(SearchCandidates::OfState {
        originals: MergedRuns::new(look.conn, &parts, bounds.order)?,
        waiting: None,
        replayed,
    }))
}

/// Returns the deliveries that may match.
pub(super) fn delivery_candidates(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
    bounds: ListBounds,
) -> rusqlite::Result<SearchCandidates> {
    let conn = look.conn;
    let named = match (search.uid, &search.event.id) {
        (Some(uid), _) => {
            let sql = "SELECT id FROM event WHERE uid = ?1";
            Some(numbers(conn, sql, [&uid.as_bytes()[..]])?)
        }
        (None, Some(id)) => Some(named(conn, id)?),
        (None, None) => None,
    };
    if let Some(events) = named {
        let mut found = Vec::new();
        for event in events {
            let sql = "SELECT id FROM delivery INDEXED BY delivery_event WHERE event = ?1";
            found.extend(numbers(conn, sql, [event])?);
        }
        return Ok(SearchCandidates::listed(
            found,
            bounds.order,
            bounds.from,
            bounds.last,
        ));
    }
    let Some(range) = time_index::range(conn, search.event.since_ms, search.event.before_ms)?
    else {
        return Ok(SearchCandidates::Listed(Vec::new().into_iter()));
    };
    // Without criteria the table itself is one run, which is cheaper than merging all lanes.
    let is_all = search.state.is_none()
        && search.destination.is_none()
        && search.is_replay.is_none()
        && filter.kinds.is_none()
        && range == EventRange::ALL;
    if is_all {
        let parts = [bounds.part(IndexRun::AllDeliveries, EventRange::ALL)];
        return MergedRuns::new(conn, &parts, bounds.order).map(SearchCandidates::Merged);
    }
    let runs = wanted_runs(look, search, filter)?;
    if is_narrow(range, &runs) {
        let sql = "SELECT id FROM delivery INDEXED BY delivery_event WHERE event BETWEEN ?1 AND ?2";
        let found = numbers(conn, sql, [range.first, range.last])?;
        return Ok(SearchCandidates::listed(
            found,
            bounds.order,
            bounds.from,
            bounds.last,
        ));
    }
    let mut parts = Vec::new();
    for counted in runs {
        let part = match (range == EventRange::ALL, counted.lane.is_replay) {
            (true, _) => bounds.part(counted.run(), EventRange::ALL),
            (false, true) => bounds.part(counted.replays_of(range), EventRange::ALL),
            // Original deliveries follow the order of their events; replays may belong to any event.
            (false, false) => {
                let numbers = EventRange {
                    first: seek(conn, &counted, range.first)?,
                    last: seek(conn, &counted, range.last + 1)? - 1,
                };
                bounds.part(counted.run(), numbers)
            }
        };
        parts.push(part);
    }
    MergedRuns::new(conn, &parts, bounds.order).map(SearchCandidates::Merged)
}

/// Returns whether a range holds so few events that reading all their deliveries is cheaper than reading all replays.
fn is_narrow(range: EventRange, runs: &[LaneCount]) -> bool {
    let replays = runs.iter().filter(|counted| counted.lane.is_replay);
    let count: i64 = replays.map(|counted| counted.count).sum();
    let events = range.last - range.first;
    events <= MAX_NARROW && events < count / 2
}

pub(super) fn wanted_runs(
    look: &ReadTransaction<'_>,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
) -> rusqlite::Result<Vec<LaneCount>> {
    let tally = LaneTally::load(look.conn)?;
    let is_wanted = |lane: &DeliveryLane, state: DeliveryState| {
        wants_lane(&look.names, search, filter, lane)
            && search.state.is_none_or(|wanted| wanted == state)
    };
    Ok(tally.runs(&look.names, is_wanted))
}

pub(super) fn wants_lane(
    names: &NameTable,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
    lane: &DeliveryLane,
) -> bool {
    let destination = search.destination.as_ref().is_none_or(|name| {
        let found = names.destinations.get(&lane.destination);
        found.is_some_and(|destination| destination.name == *name)
    });
    let is_replay = search
        .is_replay
        .is_none_or(|wanted| wanted == lane.is_replay);
    destination && is_replay && filter.wants_kind(lane.kind)
}

/// Returns the first number in a run of original deliveries whose event is at or after this one.
fn seek(conn: &Connection, counted: &LaneCount, event: i64) -> rusqlite::Result<i64> {
    if event <= EventRange::ALL.first {
        return Ok(0);
    }
    let sql = "SELECT id, event FROM delivery INDEXED BY delivery_lane
        WHERE lane = ?1 AND state = ?2 AND id >= ?3 ORDER BY id LIMIT 1";
    let mut stmt = conn.prepare_cached(sql)?;
    let sql = "SELECT last_delivery FROM total";
    let last: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    // Binary search over numbers: events rise with the numbers of original deliveries.
    let (mut low, mut high) = (0, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let values = [counted.id, counted.state.code(), middle];
        let found = stmt.query_row(values, |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        match found.optional()? {
            Some((id, of)) if of < event => low = i64::max(id, middle) + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
