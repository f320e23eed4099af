//! A text that is looked for in the content of events.

use hookgate_verify::net::redact;
use memchr::memmem::Finder;

use crate::store::rows::StoredEvent;

/// A text in lower case.
pub(in crate::store) struct ContentText {
    finder: Finder<'static>,
}

impl ContentText {
    pub(in crate::store) fn new(text: &str) -> Self {
        Self {
            finder: Finder::new(&text.to_ascii_lowercase()).into_owned(),
        }
    }

    /// Returns whether an event contains the text in body, type, ids or target, ignoring case.
    pub(in crate::store) fn is_in(&self, event: &StoredEvent) -> bool {
        let is_in = |bytes: &[u8]| self.finder.find(&bytes.to_ascii_lowercase()).is_some();
        let event_id = event.event_id.as_ref().map(ToString::to_string);
        is_in(event.body.as_deref().unwrap_or_default())
            || is_in(event.event_type.as_deref().unwrap_or_default().as_bytes())
            || is_in(event_id.as_deref().unwrap_or_default().as_bytes())
            || is_in(event.webhook_id.as_bytes())
            // Tokens in the target are masked, because a person who may search could find them letter by letter.
            || is_in(redact::target(&event.target).as_bytes())
    }
}
