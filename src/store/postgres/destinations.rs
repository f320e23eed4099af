//! Destinations: their numbers, their pauses, and the counts of their deliveries.

use crate::model::ids::{DestinationName, RouteName};
use crate::store::error::StoreError;
use crate::store::postgres::names;
use crate::store::postgres::store::PostgresStore;
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
        let shared = std::sync::Arc::clone(&self.shared);
        self.write(async move |session| {
            let number = shared.destination_number(session, &route, &name).await;
            number.map(DestinationId).map_err(StoreError::Postgres)
        })
        .await
    }

    pub(in crate::store) async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        Err(StoreError::Closed)
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
