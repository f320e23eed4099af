//! Page about replays and their progress.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};

use crate::admin::documents::{ReplayDocument, ReplayList, ReplayState};
use crate::admin::resources::{LIST_REPLAYS, PAUSE_REPLAY, RESUME_REPLAY};
use crate::console::client::ApiRefusal;
use crate::console::display::{self, StateChip};
use crate::console::layout::{self, PageLayout};
use crate::console::no_store::without_store;
use crate::console::query::QueryPairs;
use crate::console::user::{ConsoleUser, PostedForm};

/// Most replays that the page shows.
const MAX_SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "replays.html", config = "src/console/askama.toml")]
struct ReplaysPage {
    layout: PageLayout,
    notice: &'static str,
    replays: Vec<ReplayDocument>,
}

pub(super) async fn list(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    if let Some(page) = without_store(&visitor, "replays", "Replays") {
        return Ok(page);
    }
    let asked = QueryPairs::parse(uri.query());
    let ReplayList { mut replays } = visitor.client.get(LIST_REPLAYS.path).await?;
    // The newest come first, so the oldest are cut off.
    replays.truncate(MAX_SHOWN);
    Ok(layout::page(&ReplaysPage {
        layout: visitor.layout("replays", "Replays"),
        notice: display::notice(asked.text("notice")),
        replays,
    }))
}

pub(super) async fn change(
    Path((id, action)): Path<(String, String)>,
    posted: PostedForm,
) -> Result<Response, ApiRefusal> {
    let (resource, done) = match action.as_str() {
        "pause" => (&PAUSE_REPLAY, "replay-paused"),
        "resume" => (&RESUME_REPLAY, "replay-resumed"),
        _ => {
            return Err(ApiRefusal::new(
                StatusCode::NOT_FOUND,
                "This action does not exist.",
            ));
        }
    };
    let client = posted.user.client;
    client.post::<ReplayDocument>(&resource.at(&[&id])).await?;
    Ok(Redirect::to(&layout::with_notice("/console/replays", done)).into_response())
}

fn chip(replay: &ReplayDocument) -> StateChip {
    match replay.state {
        ReplayState::Running => StateChip::new("busy", "running"),
        ReplayState::Paused => StateChip::new("warn", "paused"),
        ReplayState::Ended => StateChip::new("good", "ended"),
    }
}
