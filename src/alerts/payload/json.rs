//! Plain JSON for programs, in the shape that Standard Webhooks recommends: type, timestamp, data.

use serde_json::{Value as Json, json};

use crate::alerts::book::AlertNote;
use crate::alerts::message::AlertMessage;
use crate::alerts::text::moment_rfc3339;

/// Most alerts of a message. The others are counted.
const MAX_ALERTS: usize = 200;

pub(in crate::alerts) fn payload(message: &AlertMessage, host: &str) -> Json {
    let kind = match message.is_test {
        true => "alerts.test",
        false => "alerts.changed",
    };
    let alerts: Vec<_> = message.notes.iter().take(MAX_ALERTS).map(alert).collect();
    json!({
        "type": kind,
        "timestamp": moment_rfc3339(message.at_ms),
        "data": {
            "host": host,
            "title": message.title(host),
            "left_out": message.notes.len().saturating_sub(MAX_ALERTS),
            "alerts": alerts,
        },
    })
}

fn alert(note: &AlertNote) -> Json {
    let alert = &note.alert;
    json!({
        "id": alert.id,
        "change": note.change,
        "condition": alert.kind,
        "subject": alert.subject,
        "text": alert.text,
        "level": alert.level,
        "since": moment_rfc3339(alert.since_ms),
        "at": moment_rfc3339(note.at_ms),
        "acknowledged_by": alert.acknowledged.as_ref().map(|known| &known.by),
    })
}
