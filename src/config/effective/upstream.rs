//! Upstreams of a route: the nested `upstream` table, and the other upstreams for some events.

use hookgate_verify::document::key::SectionDefinition;
use hookgate_verify::model::glob::PatternList;
use hookgate_verify::net::redact;

use crate::config::effective::document::{EffectiveValue, SectionDocument};
use crate::config::effective::format;
use crate::config::model::{UpstreamBranch, UpstreamSettings};
use crate::config::{filter, upstream, upstreams};

/// Keys of an upstream in one table. The config file has them beside each other in the route.
static NESTED_UPSTREAM: SectionDefinition = SectionDefinition {
    path: "routes.NAME.upstream",
    doc: "The app of a route, with its time limits.",
    keys: &[
        &upstreams::URL,
        &upstream::UPSTREAM_GRACE,
        &upstream::CONNECT_TIMEOUT,
        &upstream::TIMEOUT,
        &upstream::POOL_IDLE_TIMEOUT,
        &upstream::PASS_ERROR_BODIES,
    ],
    required: &["url"],
    one_of: &[],
};

pub(super) fn nested(settings: &UpstreamSettings) -> EffectiveValue {
    SectionDocument::new(&NESTED_UPSTREAM)
        .set(&upstreams::URL, redact::url(&settings.url))
        .set(&upstream::UPSTREAM_GRACE, format::duration(settings.grace))
        .set(
            &upstream::CONNECT_TIMEOUT,
            format::duration(settings.connect_timeout),
        )
        .set(&upstream::TIMEOUT, format::duration(settings.timeout))
        .set(
            &upstream::POOL_IDLE_TIMEOUT,
            format::duration(settings.pool_idle_timeout),
        )
        .set(&upstream::PASS_ERROR_BODIES, settings.pass_error_bodies)
        .finish()
}

/// Returns the upstreams for some of the events; null without any.
pub(super) fn branches(branches: &[UpstreamBranch]) -> Option<EffectiveValue> {
    let tables: Vec<_> = branches.iter().map(branch).collect();
    (!tables.is_empty()).then(|| tables.into())
}

fn branch(branch: &UpstreamBranch) -> EffectiveValue {
    SectionDocument::new(&upstreams::SECTION)
        .set(&upstreams::URL, redact::url(&branch.upstream.url))
        .set(
            &filter::EVENTS,
            branch.events.as_ref().map(PatternList::texts),
        )
        .set(
            &filter::VERSIONS,
            branch.versions.as_ref().map(PatternList::texts),
        )
        .finish()
}
