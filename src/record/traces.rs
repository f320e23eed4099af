//! Traces of requests and attempts. Without `[telemetry]` there is no tracer, and each call pays one pointer load.

use http::HeaderMap;

use crate::gate::verdict::Verdict;
use crate::model::ids::RequestId;
use crate::model::trace::TraceContext;
use crate::record::attempt_report::AttemptReport;
use crate::record::exchange_summary::ExchangeSummary;
use crate::record::otlp::{SpanTracer, TraceSettings};
use crate::record::recorder::TelemetryRecorder;

impl TelemetryRecorder {
    /// Starts the export of spans. Later calls have no effect.
    pub(crate) fn start_tracing(&self, settings: TraceSettings) {
        // Set once: a changed `[telemetry]` needs a restart.
        self.tracer.get_or_init(|| SpanTracer::start(settings));
    }

    /// Returns the trace of a request, or `None` without tracing. With `headers`, the sender's trace is continued.
    pub(crate) fn trace(
        &self,
        uid: RequestId,
        headers: Option<&HeaderMap>,
    ) -> Option<TraceContext> {
        let tracer = self.tracer.get()?;
        Some(tracer.trace(uid, headers))
    }

    /// Sends the remaining spans and stops the exporter, within two seconds.
    pub(crate) async fn end_tracing(&self) {
        if let Some(tracer) = self.tracer.get() {
            tracer.end().await;
        }
    }

    pub(super) fn trace_request(&self, verdict: &Verdict, exchange: &ExchangeSummary) {
        if let Some(tracer) = self.tracer.get() {
            tracer.push_request(verdict, exchange);
        }
    }

    pub(super) fn trace_attempt(&self, attempted: &AttemptReport<'_>) {
        if let Some(tracer) = self.tracer.get() {
            tracer.push_attempt(attempted);
        }
    }
}
