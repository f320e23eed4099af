//! `sign_upstream`: keys with which hookgate signs forwarded requests.

use std::sync::Arc;

use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, ValueFault};
use hookgate_verify::scheme::standard_webhooks::{
    ID, SIGNATURE, SigningKey, SigningKeyError, TIMESTAMP,
};

use crate::config::load_context::LoadContext;
use crate::config::scheme_origin::SchemeOrigin;
use crate::config::secrets;

/// Limit of signatures on one request: usually one, or two while a key is rotated.
const MAX_KEYS: usize = 4;

/// Reads the keys; returns an empty list if the route does not sign.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    origin: Option<&SchemeOrigin>,
    context: &LoadContext,
) -> Vec<Arc<SigningKey>> {
    read_keys(table, &SIGN_UPSTREAM, origin, context)
}

/// Reads another key of the config that has the same form as `sign_upstream`.
pub(super) fn read_keys(
    table: &mut TomlTable<'_>,
    key: &KeyDefinition,
    origin: Option<&SchemeOrigin>,
    context: &LoadContext,
) -> Vec<Arc<SigningKey>> {
    let Some(value) = table.value(key) else {
        return Vec::new();
    };
    // A scheme that reads the headers of Standard Webhooks would have its own signature replaced.
    let names = origin
        .map(|origin| origin.spec.headers())
        .unwrap_or_default();
    if names
        .iter()
        .any(|name| [ID, TIMESTAMP, SIGNATURE].contains(name))
    {
        value.fault(ValueFault::new(
            "this sender uses the same signature headers, so the app would lose the sender's own signature",
            "remove this key; the app can verify the sender's signature with Standard Webhooks too",
        ));
        return Vec::new();
    }
    let items = value.items().unwrap_or_else(|| vec![value]);
    if !(1..=MAX_KEYS).contains(&items.len()) {
        value.fault(ValueFault::new(
            format!("a route can sign with 1 to {MAX_KEYS} keys"),
            format!("for example `{} = {}`", key.name, key.example),
        ));
    }
    let mut keys = Vec::new();
    for item in items.iter().take(MAX_KEYS) {
        let Some(secret) = secrets::read_token(item, context) else {
            continue;
        };
        match SigningKey::parse(&secret) {
            Ok(key) => keys.push(Arc::new(key)),
            Err(err) => item.fault(ValueFault::new(err.to_string(), help(err))),
        }
    }
    keys
}

fn help(err: SigningKeyError) -> &'static str {
    match err {
        SigningKeyError::Public | SigningKeyError::NotEd25519 => {
            "use the private key of an Ed25519 pair: `whsk_` and its 32 or 64 bytes in base64"
        }
        _ => {
            "make one with `echo \"whsec_$(openssl rand -base64 32)\"`, and configure it in the app too"
        }
    }
}

pub(super) static SIGN_UPSTREAM: KeyDefinition = KeyDefinition {
    name: "sign_upstream",
    kind: ValueKind::OneOrMore(&ValueKind::Either(
        &ValueKind::Text,
        &ValueKind::Table(&secrets::SECTION),
    )),
    default: None,
    example: "{ credential = \"to-app\" }",
    doc: "Keys with which hookgate signs forwarded requests according to Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`). `whsec_` keys make `v1` signatures; Ed25519 keys (`whsk_`) make `v1a` signatures. To rotate a key, list the old and the new one.",
};
