//! Handler for `/events/tail`: a live stream of accepted events.
//!
//! It queries the store at a steady pace, so that a tail never slows down a commit. A tail without a reading client
//! ends, because its deadline moves only while the client reads.

use std::time::Duration;

use axum::Extension;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Uri};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::admin::caller_store::CallerStore;
use crate::admin::caller_view::CallerView;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::events;
use crate::admin::parameters::{self, EventFilter};
use crate::admin::problem::AdminProblem;
use crate::admin::tail_stream::{self, TailFormat};
use crate::store::StoreError;
use crate::store::search::{EventRow, EventSearch, ListPage};

/// Time between two queries, which a person at a terminal takes for immediate.
const PACE: Duration = Duration::from_millis(500);

/// Overlap with the time before the last query, because the clock may step back.
const SLACK_MS: i64 = 300_000;

/// Rows in one page of a query, and most rows of a query: with more, the tail reports that it missed some.
const ROWS: u32 = 500;
const MAX_ROWS: usize = 10_000;

/// Streams events as they are accepted
///
/// Each line is one JSON document (an `Event`). An empty line is a heartbeat, and `{"missed":true}` means that the tail
/// left out some events. If `Accept` names `text/event-stream`, the response has server-sent events of the types
/// `event` and `missed`, and `Last-Event-ID` continues after that event. With `since` the tail begins with the events
/// accepted since then. `state` and `text` are rejected.
#[utoipa::path(
    get, path = "",
    params(EventFilter),
    responses(
        (status = 200, description = "Events until the client disconnects", content(
            (String = "application/x-ndjson"),
            (String = "text/event-stream"),
        )),
    ),
)]
pub(super) async fn tail(
    view: CallerView,
    Extension(visit): Extension<ConnectionContext>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, AdminProblem> {
    let filter = parameters::filter::<EventFilter>(&uri)?;
    if filter.text.is_some() {
        return Err(AdminProblem::bad(
            "a tail does not support `text`: use it with the list `/events`",
        ));
    }
    let search = filter.search()?;
    if search.state.is_some() {
        return Err(AdminProblem::bad(
            "a tail does not support `state`, because it shows events before their deliveries: use the list `/events`",
        ));
    }
    let store = view.store()?;
    let slot = view.tail_slot()?;
    let format = TailFormat::of(&headers);
    // A client that reconnects continues where it ended. With `since` that time alone bounds the first query. Otherwise
    // the tail begins with the next event.
    let seen = match (tail_stream::parse_last_event_id(&headers), search.since_ms) {
        (Some((cursor, received_ms)), _) => Some(TailPosition {
            cursor,
            received_ms,
        }),
        (None, Some(_)) => None,
        (None, None) => newest(&store).await?,
    };
    let (tx, lines) = mpsc::channel(tail_stream::QUEUE);
    let stop = visit.stop.clone();
    // A task of its own: the listener's stop token ends it even while the client does not read.
    tokio::spawn(async move {
        let follow = follow(store, search, seen, format, tx);
        let _ = stop.run_until_cancelled(follow).await;
    });
    Ok(tail_stream::answer(format, lines, visit, slot))
}

/// The newest event that a tail has sent or skipped.
#[derive(Clone, Copy)]
struct TailPosition {
    cursor: i64,
    received_ms: i64,
}

/// Reads the position of the newest event in the store.
async fn newest(store: &CallerStore) -> Result<Option<TailPosition>, StoreError> {
    let page = ListPage {
        after: None,
        limit: 1,
    };
    let rows = store.events(EventSearch::default(), page).await?;
    Ok(rows.first().map(|row| TailPosition {
        cursor: row.cursor,
        received_ms: row.received_ms,
    }))
}

/// Sends events until the client disconnects or the store fails. Then the response ends, and the client may reconnect.
async fn follow(
    store: CallerStore,
    search: EventSearch,
    mut seen: Option<TailPosition>,
    format: TailFormat,
    tx: mpsc::Sender<Bytes>,
) {
    let mut last_line = Instant::now();
    let mut text = format.start();
    loop {
        let Ok((rows, is_whole)) = query_new_events(&store, &search, &mut seen).await else {
            return;
        };
        if !is_whole {
            format.missed(&mut text);
        }
        // The store lists the newest first; a tail shows events in the order of acceptance.
        for row in rows.into_iter().rev() {
            let id = format!("{}-{}", row.cursor, row.received_ms);
            format.put(&mut text, "event", &id, &events::event(row));
        }
        if text.is_empty() && last_line.elapsed() >= tail_stream::BEAT {
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
            // Without this a tail that matches no events would not notice that its client is gone.
            () = tx.closed() => return,
        }
    }
}

/// Reads the events since the last query, newest first, and whether these are all.
///
/// It costs little if no event came or few match: it reads no further back than the last query.
async fn query_new_events(
    store: &CallerStore,
    search: &EventSearch,
    seen: &mut Option<TailPosition>,
) -> Result<(Vec<EventRow>, bool), StoreError> {
    let Some(newest) = newest(store).await? else {
        return Ok((Vec::new(), true));
    };
    let after = seen.map_or(i64::MIN, |seen| seen.cursor);
    // The usual case: one cheap query shows that no event came, whatever the filter.
    if newest.cursor <= after {
        return Ok((Vec::new(), true));
    }
    let mut search = search.clone();
    let since = seen.map(|seen| {
        seen.received_ms
            .min(newest.received_ms)
            .saturating_sub(SLACK_MS)
    });
    // The later of both: the client's own `since` must not be widened.
    search.since_ms = search.since_ms.max(since);
    let (rows, is_whole) = newer(store, &search, after).await?;
    // Events may have come between the two queries, so take the larger cursor of both.
    let last = rows.first().map_or(newest.cursor, |row| row.cursor);
    *seen = Some(TailPosition {
        cursor: last.max(newest.cursor),
        ..newest
    });
    Ok((rows, is_whole))
}

/// Reads the events after the cursor `seen`, newest first, and whether these are all.
async fn newer(
    store: &CallerStore,
    search: &EventSearch,
    seen: i64,
) -> Result<(Vec<EventRow>, bool), StoreError> {
    let mut found = Vec::new();
    let mut page = ListPage {
        after: None,
        limit: ROWS,
    };
    loop {
        let rows = store.events(search.clone(), page).await?;
        // A short page is the end of the store; a page with a known event is the end of what is new.
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
