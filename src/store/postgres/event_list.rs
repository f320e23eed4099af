//! Lists of events, and single events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Error;

use crate::model::delivery::DeliveryState;
use crate::model::ids::RequestId;
use crate::store::error::StoreError;
use crate::store::filter::ListedEvent;
use crate::store::postgres::bounds::WalkBounds;
use crate::store::postgres::event_rows;
use crate::store::postgres::event_search::{EventWalk, with_uid};
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::store::PostgresStore;
use crate::store::rows::StoredEvent;
use crate::store::search::{EventRow, EventSearch, ListPage};

/// Longest duration of a query that a person waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Longest duration of a query that counts or walks over many rows.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// Largest number of rows in a page.
const MAX_PAGE: u32 = 1000;

/// Returns the number of rows of a page.
pub(super) fn page_size(page: ListPage) -> usize {
    usize::try_from(page.limit.min(MAX_PAGE)).unwrap_or(usize::MAX)
}

impl PostgresStore {
    pub(in crate::store) async fn event(
        &self,
        uid: RequestId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let found = self.read(PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            let events = with_uid(&snapshot, uid).await?;
            let mut rows = event_rows::read_many(session, &snapshot.names, &events).await?;
            Ok(events.first().and_then(|event| rows.remove(event)))
        });
        // Decrypts on the caller's thread, since the thread of the store also beats.
        Ok(found
            .await?
            .map(|stored| stored.open(&self.shared.sealer())))
    }

    pub(in crate::store) async fn events(
        &self,
        search: EventSearch,
        page: ListPage,
    ) -> Result<Vec<EventRow>, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.read(PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            list(&snapshot, &search, page).await
        })
        .await
    }
}

async fn list(
    snapshot: &ReadSnapshot<'_>,
    search: &EventSearch,
    page: ListPage,
) -> Result<Vec<EventRow>, Error> {
    let limit = page_size(page);
    let mut lines = Vec::new();
    if limit > 0 {
        let mut walk = EventWalk::new(snapshot, search, WalkBounds::page(page.after), None).await?;
        let mut batch = limit;
        while lines.len() < limit
            && let Some(found) = walk.next(batch).await?
        {
            lines.extend(found);
            // Where few rows match, larger batches need fewer round trips.
            batch = batch.saturating_mul(2);
        }
    }
    lines.truncate(limit);
    rows_of(snapshot, lines).await
}

/// Completes the rows of a list with the states of their deliveries.
pub(super) async fn rows_of(
    snapshot: &ReadSnapshot<'_>,
    lines: Vec<ListedEvent>,
) -> Result<Vec<EventRow>, Error> {
    let ids: Vec<i64> = lines.iter().map(|line| line.id).collect();
    let mut states = states_of(snapshot, &ids).await?;
    let row = |line: ListedEvent| {
        let deliveries = states.remove(&line.id).unwrap_or_default();
        line.into_row(&snapshot.names, deliveries)
    };
    Ok(lines.into_iter().map(row).collect())
}

/// Counts the deliveries of events by state.
async fn states_of(
    snapshot: &ReadSnapshot<'_>,
    events: &[i64],
) -> Result<HashMap<i64, [u64; 6]>, Error> {
    let mut states: HashMap<i64, [u64; 6]> = HashMap::new();
    if events.is_empty() {
        return Ok(states);
    }
    let sql = "SELECT event, state, count(*) FROM any_delivery WHERE event = ANY($1)
        GROUP BY event, state";
    for row in snapshot.session.query(sql, &[&events]).await? {
        let counts = states.entry(row.get(0)).or_default();
        let state = usize::try_from(row.get::<_, i16>(1)).unwrap_or(DeliveryState::ALL.len());
        if let Some(count) = counts.get_mut(state) {
            *count = u64::try_from(row.get::<_, i64>(2)).unwrap_or(0);
        }
    }
    Ok(states)
}
