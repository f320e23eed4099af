//! Committing events in groups: one transaction holds the claims, events, contents and deliveries of many requests.
//!
//! A commit whose answer is lost is repeated with the same numbers, on whichever server accepts writes by then. The
//! repeated transaction first waits for the lost one, and then sees whether its rows are there. Nothing is ever undone:
//! another node may already have answered a copy of the event on the strength of its claim.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::model::clock;
use crate::model::delivery::DeliveryId;
use crate::store::error::StoreError;
use crate::store::names::DeliveryLane;
use crate::store::postgres::attempts::RunningAttempt;
use crate::store::postgres::commit_group::{CommitGroup, GroupFailure};
use crate::store::postgres::group_event::{EventDecision, GroupEvent, ordered_keys};
use crate::store::postgres::new_names;
use crate::store::postgres::order::{MAX_LOCKED, OrderedKey};
use crate::store::postgres::patience::within;
use crate::store::postgres::queue::GroupTask;
use crate::store::postgres::session::Session;
use crate::store::postgres::sessions::{SessionSlot, is_collision, no_answer};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::postgres::text::without_nul;
use crate::store::rows::{CommitOutcome, NewEvent};
use crate::store::seal::seal_failed;
use crate::store::sealed_event::{SealedEvent, seal};

/// Longest duration of one try.
const TRY_PATIENCE: Duration = Duration::from_secs(4);

/// How long after it was queued a commit is repeated. Its sender waits for at most a little longer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Pause before a group is tried again on another session.
const PAUSE: Duration = Duration::from_millis(100);

/// A commit that waits for its group.
type CommitTask = GroupTask<SealedEvent, CommitOutcome>;

impl PostgresStore {
    pub(in crate::store) async fn commit(
        &self,
        mut event: NewEvent,
    ) -> Result<CommitOutcome, StoreError> {
        // Fails at once while the database is away, so that the sender retries elsewhere instead of waiting.
        if !self.shared.is_healthy() {
            return Err(StoreError::Reopening);
        }
        for delivery in &mut event.deliveries {
            delivery.destination = self.shared.resolve(delivery.destination);
        }
        // Encryption runs here, on the caller's thread, so that it does not hold up the writers.
        let sealed = seal(&self.shared.sealer(), event).map_err(|_| seal_failed())?;
        let bytes = sealed.head.len() + sealed.body.len();
        self.shared.queue.commits.push(sealed, bytes).await
    }
}

/// Commits groups of events until the queue is closed and empty.
pub(super) async fn write_groups(shared: Arc<NodeShared>) {
    let slot = SessionSlot::new(&shared.settings, "commit");
    while let Some(mut group) = shared.queue.commits.take().await {
        let mut tasks = std::mem::take(&mut group.tasks);
        while !tasks.is_empty() {
            // The rest of a group goes before new tasks, because it has waited longer.
            tasks = write_some(&shared, &slot, tasks).await;
        }
    }
}

/// Commits a group. Returns the tasks that need another transaction.
async fn write_some(
    shared: &NodeShared,
    slot: &SessionSlot,
    tasks: Vec<CommitTask>,
) -> Vec<CommitTask> {
    let began = clock::instant();
    let (tasks, mut rest) = split_by_keys(tasks);
    let mut group = CommitGroup::new(shared, known_events(shared, tasks));
    // The numbers stay the same once a commit was sent: by them a repeated try recognizes the rows of one whose answer was
    // lost.
    let mut is_prepared = false;
    let mut was_sent = false;
    let mut reporter = FailureReporter::default();
    loop {
        let tried = within(TRY_PATIENCE, async {
            let guard = slot.open().await?;
            let session = guard.session()?;
            if !is_prepared {
                prepare(shared, session, &mut group.events).await?;
                is_prepared = true;
            }
            group.run(session, &mut was_sent).await?;
            guard.keep();
            Ok::<(), GroupFailure>(())
        })
        .await;
        // A try that did not end closed its session, so that the server ends its transaction.
        let failure = match tried {
            Some(Ok(())) => break,
            Some(Err(failure)) => failure,
            None => GroupFailure::Store(no_answer()),
        };
        let age = group.oldest_age();
        match failure {
            // One bad event would fail its whole group again and again, so the group is halved until it is alone.
            GroupFailure::Row(_) if group.events.len() > 1 => {
                let half = group.events.len() / 2;
                let later = group.events.split_off(half);
                rest.splice(0..0, later.into_iter().map(|event| event.task));
                // The server rejected a row, so nothing of this group is committed, and no result is in doubt.
                was_sent = false;
            }
            GroupFailure::Row(err) => {
                group.refuse(|| bad_row(&err));
                return rest;
            }
            GroupFailure::Store(_) if age > PATIENCE => {
                group.refuse(|| match was_sent {
                    true => StoreError::Unknown,
                    false => StoreError::Reopening,
                });
                return rest;
            }
            // Without a pause, since the transaction has already waited for the lock.
            GroupFailure::Store(err) if is_collision(&err) => {}
            GroupFailure::Store(err) => {
                reporter.report(&err);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    shared.count_group(group.events.len(), began.elapsed());
    let events = std::mem::take(&mut group.events).into_iter();
    // In front of the others: a later event of the same order key must not overtake them.
    let mut again: Vec<_> = events.filter_map(|event| end(shared, event)).collect();
    again.append(&mut rest);
    again
}

/// Reports the first failure of a group. It is repeated ten times a second while the database is away.
#[derive(Default)]
struct FailureReporter {
    has_reported: bool,
}

impl FailureReporter {
    fn report(&mut self, err: &StoreError) {
        if std::mem::replace(&mut self.has_reported, true) {
            return;
        }
        tracing::warn!(
            error = %crate::model::error::chain(err),
            "a group of events could not be committed yet: it is repeated under the same numbers"
        );
    }
}

fn bad_row(err: &tokio_postgres::Error) -> StoreError {
    let what = match err.as_db_error() {
        Some(err) if err.constraint() == Some("event_uid_key") => {
            "an event with the same uid is already stored".to_owned()
        }
        Some(err) => format!("PostgreSQL rejects the event: {}", err.message()),
        None => "PostgreSQL rejects the event".to_owned(),
    };
    StoreError::Damaged { what }
}

/// Replies to the sender of an event. Returns its task if the event needs another transaction.
fn end(shared: &NodeShared, event: GroupEvent) -> Option<CommitTask> {
    let outcome = match event.decision {
        EventDecision::Again => return Some(event.task),
        EventDecision::Full(limit) => Err(StoreError::Full { limit }),
        EventDecision::Busy => Err(StoreError::Busy),
        EventDecision::Duplicate(status) => Ok(CommitOutcome::Duplicate(status)),
        EventDecision::New => {
            let sealed = &event.task.task;
            for (delivery, id) in sealed.deliveries.iter().zip(&event.deliveries) {
                if delivery.is_in_flight {
                    let running = RunningAttempt {
                        attempt: 1,
                        destination: delivery.destination.0,
                        order_key: delivery.order_key,
                        uid: sealed.uid,
                    };
                    // Before the reply: the outcome of a short first attempt may follow at once.
                    shared.attempts.add(*id, running);
                }
            }
            let ids = event.deliveries.iter().copied().map(DeliveryId).collect();
            Ok(CommitOutcome::New(ids))
        }
    };
    event.task.answer(outcome);
    None
}

/// Splits off the tasks whose order keys would exceed the locks of one transaction.
fn split_by_keys(tasks: Vec<CommitTask>) -> (Vec<CommitTask>, Vec<CommitTask>) {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    let mut keys = HashSet::new();
    for task in tasks {
        let own: Vec<OrderedKey> = ordered_keys(&task.task).collect();
        let new = own.iter().filter(|key| !keys.contains(*key)).count();
        // All later ones follow, or an event could overtake an earlier one of its key. The first task always goes.
        if !rest.is_empty() || (!first.is_empty() && new > 0 && keys.len() + new > MAX_LOCKED) {
            rest.push(task);
            continue;
        }
        keys.extend(own);
        first.push(task);
    }
    (first, rest)
}

/// Answers tasks that no transaction can do, and returns the others as events without numbers.
fn known_events(shared: &NodeShared, tasks: Vec<CommitTask>) -> Vec<GroupEvent> {
    let names = shared.names();
    let mut events = Vec::with_capacity(tasks.len());
    for mut task in tasks {
        let sealed = &mut task.task;
        let mut destinations = sealed.deliveries.iter().map(|each| each.destination);
        // Rejected here and alone, or its whole group would fail with it.
        if let Some(unknown) = destinations.find(|id| !names.destinations.contains_key(&id.0)) {
            let what = format!("no destination has the number {}", unknown.0);
            task.answer(Err(StoreError::Damaged { what }));
            continue;
        }
        // Text columns of PostgreSQL hold every character but this one.
        sealed.event_id = sealed.event_id.take().map(without_nul);
        sealed.webhook_id = sealed.webhook_id.take().map(without_nul);
        let event_type = sealed.event_type.take();
        sealed.event_type = event_type.map(|text| without_nul(text.into_string()).into());
        events.push(GroupEvent::new(task));
    }
    events
}

/// Finds the numbers of the names of a group, and draws those of new names. They stay the same in every try.
async fn prepare(
    shared: &NodeShared,
    session: &Session,
    events: &mut [GroupEvent],
) -> Result<(), StoreError> {
    let failed = StoreError::Postgres;
    for event in events.iter_mut() {
        let route = shared.route_number(session, &event.task.task.route).await;
        event.route = route.map_err(failed)?;
    }
    let names = shared.names();
    let has_unknown = events.iter().any(|event| {
        let sealed = &event.task.task;
        let event_type = sealed.event_type.as_deref();
        names
            .kind(event.route, &sealed.provider, event_type)
            .is_none()
    });
    // Held to the end of this function: two writers that count kinds at the same time would exceed their bound.
    let _naming = match has_unknown {
        true => Some(shared.naming.lock().await),
        false => None,
    };
    // Outside of the group's transaction, which would keep other nodes with the same new names waiting for its commit.
    let learned = new_names::learn_kinds(shared, session, events).await;
    learned.map_err(failed)?;
    for event in events.iter_mut() {
        let sealed = &event.task.task;
        let kind = shared.kind_number(
            session,
            event.route,
            &sealed.provider,
            sealed.event_type.as_deref(),
        );
        (event.kind, event.is_rest) = kind.await.map_err(failed)?;
    }
    // A lane refers to its kind, so the kinds have numbers first.
    let learned = new_names::learn_lanes(shared, session, events).await;
    learned.map_err(failed)?;
    for event in events.iter_mut() {
        let sealed = &event.task.task;
        event.lanes.clear();
        for delivery in &sealed.deliveries {
            let lane = DeliveryLane {
                kind: event.kind,
                destination: delivery.destination.0,
                is_replay: false,
            };
            let lane = shared.lane_number(session, lane).await;
            event.lanes.push(lane.map_err(failed)?);
        }
    }
    Ok(())
}
