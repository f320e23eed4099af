//! Bridge from `tracing` events of all modules to lines of the log.
//!
//! Modules without a recorder report by `tracing`, for example a certificate that could not be read. Their events must
//! pass the same escaping and limits as lines about requests.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{SetGlobalDefaultError, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::config::model::LogSection;
use crate::model::clock::ClockReading;
use crate::record::log::{self, LineLogger, LogError, StderrKind};
use crate::record::log_line::{LogLine, MESSAGE_LIMIT};

/// Prefix of hookgate's own targets. Libraries are logged only from warnings on, or at level `trace`.
const OWN_TARGET: &str = "hookgate";

/// Starts the log of the process as configured, and routes `tracing` events into it.
///
/// # Errors
/// If no thread can be started, or if a global subscriber is already installed.
pub(crate) fn init(section: &LogSection, stderr: StderrKind) -> Result<Arc<LineLogger>, LogError> {
    let (encoding, sink) = log::choose(section.format, stderr);
    let logger = LineLogger::start(encoding, section.level, sink)?;
    install(&logger).map_err(|_| LogError::Installed)?;
    Ok(logger)
}

/// Installs the log as the global `tracing` subscriber of the process.
fn install(logger: &Arc<LineLogger>) -> Result<(), SetGlobalDefaultError> {
    set_global_default(Registry::default().with(TracingLayer(Arc::clone(logger))))
}

struct TracingLayer(Arc<LineLogger>);

impl TracingLayer {
    fn is_heard(&self, metadata: &Metadata<'_>) -> bool {
        let is_own = metadata.target().starts_with(OWN_TARGET);
        let is_logged =
            is_own || *metadata.level() <= Level::WARN || self.0.level() == Level::TRACE;
        metadata.is_event() && is_logged && self.0.is_enabled(*metadata.level())
    }
}

impl<S: Subscriber> Layer<S> for TracingLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_heard(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.0.level()))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = MessageVisitor(String::new());
        event.record(&mut message);
        let metadata = event.metadata();
        let mut line = self.0.line(
            ClockReading::read(),
            *metadata.level(),
            metadata.target(),
            &message.0,
        );
        // Second pass: all fields but the message.
        event.record(&mut FieldVisitor(&mut line));
        self.0.write(line);
    }
}

/// Visitor that extracts the message, because a line needs it first and an event may hold it anywhere.
struct MessageVisitor(String);

impl Visit for MessageVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let mut cut = TruncatedText(&mut self.0);
            // The error only means that the message was cut.
            let _ = fmt::write(&mut cut, format_args!("{value:?}"));
        }
    }
}

/// Writer that stops a message beyond what a line shows, before it takes memory.
struct TruncatedText<'a>(&'a mut String);

impl fmt::Write for TruncatedText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // A character has at most four bytes in UTF-8.
        if self.0.len() > MESSAGE_LIMIT * 4 {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Visitor that adds all fields but the message to the line.
struct FieldVisitor<'a>(&'a mut LogLine);

impl FieldVisitor<'_> {
    fn show(&mut self, field: &Field, value: &dyn Display) {
        if field.name() != "message" {
            self.0.message(field.name(), value);
        }
    }
}

impl Visit for FieldVisitor<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.number(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.count(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.flag(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.show(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.show(field, &format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::log_line::LineEncoding;
    use crate::record::testing::Kept;

    #[test]
    fn events_become_lines_of_the_log() {
        let kept = Kept::default();
        let logger =
            LineLogger::to_writer(LineEncoding::Json, Level::INFO, Box::new(kept.clone())).unwrap();
        let subscriber = Registry::default().with(TracingLayer(Arc::clone(&logger)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "hookgate::app", path = %"a\nb", count = 3u64, ok = true, "reloaded");
            tracing::debug!(target: "hookgate::app", "not at this level");
            tracing::info!(target: "h2::frame", "a library's chatter");
            tracing::warn!(target: "h2::frame", "a library's warning");
        });
        logger.close();
        let text = kept.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with(
            r#""level":"INFO","target":"hookgate::app","message":"reloaded","path":"a\nb","count":3,"ok":true}"#
        ), "{text}");
        assert!(lines[1].contains("a library's warning"));
    }
}
