//! The keys of a provider file: one row of documentation for each.

use crate::document::key::{KeyDefinition, ValueKind};
use crate::scheme::parse;

pub(super) static ID: KeyDefinition = KeyDefinition {
    name: "id",
    kind: ValueKind::Text,
    default: None,
    example: "\"stripe\"",
    doc: "The id of the provider: lower-case words joined by underscores. Also the name of the file.",
};

pub(super) static NAME: KeyDefinition = KeyDefinition {
    name: "name",
    kind: ValueKind::Text,
    default: None,
    example: "\"Stripe\"",
    doc: "The display name of the provider.",
};

pub(super) static DOCS: KeyDefinition = KeyDefinition {
    name: "docs",
    kind: ValueKind::Text,
    default: None,
    example: "\"https://docs.stripe.com/webhooks\"",
    doc: "URL of the provider's documentation of its signatures.",
};

pub(super) static TOLERANCE: KeyDefinition = KeyDefinition {
    name: "tolerance",
    kind: ValueKind::Duration,
    default: Some("\"5m\""),
    example: "\"5m\"",
    doc: "Largest difference between a signed timestamp and the clock.",
};

pub(super) static RETRY_HORIZON: KeyDefinition = KeyDefinition {
    name: "retry_horizon",
    kind: ValueKind::Duration,
    default: None,
    example: "\"3d\"",
    doc: "Time for which the provider retries.",
};

pub(super) static CHALLENGE: KeyDefinition = KeyDefinition {
    name: "challenge",
    kind: ValueKind::Text,
    default: None,
    example: "\"slack_url_verification\"",
    doc: "The URL check that the provider makes.",
};

pub(super) static SCHEME: KeyDefinition = KeyDefinition {
    name: "scheme",
    kind: ValueKind::Table(&parse::keys::SECTION),
    default: None,
    example: "{ type = \"token\", token = { header = \"X-Token\" } }",
    doc: "The signature scheme, or the id of a provider whose scheme is used.",
};

pub(super) static IP_RANGES: KeyDefinition = KeyDefinition {
    name: "ip_ranges",
    kind: ValueKind::Text,
    default: None,
    example: "{ read = \"2026-01-31\", url = \"https://example.com\", cidrs = [\"192.0.2.0/24\"] }",
    doc: "The published source addresses, with their page and the day on which they were read.",
};

pub(super) static READ: KeyDefinition = KeyDefinition {
    name: "read",
    kind: ValueKind::Text,
    default: None,
    example: "\"2026-01-31\"",
    doc: "The day on which the ranges were read.",
};

pub(super) static URL: KeyDefinition = KeyDefinition {
    name: "url",
    kind: ValueKind::Text,
    default: None,
    example: "\"https://example.com/ips\"",
    doc: "URL at which the ranges are published.",
};

pub(super) static CIDRS: KeyDefinition = KeyDefinition {
    name: "cidrs",
    kind: ValueKind::List(&ValueKind::Network),
    default: None,
    example: "[\"192.0.2.0/24\"]",
    doc: "The published ranges.",
};

pub(super) static SETUP: KeyDefinition = KeyDefinition {
    name: "setup",
    kind: ValueKind::Text,
    default: None,
    example: "\"Developers > Webhooks > Add endpoint; the secret is shown as `Signing secret`.\"",
    doc: "Settings to enter at the provider, and where to find the secret.",
};

pub(super) static PROOF: KeyDefinition = KeyDefinition {
    name: "proof",
    kind: ValueKind::Choice(&["documentation only"]),
    default: Some("a third-party vector"),
    example: "\"documentation only\"",
    doc: "Set if no third-party vector could be found.",
};

pub(super) static STRICTER: KeyDefinition = KeyDefinition {
    name: "stricter",
    kind: ValueKind::List(&ValueKind::Text),
    default: None,
    example: "[\"The SDK accepts future timestamps; they are refused here.\"]",
    doc: "Requests that the provider's own library accepts and hookgate rejects.",
};

pub(super) static UNSIGNED: KeyDefinition = KeyDefinition {
    name: "unsigned",
    kind: ValueKind::List(&ValueKind::Text),
    default: None,
    example: "[\"the event id (`X-Acme-Id`)\"]",
    doc: "Values that the signature does not cover, besides those that follow from the scheme.",
};

pub(super) static RETRIES: KeyDefinition = KeyDefinition {
    name: "retries",
    kind: ValueKind::Text,
    default: None,
    example: "{ timeout = \"10s\", attempts = 8 }",
    doc: "The documented retries.",
};

pub(super) static TIMEOUT: KeyDefinition = KeyDefinition {
    name: "timeout",
    kind: ValueKind::Duration,
    default: None,
    example: "\"10s\"",
    doc: "Time that the provider waits for a response.",
};

pub(super) static ATTEMPTS: KeyDefinition = KeyDefinition {
    name: "attempts",
    kind: ValueKind::Count,
    default: None,
    example: "8",
    doc: "Number of attempts, including the first.",
};

pub(super) static STOPS: KeyDefinition = KeyDefinition {
    name: "stops",
    kind: ValueKind::Text,
    default: None,
    example: "\"410 stops it; 20 failures disable the endpoint\"",
    doc: "Responses and conditions that end the attempts or disable the endpoint.",
};

pub(super) static SOURCE: KeyDefinition = KeyDefinition {
    name: "source",
    kind: ValueKind::Text,
    default: None,
    example: "\"https://example.com/docs/retries\"",
    doc: "The page, sample or package that shows the fact.",
};

pub(super) static OVERRIDES: KeyDefinition = KeyDefinition {
    name: "overrides",
    kind: ValueKind::Text,
    default: None,
    example: "{ event_id = { json = \"/id\" } }",
    doc: "Event fields whose location differs from the scheme that `scheme` names.",
};

pub(super) static VECTORS: KeyDefinition = KeyDefinition {
    name: "vectors",
    kind: ValueKind::Text,
    default: None,
    example: "[[vectors]]",
    doc: "Requests signed by the provider, its library or its documentation. The tests verify them.",
};

pub(super) static POINTER: KeyDefinition = KeyDefinition {
    name: "pointer",
    kind: ValueKind::OneOrMore(&ValueKind::Text),
    default: None,
    example: "\"/prefixes/*/ipv4Prefix\"",
    doc: "JSON pointers to the ranges in the response of `url`; `*` matches each element.",
};

pub(super) static LINES: KeyDefinition = KeyDefinition {
    name: "lines",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "The text at `url` has one range per line.",
};

pub(super) static IDENTITY: KeyDefinition = KeyDefinition {
    name: "identity",
    kind: ValueKind::Text,
    default: None,
    example: "{ key = { ... }, retries_resign = { ... }, response = { ... }, tenant = { ... } }",
    doc: "Facts about the events of the sender, each with its source.",
};

pub(super) static KEY: KeyDefinition = KeyDefinition {
    name: "key",
    kind: ValueKind::Text,
    default: None,
    example: "{ header = \"X-Acme-Id\", source = \"https://example.com\" }",
    doc: "The dedup key: names one event, and is equal in its retries.",
};

pub(super) static RETRIES_RESIGN: KeyDefinition = KeyDefinition {
    name: "retries_resign",
    kind: ValueKind::Text,
    default: None,
    example: "{ value = \"yes\", source = \"https://example.com\" }",
    doc: "Says whether a retry has a new timestamp, signature or id.",
};

pub(super) static RESPONSE: KeyDefinition = KeyDefinition {
    name: "response",
    kind: ValueKind::Text,
    default: None,
    example: "{ value = \"ignored\", source = \"https://example.com\" }",
    doc: "Says whether the sender uses the body of the response.",
};

pub(super) static TENANT: KeyDefinition = KeyDefinition {
    name: "tenant",
    kind: ValueKind::Text,
    default: None,
    example: "{ value = \"customer\", source = \"https://example.com\" }",
    doc: "Says whether the signing key belongs to one customer or signs for all customers.",
};

pub(super) static BATCH: KeyDefinition = KeyDefinition {
    name: "batch",
    kind: ValueKind::Text,
    default: None,
    example: "{ elements = \"/events/*\", type = \"/type\", source = \"https://example.com\" }",
    doc: "Location of the events in a body that can hold several.",
};

pub(super) static MAX_BODY: KeyDefinition = KeyDefinition {
    name: "max_body",
    kind: ValueKind::Text,
    default: None,
    example: "{ value = \"25 MiB\", source = \"https://example.com\" }",
    doc: "The largest body that the sender documents; the default of a route's `max_body`.",
};

pub(super) static VALUE: KeyDefinition = KeyDefinition {
    name: "value",
    kind: ValueKind::Text,
    default: None,
    example: "\"yes\"",
    doc: "The value of the fact.",
};

pub(super) static PLACE: KeyDefinition = KeyDefinition {
    name: "place",
    kind: ValueKind::Text,
    default: None,
    example: "{ header = \"X-Acme-Account\" }",
    doc: "The signed location of the tenant.",
};

pub(super) static SAMPLES: KeyDefinition = KeyDefinition {
    name: "samples",
    kind: ValueKind::Text,
    default: None,
    example: "[[samples]]",
    doc: "Different genuine events without signatures. The tests sign them.",
};

pub(super) static TYPES: KeyDefinition = KeyDefinition {
    name: "types",
    kind: ValueKind::Text,
    default: None,
    example: "[\"authorization.*\"]",
    doc: "Event types whose response the sender uses. If absent: all types.",
};
