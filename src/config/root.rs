//! The keys at the root of the file: one for each section.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};

use crate::config::{
    admin, alerts, egress_proxy, include, log, route, server, store, telemetry, tls, watch,
};

/// The table at the root of the file.
pub(super) static ROOT: SectionDefinition = SectionDefinition {
    path: "",
    doc: "Keys and sections of the file. `include` and `egress_proxy` as bare keys must precede all sections.",
    keys: &[
        &include::INCLUDE,
        &SERVER,
        &TLS,
        &ADMIN,
        &STORE,
        &LOG,
        &TELEMETRY,
        &egress_proxy::EGRESS_PROXY,
        &ALERTS,
        &WATCH,
        &ROUTES,
    ],
    required: &["routes"],
    one_of: &[],
};

pub(super) static SERVER: KeyDefinition = KeyDefinition {
    name: "server",
    kind: ValueKind::Table(&server::SECTION),
    default: None,
    example: "{ listen = [\"0.0.0.0:443\"] }",
    doc: "Addresses to listen on, and limits for clients.",
};

pub(super) static TLS: KeyDefinition = KeyDefinition {
    name: "tls",
    kind: ValueKind::Table(&tls::SECTION),
    default: None,
    example: "{ cert = \"fullchain.pem\", key = \"privkey.pem\" }",
    doc: "TLS certificates and protocol versions of the listeners.",
};

pub(super) static ADMIN: KeyDefinition = KeyDefinition {
    name: "admin",
    kind: ValueKind::Table(&admin::SECTION),
    default: None,
    example: "{ listen = \"127.0.0.1:9180\" }",
    doc: "The admin listener: metrics, health checks, the admin API and the console.",
};

pub(super) static STORE: KeyDefinition = KeyDefinition {
    name: "store",
    kind: ValueKind::Table(&store::SECTION),
    default: None,
    example: "{ url = \"sqlite:/var/lib/hookgate/hookgate.db\" }",
    doc: "The database that stores accepted events.",
};

pub(super) static LOG: KeyDefinition = KeyDefinition {
    name: "log",
    kind: ValueKind::Table(&log::SECTION),
    default: None,
    example: "{ format = \"json\" }",
    doc: "Format and level of the logs.",
};

pub(super) static TELEMETRY: KeyDefinition = KeyDefinition {
    name: "telemetry",
    kind: ValueKind::Table(&telemetry::SECTION),
    default: None,
    example: "{ otlp = \"http://127.0.0.1:4318\" }",
    doc: "Export of traces to an OpenTelemetry collector.",
};

pub(super) static ALERTS: KeyDefinition = KeyDefinition {
    name: "alerts",
    kind: ValueKind::Named(&alerts::SECTION),
    default: None,
    example: "{ team = { type = \"slack\", url = { credential = \"slack-webhook\" } } }",
    doc: "Receivers of alerts, named by you.",
};

pub(super) static WATCH: KeyDefinition = KeyDefinition {
    name: "watch",
    kind: ValueKind::Table(&watch::SECTION),
    default: None,
    example: "{ backlog_age = \"30m\" }",
    doc: "What counts as a problem.",
};

pub(super) static ROUTES: KeyDefinition = KeyDefinition {
    name: "routes",
    kind: ValueKind::Named(&route::SECTION),
    default: None,
    example: "{ stripe = { path = \"/stripe\", provider = \"stripe\", secret = { credential = \"stripe\" }, upstream = \"http://127.0.0.1:8080/\" } }",
    doc: "One table per webhook endpoint, named by you.",
};
