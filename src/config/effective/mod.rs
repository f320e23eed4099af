//! The effective config: every key of the config file with the value that applies.
//!
//! It must never contain a secret, a token or a header value. Each value is set under the definition that the reader,
//! the JSON Schema and the reference use, and a test fails if a key is missing.

mod alerts;
mod destination;
mod document;
mod format;
mod process;
mod route;
#[cfg(test)]
mod tests;
mod upstream;
mod verification;

pub(crate) use crate::config::effective::document::EffectiveValue;
use crate::config::effective::document::SectionDocument;
use crate::config::egress_proxy::EGRESS_PROXY;
use crate::config::include::INCLUDE;
use crate::config::model::GateConfig;
use crate::config::root::{ADMIN, ALERTS, LOG, ROOT, ROUTES, SERVER, STORE, TELEMETRY, TLS, WATCH};

/// Builds the document of the effective config. Keys that are off or not set are null.
pub(crate) fn effective(config: &GateConfig) -> EffectiveValue {
    let routes = config.routes.iter();
    let routes = routes.map(|one| (one.name.to_string(), route::route(one)));
    let included: Vec<_> = config.files.iter().skip(1).cloned().collect();
    SectionDocument::new(&ROOT)
        .set(&INCLUDE, included)
        .nest(&SERVER, process::server(&config.server))
        .nest(&TLS, config.tls.as_ref().map(process::tls))
        .nest(&ADMIN, config.admin.as_ref().map(process::admin))
        .nest(&STORE, config.store.as_ref().map(process::store))
        .nest(&LOG, process::log(&config.log))
        .nest(
            &TELEMETRY,
            config.telemetry.as_ref().map(process::telemetry),
        )
        .nest(
            &EGRESS_PROXY,
            config.egress_proxy.as_deref().map(process::egress_proxy),
        )
        .nest(
            &ALERTS,
            EffectiveValue::named(alerts::receivers(&config.alerts)),
        )
        .nest(&WATCH, alerts::watch(&config.watch))
        .nest(&ROUTES, EffectiveValue::named(routes))
        .finish()
}
