//! `[[routes.NAME.upstreams]]`: other upstreams for some of a route's events.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, ValueFault};
use hookgate_verify::document::value;

use crate::config::filter;
use crate::config::model::{UpstreamBranch, UpstreamSettings};
use crate::config::scheme_origin::SchemeOrigin;

/// Reads the entries. All settings except the URL are those of the route's `upstream`, which gets all other events.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    origin: Option<&SchemeOrigin>,
    usual: Option<&UpstreamSettings>,
) -> Vec<UpstreamBranch> {
    let rows = table.tables(&UPSTREAMS);
    let read = rows
        .into_iter()
        .map(|mut row| branch(&mut row, origin, usual));
    let branches: Vec<Option<UpstreamBranch>> = read.collect();
    branches.into_iter().flatten().collect()
}

fn branch(
    row: &mut TomlTable<'_>,
    origin: Option<&SchemeOrigin>,
    usual: Option<&UpstreamSettings>,
) -> Option<UpstreamBranch> {
    let url = row.require(&URL, value::http_url);
    let filter = filter::read(row, origin);
    if filter.events.is_none() && filter.versions.is_none() {
        let fault = ValueFault::new(
            "this upstream selects no events",
            "add `events` or `versions`; all other events go to `upstream`",
        );
        row.error(row.span(), fault);
    }
    row.deny_unknown();
    // Without a valid `upstream` there is an error already, and no settings to copy.
    let (url, usual) = (url?, usual?);
    Some(UpstreamBranch {
        events: filter.events,
        versions: filter.versions,
        upstream: UpstreamSettings {
            url: url.value,
            span: url.span,
            ..usual.clone()
        },
    })
}

pub(super) static UPSTREAMS: KeyDefinition = KeyDefinition {
    name: "upstreams",
    kind: ValueKind::Tables(&SECTION),
    default: None,
    example: "[{ url = \"http://127.0.0.1:8081/in\", events = [\"payout.*\"] }]",
    doc: "Other apps for some of the events. The first matching entry gets the event; `upstream` gets all other events.",
};

pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.upstreams",
    doc: "Another app for some of a route's events.",
    keys: &[&URL, &filter::EVENTS, &filter::VERSIONS],
    required: &["url"],
    one_of: &[],
};

pub(super) static URL: KeyDefinition = KeyDefinition {
    name: "url",
    kind: ValueKind::Url,
    default: None,
    example: "\"http://127.0.0.1:8081/in\"",
    doc: "URL of the app, as for `upstream`. The timeouts of the route apply here too.",
};
