//! `[telemetry]`: export of traces to an OpenTelemetry collector.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::secret::Secret;
use http::{HeaderName, HeaderValue, Uri};

use crate::config::load_context::LoadContext;
use crate::config::model::TelemetrySection;
use crate::config::secrets;

/// Path of the signal for traces below the collector's URL, as OTLP over HTTP defines it.
pub(super) const TRACES_PATH: &str = "/v1/traces";

/// Reads the section; returns `None` if it has no valid URL.
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> Option<TelemetrySection> {
    let otlp = table.require(&OTLP, value::http_url);
    let sample = table.read(&SAMPLE, |value| value::number(value, 0.0, 1.0));
    let service = table.read(&SERVICE, value::text);
    let mut headers = Vec::new();
    for (name, value) in table.named_values(&HEADERS) {
        let Some(secret) = secrets::read_header(name, &value, context) else {
            continue;
        };
        let checked = value.check(|_| header(name, &secret));
        headers.extend(checked.map(|placed| placed.value));
    }
    table.deny_unknown();
    Some(TelemetrySection {
        url: traces(&otlp?.value)?,
        sample: sample.unwrap_or(1.0),
        service: service.unwrap_or_else(|| "hookgate".to_owned()),
        headers,
    })
}

/// Returns the URL for traces below the collector's URL.
fn traces(base: &Uri) -> Option<Uri> {
    let path = format!("{}{TRACES_PATH}", base.path().trim_end_matches('/'));
    // The operator configures the base URL as for other OTLP exporters; the path of the signal is appended.
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn header(name: &str, secret: &Secret) -> Result<(HeaderName, HeaderValue), ValueFault> {
    let wrong = |what: &str| ValueFault::new(format!("`{name}` {what}"), HEADERS.example);
    let name: HeaderName = name
        .parse()
        .map_err(|_| wrong("is not a valid header name"))?;
    // The exporter sets these headers for each request, so a configured value would break it.
    let is_ours = [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
    ];
    if is_ours.contains(&name.as_str()) {
        return Err(wrong("is set by hookgate itself"));
    }
    let value = secrets::header_value(secret);
    let value =
        value.ok_or_else(|| wrong("has a value with characters that no header may contain"))?;
    Ok((name, value))
}

/// Keys of the `[telemetry]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "telemetry",
    doc: "Export of traces of requests, deliveries and attempts, by OTLP over HTTP. Without this section tracing is off and costs nothing.",
    keys: &[&OTLP, &SAMPLE, &SERVICE, &HEADERS],
    required: &["otlp"],
    one_of: &[],
};

pub(super) static OTLP: KeyDefinition = KeyDefinition {
    name: "otlp",
    kind: ValueKind::Text,
    default: None,
    example: "\"http://127.0.0.1:4318\"",
    doc: "URL of the collector, to which `/v1/traces` is appended. Traces that it does not accept are dropped and counted.",
};

pub(super) static SAMPLE: KeyDefinition = KeyDefinition {
    name: "sample",
    kind: ValueKind::Number,
    default: Some("1.0"),
    example: "0.1",
    doc: "Share of requests to trace, from 0 to 1. For continued traces (`continue_trace` of a route) the sender decides.",
};

pub(super) static SERVICE: KeyDefinition = KeyDefinition {
    name: "service_name",
    kind: ValueKind::Text,
    default: Some("\"hookgate\""),
    example: "\"hookgate-eu\"",
    doc: "Name of the service in traces (`service.name`).",
};

pub(super) static HEADERS: KeyDefinition = KeyDefinition {
    name: "headers",
    kind: ValueKind::Map(&secrets::HEADER_VALUE),
    default: None,
    example: "{ x-api-key = { credential = \"collector\" } }",
    doc: "Headers for requests to the collector. Each value is a string, or a table with its source, as for a secret.",
};
