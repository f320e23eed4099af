//! How the admin API shows the head of a stored request: without what may be a secret. Names tell much of it, and the scheme
//! of the event's route the rest.

use http::HeaderName;

use crate::admin::facts::Facts;
use crate::admin::wire::Header;
use crate::net::hide;
use crate::store::rows::StoredEvent;

/// All headers, without the values that may be secrets.
pub(super) fn headers(event: &StoredEvent, facts: &Facts) -> Vec<Header> {
    let shown = event.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        Header {
            name: name.as_str().to_owned(),
            value: Some(value).filter(|_| !is_hidden(event, name, facts)),
        }
    });
    shown.collect()
}

/// Whether a header of an event may hold a secret.
pub(super) fn is_hidden(event: &StoredEvent, name: &HeaderName, facts: &Facts) -> bool {
    match facts.scheme(&event.route) {
        Some(scheme) => scheme.hides_header(name),
        None => hide::is_secret(name.as_str()),
    }
}

/// Path and query of an event, without the values that may be secrets.
pub(super) fn target(event: &StoredEvent, facts: &Facts) -> String {
    match facts.scheme(&event.route) {
        Some(scheme) => scheme.shown_target(&event.target),
        None => hide::target(&event.target),
    }
}
