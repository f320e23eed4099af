//! The gate's own signature on what it forwards, as Standard Webhooks have it: an app that verifies it needs to know one
//! scheme and one secret, whoever sends, and need not trust the network between.
//!
//! The id is the event's own where it can stand there, else made from it or from the signed bytes: it is the same for
//! every copy that the provider sends, unless it has no ids and signs a retry anew. An id with a dot would leave open where
//! it ends in the signed text.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::model::clock::Now;
use crate::scheme::standard::{ID, SIGNATURE, SigningKey, TIMESTAMP, message_id};

/// The keys of one route.
pub(super) struct Stamper {
    keys: Vec<Arc<SigningKey>>,
}

impl Stamper {
    /// None where the route signs nothing.
    pub(super) fn new(keys: &[Arc<SigningKey>]) -> Option<Self> {
        let keys = keys.to_vec();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Takes out what the sender says under these names: only the gate's word is to stand there.
    pub(super) fn clear(headers: &mut HeaderMap) {
        for name in [ID, TIMESTAMP, SIGNATURE] {
            headers.remove(name);
        }
    }

    /// Signs a verified event.
    pub(super) fn stamp(
        &self,
        headers: &mut HeaderMap,
        event_id: Option<&str>,
        digest: &[u8; 32],
        body: &[u8],
    ) {
        let id = message_id(event_id, digest);
        let timestamp = Now::read().unix_seconds().to_string();
        let each = self.keys.iter();
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

    // Fails when an id is taken whatever it holds.
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
