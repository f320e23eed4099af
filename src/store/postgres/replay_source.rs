//! The rows that a replay delivers again: deliveries, or events for a destination.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Error;

use crate::model::ids::DestinationName;
use crate::store::names::{DeliveryLane, NameTable};
use crate::store::postgres::bounds::WalkBounds;
use crate::store::postgres::count;
use crate::store::postgres::delivery_search::{DeliveryWalk, FoundDelivery};
use crate::store::postgres::event_search::{EventWalk, with_uid};
use crate::store::postgres::order::{MAX_LOCKED, OrderedKey};
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::replay_text::{is_by_event, read_search};
use crate::store::search::{DeliverySearch, EventSearch};

/// The rows that the next step delivers again.
pub(super) struct ReplayPart {
    /// The position of the replay before this step, and after it.
    pub(super) position: i64,
    pub(super) last: i64,
    pub(super) sources: Vec<ReplayedEvent>,
    pub(super) is_last: bool,
}

/// An event to deliver again.
pub(super) struct ReplayedEvent {
    /// The delivery or event that the search found.
    id: i64,
    pub(super) event: i64,
    pub(super) lane: DeliveryLane,
    pub(super) order_key: Option<i64>,
}

impl ReplayedEvent {
    pub(super) fn key(&self) -> Option<OrderedKey> {
        self.order_key.map(|key| OrderedKey {
            destination: self.lane.destination,
            key,
        })
    }
}

impl ReplayPart {
    /// Returns the lanes that have no number yet.
    pub(super) fn new_lanes(&self, names: &NameTable) -> Vec<DeliveryLane> {
        let mut lanes: Vec<DeliveryLane> = Vec::new();
        for source in &self.sources {
            if names.lane(source.lane).is_none() && !lanes.contains(&source.lane) {
                lanes.push(source.lane);
            }
        }
        lanes
    }

    /// Cuts the batch where it has more order keys than one transaction may lock.
    fn bound_keys(&mut self) {
        let mut keys = HashSet::new();
        let is_beyond = |source: &ReplayedEvent| match source.key() {
            None => false,
            Some(key) => {
                keys.insert(key);
                keys.len() > MAX_LOCKED
            }
        };
        if let Some(end) = self.sources.iter().position(is_beyond) {
            self.sources.truncate(end);
            self.is_last = false;
        }
        // Rows that are skipped advance the position too, or the next step would select them again.
        let last = self.sources.last();
        self.last = last.map_or(self.position, |source| source.id);
    }
}

/// Counts the rows that a replay would deliver again.
pub(super) async fn measure(
    snapshot: &ReadSnapshot<'_>,
    search: &DeliverySearch,
) -> Result<i64, Error> {
    let Some(name) = search.destination.as_ref().filter(|_| is_by_event(search)) else {
        return count::deliveries(snapshot, search).await;
    };
    if search.uid.is_some() {
        let bounds = WalkBounds::oldest_first(0, i64::MAX);
        let found = of_events(snapshot, search, name, bounds, 1).await?;
        return Ok(i64::try_from(found.len()).unwrap_or(0));
    }
    let is_reached = |kind: i64| destination_of(&snapshot.names, kind, name).is_some();
    count::events(snapshot, &events_of(search), &is_reached).await
}

/// Returns the rows of the next step. Returns `None` if the replay does not exist or has nothing to do.
pub(super) async fn next(
    snapshot: &ReadSnapshot<'_>,
    id: i64,
    limit: usize,
) -> Result<Option<ReplayPart>, Error> {
    let sql = "SELECT search, position, last FROM replay
        WHERE id = $1 AND NOT is_paused AND NOT is_ended";
    let Some(row) = snapshot.session.query_opt(sql, &[&id]).await? else {
        return Ok(None);
    };
    // The stored search decides, so that a restart continues exactly the same replay.
    let search = read_search(row.get(0));
    let (position, last): (i64, i64) = (row.get(1), row.get(2));
    let bounds = WalkBounds::oldest_first(position.saturating_add(1), last);
    // One more than the step may create, which shows whether it is the last one.
    let wanted = limit.saturating_add(1);
    let mut sources = match search.destination.as_ref().filter(|_| is_by_event(&search)) {
        None => of_deliveries(snapshot, &search, bounds, wanted).await?,
        Some(name) => of_events(snapshot, &search, name, bounds, wanted).await?,
    };
    let is_last = sources.len() <= limit;
    sources.truncate(limit);
    let mut batch = ReplayPart {
        position,
        last: position,
        sources,
        is_last,
    };
    batch.bound_keys();
    Ok(Some(batch))
}

async fn of_deliveries(
    snapshot: &ReadSnapshot<'_>,
    search: &DeliverySearch,
    bounds: WalkBounds,
    wanted: usize,
) -> Result<Vec<ReplayedEvent>, Error> {
    let mut walk = DeliveryWalk::new(snapshot, search, bounds).await?;
    let mut found = Vec::new();
    while found.len() < wanted
        && let Some(some) = walk.next(wanted).await?
    {
        found.extend(some);
    }
    found.truncate(wanted);
    let ids: Vec<i64> = found.iter().map(|found| found.id).collect();
    let sql = "SELECT id, order_key FROM any_delivery
        WHERE id = ANY($1) AND order_key IS NOT NULL";
    let rows = snapshot.session.query(sql, &[&ids]).await?;
    let keys: HashMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let source = |found: &FoundDelivery| {
        let lane = snapshot.names.lanes.get(&found.lane)?;
        Some(ReplayedEvent {
            id: found.id,
            event: found.event.id,
            lane: DeliveryLane {
                is_replay: true,
                ..*lane
            },
            order_key: keys.get(&found.id).copied(),
        })
    };
    Ok(found.iter().filter_map(source).collect())
}

async fn of_events(
    snapshot: &ReadSnapshot<'_>,
    search: &DeliverySearch,
    name: &DestinationName,
    bounds: WalkBounds,
    wanted: usize,
) -> Result<Vec<ReplayedEvent>, Error> {
    let names = &snapshot.names;
    let events = events_of(search);
    let is_reached = |kind: i64| destination_of(names, kind, name).is_some();
    let mut walk = EventWalk::new(snapshot, &events, bounds, Some(&is_reached)).await?;
    if let Some(uid) = search.uid {
        walk.list(with_uid(snapshot, uid).await?);
    }
    let mut sources = Vec::new();
    while sources.len() < wanted
        && let Some(some) = walk.next(wanted).await?
    {
        sources.extend(some.iter().filter_map(|line| {
            Some(ReplayedEvent {
                id: line.id,
                event: line.id,
                lane: DeliveryLane {
                    kind: line.kind,
                    destination: destination_of(names, line.kind, name)?,
                    is_replay: true,
                },
                order_key: None,
            })
        }));
    }
    sources.truncate(wanted);
    // The last delivery of an event to this destination has the order key, which the replay keeps.
    let (events, destinations): (Vec<i64>, Vec<i64>) = sources
        .iter()
        .map(|source| (source.event, source.lane.destination))
        .unzip();
    let sql = "SELECT s.event, (SELECT d.order_key FROM any_delivery AS d WHERE d.event = s.event
            AND d.destination = s.destination ORDER BY d.id DESC LIMIT 1)
        FROM unnest($1::bigint[], $2::bigint[]) AS s (event, destination)";
    let rows = snapshot
        .session
        .query(sql, &[&events, &destinations])
        .await?;
    let keys: HashMap<i64, Option<i64>> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for source in &mut sources {
        source.order_key = keys.get(&source.event).copied().flatten();
    }
    Ok(sources)
}

/// Returns the criteria for the events: each goes to the destination, whatever the state of its deliveries.
fn events_of(search: &DeliverySearch) -> EventSearch {
    EventSearch {
        state: None,
        ..search.event.clone()
    }
}

/// Returns the destination of this name that events of a kind may go to.
fn destination_of(names: &NameTable, kind: i64, name: &DestinationName) -> Option<i64> {
    let route = names.kinds.get(&kind)?.route;
    names.destination(route, name)
}
