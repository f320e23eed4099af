//! Destinations: their numbers, their pauses, and the counts of their deliveries.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Error;

use crate::model::ids::{DestinationName, RouteName};
use crate::store::error::StoreError;
use crate::store::names::DestinationEntry;
use crate::store::postgres::event_list::PATIENCE;
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::stats::oldest_open;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::{names, tally};
use crate::store::rows::{DestinationId, DestinationRow};

impl PostgresStore {
    pub(in crate::store) async fn destination(
        &self,
        route: &RouteName,
        name: &DestinationName,
    ) -> Result<DestinationId, StoreError> {
        let names = self.shared.names();
        let known = names
            .route(route)
            .and_then(|id| names.destination(id, name));
        if let Some(id) = known {
            return Ok(DestinationId(id));
        }
        // Without the database the real number is unknown. The alias is replaced when it opens.
        if let Some(alias) = self.shared.alias(route, name) {
            return Ok(alias);
        }
        let (route, name) = (route.clone(), name.clone());
        let shared = Arc::clone(&self.shared);
        self.write(async move |session| {
            let number = shared.destination_number(session, &route, &name).await;
            number.map(DestinationId).map_err(StoreError::Postgres)
        })
        .await
    }

    pub(in crate::store) async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.read(PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            list(&snapshot).await
        })
        .await
    }

    pub(in crate::store) async fn pause(
        &self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, StoreError> {
        let names = self.shared.names();
        let Some(route) = names.route(route) else {
            return Ok(false);
        };
        let destination = match name {
            None => None,
            Some(name) => match names.destination(route, name) {
                Some(id) => Some(id),
                None => return Ok(false),
            },
        };
        self.write(async move |session| {
            // Waits for a take that holds the row: when this returns, every later take sees the pause.
            let (sql, id) = match destination {
                None => (
                    "WITH held AS (SELECT id FROM destination WHERE route = $1 ORDER BY id FOR UPDATE)
                    UPDATE route SET is_paused = $2 WHERE id = $1
                    AND (SELECT count(*) FROM held) >= 0",
                    route,
                ),
                Some(id) => ("UPDATE destination SET is_paused = $2 WHERE id = $1", id),
            };
            let failed = StoreError::Postgres;
            session.execute(sql, &[&id, &is_paused]).await.map_err(failed)?;
            names::raise_version(session).await.map_err(failed)
        })
        .await?;
        self.shared.change_names(|names| match destination {
            None => {
                if let Some(route) = names.routes.get_mut(&route) {
                    route.is_paused = is_paused;
                }
            }
            Some(id) => {
                if let Some(destination) = names.destinations.get_mut(&id) {
                    destination.is_paused = is_paused;
                }
            }
        });
        Ok(true)
    }

    pub(in crate::store) async fn disable(
        &self,
        destination: DestinationId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let id = self.shared.resolve(destination).0;
        let reason = reason.map(ToOwned::to_owned);
        let stored = reason.clone();
        self.write(async move |session| {
            let sql = "UPDATE destination SET disabled = $2 WHERE id = $1";
            let failed = StoreError::Postgres;
            session
                .execute(sql, &[&id, &stored])
                .await
                .map_err(failed)?;
            names::raise_version(session).await.map_err(failed)
        })
        .await?;
        self.shared.change_names(|names| {
            if let Some(destination) = names.destinations.get_mut(&id) {
                destination.disabled = reason;
            }
        });
        Ok(())
    }
}

/// Lists all destinations with the counts of their deliveries.
async fn list(snapshot: &ReadSnapshot<'_>) -> Result<Vec<DestinationRow>, Error> {
    let names = &snapshot.names;
    let row = |(id, destination): (&i64, &DestinationEntry)| {
        let route = names.routes.get(&destination.route);
        let row = DestinationRow {
            id: DestinationId(*id),
            route: names.route_name(destination.route),
            name: destination.name.clone(),
            is_paused: destination.is_paused,
            is_route_paused: route.is_some_and(|route| route.is_paused),
            disabled: destination.disabled.clone(),
            deliveries: [0; 6],
            oldest_open_ms: None,
        };
        (*id, row)
    };
    let mut rows: HashMap<i64, DestinationRow> = names.destinations.iter().map(row).collect();
    let tally = tally::load(snapshot.session).await?.lanes;
    let mut open = Vec::new();
    for counted in tally.counts(names, |_, _| true) {
        let state = usize::try_from(counted.state.code()).unwrap_or(usize::MAX);
        let row = rows.get_mut(&counted.lane.destination);
        if let Some(count) = row.and_then(|row| row.deliveries.get_mut(state)) {
            *count += u64::try_from(counted.count).unwrap_or(0);
        }
        // Ended deliveries are many and their age does not matter, so only open ones are looked up.
        if counted.state.is_open() {
            open.push(counted.id);
        }
    }
    for (lane, created_ms) in oldest_open(snapshot.session, &open).await? {
        let lane = names.lanes.get(&lane);
        if let Some(row) = lane.and_then(|lane| rows.get_mut(&lane.destination)) {
            let known = row.oldest_open_ms.into_iter();
            row.oldest_open_ms = known.chain([created_ms]).min();
        }
    }
    let mut rows: Vec<DestinationRow> = rows.into_values().collect();
    rows.sort_by(|one, other| (&one.route, &one.name).cmp(&(&other.route, &other.name)));
    Ok(rows)
}
