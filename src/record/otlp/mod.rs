//! Trace export by OTLP over HTTP, in batches from a bounded queue.
//!
//! Only one background task waits for the collector; requests never do. Spans that find no room in the queue, or that
//! the collector does not accept, are dropped and counted. Without `[telemetry]` there is no tracer, and a request pays
//! one pointer load.

mod messages;
mod spans;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::dispatch;
use crate::gate::verdict::Verdict;
use crate::model::ids::RequestId;
use crate::model::trace::{TraceContext, TracePart};
use crate::net::client::ConnectionPool;
use crate::record::attempt_report::AttemptReport;
use crate::record::exchange_summary::ExchangeSummary;
use crate::record::family_encoder::FamilyEncoder;
use crate::record::metric_table::operation;
use crate::record::otlp::messages::{
    InstrumentationScope, OtlpResource, OtlpSpan, ResourceSpans, ScopeSpans, TraceExport,
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Requests and attempts whose spans may wait in the queue, some MiB at most.
const QUEUE: usize = 4096;

/// Requests and attempts in one batch.
const BATCH: usize = 256;

/// Maximum time that the first span of a batch waits for others.
const PAUSE: Duration = Duration::from_secs(1);

/// Pauses before each retry of a batch that the collector rejected temporarily.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// Maximum time to send the remaining spans when the gate ends.
const FLUSH: Duration = Duration::from_secs(2);

/// Maximum number of bytes read of the collector's response.
const ANSWER: usize = 16 * 1024;

/// Settings of the exporter, from `[telemetry]`.
pub(crate) struct TraceSettings {
    /// Connection pool to the collector.
    pub pool: Arc<ConnectionPool>,
    /// Whole URL of the collector's traces endpoint.
    pub url: Uri,
    /// Additional request headers, such as an API key of the collector.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Share of requests that are traced, from 0 to 1.
    pub sample: f64,
    /// Value of the resource attribute `service.name`.
    pub service: String,
}

/// Handle that queues spans for the exporter task.
pub(super) struct SpanTracer {
    sample: f64,
    queue: mpsc::Sender<Vec<OtlpSpan>>,
    counts: Arc<ExportCounts>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct ExportCounts {
    exported: AtomicU64,
    queue_full: AtomicU64,
    not_taken: AtomicU64,
}

/// Sets `traceparent` (W3C Trace Context) for the upstream, in place of the sender's.
pub(crate) fn insert_trace_headers(headers: &mut HeaderMap, trace: &TraceContext, part: TracePart) {
    if trace.parent.is_none() {
        // `tracestate` belongs to the sender's trace, which this one does not continue.
        headers.remove(TRACESTATE);
    }
    if let Ok(value) = HeaderValue::from_str(&trace.header(part)) {
        headers.insert(TRACEPARENT, value);
    }
}

impl SpanTracer {
    /// Starts the task that exports spans.
    pub(super) fn start(settings: TraceSettings) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (counts, stop) = (Arc::<ExportCounts>::default(), CancellationToken::new());
        let sample = settings.sample;
        let exporter = SpanExporter {
            settings,
            counts: Arc::clone(&counts),
            stop: stop.clone(),
        };
        Self {
            sample,
            queue,
            counts,
            stop,
            task: Mutex::new(Some(tokio::spawn(exporter.run(waiting)))),
        }
    }

    /// Returns the trace of a request. With `headers`, the sender's trace is continued.
    pub(super) fn trace(&self, uid: RequestId, headers: Option<&HeaderMap>) -> TraceContext {
        let sent = headers.and_then(|headers| headers.get(TRACEPARENT)?.to_str().ok());
        let continued = sent.and_then(|sent| TraceContext::continued(uid, sent));
        continued.unwrap_or_else(|| TraceContext::new(uid, self.sample))
    }

    /// Sends the remaining spans and stops the exporter, within two seconds.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task {
            let _ = tokio::time::timeout(FLUSH, task).await;
        }
    }

    pub(super) fn push_request(&self, verdict: &Verdict, exchange: &ExchangeSummary) {
        let trace = verdict.trace;
        let trace = trace.unwrap_or_else(|| TraceContext::new(verdict.request_id, self.sample));
        if trace.is_sampled {
            self.push(spans::of_request(&trace, verdict, exchange));
        }
    }

    pub(super) fn push_attempt(&self, attempted: &AttemptReport<'_>) {
        if let Some(trace) = attempted.trace.filter(|trace| trace.is_sampled) {
            self.push(vec![spans::of_attempt(&trace, attempted)]);
        }
    }

    /// Encodes the counts of exported and dropped spans.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = &self.counts;
        let mut family = FamilyEncoder::begin(encoder, &operation::TRACE_SPANS)?;
        for (outcome, count) in [
            ("exported", &counts.exported),
            ("no_room", &counts.queue_full),
            ("not_taken", &counts.not_taken),
        ] {
            family.count(&[outcome], count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn push(&self, spans: Vec<OtlpSpan>) {
        let count = u64::try_from(spans.len()).unwrap_or(0);
        // Never waits: a slow collector must not slow down requests.
        if self.queue.try_send(spans).is_err() {
            self.counts.queue_full.fetch_add(count, Ordering::Relaxed);
        }
    }
}

struct SpanExporter {
    settings: TraceSettings,
    counts: Arc<ExportCounts>,
    stop: CancellationToken,
}

/// Kind of failure of a batch; only a temporary one is retried.
enum ExportRefusal {
    ForNow,
    ForGood,
}

impl SpanExporter {
    async fn run(self, mut waiting: mpsc::Receiver<Vec<OtlpSpan>>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                // The end of the process interrupts the wait for more spans.
                () = self.stop.cancelled() => break,
                first = waiting.recv() => batch.extend(first),
            }
            // A batch is sent when it is full or when its first span has waited long enough.
            let filling = async {
                while batch.len() < BATCH
                    && let Some(spans) = waiting.recv().await
                {
                    batch.push(spans);
                }
            };
            let paused = tokio::time::timeout(PAUSE, filling);
            let _ = self.stop.run_until_cancelled(paused).await;
            self.export(std::mem::take(&mut batch)).await;
        }
        // No more spans are queued from here on; what is already there is sent before the task ends.
        waiting.close();
        while let Ok(spans) = waiting.try_recv() {
            batch.push(spans);
        }
        for some in batch.chunks(BATCH) {
            self.export(some.to_vec()).await;
        }
    }

    /// Sends a batch, with a few retries. Meanwhile new spans wait in the queue.
    async fn export(&self, batch: Vec<Vec<OtlpSpan>>) {
        let spans: Vec<OtlpSpan> = batch.into_iter().flatten().collect();
        let count = u64::try_from(spans.len()).unwrap_or(0);
        if count == 0 {
            return;
        }
        let body = Bytes::from(self.message(spans).encode_to_vec());
        let mut pauses = BACKOFF.into_iter();
        let is_taken = loop {
            match self.send(body.clone()).await {
                Ok(()) => break true,
                Err(ExportRefusal::ForGood) => break false,
                // The end of the process interrupts the pause; one last attempt follows.
                Err(ExportRefusal::ForNow) => match pauses.next() {
                    Some(pause) if !self.stop.is_cancelled() => {
                        let pause = tokio::time::sleep(pause);
                        let _ = self.stop.run_until_cancelled(pause).await;
                    }
                    _ => break false,
                },
            }
        };
        let counts = &self.counts;
        let counted = if is_taken {
            &counts.exported
        } else {
            &counts.not_taken
        };
        counted.fetch_add(count, Ordering::Relaxed);
    }

    fn message(&self, spans: Vec<OtlpSpan>) -> TraceExport {
        let version = env!("CARGO_PKG_VERSION");
        let attributes = vec![
            spans::text("service.name", &self.settings.service),
            spans::text("service.version", version),
        ];
        let scope = InstrumentationScope {
            name: "hookgate".to_owned(),
            version: version.to_owned(),
        };
        TraceExport {
            resources: vec![ResourceSpans {
                resource: Some(OtlpResource { attributes }),
                scopes: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), ExportRefusal> {
        let request = self.request(body).ok_or(ExportRefusal::ForGood)?;
        let pool = &self.settings.pool;
        let sent = dispatch::exchange(pool, request, Duration::ZERO).await;
        let (response, lease) = sent.map_err(|_| ExportRefusal::ForNow)?;
        let (head, answer) = response.into_parts();
        // The response is read to its end, so that the connection can be used again.
        lease.drain(answer, 0, ANSWER).await;
        match head.status {
            status if status.is_success() => Ok(()),
            // OTLP/HTTP names these statuses as retryable.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(ExportRefusal::ForNow),
            _ => Err(ExportRefusal::ForGood),
        }
    }

    fn request(&self, body: Bytes) -> Option<Request<Full<Bytes>>> {
        let url = &self.settings.url;
        let host = HeaderValue::from_str(url.authority()?.as_str()).ok()?;
        // OTLP/HTTP with binary protobuf: one POST per batch.
        let length = HeaderValue::from(body.len());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.path().parse().ok()?;
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(CONTENT_LENGTH, length);
        let kind = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, kind);
        for (name, value) in &self.settings.headers {
            headers.insert(name, value.clone());
        }
        Some(request)
    }
}
