//! Opening the file: lock, log, form, keys, clock; what a dead process had in flight is given back. The same at the start and
//! later, where there was no room for it at the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::model::clock::Now;
use crate::model::ids::{DestinationName, RouteName};
use crate::store::sqlite::clock::{BootTime, SavedClock, StoreClock, Trust};
use crate::store::sqlite::connect::{self, Lock, open_failed};
use crate::store::sqlite::limits::{Limits, disk_free};
use crate::store::sqlite::seal::Sealer;
use crate::store::sqlite::work::{Failure, Work};
use crate::store::sqlite::{migrate, read, wal};
use crate::store::{Options, StoreError};

/// With less room than this nothing can be set up.
const LEAST_ROOM: u64 = 1 << 20;

pub(super) struct Opened {
    pub(super) work: Work,
    pub(super) sealer: Arc<Sealer>,
    pub(super) clock: Arc<StoreClock>,
    pub(super) lock: Lock,
}

/// The path without symbolic links: SQLite keeps the log beside what they lead to.
pub(super) fn canonical(path: &Path) -> PathBuf {
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    let folder = connect::folder(path).canonicalize();
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

pub(super) fn open(options: &Options) -> Result<Opened, StoreError> {
    let path = &options.path;
    connect::create(path)?;
    let lock = Lock::take(path)?;
    let failed = |err| open_failed(path, err);
    // A process that died of a failed write may have left a log of which the disk knows nothing.
    let extent = wal::secure(path).map_err(|err| failed(connect::io_failed(&err)))?;
    wal::report(path, &extent);
    let conn = connect::writer(path).map_err(failed)?;
    let found = migrate::form(&conn, path)?;
    connect::prepare_writer(&conn).map_err(failed)?;
    migrate::migrate(&conn, found).map_err(failed)?;
    let sealer = Sealer::open(&conn, &options.encryption_keys, true).map_err(failed)?;
    read::check_keys(&conn, &sealer, path)?;
    let saved = SavedClock::load(&conn).map_err(failed)?;
    let (clock, trust) = StoreClock::resume(&saved, Now::read().unix_ms, BootTime::read());
    let clock = Arc::new(clock);
    let limits = Limits::new(options);
    let work = Work::new(conn, limits, options.keep_body, Arc::clone(&clock));
    let mut work = work.map_err(failed)?;
    take_back(&mut work).map_err(failed)?;
    if let Trust::Behind(behind_ms) = trust {
        tracing::warn!(
            behind_ms,
            "the wall clock is behind the times in the store: deliveries that wait are attempted now"
        );
        work.end_pauses().map_err(failed)?;
    }
    Ok(Opened {
        work,
        sealer: Arc::new(sealer),
        clock,
        lock,
    })
}

/// Gives back what a dead process had in flight, before anybody asks.
fn take_back(work: &mut Work) -> rusqlite::Result<()> {
    work.start()?;
    match work.interrupt_all() {
        Ok(()) => {}
        Err(Failure::Sql(err)) => return Err(err),
        // A state that cannot be is left where it is; `check` reports it.
        Err(Failure::Refused(_)) => {}
    }
    work.flush()?;
    work.commit()
}

/// Returns whether the disk is why the file could not be opened: full, or failing. That may pass; a wrong key or damage does not.
pub(super) fn is_of_the_disk(err: &StoreError, path: &Path) -> bool {
    let (StoreError::Open { source, .. } | StoreError::Write(source) | StoreError::Read(source)) =
        err
    else {
        return false;
    };
    let has_no_room = || {
        let free = disk_free(path).or_else(|| disk_free(connect::folder(path)));
        free.is_some_and(|free| free < LEAST_ROOM)
    };
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => true,
        Some(ErrorCode::CannotOpen) => has_no_room(),
        _ => false,
    }
}

/// Names of destinations that were asked for while the file could not be opened: each has a number below zero until then,
/// which leads to the real one afterwards.
#[derive(Default)]
pub(super) struct Aliases {
    names: Vec<(RouteName, DestinationName)>,
    /// In the same order.
    real: Vec<i64>,
}

impl Aliases {
    pub(super) fn number(&mut self, route: &RouteName, name: &DestinationName) -> i64 {
        let mut known = self.names.iter();
        let place = known.position(|(one, other)| one == route && other == name);
        let place = place.unwrap_or_else(|| {
            self.names.push((route.clone(), name.clone()));
            self.names.len() - 1
        });
        -1 - i64::try_from(place).unwrap_or(i64::MAX - 1)
    }

    /// The real number, where it is known; a number that is none of these is real.
    pub(super) fn resolve(&self, number: i64) -> i64 {
        if number >= 0 {
            return number;
        }
        let place = usize::try_from(-1 - number).unwrap_or(usize::MAX);
        self.real.get(place).copied().unwrap_or(number)
    }

    /// Returns whether some have no real number yet.
    pub(super) fn has_unsettled(&self) -> bool {
        self.real.len() < self.names.len()
    }

    /// Names in the file those that have no real number yet.
    pub(super) fn settle(&mut self, work: &mut Work) -> rusqlite::Result<()> {
        let mut real = Vec::new();
        work.start()?;
        for (route, name) in self.names.iter().skip(self.real.len()) {
            match work.destination(route, name.clone()) {
                Ok(id) => real.push(id.0),
                Err(Failure::Sql(err)) => return Err(err),
                Err(Failure::Refused(_)) => real.push(0),
            }
        }
        work.flush()?;
        work.commit()?;
        self.real.extend(real);
        Ok(())
    }
}
