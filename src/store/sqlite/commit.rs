//! Committing an event: first its claims, then the event, its content and its deliveries.
//!
//! The claims come first because a spent claim makes the event a duplicate, of which nothing is stored.

use rusqlite::params;

use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::store::error::StoreError;
use crate::store::names::DeliveryLane;
use crate::store::rows::{CommitOutcome, DestinationId, NewDelivery, NewEvent};
use crate::store::seal::seal_failed;
use crate::store::sealed_event::{SealedEvent, seal};
use crate::store::sqlite::fifo;
use crate::store::sqlite::group_work::{GroupWork, TaskFailure, UndoEntry};
use crate::store::sqlite::id_index;
use crate::store::sqlite::queue::TaskUrgency;
use crate::store::sqlite::store::SqliteStore;

impl SqliteStore {
    /// Commits an event, its deliveries and its claims in one transaction. They are durable when this returns.
    ///
    /// # Errors
    /// See [`StoreError`].
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
}

impl GroupWork {
    pub(super) fn commit_event(
        &mut self,
        sealed: &SealedEvent,
    ) -> Result<CommitOutcome, TaskFailure> {
        if let Some(limit) = self.limits.reached(self.total.events) {
            // A duplicate needs no room, so a full store still reports it as a duplicate.
            return match self.spent(sealed)? {
                Some(status) => Ok(CommitOutcome::Duplicate(status)),
                None => Err(TaskFailure::Refused(StoreError::Full { limit })),
            };
        }
        // Before the first write: a rejected task must leave nothing behind, since its group still commits.
        self.check_destinations(sealed)?;
        let route = self.route(&sealed.route)?;
        if let Some(status) = self.claim_all(route, sealed)? {
            return Ok(CommitOutcome::Duplicate(status));
        }
        let (kind, is_rest) = self.kind(route, &sealed.provider, sealed.event_type.as_deref())?;
        // Numbers follow the order of commits and are never reused. Searches rely on both.
        let event = self.total.last_event + 1;
        if !self.insert_event(sealed, event, kind, is_rest)? {
            // The claims are already inserted, and a rejected task must leave nothing behind.
            self.give_up_claims(route, &sealed.claims)?;
            let what = "an event with the same uid is already stored".to_owned();
            return Err(TaskFailure::Refused(StoreError::Damaged { what }));
        }
        self.insert_content(sealed, event)?;
        let mut ids = Vec::with_capacity(sealed.deliveries.len());
        for delivery in &sealed.deliveries {
            ids.push(self.insert_new(sealed, delivery, event, kind)?);
        }
        self.ghosts.push(UndoEntry::Event {
            uid: sealed.uid,
            claims: sealed
                .claims
                .iter()
                .map(|claim| (route, claim.key))
                .collect(),
        });
        Ok(CommitOutcome::New(ids))
    }

    /// Inserts all claims. If one of them is already spent, inserts no claim and returns the status that the first copy
    /// got.
    ///
    /// It inserts first and reads only on conflict: that costs one lookup instead of two in the table whose pages are
    /// accessed at random.
    fn claim_all(&mut self, route: i64, sealed: &SealedEvent) -> Result<Option<u16>, TaskFailure> {
        for (place, claim) in sealed.claims.iter().enumerate() {
            let is_twice = sealed
                .claims
                .iter()
                .take(place)
                .any(|other| other.key == claim.key);
            // Two rules of dedup may give the same key. The second one must not conflict with the first.
            if is_twice || self.insert_claim(route, claim, sealed.status)? {
                continue;
            }
            if let Some(status) = self.spent_by(route, claim, sealed.received_ms)? {
                let made = sealed.claims.get(..place).unwrap_or_default();
                self.give_up_claims(route, made)?;
                return Ok(Some(status));
            }
            self.replace_claim(route, claim, sealed.status)?;
        }
        Ok(None)
    }

    /// Returns the status that the first copy got, if one of the claims is spent.
    fn spent(&self, sealed: &SealedEvent) -> rusqlite::Result<Option<u16>> {
        let Some(route) = self.names.route(&sealed.route) else {
            return Ok(None);
        };
        for claim in &sealed.claims {
            let found = self.spent_by(route, claim, sealed.received_ms)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn check_destinations(&self, sealed: &SealedEvent) -> Result<(), TaskFailure> {
        let mut destinations = sealed.deliveries.iter().map(|each| each.destination);
        match destinations.find(|id| !self.names.destinations.contains_key(&id.0)) {
            None => Ok(()),
            Some(unknown) => {
                let what = format!("no destination has the number {}", unknown.0);
                Err(TaskFailure::Refused(StoreError::Damaged { what }))
            }
        }
    }

    /// Inserts the event row. Returns `false` if an event with this uid exists.
    fn insert_event(
        &mut self,
        sealed: &SealedEvent,
        event: i64,
        kind: i64,
        is_rest: bool,
    ) -> rusqlite::Result<bool> {
        let sql = "INSERT INTO event
            (id, uid, kind, received_ms, body_size, event_id, webhook_id, event_type)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
        let count = self.conn.prepare_cached(sql)?.execute(params![
            event,
            &sealed.uid[..],
            kind,
            sealed.received_ms,
            sealed.body_size,
            sealed.event_id,
            sealed.webhook_id,
            sealed.event_type.as_deref().filter(|_| is_rest),
        ])?;
        if count == 0 {
            return Ok(false);
        }
        self.add_total(|total| {
            total.events += 1;
            total.last_event = event;
        });
        self.spans.add(event, sealed.received_ms);
        let (event_id, webhook_id) = (sealed.event_id.as_deref(), sealed.webhook_id.as_deref());
        id_index::write(&self.conn, event, event_id, webhook_id)?;
        Ok(true)
    }

    fn insert_content(&self, sealed: &SealedEvent, event: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO content (event, sealing_key, head, body) VALUES (?1, ?2, ?3, ?4)";
        let values = params![event, sealed.sealing_key, sealed.head, &sealed.body[..]];
        self.conn.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn insert_new(
        &mut self,
        sealed: &SealedEvent,
        delivery: &NewDelivery,
        event: i64,
        kind: i64,
    ) -> rusqlite::Result<DeliveryId> {
        let lane = self.lane(DeliveryLane {
            kind,
            destination: delivery.destination.0,
            is_replay: false,
        })?;
        self.insert_delivery(&NewDeliveryRow {
            event,
            lane,
            destination: delivery.destination.0,
            state: delivery.state(),
            priority: delivery.priority.clamp(-1, 1),
            due_ms: delivery.due_ms,
            order_key: delivery.order_key,
            created_ms: sealed.received_ms,
            round_began_ms: sealed.received_ms.saturating_add(self.clock.skew_ms()),
        })
    }

    pub(super) fn insert_delivery(&mut self, row: &NewDeliveryRow) -> rusqlite::Result<DeliveryId> {
        let id = self.total.last_delivery + 1;
        let attempts = i64::from(row.state == DeliveryState::InFlight);
        // Only a delivery that may be taken can be behind. One in flight holds back the others.
        let is_behind = match (row.state, row.order_key) {
            (DeliveryState::Pending, Some(key)) => {
                fifo::is_any_open(&self.conn, row.destination, key)?
            }
            _ => false,
        };
        let sql = "INSERT INTO delivery (id, event, lane, destination, state, is_behind, priority,
            due_ms, order_key, attempts, round, round_began_ms, created_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?12, ?11)";
        self.conn.prepare_cached(sql)?.execute(params![
            id,
            row.event,
            row.lane,
            row.destination,
            row.state.code(),
            is_behind,
            row.priority,
            row.due_ms,
            row.order_key,
            attempts,
            row.created_ms,
            row.round_began_ms,
        ])?;
        self.add_total(|total| total.last_delivery = id);
        self.count(row.lane, row.state, 1);
        if row.state == DeliveryState::InFlight {
            self.own.insert(id);
        }
        // A delivery that begins in flight must hold back the one that was next.
        if let (DeliveryState::InFlight, Some(key)) = (row.state, row.order_key) {
            fifo::settle(&self.conn, row.destination, key)?;
        }
        Ok(DeliveryId(id))
    }
}

/// A delivery row to insert.
pub(super) struct NewDeliveryRow {
    pub(super) event: i64,
    pub(super) lane: i64,
    pub(super) destination: i64,
    pub(super) state: DeliveryState,
    pub(super) priority: i8,
    pub(super) due_ms: i64,
    pub(super) order_key: Option<i64>,
    pub(super) created_ms: i64,
    pub(super) round_began_ms: i64,
}
