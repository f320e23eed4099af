//! Lists of deliveries, and the attempts of one.

use std::sync::Arc;

use hookgate_verify::identity::event_id::EventId;
use tokio_postgres::Error;

use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::model::ids::RequestId;
use crate::store::error::StoreError;
use crate::store::postgres::attempt_rows;
use crate::store::postgres::bounds::WalkBounds;
use crate::store::postgres::delivery_search::{DeliveryWalk, FoundDelivery};
use crate::store::postgres::event_list::{PATIENCE, page_size};
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::store::PostgresStore;
use crate::store::search::{AttemptRow, DeliveryRow, DeliverySearch, ListPage};

impl PostgresStore {
    pub(in crate::store) async fn deliveries(
        &self,
        search: DeliverySearch,
        page: ListPage,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.read(PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            list(&snapshot, &search, page).await
        })
        .await
    }

    pub(in crate::store) async fn attempts(
        &self,
        delivery: DeliveryId,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let sealer = self.shared.sealer();
        self.read(PATIENCE, async move |session| {
            let mut attempts = attempt_rows::read(session, &sealer, &[delivery.0]).await?;
            Ok(attempts.remove(&delivery.0).unwrap_or_default())
        })
        .await
    }
}

async fn list(
    snapshot: &ReadSnapshot<'_>,
    search: &DeliverySearch,
    page: ListPage,
) -> Result<Vec<DeliveryRow>, Error> {
    let limit = page_size(page);
    let mut rows = Vec::new();
    if limit > 0 {
        let mut walk = DeliveryWalk::new(snapshot, search, WalkBounds::page(page.after)).await?;
        let mut batch = limit;
        while rows.len() < limit
            && let Some(found) = walk.next(batch).await?
        {
            let found = found.into_iter();
            rows.extend(found.filter_map(|found| delivery_row(snapshot, found)));
            batch = batch.saturating_mul(2);
        }
    }
    rows.truncate(limit);
    Ok(rows)
}

fn delivery_row(snapshot: &ReadSnapshot<'_>, found: FoundDelivery) -> Option<DeliveryRow> {
    let names = &snapshot.names;
    let lane = names.lanes.get(&found.lane)?;
    let destination = names.destinations.get(&lane.destination)?;
    // In flight, the column holds the start of the attempt.
    let is_due = matches!(found.state, DeliveryState::Pending | DeliveryState::Waiting);
    Some(DeliveryRow {
        id: DeliveryId(found.id),
        uid: RequestId::from_bytes(found.event.uid),
        route: names.route_name(destination.route),
        destination: destination.name.clone(),
        event_id: found.event.event_id.as_deref().and_then(EventId::parse),
        event_type: found.event.event_type(names).map(Into::into),
        state: found.state,
        attempts: u32::try_from(found.attempts).unwrap_or(0),
        is_replay: lane.is_replay,
        created_ms: found.created_ms,
        due_ms: found
            .due_ms
            .filter(|_| is_due)
            .map(|due_ms| due_ms.saturating_sub(snapshot.skew_ms)),
        ended_ms: found.ended_ms,
        last_status: found
            .last_status
            .and_then(|status| u16::try_from(status).ok()),
        last_error: found.last_error,
    })
}
