//! The audit line: who did what at the admin listener, under a target of its own.

use tracing::Level;

use crate::model::clock::Now;
use crate::record::Recorder;

/// An action of an operator, or what became of asking for it.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields of the line, by their names")]
pub struct Audited<'a> {
    pub who: &'a str,
    pub role: &'a str,
    pub source: &'a str,
    pub action: &'a str,
    pub target: &'a str,
    pub detail: Option<&'a str>,
    pub status: u16,
    pub outcome: &'a str,
}

impl Recorder {
    /// Tells of an action, whatever the level of the log is: nobody can act in silence.
    pub fn audit(&self, audited: &Audited<'_>) {
        let message = "an operator acted";
        let mut line = self.logger.line(Now::read(), Level::INFO, "audit", message);
        line.text("who", &audited.who);
        line.text("role", &audited.role);
        line.text("source", &audited.source);
        line.text("action", &audited.action);
        if !audited.target.is_empty() {
            line.text("subject", &audited.target);
        }
        if let Some(detail) = audited.detail {
            line.message("detail", &detail);
        }
        line.count("status", audited.status.into());
        line.text("outcome", &audited.outcome);
        self.logger.write(line);
    }

    /// Tells of a wrong token. Whoever calls bounds how often.
    pub fn audit_refused(&self, source: &str) {
        let message = "a wrong token was shown to the admin listener";
        let mut line = self.logger.line(Now::read(), Level::WARN, "audit", message);
        line.text("source", &source);
        self.logger.write(line);
    }
}
