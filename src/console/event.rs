//! Page about one event: its request, its deliveries and the actions on them.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};

use crate::admin::path::segment;
use crate::admin::wire::{Delivery, DeliveryDetail, EventDetail, VerdictDetail};
use crate::console::body::{self, Shown, View};
use crate::console::client::{Refused, whole};
use crate::console::layout::{self, Layout};
use crate::console::query::Query;
use crate::console::visitor::{Posted, Visitor};
use crate::console::{curl, show};

/// Deliveries shown with their attempts. The page gives the number of further ones.
const MAX_SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "event.html", config = "src/console/askama.toml")]
struct EventPage {
    layout: Layout,
    notice: &'static str,
    event: EventDetail,
    deliveries: Vec<DeliveryDetail>,
    more_deliveries: usize,
    body: Option<Shown>,
    views: [(View, bool); 3],
    curl: String,
    /// Verdict about the request, while the gate has it in memory.
    verdict: Option<VerdictDetail>,
}

pub(super) async fn show(
    visitor: Visitor,
    Path(uid): Path<String>,
    uri: Uri,
) -> Result<Response, Refused> {
    let asked = Query::parse(uri.query());
    let path = format!("/events/{}", segment(&uid));
    let event: EventDetail = visitor.client.get(&path).await?;
    let bytes = match event.body.is_kept {
        true => Some(whole(visitor.client.stream(&format!("{path}/body")).await?).await?),
        false => None,
    };
    let mut deliveries = Vec::new();
    // The API lists the newest first; a timeline runs the other way, oldest first.
    for delivery in event.deliveries.iter().rev().take(MAX_SHOWN) {
        let path = format!("/deliveries/{}", delivery.id);
        deliveries.push(visitor.client.get(&path).await?);
    }
    let body = bytes.as_deref().map(|bytes| {
        let view = View::parse(asked.text("body"));
        body::show(bytes, view)
    });
    let view = body.as_ref().map(|body| body.view);
    let views = [View::Pretty, View::Raw, View::Hex].map(|one| (one, view == Some(one)));
    let title = event.event_type.as_deref().unwrap_or("Event");
    Ok(layout::page(&EventPage {
        layout: Layout::new(&visitor, "events", title),
        notice: show::notice(asked.text("notice")),
        more_deliveries: event.deliveries.len().saturating_sub(MAX_SHOWN),
        deliveries,
        // The id of an event in the inbox is the id of its request, so it finds the verdict.
        verdict: visitor
            .client
            .get(&format!("/verdicts/{}", segment(&uid)))
            .await
            .ok(),
        curl: curl::command(&event, bytes.as_deref()),
        body,
        views,
        event,
    }))
}

/// Sends the body as a file. The API marks it as an attachment, so that no browser renders it.
pub(super) async fn download(
    visitor: Visitor,
    Path(uid): Path<String>,
) -> Result<Response, Refused> {
    let path = format!("/events/{}/body", segment(&uid));
    visitor.client.stream(&path).await
}

/// Retries, cancels or discards a delivery, and redirects to the page with the button.
pub(super) async fn change(
    Path((id, action)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Refused> {
    let done = match action.as_str() {
        "retry" => "retried",
        "cancel" => "cancelled",
        "discard" => "discarded",
        _ => {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "This action does not exist.",
            ));
        }
    };
    let path = format!("/deliveries/{}/{action}", segment(&id));
    let delivery: Delivery = posted.visitor.client.post(&path).await?;
    // Lists of deliveries have the same buttons and set `back`; the event page does not.
    let back = posted.back(&format!("/console/events/{}", segment(&delivery.event)));
    Ok(Redirect::to(&layout::with_notice(&back, done)).into_response())
}
