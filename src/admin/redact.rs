//! Masking of secrets in the request head of a stored event.
//!
//! The scheme of the event's route knows which headers and parameters carry credentials. If the route left the config,
//! a list of known names decides.

use hookgate_verify::net::redact;
use http::HeaderName;

use crate::admin::config_view::ConfigView;
use crate::admin::documents::HeaderDocument;
use crate::store::rows::StoredEvent;

/// Returns all headers; a value that may be a secret is `None`.
pub(super) fn headers(event: &StoredEvent, facts: &ConfigView) -> Vec<HeaderDocument> {
    let shown = event.headers.iter().map(|(name, value)| {
        // JSON is UTF-8, and a header value may be any bytes.
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        HeaderDocument {
            name: name.as_str().to_owned(),
            value: Some(value).filter(|_| !is_redacted(event, name, facts)),
        }
    });
    shown.collect()
}

/// Returns whether a header of an event may contain a secret.
pub(super) fn is_redacted(event: &StoredEvent, name: &HeaderName, facts: &ConfigView) -> bool {
    match facts.scheme(&event.route) {
        Some(scheme) => scheme.redacts_header(name),
        // The route left the config. Without its scheme only the name can say.
        None => redact::is_secret(name.as_str()),
    }
}

/// Returns path and query of an event, with values that may be secrets masked.
pub(super) fn target(event: &StoredEvent, facts: &ConfigView) -> String {
    match facts.scheme(&event.route) {
        Some(scheme) => scheme.shown_target(&event.target),
        None => redact::target(&event.target),
    }
}
