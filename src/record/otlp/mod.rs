//! Traces by OTLP over HTTP: spans go through a bounded queue to one task, which sends them in batches.
//!
//! Nothing here waits for a collector but that task. What finds no room in the queue, or is not taken by the collector, is
//! dropped and counted. Where the config has no `[telemetry]` there is no tracer, and a request pays one look at a pointer.

mod spans;
mod wire;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::gate::verdict::Verdict;
use crate::model::ids::RequestId;
use crate::model::trace::{Part, Trace};
use crate::net::client::Pool;
use crate::record::deliveries::Attempted;
use crate::record::metrics::counter;
use crate::record::otlp::wire::{Export, Resource, ResourceSpans, Scope, ScopeSpans, Span};
use crate::record::{Exchange, Recorder, lock};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Requests and attempts whose spans wait: some MiB at most.
const QUEUE: usize = 4096;

/// Of these so many go into one batch.
const BATCH: usize = 256;

/// How long the first of a batch waits for others.
const PAUSE: Duration = Duration::from_secs(1);

/// After a batch that the collector did not take for now.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// For what is left when the gate ends.
const FLUSH: Duration = Duration::from_secs(2);

/// Bytes of an answer that are read.
const ANSWER: usize = 16 * 1024;

/// Where spans go, and which.
pub struct Settings {
    /// Connections to the collector.
    pub pool: Arc<Pool>,
    /// The whole URL.
    pub url: Uri,
    /// Headers for it, as its operator asks for.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The share of requests that are traced, from 0 to 1.
    pub sample: f64,
    /// `service.name`.
    pub service: String,
}

/// Takes spans.
pub(super) struct Tracer {
    sample: f64,
    queue: mpsc::Sender<Vec<Span>>,
    counts: Arc<Counts>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Counts {
    exported: AtomicU64,
    no_room: AtomicU64,
    not_taken: AtomicU64,
}

impl Recorder {
    /// Exports spans from now on.
    pub fn start_tracing(&self, settings: Settings) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (counts, stop) = (Arc::<Counts>::default(), CancellationToken::new());
        let sample = settings.sample;
        let exporter = Exporter {
            settings,
            counts: Arc::clone(&counts),
            stop: stop.clone(),
        };
        let _ = self.tracer.set(Tracer {
            sample,
            queue,
            counts,
            stop,
            task: Mutex::new(Some(tokio::spawn(exporter.run(waiting)))),
        });
    }

    /// The trace of a request; none where nothing is traced. `headers` are those of a sender whose trace is continued.
    pub fn trace(&self, uid: RequestId, headers: Option<&HeaderMap>) -> Option<Trace> {
        let tracer = self.tracer.get()?;
        let told = headers.and_then(|headers| headers.get(TRACEPARENT)?.to_str().ok());
        let continued = told.and_then(|told| Trace::continued(uid, told));
        Some(continued.unwrap_or_else(|| Trace::new(uid, tracer.sample)))
    }

    /// Sends what is left, within two seconds.
    pub async fn end_tracing(&self) {
        if let Some(tracer) = self.tracer.get() {
            tracer.stop.cancel();
            let task = lock(&tracer.task).take();
            if let Some(task) = task {
                let _ = tokio::time::timeout(FLUSH, task).await;
            }
        }
    }

    pub(super) fn trace_request(&self, verdict: &Verdict, exchange: &Exchange) {
        let Some(tracer) = self.tracer.get() else {
            return;
        };
        let trace = verdict.trace;
        let trace = trace.unwrap_or_else(|| Trace::new(verdict.request_id, tracer.sample));
        if trace.is_sampled {
            tracer.push(spans::of_request(&trace, verdict, exchange));
        }
    }

    pub(super) fn trace_attempt(&self, attempted: &Attempted<'_>) {
        let trace = attempted.trace.filter(|trace| trace.is_sampled);
        if let (Some(tracer), Some(trace)) = (self.tracer.get(), trace) {
            tracer.push(vec![spans::of_attempt(&trace, attempted)]);
        }
    }
}

/// Tells an app which span asks it, in place of what the sender said.
pub fn tell(headers: &mut HeaderMap, trace: &Trace, part: Part) {
    if trace.parent.is_none() {
        headers.remove(TRACESTATE);
    }
    if let Ok(value) = HeaderValue::from_str(&trace.header(part)) {
        headers.insert(TRACEPARENT, value);
    }
}

impl Tracer {
    fn push(&self, spans: Vec<Span>) {
        let count = u64::try_from(spans.len()).unwrap_or(0);
        if self.queue.try_send(spans).is_err() {
            self.counts.no_room.fetch_add(count, Ordering::Relaxed);
        }
    }
}

struct Exporter {
    settings: Settings,
    counts: Arc<Counts>,
    stop: CancellationToken,
}

/// Why a batch was not taken.
enum Refusal {
    ForNow,
    ForGood,
}

impl Exporter {
    async fn run(self, mut waiting: mpsc::Receiver<Vec<Span>>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                first = waiting.recv() => batch.extend(first),
            }
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
        waiting.close();
        while let Ok(spans) = waiting.try_recv() {
            batch.push(spans);
        }
        for some in batch.chunks(BATCH) {
            self.export(some.to_vec()).await;
        }
    }

    /// Tries a few times, while others wait in the queue.
    async fn export(&self, batch: Vec<Vec<Span>>) {
        let spans: Vec<Span> = batch.into_iter().flatten().collect();
        let count = u64::try_from(spans.len()).unwrap_or(0);
        if count == 0 {
            return;
        }
        let body = Bytes::from(self.message(spans).encode_to_vec());
        let mut pauses = BACKOFF.into_iter();
        let is_taken = loop {
            match self.send(body.clone()).await {
                Ok(()) => break true,
                Err(Refusal::ForGood) => break false,
                Err(Refusal::ForNow) => match pauses.next() {
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

    fn message(&self, spans: Vec<Span>) -> Export {
        let version = env!("CARGO_PKG_VERSION");
        let attributes = vec![
            spans::text("service.name", &self.settings.service),
            spans::text("service.version", version),
        ];
        let scope = Scope {
            name: "hookgate".to_owned(),
            version: version.to_owned(),
        };
        Export {
            resources: vec![ResourceSpans {
                resource: Some(Resource { attributes }),
                scopes: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), Refusal> {
        let request = self.request(body).ok_or(Refusal::ForGood)?;
        let pool = &self.settings.pool;
        let mut lease = match pool.idle() {
            Some(lease) => lease,
            None => pool.connect().await.map_err(|_| Refusal::ForNow)?,
        };
        let response = lease.exchange(request).await.map_err(|_| Refusal::ForNow)?;
        let (head, answer) = response.into_parts();
        lease.drain(answer, 0, ANSWER).await;
        match head.status {
            status if status.is_success() => Ok(()),
            // What OTLP says may be sent again.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Refusal::ForNow),
            _ => Err(Refusal::ForGood),
        }
    }

    fn request(&self, body: Bytes) -> Option<Request<Full<Bytes>>> {
        let url = &self.settings.url;
        let host = HeaderValue::from_str(url.authority()?.as_str()).ok()?;
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

/// The rows of what was exported and what was not; none where nothing is traced.
pub(super) fn encode(recorder: &Recorder, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(tracer) = recorder.tracer.get() else {
        return Ok(());
    };
    let counts = &tracer.counts;
    let mut metric = encoder.encode_descriptor(
        "hookgate_trace_spans",
        "Spans by what became of them: exported, or dropped since the queue was full or the collector did not take them",
        None,
        MetricType::Counter,
    )?;
    let outcomes = [
        ("exported", &counts.exported),
        ("no_room", &counts.no_room),
        ("not_taken", &counts.not_taken),
    ];
    for (outcome, count) in outcomes {
        let count = count.load(Ordering::Relaxed);
        counter(&mut metric, &[("outcome", outcome)], count)?;
    }
    Ok(())
}
