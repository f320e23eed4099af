//! Metrics of requests on their way through the gate, and of the connections below them.

use crate::record::metric_table::row::{MetricRow, counter, gauge, histogram};

/// Rows of this file.
pub(super) static ROWS: &[&MetricRow] = &[
    &REQUESTS,
    &REQUEST_BODY_BYTES,
    &LIMITER_DROPS,
    &DEDUP_HITS,
    &REPLAYED_BODIES,
    &REQUEST_STAGE_SECONDS,
    &UPSTREAM_ANSWERS,
    &STORED_EVENTS,
    &FORWARD_ERRORS,
    &REQUESTS_IN_FLIGHT,
    &BUDGET_SOURCES,
    &LIMITER_SOURCES,
    &DEDUP_ENTRIES,
    &DEDUP_EVICTED,
    &UPSTREAM_CONNECTIONS_OPEN,
    &CONNECTIONS_OPEN,
    &CONNECTIONS_ACCEPTED,
    &ACCEPT_FAILURES,
    &IDLE_CONNECTIONS_CLOSED,
    &CONNECTIONS_REFUSED,
    &TLS_HANDSHAKES,
    &PROTOCOL_CONNECTIONS,
    &CONNECTIONS_CUT,
];

pub(crate) static REQUESTS: MetricRow = counter(
    "hookgate_requests",
    &["route", "verdict", "reason"],
    "Requests by verdict and reason",
);

pub(crate) static REQUEST_BODY_BYTES: MetricRow = counter(
    "hookgate_request_body_bytes",
    &["route"],
    "Bytes of request bodies that the gate read",
);

pub(crate) static LIMITER_DROPS: MetricRow = counter(
    "hookgate_limiter_drops",
    &["route", "limiter"],
    "Requests rejected by a rate limit, by limiter",
);

pub(crate) static DEDUP_HITS: MetricRow = counter(
    "hookgate_dedup_hits",
    &["route", "outcome"],
    "Requests for an event that was already spent or in flight, by outcome",
);

pub(crate) static REPLAYED_BODIES: MetricRow = counter(
    "hookgate_replayed_bodies",
    &["route", "outcome"],
    "Requests whose signed bytes the upstream had already accepted under another dedup key, by outcome",
);

pub(crate) static REQUEST_STAGE_SECONDS: MetricRow = histogram(
    "hookgate_request_stage_seconds",
    &["route", "stage"],
    "Duration of each stage of a request, for requests that reached the stage",
);

pub(crate) static UPSTREAM_ANSWERS: MetricRow = counter(
    "hookgate_upstream_answers",
    &["route", "status"],
    "Responses of the upstream, by status class",
);

pub(crate) static STORED_EVENTS: MetricRow = counter(
    "hookgate_stored_events",
    &["route"],
    "Events committed to the store",
);

pub(crate) static FORWARD_ERRORS: MetricRow = counter(
    "hookgate_forward_errors",
    &["route", "kind"],
    "Events that could not be forwarded to the upstream, by kind of error",
);

pub(crate) static REQUESTS_IN_FLIGHT: MetricRow =
    gauge("hookgate_requests_in_flight", &[], "Requests in flight.");

pub(crate) static BUDGET_SOURCES: MetricRow = gauge(
    "hookgate_budget_sources",
    &[],
    "Sources with unverified requests in flight, or with a budget that is not full again.",
);

pub(crate) static LIMITER_SOURCES: MetricRow = gauge(
    "hookgate_limiter_sources",
    &[],
    "Sources that the per-source rate limit tracks.",
);

pub(crate) static DEDUP_ENTRIES: MetricRow = gauge(
    "hookgate_dedup_entries",
    &[],
    "Dedup keys of spent events in memory: one for each event, or two if the id is not signed.",
);

pub(crate) static DEDUP_EVICTED: MetricRow = counter(
    "hookgate_dedup_evicted",
    &[],
    "Dedup keys of spent events that were dropped before their window was over, because `max_entries` was reached.",
);

pub(crate) static UPSTREAM_CONNECTIONS_OPEN: MetricRow = gauge(
    "hookgate_upstream_connections_open",
    &[],
    "Open connections to upstreams, including idle ones.",
);

pub(crate) static CONNECTIONS_OPEN: MetricRow = gauge(
    "hookgate_connections_open",
    &[],
    "Connections that are currently open",
);

pub(crate) static CONNECTIONS_ACCEPTED: MetricRow = counter(
    "hookgate_connections_accepted",
    &[],
    "Connections accepted, including those rejected right afterwards",
);

pub(crate) static ACCEPT_FAILURES: MetricRow = counter(
    "hookgate_accept_failures",
    &[],
    "Errors of the accept call itself, such as too many open files",
);

pub(crate) static IDLE_CONNECTIONS_CLOSED: MetricRow = counter(
    "hookgate_idle_connections_closed",
    &[],
    "Idle connections closed because no request arrived",
);

pub(crate) static CONNECTIONS_REFUSED: MetricRow = counter(
    "hookgate_connections_refused",
    &["reason"],
    "Connections rejected before the first byte of a request was read, by reason",
);

pub(crate) static TLS_HANDSHAKES: MetricRow = counter(
    "hookgate_tls_handshakes",
    &["outcome"],
    "TLS handshakes, by outcome",
);

pub(crate) static PROTOCOL_CONNECTIONS: MetricRow = counter(
    "hookgate_protocol_connections",
    &["version"],
    "Connections that reached HTTP, by HTTP version",
);

pub(crate) static CONNECTIONS_CUT: MetricRow = counter(
    "hookgate_connections_cut",
    &["reason"],
    "Connections closed by the gate for what the client sent or did not read, by reason",
);
