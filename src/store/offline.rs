//! Commands on a store that no process has to have open: check, statistics, export.

use std::io::Write;

use hookgate_verify::model::secret::Secret;

use crate::model::database::DatabaseLocation;
use crate::store::error::StoreError;
use crate::store::options::StoreStatistics;
use crate::store::postgres::check::check_database;
use crate::store::postgres::export::export_database;
use crate::store::postgres::stats::stats_of_database;
use crate::store::sqlite;

/// Checks a store fully, beside a running gate or without one. Returns one finding per line. Blocks.
pub(crate) fn check(location: &DatabaseLocation) -> Result<Vec<String>, StoreError> {
    match location {
        DatabaseLocation::Sqlite(file) => sqlite::check::check(&file.path),
        DatabaseLocation::Postgres(settings) => check_database(settings),
    }
}

/// Returns the counters of a store, beside a running gate or without one. Blocks.
pub(crate) fn stats_of(location: &DatabaseLocation) -> Result<StoreStatistics, StoreError> {
    match location {
        DatabaseLocation::Sqlite(file) => sqlite::stats::stats_of(&file.path),
        DatabaseLocation::Postgres(settings) => stats_of_database(settings),
    }
}

/// Writes the events of a store that were received at `since_ms` or later, with their deliveries and attempts, as one line
/// of JSON each, oldest first. `progress` gets the number of written events and of all events. Fails if the keys do not
/// decrypt an event. Blocks.
pub(crate) fn export(
    location: &DatabaseLocation,
    keys: &[Secret],
    since_ms: Option<i64>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    match location {
        DatabaseLocation::Sqlite(file) => {
            sqlite::export::export(&file.path, keys, since_ms, out, progress)
        }
        DatabaseLocation::Postgres(settings) => {
            export_database(settings, keys, since_ms, out, progress)
        }
    }
}
