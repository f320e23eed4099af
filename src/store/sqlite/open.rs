//! Opening the file: lock, log, schema, keys, clock, and deliveries of a dead process.
//!
//! The steps are the same at the start and later, if the disk had no room at the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::model::clock::ClockReading;
use crate::store::aliases::DestinationAliases;
use crate::store::error::StoreError;
use crate::store::seal::ContentSealer;
use crate::store::sqlite::clock::{BootTime, ClockTrust, SavedClock, StoreClock};
use crate::store::sqlite::connect::{self, FileLock, open_failed};
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::limits::{StoreLimits, disk_free};
use crate::store::sqlite::options::SqliteOptions;
use crate::store::sqlite::sealing_keys;
use crate::store::sqlite::{migrate, wal};

/// Free bytes on the disk below which no file can be set up.
const LEAST_ROOM: u64 = 1 << 20;

pub(super) struct OpenStore {
    pub(super) work: GroupWork,
    pub(super) sealer: Arc<ContentSealer>,
    pub(super) clock: Arc<StoreClock>,
    pub(super) lock: FileLock,
    /// True if a process that leaves still writes to the file.
    pub(super) has_predecessor: bool,
}

/// Resolves symbolic links in the path, because SQLite keeps the log beside the file that they point to.
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

pub(super) fn open(options: &SqliteOptions) -> Result<OpenStore, StoreError> {
    let path = &options.path;
    connect::create(path)?;
    // Lock before the first connection: a second gate on the same file would damage it.
    let lock = FileLock::take(path)?;
    let has_predecessor = lock.has_predecessor();
    let failed = |err| open_failed(path, err);
    if !has_predecessor {
        // A process that died of a failed write may have left a log that is not on the disk yet. A process that leaves has
        // no such log, and it may be writing to the log right now.
        let extent = wal::secure(path).map_err(|err| failed(connect::io_failed(&err)))?;
        wal::report(path, &extent);
    }
    let conn = connect::writer(path).map_err(failed)?;
    // Check the schema version before the first write, so that a file of a later version stays untouched.
    let found = migrate::form(&conn, path)?;
    connect::prepare_writer(&conn).map_err(failed)?;
    migrate::migrate(&conn, found).map_err(failed)?;
    let sealer = sealing_keys::open(&conn, &options.encryption_keys, true).map_err(failed)?;
    // Without this check a lost key would show only when the first delivery fails.
    sealing_keys::check_keys(&sealer, &conn, path)?;
    let saved = SavedClock::load(&conn).map_err(failed)?;
    let (clock, trust) = StoreClock::resume(&saved, ClockReading::read().unix_ms, BootTime::read());
    let clock = Arc::new(clock);
    let limits = StoreLimits::new(options);
    let work = GroupWork::new(conn, limits, options.keep_body, Arc::clone(&clock));
    let mut work = work.map_err(failed)?;
    if !has_predecessor {
        take_back(&mut work).map_err(failed)?;
    }
    if let ClockTrust::Behind(behind_ms) = trust {
        tracing::warn!(
            behind_ms,
            "the wall clock is behind the times in the store: all waiting deliveries are attempted now; set the clock"
        );
        work.end_pauses().map_err(failed)?;
    }
    Ok(OpenStore {
        work,
        sealer: Arc::new(sealer),
        clock,
        lock,
        has_predecessor,
    })
}

/// Opens a reader of an arbitrary file. Rejects files that are not a store of a known version.
pub(super) fn open_untrusted(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let conn = connect::reader(path).map_err(|err| open_failed(path, err))?;
    match migrate::form(&conn, path)? {
        0 => Err(StoreError::Damaged {
            what: format!("`{}` is empty: it never was a store", path.display()),
        }),
        _ => Ok(conn),
    }
}

/// Returns deliveries of ended processes to the queue: those in flight that this process did not take.
pub(super) fn take_back(work: &mut GroupWork) -> rusqlite::Result<()> {
    work.start()?;
    match work.interrupt_all() {
        Ok(()) => {}
        Err(TaskFailure::Sql(err)) => return Err(err),
        // An impossible state stays as it is; `check` reports it.
        Err(TaskFailure::Refused(_)) => {}
    }
    work.flush()?;
    work.commit()
}

/// Returns whether a full or failing disk is why the file could not be opened. The disk may recover; a wrong key or
/// damage does not.
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
        // SQLite reports a missing folder and a full disk alike, so look at the free space.
        Some(ErrorCode::CannotOpen) => has_no_room(),
        _ => false,
    }
}

/// Inserts the destinations that have no real number yet into the file.
pub(super) fn settle_aliases(
    aliases: &mut DestinationAliases,
    work: &mut GroupWork,
) -> rusqlite::Result<()> {
    let mut real = Vec::new();
    work.start()?;
    for (route, name) in aliases.unsettled() {
        match work.destination(route, name.clone()) {
            Ok(id) => real.push(id.0),
            Err(TaskFailure::Sql(err)) => return Err(err),
            Err(TaskFailure::Refused(_)) => real.push(0),
        }
    }
    work.flush()?;
    work.commit()?;
    aliases.settle(real);
    Ok(())
}
