//! Page about one event: its request, its deliveries and the actions on them.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};

use crate::admin::documents::{DeliveryDetail, DeliveryDocument, EventDetail, VerdictDetail};
use crate::admin::path::segment;
use crate::admin::resources::{
    CANCEL_DELIVERY, DISCARD_DELIVERY, RETRY_DELIVERY, SHOW_DELIVERY, SHOW_EVENT, SHOW_EVENT_BODY,
    SHOW_VERDICT,
};
use crate::console::body::{self, BodyView, RenderedBody};
use crate::console::client::{ApiRefusal, whole};
use crate::console::layout::{self, PageLayout};
use crate::console::query::QueryPairs;
use crate::console::user::{ConsoleUser, PostedForm};
use crate::console::{curl, display};

/// Deliveries shown with their attempts. The page gives the number of further ones.
const MAX_SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "event.html", config = "src/console/askama.toml")]
struct EventPage {
    layout: PageLayout,
    notice: &'static str,
    event: EventDetail,
    deliveries: Vec<DeliveryDetail>,
    more_deliveries: usize,
    body: Option<RenderedBody>,
    views: [(BodyView, bool); 3],
    curl: String,
    /// Verdict about the request, while the gate has it in memory.
    verdict: Option<VerdictDetail>,
}

pub(super) async fn show(
    visitor: ConsoleUser,
    Path(uid): Path<String>,
    uri: Uri,
) -> Result<Response, ApiRefusal> {
    let asked = QueryPairs::parse(uri.query());
    let client = &visitor.client;
    let event: EventDetail = client.get(&SHOW_EVENT.at(&[&uid])).await?;
    let bytes = match event.body.is_kept && visitor.status.payload {
        true => Some(whole(client.stream(&SHOW_EVENT_BODY.at(&[&uid])).await?).await?),
        false => None,
    };
    let mut deliveries = Vec::new();
    // The API lists the newest first; a timeline runs the other way, oldest first.
    for delivery in event.deliveries.iter().rev().take(MAX_SHOWN) {
        let path = SHOW_DELIVERY.at(&[&delivery.id.to_string()]);
        deliveries.push(client.get(&path).await?);
    }
    let body = bytes.as_deref().map(|bytes| {
        let view = BodyView::parse(asked.text("body"));
        body::show(bytes, view)
    });
    let view = body.as_ref().map(|body| body.view);
    let views =
        [BodyView::Pretty, BodyView::Raw, BodyView::Hex].map(|one| (one, view == Some(one)));
    let title = event.event_type.as_deref().unwrap_or("Event");
    Ok(layout::page(&EventPage {
        layout: visitor.layout("events", title),
        notice: display::notice(asked.text("notice")),
        more_deliveries: event.deliveries.len().saturating_sub(MAX_SHOWN),
        deliveries,
        // The id of an event in the inbox is the id of its request, so it finds the verdict.
        verdict: client.get(&SHOW_VERDICT.at(&[&uid])).await.ok(),
        curl: curl::command(&event, bytes.as_deref()),
        body,
        views,
        event,
    }))
}

/// Sends the body as a file. The API marks it as an attachment, so that no browser renders it.
pub(super) async fn download(
    visitor: ConsoleUser,
    Path(uid): Path<String>,
) -> Result<Response, ApiRefusal> {
    let path = SHOW_EVENT_BODY.at(&[&uid]);
    visitor.client.stream(&path).await
}

/// Retries, cancels or discards a delivery, and redirects to the page with the button.
pub(super) async fn change(
    Path((id, action)): Path<(String, String)>,
    posted: PostedForm,
) -> Result<Response, ApiRefusal> {
    let (resource, done) = match action.as_str() {
        "retry" => (&RETRY_DELIVERY, "retried"),
        "cancel" => (&CANCEL_DELIVERY, "cancelled"),
        "discard" => (&DISCARD_DELIVERY, "discarded"),
        _ => {
            return Err(ApiRefusal::new(
                StatusCode::NOT_FOUND,
                "This action does not exist.",
            ));
        }
    };
    let path = resource.at(&[&id]);
    let delivery: DeliveryDocument = posted.user.client.post(&path).await?;
    // Lists of deliveries have the same buttons and set `back`; the event page does not.
    let back = posted.back(&format!("/console/events/{}", segment(&delivery.event)));
    Ok(Redirect::to(&layout::with_notice(&back, done)).into_response())
}
