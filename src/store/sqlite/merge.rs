//! Ordered numbers from several index runs, merged into one list for a search.
//!
//! Each kind of events, and each lane and state of deliveries, is one run of an index in the order of its numbers. A
//! search names the runs that may hold matches and reads them together, newest or oldest first, only as far as
//! necessary.

use std::collections::BinaryHeap;

use rusqlite::Connection;

use crate::store::sqlite::time_index::EventRange;

/// Rows of a run that are read at first, and at most, with one query.
const FIRST: i64 = 8;
const MOST: i64 = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RunOrder {
    NewestFirst,
    OldestFirst,
}

/// One run of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IndexRun {
    AllEvents,
    EventsOf {
        kind: i64,
    },
    AllDeliveries,
    DeliveriesIn {
        lane: i64,
        state: i64,
    },
    /// Replays whose events are in a range.
    ReplaysIn {
        lane: i64,
        state: i64,
        of: EventRange,
    },
}

/// A part of a run, from `from` (exclusive) to `to` (inclusive) in the requested order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RunPart {
    pub(super) run: IndexRun,
    pub(super) from: i64,
    pub(super) last: i64,
}

struct RunReader {
    run: IndexRun,
    /// Numbers that were read, the next one last.
    ready: Vec<i64>,
    /// The last number that was read; reading continues behind it.
    from: i64,
    last: i64,
    count: i64,
    is_over: bool,
}

/// The numbers of several runs in one order.
pub(super) struct MergedRuns {
    order: RunOrder,
    runs: Vec<RunReader>,
    /// The next number of each run, as a sort key, with the index of its run.
    heads: BinaryHeap<(i64, usize)>,
}

impl MergedRuns {
    pub(super) fn new(
        conn: &Connection,
        runs: &[RunPart],
        order: RunOrder,
    ) -> rusqlite::Result<Self> {
        let reading = |part: &RunPart| RunReader {
            run: part.run,
            ready: Vec::new(),
            from: part.from,
            last: part.last,
            count: FIRST,
            is_over: false,
        };
        let mut merged = Self {
            order,
            runs: runs.iter().map(reading).collect(),
            heads: BinaryHeap::with_capacity(runs.len()),
        };
        // A single run is read in larger steps, because all its rows belong to the list.
        if runs.len() == 1 {
            merged.runs.iter_mut().for_each(|run| run.count = 64);
        }
        for place in 0..merged.runs.len() {
            merged.advance(conn, place)?;
        }
        Ok(merged)
    }

    pub(super) fn next(&mut self, conn: &Connection) -> rusqlite::Result<Option<i64>> {
        let Some((key, place)) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(conn, place)?;
        Ok(Some(self.number(key)))
    }

    /// Converts between a number and its sort key, so that the largest key comes first.
    fn number(&self, key: i64) -> i64 {
        match self.order {
            RunOrder::NewestFirst => key,
            RunOrder::OldestFirst => -key,
        }
    }

    fn advance(&mut self, conn: &Connection, place: usize) -> rusqlite::Result<()> {
        let Some(run) = self.runs.get_mut(place) else {
            return Ok(());
        };
        // Read the next rows of a run only when the merge has used up the previous ones.
        if run.ready.is_empty() && !run.is_over {
            run.read(conn, self.order)?;
        }
        if let Some(number) = run.ready.pop() {
            let key = self.number(number);
            self.heads.push((key, place));
        }
        Ok(())
    }
}

impl RunReader {
    fn read(&mut self, conn: &Connection, order: RunOrder) -> rusqlite::Result<()> {
        let mut stmt = conn.prepare_cached(sql(self.run, order))?;
        let (from, to, count) = (self.from, self.last, self.count);
        let mut rows = match self.run {
            IndexRun::AllEvents | IndexRun::AllDeliveries => stmt.query([from, to, count])?,
            IndexRun::EventsOf { kind } => stmt.query([from, to, count, kind])?,
            IndexRun::DeliveriesIn { lane, state } => stmt.query([from, to, count, lane, state])?,
            IndexRun::ReplaysIn { lane, state, of } => {
                stmt.query([from, to, count, lane, state, of.first, of.last])?
            }
        };
        while let Some(row) = rows.next()? {
            self.ready.push(row.get(0)?);
        }
        let read = i64::try_from(self.ready.len()).unwrap_or(i64::MAX);
        self.is_over = read < count;
        if let Some(last) = self.ready.last() {
            self.from = *last;
        }
        self.ready.reverse();
        // Read more each time: a short page needs few rows, and a long scan few queries.
        self.count = (count * 4).min(MOST);
        Ok(())
    }
}

fn sql(run: IndexRun, order: RunOrder) -> &'static str {
    use RunOrder::{NewestFirst, OldestFirst};
    match (run, order) {
        (IndexRun::AllEvents, NewestFirst) => {
            "SELECT id FROM event WHERE id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3"
        }
        (IndexRun::AllEvents, OldestFirst) => {
            "SELECT id FROM event WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"
        }
        (IndexRun::EventsOf { .. }, NewestFirst) => {
            "SELECT id FROM event INDEXED BY event_kind
            WHERE kind = ?4 AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3"
        }
        (IndexRun::EventsOf { .. }, OldestFirst) => {
            "SELECT id FROM event INDEXED BY event_kind
            WHERE kind = ?4 AND id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"
        }
        (IndexRun::AllDeliveries, NewestFirst) => {
            "SELECT id FROM delivery WHERE id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3"
        }
        (IndexRun::AllDeliveries, OldestFirst) => {
            "SELECT id FROM delivery WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"
        }
        (IndexRun::DeliveriesIn { .. }, NewestFirst) => {
            "SELECT id FROM delivery INDEXED BY delivery_lane
            WHERE lane = ?4 AND state = ?5 AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3"
        }
        (IndexRun::DeliveriesIn { .. }, OldestFirst) => {
            "SELECT id FROM delivery INDEXED BY delivery_lane
            WHERE lane = ?4 AND state = ?5 AND id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"
        }
        (IndexRun::ReplaysIn { .. }, NewestFirst) => {
            "SELECT id FROM delivery INDEXED BY delivery_lane
            WHERE lane = ?4 AND state = ?5 AND id < ?1 AND id >= ?2 AND event BETWEEN ?6 AND ?7
            ORDER BY id DESC LIMIT ?3"
        }
        (IndexRun::ReplaysIn { .. }, OldestFirst) => {
            "SELECT id FROM delivery INDEXED BY delivery_lane
            WHERE lane = ?4 AND state = ?5 AND id > ?1 AND id <= ?2 AND event BETWEEN ?6 AND ?7
            ORDER BY id LIMIT ?3"
        }
    }
}
