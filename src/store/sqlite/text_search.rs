//! Searching for a text in the content of events.
//!
//! No index exists for it, and bodies may be encrypted. So one query reads a bounded part of the store, newest first,
//! and returns where the next one continues.

use std::time::Duration;

use hookgate_verify::net::redact;
use memchr::memmem::Finder;

use crate::model::clock;
use crate::store::error::StoreError;
use crate::store::rows::StoredEvent;
use crate::store::seal::ContentSealer;
use crate::store::search::{EventRow, EventSearch, ListPage};
use crate::store::sqlite::event_rows;
use crate::store::sqlite::lists::each_event;
use crate::store::sqlite::readers::{PATIENCE, ReadTransaction};
use crate::store::sqlite::store::SqliteStore;

/// Longest duration of one query, short enough that a person who waits for a page does not notice it.
const LONG: Duration = Duration::from_millis(100);

impl SqliteStore {
    /// Lists events that contain a text in body, type, ids or target, newest first, ignoring case. Each call reads a
    /// bounded part of the store. If it did not reach the end, it also returns the cursor for the next call.
    pub(crate) async fn events_with_text(
        &self,
        search: EventSearch,
        text: String,
        page: ListPage,
    ) -> Result<(Vec<EventRow>, Option<i64>), StoreError> {
        let sealer = self.shared.sealer();
        let look = move |look: &ReadTransaction<'_>| events(look, &sealer, (&search, &text), page);
        self.shared.read(PATIENCE, look).await
    }
}

/// Returns the events that contain the text, and the cursor for the next query unless all events were read.
fn events(
    look: &ReadTransaction<'_>,
    sealer: &ContentSealer,
    (search, text): (&EventSearch, &str),
    page: ListPage,
) -> rusqlite::Result<(Vec<EventRow>, Option<i64>)> {
    let wanted = text.to_ascii_lowercase();
    let finder = Finder::new(&wanted);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let (mut rows, mut next) = (Vec::new(), None);
    let began = clock::instant();
    each_event(look, search, page.after, &mut |row| {
        let cursor = row.cursor;
        if let Some(stored) = event_rows::read(look.conn, &look.names, cursor)?
            && holds(&finder, &stored.open(sealer))
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

/// Returns whether an event contains a text in lower case.
fn holds(finder: &Finder<'_>, event: &StoredEvent) -> bool {
    let is_in = |bytes: &[u8]| finder.find(&bytes.to_ascii_lowercase()).is_some();
    let event_id = event.event_id.as_ref().map(ToString::to_string);
    is_in(event.body.as_deref().unwrap_or_default())
        || is_in(event.event_type.as_deref().unwrap_or_default().as_bytes())
        || is_in(event_id.as_deref().unwrap_or_default().as_bytes())
        || is_in(event.webhook_id.as_bytes())
        // Tokens in the target are masked, because a person who may search could find them letter by letter.
        || is_in(redact::target(&event.target).as_bytes())
}
