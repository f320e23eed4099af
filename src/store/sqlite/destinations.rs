//! Destinations: their numbers, their pauses, and the counts of their deliveries.

use rusqlite::params;
use rusqlite::types::ToSql;

use crate::model::ids::{DestinationName, RouteName};
use crate::store::error::StoreError;
use crate::store::lane_counts::LaneTally;
use crate::store::names::DestinationEntry;
use crate::store::rows::{DestinationId, DestinationRow};
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::lane_oldest::oldest;
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::readers::{PATIENCE, ReadTransaction};
use crate::store::sqlite::store::SqliteStore;

impl SqliteStore {
    /// Returns the number of a destination, and assigns one to a new name. A name keeps its number forever.
    ///
    /// # Errors
    /// See [`StoreError`].
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
        // Without a file the real number is unknown. The alias is replaced when the file opens.
        if let Some(number) = self.shared.alias(route, name) {
            return Ok(DestinationId(number));
        }
        let (route, name) = (route.clone(), name.clone());
        self.write(TaskUrgency::Outcome, 0, move |work| {
            work.destination(&route, name)
        })
        .await
    }

    /// Lists all destinations that ever had a name, with their numbers of deliveries.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(in crate::store) async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        self.shared.read(PATIENCE, destinations).await
    }

    /// Pauses or resumes a destination, or all of a route if no name is given. The route still accepts events. Returns
    /// `false` if the name is unknown.
    pub(crate) async fn pause(
        &self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, StoreError> {
        let (route, name) = (route.clone(), name.cloned());
        let run = move |work: &mut GroupWork| work.pause(&route, name.as_ref(), is_paused);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    /// Returns whether a destination is disabled, or it or its route is paused. Reads memory only.
    pub(crate) fn is_held(&self, destination: DestinationId) -> bool {
        self.shared
            .names()
            .is_held(self.shared.resolve(destination))
    }

    /// Returns the number of a destination in the file. A destination that was named before the file was opened has
    /// another number outside of it.
    pub(crate) fn resolve(&self, destination: DestinationId) -> DestinationId {
        DestinationId(self.shared.resolve(destination))
    }

    /// Disables a destination that responded with 410, or enables it again if no reason is given. Its deliveries wait
    /// meanwhile.
    pub(crate) async fn disable(
        &self,
        destination: DestinationId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let reason = reason.map(ToOwned::to_owned);
        let destination = self.shared.resolve(destination);
        let run = move |work: &mut GroupWork| work.disable(destination, reason);
        self.write(TaskUrgency::Outcome, 0, run).await
    }
}

impl GroupWork {
    pub(super) fn destination(
        &mut self,
        route: &RouteName,
        name: DestinationName,
    ) -> Result<DestinationId, TaskFailure> {
        let route = self.route(route)?;
        if let Some(id) = self.names.destination(route, &name) {
            return Ok(DestinationId(id));
        }
        let sql = "INSERT INTO destination (route, name) VALUES (?1, ?2)";
        self.conn.execute(sql, params![route, name.as_str()])?;
        let id = self.conn.last_insert_rowid();
        let destination = DestinationEntry {
            route,
            name,
            is_paused: false,
            disabled: None,
        };
        self.change_names(|names| {
            names.destinations.insert(id, destination);
        });
        Ok(DestinationId(id))
    }

    fn pause(
        &mut self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, TaskFailure> {
        let Some(route) = self.names.route(route) else {
            return Ok(false);
        };
        let Some(name) = name else {
            self.set(
                "UPDATE route SET is_paused = ?2 WHERE id = ?1",
                route,
                &is_paused,
            )?;
            self.change_names(|names| {
                if let Some(route) = names.routes.get_mut(&route) {
                    route.is_paused = is_paused;
                }
            });
            return Ok(true);
        };
        let Some(id) = self.names.destination(route, name) else {
            return Ok(false);
        };
        self.set(
            "UPDATE destination SET is_paused = ?2 WHERE id = ?1",
            id,
            &is_paused,
        )?;
        self.change_names(|names| {
            if let Some(destination) = names.destinations.get_mut(&id) {
                destination.is_paused = is_paused;
            }
        });
        Ok(true)
    }

    fn disable(&mut self, id: i64, reason: Option<String>) -> Result<(), TaskFailure> {
        self.set(
            "UPDATE destination SET disabled = ?2 WHERE id = ?1",
            id,
            &reason,
        )?;
        self.change_names(|names| {
            if let Some(destination) = names.destinations.get_mut(&id) {
                destination.disabled = reason;
            }
        });
        Ok(())
    }

    fn set(&self, sql: &str, id: i64, value: &dyn ToSql) -> rusqlite::Result<()> {
        self.conn.execute(sql, params![id, value]).map(drop)
    }
}

fn destinations(look: &ReadTransaction<'_>) -> rusqlite::Result<Vec<DestinationRow>> {
    let names = &look.names;
    let mut rows: Vec<_> = names
        .destinations
        .iter()
        .map(|(id, destination)| DestinationRow {
            id: DestinationId(*id),
            route: names.route_name(destination.route),
            name: destination.name.clone(),
            is_paused: destination.is_paused,
            is_route_paused: names
                .routes
                .get(&destination.route)
                .is_some_and(|route| route.is_paused),
            disabled: destination.disabled.clone(),
            deliveries: [0; 6],
            oldest_open_ms: None,
        })
        .collect();
    rows.sort_by(|one, other| (&one.route, &one.name).cmp(&(&other.route, &other.name)));
    let tally = LaneTally::load(look.conn)?;
    for counted in tally.counts(names, |_, _| true) {
        let id = DestinationId(counted.lane.destination);
        let Some(row) = rows.iter_mut().find(|row| row.id == id) else {
            continue;
        };
        let state = usize::try_from(counted.state.code()).unwrap_or(usize::MAX);
        if let Some(count) = row.deliveries.get_mut(state) {
            *count += u64::try_from(counted.count).unwrap_or(0);
        }
        // Ended deliveries are many and their age does not matter, so only open ones are looked up.
        if counted.state.is_open() {
            let oldest = oldest(look.conn, counted.id, counted.state)?;
            row.oldest_open_ms = match (row.oldest_open_ms, oldest) {
                (Some(known), Some(oldest)) => Some(known.min(oldest)),
                (known, oldest) => known.or(oldest),
            };
        }
    }
    Ok(rows)
}
