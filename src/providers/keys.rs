//! The keys of a provider file: one row of documentation for each.

use crate::document::key::{Key, Kind};
use crate::scheme::parse;

pub(super) static ID: Key = Key {
    name: "id",
    kind: Kind::Text,
    default: None,
    example: "\"stripe\"",
    doc: "The id of the provider: lower-case words joined by underscores. Also the name of the file.",
};

pub(super) static NAME: Key = Key {
    name: "name",
    kind: Kind::Text,
    default: None,
    example: "\"Stripe\"",
    doc: "The display name of the provider.",
};

pub(super) static DOCS: Key = Key {
    name: "docs",
    kind: Kind::Text,
    default: None,
    example: "\"https://docs.stripe.com/webhooks\"",
    doc: "URL of the provider's documentation of its signatures.",
};

pub(super) static TOLERANCE: Key = Key {
    name: "tolerance",
    kind: Kind::Duration,
    default: Some("\"5m\""),
    example: "\"5m\"",
    doc: "Largest difference between a signed timestamp and the clock.",
};

pub(super) static RETRY_HORIZON: Key = Key {
    name: "retry_horizon",
    kind: Kind::Duration,
    default: None,
    example: "\"3d\"",
    doc: "Time for which the provider retries.",
};

pub(super) static CHALLENGE: Key = Key {
    name: "challenge",
    kind: Kind::Text,
    default: None,
    example: "\"slack_url_verification\"",
    doc: "The URL check that the provider makes.",
};

pub(super) static SCHEME: Key = Key {
    name: "scheme",
    kind: Kind::Table(&parse::keys::SECTION),
    default: None,
    example: "{ type = \"token\", token = { header = \"X-Token\" } }",
    doc: "The signature scheme, or the id of a provider whose scheme is used.",
};

pub(super) static IP_RANGES: Key = Key {
    name: "ip_ranges",
    kind: Kind::Text,
    default: None,
    example: "{ read = \"2026-01-31\", url = \"https://example.com\", cidrs = [\"192.0.2.0/24\"] }",
    doc: "The published source addresses, with their page and the day on which they were read.",
};

pub(super) static READ: Key = Key {
    name: "read",
    kind: Kind::Text,
    default: None,
    example: "\"2026-01-31\"",
    doc: "The day on which the ranges were read.",
};

pub(super) static URL: Key = Key {
    name: "url",
    kind: Kind::Text,
    default: None,
    example: "\"https://example.com/ips\"",
    doc: "URL at which the ranges are published.",
};

pub(super) static CIDRS: Key = Key {
    name: "cidrs",
    kind: Kind::List(&Kind::Network),
    default: None,
    example: "[\"192.0.2.0/24\"]",
    doc: "The published ranges.",
};

pub(super) static SETUP: Key = Key {
    name: "setup",
    kind: Kind::Text,
    default: None,
    example: "\"Developers > Webhooks > Add endpoint; the secret is shown as `Signing secret`.\"",
    doc: "Settings to enter at the provider, and where to find the secret.",
};

pub(super) static PROOF: Key = Key {
    name: "proof",
    kind: Kind::Choice(&["documentation only"]),
    default: Some("a third-party vector"),
    example: "\"documentation only\"",
    doc: "Set if no third-party vector could be found.",
};

pub(super) static STRICTER: Key = Key {
    name: "stricter",
    kind: Kind::List(&Kind::Text),
    default: None,
    example: "[\"The SDK accepts future timestamps; they are refused here.\"]",
    doc: "Requests that the provider's own library accepts and hookgate rejects.",
};

pub(super) static UNSIGNED: Key = Key {
    name: "unsigned",
    kind: Kind::List(&Kind::Text),
    default: None,
    example: "[\"the event id (`X-Acme-Id`)\"]",
    doc: "Values that the signature does not cover, besides those that follow from the scheme.",
};

pub(super) static RETRIES: Key = Key {
    name: "retries",
    kind: Kind::Text,
    default: None,
    example: "{ timeout = \"10s\", attempts = 8 }",
    doc: "The documented retries.",
};

pub(super) static TIMEOUT: Key = Key {
    name: "timeout",
    kind: Kind::Duration,
    default: None,
    example: "\"10s\"",
    doc: "Time that the provider waits for a response.",
};

pub(super) static ATTEMPTS: Key = Key {
    name: "attempts",
    kind: Kind::Count,
    default: None,
    example: "8",
    doc: "Number of attempts, including the first.",
};

pub(super) static STOPS: Key = Key {
    name: "stops",
    kind: Kind::Text,
    default: None,
    example: "\"410 stops it; 20 failures disable the endpoint\"",
    doc: "Responses and conditions that end the attempts or disable the endpoint.",
};

pub(super) static SOURCE: Key = Key {
    name: "source",
    kind: Kind::Text,
    default: None,
    example: "\"https://example.com/docs/retries\"",
    doc: "The page, sample or package that shows the fact.",
};

pub(super) static OVERRIDES: Key = Key {
    name: "overrides",
    kind: Kind::Text,
    default: None,
    example: "{ event_id = { json = \"/id\" } }",
    doc: "Event fields whose location differs from the scheme that `scheme` names.",
};

pub(super) static VECTORS: Key = Key {
    name: "vectors",
    kind: Kind::Text,
    default: None,
    example: "[[vectors]]",
    doc: "Requests signed by the provider, its library or its documentation. The tests verify them.",
};

pub(super) static POINTER: Key = Key {
    name: "pointer",
    kind: Kind::OneOrMore(&Kind::Text),
    default: None,
    example: "\"/prefixes/*/ipv4Prefix\"",
    doc: "JSON pointers to the ranges in the response of `url`; `*` matches each element.",
};

pub(super) static LINES: Key = Key {
    name: "lines",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "The text at `url` has one range per line.",
};

pub(super) static IDENTITY: Key = Key {
    name: "identity",
    kind: Kind::Text,
    default: None,
    example: "{ key = { ... }, retries_resign = { ... }, response = { ... }, tenant = { ... } }",
    doc: "Facts about the events of the sender, each with its source.",
};

pub(super) static KEY: Key = Key {
    name: "key",
    kind: Kind::Text,
    default: None,
    example: "{ header = \"X-Acme-Id\", source = \"https://example.com\" }",
    doc: "The dedup key: names one event, and is equal in its retries.",
};

pub(super) static RETRIES_RESIGN: Key = Key {
    name: "retries_resign",
    kind: Kind::Text,
    default: None,
    example: "{ value = \"yes\", source = \"https://example.com\" }",
    doc: "Says whether a retry has a new timestamp, signature or id.",
};

pub(super) static RESPONSE: Key = Key {
    name: "response",
    kind: Kind::Text,
    default: None,
    example: "{ value = \"ignored\", source = \"https://example.com\" }",
    doc: "Says whether the sender uses the body of the response.",
};

pub(super) static TENANT: Key = Key {
    name: "tenant",
    kind: Kind::Text,
    default: None,
    example: "{ value = \"customer\", source = \"https://example.com\" }",
    doc: "Says whether the signing key belongs to one customer or signs for all customers.",
};

pub(super) static BATCH: Key = Key {
    name: "batch",
    kind: Kind::Text,
    default: None,
    example: "{ elements = \"/events/*\", type = \"/type\", source = \"https://example.com\" }",
    doc: "Location of the events in a body that can hold several.",
};

pub(super) static MAX_BODY: Key = Key {
    name: "max_body",
    kind: Kind::Text,
    default: None,
    example: "{ value = \"25 MiB\", source = \"https://example.com\" }",
    doc: "The largest body that the sender documents; the default of a route's `max_body`.",
};

pub(super) static VALUE: Key = Key {
    name: "value",
    kind: Kind::Text,
    default: None,
    example: "\"yes\"",
    doc: "The value of the fact.",
};

pub(super) static PLACE: Key = Key {
    name: "place",
    kind: Kind::Text,
    default: None,
    example: "{ header = \"X-Acme-Account\" }",
    doc: "The signed location of the tenant.",
};

pub(super) static SAMPLES: Key = Key {
    name: "samples",
    kind: Kind::Text,
    default: None,
    example: "[[samples]]",
    doc: "Different genuine events without signatures. The tests sign them.",
};

pub(super) static TYPES: Key = Key {
    name: "types",
    kind: Kind::Text,
    default: None,
    example: "[\"authorization.*\"]",
    doc: "Event types whose response the sender uses. If absent: all types.",
};
