//! Searching for deliveries: which index is read, and in which order.
//!
//! Open and ended deliveries are in two tables. Both are read in the order of numbers and merged.

use tokio_postgres::{Error, Row};

use crate::model::delivery::DeliveryState;
use crate::store::filter::{EventColumns, SearchFilter, wants_lane};
use crate::store::postgres::bounds::ListBounds;
use crate::store::postgres::event_search::{
    COLUMNS, MAX_BATCH, MAX_MERGED, add_times, named, read_columns, with_uid,
};
use crate::store::postgres::hours::{self, EventRange};
use crate::store::postgres::search_query::SearchQuery;
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::tally;
use crate::store::search::DeliverySearch;

/// Largest range of event numbers whose deliveries are collected and sorted.
const MAX_NARROW: i64 = 50_000;

/// The numbers of an event's first deliveries follow its own, with the numbers of other groups in between: a group draws
/// all of its numbers in one statement. So many others are never drawn meanwhile.
const FIRST_DELIVERIES: i64 = 100_000;

/// A delivery with its event, as a search found it.
pub(super) struct FoundDelivery {
    pub(super) id: i64,
    pub(super) lane: i64,
    pub(super) state: DeliveryState,
    pub(super) attempts: i32,
    pub(super) created_ms: i64,
    pub(super) due_ms: Option<i64>,
    pub(super) ended_ms: Option<i64>,
    pub(super) last_status: Option<i16>,
    pub(super) last_error: Option<String>,
    pub(super) event: EventColumns,
}

/// Columns of a delivery before those of its event.
const OWN_WIDTH: usize = 9;

impl FoundDelivery {
    fn read(row: &Row) -> Option<Self> {
        // Without its event the delivery belongs to no list. The check of the store reports it.
        let _: i64 = row.get::<_, Option<i64>>(OWN_WIDTH)?;
        Some(Self {
            id: row.get(0),
            lane: row.get(1),
            // A check constraint of the tables allows no other code.
            state: DeliveryState::from_code(row.get::<_, i16>(2).into())
                .unwrap_or(DeliveryState::Cancelled),
            attempts: row.get(3),
            created_ms: row.get(4),
            due_ms: row.get(5),
            ended_ms: row.get(6),
            last_status: row.get(7),
            last_error: row.get(8),
            event: read_columns(row, OWN_WIDTH),
        })
    }
}

/// The rows among which matching deliveries are.
enum DeliverySource {
    /// Deliveries of these events.
    OfEvents(Vec<i64>),
    /// Deliveries of the events within this range, which are few.
    OfRange(EventRange),
    /// All deliveries.
    Table,
    /// All deliveries of the events within this range, with the lanes of replays.
    Timed(EventRange, Vec<i64>),
    /// Deliveries of these lanes, merged from the index of each.
    Lanes(LaneSets),
}

/// Lanes of a search.
struct LaneSets {
    originals: Vec<i64>,
    replays: Vec<i64>,
    /// Range of the events, if the search has times.
    range: Option<EventRange>,
}

/// A search for deliveries that reads batch by batch.
pub(super) struct DeliveryWalk<'a> {
    snapshot: &'a ReadSnapshot<'a>,
    search: &'a DeliverySearch,
    filter: SearchFilter<'a>,
    source: DeliverySource,
    bounds: ListBounds,
    is_done: bool,
}

impl<'a> DeliveryWalk<'a> {
    pub(super) async fn new(
        snapshot: &'a ReadSnapshot<'a>,
        search: &'a DeliverySearch,
        bounds: ListBounds,
    ) -> Result<Self, Error> {
        let mut walk = Self {
            snapshot,
            search,
            filter: SearchFilter::new(&search.event, &snapshot.names),
            source: DeliverySource::Table,
            bounds,
            is_done: false,
        };
        walk.choose().await?;
        Ok(walk)
    }

    async fn choose(&mut self) -> Result<(), Error> {
        let (search, snapshot) = (self.search, self.snapshot);
        let events = match (search.uid, &search.event.id) {
            (Some(uid), _) => Some(with_uid(snapshot, uid).await?),
            (None, Some(id)) => Some(named(snapshot, id).await?),
            (None, None) => None,
        };
        if let Some(events) = events {
            self.is_done = events.is_empty();
            self.source = DeliverySource::OfEvents(events);
            return Ok(());
        }
        let event = &search.event;
        let has_times = event.since_ms.is_some() || event.before_ms.is_some();
        let range = hours::range(snapshot.session, event.since_ms, event.before_ms).await?;
        let Some(range) = range else {
            self.is_done = true;
            return Ok(());
        };
        if has_times && range.last.saturating_sub(range.first) <= MAX_NARROW {
            self.source = DeliverySource::OfRange(range);
            return Ok(());
        }
        // A delivery has a higher number than its event.
        self.bounds.narrow(range.first, i64::MAX);
        let is_any_lane = search.destination.is_none()
            && search.is_replay.is_none()
            && self.filter.kinds.is_none()
            && search.state.is_none();
        if is_any_lane && !has_times {
            return Ok(());
        }
        let lanes = wanted_lanes(snapshot, search, &self.filter).await?;
        self.is_done = lanes.is_empty();
        let sets = self.split(lanes, has_times.then_some(range));
        self.source = match is_any_lane {
            // The table itself is one range, which is cheaper than merging all lanes.
            true => DeliverySource::Timed(range, sets.replays),
            false => DeliverySource::Lanes(sets),
        };
        Ok(())
    }

    fn split(&self, lanes: Vec<i64>, range: Option<EventRange>) -> LaneSets {
        let names = &self.snapshot.names.lanes;
        let is_replay = |lane: &i64| names.get(lane).is_some_and(|lane| lane.is_replay);
        let (replays, originals) = lanes.into_iter().partition(is_replay);
        LaneSets {
            originals,
            replays,
            range,
        }
    }

    /// Reads the next rows, and returns those that match. Returns `None` at the end.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<Vec<FoundDelivery>>, Error> {
        let limit = limit.clamp(1, MAX_BATCH);
        if self.is_done || self.bounds.is_empty() {
            return Ok(None);
        }
        let rows = self.query(limit).run(self.snapshot.session).await?;
        match rows.last() {
            Some(last) => {
                self.bounds.begin_behind(last.get(0));
                self.is_done = rows.len() < limit;
            }
            None => self.is_done = true,
        }
        let found = rows.iter().filter_map(FoundDelivery::read);
        Ok(Some(found.filter(|found| self.wants(found)).collect()))
    }

    fn wants(&self, found: &FoundDelivery) -> bool {
        let search = self.search;
        let lane = self.snapshot.names.lanes.get(&found.lane);
        lane.is_some_and(|lane| wants_lane(&self.snapshot.names, search, &self.filter, lane))
            && search.state.is_none_or(|state| state == found.state)
            && search
                .uid
                .is_none_or(|uid| *uid.as_bytes() == found.event.uid)
            && self.filter.wants(&found.event)
    }

    fn query(&self, limit: usize) -> SearchQuery {
        let size = i64::try_from(limit).unwrap_or(i64::MAX);
        let direction = self.bounds.direction();
        let mut query = SearchQuery::default();
        query.add(&format!(
            "SELECT d.id, d.lane, d.state, d.attempts, d.created_ms, d.due_ms, d.ended_ms, d.last_status,
                d.last_error, {COLUMNS} FROM (SELECT * FROM ("
        ));
        let mut is_first = true;
        for table in tables_of(self.search.state) {
            for part in self.parts(limit) {
                query.add(if is_first { "(" } else { " UNION ALL (" });
                is_first = false;
                self.add_part(&mut query, table, part, size);
                query.add(")");
            }
        }
        query
            .add(&format!(") AS u ORDER BY id {direction} LIMIT "))
            .value(size)
            .add(&format!(
                ") AS d LEFT JOIN event ON event.id = d.event ORDER BY d.id {direction}"
            ));
        query
    }

    /// Returns the sets of rows that one batch reads from each table. No row is in two of them.
    fn parts(&self, limit: usize) -> Vec<SearchPart> {
        let (first, last) = (self.bounds.first, self.bounds.last);
        let part = |rows, first, last| SearchPart { rows, first, last };
        match &self.source {
            DeliverySource::OfEvents(events) => {
                vec![part(PartRows::OfEvents(events.clone()), first, last)]
            }
            DeliverySource::OfRange(range) => vec![part(PartRows::OfRange(*range), first, last)],
            DeliverySource::Table => vec![part(PartRows::Table(None), first, last)],
            DeliverySource::Timed(range, replays) => {
                // Behind the first deliveries of these events, only replays can be theirs.
                let end = range.last.saturating_add(FIRST_DELIVERIES);
                let mut parts = vec![part(PartRows::Table(None), first, last.min(end))];
                if !replays.is_empty() && last > end {
                    let first = first.max(end.saturating_add(1));
                    parts.push(part(PartRows::Lanes(replays.clone()), first, last));
                }
                parts
            }
            DeliverySource::Lanes(sets) => {
                let count = sets.originals.len() + sets.replays.len();
                if count.saturating_mul(limit) > MAX_MERGED {
                    let lanes = sets.originals.iter().chain(&sets.replays);
                    let lanes = Some(lanes.copied().collect());
                    return vec![part(PartRows::Table(lanes), first, last)];
                }
                let end = sets.range.map_or(i64::MAX, |range| {
                    range.last.saturating_add(FIRST_DELIVERIES)
                });
                [(&sets.originals, end), (&sets.replays, i64::MAX)]
                    .into_iter()
                    .filter(|(lanes, _)| !lanes.is_empty())
                    .map(|(lanes, end)| part(PartRows::Lanes(lanes.clone()), first, last.min(end)))
                    .collect()
            }
        }
    }

    /// Adds one set of rows of one table, in order and no more than a batch.
    fn add_part(&self, query: &mut SearchQuery, table: &str, part: SearchPart, size: i64) {
        let direction = self.bounds.direction();
        let times = match table {
            "open_delivery" => "d.due_ms, NULL::bigint AS ended_ms",
            _ => "NULL::bigint AS due_ms, d.ended_ms",
        };
        let rows = format!(
            "SELECT d.id, d.event, d.lane, d.state, d.attempts, d.created_ms, {times}, d.last_status,
                d.last_error FROM {table} AS d WHERE "
        );
        let is_merged = matches!(part.rows, PartRows::Lanes(_));
        match part.rows {
            PartRows::OfEvents(events) => {
                query
                    .add(&rows)
                    .add("d.event = ANY(")
                    .value(events)
                    .add(")");
            }
            PartRows::OfRange(range) => {
                query.add(&rows).add("d.event BETWEEN ").value(range.first);
                query.add(" AND ").value(range.last);
            }
            PartRows::Table(None) => {
                query.add(&rows).add("true");
            }
            PartRows::Table(Some(lanes)) => {
                query.add(&rows).add("d.lane = ANY(").value(lanes).add(")");
            }
            PartRows::Lanes(lanes) => {
                query.add("SELECT d.* FROM unnest(").value(lanes);
                query.add("::bigint[]) AS l CROSS JOIN LATERAL (");
                query.add(&rows).add("d.lane = l");
            }
        }
        query.add(" AND d.id BETWEEN ").value(part.first);
        query.add(" AND ").value(part.last);
        self.add_criteria(query);
        query
            .add(&format!(" ORDER BY d.id {direction} LIMIT "))
            .value(size);
        if is_merged {
            query
                .add(&format!(") AS d ORDER BY d.id {direction} LIMIT "))
                .value(size);
        }
    }

    /// Adds the criteria that are no part of the index.
    fn add_criteria(&self, query: &mut SearchQuery) {
        if let Some(state) = self.search.state {
            query.add(&format!(" AND d.state = {}", state.code()));
            if matches!(state, DeliveryState::Dead | DeliveryState::Cancelled) {
                // The condition of the index, in its own words.
                query.add(" AND d.state <> 3");
            }
        }
        let event = &self.search.event;
        if event.since_ms.is_none() && event.before_ms.is_none() {
            return;
        }
        let range = match &self.source {
            DeliverySource::Lanes(sets) => sets.range,
            DeliverySource::Timed(range, _) => Some(*range),
            _ => None,
        };
        if let Some(range) = range {
            // The sum keeps PostgreSQL from reading the index of events instead, which has another order.
            query
                .add(" AND d.event + 0 BETWEEN ")
                .value(range.first)
                .add(" AND ")
                .value(range.last);
        }
        // A count, because PostgreSQL turns `EXISTS` into a join and then sorts instead of reading in order.
        query.add(" AND (SELECT count(*) FROM event AS e WHERE e.id = d.event");
        add_times(query, "e.received_ms", event);
        query.add(") > 0");
    }
}

/// Rows of one table that a batch reads, from a first to a last number.
struct SearchPart {
    rows: PartRows,
    first: i64,
    last: i64,
}

enum PartRows {
    OfEvents(Vec<i64>),
    OfRange(EventRange),
    /// All rows, or those of very many lanes.
    Table(Option<Vec<i64>>),
    Lanes(Vec<i64>),
}

/// Returns the tables that may hold deliveries in a state, or in any.
pub(super) fn tables_of(state: Option<DeliveryState>) -> &'static [&'static str] {
    match state.map(DeliveryState::is_open) {
        Some(true) => &["open_delivery"],
        Some(false) => &["delivery"],
        None => &["open_delivery", "delivery"],
    }
}

/// Returns the lanes that hold deliveries in the state of a search.
async fn wanted_lanes(
    snapshot: &ReadSnapshot<'_>,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
) -> Result<Vec<i64>, Error> {
    let counts = tally::load(snapshot.session).await?.lanes;
    let counts = counts.counts(&snapshot.names, |lane, state| {
        wants_lane(&snapshot.names, search, filter, lane)
            && search.state.is_none_or(|wanted| wanted == state)
    });
    let mut lanes: Vec<i64> = counts.iter().map(|counted| counted.id).collect();
    lanes.sort_unstable();
    lanes.dedup();
    Ok(lanes)
}
