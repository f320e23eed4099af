//! Masking of secrets in the request head of a stored event.
//!
//! The scheme of the event's route knows which headers and parameters carry credentials. If the route left the config,
//! a list of known names decides.

use http::HeaderName;

use crate::admin::facts::Facts;
use crate::admin::wire::Header;
use crate::net::hide;
use crate::store::rows::StoredEvent;

/// Returns all headers; a value that may be a secret is `None`.
pub(super) fn headers(event: &StoredEvent, facts: &Facts) -> Vec<Header> {
    let shown = event.headers.iter().map(|(name, value)| {
        // JSON is UTF-8, and a header value may be any bytes.
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        Header {
            name: name.as_str().to_owned(),
            value: Some(value).filter(|_| !is_hidden(event, name, facts)),
        }
    });
    shown.collect()
}

/// Returns whether a header of an event may contain a secret.
pub(super) fn is_hidden(event: &StoredEvent, name: &HeaderName, facts: &Facts) -> bool {
    match facts.scheme(&event.route) {
        Some(scheme) => scheme.hides_header(name),
        // The route left the config. Without its scheme only the name can say.
        None => hide::is_secret(name.as_str()),
    }
}

/// Returns path and query of an event, with values that may be secrets masked.
pub(super) fn target(event: &StoredEvent, facts: &Facts) -> String {
    match facts.scheme(&event.route) {
        Some(scheme) => scheme.shown_target(&event.target),
        None => hide::target(&event.target),
    }
}
