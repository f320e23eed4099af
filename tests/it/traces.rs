//! Tests of traces: spans at a collector, decoded with OpenTelemetry's own definitions, and `traceparent` at apps.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

use crate::harness::app::{App, Recorded, Refusing, ok, respond, sequence};
use crate::harness::gate::Gate;
use crate::harness::sender::{Provider, Sender};
use crate::harness::{LIMIT, poll_for};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const STORE: &str = "[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n";

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

fn telemetry(url: &str, more: &str) -> String {
    format!("[telemetry]\notlp = \"{url}\"\n{more}")
}

/// Returns all spans that a collector has.
fn spans(collector: &App) -> Vec<Span> {
    let each = collector.requests().into_iter().flat_map(|request| {
        assert_eq!(request.line(), "POST /v1/traces HTTP/1.1");
        assert_eq!(
            request.header("content-type").as_deref(),
            Some("application/x-protobuf")
        );
        let read = ExportTraceServiceRequest::decode(&*request.body).unwrap();
        assert_eq!(
            read.encode_to_vec(),
            request.body,
            "something unknown is in it"
        );
        let [resource] = &read.resource_spans[..] else {
            panic!("{read:?}")
        };
        let service = &resource.resource.as_ref().unwrap().attributes[0];
        assert_eq!(service.key, "service.name");
        let [scope] = &resource.scope_spans[..] else {
            panic!("{read:?}")
        };
        assert_eq!(scope.scope.as_ref().unwrap().name, "hookgate");
        scope.spans.clone()
    });
    each.collect()
}

/// Waits for a span with this name.
async fn span(collector: &App, name: &str) -> Span {
    poll_for(&format!("the span {name}"), LIMIT, async || {
        let mut all = spans(collector).into_iter();
        all.find(|span| span.name == name)
    })
    .await
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn text(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|each| each.key == key);
    match found.and_then(|each| each.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?} in {span:?}"),
    }
}

/// Returns trace, span and flags of the `traceparent` that an app got.
fn trace_context(request: &Recorded) -> (String, String, String) {
    let header = request.header("traceparent").unwrap();
    let parts: Vec<_> = header.split('-').map(str::to_owned).collect();
    assert_eq!((parts.len(), &*parts[0]), (4, "00"), "{header}");
    (parts[1].clone(), parts[2].clone(), parts[3].clone())
}

/// Fails when a trace is continued without `continue_trace`, when spans are not linked, or are not valid OTLP.
#[tokio::test]
async fn a_request_has_its_own_trace_and_the_app_receives_its_id() {
    let (collector, app) = (App::start(ok()), App::start(ok()));
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "k").unwrap();
    let key = key.display();
    let more = format!("service_name = \"edge\"\nheaders = {{ X-Key = {{ file = \"{key}\" }} }}\n");
    let gate = Gate::start(&format!("{}{route}", telemetry(&collector.url(""), &more))).await;
    let hook = Sender::new(Provider::Github)
        .event("/hook")
        .with("traceparent", &traceparent())
        .with("tracestate", "a=1");
    let reply = gate.send(&hook).await;
    assert_eq!(reply.status, 200);
    let uid = reply
        .header("hookgate-request-id")
        .unwrap()
        .replace('-', "");
    let got = app.only_request();
    let (trace, parent, flags) = trace_context(&got);
    assert_eq!((trace.as_str(), flags.as_str()), (uid.as_str(), "01"));
    assert_eq!(got.header("tracestate"), None);

    let whole = span(&collector, "webhook hook").await;
    assert_eq!(hex(&whole.trace_id), uid);
    assert_eq!(whole.parent_span_id, b"");
    assert_eq!(whole.kind(), SpanKind::Server);
    assert_eq!(text(&whole, "http.response.status_code"), "200");
    assert_eq!(text(&whole, "http.request.method"), "POST");
    assert_eq!(text(&whole, "hookgate.verdict"), "accepted");
    assert_eq!(text(&whole, "url.scheme"), "https");
    assert_eq!(text(&whole, "client.address"), "127.0.0.1");
    let upstream = span(&collector, "upstream").await;
    assert_eq!(hex(&upstream.span_id), parent);
    assert_eq!(upstream.kind(), SpanKind::Client);
    for name in ["head", "verify", "upstream"] {
        let stage = span(&collector, name).await;
        assert_eq!(stage.parent_span_id, whole.span_id, "{name}");
        assert_eq!(stage.trace_id, whole.trace_id, "{name}");
        assert!(stage.start_time_unix_nano >= whole.start_time_unix_nano);
        assert!(stage.end_time_unix_nano > stage.start_time_unix_nano);
        assert!(
            stage.end_time_unix_nano <= whole.end_time_unix_nano,
            "{name}"
        );
    }
    let sent = &collector.requests()[0];
    assert_eq!(sent.header("x-key").as_deref(), Some("k"));
    let has = |text: &str| {
        sent.body
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(has("edge") && !has(Provider::Github.secret()));
}

/// Fails when a delivery loses the trace of its request, or a forged request joins a trace.
#[tokio::test]
async fn a_trace_that_is_continued_goes_on_to_each_attempt() {
    let collector = App::start(ok());
    let app = App::start(sequence([respond(500, "no"), ok()]));
    let more = "mode = \"queue\"\ncontinue_trace = true\n";
    let route = Provider::Github.route("hook", &app.url("/in"), more);
    let retry = "[routes.hook.destinations.upstream]\nretry = { schedule = [\"50ms\"], max_attempts = 5, jitter = 0 }\n";
    let telemetry = telemetry(&collector.url("/"), "sample = 0\n");
    let gate = Gate::start(&format!("{STORE}{telemetry}{route}{retry}")).await;
    let sender = Sender::new(Provider::Github);
    let forged = sender
        .event("/hook")
        .with("traceparent", &traceparent())
        .flip_body_byte();
    assert_eq!(gate.send(&forged).await.status, 401);
    let hook = sender
        .event("/hook")
        .with("traceparent", &traceparent())
        .with("tracestate", "a=1");
    assert_eq!(gate.send(&hook).await.status, 200);
    app.wait_for_requests(2).await;
    let attempts: Vec<_> = app.requests().iter().map(trace_context).collect();
    assert_ne!(attempts[0].1, attempts[1].1);
    assert_eq!(
        app.requests()[1].header("tracestate").as_deref(),
        Some("a=1")
    );

    let both = poll_for("the spans of both attempts", LIMIT, async || {
        let mut all = spans(&collector);
        all.retain(|span| span.name == "deliver upstream");
        (all.len() == 2).then_some(all)
    })
    .await;
    let [failed, delivered] = &both[..] else {
        unreachable!("there are two")
    };
    assert_eq!(text(failed, "http.response.status_code"), "500");
    assert_eq!(failed.status.as_ref().unwrap().code, 2);
    assert_eq!(hex(&failed.span_id), attempts[0].1);
    let whole = span(&collector, "webhook hook").await;
    assert_eq!(hex(&whole.trace_id), TRACE);
    assert_eq!(hex(&whole.parent_span_id), PARENT);
    assert_eq!(hex(&delivered.trace_id), TRACE);
    assert_eq!(hex(&delivered.span_id), attempts[1].1);
    assert_eq!(delivered.parent_span_id, whole.span_id);
    assert_eq!(text(delivered, "http.request.resend_count"), "1");
    assert_eq!(text(delivered, "hookgate.state"), "delivered");
    assert_eq!(
        span(&collector, "commit").await.parent_span_id,
        whole.span_id
    );
    // The forged request was not sampled, although its sender requested it.
    let is_refused = |span: &Span| {
        span.name.starts_with("webhook") && text(span, "hookgate.verdict") == "refused"
    };
    assert!(!spans(&collector).iter().any(is_refused));
}

/// Fails when a refusal has no span, when remaining spans are not sent at the end, or when `sample` is ignored.
#[tokio::test]
async fn what_is_left_is_sent_at_the_end() {
    let collector = App::start(ok());
    let route = Provider::Github.route("hook", "http://127.0.0.1:1/", "continue_trace = true\n");
    let mut gate = Gate::start(&format!("{}{route}", telemetry(&collector.url(""), ""))).await;
    let hook = Sender::new(Provider::Github)
        .event("/hook")
        .with("traceparent", &traceparent())
        .flip_body_byte();
    assert_eq!(gate.send(&hook).await.status, 401);
    assert!(gate.stop().await.success());
    let whole = span(&collector, "webhook hook").await;
    assert_ne!(hex(&whole.trace_id), TRACE, "nobody vouches for it");
    assert_eq!(text(&whole, "hookgate.reason"), "bad-signature");
    assert_eq!(text(&whole, "http.response.status_code"), "401");
}

/// Fails when an unreachable collector delays a request, or when lost spans are not counted.
#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let (away, app) = (Refusing::new(), App::start(ok()));
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    let mut gate = Gate::start(&format!("{}{route}", telemetry(&away.url(""), ""))).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 200);
    // The exporter tries for longer than other steps take.
    poll_for("the end of the spans", 2 * LIMIT, async || {
        let lost = ["outcome=\"not_taken\""];
        let lost = gate.metric("hookgate_trace_spans_total", &lost).await;
        (lost >= 2.0).then_some(())
    })
    .await;
    assert!(gate.stop().await.success());
}
