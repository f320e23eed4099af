//! `[[routes.NAME.upstreams]]`: other upstreams for some of a route's events.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, ValueFault};

use crate::config::app_url::upstream_url;
use crate::config::load_context::LoadContext;
use crate::config::model::{UpstreamBranch, UpstreamSettings};
use crate::config::scheme_origin::SchemeOrigin;
use crate::config::{filter, outgoing_tls, pooling};

/// Reads the entries. Settings that an entry does not have are those of the route's `upstream`, which gets all other
/// events.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    origin: Option<&SchemeOrigin>,
    usual: Option<&UpstreamSettings>,
    context: &LoadContext,
) -> Vec<UpstreamBranch> {
    let rows = table.tables(&UPSTREAMS);
    let read = rows
        .into_iter()
        .map(|mut row| branch(&mut row, origin, usual, context));
    let branches: Vec<Option<UpstreamBranch>> = read.collect();
    branches.into_iter().flatten().collect()
}

fn branch(
    row: &mut TomlTable<'_>,
    origin: Option<&SchemeOrigin>,
    usual: Option<&UpstreamSettings>,
    context: &LoadContext,
) -> Option<UpstreamBranch> {
    let url = row.require(&URL, upstream_url);
    let tls_span = row.name_span_of(&outgoing_tls::UPSTREAM_TLS);
    let tls = row.table(&outgoing_tls::UPSTREAM_TLS);
    let tls = tls.map(|tls| outgoing_tls::read(tls, context));
    let pool = pooling::read(row);
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
    outgoing_tls::check(row, tls_span, &url.value);
    let mut upstream = usual.with_url(url);
    upstream.tls = tls.or(upstream.tls);
    upstream.keep.max_age = pool.max_age.or(upstream.keep.max_age);
    upstream.keep.reuse = pool.reuse.unwrap_or(upstream.keep.reuse);
    Some(UpstreamBranch {
        events: filter.events,
        versions: filter.versions,
        upstream,
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
    keys: &[
        &URL,
        &filter::EVENTS,
        &filter::VERSIONS,
        &outgoing_tls::UPSTREAM_TLS,
        &pooling::MAX_AGE,
        &pooling::REUSE,
    ],
    required: &["url"],
    one_of: &[],
};

pub(super) static URL: KeyDefinition = KeyDefinition {
    name: "url",
    kind: ValueKind::AppUrl,
    default: None,
    example: "\"http://127.0.0.1:8081/in\"",
    doc: "URL of the app, as for `upstream`. The timeouts of the route apply here too.",
};
