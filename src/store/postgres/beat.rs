//! The beat of a node: it registers, proves that it is alive, and looks at what the other nodes do.
//!
//! Beats have a session of their own, so that no other work delays them. A node is dead when another one has seen its
//! beat unchanged for a while, measured by the other one's monotonic clock. So neither a clock that steps, nor a database
//! that was away for an hour, can make a live node look dead.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use crate::model::clock;
use crate::model::error::chain;
use crate::store::error::StoreError;
use crate::store::postgres::lease::BEAT;
use crate::store::postgres::observer::NodeObserver;
use crate::store::postgres::patience::within;
use crate::store::postgres::session::Session;
use crate::store::postgres::sessions::{SessionSlot, no_answer};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::state_lock::StateLock;
use crate::store::postgres::{keys, migrate, names, pooler, takeover};

/// How long a start waits for the database. After that the gate starts without it.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two looks at the other nodes and their work.
const LOOK: Duration = Duration::from_millis(500);

/// Longest duration of one beat or look. Three of them fit into a lease.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longest duration of an entry. A migration may take long, but a server that stopped to answer must not hold this node
/// out of the database forever.
const ENTRY_PATIENCE: Duration = Duration::from_secs(60);

/// First and longest pause before connecting again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Runs until the store is closed: connects, beats, and connects again when the database was away.
pub(super) async fn run(shared: Arc<NodeShared>, started: SyncSender<Result<(), StoreError>>) {
    let slot = SessionSlot::new(&shared.settings, "beat");
    // Once for the whole process: the lock must outlast every session.
    let lock = StateLock::new(shared.settings.state_folder.as_deref(), &shared.settings);
    let began = clock::instant();
    let mut started = Some(started);
    let mut pause = FIRST_PAUSE;
    loop {
        let entered = within(ENTRY_PATIENCE, enter(&shared, &slot, &lock)).await;
        match entered.unwrap_or_else(|| Err(no_answer())) {
            Ok(version) => {
                // A session that worked shows that the database is back, so the next failure begins with a short pause.
                pause = FIRST_PAUSE;
                if let Some(started) = started.take() {
                    let _ = started.send(Ok(()));
                }
                let err = keep(&shared, &slot, &lock, version).await;
                shared.set_away();
                tracing::error!(
                    error = %chain(&err),
                    "the store lost its database: events get 503 until it is back"
                );
            }
            Err(err) => {
                let waited = began.elapsed();
                // Waiting cures neither a wrong password nor a newer schema, so the start fails with the reason.
                if !is_transient(&err)
                    && let Some(started) = started.take()
                {
                    let _ = started.send(Err(err));
                    return;
                }
                if waited > START_PATIENCE
                    && let Some(started) = started.take()
                {
                    tracing::error!(
                        error = %chain(&err),
                        "the store could not be opened and accepts no events yet: check the database"
                    );
                    let _ = started.send(Ok(()));
                }
                shared.set_away();
                // What waits would be refused after its patience anyway; its sender retries elsewhere.
                shared.queue.commits.refuse_all(|| StoreError::Reopening);
            }
        }
        // Also after a session that worked: a server that ends each connection soon must not be asked in a loop.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns whether an error may pass by itself.
fn is_transient(err: &StoreError) -> bool {
    !matches!(
        err,
        StoreError::NewerSchema { .. } | StoreError::SchemaKey { .. } | StoreError::Setup { .. }
    )
}

/// Connects, and brings this node into the database. Returns the version of the names that it has read.
async fn enter(
    shared: &Arc<NodeShared>,
    slot: &SessionSlot,
    lock: &StateLock,
) -> Result<i64, StoreError> {
    let guard = slot.open().await?;
    let session = guard.session()?;
    // A pooler may come between only where the gate connects for the first time.
    if !shared.was_opened() {
        pooler::refuse(&shared.settings, session).await?;
    }
    migrate::migrate(session, &shared.settings).await?;
    migrate::refuse_copy(session, &shared.settings.schema).await?;
    // Everything that the other tasks rely on comes before `settle_aliases`, which opens the store to them.
    let sealer = keys::open(session, &shared.options.encryption_keys).await?;
    keys::check(&sealer, session, &shared.settings.schema).await?;
    shared.set_sealer(sealer);
    let (table, version) = names::load(session).await.map_err(StoreError::Postgres)?;
    shared.set_names(table, version);
    register(shared, session, lock).await?;
    beat(shared, session).await?;
    // Before the store opens, so that a restarted process goes on with its former deliveries at once.
    takeover::release_gone(shared).await?;
    settle_aliases(shared, session).await?;
    guard.keep();
    Ok(version)
}

/// Registers this process, or renews its row if the database was only away.
async fn register(
    shared: &NodeShared,
    session: &Session,
    lock: &StateLock,
) -> Result<(), StoreError> {
    let known = shared.node();
    let sql = "UPDATE node SET beat = beat + 1 WHERE id = $1 AND ended_ms IS NULL";
    // The number stays valid only if no other node has ended its row. The running attempts stay valid with it.
    let renewed = session.execute(sql, &[&known]).await;
    if known != 0 && renewed.map_err(StoreError::Postgres)? == 1 {
        return Ok(());
    }
    end_former(session, lock, known).await?;
    let sql = "INSERT INTO node (name, version, form, started_ms)
        VALUES ($1, $2, $3, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) RETURNING id";
    let version = env!("CARGO_PKG_VERSION");
    let row = session
        .query_one(sql, &[&shared.settings.node, &version, &migrate::FORM])
        .await;
    let id: i32 = row.map_err(StoreError::Postgres)?.get(0);
    lock.write(id);
    // They belong to the former number, whose deliveries other nodes take over.
    shared.attempts.forget_all();
    shared.set_node(id);
    Ok(())
}

/// Ends the row of the process that held the lock of the state folder before this one, which is therefore gone. Its
/// deliveries then return to the queue at once.
async fn end_former(session: &Session, lock: &StateLock, own: i32) -> Result<(), StoreError> {
    let is_new = lock.try_take();
    if let Some(former) = lock.former_node().filter(|former| *former != own) {
        let sql = "UPDATE node SET is_gone = true,
            ended_ms = coalesce(ended_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
            WHERE id = $1";
        let ended = session.execute(sql, &[&former]).await;
        ended.map_err(StoreError::Postgres)?;
        // Only now: after an error the next entry has to try again.
        lock.forget_former();
    }
    if is_new && own != 0 {
        lock.write(own);
    }
    Ok(())
}

/// Proves that this node is alive, and measures the database's clock.
async fn beat(shared: &NodeShared, session: &Session) -> Result<(), StoreError> {
    let asked = clock::instant();
    let report = {
        let mut report = shared.report.lock().clone();
        report.clock_offset_ms = shared.clock.exact_skew_ms().saturating_neg();
        serde_json::to_string(&report).unwrap_or_else(|_| "{}".to_owned())
    };
    // `clock_timestamp()` moves on while the statement waits for its row, and `now()` does not.
    let sql = "UPDATE node SET beat = beat + 1, report = $2
        WHERE id = $1 AND ended_ms IS NULL
        RETURNING (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let row = session
        .query_opt(sql, &[&shared.node(), &report])
        .await
        .map_err(StoreError::Postgres)?;
    let Some(row) = row else {
        // At once, so that no attempt begins beside that of the node that takes over.
        shared.lease.end();
        return Err(StoreError::Connect {
            what: "another node declared this one dead, since it was quiet for too long".to_owned(),
            source: None,
        });
    };
    shared.clock.set(row.get(0), asked, clock::instant());
    // From the time of the question: other nodes may have seen the beat at any time after it.
    shared.lease.renew(asked);
    Ok(())
}

/// Gives destinations that were named without a database their real numbers, and opens the store.
async fn settle_aliases(shared: &NodeShared, session: &Session) -> Result<(), StoreError> {
    loop {
        let unsettled = shared.aliases.lock().unsettled().to_vec();
        let mut real = Vec::with_capacity(unsettled.len());
        for (route, name) in &unsettled {
            let number = shared.destination_number(session, route, name).await;
            real.push(number.map_err(StoreError::Postgres)?);
        }
        let mut aliases = shared.aliases.lock();
        aliases.settle(real);
        // Aliases are given under this lock. One that came meanwhile needs another round.
        if aliases.unsettled().is_empty() {
            shared.set_open();
            return Ok(());
        }
    }
}

/// Beats and looks until the session fails.
async fn keep(
    shared: &Arc<NodeShared>,
    slot: &SessionSlot,
    lock: &StateLock,
    version: i64,
) -> StoreError {
    let mut known_version = version;
    let mut observer = NodeObserver::default();
    let mut beaten = clock::instant();
    loop {
        // Different pauses, so that the nodes do not look at the same moment.
        let spread = 0.8 + 0.4 * spread_of(beaten);
        tokio::time::sleep(LOOK.mul_f64(spread)).await;
        let guard = match slot.open().await {
            Ok(guard) => guard,
            Err(err) => return err,
        };
        let work = async {
            let session = guard.session()?;
            if beaten.elapsed() >= BEAT {
                // Before the beat, so that a slow answer does not prolong the pause to the next one.
                beaten = clock::instant();
                beat(shared, session).await?;
                // The former process may have drained until now.
                end_former(session, lock, shared.node()).await?;
            }
            observer.look(shared, session, &mut known_version).await
        };
        match within(PATIENCE, work).await {
            Some(Ok(())) => guard.keep(),
            Some(Err(err)) => return err,
            None => return no_answer(),
        }
    }
}

/// Returns a number from 0 to 1 that differs from node to node and time to time.
fn spread_of(since: Instant) -> f64 {
    f64::from(since.elapsed().subsec_nanos() % 1000) / 1000.0
}

/// Ends this node's row at the end of the process, so that other nodes need not wait for its lease.
pub(super) async fn leave(shared: &NodeShared) {
    // This process never registered, so there is no row to end.
    if shared.node() == 0 {
        return;
    }
    let slot = SessionSlot::new(&shared.settings, "beat");
    let Ok(guard) = slot.open().await else {
        return;
    };
    let Ok(session) = guard.session() else {
        return;
    };
    let sql = "UPDATE node SET ended_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        WHERE id = $1 AND ended_ms IS NULL";
    // Without this the other nodes notice the end a little later, so the end of the process does not wait for it long.
    let node = shared.node();
    let _ = tokio::time::timeout(PATIENCE, session.execute(sql, &[&node])).await;
}
