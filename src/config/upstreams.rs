//! `[[routes.NAME.upstreams]]`: other upstreams for some of a route's events.

use crate::config::filter;
use crate::config::model::{Branch, Upstream};
use crate::config::verification::Origin;
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table};
use crate::document::value;

/// Reads the entries. All settings except the URL are those of the route's `upstream`, which gets all other events.
pub(super) fn read(
    table: &mut Table<'_>,
    origin: Option<&Origin>,
    usual: Option<&Upstream>,
) -> Vec<Branch> {
    let rows = table.tables(&UPSTREAMS);
    let read = rows
        .into_iter()
        .map(|mut row| branch(&mut row, origin, usual));
    let branches: Vec<Option<Branch>> = read.collect();
    branches.into_iter().flatten().collect()
}

fn branch(
    row: &mut Table<'_>,
    origin: Option<&Origin>,
    usual: Option<&Upstream>,
) -> Option<Branch> {
    let url = row.require(&URL, value::http_url);
    let filter = filter::read(row, origin);
    if filter.events.is_none() && filter.versions.is_none() {
        let fault = Fault::new(
            "this upstream selects no events",
            "add `events` or `versions`; all other events go to `upstream`",
        );
        row.error(row.span(), fault);
    }
    row.deny_unknown();
    // Without a valid `upstream` there is an error already, and no settings to copy.
    let (url, usual) = (url?, usual?);
    Some(Branch {
        events: filter.events,
        versions: filter.versions,
        upstream: Upstream {
            url: url.value,
            span: url.span,
            ..usual.clone()
        },
    })
}

pub(super) static UPSTREAMS: Key = Key {
    name: "upstreams",
    kind: Kind::Tables(&SECTION),
    default: None,
    example: "[{ url = \"http://127.0.0.1:8081/in\", events = [\"payout.*\"] }]",
    doc: "Other apps for some of the events. The first matching entry gets the event; `upstream` gets all other events.",
};

pub(super) static SECTION: Section = Section {
    path: "routes.NAME.upstreams",
    doc: "Another app for some of a route's events.",
    keys: &[&URL, &filter::EVENTS, &filter::VERSIONS],
    required: &["url"],
    one_of: &[],
};

static URL: Key = Key {
    name: "url",
    kind: Kind::Url,
    default: None,
    example: "\"http://127.0.0.1:8081/in\"",
    doc: "URL of the app, as for `upstream`. The timeouts of the route apply here too.",
};
