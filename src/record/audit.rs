//! Audit log of the admin listener: one line for each action of an operator.
//!
//! Lines have the target `audit`. An audit line must appear at every log level.

use tracing::Level;

use crate::model::clock::ClockReading;
use crate::record::TelemetryRecorder;

/// An operator's request to the admin listener and its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuditLine<'a> {
    pub who: &'a str,
    pub role: &'a str,
    pub source: &'a str,
    pub action: &'a str,
    pub target: &'a str,
    pub detail: Option<&'a str>,
    pub status: u16,
    pub outcome: &'a str,
}

impl TelemetryRecorder {
    /// Logs an action at every log level, so that no operator can act without a trace.
    pub(crate) fn audit(&self, audited: &AuditLine<'_>) {
        let message = "operator action";
        let mut line = self
            .logger
            .line(ClockReading::read(), Level::INFO, "audit", message);
        line.text("who", &audited.who);
        line.text("role", &audited.role);
        line.text("source", &audited.source);
        line.text("action", &audited.action);
        if !audited.target.is_empty() {
            // The field `target` already names the kind of line.
            line.text("subject", &audited.target);
        }
        if let Some(detail) = audited.detail {
            line.message("detail", &detail);
        }
        line.count("status", audited.status.into());
        line.text("outcome", &audited.outcome);
        line.mark_urgent();
        self.logger.write(line);
    }

    /// Logs a rejected token. The caller limits how often.
    pub(crate) fn audit_refused(&self, source: &str) {
        let message = "admin token rejected";
        let mut line = self
            .logger
            .line(ClockReading::read(), Level::WARN, "audit", message);
        line.text("source", &source);
        self.logger.write(line);
    }
}
