//! Events and attempts as JSON, one line of an export.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value, json};

use crate::store::rows::StoredEvent;
use crate::store::search::AttemptRow;

/// Returns the fields of an event, without its deliveries.
pub(in crate::store) fn event_fields(event: &StoredEvent) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    put("uid", event.uid.to_string().into());
    put("route", event.route.as_str().into());
    put("provider", event.provider.as_str().into());
    put(
        "event_id",
        event.event_id.as_ref().map(|id| id.as_str()).into(),
    );
    put("event_type", event.event_type.as_deref().into());
    put("webhook_id", event.webhook_id.as_str().into());
    put("received_ms", event.received_ms.into());
    put("source", event.source.to_string().into());
    put("is_tls", event.is_tls.into());
    put("method", event.method.as_str().into());
    put("target", event.target.as_str().into());
    put("host", event.host.as_deref().into());
    let headers: Vec<Value> = event
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    put("headers", headers.into());
    put("digest", HEXLOWER.encode(&event.digest).into());
    match &event.body {
        None => {
            put("body", Value::Null);
        }
        Some(body) => put_bytes(&mut fields, "body", body),
    }
    fields
}

/// Adds bytes as text if they are UTF-8, otherwise in base64 under the key `..._base64`.
pub(in crate::store) fn put_bytes(fields: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => fields.insert(key.to_owned(), text.into()),
        Err(_) => fields.insert(format!("{key}_base64"), BASE64.encode(bytes).into()),
    };
}

/// Returns an attempt as JSON.
pub(in crate::store) fn attempt_value(row: AttemptRow) -> Value {
    let (error, detail) = row.record.error.unzip();
    let mut fields = Map::new();
    put_bytes(&mut fields, "answer", &row.record.response_start);
    let mut line = json!({
        "number": row.number,
        "started_ms": row.record.started_ms,
        "duration_ms": row.record.duration_ms,
        "status": row.record.status,
        "error": error,
        "detail": detail,
    });
    if let Some(object) = line.as_object_mut() {
        object.append(&mut fields);
    }
    line
}
