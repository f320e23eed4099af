//! Metrics of the gate as a program: config, certificates, log, admin listener, process.

use crate::record::metric_table::row::{MetricKind, MetricRow, counter, gauge, row};

/// Rows of this file.
pub(super) static ROWS: &[&MetricRow] = &[
    &ADMIN_REQUESTS,
    &ADMIN_TOKENS_REFUSED,
    &TRACE_SPANS,
    &CONFIG_RELOADS,
    &CONFIG_LOADED_TIMESTAMP_SECONDS,
    &CERTIFICATE_NOT_AFTER_TIMESTAMP_SECONDS,
    &CERTIFICATE_RENEWAL_TIMESTAMP_SECONDS,
    &CERTIFICATE_RENEWAL_FAILURES,
    &SECRET_UNTIL_TIMESTAMP_SECONDS,
    &IP_RANGES_READ_TIMESTAMP_SECONDS,
    &IP_RANGES_REFRESHES,
    &ALERTS_OPEN,
    &ALERT_MESSAGES,
    &LOG_LINES_DROPPED,
    &LOG_LINES_WITHHELD,
    &PANICS,
    &BUILD,
    &PROCESS_CPU_SECONDS,
    &PROCESS_MAX_FDS,
    &PROCESS_START_TIME_SECONDS,
    &PROCESS_RESIDENT_MEMORY_BYTES,
    &PROCESS_OPEN_FDS,
];

pub(crate) static ADMIN_REQUESTS: MetricRow = counter(
    "hookgate_admin_requests",
    &["resource", "status"],
    "Requests to the admin listener, by resource and status class",
);

pub(crate) static ADMIN_TOKENS_REFUSED: MetricRow = counter(
    "hookgate_admin_tokens_refused",
    &[],
    "Requests to the admin listener that were rejected with 401, for a missing or wrong token",
);

pub(crate) static TRACE_SPANS: MetricRow = counter(
    "hookgate_trace_spans",
    &["outcome"],
    "Trace spans by outcome: exported, or dropped because the queue was full or the collector rejected them",
);

pub(crate) static CONFIG_RELOADS: MetricRow = counter(
    "hookgate_config_reloads",
    &["outcome"],
    "Config reloads, by outcome",
);

pub(crate) static CONFIG_LOADED_TIMESTAMP_SECONDS: MetricRow = gauge(
    "hookgate_config_loaded_timestamp_seconds",
    &[],
    "Time at which the config in use was loaded",
);

pub(crate) static CERTIFICATE_NOT_AFTER_TIMESTAMP_SECONDS: MetricRow = gauge(
    "hookgate_certificate_not_after_timestamp_seconds",
    &["name"],
    "Expiry time of each certificate in use",
);

pub(crate) static CERTIFICATE_RENEWAL_TIMESTAMP_SECONDS: MetricRow = gauge(
    "hookgate_certificate_renewal_timestamp_seconds",
    &["name"],
    "Time of the next attempt to get or renew each certificate of `[tls.acme]`",
);

pub(crate) static CERTIFICATE_RENEWAL_FAILURES: MetricRow = gauge(
    "hookgate_certificate_renewal_failures",
    &["name"],
    "Failed attempts to get or renew each certificate of `[tls.acme]` since the last success",
);

pub(crate) static SECRET_UNTIL_TIMESTAMP_SECONDS: MetricRow = gauge(
    "hookgate_secret_until_timestamp_seconds",
    &["route", "secret"],
    "Expiry time of a route's secret, for secrets with `until`",
);

pub(crate) static IP_RANGES_READ_TIMESTAMP_SECONDS: MetricRow = gauge(
    "hookgate_ip_ranges_read_timestamp_seconds",
    &["provider"],
    "Day on which the address ranges of each provider were last read",
);

pub(crate) static IP_RANGES_REFRESHES: MetricRow = counter(
    "hookgate_ip_ranges_refreshes",
    &["provider", "outcome"],
    "Refreshes of published address ranges, by outcome; `kept`: the list was not accepted",
);

pub(crate) static ALERTS_OPEN: MetricRow = gauge(
    "hookgate_alerts_open",
    &["condition"],
    "Open alerts by condition; of several nodes, only the one that sends the messages counts them",
);

pub(crate) static ALERT_MESSAGES: MetricRow = counter(
    "hookgate_alert_messages",
    &["receiver", "outcome"],
    "Attempts to send alert messages, by receiver and outcome; `given_up`: failed for the last time",
);

pub(crate) static LOG_LINES_DROPPED: MetricRow = counter(
    "hookgate_log_lines_dropped",
    &[],
    "Log lines dropped because the log queue was full or the lines could not be written",
);

pub(crate) static LOG_LINES_WITHHELD: MetricRow = counter(
    "hookgate_log_lines_withheld",
    &[],
    "Log lines suppressed by the rate limit per source",
);

pub(crate) static PANICS: MetricRow = counter(
    "hookgate_panics",
    &[],
    "Panics; each ended at most one request",
);

pub(crate) static BUILD: MetricRow = row(
    MetricKind::Info,
    "hookgate_build",
    &["version"],
    "Version of the running program",
);

// The client libraries of Prometheus use the names below, so common dashboards find them.
pub(crate) static PROCESS_CPU_SECONDS: MetricRow =
    counter("process_cpu_seconds", &[], "CPU time of all threads");

pub(crate) static PROCESS_MAX_FDS: MetricRow = gauge(
    "process_max_fds",
    &[],
    "Maximum number of open file descriptors",
);

pub(crate) static PROCESS_START_TIME_SECONDS: MetricRow = gauge(
    "process_start_time_seconds",
    &[],
    "Time at which the process started",
);

pub(crate) static PROCESS_RESIDENT_MEMORY_BYTES: MetricRow =
    gauge("process_resident_memory_bytes", &[], "Resident memory");

pub(crate) static PROCESS_OPEN_FDS: MetricRow =
    gauge("process_open_fds", &[], "Number of open file descriptors");
