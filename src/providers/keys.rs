//! The keys of a provider file, one row each.

use crate::document::key::{Key, Kind};
use crate::scheme::parse;

pub(super) static ID: Key = Key {
    name: "id",
    kind: Kind::Text,
    default: None,
    example: "\"stripe\"",
    doc: "Lower-case words joined by underscores; also the name of the file.",
};

pub(super) static NAME: Key = Key {
    name: "name",
    kind: Kind::Text,
    default: None,
    example: "\"Stripe\"",
    doc: "The name for people.",
};

pub(super) static DOCS: Key = Key {
    name: "docs",
    kind: Kind::Text,
    default: None,
    example: "\"https://docs.stripe.com/webhooks\"",
    doc: "Where the provider documents its signatures.",
};

pub(super) static TOLERANCE: Key = Key {
    name: "tolerance",
    kind: Kind::Duration,
    default: Some("\"5m\""),
    example: "\"5m\"",
    doc: "How far a signed timestamp may be from now.",
};

pub(super) static RETRY_HORIZON: Key = Key {
    name: "retry_horizon",
    kind: Kind::Duration,
    default: None,
    example: "\"3d\"",
    doc: "How long the provider goes on retrying.",
};

pub(super) static CHALLENGE: Key = Key {
    name: "challenge",
    kind: Kind::Text,
    default: None,
    example: "\"slack_url_verification\"",
    doc: "The provider's URL check.",
};

pub(super) static SCHEME: Key = Key {
    name: "scheme",
    kind: Kind::Table(&parse::keys::SECTION),
    default: None,
    example: "{ type = \"token\", token = { header = \"X-Token\" } }",
    doc: "How it signs.",
};

pub(super) static IP_RANGES: Key = Key {
    name: "ip_ranges",
    kind: Kind::Text,
    default: None,
    example: "{ read = \"2026-01-31\", url = \"https://example.com\", cidrs = [\"192.0.2.0/24\"] }",
    doc: "The addresses that it publishes, with the day on which they were read and the page.",
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
    doc: "Where the ranges are published.",
};

pub(super) static CIDRS: Key = Key {
    name: "cidrs",
    kind: Kind::List(&Kind::Network),
    default: None,
    example: "[\"192.0.2.0/24\"]",
    doc: "The ranges.",
};

pub(super) static SETUP: Key = Key {
    name: "setup",
    kind: Kind::Text,
    default: None,
    example: "\"Developers > Webhooks > Add endpoint; the secret is shown as `Signing secret`.\"",
    doc: "What to enter at the provider, and where its secret is found.",
};

pub(super) static PROOF: Key = Key {
    name: "proof",
    kind: Kind::Choice(&["documentation only"]),
    default: Some("a vector that somebody else made"),
    example: "\"documentation only\"",
    doc: "Where no vector of somebody else's could be found.",
};

pub(super) static STRICTER: Key = Key {
    name: "stricter",
    kind: Kind::List(&Kind::Text),
    default: None,
    example: "[\"The SDK accepts future timestamps; they are refused here.\"]",
    doc: "Where the provider's own library takes what is refused here.",
};

pub(super) static UNSIGNED: Key = Key {
    name: "unsigned",
    kind: Kind::List(&Kind::Text),
    default: None,
    example: "[\"the event id (`X-Acme-Id`)\"]",
    doc: "What the signature does not cover, beyond what the scheme tells by itself.",
};

pub(super) static RETRIES: Key = Key {
    name: "retries",
    kind: Kind::Text,
    default: None,
    example: "{ timeout = \"10s\", attempts = 8 }",
    doc: "How it tries again.",
};

pub(super) static TIMEOUT: Key = Key {
    name: "timeout",
    kind: Kind::Duration,
    default: None,
    example: "\"10s\"",
    doc: "How long it waits for an answer.",
};

pub(super) static ATTEMPTS: Key = Key {
    name: "attempts",
    kind: Kind::Count,
    default: None,
    example: "8",
    doc: "Attempts in all, the first one included.",
};

pub(super) static STOPS: Key = Key {
    name: "stops",
    kind: Kind::Text,
    default: None,
    example: "\"410 stops it; 20 failures disable the endpoint\"",
    doc: "What ends the attempts, and what disables the endpoint.",
};

pub(super) static SOURCE: Key = Key {
    name: "source",
    kind: Kind::Text,
    default: None,
    example: "\"https://example.com/docs/retries\"",
    doc: "Where this is from.",
};

pub(super) static OVERRIDES: Key = Key {
    name: "overrides",
    kind: Kind::Text,
    default: None,
    example: "{ event_id = { json = \"/id\" } }",
    doc: "Fields of the event that stand elsewhere than in the scheme that is taken over.",
};

pub(super) static VECTORS: Key = Key {
    name: "vectors",
    kind: Kind::Text,
    default: None,
    example: "[[vectors]]",
    doc: "Requests that the provider, its library or its documentation signed; run by the tests.",
};

pub(super) static POINTER: Key = Key {
    name: "pointer",
    kind: Kind::OneOrMore(&Kind::Text),
    default: None,
    example: "\"/prefixes/*/ipv4Prefix\"",
    doc: "Where the ranges stand in the JSON at `url`; `*` stands for each element.",
};

pub(super) static LINES: Key = Key {
    name: "lines",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "The text at `url` has one range a line.",
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
    doc: "Names one event, and is equal in its retries.",
};

pub(super) static RETRIES_RESIGN: Key = Key {
    name: "retries_resign",
    kind: Kind::Text,
    default: None,
    example: "{ value = \"yes\", source = \"https://example.com\" }",
    doc: "Whether a retry carries a new timestamp, signature or id.",
};

pub(super) static RESPONSE: Key = Key {
    name: "response",
    kind: Kind::Text,
    default: None,
    example: "{ value = \"ignored\", source = \"https://example.com\" }",
    doc: "Whether the sender uses the body of the response.",
};

pub(super) static TENANT: Key = Key {
    name: "tenant",
    kind: Kind::Text,
    default: None,
    example: "{ value = \"customer\", source = \"https://example.com\" }",
    doc: "Whether the signing key belongs to one customer, or signs for all of them.",
};

pub(super) static BATCH: Key = Key {
    name: "batch",
    kind: Kind::Text,
    default: None,
    example: "{ elements = \"/events/*\", type = \"/type\", source = \"https://example.com\" }",
    doc: "The events of a body that can hold several.",
};

pub(super) static MAX_BODY: Key = Key {
    name: "max_body",
    kind: Kind::Text,
    default: None,
    example: "{ value = \"25 MiB\", source = \"https://example.com\" }",
    doc: "The largest body that the sender documents; the default of a route.",
};

pub(super) static VALUE: Key = Key {
    name: "value",
    kind: Kind::Text,
    default: None,
    example: "\"yes\"",
    doc: "The fact.",
};

pub(super) static PLACE: Key = Key {
    name: "place",
    kind: Kind::Text,
    default: None,
    example: "{ header = \"X-Acme-Account\" }",
    doc: "The signed location that names the customer.",
};

pub(super) static SAMPLES: Key = Key {
    name: "samples",
    kind: Kind::Text,
    default: None,
    example: "[[samples]]",
    doc: "Different genuine events, without signatures; the tests sign them.",
};

pub(super) static TYPES: Key = Key {
    name: "types",
    kind: Kind::Text,
    default: None,
    example: "[\"authorization.*\"]",
    doc: "The types of events whose response the sender uses; absent: any.",
};
