//! What all pages have around them, and how a page becomes an answer.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use crate::console::assets;
use crate::console::query::Query;
use crate::console::visitor::Visitor;

/// The pages that the navigation leads to: path below `/console/`, name.
const SECTIONS: [(&str, &str); 9] = [
    ("", "Overview"),
    ("events", "Events"),
    ("deliveries?state=dead", "Dead letters"),
    ("destinations", "Destinations"),
    ("rejections", "Rejections"),
    ("replays", "Replays"),
    ("providers", "Providers"),
    ("config", "Config"),
    ("audit", "Audit"),
];

/// A section that no page belongs to.
const NOWHERE: &str = "-";

/// Around a page.
pub(super) struct Layout {
    pub(super) title: String,
    /// The section that the page belongs to.
    section: &'static str,
    pub(super) form_token: String,
    pub(super) has_session: bool,
    pub(super) is_operator: bool,
    /// Whether the visitor is let in: else there is nothing to go to.
    is_inside: bool,
    version: String,
    /// What does not do as it should, in a word.
    trouble: Option<&'static str>,
}

impl Layout {
    pub(super) fn new(visitor: &Visitor, section: &'static str, title: impl Into<String>) -> Self {
        let status = &visitor.status;
        let trouble = match (status.ready, status.store_healthy) {
            (false, _) => Some("not ready"),
            (true, Some(false)) => Some("store failing"),
            (true, _) => None,
        };
        Self {
            title: title.into(),
            section,
            form_token: visitor.form_token.clone(),
            has_session: visitor.has_session,
            is_operator: visitor.is_operator,
            is_inside: true,
            version: status.version.clone(),
            trouble,
        }
    }

    /// Where the visitor may go.
    pub(super) fn sections(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let is_operator = self.is_operator;
        let sections = SECTIONS.iter();
        sections.filter(move |(path, _)| is_operator || *path != "audit")
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

    pub(super) fn trouble(&self) -> Option<&'static str> {
        self.trouble
    }

    pub(super) fn files(&self) -> &'static str {
        assets::version()
    }

    /// Around a page for somebody of whom nothing is known.
    pub(super) fn bare(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: NOWHERE,
            form_token: String::new(),
            has_session: false,
            is_operator: false,
            is_inside: false,
            version: String::new(),
            trouble: None,
        }
    }
}

#[derive(Template)]
#[template(path = "error.html", config = "src/console/askama.toml")]
pub(super) struct ErrorPage {
    pub(super) layout: Layout,
    pub(super) status: u16,
    pub(super) detail: String,
}

#[derive(Template)]
#[template(path = "no_store.html", config = "src/console/askama.toml")]
struct NoStorePage {
    layout: Layout,
}

/// Instead of a page that shows what a store holds, where there is none.
pub(super) fn without_store(
    visitor: &Visitor,
    section: &'static str,
    title: &'static str,
) -> Option<Response> {
    let is_missing = visitor.status.store_healthy.is_none();
    let layout = is_missing.then(|| Layout::new(visitor, section, title))?;
    Some(page(&NoStorePage { layout }))
}

/// An address with a word for what was just done.
pub(super) fn with_notice(address: &str, word: &str) -> String {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    Query::parse(Some(query)).with("notice", word).after(path)
}

/// A page as an answer.
pub(super) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
