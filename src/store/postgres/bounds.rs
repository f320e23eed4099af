//! The order of a list, and the numbers that it may contain.

/// Order of a list by the numbers of its rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WalkOrder {
    NewestFirst,
    OldestFirst,
}

/// The order of a list, and its first and last number. A list continues behind the last row that was read, so rows that
/// arrive meanwhile shift or repeat nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalkBounds {
    pub(super) order: WalkOrder,
    pub(super) first: i64,
    pub(super) last: i64,
}

impl WalkBounds {
    /// Returns the bounds of a list, newest first, behind the last row of the previous page.
    pub(super) fn page(after: Option<i64>) -> Self {
        Self {
            order: WalkOrder::NewestFirst,
            first: 0,
            last: after.map_or(i64::MAX, |after| after.saturating_sub(1)),
        }
    }

    pub(super) fn oldest_first(first: i64, last: i64) -> Self {
        Self {
            order: WalkOrder::OldestFirst,
            first,
            last,
        }
    }

    /// Leaves only the numbers within a range.
    pub(super) fn narrow(&mut self, first: i64, last: i64) {
        self.first = self.first.max(first);
        self.last = self.last.min(last);
    }

    /// Leaves only what comes behind a number.
    pub(super) fn begin_behind(&mut self, number: i64) {
        match self.order {
            WalkOrder::NewestFirst => self.last = number.saturating_sub(1),
            WalkOrder::OldestFirst => self.first = number.saturating_add(1),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first > self.last
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// Returns the direction for `ORDER BY`.
    pub(super) fn direction(&self) -> &'static str {
        match self.order {
            WalkOrder::NewestFirst => "DESC",
            WalkOrder::OldestFirst => "ASC",
        }
    }

    /// Sorts numbers in this order, and leaves only those within the bounds.
    pub(super) fn sort(&self, numbers: &mut Vec<i64>) {
        numbers.retain(|number| self.contains(*number));
        numbers.sort_unstable();
        numbers.dedup();
        if self.order == WalkOrder::NewestFirst {
            numbers.reverse();
        }
    }
}
