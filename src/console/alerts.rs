//! Page about the open alerts and their receivers.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::Uri;

use crate::admin::documents::{AlertList, AlertReceiverDocument};
use crate::admin::resources::{ACKNOWLEDGE_ALERT, LIST_ALERTS};
use crate::console::client::ApiRefusal;
use crate::console::display::{self, StateChip};
use crate::console::layout::{self, PageLayout};
use crate::console::query::QueryPairs;
use crate::console::user::{ConsoleUser, PostedForm};

#[derive(Template)]
#[template(path = "alerts.html", config = "src/console/askama.toml")]
struct AlertsPage {
    layout: PageLayout,
    notice: &'static str,
    list: AlertList,
}

pub(super) async fn list(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    let asked = QueryPairs::parse(uri.query());
    Ok(layout::page(&AlertsPage {
        list: visitor.client.get(LIST_ALERTS.path).await?,
        layout: visitor.layout("alerts", "Alerts"),
        notice: display::notice(asked.text("notice")),
    }))
}

pub(super) async fn acknowledge(
    Path(id): Path<String>,
    posted: PostedForm,
) -> Result<Response, ApiRefusal> {
    let client = posted.user.client;
    client
        .post::<AlertList>(&ACKNOWLEDGE_ALERT.at(&[&id]))
        .await?;
    let back = layout::with_notice("/console/alerts", "acknowledged");
    Ok(Redirect::to(&back).into_response())
}

fn chip(receiver: &AlertReceiverDocument) -> StateChip {
    match (receiver.failures, &receiver.last_accepted) {
        (0, None) => StateChip::new("", "no message yet"),
        (0, Some(_)) => StateChip::new("good", "accepts messages"),
        (_, _) => StateChip::new("bad", "not reached"),
    }
}
