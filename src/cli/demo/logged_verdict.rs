//! The verdict on a request, as the log of the demo's gate has it.

use serde_json::Value;

/// Verdict of one request, as the log line has it.
#[derive(Clone, Default)]
pub(super) struct LoggedVerdict {
    pub(super) verdict: String,
    pub(super) reason: Option<String>,
    pub(super) is_replayed_body: bool,
    pub(super) route: String,
    pub(super) status: u64,
}

impl LoggedVerdict {
    /// Reads a log line. Lines without a verdict, such as that of the start, are not about a request.
    pub(super) fn of(line: &Value) -> Option<Self> {
        let text = |key: &str| line.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            verdict: text("verdict")?,
            reason: text("reason"),
            is_replayed_body: line.get("replayed_body") == Some(&Value::Bool(true)),
            route: text("route").unwrap_or_default(),
            status: line
                .get("status")
                .and_then(Value::as_u64)
                .unwrap_or_default(),
        })
    }
}
