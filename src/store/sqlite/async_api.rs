//! Async API of the open store: writes go to the writer thread, queries to the reader pool.

use std::sync::Arc;

use rusqlite::params;
use rusqlite::types::ToSql;

use crate::model::clock::ClockReading;
use crate::model::delivery::{DeliveryId, DeliveryStep};
use crate::model::ids::{DestinationName, EventId, RequestId, RouteName};
use crate::store::KEPT_ANSWER;
use crate::store::error::StoreError;
use crate::store::options::{PurgeResult, RetentionLimits, StoreStatistics};
use crate::store::rows::{
    CommitOutcome, DestinationId, DestinationRow, DueDelivery, FinishedAttempt, NewEvent,
    SpentClaim, StoredEvent,
};
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, DeliverySelector, EventRow, EventSearch, ListPage,
    ReplayRow, ReplaySearch, StepSelection,
};
use crate::store::sqlite::change::CHANGED_AT_ONCE;
use crate::store::sqlite::commit::SealedEvent;
use crate::store::sqlite::event::StoredEventRow;
use crate::store::sqlite::finish::SealedAttempt;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure};
use crate::store::sqlite::index_ranges::ListBounds;
use crate::store::sqlite::list_numbers::numbers;
use crate::store::sqlite::names::DestinationEntry;
use crate::store::sqlite::queue::{TaskUrgency, enqueue_task};
use crate::store::sqlite::readers::{LONG_PATIENCE, PATIENCE};
use crate::store::sqlite::seal::{ContentSealer, SealedPart, UnsealError};
use crate::store::sqlite::{StoreInner, head, purge, read, replay, stats, text_search};

/// Bytes that a queue entry counts for, beside its payload.
const TASK_SIZE: usize = 512;

impl StoreInner {
    /// Runs a task on the writer thread, and returns when its result is durable.
    pub(super) async fn write<T, F>(
        &self,
        urgency: TaskUrgency,
        bytes: usize,
        run: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut GroupWork) -> Result<T, TaskFailure> + Send + 'static,
    {
        // Reject at once instead of queueing: the file may stay unavailable for as long as the disk fails.
        if !self.shared.is_healthy() {
            return Err(StoreError::Reopening);
        }
        let (task, answer) = enqueue_task(run);
        self.shared.queue.push(task, bytes + TASK_SIZE, urgency)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

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

    pub(in crate::store) async fn commit(
        &self,
        mut event: NewEvent,
    ) -> Result<CommitOutcome, StoreError> {
        if !self.shared.is_healthy() {
            return Err(StoreError::Reopening);
        }
        for delivery in &mut event.deliveries {
            delivery.destination = DestinationId(self.shared.resolve(delivery.destination));
        }
        // Encryption runs here, on the caller's thread, so that it does not hold up the writer.
        let sealed = seal(&self.shared.sealer(), event).map_err(|_| seal_failed())?;
        // The queue bounds memory, so the bytes as they wait count, after encryption.
        let bytes = sealed.head.len() + sealed.body.len();
        self.write(TaskUrgency::Commit, bytes, move |work| {
            work.commit_event(&sealed)
        })
        .await
    }

    pub(in crate::store) async fn begin(
        &self,
        destination: DestinationId,
        limit: usize,
        now_ms: i64,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let shared = Arc::clone(&self.shared);
        let destination = self.shared.resolve(destination);
        let run = move |work: &mut GroupWork| work.begin(destination, limit, now_ms, &shared);
        let taken = self.write(TaskUrgency::Outcome, 0, run).await?;
        Ok(taken.open(&self.shared))
    }

    pub(in crate::store) async fn next_due(
        &self,
        destination: DestinationId,
    ) -> Result<Option<i64>, StoreError> {
        let destination = self.shared.resolve(destination);
        let look = self
            .shared
            .read(PATIENCE, move |look| read::next_due(look, destination));
        look.await
    }

    pub(in crate::store) async fn finish(
        &self,
        finished: FinishedAttempt,
    ) -> Result<bool, StoreError> {
        let answer = finished
            .record
            .response_start
            .slice(..finished.record.response_start.len().min(KEPT_ANSWER));
        // Without a key the query for the event's uid would be wasted.
        let (sealing_key, answer) = match self.shared.sealer().is_clear() || answer.is_empty() {
            true => (0, answer.to_vec()),
            false => self.seal_answer(&finished, &answer).await?,
        };
        let ended = SealedAttempt {
            delivery: finished.delivery,
            attempt: finished.attempt,
            record: finished.record,
            next: finished.next,
            sealing_key,
            sealed_response: answer,
        };
        let bytes = ended.sealed_response.len();
        self.write(TaskUrgency::Outcome, bytes, move |work| work.finish(&ended))
            .await
    }

    /// Encrypts the response bytes. This needs the uid of the event, from which the key is derived.
    async fn seal_answer(
        &self,
        finished: &FinishedAttempt,
        answer: &[u8],
    ) -> Result<(i64, Vec<u8>), StoreError> {
        let (delivery, attempt) = (finished.delivery.0, finished.attempt);
        let sql = "SELECT event.uid FROM delivery JOIN event ON event.id = delivery.event
            WHERE delivery.id = ?1";
        let uid = self.shared.read(PATIENCE, move |look| {
            let mut stmt = look.conn.prepare_cached(sql)?;
            let mut rows = stmt.query([delivery])?;
            let row = rows.next()?;
            row.map(|row| row.get::<_, [u8; 16]>(0)).transpose()
        });
        // If the delivery does not exist, the writer does not find it either and drops the outcome.
        let Some(uid) = uid.await? else {
            return Ok((0, Vec::new()));
        };
        let part = SealedPart::Answer(delivery, attempt);
        let sealed = self.shared.sealer().seal(&uid, part, answer);
        sealed.map_err(|_| seal_failed())
    }

    pub(in crate::store) fn spend(&self, claims: Vec<SpentClaim>) {
        let bytes = claims.len() * size_of::<SpentClaim>();
        let (task, _) = enqueue_task(move |work| work.spend_claims(&claims));
        // If the queue is full, the claims are dropped. Losing one only lets an event pass again after a restart.
        let _ = self.shared.queue.push(task, bytes, TaskUrgency::Commit);
    }

    pub(in crate::store) fn claims(
        &self,
        route: &RouteName,
        now_ms: i64,
        limit: u64,
    ) -> Result<Vec<SpentClaim>, StoreError> {
        if !self.shared.was_opened() {
            // Without a file no claim is known. They are read again once the file is open.
            return Ok(Vec::new());
        }
        self.shared.read_blocking(LONG_PATIENCE, |look| {
            read::claims(look, route, now_ms, limit)
        })
    }

    pub(in crate::store) async fn event(
        &self,
        uid: RequestId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let look = self.shared.read(PATIENCE, move |look| {
            StoredEventRow::find(look.conn, &look.names, uid)
        });
        let stored = look.await?;
        Ok(stored.map(|stored| stored.open(&self.shared.sealer())))
    }

    pub(in crate::store) async fn events(
        &self,
        search: EventSearch,
        page: ListPage,
    ) -> Result<Vec<EventRow>, StoreError> {
        let look = self
            .shared
            .read(PATIENCE, move |look| read::events(look, &search, page));
        look.await
    }

    pub(in crate::store) async fn events_with_text(
        &self,
        search: EventSearch,
        text: String,
        page: ListPage,
    ) -> Result<(Vec<EventRow>, Option<i64>), StoreError> {
        let sealer = self.shared.sealer();
        let look = self.shared.read(PATIENCE, move |look| {
            text_search::events(look, &sealer, (&search, &text), page)
        });
        look.await
    }

    pub(in crate::store) async fn deliveries(
        &self,
        search: DeliverySearch,
        page: ListPage,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let look = self
            .shared
            .read(PATIENCE, move |look| read::deliveries(look, &search, page));
        look.await
    }

    pub(in crate::store) async fn attempts(
        &self,
        delivery: DeliveryId,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let sealer = self.shared.sealer();
        let look = self.shared.read(PATIENCE, move |look| {
            read::attempts(look.conn, &sealer, delivery)
        });
        look.await
    }

    pub(in crate::store) async fn change(
        &self,
        selection: StepSelection,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let step = selection.step;
        let search = match selection.which {
            DeliverySelector::One(id) => return self.change_some(vec![id.0], step, now_ms).await,
            DeliverySelector::All(search) => search,
        };
        // Remember the newest delivery now, so that deliveries which arrive meanwhile are not changed.
        let last = self.shared.read(PATIENCE, |look| {
            numbers(look.conn, "SELECT last_delivery FROM total", [])
        });
        let last = last.await?.first().copied().unwrap_or(0);
        let (mut seen, mut changed) = (0, 0);
        loop {
            let ids = self.find_some(search.clone(), seen, last).await?;
            let Some(to) = ids.last().copied() else {
                return Ok(changed);
            };
            // Continue behind rows that did not change too, or the loop would find them forever.
            seen = to;
            changed += self.change_some(ids, step, now_ms).await?;
        }
    }

    async fn change_some(
        &self,
        ids: Vec<i64>,
        step: DeliveryStep,
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let run = move |work: &mut GroupWork| work.change(&ids, step, now_ms);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    /// Returns the next matching deliveries, oldest first.
    async fn find_some(
        &self,
        search: DeliverySearch,
        seen: i64,
        last: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let look = self.shared.read(LONG_PATIENCE, move |look| {
            let bounds = ListBounds::oldest_first(seen + 1, last);
            let mut ids = Vec::new();
            read::each_delivery(look, &search, bounds, &mut |id| {
                ids.push(id);
                Ok(ids.len() < CHANGED_AT_ONCE)
            })?;
            Ok(ids)
        });
        look.await
    }

    async fn measure(&self, replay: &ReplaySearch) -> Result<replay::ReplayExtent, StoreError> {
        let search = replay.search.clone();
        let look = self
            .shared
            .read(LONG_PATIENCE, move |look| replay::measure(look, &search));
        look.await
    }

    pub(in crate::store) async fn count_replay(
        &self,
        replay: &ReplaySearch,
    ) -> Result<u64, StoreError> {
        let extent = self.measure(replay).await?;
        Ok(u64::try_from(extent.total).unwrap_or(0))
    }

    pub(in crate::store) async fn begin_replay(
        &self,
        replay: ReplaySearch,
        now_ms: i64,
    ) -> Result<ReplayRow, StoreError> {
        let extent = self.measure(&replay).await?;
        let run = move |work: &mut GroupWork| work.begin_replay(&replay.search, &extent, now_ms);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    pub(in crate::store) async fn step_replay(
        &self,
        id: i64,
        limit: u64,
        now_ms: i64,
    ) -> Result<Option<ReplayRow>, StoreError> {
        let look = self
            .shared
            // A reader selects the rows. The writer checks that the cursor has not moved since.
            .read(LONG_PATIENCE, move |look| replay::next(look, id, limit));
        let batch = look.await?;
        let run = move |work: &mut GroupWork| work.step_replay(id, batch.as_ref(), now_ms);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    pub(in crate::store) async fn pause_replay(
        &self,
        id: i64,
        is_paused: bool,
    ) -> Result<Option<ReplayRow>, StoreError> {
        let run = move |work: &mut GroupWork| work.pause_replay(id, is_paused);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    pub(in crate::store) async fn replays(&self, limit: u64) -> Result<Vec<ReplayRow>, StoreError> {
        let look = self
            .shared
            .read(PATIENCE, move |look| replay::list(look.conn, limit));
        look.await
    }

    pub(in crate::store) async fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        self.shared.read(PATIENCE, read::destinations).await
    }

    pub(in crate::store) async fn pause(
        &self,
        route: &RouteName,
        name: Option<&DestinationName>,
        is_paused: bool,
    ) -> Result<bool, StoreError> {
        let (route, name) = (route.clone(), name.cloned());
        let run = move |work: &mut GroupWork| work.pause(&route, name.as_ref(), is_paused);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    pub(in crate::store) fn resolve(&self, destination: DestinationId) -> DestinationId {
        DestinationId(self.shared.resolve(destination))
    }

    pub(in crate::store) fn is_held(&self, destination: DestinationId) -> bool {
        self.shared
            .names()
            .is_held(self.shared.resolve(destination))
    }

    pub(in crate::store) async fn disable(
        &self,
        destination: DestinationId,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let reason = reason.map(ToOwned::to_owned);
        let destination = self.shared.resolve(destination);
        let run = move |work: &mut GroupWork| work.disable(destination, reason);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    pub(in crate::store) async fn purge(
        &self,
        retention: &RetentionLimits,
        now_ms: i64,
    ) -> Result<PurgeResult, StoreError> {
        let (shared, wanted) = (Arc::clone(&self.shared), retention.clone());
        let skew_ms = self.shared.clock().skew_ms();
        // End times come from the wall clock. If that clock runs ahead of the store's clock, rows must not look too
        // old.
        let times = purge::PurgeCutoffs {
            ended_ms: now_ms.saturating_add(skew_ms.min(0)),
            claims_ms: now_ms.saturating_add(skew_ms),
        };
        // Search on a reader and delete on the writer, which checks each row again. So a long search holds up no
        // commit.
        let look = self.shared.read(LONG_PATIENCE, move |look| {
            // Locked during the whole search, so that two rounds do not advance the same sweep.
            let mut sweeps = shared.sweeps();
            purge::find_purgeable(look, &mut sweeps, &wanted, times)
        });
        let (found, retention) = (look.await?, retention.clone());
        let run = move |work: &mut GroupWork| work.purge(&found, &retention, times);
        self.write(TaskUrgency::Outcome, 0, run).await
    }

    pub(in crate::store) async fn stats(&self) -> Result<StoreStatistics, StoreError> {
        let shared = Arc::clone(&self.shared);
        let look = self
            .shared
            .read(PATIENCE, move |look| stats::stats(look, &shared.path));
        let stats = look.await?;
        Ok(self.shared.with_counters(stats))
    }

    pub(in crate::store) fn now(&self) -> ClockReading {
        self.shared.clock().now()
    }

    pub(in crate::store) fn to_wall_ms(&self, stored_ms: i64) -> i64 {
        stored_ms.saturating_sub(self.shared.clock().skew_ms())
    }

    pub(in crate::store) fn was_opened(&self) -> bool {
        self.shared.was_opened()
    }

    pub(in crate::store) fn is_healthy(&self) -> bool {
        self.shared.is_healthy() && !self.shared.queue.is_closed()
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

/// Encrypts the private parts of an event on the caller's thread.
fn seal(sealer: &ContentSealer, new: NewEvent) -> Result<SealedEvent, UnsealError> {
    let event = new.event;
    let uid = *event.uid.as_bytes();
    let plain = event.body.clone().unwrap_or_default();
    let (sealing_key, head) = sealer.seal(&uid, SealedPart::Head, &head::encode(&event))?;
    let body = match sealer.is_clear() {
        // Without a key the body is shared with the request and not copied.
        true => plain.clone(),
        false => sealer.seal(&uid, SealedPart::Body, &plain)?.1.into(),
    };
    // An event without an id of its own uses its uid. A null column represents that.
    let is_uid = event.webhook_id == event.uid.to_string();
    Ok(SealedEvent {
        uid,
        route: event.route,
        provider: event.provider,
        event_id: event.event_id.as_ref().map(EventId::as_str).map(Into::into),
        event_type: event.event_type,
        webhook_id: (!is_uid).then_some(event.webhook_id),
        received_ms: event.received_ms,
        body_size: i64::try_from(plain.len()).unwrap_or(i64::MAX),
        sealing_key,
        head,
        body,
        claims: new.claims,
        status: new.status,
        deliveries: new.deliveries,
    })
}

/// Returns the error for a failure of the random number generator or the cipher.
fn seal_failed() -> StoreError {
    let text = "the content could not be encrypted".to_owned();
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR);
    StoreError::Write(rusqlite::Error::SqliteFailure(code, Some(text)))
}
