//! `[telemetry]`: traces for a collector that speaks OTLP.

use http::{HeaderName, HeaderValue, Uri};

use crate::config::model::Telemetry;
use crate::config::{Context, secrets};
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table};
use crate::document::value;
use crate::model::secret::Secret;

/// Reads the section; none where it is wrong.
pub(super) fn read(mut table: Table<'_>, context: &Context) -> Option<Telemetry> {
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
    Some(Telemetry {
        url: traces(&otlp?.value)?,
        sample: sample.unwrap_or(1.0),
        service: service.unwrap_or_else(|| "hookgate".to_owned()),
        headers,
    })
}

/// Where traces go below the collector's URL, as OTLP has it.
fn traces(base: &Uri) -> Option<Uri> {
    let path = format!("{}/v1/traces", base.path().trim_end_matches('/'));
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn header(name: &str, secret: &Secret) -> Result<(HeaderName, HeaderValue), Fault> {
    let wrong = |what: &str| Fault::new(format!("`{name}` {what}"), HEADERS.example);
    let name: HeaderName = name.parse().map_err(|_| wrong("is not a header's name"))?;
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
    let value = HeaderValue::from_bytes(secret.expose());
    let mut value = value.map_err(|_| wrong("cannot have this value"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// `[telemetry]`.
pub(super) static SECTION: Section = Section {
    path: "telemetry",
    doc: "Traces of requests, deliveries and their attempts, sent by OTLP over HTTP. Without this section nothing is traced, and nothing is done for it.",
    keys: &[&OTLP, &SAMPLE, &SERVICE, &HEADERS],
    required: &["otlp"],
    one_of: &[],
};

static OTLP: Key = Key {
    name: "otlp",
    kind: Kind::Text,
    default: None,
    example: "\"http://127.0.0.1:4318\"",
    doc: "The collector's URL, to which `/v1/traces` is added. What it does not take is dropped and counted.",
};

static SAMPLE: Key = Key {
    name: "sample",
    kind: Kind::Number,
    default: Some("1.0"),
    example: "0.1",
    doc: "The share of requests that are traced, from 0 to 1. For a trace that is continued (`continue_trace` of a route) its sender decides.",
};

static SERVICE: Key = Key {
    name: "service_name",
    kind: Kind::Text,
    default: Some("\"hookgate\""),
    example: "\"hookgate-eu\"",
    doc: "`service.name` of the spans.",
};

static HEADERS: Key = Key {
    name: "headers",
    kind: Kind::Map(&secrets::HEADER_VALUE),
    default: None,
    example: "{ x-api-key = { credential = \"collector\" } }",
    doc: "Headers for the collector: each a text, or where it stands, as for a secret.",
};
