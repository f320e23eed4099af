//! Page about replays and their progress.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};

use crate::admin::path::segment;
use crate::admin::wire::{Replay, ReplayState, Replays};
use crate::console::client::Refused;
use crate::console::layout::{self, Layout};
use crate::console::query::Query;
use crate::console::show::{self, Chip};
use crate::console::visitor::{Posted, Visitor};

/// Most replays that the page shows.
const MAX_SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "replays.html", config = "src/console/askama.toml")]
struct ReplaysPage {
    layout: Layout,
    notice: &'static str,
    replays: Vec<Replay>,
}

pub(super) async fn list(visitor: Visitor, uri: Uri) -> Result<Response, Refused> {
    if let Some(page) = layout::without_store(&visitor, "replays", "Replays") {
        return Ok(page);
    }
    let asked = Query::parse(uri.query());
    let Replays { mut replays } = visitor.client.get("/replays").await?;
    // The newest come first, so the oldest are cut off.
    replays.truncate(MAX_SHOWN);
    Ok(layout::page(&ReplaysPage {
        layout: Layout::new(&visitor, "replays", "Replays"),
        notice: show::notice(asked.text("notice")),
        replays,
    }))
}

pub(super) async fn change(
    Path((id, action)): Path<(String, String)>,
    posted: Posted,
) -> Result<Response, Refused> {
    let done = match action.as_str() {
        "pause" => "replay-paused",
        "resume" => "replay-resumed",
        _ => {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "This action does not exist.",
            ));
        }
    };
    let path = format!("/replays/{}/{action}", segment(&id));
    posted.visitor.client.post::<Replay>(&path).await?;
    Ok(Redirect::to(&layout::with_notice("/console/replays", done)).into_response())
}

fn chip(replay: &Replay) -> Chip {
    match replay.state {
        ReplayState::Running => Chip::new("busy", "running"),
        ReplayState::Paused => Chip::new("warn", "paused"),
        ReplayState::Ended => Chip::new("good", "ended"),
    }
}
