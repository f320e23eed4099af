//! Counting what a replay would deliver again.

use tokio_postgres::Error;

use crate::store::filter::{SearchFilter, wants_lane};
use crate::store::postgres::bounds::WalkBounds;
use crate::store::postgres::delivery_search::{DeliveryWalk, tables_of};
use crate::store::postgres::event_search::{EventWalk, MAX_BATCH, add_times};
use crate::store::postgres::hours;
use crate::store::postgres::search_query::SearchQuery;
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::tally;
use crate::store::search::{DeliverySearch, EventSearch};

/// Counts the matching deliveries.
pub(super) async fn deliveries(
    snapshot: &ReadSnapshot<'_>,
    search: &DeliverySearch,
) -> Result<i64, Error> {
    let filter = SearchFilter::new(&search.event, &snapshot.names);
    if search.uid.is_some() || !filter.is_countable() {
        let mut total = 0;
        let mut walk = DeliveryWalk::new(snapshot, search, WalkBounds::page(None)).await?;
        while let Some(found) = walk.next(MAX_BATCH).await? {
            total += i64::try_from(found.len()).unwrap_or(0);
        }
        return Ok(total);
    }
    let counts = tally::load(snapshot.session).await?.lanes;
    let counts = counts.counts(&snapshot.names, |lane, state| {
        wants_lane(&snapshot.names, search, &filter, lane)
            && search.state.is_none_or(|wanted| wanted == state)
    });
    let event = &search.event;
    if event.since_ms.is_none() && event.before_ms.is_none() {
        return Ok(counts.iter().map(|counted| counted.count).sum());
    }
    let range = hours::range(snapshot.session, event.since_ms, event.before_ms).await?;
    let Some(range) = range else {
        return Ok(0);
    };
    let mut lanes: Vec<i64> = counts.iter().map(|counted| counted.id).collect();
    lanes.dedup();
    let mut total = 0;
    for table in tables_of(search.state) {
        let mut query = SearchQuery::default();
        query
            .add(&format!(
                "SELECT count(*) FROM {table} AS d JOIN event AS e ON e.id = d.event WHERE d.lane = ANY("
            ))
            .value(lanes.clone())
            .add(") AND d.event BETWEEN ")
            .value(range.first)
            .add(" AND ")
            .value(range.last)
            .add(" AND e.id BETWEEN ")
            .value(range.first)
            .add(" AND ")
            .value(range.last);
        add_times(&mut query, "e.received_ms", event);
        if let Some(state) = search.state {
            query.add(&format!(" AND d.state = {}", state.code()));
        }
        total += count_of(snapshot, &query).await?;
    }
    Ok(total)
}

/// Counts the matching events of some kinds.
pub(super) async fn events(
    snapshot: &ReadSnapshot<'_>,
    search: &EventSearch,
    is_kind_wanted: &dyn Fn(i64) -> bool,
) -> Result<i64, Error> {
    let filter = SearchFilter::new(search, &snapshot.names);
    if !filter.is_countable() {
        let bounds = WalkBounds::page(None);
        let mut walk = EventWalk::new(snapshot, search, bounds, Some(is_kind_wanted)).await?;
        let mut total = 0;
        while let Some(found) = walk.next(MAX_BATCH).await? {
            total += i64::try_from(found.len()).unwrap_or(0);
        }
        return Ok(total);
    }
    let range = hours::range(snapshot.session, search.since_ms, search.before_ms).await?;
    let Some(range) = range else {
        return Ok(0);
    };
    let kinds = snapshot.names.kinds.keys().copied();
    let kinds: Vec<i64> = kinds
        .filter(|kind| filter.wants_kind(*kind) && is_kind_wanted(*kind))
        .collect();
    let mut query = SearchQuery::default();
    query
        .add("SELECT count(*) FROM event WHERE kind = ANY(")
        .value(kinds)
        .add(") AND id BETWEEN ")
        .value(range.first)
        .add(" AND ")
        .value(range.last);
    add_times(&mut query, "received_ms", search);
    count_of(snapshot, &query).await
}

async fn count_of(snapshot: &ReadSnapshot<'_>, query: &SearchQuery) -> Result<i64, Error> {
    let rows = query.run(snapshot.session).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}
