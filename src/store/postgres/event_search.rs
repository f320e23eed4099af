//! Searching for events: which index is read, and in which order.
//!
//! Every list is sorted by number. An index is read in that order until the page is full, wherever such an index exists;
//! only the events of a rare state are collected and sorted first.

use tokio_postgres::{Error, Row};

use crate::model::delivery::DeliveryState;
use crate::model::ids::RequestId;
use crate::store::filter::{EventColumns, SearchFilter};
use crate::store::postgres::bounds::ListBounds;
use crate::store::postgres::hours;
use crate::store::postgres::search_query::SearchQuery;
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::tally;
use crate::store::postgres::text::without_nul;
use crate::store::search::EventSearch;

/// Largest number of deliveries in a state whose events are collected. Beyond it, all events are read in order until
/// enough of them have such a delivery.
const MAX_COLLECTED: i64 = 20_000;

/// Largest number of rows that one query merges from several kinds or lanes.
pub(super) const MAX_MERGED: usize = 100_000;

/// Largest number of rows that one query reads.
pub(super) const MAX_BATCH: usize = 4_000;

/// Columns of an event that lists need, in the order of [`read_columns`].
pub(super) const COLUMNS: &str =
    "event.id, event.uid, event.kind, event.received_ms, event.body_size, event.event_id,
    event.webhook_id, event.event_type";

/// Reads [`COLUMNS`] from a row, in which they begin with this column.
pub(super) fn read_columns(row: &Row, first: usize) -> EventColumns {
    let uid: &[u8] = row.get(first + 1);
    EventColumns {
        id: row.get(first),
        uid: uid.first_chunk::<16>().copied().unwrap_or_default(),
        kind: row.get(first + 2),
        received_ms: row.get(first + 3),
        body_size: row.get(first + 4),
        event_id: row.get(first + 5),
        webhook_id: row.get(first + 6),
        event_type: row.get(first + 7),
    }
}

/// The rows among which matching events are.
enum EventSource {
    /// Events with these numbers, in the order of the list.
    Listed(Vec<i64>),
    /// All events, or those of a few kinds among most others.
    Table,
    /// Events of these kinds, merged from the index of each.
    Kinds(Vec<i64>),
}

/// A search for events that reads batch by batch.
pub(super) struct EventWalk<'a> {
    snapshot: &'a ReadSnapshot<'a>,
    filter: SearchFilter<'a>,
    source: EventSource,
    bounds: ListBounds,
    /// The state that is still to be checked for each event.
    state: Option<DeliveryState>,
    is_done: bool,
}

impl<'a> EventWalk<'a> {
    /// Prepares a search. `is_kind_wanted` restricts the kinds further.
    pub(super) async fn new(
        snapshot: &'a ReadSnapshot<'a>,
        search: &'a EventSearch,
        bounds: ListBounds,
        is_kind_wanted: Option<&dyn Fn(i64) -> bool>,
    ) -> Result<Self, Error> {
        let filter = SearchFilter::new(search, &snapshot.names);
        let mut kinds: Option<Vec<i64>> = filter
            .kinds
            .as_ref()
            .map(|kinds| kinds.iter().copied().collect());
        if let Some(is_wanted) = is_kind_wanted {
            let mut wanted =
                kinds.unwrap_or_else(|| snapshot.names.kinds.keys().copied().collect());
            wanted.retain(|kind| is_wanted(*kind));
            kinds = Some(wanted);
        }
        let mut walk = Self {
            snapshot,
            filter,
            source: match kinds {
                None => EventSource::Table,
                Some(kinds) => EventSource::Kinds(kinds),
            },
            bounds,
            state: search.state,
            is_done: false,
        };
        walk.choose(search).await?;
        Ok(walk)
    }

    /// Narrows the search to the rows that the criteria leave.
    async fn choose(&mut self, search: &EventSearch) -> Result<(), Error> {
        let session = self.snapshot.session;
        if let Some(id) = &search.id {
            self.list(named(self.snapshot, id).await?);
            return Ok(());
        }
        let Some(range) = hours::range(session, search.since_ms, search.before_ms).await? else {
            self.is_done = true;
            return Ok(());
        };
        self.bounds.narrow(range.first, range.last);
        if let Some(state) = search.state
            && let Some(events) = self.of_state(state).await?
        {
            self.list(events);
            self.state = None;
        } else if let Some(state) = search.state {
            // The newest events may all be open, and no event before some number may be: two probes skip them.
            let table = table_of(state);
            let sql =
                format!("SELECT coalesce(min(event), 1), coalesce(max(event), 0) FROM {table}");
            let row = session.query_one(&sql, &[]).await?;
            self.bounds.narrow(row.get(0), row.get(1));
        }
        Ok(())
    }

    /// Restricts the search to these events. Kinds are checked for each of them.
    pub(super) fn list(&mut self, mut events: Vec<i64>) {
        self.bounds.sort(&mut events);
        if let EventSource::Kinds(kinds) = &self.source {
            self.filter.kinds = Some(kinds.iter().copied().collect());
        }
        self.source = EventSource::Listed(events);
    }

    /// Returns the events with a delivery in a state. Returns `None` if reading all events in order is cheaper.
    async fn of_state(&self, state: DeliveryState) -> Result<Option<Vec<i64>>, Error> {
        let counts = tally::load(self.snapshot.session)
            .await?
            .lanes
            .counts(&self.snapshot.names, |lane, found| {
                found == state && self.filter.wants_kind(lane.kind)
            });
        if counts.iter().map(|counted| counted.count).sum::<i64>() > MAX_COLLECTED {
            return Ok(None);
        }
        let lanes: Vec<i64> = counts.iter().map(|counted| counted.id).collect();
        let mut query = SearchQuery::default();
        query
            .add("SELECT DISTINCT event FROM ")
            .add(table_of(state))
            .add(&format!(" WHERE state = {} AND lane = ANY(", state.code()))
            .value(lanes)
            .add(") AND event BETWEEN ")
            .value(self.bounds.first)
            .add(" AND ")
            .value(self.bounds.last);
        let rows = query.run(self.snapshot.session).await?;
        Ok(Some(rows.iter().map(|row| row.get(0)).collect()))
    }

    /// Reads the next rows, and returns those that match. Returns `None` at the end.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<Vec<EventColumns>>, Error> {
        let limit = limit.clamp(1, MAX_BATCH);
        if self.is_done || self.bounds.is_empty() {
            return Ok(None);
        }
        let query = self.query(limit);
        let rows = query.run(self.snapshot.session).await?;
        match (&self.source, rows.last()) {
            (EventSource::Listed(events), _) => self.is_done = events.is_empty(),
            (_, Some(last)) => {
                self.bounds.begin_behind(last.get(0));
                self.is_done = rows.len() < limit;
            }
            (_, None) => self.is_done = true,
        }
        let lines = rows.iter().map(|row| read_columns(row, 0));
        Ok(Some(lines.filter(|line| self.filter.wants(line)).collect()))
    }

    fn query(&mut self, limit: usize) -> SearchQuery {
        let mut query = SearchQuery::default();
        let direction = self.bounds.direction();
        let size = i64::try_from(limit).unwrap_or(i64::MAX);
        match &mut self.source {
            EventSource::Listed(events) => {
                let rest = events.split_off(limit.min(events.len()));
                let now = std::mem::replace(events, rest);
                query
                    .add(&format!("SELECT {COLUMNS} FROM event WHERE id = ANY("))
                    .value(now)
                    .add(")");
                self.add_state(&mut query);
                query.add(&format!(" ORDER BY id {direction}"));
            }
            EventSource::Kinds(kinds) if kinds.len().saturating_mul(limit) <= MAX_MERGED => {
                let kinds = kinds.clone();
                query
                    .add("SELECT event.* FROM unnest(")
                    .value(kinds)
                    .add(&format!(
                        "::bigint[]) AS k CROSS JOIN LATERAL (SELECT {COLUMNS} FROM event WHERE kind = k"
                    ));
                self.add_criteria(&mut query);
                query
                    .add(&format!(" ORDER BY id {direction} LIMIT "))
                    .value(size);
                query
                    .add(&format!(") AS event ORDER BY event.id {direction} LIMIT "))
                    .value(size);
            }
            EventSource::Kinds(_) | EventSource::Table => {
                query.add(&format!("SELECT {COLUMNS} FROM event WHERE true"));
                self.add_criteria(&mut query);
                if let EventSource::Kinds(kinds) = &self.source {
                    query.add(" AND kind = ANY(").value(kinds.clone()).add(")");
                }
                query
                    .add(&format!(" ORDER BY id {direction} LIMIT "))
                    .value(size);
            }
        }
        query
    }

    fn add_criteria(&self, query: &mut SearchQuery) {
        query
            .add(" AND id BETWEEN ")
            .value(self.bounds.first)
            .add(" AND ")
            .value(self.bounds.last);
        add_times(query, "received_ms", self.filter.search);
        self.add_state(query);
    }

    fn add_state(&self, query: &mut SearchQuery) {
        if let Some(state) = self.state {
            // A count, because PostgreSQL turns `EXISTS` into a join, and then sorts all events instead of reading them in
            // order.
            query.add(&format!(
                " AND (SELECT count(*) FROM {} AS d WHERE d.event = event.id AND d.state = {}) > 0",
                table_of(state),
                state.code()
            ));
        }
    }
}

/// Returns the table that holds the deliveries in a state.
pub(super) fn table_of(state: DeliveryState) -> &'static str {
    match state.is_open() {
        true => "open_delivery",
        false => "delivery",
    }
}

/// Adds the times of a search as criteria of a column.
pub(super) fn add_times(query: &mut SearchQuery, column: &str, search: &EventSearch) {
    if let Some(since_ms) = search.since_ms {
        query.add(&format!(" AND {column} >= ")).value(since_ms);
    }
    if let Some(before_ms) = search.before_ms {
        query.add(&format!(" AND {column} < ")).value(before_ms);
    }
}

/// Returns the events with an id of the provider, a `webhook-id`, or a uid.
pub(super) async fn named(snapshot: &ReadSnapshot<'_>, id: &str) -> Result<Vec<i64>, Error> {
    let id = without_nul(id.to_owned());
    let uid = RequestId::parse(&id).map(|uid| uid.as_bytes().to_vec());
    let sql = "SELECT id FROM event WHERE event_id = $1
        UNION SELECT id FROM event WHERE webhook_id = $1
        UNION SELECT id FROM event WHERE uid = $2";
    let rows = snapshot.session.query(sql, &[&id, &uid]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Returns the number of the event with a uid.
pub(super) async fn with_uid(
    snapshot: &ReadSnapshot<'_>,
    uid: RequestId,
) -> Result<Vec<i64>, Error> {
    let sql = "SELECT id FROM event WHERE uid = $1";
    let rows = snapshot.session.query(sql, &[&&uid.as_bytes()[..]]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
