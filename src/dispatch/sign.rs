//! Signs forwarded events with the gate's own key, by the Standard Webhooks scheme (`sign_upstream`).
//!
//! An app that verifies this signature needs to know one scheme and one secret for all providers, and need not trust
//! the network in between.

use std::sync::Arc;

use hookgate_verify::scheme::standard_webhooks::{
    ID, SIGNATURE, SigningKey, TIMESTAMP, message_id,
};
use http::{HeaderMap, HeaderValue};

use crate::model::clock::ClockReading;

/// Signing keys of one route.
pub(super) struct RequestSigner {
    keys: Vec<Arc<SigningKey>>,
}

impl RequestSigner {
    /// Creates a stamper, or `None` for a route without signing keys.
    pub(super) fn new(keys: &[Arc<SigningKey>]) -> Option<Self> {
        let keys = keys.to_vec();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Removes the sender's values under the names that the gate sets, so that only the gate's values can appear there.
    pub(super) fn clear(headers: &mut HeaderMap) {
        for name in [ID, TIMESTAMP, SIGNATURE] {
            headers.remove(name);
        }
    }

    /// Signs a verified event and sets id, timestamp and signatures.
    ///
    /// The id is the event's own if it is suitable, otherwise it is derived from that id or from the signed bytes. So
    /// it is the same for every copy that the provider sends, unless the provider has no ids and signs each retry
    /// again. An id with a dot is never used as it is: the signed text would not show where it ends.
    pub(super) fn stamp(
        &self,
        headers: &mut HeaderMap,
        event_id: Option<&str>,
        digest: &[u8; 32],
        body: &[u8],
    ) {
        let id = message_id(event_id, digest);
        let timestamp = ClockReading::read().unix_seconds().to_string();
        let each = self.keys.iter();
        // One signature per key, so that apps can switch to a new key while both are in use.
        let signatures: Vec<String> = each
            .filter_map(|key| key.sign(&id, &timestamp, body))
            .collect();
        let values = [
            (ID, id),
            (TIMESTAMP, timestamp),
            (SIGNATURE, signatures.join(" ")),
        ];
        for (name, value) in values {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails if an id is used whatever characters it has.
    #[test]
    fn ids_are_stable_and_end_where_they_seem_to() {
        assert_eq!(message_id(Some("evt_1PqTz"), &[0; 32]), "evt_1PqTz");
        let dotted = message_id(Some("a.1700000000"), &[0; 32]);
        assert_eq!(dotted, message_id(Some("a.1700000000"), &[1; 32]));
        assert!(dotted.starts_with("id_") && dotted.len() == 35, "{dotted}");
        for odd in ["", "a b", "\u{e9}", &"x".repeat(129)] {
            let id = message_id(Some(odd), &[0; 32]);
            assert!(odd.is_empty() || id.starts_with("id_"), "{odd}: {id}");
        }
        let without = message_id(None, &[7; 32]);
        assert!(without.starts_with("msg_"), "{without}");
        assert_ne!(without, message_id(None, &[8; 32]));
    }
}
