//! Reading the names of the file into memory.

use rusqlite::Connection;

use crate::model::ids::{DestinationName, RouteName};
use crate::store::names::{DeliveryLane, DestinationEntry, EventKind, NameTable};

/// Loads all names from the file.
pub(super) fn load_names(conn: &Connection) -> rusqlite::Result<NameTable> {
    let mut names = NameTable::default();
    let mut stmt = conn.prepare("SELECT id, name, is_paused FROM route")?;
    let mut rows = stmt.query([])?;
    while let Some(row) = rows.next()? {
        let name = RouteName::new(&row.get::<_, String>(1)?);
        names.add_route(row.get(0)?, name, row.get(2)?);
    }
    let mut stmt = conn.prepare("SELECT id, route, name, is_paused, disabled FROM destination")?;
    let mut rows = stmt.query([])?;
    while let Some(row) = rows.next()? {
        let destination = DestinationEntry {
            route: row.get(1)?,
            name: DestinationName::new(&row.get::<_, String>(2)?),
            is_paused: row.get(3)?,
            disabled: row.get(4)?,
        };
        names.destinations.insert(row.get(0)?, destination);
    }
    let mut stmt = conn.prepare("SELECT id, route, provider, event_type, is_rest FROM kind")?;
    let mut rows = stmt.query([])?;
    while let Some(row) = rows.next()? {
        let kind = EventKind {
            route: row.get(1)?,
            provider: row.get(2)?,
            event_type: row.get::<_, Option<String>>(3)?.map(Into::into),
            is_rest: row.get(4)?,
        };
        names.add_kind(row.get(0)?, kind);
    }
    let mut stmt = conn.prepare("SELECT id, kind, destination, is_replay FROM lane")?;
    let mut rows = stmt.query([])?;
    while let Some(row) = rows.next()? {
        let lane = DeliveryLane {
            kind: row.get(1)?,
            destination: row.get(2)?,
            is_replay: row.get(3)?,
        };
        names.add_lane(row.get(0)?, lane);
    }
    Ok(names)
}
