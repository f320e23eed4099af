//! Searching in the content of events.
//!
//! No index exists for it, and bodies may be encrypted. So one query reads a bounded part of the store, newest first,
//! and returns where the next one continues.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Error;

use crate::model::clock;
use crate::store::content_match::{ContentCriterion, ContentMatcher};
use crate::store::error::StoreError;
use crate::store::filter::ListedEvent;
use crate::store::postgres::bounds::WalkBounds;
use crate::store::postgres::event_list::{PATIENCE, rows_of};
use crate::store::postgres::event_rows;
use crate::store::postgres::event_search::EventWalk;
use crate::store::postgres::snapshot::ReadSnapshot;
use crate::store::postgres::store::PostgresStore;
use crate::store::seal::ContentSealer;
use crate::store::search::{EventRow, EventSearch, ListPage};

/// Longest duration of one query, short enough that a person who waits for a page does not notice it.
const LONG: Duration = Duration::from_millis(100);

/// Events whose contents one statement reads, and the bytes of their bodies.
const READ_AT_ONCE: usize = 32;
const MAX_READ: i64 = 1024 * 1024;

impl PostgresStore {
    pub(in crate::store) async fn events_with_content(
        &self,
        search: EventSearch,
        criterion: ContentCriterion,
        page: ListPage,
    ) -> Result<(Vec<EventRow>, Option<i64>), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.read(PATIENCE, async move |session| {
            let snapshot = ReadSnapshot::new(session, &shared).await?;
            let sealer = shared.sealer();
            events(&snapshot, &sealer, (&search, &criterion), page).await
        })
        .await
    }
}

/// Returns the events that meet the criterion, and the cursor for the next query unless all events were read.
async fn events(
    snapshot: &ReadSnapshot<'_>,
    sealer: &ContentSealer,
    (search, criterion): (&EventSearch, &ContentCriterion),
    page: ListPage,
) -> Result<(Vec<EventRow>, Option<i64>), Error> {
    let wanted = ContentMatcher::new(criterion);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let began = clock::instant();
    let mut walk = EventWalk::new(snapshot, search, WalkBounds::page(page.after), None).await?;
    let mut lines = Vec::new();
    let mut next = None;
    'read: while let Some(found) = walk.next(READ_AT_ONCE).await? {
        let mut rest = found.into_iter().peekable();
        while rest.peek().is_some() {
            let some = take_some(&mut rest);
            let ids: Vec<i64> = some.iter().map(|line| line.id).collect();
            let mut contents =
                event_rows::read_many(snapshot.session, &snapshot.names, &ids).await?;
            for line in some {
                let cursor = line.id;
                if let Some(stored) = contents.remove(&cursor)
                    && wanted.is_met(&stored.open(sealer))
                {
                    lines.push(line);
                }
                // Stop at a full page or at the deadline. The next query continues behind this event.
                if lines.len() >= limit || began.elapsed() >= LONG {
                    next = Some(cursor);
                    break 'read;
                }
            }
        }
    }
    Ok((rows_of(snapshot, lines).await?, next))
}

/// Takes events from a batch whose bodies are small enough to be read together, and one of any size.
fn take_some(rest: &mut std::iter::Peekable<std::vec::IntoIter<ListedEvent>>) -> Vec<ListedEvent> {
    let (mut some, mut bytes) = (Vec::new(), 0_i64);
    while let Some(line) = rest.next_if(|line| {
        bytes = bytes.saturating_add(line.body_size);
        some.is_empty() || bytes <= MAX_READ
    }) {
        some.push(line);
    }
    some
}
