//! The page that lists of a gate without a store show.

use askama::Template;
use axum::response::Response;

use crate::console::layout::{self, PageLayout};
use crate::console::user::ConsoleUser;

#[derive(Template)]
#[template(path = "no_store.html", config = "src/console/askama.toml")]
struct NoStorePage {
    layout: PageLayout,
}

/// Returns the page that explains how to add a store, if the gate has no store.
pub(super) fn without_store(
    visitor: &ConsoleUser,
    section: &'static str,
    title: &'static str,
) -> Option<Response> {
    // The API reports the health of a store only if there is one.
    let is_missing = visitor.status.store_healthy.is_none();
    let layout = is_missing.then(|| visitor.layout(section, title))?;
    Some(layout::page(&NoStorePage { layout }))
}
