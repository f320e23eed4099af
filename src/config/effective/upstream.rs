//! Upstreams of a route: the nested `upstream` table, and the other upstreams for some events.

use hookgate_verify::document::key::SectionDefinition;
use hookgate_verify::model::glob::PatternList;

use crate::config::effective::document::{EffectiveValue, SectionDocument};
use crate::config::effective::format;
use crate::config::model::{UpstreamBranch, UpstreamSettings};
use crate::config::{filter, outgoing_tls, pooling, upstream, upstreams};
use crate::net::client::TlsFiles;

/// Keys of an upstream in one table. The config file has them beside each other in the route.
static NESTED_UPSTREAM: SectionDefinition = SectionDefinition {
    path: "routes.NAME.upstream",
    doc: "The app of a route, with its time limits.",
    keys: &[
        &upstream::UPSTREAM_URL,
        &outgoing_tls::UPSTREAM_TLS,
        &pooling::MAX_AGE,
        &pooling::REUSE,
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
        .set(&upstream::UPSTREAM_URL, settings.url.redacted())
        .nest(
            &outgoing_tls::UPSTREAM_TLS,
            settings.tls.as_ref().map(upstream_tls),
        )
        .set(
            &pooling::MAX_AGE,
            settings.keep.max_age.map(format::duration),
        )
        .set(&pooling::REUSE, settings.keep.reuse)
        .set(&upstream::UPSTREAM_GRACE, format::duration(settings.grace))
        .set(
            &upstream::CONNECT_TIMEOUT,
            format::duration(settings.connect_timeout),
        )
        .set(&upstream::TIMEOUT, format::duration(settings.timeout))
        .set(
            &upstream::POOL_IDLE_TIMEOUT,
            format::duration(settings.keep.idle_timeout),
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
        .set(&upstreams::URL, branch.upstream.url.redacted())
        .set(
            &filter::EVENTS,
            branch.events.as_ref().map(PatternList::texts),
        )
        .set(
            &filter::VERSIONS,
            branch.versions.as_ref().map(PatternList::texts),
        )
        .nest(
            &outgoing_tls::UPSTREAM_TLS,
            branch.upstream.tls.as_ref().map(upstream_tls),
        )
        .set(
            &pooling::MAX_AGE,
            branch.upstream.keep.max_age.map(format::duration),
        )
        .set(&pooling::REUSE, branch.upstream.keep.reuse)
        .finish()
}

fn upstream_tls(files: &TlsFiles) -> EffectiveValue {
    tls(SectionDocument::new(&outgoing_tls::UPSTREAM_SECTION), files)
}

/// Sets the keys of `tls` in the table of an upstream or a destination.
pub(super) fn tls(table: SectionDocument, files: &TlsFiles) -> EffectiveValue {
    let client = files.client.as_ref();
    let server_name = files.server_name.as_ref();
    table
        .set(&outgoing_tls::CA, files.ca.as_deref().map(format::path))
        .set(
            &outgoing_tls::CERT,
            client.map(|(cert, _)| format::path(cert)),
        )
        .set(&outgoing_tls::KEY, client.map(|(_, key)| format::path(key)))
        .set(
            &outgoing_tls::SERVER_NAME,
            server_name.map(|name| name.to_str().into_owned()),
        )
        .finish()
}
