//! The sessions of a node, each with a fixed duty.
//!
//! A pool would hide which session does what. Here a slow search never keeps a commit from its connection, and no work
//! ever delays a beat.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio_postgres::error::SqlState;

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::postgres::connect;
use crate::store::postgres::patience::within;
use crate::store::postgres::session::Session;

/// Longest duration of a transaction that writes.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Sessions for queries.
const READERS: usize = 3;

/// How often a transaction is repeated after a deadlock, a serialization failure or a lock that was not free in time.
const ATTEMPTS: u32 = 4;

/// Leaves only plans that walk the index of due deliveries. The table is empty at one moment and has a million rows at the
/// next, so statistics are always of another state, and a plan that sorts takes seconds. Such plans look expensive, but
/// must not be compiled, which takes longer than they run. A take need not wait for the disk.
const TAKER_SET_UP: &str =
    "SET enable_sort = off; SET enable_bitmapscan = off; SET enable_seqscan = off; SET jit = off;
    SET synchronous_commit = off";

/// All sessions of a node but those of its writers and its beat, which own theirs.
pub(super) struct Sessions {
    operator: SessionSlot,
    taker: SessionSlot,
    readers: [SessionSlot; READERS],
    permits: Semaphore,
}

/// A place for one session, which connects when it is used.
pub(super) struct SessionSlot {
    settings: PostgresSettings,
    duty: &'static str,
    /// Statements that run after connecting.
    set_up: &'static str,
    session: Mutex<Option<Session>>,
}

/// A session in use. It is closed when it is dropped, unless its work succeeded: nothing is known about its state.
pub(super) struct SessionGuard<'a> {
    held: MutexGuard<'a, Option<Session>>,
    is_sound: bool,
}

impl SessionSlot {
    pub(super) fn new(settings: &PostgresSettings, duty: &'static str) -> Self {
        Self {
            settings: settings.clone(),
            duty,
            set_up: "",
            session: Mutex::default(),
        }
    }

    /// Sets statements that run after connecting.
    pub(super) fn with_set_up(self, set_up: &'static str) -> Self {
        Self { set_up, ..self }
    }

    /// Waits for the session and connects if necessary.
    pub(super) async fn open(&self) -> Result<SessionGuard<'_>, StoreError> {
        let mut held = self.session.lock().await;
        if held.as_ref().is_none_or(Session::is_closed) {
            // Dropped first: two sessions of one duty could exceed the server's limit.
            *held = None;
            let session = connect::open(&self.settings, self.duty).await?;
            // For the session, because each transaction would take as long as a small query to set it.
            let durability = self.settings.durability.synchronous_commit();
            let set_up = format!("SET synchronous_commit = {durability}; {}", self.set_up);
            session.batch(&set_up).await.map_err(StoreError::Postgres)?;
            // Only after the set-up, so that a session without it is never used.
            *held = Some(session);
        }
        Ok(SessionGuard {
            held,
            is_sound: false,
        })
    }
}

impl SessionGuard<'_> {
    /// Returns the session; `None` never occurs while the guard lives.
    pub(super) fn session(&self) -> Result<&Session, StoreError> {
        self.held.as_ref().ok_or(StoreError::Closed)
    }

    /// Keeps the session open for the next use.
    pub(super) fn keep(mut self) {
        self.is_sound = true;
    }
}

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        // A transaction may still be open on it, whose locks would outlast the work.
        if !self.is_sound {
            *self.held = None;
        }
    }
}

impl Sessions {
    pub(super) fn new(settings: &PostgresSettings) -> Self {
        Self {
            operator: SessionSlot::new(settings, "operator"),
            taker: SessionSlot::new(settings, "taker").with_set_up(TAKER_SET_UP),
            readers: std::array::from_fn(|_| SessionSlot::new(settings, "reader")),
            permits: Semaphore::new(READERS),
        }
    }

    /// Returns the session that takes deliveries.
    pub(super) fn taker(&self) -> &SessionSlot {
        &self.taker
    }

    /// Returns the session for changes of operators and duties.
    pub(super) fn operator(&self) -> &SessionSlot {
        &self.operator
    }

    /// Runs queries in one read-only snapshot.
    pub(super) async fn read<T>(
        &self,
        patience: Duration,
        query: impl AsyncFnOnce(&Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| StoreError::Closed)?;
        // A permit is held, so one of the slots is free. A slot that connects just now is not.
        let free = self
            .readers
            .iter()
            .find(|slot| slot.session.try_lock().is_ok());
        let slot = free.or(self.readers.first()).ok_or(StoreError::Closed)?;
        let guard = slot.open().await?;
        let session = guard.session()?;
        let work = async {
            // Searches differ so much that a plan for any values suits few of them, and compiling one takes longer than
            // most of them run. A bitmap forgets the order of its index, by which a list ends early.
            // The server cancels the query at its deadline. The deadline of this side comes later, for a server that is
            // gone.
            let begin = format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {};
                SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off;
                SET LOCAL enable_bitmapscan = off",
                patience.as_millis()
            );
            session.batch(&begin).await?;
            let found = query(session).await?;
            // Nothing was written, but a snapshot that stays open would hold up the server's vacuum.
            session.batch("COMMIT").await?;
            Ok(found)
        };
        let deadline = patience.saturating_add(Duration::from_secs(2));
        let found = within(deadline, work).await;
        let found = found.ok_or_else(no_answer)?.map_err(StoreError::Postgres)?;
        guard.keep();
        Ok(found)
    }

    /// Runs a change in one transaction, again if it collides with another one.
    pub(super) async fn write<T>(
        &self,
        change: impl AsyncFn(&Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        transaction(&self.operator, change).await
    }
}

/// Runs a change in one transaction on a slot, again if it collides with another one. An error during the commit is
/// [`StoreError::Unknown`].
pub(super) async fn transaction<T>(
    slot: &SessionSlot,
    change: impl AsyncFn(&Session) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    repeat_collisions(slot, async |session| {
        let done = in_time(async {
            session.batch("BEGIN").await.map_err(StoreError::Postgres)?;
            change(session).await
        });
        let done = done.await?;
        commit(session).await?;
        Ok(done)
    })
    .await
}

/// Runs a whole transaction on a slot, again if it collides with another one. It must not fail with a collision after its
/// commit was sent, unless the server rolled it back for certain.
pub(super) async fn repeat_collisions<T>(
    slot: &SessionSlot,
    run: impl AsyncFn(&Session) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut attempt = 1;
    loop {
        let guard = slot.open().await?;
        match run(guard.session()?).await {
            // The guard drops here and closes the session, which also ends the failed transaction.
            Err(err) if attempt < ATTEMPTS && is_collision(&err) => attempt += 1,
            Err(err) => return Err(err),
            Ok(done) => {
                guard.keep();
                return Ok(done);
            }
        }
    }
}

/// Limits the time of work in a transaction.
pub(super) async fn in_time<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    within(WRITE_PATIENCE, work).await.ok_or_else(no_answer)?
}

/// Commits. An error means that the result is unknown, and so does a warning that a standby may lack the commit.
pub(super) async fn commit(session: &Session) -> Result<(), StoreError> {
    let committed = within(WRITE_PATIENCE, session.batch("COMMIT")).await;
    match committed {
        Some(Ok(())) if !session.take_warning() => Ok(()),
        _ => Err(StoreError::Unknown),
    }
}

/// Returns whether a transaction failed because of another one, so that it may succeed when it is repeated.
pub(super) fn is_collision(err: &StoreError) -> bool {
    let StoreError::Postgres(err) = err else {
        return false;
    };
    [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        // The code of `lock_timeout`, which ends a wait for a node that hangs while it holds a lock.
        SqlState::LOCK_NOT_AVAILABLE,
    ]
    .iter()
    .any(|state| err.code() == Some(state))
}

/// Returns the error for a server that did not answer in time.
pub(super) fn no_answer() -> StoreError {
    StoreError::Connect {
        what: "the server did not answer in time".to_owned(),
        source: None,
    }
}
