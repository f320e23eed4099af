//! Records verdicts and attempts: log lines, metrics, traces and the recent history.
//!
//! `pipeline` calls `request` once for each verdict, whatever its outcome. `app` reports reloads and panics, and wires
//! the callbacks of gauges. Recording must never delay a request: counts are atomics, and log lines go through a
//! bounded queue. One `TelemetryRecorder` serves all configuration snapshots, so counters survive a reload.

mod admin_counters;
mod attempt_report;
pub(crate) mod audit;
mod connections;
pub(crate) mod counters;
pub(crate) mod deliveries;
mod destination_counters;
mod exchange_summary;
mod family_encoder;
pub(crate) mod histogram;
pub(crate) mod history;
mod line_batch;
mod line_queue;
pub(crate) mod log;
pub(crate) mod log_line;
mod log_sink;
mod log_suppression;
pub(crate) mod metric_table;
mod metrics;
mod metrics_scope;
pub(crate) mod otlp;
mod process;
pub(crate) mod recent_verdicts;
mod recorder;
pub(crate) mod rejected_requests;
mod request_line;
pub(crate) mod store_metrics;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod traces;
pub(crate) mod tracing_layer;

pub(crate) use crate::record::exchange_summary::ExchangeSummary;
pub(crate) use crate::record::recorder::{SecretEnd, TelemetryRecorder};
