//! Row numbers from several index ranges, in one order.
//!
//! A range is what one plain `SELECT ... ORDER BY id LIMIT n` reads from an index: the events of one kind, or the
//! deliveries of one lane in one state. A page takes the first rows of each range. It ends where the first range of which
//! more may follow ends.

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::store::sqlite::list_numbers::numbers;
use crate::store::sqlite::time_index::NumberRange;

/// Rows of the first page, and of the largest.
const FIRST: usize = 64;
const MOST: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ListOrder {
    NewestFirst,
    OldestFirst,
}

/// The order of a list, and the numbers that it may contain.
#[derive(Clone, Copy)]
pub(super) struct ListBounds {
    pub(super) order: ListOrder,
    pub(super) range: NumberRange,
}

impl ListBounds {
    /// Returns the bounds of a list, newest first, behind the last row of the previous page.
    pub(super) fn page(after: Option<i64>) -> Self {
        let last = after.map_or(NumberRange::ALL.last, |after| after.saturating_sub(1));
        Self {
            order: ListOrder::NewestFirst,
            range: NumberRange {
                last,
                ..NumberRange::ALL
            },
        }
    }

    pub(super) fn oldest_first(first: i64, last: i64) -> Self {
        Self {
            order: ListOrder::OldestFirst,
            range: NumberRange { first, last },
        }
    }

    /// Leaves only what comes behind a number.
    fn begin_behind(&mut self, number: i64) {
        match self.order {
            ListOrder::NewestFirst => self.range.last = number - 1,
            ListOrder::OldestFirst => self.range.first = number + 1,
        }
    }

    /// Leaves only what comes before a number, and the number itself.
    fn end_with(&mut self, number: i64) {
        match self.order {
            ListOrder::NewestFirst => self.range.first = self.range.first.max(number),
            ListOrder::OldestFirst => self.range.last = self.range.last.min(number),
        }
    }
}

/// Rows of an index with the same leading columns, in the order of their numbers.
pub(super) struct IndexRange {
    /// The selected column with its table, index and condition.
    source: &'static str,
    /// Values of the condition, from `?4` on.
    values: Vec<i64>,
    /// Numbers to which the range is limited, beside the bounds of the list.
    numbers: NumberRange,
}

impl IndexRange {
    pub(super) fn events(kind: Option<i64>) -> Self {
        let source = match kind {
            None => "id FROM event WHERE",
            Some(_) => "id FROM event INDEXED BY event_kind WHERE kind = ?4 AND",
        };
        Self::new(source, kind.into_iter().collect())
    }

    pub(super) fn all_deliveries() -> Self {
        Self::new("id FROM delivery WHERE", Vec::new())
    }

    pub(super) fn deliveries(lane: i64, state: i64, numbers: NumberRange) -> Self {
        let source = "id FROM delivery INDEXED BY delivery_lane WHERE lane = ?4 AND state = ?5 AND";
        Self {
            numbers,
            ..Self::new(source, vec![lane, state])
        }
    }

    /// The replays whose events are in a range. Replays do not follow the order of events.
    pub(super) fn replays_of(lane: i64, state: i64, of: NumberRange) -> Self {
        let source = "id FROM delivery INDEXED BY delivery_lane
            WHERE lane = ?4 AND state = ?5 AND event BETWEEN ?6 AND ?7 AND";
        Self::new(source, vec![lane, state, of.first, of.last])
    }

    /// The events of original deliveries. The numbers of the deliveries order and limit them.
    pub(super) fn events_of_deliveries(lane: i64, state: i64) -> Self {
        let source =
            "event FROM delivery INDEXED BY delivery_lane WHERE lane = ?4 AND state = ?5 AND";
        Self::new(source, vec![lane, state])
    }

    fn new(source: &'static str, values: Vec<i64>) -> Self {
        Self {
            source,
            values,
            numbers: NumberRange::ALL,
        }
    }

    /// Reads the first rows between two numbers.
    fn read(
        &self,
        conn: &Connection,
        order: ListOrder,
        between: NumberRange,
        limit: usize,
    ) -> rusqlite::Result<Vec<i64>> {
        let direction = match order {
            ListOrder::NewestFirst => "DESC",
            ListOrder::OldestFirst => "ASC",
        };
        let sql = format!(
            "SELECT {} id BETWEEN ?1 AND ?2 ORDER BY id {direction} LIMIT ?3",
            self.source
        );
        let between = between.and(self.numbers);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = [between.first, between.last, limit].into_iter();
        let values = values.chain(self.values.iter().copied());
        numbers(conn, &sql, params_from_iter(values))
    }
}

/// The replays in a state, whose events no index has in order.
pub(super) struct ReplayedEvents {
    pub(super) lanes: Vec<i64>,
    pub(super) state: i64,
    /// Number of these replays.
    pub(super) count: i64,
}

impl ReplayedEvents {
    /// Returns whether reading the deliveries of these events is cheaper than reading all replays.
    fn is_narrow(&self, events: NumberRange) -> bool {
        events.last.saturating_sub(events.first) < self.count / 8
    }

    /// Returns the events in a range that have a delivery in the state.
    fn in_range(&self, conn: &Connection, events: NumberRange) -> rusqlite::Result<Vec<i64>> {
        let sql = "SELECT event FROM delivery INDEXED BY delivery_event
            WHERE event BETWEEN ?1 AND ?2 AND state = ?3";
        numbers(conn, sql, [events.first, events.last, self.state])
    }

    fn collect(&self, conn: &Connection, events: NumberRange) -> rusqlite::Result<Vec<i64>> {
        let mut found = Vec::new();
        for lane in &self.lanes {
            let sql = "SELECT event FROM delivery INDEXED BY delivery_lane
                WHERE lane = ?1 AND state = ?2 AND event BETWEEN ?3 AND ?4";
            let values = [*lane, self.state, events.first, events.last];
            found.extend(numbers(conn, sql, values)?);
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// Numbers of rows that may match, in order, read page by page.
pub(super) struct CandidateRows {
    bounds: ListBounds,
    ranges: Vec<IndexRange>,
    /// True if the ranges are of deliveries and the list is of their events.
    is_by_delivery: bool,
    /// Replays whose events are in the list and not in `listed` yet.
    replayed: Option<ReplayedEvents>,
    /// Rows beside those of the ranges, in ascending order.
    listed: Vec<i64>,
    /// The rest of the current page, the next row last.
    page: Vec<i64>,
    size: usize,
    is_over: bool,
}

impl CandidateRows {
    pub(super) fn new(bounds: ListBounds, ranges: Vec<IndexRange>) -> Self {
        Self {
            bounds,
            ranges,
            is_by_delivery: false,
            replayed: None,
            listed: Vec::new(),
            page: Vec::new(),
            size: FIRST,
            is_over: false,
        }
    }

    pub(super) fn listed(bounds: ListBounds, mut listed: Vec<i64>) -> Self {
        listed.sort_unstable();
        Self {
            listed,
            ..Self::new(bounds, Vec::new())
        }
    }

    /// The events of the original deliveries in these ranges, and of replays.
    pub(super) fn by_delivery(
        bounds: ListBounds,
        ranges: Vec<IndexRange>,
        replayed: ReplayedEvents,
    ) -> Self {
        Self {
            is_by_delivery: true,
            replayed: Some(replayed),
            ..Self::new(bounds, ranges)
        }
    }

    pub(super) fn next(&mut self, conn: &Connection) -> rusqlite::Result<Option<i64>> {
        if self.page.is_empty() && !self.is_over {
            self.read(conn)?;
        }
        Ok(self.page.pop())
    }

    fn read(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let (order, size) = (self.bounds.order, self.size);
        let mut bounds = self.bounds;
        let deliveries = match self.is_by_delivery {
            true => Some(original_deliveries(conn, bounds.range)?),
            false => None,
        };
        let mut page = Vec::new();
        let mut is_over = true;
        let mut add = |bounds: &mut ListBounds, rows: Vec<i64>| {
            // More rows may follow in this range, so the page ends here, and the other ranges matter only up to here.
            if let Some(last) = rows.last().filter(|_| rows.len() == size) {
                bounds.end_with(*last);
                is_over = false;
            }
            page.extend(rows);
        };
        for range in &self.ranges {
            let between = deliveries.unwrap_or(bounds.range);
            add(&mut bounds, range.read(conn, order, between, size)?);
        }
        // Last, because the ranges have limited the page, so that usually few events have to be looked at.
        let mut replayed = Vec::new();
        if let Some(wide) = self
            .replayed
            .take_if(|replayed| !replayed.is_narrow(bounds.range))
        {
            self.listed = wide.collect(conn, self.bounds.range)?;
        } else if let Some(narrow) = &self.replayed {
            replayed = narrow.in_range(conn, bounds.range)?;
        }
        add(&mut bounds, self.next_listed());
        page.extend(replayed);
        page.retain(|id| (bounds.range.first..=bounds.range.last).contains(id));
        page.sort_unstable();
        page.dedup();
        if order == ListOrder::OldestFirst {
            page.reverse();
        }
        if let Some(last) = page.first() {
            self.bounds.begin_behind(*last);
        }
        (self.page, self.is_over) = (page, is_over);
        // Larger each time: a short list needs few rows, and a long walk few queries.
        self.size = (size * 4).min(MOST);
        Ok(())
    }

    /// Returns the first listed rows within the bounds.
    fn next_listed(&self) -> Vec<i64> {
        let NumberRange { first, last } = self.bounds.range;
        let start = self.listed.partition_point(|id| *id < first);
        let end = self.listed.partition_point(|id| *id <= last);
        let rows = self.listed.get(start..end).unwrap_or_default().iter();
        match self.bounds.order {
            ListOrder::NewestFirst => rows.rev().take(self.size).copied().collect(),
            ListOrder::OldestFirst => rows.take(self.size).copied().collect(),
        }
    }
}

/// Returns the numbers of the original deliveries of a range of events. Original deliveries follow the order of their
/// events; replays may belong to any event.
pub(super) fn original_deliveries(
    conn: &Connection,
    events: NumberRange,
) -> rusqlite::Result<NumberRange> {
    let sql = "SELECT delivery.id FROM delivery INDEXED BY delivery_event
        CROSS JOIN lane ON lane.id = delivery.lane
        WHERE event >= ?1 AND is_replay = 0 ORDER BY event, delivery.id LIMIT 1";
    let mut stmt = conn.prepare_cached(sql)?;
    let mut first_from = |event: i64| -> rusqlite::Result<i64> {
        let found: Option<i64> = stmt.query_row([event], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(i64::MAX))
    };
    Ok(NumberRange {
        first: first_from(events.first)?,
        last: first_from(events.last + 1)? - 1,
    })
}
