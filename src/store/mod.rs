//! The store: accepted events, their deliveries, attempts and claims, durable. The only room that knows SQL.
//!
//! `inbox` commits events, `deliver` takes what is due and tells what became of it, `admin` looks and changes on an
//! operator's word. One thread writes, in groups: all that is asked of it while a group is being synchronised to the disk
//! makes the next group, so that one synchronisation serves many. Readers stand beside it.
//!
//! Nothing is told as done before it is durable. After a failed write nothing is known of the file any more: it is opened
//! anew and checked before the next group, and whoever waited is told that it failed.

pub mod audit;
pub(crate) mod partial;
pub mod rows;
pub mod search;
mod sqlite;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::clock::Now;
use crate::model::delivery::DeliveryId;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::model::secret::Secret;
use crate::store::audit::{Action, ActionRow, ActionSearch};
use crate::store::rows::{
    Committed, DestinationId, DestinationRow, Due, Finished, NewEvent, SpentClaim, StoredEvent,
};
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, EventRow, EventSearch, Page, Replay, ReplayRow,
    Selection,
};
use crate::store::sqlite::Inner;

/// How a store is opened.
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// What bodies, headers and answers are sealed with; the first seals, all open. Empty: they are stored in clear.
    pub encryption_keys: Vec<Secret>,
    /// Whether the body of an event is kept after all its deliveries were delivered or cancelled.
    pub keep_body: bool,
    /// Bytes that the file may have, log included; beyond it nothing is accepted.
    pub max_size: Option<u64>,
    /// Events that may be stored.
    pub max_events: Option<u64>,
    /// Bytes that stay free on the disk.
    pub min_free: u64,
}

/// What is kept, and how long after its end. `None`: for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Events whose deliveries were all delivered or cancelled, or that had none.
    pub delivered_ms: Option<i64>,
    /// Dead letters.
    pub dead_ms: Option<i64>,
    /// Attempts of deliveries that have ended.
    pub attempts_ms: Option<i64>,
    /// Bytes of the file above which the oldest ended events go, whatever their age.
    pub size: Option<u64>,
    /// The shortest time for which a claim counts. It goes then in any case: this says how soon it is looked for.
    pub claims_ms: Option<i64>,
}

/// What a round of retention did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// Events that are gone.
    pub events: u64,
    /// Attempts that are gone, beside those of these events.
    pub attempts: u64,
    /// Claims whose window is over.
    pub claims: u64,
    /// Bytes given back to the file system.
    pub bytes: u64,
    /// Whether there is more to do: a round is bounded, so that it never holds up commits for long.
    pub is_more: bool,
}

/// What is in the store, roughly up to date and cheap to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Events.
    pub events: u64,
    /// Deliveries by state, in the order of `DeliveryState::ALL`.
    pub deliveries: [u64; 6],
    /// Claims, expired ones that were not swept yet included.
    pub claims: u64,
    /// Bytes of the file and its log.
    pub size: u64,
    /// Bytes in the file that hold nothing.
    pub spare: u64,
    /// Milliseconds since the epoch at which the oldest open delivery was made.
    pub oldest_open_ms: Option<i64>,
    /// Groups that were committed since the store was opened, and what was in them.
    pub groups: u64,
    /// Commits, takings and outcomes in these groups.
    pub grouped: u64,
    /// Times that the store was opened anew after a failed write.
    pub reopened: u64,
    /// Bytes of the log alone.
    pub log: u64,
    /// Bytes that are free on its disk, for who writes it.
    pub disk_free: Option<u64>,
    /// Microseconds that the writer spent on these groups, synchronising included.
    pub written_us: u64,
    /// Times that the log was written back whole.
    pub checkpoints: u64,
}

/// Why the store did not do what it was asked. In every case nothing of it was done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say they are")]
pub enum StoreError {
    /// No file, no right, no folder.
    #[error("cannot open the store `{}`", path.display())]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    /// Another process has it.
    #[error("the store `{}` is in use by another process", path.display())]
    InUse { path: PathBuf },
    /// A later version wrote it.
    #[error("the store `{}` has the form {found}, and this version knows forms up to {known}: run the version that wrote it, or a later one", path.display())]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    /// It holds what none of the keys opens.
    #[error("the store `{}` is sealed with a key that the config does not have", path.display())]
    Key { path: PathBuf },
    /// Damage.
    #[error("the store is damaged: {what}")]
    Damaged { what: String },
    /// The disk: full, read-only, failing; or locked by somebody else.
    #[error("the store could not be written")]
    Write(#[source] rusqlite::Error),
    /// A write failed a moment ago: until the file has been opened anew and checked, nothing is taken.
    #[error("a write failed, and the store is being opened anew")]
    Reopening,
    /// A look at it failed.
    #[error("the store could not be read")]
    Read(#[source] rusqlite::Error),
    /// More would exceed a limit of the config.
    #[error("the store is full: {limit}")]
    Full { limit: &'static str },
    /// Too much is waiting to be written.
    #[error("the store has too much to write at the moment")]
    Busy,
    /// It is closed, or its thread ended.
    #[error("the store is closed")]
    Closed,
    /// What was read of it could not be handed on.
    #[error("the export could not be written")]
    Output(#[source] std::io::Error),
}

/// An open store. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens or makes the store, brings it to the newest form, and gives back what a dead process had in flight:
    /// `Step::Interrupt`, with an attempt of unknown outcome on record. Blocks.
    ///
    /// Where the disk is full or fails, the store is there all the same and takes nothing ([`StoreError::Reopening`]) until the
    /// file can be opened, which it goes on trying.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(options: Options) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner::open(options)?);
        Ok(Self { inner })
    }

    /// Names a destination; the same name has the same number for ever.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn destination(
        &self,
        route: &RouteName,
        name: &DestinationName,
    ) -> Result<DestinationId, StoreError> {
        self.inner.destination(route, name).await
    }

    /// Event, deliveries and claims in one transaction. Durable when it returns.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn commit(&self, event: NewEvent) -> Result<Committed, StoreError> {
        self.inner.commit(event).await
    }

    /// Takes up to `limit` due deliveries of a destination, which are in flight from then on with their attempt counted.
    /// Higher priority first, then what was due first. Of those with one order key only the oldest open one is taken.
    /// Nothing of a destination or route that is paused. Where the answer is not waited for, they are given back.
    ///
    /// `now_ms` is of the store's clock.
    ///
    /// An event whose content cannot be opened, since its key is gone, comes without its body and headers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn begin(
        &self,
        destination: DestinationId,
        limit: usize,
        now_ms: i64,
    ) -> Result<Vec<Due>, StoreError> {
        self.inner.begin(destination, limit, now_ms).await
    }

    /// When the next delivery of a destination is due that may be taken, by the store's clock; none: there is none (or it is
    /// paused).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next_due(&self, destination: DestinationId) -> Result<Option<i64>, StoreError> {
        self.inner.next_due(destination).await
    }

    /// What became of an attempt. One whose delivery is not in flight with this attempt changes nothing: `false`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn finish(&self, finished: Finished) -> Result<bool, StoreError> {
        self.inner.finish(finished).await
    }

    /// Notes that an app has taken events of a proxy route. Returns at once; written with the next group. Where too much
    /// waits already they are left out: after a restart such an id may pass once more.
    pub fn spend(&self, claims: Vec<SpentClaim>) {
        self.inner.spend(claims);
    }

    /// The claims of a route that count at `now_ms` of the store's clock, the youngest `limit` of them. Blocks.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn claims(
        &self,
        route: &RouteName,
        now_ms: i64,
        limit: u64,
    ) -> Result<Vec<SpentClaim>, StoreError> {
        self.inner.claims(route, now_ms, limit)
    }

    /// One event with all it holds.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn event(&self, uid: RequestId) -> Result<Option<StoredEvent>, StoreError> {
        self.inner.event(uid).await
    }

    /// Events, newest first. A page holds 1,000 at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn events(
        &self,
        search: EventSearch,
        page: Page,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.inner.events(search, page).await
    }

    /// Events that hold a text in body, type, ids or target, whatever the case of its letters, newest first; and the number
    /// to go on behind, where a bounded part of the store was looked at and not all of it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn events_with_text(
        &self,
        search: EventSearch,
        text: String,
        page: Page,
    ) -> Result<(Vec<EventRow>, Option<i64>), StoreError> {
        self.inner.events_with_text(search, text, page).await
    }

    /// Deliveries, newest first. A page holds 1,000 at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn deliveries(
        &self,
        search: DeliverySearch,
        page: Page,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        self.inner.deliveries(search, page).await
    }

    /// The attempts of a delivery, in their order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<AttemptRow>, StoreError> {
        self.inner.attempts(delivery).await
    }

    /// Takes a step (`Retry`, `Cancel`, `Discard`) with one delivery or all that match, in bounded groups. Returns how many
    /// it was taken with; those in whose state it cannot be taken are left alone. What comes meanwhile is not looked at.
    ///
    /// # Errors
    /// See [`StoreError`]. Groups before the one that failed stay done.
    pub async fn change(&self, selection: Selection, now_ms: i64) -> Result<u64, StoreError> {
        self.inner.change(selection, now_ms).await
    }

    /// How many deliveries a replay would make.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn count_replay(&self, replay: &Replay) -> Result<u64, StoreError> {
        self.inner.count_replay(replay).await
    }

    /// Notes a replay, to be worked off by `step_replay`; survives a restart.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn begin_replay(&self, replay: Replay, now_ms: i64) -> Result<ReplayRow, StoreError> {
        self.inner.begin_replay(replay, now_ms).await
    }

    /// Makes the next `limit` deliveries of a replay that is not paused; `None`: there is no such replay.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn step_replay(
        &self,
        id: i64,
        limit: u64,
        now_ms: i64,
    ) -> Result<Option<ReplayRow>, StoreError> {
        self.inner.step_replay(id, limit, now_ms).await
    }

    /// Stops a replay, or lets it go on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pause_replay(
        &self,
        id: i64,
        is_paused: bool,
    ) -> Result<Option<ReplayRow>, StoreError> {
        self.inner.pause_replay(id, is_paused).await
    }

    /// Replays, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn replays(&self, limit: u64) -> Result<Vec<ReplayRow>, StoreError> {
        self.inner.replays(limit).await
    }

    /// All destinations that were ever named, with what waits there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        self.inner.destinations().await
    }

    /// Pauses or resumes a destination, or all of a route (`name: None`); accepting goes on. `false`: no such name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pause(
        &self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, StoreError> {
        self.inner.pause(route, name, is_paused).await
    }

    /// Whether a destination or its route is paused, or it is switched off. Asks no disk.
    #[must_use]
    pub fn is_held(&self, destination: DestinationId) -> bool {
        self.inner.is_held(destination)
    }

    /// Returns the number of a destination in the file, where it is known by one that was given before the file was opened.
    #[must_use]
    pub fn resolve(&self, destination: DestinationId) -> DestinationId {
        self.inner.resolve(destination)
    }

    /// Switches a destination off that answered 410, or on again (`reason: None`). What waits stays; nothing is attempted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn disable(
        &self,
        destination: DestinationId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        self.inner.disable(destination, reason).await
    }

    /// One bounded round of retention; gives spare pages back to the file system.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn purge(&self, retention: &Retention, now_ms: i64) -> Result<Purged, StoreError> {
        self.inner.purge(retention, now_ms).await
    }

    /// What is in it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stats(&self) -> Result<Stats, StoreError> {
        self.inner.stats().await
    }

    /// Keeps what an operator did, and gives its number. The oldest go where there are too many.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn note_action(&self, action: Action) -> Result<i64, StoreError> {
        self.inner.note_action(action).await
    }

    /// What operators did, newest first. A page holds 1,000 at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn actions(
        &self,
        search: ActionSearch,
        page: Page,
    ) -> Result<Vec<ActionRow>, StoreError> {
        self.inner.actions(search, page).await
    }

    /// The store's clock, beside the monotonic one. Times that decide when something happens are of this clock: when a
    /// delivery is due, when its round began, when a claim ends. Elapsed time moves it and nothing else does, so a wall clock
    /// that is set delays nothing.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.now()
    }

    /// A time of the store's clock as the wall clock shows it.
    #[must_use]
    pub fn to_wall_ms(&self, stored_ms: i64) -> i64 {
        self.inner.to_wall_ms(stored_ms)
    }

    /// Whether a commit would be taken now: false after a failed write until the store was opened anew.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.inner.is_healthy()
    }

    /// Returns whether the file was open at some time: false where its disk had no room at the start, and has none yet. Until then
    /// nothing is known of what it holds, and destinations have numbers that only this store understands.
    #[must_use]
    pub fn was_opened(&self) -> bool {
        self.inner.was_opened()
    }

    /// Writes what is waiting and closes the file, for all clones. Blocks.
    pub fn close(self) {
        self.inner.close();
    }
}

/// The whole integrity check of a store file, beside a running gate or without one: what is wrong, line by line. Blocks.
///
/// # Errors
/// Where it cannot be opened.
pub fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    sqlite::check::check(path)
}

/// Copies a store file as it is now, beside a running gate or without one, into a new file. What is sealed stays sealed.
/// `progress` gets the pages done and all pages. Blocks.
///
/// # Errors
/// See [`StoreError`]; also where `to` exists.
pub fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
    sqlite::copy::copy(from, to, progress)
}

/// Writes the events of a store file that were received at `since_ms` or later, with their deliveries and attempts: a line
/// of JSON for each, oldest first. `progress` gets the events done and all. Blocks.
///
/// # Errors
/// See [`StoreError`]; `Key` where the keys do not open an event.
pub fn export(
    path: &Path,
    keys: &[Secret],
    since_ms: Option<i64>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    sqlite::export::export(path, keys, since_ms, out, progress)
}

/// Result of a salvage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Salvaged {
    /// Events that were written as they were accepted.
    pub whole: u64,
    /// Events of which something is missing or not as it was accepted; their lines say what (`lacks`).
    pub in_part: u64,
    /// Events among these that were found on pages that nothing in the file leads to any more. Some may have been removed
    /// before, by retention.
    pub carved: u64,
    /// Numbers of events at which nothing can be read. There need not have been an event at each of them.
    pub unreadable: u64,
    /// Commits of the log behind damage in it, which an ordinary start discards. They were read.
    pub discarded_commits: u64,
    /// Parts of the log whose checksum does not fit.
    pub damaged_frames: u64,
}

/// Writes what can be read of a damaged store file as [`export`] does, and counts what cannot. Works on a copy in the folder
/// `scratch`, which takes as much room as the store. Blocks.
///
/// # Errors
/// See [`StoreError`]; `InUse` where a gate runs on the file.
pub fn salvage(
    path: &Path,
    keys: &[Secret],
    since_ms: Option<i64>,
    scratch: &Path,
    out: &mut dyn Write,
) -> Result<Salvaged, StoreError> {
    sqlite::salvage::salvage(path, keys, since_ms, scratch, out)
}

/// What is in a store file, beside a running gate or without one. Blocks.
///
/// # Errors
/// See [`StoreError`].
pub fn stats_of(path: &Path) -> Result<Stats, StoreError> {
    sqlite::stats::stats_of(path)
}

/// The first bytes of an answer that are kept with an attempt.
pub const KEPT_ANSWER: usize = 1024;

/// Keeps `Bytes` in the vocabulary of this page.
pub type Body = Bytes;
