//! The frame around every page, and the rendering of pages to responses.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use crate::console::assets;
use crate::console::query::QueryPairs;

/// Entries of the navigation: the path below `/console/` and the label.
const SECTIONS: [(&str, &str); 11] = [
    ("", "Overview"),
    ("alerts", "Alerts"),
    ("events", "Events"),
    ("deliveries?state=dead", "Dead letters"),
    ("destinations", "Destinations"),
    ("rejections", "Rejections"),
    ("replays", "Replays"),
    ("providers", "Providers"),
    ("config", "Config"),
    ("nodes", "Nodes"),
    ("audit", "Audit"),
];

/// Section of pages that belong to no entry of the navigation.
const NOWHERE: &str = "-";

/// Data for the frame of a page: title, navigation and footer.
pub(super) struct PageLayout {
    pub(super) title: String,
    /// The section that the page belongs to.
    pub(super) section: &'static str,
    pub(super) form_token: String,
    pub(super) has_session: bool,
    pub(super) is_operator: bool,
    /// True if the token of the visitor is limited to routes.
    pub(super) is_limited: bool,
    /// False if the visitor may not see what senders sent.
    pub(super) sees_payload: bool,
    /// True if the visitor is logged in. Otherwise the frame shows no navigation.
    pub(super) is_inside: bool,
    pub(super) version: String,
    /// Name of this node, if several nodes can share the store.
    pub(super) node: Option<String>,
    /// Short name of a problem of the gate, for the footer.
    pub(super) problem: Option<&'static str>,
}

impl PageLayout {
    /// Returns the entries of the navigation that this visitor may open.
    pub(super) fn sections(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let (is_operator, is_limited) = (self.is_operator, self.is_limited);
        let sections = SECTIONS.iter();
        // What the API rejects for this visitor, the navigation does not offer.
        sections.filter(move |(path, _)| match *path {
            "audit" => is_operator && !is_limited,
            "alerts" | "config" | "nodes" => !is_limited,
            _ => true,
        })
    }

    pub(super) fn is_here(&self, path: &str) -> bool {
        self.section == path
    }

    pub(super) fn is_inside(&self) -> bool {
        self.is_inside
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Returns the name of the node whose memory a page shows; `None` if there is only one.
    pub(super) fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    pub(super) fn problem(&self) -> Option<&'static str> {
        self.problem
    }

    pub(super) fn files(&self) -> &'static str {
        assets::version()
    }

    /// Returns the frame for a visitor who is not logged in: it reveals nothing about the gate.
    pub(super) fn bare(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: NOWHERE,
            form_token: String::new(),
            has_session: false,
            is_operator: false,
            is_limited: false,
            sees_payload: true,
            is_inside: false,
            version: String::new(),
            node: None,
            problem: None,
        }
    }
}

#[derive(Template)]
#[template(path = "error.html", config = "src/console/askama.toml")]
pub(super) struct ErrorPage {
    pub(super) layout: PageLayout,
    pub(super) status: u16,
    pub(super) detail: String,
}

/// Adds the word for a finished action to an address; [`notice`](crate::console::display::notice) turns it into text.
pub(super) fn with_notice(address: &str, word: &str) -> String {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    QueryPairs::parse(Some(query))
        .with("notice", word)
        .after(path)
}

/// Renders a page to a response.
pub(super) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        // The error page is a template too, so a failed template gets a plain response.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
