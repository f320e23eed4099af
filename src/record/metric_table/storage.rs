//! Metrics of stored events: deliveries, queues, replays, retention and the store itself.

use crate::record::metric_table::row::{MetricRow, counter, gauge, histogram};

/// Rows of this file.
pub(super) static ROWS: &[&MetricRow] = &[
    &DELIVERY_ATTEMPTS,
    &DELIVERIES,
    &DELIVERY_ATTEMPT_SECONDS,
    &DELIVERY_LAG_SECONDS,
    &DELIVERIES_IN_FLIGHT,
    &DESTINATION_BREAKER,
    &DESTINATION_PAUSED,
    &DESTINATION_DISABLED,
    &QUEUE_DELIVERIES,
    &QUEUE_OLDEST_AGE_SECONDS,
    &REPLAYS_OPEN,
    &REPLAY_DELIVERIES_LEFT,
    &RETENTION_EVENTS,
    &RETENTION_ATTEMPTS,
    &RETENTION_CLAIMS,
    &RETENTION_FREED_BYTES,
    &RETENTION_FAILURES,
    &STORE_HEALTHY,
    &STORE_MIN_FREE_BYTES,
    &STORE_MAX_SIZE_BYTES,
    &STORE_LOOKS_FAILED,
    &STORE_NODES,
    &STORE_EVENTS,
    &STORE_CLAIMS,
    &STORE_SIZE_BYTES,
    &STORE_SPARE_BYTES,
    &STORE_LOG_BYTES,
    &STORE_DISK_FREE_BYTES,
    &STORE_LOOK_TIMESTAMP_SECONDS,
    &STORE_GROUPS,
    &STORE_GROUPED,
    &STORE_CHECKPOINTS,
    &STORE_REOPENED,
    &STORE_WRITE_SECONDS,
];

pub(crate) static DELIVERY_ATTEMPTS: MetricRow = counter(
    "hookgate_delivery_attempts",
    &["route", "destination", "outcome"],
    "Delivery attempts by destination and outcome: the status class of the response, or the kind of error",
);

pub(crate) static DELIVERIES: MetricRow = counter(
    "hookgate_deliveries",
    &["route", "destination", "state"],
    "Delivery attempts by destination and the state of the delivery afterwards",
);

pub(crate) static DELIVERY_ATTEMPT_SECONDS: MetricRow = histogram(
    "hookgate_delivery_attempt_seconds",
    &["route", "destination"],
    "Duration of a delivery attempt, until the end of the response or the error",
);

pub(crate) static DELIVERY_LAG_SECONDS: MetricRow = histogram(
    "hookgate_delivery_lag_seconds",
    &["route", "destination"],
    "Time from the acceptance of an event to its delivery, without replays",
);

pub(crate) static DELIVERIES_IN_FLIGHT: MetricRow = gauge(
    "hookgate_deliveries_in_flight",
    &["route", "destination"],
    "In-flight delivery attempts, by destination",
);

pub(crate) static DESTINATION_BREAKER: MetricRow = gauge(
    "hookgate_destination_breaker",
    &["route", "destination"],
    "State of the destination's circuit breaker; 0: closed, 1: half open, 2: open",
);

pub(crate) static DESTINATION_PAUSED: MetricRow = gauge(
    "hookgate_destination_paused",
    &["route", "destination"],
    "1 if an operator paused the destination or its route; the same on all nodes of a store, so take the maximum",
);

pub(crate) static DESTINATION_DISABLED: MetricRow = gauge(
    "hookgate_destination_disabled",
    &["route", "destination"],
    "1 if the destination was disabled because it responded with 410; the same on all nodes of a store, so take the maximum",
);

pub(crate) static QUEUE_DELIVERIES: MetricRow = gauge(
    "hookgate_queue_deliveries",
    &["route", "destination", "state"],
    "Deliveries in the store by destination and state, without those that retention removed; the same on all nodes of a store, so take the maximum",
);

pub(crate) static QUEUE_OLDEST_AGE_SECONDS: MetricRow = gauge(
    "hookgate_queue_oldest_age_seconds",
    &["route", "destination"],
    "Age of the oldest pending delivery; 0 if no delivery is pending; the same on all nodes of a store, so take the maximum",
);

pub(crate) static REPLAYS_OPEN: MetricRow = gauge(
    "hookgate_replays_open",
    &["state"],
    "Replays that are not finished, by state; the same on all nodes of a store, so take the maximum",
);

pub(crate) static REPLAY_DELIVERIES_LEFT: MetricRow = gauge(
    "hookgate_replay_deliveries_left",
    &[],
    "Deliveries that open replays still have to make; the same on all nodes of a store, so take the maximum",
);

pub(crate) static RETENTION_EVENTS: MetricRow = counter(
    "hookgate_retention_events",
    &[],
    "Events that retention removed.",
);

pub(crate) static RETENTION_ATTEMPTS: MetricRow = counter(
    "hookgate_retention_attempts",
    &[],
    "Attempts that retention removed, without those of removed events.",
);

pub(crate) static RETENTION_CLAIMS: MetricRow = counter(
    "hookgate_retention_claims",
    &[],
    "Dedup keys of spent events that were removed from the store because their window was over.",
);

pub(crate) static RETENTION_FREED_BYTES: MetricRow = counter(
    "hookgate_retention_freed_bytes",
    &[],
    "Bytes that retention returned to the file system.",
);

pub(crate) static RETENTION_FAILURES: MetricRow = counter(
    "hookgate_retention_failures",
    &[],
    "Retention runs that failed.",
);

pub(crate) static STORE_HEALTHY: MetricRow = gauge(
    "hookgate_store_healthy",
    &[],
    "1 if the store accepts commits; 0: a write failed or the database is away, and the store is being reopened",
);

pub(crate) static STORE_MIN_FREE_BYTES: MetricRow = gauge(
    "hookgate_store_min_free_bytes",
    &[],
    "Minimum free space on the store's disk; below it no event is accepted (`min_free`); SQLite only",
);

pub(crate) static STORE_MAX_SIZE_BYTES: MetricRow = gauge(
    "hookgate_store_max_size_bytes",
    &[],
    "Maximum size of the store; beyond it no event is accepted (`max_size`)",
);

pub(crate) static STORE_LOOKS_FAILED: MetricRow = counter(
    "hookgate_store_looks_failed",
    &[],
    "Scrapes that could not query the store and show older values",
);

pub(crate) static STORE_NODES: MetricRow = gauge(
    "hookgate_store_nodes",
    &[],
    "Nodes that share the store and are alive, as this one sees it; 1 with an SQLite file",
);

pub(crate) static STORE_EVENTS: MetricRow = gauge(
    "hookgate_store_events",
    &[],
    "Events in the store; the same on all nodes of a store, so take the maximum",
);

pub(crate) static STORE_CLAIMS: MetricRow = gauge(
    "hookgate_store_claims",
    &[],
    "Dedup keys of spent events in the store; the same on all nodes of a store, so take the maximum",
);

pub(crate) static STORE_SIZE_BYTES: MetricRow = gauge(
    "hookgate_store_size_bytes",
    &[],
    "Size of the store's file and its write-ahead log, or of its tables in PostgreSQL; the same on all nodes of a store, so take the maximum",
);

pub(crate) static STORE_SPARE_BYTES: MetricRow = gauge(
    "hookgate_store_spare_bytes",
    &[],
    "Unused bytes in the store's file, which new rows use again; SQLite only",
);

pub(crate) static STORE_LOG_BYTES: MetricRow = gauge(
    "hookgate_store_log_bytes",
    &[],
    "Size of the write-ahead log, which checkpoints write back into the file; SQLite only",
);

pub(crate) static STORE_DISK_FREE_BYTES: MetricRow = gauge(
    "hookgate_store_disk_free_bytes",
    &[],
    "Free space on the store's disk; SQLite only",
);

pub(crate) static STORE_LOOK_TIMESTAMP_SECONDS: MetricRow = gauge(
    "hookgate_store_look_timestamp_seconds",
    &[],
    "Time at which these values were read from the store",
);

pub(crate) static STORE_GROUPS: MetricRow = counter(
    "hookgate_store_groups",
    &[],
    "Transactions of the store's writer",
);

pub(crate) static STORE_GROUPED: MetricRow = counter(
    "hookgate_store_grouped",
    &[],
    "Commits, claimed deliveries and outcomes in these transactions",
);

pub(crate) static STORE_CHECKPOINTS: MetricRow = counter(
    "hookgate_store_checkpoints",
    &[],
    "Checkpoints: the write-ahead log was written back into the file; SQLite only",
);

pub(crate) static STORE_REOPENED: MetricRow = counter(
    "hookgate_store_reopened",
    &[],
    "Times that the store was reopened after a failed write",
);

pub(crate) static STORE_WRITE_SECONDS: MetricRow = counter(
    "hookgate_store_write_seconds",
    &[],
    "Time that the writer spent on its transactions, until they were durable",
);
