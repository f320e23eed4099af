//! State that the tasks of one group share.
//!
//! It holds the connection inside its transaction, the names and counters, and what must be undone if the group fails.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, params};

use crate::model::delivery::{DeliveryId, DeliveryState, DeliveryStep};
use crate::model::ids::RouteName;
use crate::store::error::StoreError;
use crate::store::names::{DeliveryLane, EventKind, MAX_KINDS, NameTable};
use crate::store::sqlite::clock::{PERIOD_MS, StoreClock};
use crate::store::sqlite::limits::StoreLimits;
use crate::store::sqlite::load_names;
use crate::store::sqlite::out_of_order::out_of_order;
use crate::store::sqlite::time_index::BlockSpans;

/// Why a task did nothing.
pub(super) enum TaskFailure {
    /// Only this task is rejected. It has written nothing.
    Refused(StoreError),
    /// A database error, which fails the whole group.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for TaskFailure {
    fn from(err: rusqlite::Error) -> Self {
        Self::Sql(err)
    }
}

/// Stored counters and the last numbers that were assigned.
#[derive(Clone, Copy, Default)]
pub(super) struct StoreTotals {
    pub(super) events: i64,
    pub(super) claims: i64,
    pub(super) last_event: i64,
    pub(super) last_delivery: i64,
}

impl StoreTotals {
    fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT events, claims, last_event, last_delivery FROM total";
        conn.query_row(sql, [], |row| {
            Ok(Self {
                events: row.get(0)?,
                claims: row.get(1)?,
                last_event: row.get(2)?,
                last_delivery: row.get(3)?,
            })
        })
    }
}

/// How often a transaction waits for the lock of another process, each time as long as `connect::PATIENCE`.
const BUSY_RETRIES: u32 = 1;

fn is_busy(err: &rusqlite::Error) -> bool {
    err.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Returns a number that changes when another process commits.
fn data_version(conn: &Connection) -> rusqlite::Result<i64> {
    let sql = "PRAGMA data_version";
    conn.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// A change that must be undone if its group is reported as failed but is found in the file.
pub(super) enum UndoEntry {
    /// An event that was committed, with its claims.
    Event {
        uid: [u8; 16],
        claims: Vec<(i64, [u8; 16])>,
    },
    /// A delivery that was taken, with the number of its attempt.
    Taken(DeliveryId, u32),
}

pub(super) struct GroupWork {
    pub(super) conn: Connection,
    pub(super) names: Arc<NameTable>,
    pub(super) are_names_new: bool,
    pub(super) total: StoreTotals,
    pub(super) is_total_new: bool,
    pub(super) limits: StoreLimits,
    pub(super) keep_body: bool,
    pub(super) spans: BlockSpans,
    pub(super) ghosts: Vec<UndoEntry>,
    /// True if the log should soon be copied into the file, so that freed pages leave the file.
    pub(super) wants_checkpoint: bool,
    /// True until the log is empty, so that nothing of an erased event is left in it.
    pub(super) wants_empty_log: bool,
    pub(super) clock: Arc<StoreClock>,
    /// Deliveries in flight by this process. Others in flight belong to a process that leaves, or that ended.
    pub(super) own: HashSet<i64>,
    /// Time of the store's clock at its last write.
    clock_written_ms: i64,
    /// Changes when another process commits.
    data_version: i64,
    /// Schema version at the start.
    form: i64,
    tally: HashMap<(i64, DeliveryState), i64>,
}

impl GroupWork {
    pub(super) fn new(
        conn: Connection,
        limits: StoreLimits,
        keep_body: bool,
        clock: Arc<StoreClock>,
    ) -> rusqlite::Result<Self> {
        // Before what it protects, so that a commit in between is noticed.
        let data_version = data_version(&conn)?;
        let form = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let names = Arc::new(load_names::load_names(&conn)?);
        let total = StoreTotals::load(&conn)?;
        Ok(Self {
            conn,
            names,
            are_names_new: false,
            total,
            is_total_new: false,
            limits,
            keep_body,
            spans: BlockSpans::default(),
            ghosts: Vec::new(),
            wants_checkpoint: false,
            wants_empty_log: false,
            clock,
            own: HashSet::new(),
            clock_written_ms: i64::MIN,
            data_version,
            form,
            tally: HashMap::new(),
        })
    }

    pub(super) fn start(&mut self) -> rusqlite::Result<()> {
        self.ghosts.clear();
        self.begin_immediate()?;
        let now = data_version(&self.conn)?;
        if now != self.data_version {
            // A process that leaves, or the one that follows, has committed: numbers that it gave must not be given again.
            let read = self.read_again();
            if read.is_err() {
                let _ = self.conn.execute_batch("ROLLBACK");
            }
            read?;
            self.data_version = now;
        }
        Ok(())
    }

    /// Begins a transaction that may write. Waits for another process that writes, which takes one transaction.
    fn begin_immediate(&self) -> rusqlite::Result<()> {
        let mut left = BUSY_RETRIES;
        loop {
            // Takes the write lock at once, because taking it later could fail in the middle of a group.
            let begun = self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]);
            match begun {
                Err(err) if is_busy(&err) && left > 0 => left -= 1,
                begun => return begun.map(drop),
            }
        }
    }

    /// Reads what another process may have changed.
    fn read_again(&mut self) -> rusqlite::Result<()> {
        let form: i64 = self
            .conn
            .query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if form != self.form {
            // A newer program follows this process and has migrated the file.
            return Err(out_of_order());
        }
        self.total = StoreTotals::load(&self.conn)?;
        self.names = Arc::new(load_names::load_names(&self.conn)?);
        self.are_names_new = true;
        Ok(())
    }

    /// Writes the counters as the last step before the commit.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        // These rows change with every event, so they are written once per group instead.
        self.spans.flush(&self.conn)?;
        for ((lane, state), change) in self.tally.drain() {
            // Steps of one group often cancel each other out.
            if change != 0 {
                let sql = "INSERT INTO tally (lane, state, count) VALUES (?1, ?2, ?3)
                    ON CONFLICT DO UPDATE SET count = count + excluded.count";
                self.conn
                    .prepare_cached(sql)?
                    .execute(params![lane, state.code(), change])?;
            }
        }
        if self.is_total_new {
            self.is_total_new = false;
            let sql =
                "UPDATE total SET events = ?1, claims = ?2, last_event = ?3, last_delivery = ?4";
            let total = self.total;
            self.conn.prepare_cached(sql)?.execute(params![
                total.events,
                total.claims,
                total.last_event,
                total.last_delivery
            ])?;
        }
        self.write_clock()
    }

    /// Writes the clock, at most once per period. The machine's count of elapsed time covers the rest unless it boots.
    fn write_clock(&mut self) -> rusqlite::Result<()> {
        let saved = self.clock.save();
        if saved.clock_ms.saturating_sub(self.clock_written_ms) < PERIOD_MS {
            return Ok(());
        }
        self.clock_written_ms = saved.clock_ms;
        saved.write(&self.conn)
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.conn.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    /// Counts deliveries that entered or left a state.
    pub(super) fn count(&mut self, lane: i64, state: DeliveryState, change: i64) {
        let count = self.tally.entry((lane, state)).or_default();
        *count = count.saturating_add(change);
    }

    pub(super) fn add_total(&mut self, change: impl FnOnce(&mut StoreTotals)) {
        change(&mut self.total);
        self.is_total_new = true;
    }

    /// Returns the number of a route, and assigns one to a new name.
    pub(super) fn route(&mut self, name: &RouteName) -> rusqlite::Result<i64> {
        if let Some(id) = self.names.route(name) {
            return Ok(id);
        }
        self.conn
            .execute("INSERT INTO route (name) VALUES (?1)", [name.as_str()])?;
        let id = self.conn.last_insert_rowid();
        self.change_names(|names| names.add_route(id, name.clone(), false));
        Ok(id)
    }

    /// Returns the number of a kind, and whether the event itself must store its type.
    pub(super) fn kind(
        &mut self,
        route: i64,
        provider: &str,
        event_type: Option<&str>,
    ) -> rusqlite::Result<(i64, bool)> {
        if let Some(id) = self.names.kind(route, provider, event_type) {
            return Ok((id, false));
        }
        // Senders choose types freely, so their number must be bounded. Later types share one kind.
        let is_rest = event_type.is_some() && self.names.kinds.len() >= MAX_KINDS;
        if let (true, Some(id)) = (is_rest, self.names.rest(route, provider)) {
            return Ok((id, true));
        }
        let kind = EventKind {
            route,
            provider: provider.to_owned(),
            event_type: event_type.filter(|_| !is_rest).map(Into::into),
            is_rest,
        };
        self.conn.execute(
            "INSERT INTO kind (route, provider, event_type, is_rest) VALUES (?1, ?2, ?3, ?4)",
            params![route, provider, kind.event_type, is_rest],
        )?;
        let id = self.conn.last_insert_rowid();
        self.change_names(|names| names.add_kind(id, kind));
        Ok((id, is_rest))
    }

    pub(super) fn lane(&mut self, lane: DeliveryLane) -> rusqlite::Result<i64> {
        if let Some(id) = self.names.lane(lane) {
            return Ok(id);
        }
        self.conn.execute(
            "INSERT INTO lane (kind, destination, is_replay) VALUES (?1, ?2, ?3)",
            params![lane.kind, lane.destination, lane.is_replay],
        )?;
        let id = self.conn.last_insert_rowid();
        self.change_names(|names| names.add_lane(id, lane));
        Ok(id)
    }

    pub(super) fn change_names(&mut self, change: impl FnOnce(&mut NameTable)) {
        // Copies the names only while a reader still uses them.
        change(Arc::make_mut(&mut self.names));
        self.are_names_new = true;
    }

    /// Returns the state after a step of the state table and counts the change. The caller writes it. Returns `None` if
    /// the state does not allow the step.
    pub(super) fn step(
        &mut self,
        found: &DeliveryForUpdate,
        step: DeliveryStep,
    ) -> Option<DeliveryState> {
        let next = found.state.after(step)?;
        match next {
            DeliveryState::InFlight => self.own.insert(found.id),
            _ => self.own.remove(&found.id),
        };
        self.count(found.lane, found.state, -1);
        self.count(found.lane, next, 1);
        Some(next)
    }

    pub(super) fn find(
        &self,
        delivery: DeliveryId,
    ) -> Result<Option<DeliveryForUpdate>, TaskFailure> {
        let sql = "SELECT id, event, lane, destination, state, order_key, attempts, due_ms, round,
            round_began_ms FROM delivery WHERE id = ?1";
        let mut stmt = self.conn.prepare_cached(sql)?;
        let mut rows = stmt.query([delivery.0])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(Some(DeliveryForUpdate {
            id: row.get(0)?,
            event: row.get(1)?,
            lane: row.get(2)?,
            destination: row.get(3)?,
            state: read_state(row.get(4)?)?,
            order_key: row.get(5)?,
            attempts: row.get(6)?,
            due_ms: row.get(7)?,
            round: row.get(8)?,
            round_began_ms: row.get(9)?,
        }))
    }
}

/// A delivery with the columns that the writer needs.
pub(super) struct DeliveryForUpdate {
    pub(super) id: i64,
    pub(super) event: i64,
    pub(super) lane: i64,
    pub(super) destination: i64,
    pub(super) state: DeliveryState,
    pub(super) order_key: Option<i64>,
    pub(super) attempts: u32,
    pub(super) due_ms: i64,
    pub(super) round: u32,
    pub(super) round_began_ms: i64,
}

pub(super) fn read_state(code: i64) -> Result<DeliveryState, TaskFailure> {
    DeliveryState::from_code(code).ok_or_else(|| {
        let what = format!("a delivery has the unknown state {code}");
        TaskFailure::Refused(StoreError::Damaged { what })
    })
}
