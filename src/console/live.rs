//! Tells an open list of events that there is something new: server-sent events over the tail of the API. The page then
//! asks for its rows again, so that there is one way in which rows are made.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Uri, header};
use http_body_util::BodyExt;

use crate::console::client::Refused;
use crate::console::events::FILTERS;
use crate::console::query::Query;
use crate::console::visitor::Visitor;

/// A line that says that the other end is there.
const BEAT: &[u8] = b": beat\n\n";

const NEWS: &[u8] = b"data: news\n\n";

pub(super) async fn live(visitor: Visitor, uri: Uri) -> Result<Response, Refused> {
    let filter = Query::parse(uri.query()).only(&FILTERS);
    // A tail shows events before anything was delivered, begins now, and opens no bodies.
    let filter = filter
        .with("state", "")
        .with("since", "")
        .with("before", "")
        .with("text", "");
    let tail = visitor.client.stream(&filter.after("/events/tail")).await?;
    let lines = tail.into_body().map_frame(|frame| {
        frame.map_data(|lines| {
            let is_news = lines.iter().any(|byte| *byte != b'\n');
            Bytes::from_static(if is_news { NEWS } else { BEAT })
        })
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((kind, Body::new(lines)).into_response())
}
