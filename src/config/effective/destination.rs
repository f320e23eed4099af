//! `[routes.NAME.destinations.NAME]`: every key of a destination.

use hookgate_verify::model::glob::PatternList;

use crate::config::effective::document::{EffectiveValue, ExtraField, SectionDocument};
use crate::config::effective::{format, process, upstream as effective_upstream};
use crate::config::model::{
    ClientCredentials, DeliveryOrder, DestinationSection, RetryPauses, RetryPolicy,
};
use crate::config::{
    destination, egress_proxy, filter, oauth2, outgoing_tls, pooling, retry, upstream,
};
use crate::criteria::when::WhenExpression;

pub(super) fn destination(section: &DestinationSection) -> EffectiveValue {
    SectionDocument::new(&destination::SECTION)
        .set(&destination::URL, section.url.redacted())
        .set(
            &filter::EVENTS,
            section.events.as_ref().map(PatternList::texts),
        )
        .set(
            &filter::WHEN,
            section.when.as_deref().map(WhenExpression::text),
        )
        .set(&destination::ACTIVE, section.active)
        .set(
            &upstream::CONNECT_TIMEOUT,
            format::duration(section.connect_timeout),
        )
        .set(&destination::TIMEOUT, format::duration(section.timeout))
        .set(
            &upstream::POOL_IDLE_TIMEOUT,
            format::duration(section.keep.idle_timeout),
        )
        .set(&destination::CONCURRENCY, section.concurrency)
        .set(
            &destination::RATE_LIMIT,
            section.rate_limit.map(format::rate),
        )
        .nest(&retry::RETRY, retry(&section.retry))
        .set(&destination::ORDER, order(&section.order))
        .set(
            &destination::HEADERS,
            format::header_names(&section.headers),
        )
        .set(
            &destination::SECRET,
            format::key_count(section.secrets.len()),
        )
        .nest(&destination::OAUTH2, section.oauth2.as_ref().map(oauth2))
        .nest(
            &outgoing_tls::DESTINATION_TLS,
            section.tls.as_ref().map(|files| {
                let table = SectionDocument::new(&outgoing_tls::DESTINATION_SECTION);
                effective_upstream::tls(table, files)
            }),
        )
        .set(
            &pooling::MAX_AGE,
            section.keep.max_age.map(format::duration),
        )
        .set(&pooling::REUSE, section.keep.reuse)
        .set(&destination::EXTERNAL, section.external)
        .nest(
            &egress_proxy::DESTINATION_PROXY,
            section.egress_proxy.as_deref().map(process::egress_proxy),
        )
        .set(&destination::REPR_DIGEST, section.repr_digest)
        .set(&destination::BREAKER, section.breaker)
        .extra(ExtraField::HasWhen, section.when.is_some())
        .extra(ExtraField::IsSigned, !section.secrets.is_empty())
        .extra(ExtraField::Resign, section.resign)
        .finish()
}

/// Formats an order in the form of the config file.
fn order(order: &DeliveryOrder) -> String {
    match order {
        DeliveryOrder::None => "none".to_owned(),
        DeliveryOrder::Fifo => "fifo".to_owned(),
        DeliveryOrder::FifoByHeader(name) => format!("fifo:header:{name}"),
        DeliveryOrder::FifoByJson(pointer) => format!("fifo:json:{pointer}"),
    }
}

fn retry(policy: &RetryPolicy) -> EffectiveValue {
    let table = SectionDocument::new(&retry::SECTION);
    // A list and growing pauses exclude each other, as in the config.
    let table = match &policy.pauses {
        RetryPauses::List(pauses) => {
            let pauses = pauses.iter().copied().map(format::duration);
            table
                .set(&retry::SCHEDULE, pauses.collect::<Vec<_>>())
                .set(&retry::BASE, ())
                .set(&retry::FACTOR, ())
                .set(&retry::CAP, ())
        }
        RetryPauses::Exponential { base, factor, cap } => table
            .set(&retry::SCHEDULE, ())
            .set(&retry::BASE, format::duration(*base))
            .set(&retry::FACTOR, *factor)
            .set(&retry::CAP, format::duration(*cap)),
    };
    table
        .set(&retry::JITTER, policy.jitter)
        .set(&retry::MAX_ATTEMPTS, policy.max_attempts)
        .set(&retry::MAX_AGE, policy.max_age.map(format::duration))
        .finish()
}

fn oauth2(credentials: &ClientCredentials) -> EffectiveValue {
    SectionDocument::new(&oauth2::SECTION)
        .set(&oauth2::TOKEN_URL, credentials.token_url.redacted())
        .set(&oauth2::CLIENT_ID, &*credentials.client_id)
        .set(&oauth2::CLIENT_SECRET, format::masked(true))
        .set(&oauth2::SCOPE, credentials.scope.clone())
        .set(&oauth2::AUDIENCE, credentials.audience.clone())
        .set(&oauth2::AUTH, credentials.authentication.word())
        .finish()
}
