//! `/events/tail`: events as they are accepted, one JSON document a line or as server-sent events, until whoever asked
//! hangs up.
//!
//! Looks into the store at a steady pace, so that a tail costs the commits nothing. A tail that nobody reads is cut: its
//! deadline moves only while lines are taken.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Uri};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::admin::input::{self, EventFilter};
use crate::admin::problem::Problem;
use crate::admin::stream::{self, Format};
use crate::admin::wire::ProblemDocument;
use crate::admin::{AdminState, Visit, events};
use crate::store::search::{EventRow, EventSearch, Page};
use crate::store::{Store, StoreError};

/// Between two looks: what a person at a terminal takes for at once.
const PACE: Duration = Duration::from_millis(500);

/// The clock may step back: of what came since the last look, so much before it is looked through too.
const SLACK_MS: i64 = 300_000;

/// Rows of one look: beyond them a tail says that it missed some.
const ROWS: u32 = 500;
const MAX_ROWS: usize = 10_000;

/// Events as they are accepted
///
/// One JSON document (an `Event`) a line; an empty line now and then; `{"missed":true}` where more came than can be shown.
/// Where `Accept` names `text/event-stream` these are server-sent events of the kinds `event` and `missed`, and
/// `Last-Event-ID` goes on behind the last one that was seen. With `since` it begins with those that have been accepted
/// since then. `state` is not taken.
#[utoipa::path(
    get, path = "/api/v1/events/tail", tag = "events", operation_id = "tail_events",
    params(EventFilter),
    responses(
        (status = 200, description = "Events until whoever asked hangs up", content(
            (String = "application/x-ndjson"),
            (String = "text/event-stream"),
        )),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tail(
    State(state): State<Arc<AdminState>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let filter = input::filter::<EventFilter>(&uri)?;
    if filter.text.is_some() {
        return Err(Problem::bad("`text` is for lists, not for tails"));
    }
    let search = filter.search()?;
    if search.state.is_some() {
        return Err(Problem::bad(
            "a tail shows events as they are accepted, before anything was delivered: list them with `state`",
        ));
    }
    let store = state.store()?.clone();
    let slot = state.tail_slot()?;
    let format = Format::of(&headers);
    let seen = match (stream::last_seen(&headers), search.since_ms) {
        (Some((cursor, received_ms)), _) => Some(Seen {
            cursor,
            received_ms,
        }),
        (None, Some(_)) => None,
        (None, None) => newest(&store).await?,
    };
    let (tx, lines) = mpsc::channel(stream::QUEUE);
    let stop = visit.stop.clone();
    tokio::spawn(async move {
        let follow = follow(store, search, seen, format, tx);
        let _ = stop.run_until_cancelled(follow).await;
    });
    Ok(stream::answer(format, lines, visit, slot))
}

/// The newest event that a tail has seen.
#[derive(Clone, Copy)]
struct Seen {
    cursor: i64,
    received_ms: i64,
}

async fn newest(store: &Store) -> Result<Option<Seen>, StoreError> {
    let page = Page {
        after: None,
        limit: 1,
    };
    let rows = store.events(EventSearch::default(), page).await?;
    Ok(rows.first().map(|row| Seen {
        cursor: row.cursor,
        received_ms: row.received_ms,
    }))
}

/// Sends lines until nobody takes them, or the store fails: then the answer ends, and whoever asked may ask again.
async fn follow(
    store: Store,
    search: EventSearch,
    mut seen: Option<Seen>,
    format: Format,
    tx: mpsc::Sender<Bytes>,
) {
    let mut last_line = Instant::now();
    let mut text = format.start();
    loop {
        let Ok((rows, is_whole)) = look(&store, &search, &mut seen).await else {
            return;
        };
        if !is_whole {
            format.missed(&mut text);
        }
        for row in rows.into_iter().rev() {
            let id = format!("{}-{}", row.cursor, row.received_ms);
            format.put(&mut text, "event", &id, &events::event(row));
        }
        if text.is_empty() && last_line.elapsed() >= stream::BEAT {
            format.beat(&mut text);
        }
        if !text.is_empty() {
            last_line = Instant::now();
            if tx.send(text.split().freeze()).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sleep(PACE) => {}
            () = tx.closed() => return,
        }
    }
}

/// What has come since the last look, the newest first, and whether that is all. Where nothing at all came, or little
/// matches, this costs next to nothing: it goes no further back than the last look.
async fn look(
    store: &Store,
    search: &EventSearch,
    seen: &mut Option<Seen>,
) -> Result<(Vec<EventRow>, bool), StoreError> {
    let Some(newest) = newest(store).await? else {
        return Ok((Vec::new(), true));
    };
    let after = seen.map_or(i64::MIN, |seen| seen.cursor);
    if newest.cursor <= after {
        return Ok((Vec::new(), true));
    }
    let mut search = search.clone();
    let since = seen.map(|seen| {
        seen.received_ms
            .min(newest.received_ms)
            .saturating_sub(SLACK_MS)
    });
    search.since_ms = search.since_ms.max(since);
    let (rows, is_whole) = newer(store, &search, after).await?;
    // Some may have come between the two looks.
    let last = rows.first().map_or(newest.cursor, |row| row.cursor);
    *seen = Some(Seen {
        cursor: last.max(newest.cursor),
        ..newest
    });
    Ok((rows, is_whole))
}

/// The events that came after `seen`, the newest first, and whether these are all.
async fn newer(
    store: &Store,
    search: &EventSearch,
    seen: i64,
) -> Result<(Vec<EventRow>, bool), StoreError> {
    let mut found = Vec::new();
    let mut page = Page {
        after: None,
        limit: ROWS,
    };
    loop {
        let rows = store.events(search.clone(), page).await?;
        let is_last = rows.len() < ROWS as usize;
        page.after = rows.last().map(|row| row.cursor);
        let is_met = rows.iter().any(|row| row.cursor <= seen);
        found.extend(rows.into_iter().filter(|row| row.cursor > seen));
        if is_last || is_met {
            return Ok((found, true));
        }
        if found.len() >= MAX_ROWS {
            return Ok((found, false));
        }
    }
}
