//! Searching in the content of events.
//!
//! No index exists for it, and bodies may be encrypted. So one query reads a bounded part of the store, newest first,
//! and returns where the next one continues.

use std::time::Duration;

use crate::model::clock;
use crate::store::content_match::{ContentCriterion, ContentMatcher};
use crate::store::error::StoreError;
use crate::store::seal::ContentSealer;
use crate::store::search::{EventRow, EventSearch, ListPage};
use crate::store::sqlite::event_rows;
use crate::store::sqlite::lists::each_event;
use crate::store::sqlite::readers::{PATIENCE, ReadTransaction};
use crate::store::sqlite::store::SqliteStore;

/// Longest duration of one query, short enough that a person who waits for a page does not notice it.
const LONG: Duration = Duration::from_millis(100);

impl SqliteStore {
    /// Lists events whose content meets a criterion, newest first. Each call reads a
    /// bounded part of the store. If it did not reach the end, it also returns the cursor for the next call.
    pub(crate) async fn events_with_content(
        &self,
        search: EventSearch,
        criterion: ContentCriterion,
        page: ListPage,
    ) -> Result<(Vec<EventRow>, Option<i64>), StoreError> {
        let sealer = self.shared.sealer();
        let look =
            move |look: &ReadTransaction<'_>| events(look, &sealer, (&search, &criterion), page);
        self.shared.read(PATIENCE, look).await
    }
}

/// Returns the events that meet the criterion, and the cursor for the next query unless all events were read.
fn events(
    look: &ReadTransaction<'_>,
    sealer: &ContentSealer,
    (search, criterion): (&EventSearch, &ContentCriterion),
    page: ListPage,
) -> rusqlite::Result<(Vec<EventRow>, Option<i64>)> {
    let wanted = ContentMatcher::new(criterion);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let (mut rows, mut next) = (Vec::new(), None);
    let began = clock::instant();
    each_event(look, search, page.after, &mut |row| {
        let cursor = row.cursor;
        if let Some(stored) = event_rows::read(look.conn, &look.names, cursor)?
            && wanted.is_met(&stored.open(sealer))
        {
            rows.push(row);
        }
        // Stop at a full page or at the deadline. The next query continues behind this event.
        let goes_on = rows.len() < limit && began.elapsed() < LONG;
        next = (!goes_on).then_some(cursor);
        Ok(goes_on)
    })?;
    Ok((rows, next))
}
