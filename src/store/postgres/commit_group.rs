//! The transaction of one group of events.

use std::collections::HashSet;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::model::delivery::DeliveryState;
use crate::store::error::StoreError;
use crate::store::postgres::commit_rows::{self, ClaimInsert, DeliveryInsert, EventInsert};
use crate::store::postgres::group_event::{EventDecision, GroupEvent, ordered_keys};
use crate::store::postgres::order::{self, OrderedKey};
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::tally::TallyChanges;

/// The events of one transaction. From the first commit that was sent on, numbers outlive a failed try.
pub(super) struct CommitGroup<'a> {
    shared: &'a NodeShared,
    pub(super) events: Vec<GroupEvent>,
    /// Claims that this try inserted for events that it stores.
    claims_made: i64,
}

/// Why a transaction did not commit.
pub(super) enum GroupFailure {
    /// PostgreSQL rejects a row.
    Row(tokio_postgres::Error),
    /// Anything else, including a commit whose result is unknown.
    Store(StoreError),
}

impl From<StoreError> for GroupFailure {
    fn from(err: StoreError) -> Self {
        match err {
            StoreError::Postgres(err) => err.into(),
            err => Self::Store(err),
        }
    }
}

impl From<tokio_postgres::Error> for GroupFailure {
    fn from(err: tokio_postgres::Error) -> Self {
        // Classes 22 (data exception) and 23 (integrity constraint violation) come from the values of a row.
        let is_row = err
            .code()
            .is_some_and(|state| state.code().starts_with("22") || state.code().starts_with("23"));
        // A foreign row that is gone is no fault of the event's own values.
        match is_row && err.code() != Some(&SqlState::FOREIGN_KEY_VIOLATION) {
            true => Self::Row(err),
            false => Self::Store(StoreError::Postgres(err)),
        }
    }
}

impl<'a> CommitGroup<'a> {
    pub(super) fn new(shared: &'a NodeShared, events: Vec<GroupEvent>) -> Self {
        Self {
            shared,
            events,
            claims_made: 0,
        }
    }

    /// Returns the time since the oldest event was queued.
    pub(super) fn oldest_age(&self) -> Duration {
        let ages = self.events.iter().map(|event| event.task.age());
        ages.max().unwrap_or_default()
    }

    /// Rejects all events.
    pub(super) fn refuse(&mut self, why: impl Fn() -> StoreError) {
        for event in std::mem::take(&mut self.events) {
            event.task.answer(Err(why()));
        }
    }

    /// Commits the group. `was_sent` becomes true before a commit is sent: from then on a failure leaves its result
    /// unknown, and the next run finds out.
    pub(super) async fn run(
        &mut self,
        session: &Session,
        was_sent: &mut bool,
    ) -> Result<(), GroupFailure> {
        let Some(first) = self.events.first().map(|event| event.number) else {
            return Ok(());
        };
        if *was_sent {
            // The lock waits for the earlier try, which may still be running: the server releases it after its rows are
            // visible or gone.
            let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({first})");
            session.batch(&begin).await?;
            if self.is_committed(session).await? {
                // A transaction without writes waits for no standby. This row cancels itself out, and its commit waits
                // for all that was written before it, the lost commit included.
                let sql = "INSERT INTO tally_change (lane, state, change) VALUES (0, 0, 0)";
                session.execute(sql, &[]).await?;
                session.batch("COMMIT").await?;
                return self.check_standby(session);
            }
            // The earlier try left nothing, so every decision is made again.
            self.reset();
            self.decide(session).await?;
        } else {
            self.reset();
            let won = ClaimInsert::begin(session, &mut self.events).await?;
            self.resolve(session, won).await?;
        }
        if self.events.iter().all(|event| !event.is_new()) {
            // Nothing to write, so no commit can be in doubt.
            session.batch("ROLLBACK").await?;
            return Ok(());
        }
        self.insert(session, was_sent).await?;
        self.check_standby(session)
    }

    /// Returns an error if the server gave up waiting for a standby, so that the commit may be on the primary only.
    fn check_standby(&self, session: &Session) -> Result<(), GroupFailure> {
        match session.take_warning() {
            true => Err(StoreError::Unknown.into()),
            false => Ok(()),
        }
    }

    fn reset(&mut self) {
        // Decisions of an earlier try no longer count: other nodes may have spent or released its claims since.
        let full = *self.shared.is_full.lock();
        for event in &mut self.events {
            event.decision = match full {
                Some(limit) => EventDecision::Full(limit),
                None => EventDecision::New,
            };
        }
    }

    /// Returns whether an earlier try committed. It did so for all its events or for no event.
    async fn is_committed(&self, session: &Session) -> Result<bool, GroupFailure> {
        // The decisions of the try that was sent still apply here. Events that it did not store have no row to find.
        let numbers: Vec<i64> = self
            .events
            .iter()
            .filter(|event| event.is_new())
            .map(|event| event.number)
            .collect();
        let sql = "SELECT EXISTS (SELECT 1 FROM event WHERE id = ANY($1))";
        Ok(session.query_one(sql, &[&numbers]).await?.get(0))
    }

    /// Inserts the claims inside a transaction that has begun.
    async fn decide(&mut self, session: &Session) -> Result<(), GroupFailure> {
        let claims = ClaimInsert::of(&self.events);
        let won = match claims.is_empty() {
            true => HashSet::new(),
            false => {
                let rows = session.query(ClaimInsert::INSERT, &claims.values()).await?;
                ClaimInsert::won(&rows)
            }
        };
        self.resolve(session, won).await
    }

    /// Decides about the events that did not win all their claims.
    async fn resolve(
        &mut self,
        session: &Session,
        won: HashSet<(i64, [u8; 16])>,
    ) -> Result<(), GroupFailure> {
        let mut lost = Vec::new();
        for event in &self.events {
            let keys = event.task.task.claims.iter().map(|claim| claim.key);
            // A key that an event has twice was inserted once, for this event.
            lost.extend(
                keys.filter(|key| !event.is_new() || !won.contains(&(event.number, *key)))
                    .map(|key| (event.route, key)),
            );
        }
        if lost.is_empty() {
            self.claims_made = i64::try_from(won.len()).unwrap_or(0);
            return Ok(());
        }
        // The insert has waited for every transaction that held one of these keys, so this statement sees how it ended.
        let found = ClaimInsert::find(session, &lost).await?;
        let own: HashSet<i64> = self.events.iter().map(|event| event.number).collect();
        let skew_ms = self.shared.clock.skew_ms();
        let node = self.shared.node();
        let (mut replaced, mut given_up) = (Vec::new(), Vec::new());
        let mut taken = HashSet::new();
        for event in &mut self.events {
            let sealed = &event.task.task;
            // A claim must not expire while the event waits in the queue, so the time of its reception decides.
            let now_ms = sealed.received_ms.saturating_add(skew_ms);
            let mut stale = Vec::new();
            let before = event.decision;
            for claim in &sealed.claims {
                let Some(row) = found.get(&(event.route, claim.key)) else {
                    continue;
                };
                if row.event == Some(event.number) {
                    continue;
                }
                // The winner is in this group and may still be refused, so this event waits for the next transaction.
                if row.event.is_some_and(|other| own.contains(&other)) {
                    event.decision = EventDecision::Again;
                    break;
                }
                match row.status {
                    // An earlier event of this group takes over the claim that is over.
                    _ if taken.contains(&(event.route, claim.key)) => {
                        event.decision = EventDecision::Again;
                        break;
                    }
                    _ if row.expires_ms <= now_ms => stale.push(*claim),
                    Some(status) => {
                        event.decision = EventDecision::Duplicate(status);
                        break;
                    }
                    // This node's own request holds the claim until now, and hands it to the event.
                    None if row.node == Some(node) => stale.push(*claim),
                    None => event.decision = EventDecision::Busy,
                }
            }
            match event.decision {
                EventDecision::New => {
                    taken.extend(stale.iter().map(|claim| (event.route, claim.key)));
                    replaced.extend(
                        stale
                            .iter()
                            .map(|claim| (event.route, *claim, sealed.status, event.number)),
                    );
                }
                // What this event inserted must not stay, or its next copy would count as a duplicate of nothing.
                _ if before == EventDecision::New => {
                    let keys = sealed.claims.iter().map(|claim| claim.key);
                    let own = keys.filter(|key| won.contains(&(event.number, *key)));
                    given_up.extend(own.map(|key| (event.route, key, event.number)));
                }
                _ => {}
            }
        }
        ClaimInsert::replace(session, &replaced).await?;
        ClaimInsert::give_up(session, &given_up).await?;
        let stored: HashSet<i64> = self
            .events
            .iter()
            .filter(|event| event.is_new())
            .map(|event| event.number)
            .collect();
        let made = won.iter().filter(|(event, _)| stored.contains(event));
        self.claims_made = i64::try_from(made.count()).unwrap_or(0);
        Ok(())
    }

    /// Inserts the rows of the new events and commits, in one flight where no order key is involved.
    async fn insert(&self, session: &Session, was_sent: &mut bool) -> Result<(), GroupFailure> {
        let new: Vec<&GroupEvent> = self.events.iter().filter(|event| event.is_new()).collect();
        let mut keys: Vec<OrderedKey> = Vec::new();
        for event in &new {
            keys.extend(ordered_keys(&event.task.task));
        }
        // Only commits hold both claims and order keys, always claims first, so the two kinds of locks never deadlock.
        order::lock(session, &self.shared.settings.schema, &keys).await?;
        let behind = self.find_behind(session, &new, &keys).await?;
        let events = EventInsert::of(&new);
        let deliveries = DeliveryInsert::of(&new, self.shared, &behind);
        let mut changes = TallyChanges::default();
        changes.add_claims(self.claims_made);
        for event in &new {
            changes.add_events(1);
            for (delivery, lane) in event.task.task.deliveries.iter().zip(&event.lanes) {
                changes.add(*lane, delivery.state(), 1);
            }
        }
        let counts = changes.columns();
        let insert = session.prepare(commit_rows::INSERT_ROWS).await?;
        let values = commit_rows::row_values(&events, &deliveries, &counts);
        let rows = session.client.execute(&insert, &values);
        let going: Vec<OrderedKey> = going_keys(&new);
        if !going.is_empty() {
            rows.await?;
            // A delivery that begins in flight must hold back the one that was next.
            order::settle(session, &going).await?;
            *was_sent = true;
            session.batch("COMMIT").await?;
            return Ok(());
        }
        *was_sent = true;
        let (inserted, committed) = tokio::join!(
            biased;
            rows,
            session.batch("COMMIT"),
        );
        // The commit of a transaction with a failed statement succeeds and does nothing, so its own result proves
        // nothing.
        inserted?;
        committed?;
        Ok(())
    }

    /// Returns the numbers of the deliveries that wait behind another one of their key.
    async fn find_behind(
        &self,
        session: &Session,
        new: &[&GroupEvent],
        keys: &[OrderedKey],
    ) -> Result<HashSet<i64>, GroupFailure> {
        let mut behind = HashSet::new();
        if keys.is_empty() {
            return Ok(behind);
        }
        let destinations: Vec<i64> = keys.iter().map(|key| key.destination).collect();
        let numbers: Vec<i64> = keys.iter().map(|key| key.key).collect();
        // The keys are locked: until this transaction ends, no other one can open or end a delivery of them.
        let sql = "SELECT k.destination, k.order_key
            FROM unnest($1::bigint[], $2::bigint[]) AS k (destination, order_key)
            WHERE EXISTS (SELECT 1 FROM open_delivery o
                WHERE o.destination = k.destination AND o.order_key = k.order_key)";
        let rows = session.query(sql, &[&destinations, &numbers]).await?;
        let mut open: HashSet<OrderedKey> = rows
            .iter()
            .map(|row| OrderedKey {
                destination: row.get(0),
                key: row.get(1),
            })
            .collect();
        for event in new {
            for (delivery, number) in event.task.task.deliveries.iter().zip(&event.deliveries) {
                let Some(key) = delivery.order_key else {
                    continue;
                };
                let key = OrderedKey {
                    destination: delivery.destination.0,
                    key,
                };
                // Only a delivery that may be taken can be behind. One in flight holds back the others.
                if !open.insert(key) && delivery.state() == DeliveryState::Pending {
                    behind.insert(*number);
                }
            }
        }
        Ok(behind)
    }
}

/// Returns the keys of deliveries that begin in flight.
fn going_keys(new: &[&GroupEvent]) -> Vec<OrderedKey> {
    let deliveries = new.iter().flat_map(|event| &event.task.task.deliveries);
    deliveries
        .filter(|delivery| delivery.is_in_flight)
        .filter_map(|delivery| {
            Some(OrderedKey {
                destination: delivery.destination.0,
                key: delivery.order_key?,
            })
        })
        .collect()
}
