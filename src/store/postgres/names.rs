//! Names as numbers in the database: reading them, and inserting new ones.
//!
//! A new name gets its number in a statement of its own, before the transaction that uses it: two nodes that see the same
//! name at once then wait for each other only for a moment, and a group that fails leaves at most an unused name behind.

use std::sync::Arc;

use tokio_postgres::Error;

use crate::model::ids::{DestinationName, RouteName};
use crate::store::names::{DeliveryLane, DestinationEntry, EventKind, MAX_KINDS, NameTable};
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;

/// Loads all names, with the version that they have at least.
pub(super) async fn load(session: &Session) -> Result<(NameTable, i64), Error> {
    // The version first: names that change during the load raise it, and are then loaded again.
    let version = session
        .query_one("SELECT version FROM name_version", &[])
        .await?
        .get(0);
    let mut names = NameTable::default();
    let sql = "SELECT id, name, is_paused FROM route";
    for row in session.query(sql, &[]).await? {
        names.add_route(row.get(0), RouteName::new(row.get(1)), row.get(2));
    }
    let sql = "SELECT id, route, name, is_paused, disabled FROM destination";
    for row in session.query(sql, &[]).await? {
        let destination = DestinationEntry {
            route: row.get(1),
            name: DestinationName::new(row.get(2)),
            is_paused: row.get(3),
            disabled: row.get(4),
        };
        names.destinations.insert(row.get(0), destination);
    }
    let sql = "SELECT id, route, provider, event_type, is_rest FROM kind";
    for row in session.query(sql, &[]).await? {
        let kind = EventKind {
            route: row.get(1),
            provider: row.get(2),
            event_type: row.get::<_, Option<String>>(3).map(Into::into),
            is_rest: row.get(4),
        };
        names.add_kind(row.get(0), kind);
    }
    let sql = "SELECT id, kind, destination, is_replay FROM lane";
    for row in session.query(sql, &[]).await? {
        let lane = DeliveryLane {
            kind: row.get(1),
            destination: row.get(2),
            is_replay: row.get(3),
        };
        names.add_lane(row.get(0), lane);
    }
    Ok((names, version))
}

/// Raises the version of the names, so that other nodes read them again.
pub(super) async fn raise_version(session: &Session) -> Result<(), Error> {
    let sql = "UPDATE name_version SET version = version + 1";
    session.execute(sql, &[]).await.map(drop)
}

impl NodeShared {
    /// Returns the number of a route, and assigns one to a new name.
    pub(super) async fn route_number(
        &self,
        session: &Session,
        name: &RouteName,
    ) -> Result<i64, Error> {
        if let Some(id) = self.names().route(name) {
            return Ok(id);
        }
        let text = name.as_str();
        let row = insert_or_find(
            session,
            "INSERT INTO route (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id, is_paused",
            "SELECT id, is_paused FROM route WHERE name = $1",
            &[&text],
        )
        .await?;
        let (id, is_paused) = (row.get(0), row.get(1));
        self.change_names(|names| names.add_route(id, name.clone(), is_paused));
        Ok(id)
    }

    /// Returns the number of a destination, and assigns one to a new name.
    pub(super) async fn destination_number(
        &self,
        session: &Session,
        route: &RouteName,
        name: &DestinationName,
    ) -> Result<i64, Error> {
        let route = self.route_number(session, route).await?;
        if let Some(id) = self.names().destination(route, name) {
            return Ok(id);
        }
        let text = name.as_str();
        let row = insert_or_find(
            session,
            "INSERT INTO destination (route, name) VALUES ($1, $2)
            ON CONFLICT DO NOTHING RETURNING id, is_paused, disabled",
            "SELECT id, is_paused, disabled FROM destination WHERE route = $1 AND name = $2",
            &[&route, &text],
        )
        .await?;
        let id = row.get(0);
        let destination = DestinationEntry {
            route,
            name: name.clone(),
            is_paused: row.get(1),
            disabled: row.get(2),
        };
        // Other nodes learn the name before they see a delivery with it.
        raise_version(session).await?;
        self.change_names(|names| {
            names.destinations.insert(id, destination);
        });
        Ok(id)
    }

    /// Returns the number of the kind of an event, and whether the event itself must store its type.
    pub(super) async fn kind_number(
        &self,
        session: &Session,
        route: i64,
        provider: &str,
        event_type: Option<&str>,
    ) -> Result<(i64, bool), Error> {
        let names = self.names();
        if let Some(id) = names.kind(route, provider, event_type) {
            return Ok((id, false));
        }
        // Senders choose types freely, so their number must be bounded. Later types share one kind.
        let is_rest = event_type.is_some() && names.kinds.len() >= MAX_KINDS;
        if let (true, Some(id)) = (is_rest, names.rest(route, provider)) {
            return Ok((id, true));
        }
        let own_type = event_type.filter(|_| !is_rest);
        let row = insert_or_find(
            session,
            "INSERT INTO kind (route, provider, event_type, is_rest) VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING RETURNING id",
            "SELECT id FROM kind WHERE route = $1 AND provider = $2
            AND event_type IS NOT DISTINCT FROM $3 AND is_rest = $4",
            &[&route, &provider, &own_type, &is_rest],
        )
        .await?;
        let id = row.get(0);
        raise_version(session).await?;
        let kind = EventKind {
            route,
            provider: provider.to_owned(),
            event_type: own_type.map(Into::into),
            is_rest,
        };
        self.change_names(|names| names.add_kind(id, kind));
        Ok((id, is_rest))
    }

    /// Returns the number of a lane, and assigns one to a new combination.
    pub(super) async fn lane_number(
        &self,
        session: &Session,
        lane: DeliveryLane,
    ) -> Result<i64, Error> {
        if let Some(id) = self.names().lane(lane) {
            return Ok(id);
        }
        let row = insert_or_find(
            session,
            "INSERT INTO lane (kind, destination, is_replay) VALUES ($1, $2, $3)
            ON CONFLICT DO NOTHING RETURNING id",
            "SELECT id FROM lane WHERE kind = $1 AND destination = $2 AND is_replay = $3",
            &[&lane.kind, &lane.destination, &lane.is_replay],
        )
        .await?;
        let id = row.get(0);
        raise_version(session).await?;
        self.change_names(|names| names.add_lane(id, lane));
        Ok(id)
    }

    /// Changes the names in memory. The next load brings the same from the database.
    pub(super) fn change_names(&self, change: impl FnOnce(&mut NameTable)) {
        self.with_names(|names| change(Arc::make_mut(names)));
    }
}

/// Inserts a row, or finds the one that is there. Another node may insert it in between.
async fn insert_or_find(
    session: &Session,
    insert: &str,
    find: &str,
    values: &[crate::store::postgres::session::SqlValue<'_>],
) -> Result<tokio_postgres::Row, Error> {
    match session.query_opt(insert, values).await? {
        Some(row) => Ok(row),
        // A statement of its own, because the insert does not see a row that was committed after it began.
        None => session.query_one(find, values).await,
    }
}
