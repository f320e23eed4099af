//! Checked values of `[log]` and `[telemetry]`.

use hookgate_verify::document::value::choice_word;
use http::{HeaderName, HeaderValue, Uri};

/// Settings of `[log]`: format and level.
pub struct LogSection {
    /// `format`: the format of log lines.
    pub format: LogFormat,
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// Logs a line for each accepted request.
    pub accepted: bool,
}

/// Settings of `[telemetry]`: the trace exporter.
#[derive(Clone, PartialEq)]
pub struct TelemetrySection {
    /// `otlp`, with the path for traces appended.
    pub url: Uri,
    /// `sample`: share of traced requests, 0.0 to 1.0.
    pub sample: f64,
    /// `service_name`: the name of the service in traces.
    pub service: String,
    /// `headers`: extra headers for the collector.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Format of log lines (`format`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Text on a terminal; journald if stderr is its stream; else JSON.
    Auto,
    /// Text for people to read.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("auto", Self::Auto),
        ("text", Self::Text),
        ("json", Self::Json),
    ];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}
