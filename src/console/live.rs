//! Server-sent events that notify an open list of events about new rows.
//!
//! They carry no rows: the page requests its rows again, so that only one template renders them.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Uri, header};
use http_body_util::BodyExt;

use crate::admin::resources::TAIL_EVENTS;
use crate::console::client::ApiRefusal;
use crate::console::events::FILTERS;
use crate::console::query::QueryPairs;
use crate::console::user::ConsoleUser;

/// Comment that keeps the connection open and shows that the gate is alive.
const BEAT: &[u8] = b": beat\n\n";

/// Message that has the page request its rows.
const NEWS: &[u8] = b"data: news\n\n";

pub(super) async fn live(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    let filter = QueryPairs::parse(uri.query()).only(&FILTERS);
    // A tail reports events before any delivery, starts now and reads no bodies, so the API rejects these filters.
    let filter = filter
        .with("state", "")
        .with("since", "")
        .with("before", "")
        .with("text", "");
    let path = filter.after(TAIL_EVENTS.path);
    let tail = visitor.client.stream(&path).await?;
    // The tail sends a line for each event and an empty line as a heartbeat.
    let lines = tail.into_body().map_frame(|frame| {
        frame.map_data(|lines| {
            let is_news = lines.iter().any(|byte| *byte != b'\n');
            Bytes::from_static(if is_news { NEWS } else { BEAT })
        })
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((kind, Body::new(lines)).into_response())
}
