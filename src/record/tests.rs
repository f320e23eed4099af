//! Tests of the log lines and counts that a recorder makes of whole requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::identity::event_id::EventId;
use http::{Method, StatusCode};
use tracing::Level;

use crate::acme::CertificateHealth;
use crate::criteria::json::JsonFault;
use crate::criteria::schema::SchemaViolation;
use crate::gate::filter::FilterKind;
use crate::gate::reject::{FramingFault, Reject, RejectReason};
use crate::gate::verdict::{GateCheck, GateDecision, Verdict};
use crate::model::clock::ClockReading;
use crate::model::ids::{RequestId, RouteName};
use crate::model::source::RequestSource;
use crate::record::TelemetryRecorder;
use crate::record::exchange_summary::ExchangeSummary;
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;
use crate::record::metric_table::traffic;
use crate::record::testing::Kept;

struct Fixture {
    recorder: Arc<TelemetryRecorder>,
    kept: Kept,
}

fn fixture(logs_accepted: bool) -> Fixture {
    let kept = Kept::default();
    let logger =
        LineLogger::to_writer(LineEncoding::Json, Level::INFO, Box::new(kept.clone())).unwrap();
    Fixture {
        recorder: TelemetryRecorder::new(logger, logs_accepted),
        kept,
    }
}

impl Fixture {
    fn tell(&self, verdict: &Verdict, exchange: &ExchangeSummary) {
        let counters = verdict
            .route
            .as_ref()
            .map(|name| self.recorder.route_counters(name));
        self.recorder
            .request(counters.as_deref(), verdict, exchange);
    }

    /// Ends the log and returns its lines.
    fn lines(&self) -> Vec<serde_json::Value> {
        self.recorder.close();
        let text = self.kept.text();
        let parse = |line| serde_json::from_str(line).unwrap();
        text.lines().map(parse).collect()
    }
}

fn verdict(ip: &str, decision: GateDecision) -> Verdict {
    let ip: IpAddr = ip.parse().unwrap();
    let source = RequestSource {
        ip,
        peer: SocketAddr::new(ip, 4711),
        is_tls: true,
    };
    let now = ClockReading::at_unix_seconds(0);
    let mut verdict = Verdict::new(RequestId::new(now.unix_ms, [7; 10]), source, now);
    verdict.route = Some(RouteName::new("stripe"));
    verdict.provider = Some("stripe".into());
    verdict.begin(GateCheck::Signature);
    verdict.decision = decision;
    verdict.body_bytes = 12;
    let us = Duration::from_micros;
    verdict.set_times(us(30), us(200), us(5));
    verdict
}

fn exchange(status: u16) -> ExchangeSummary {
    ExchangeSummary {
        response_status: StatusCode::from_u16(status).unwrap(),
        upstream_status: None,
        upstream_time: Duration::ZERO,
        forward_error: None,
        is_stored: false,
        total: Duration::from_micros(300),
    }
}

#[test]
fn an_accepted_request_has_one_line_with_everything() {
    let fixture = fixture(true);
    let mut verdict = verdict("192.0.2.1", GateDecision::Accepted);
    verdict.secret = Some("new".into());
    verdict.event_id = EventId::parse("evt_1");
    verdict.event_type = Some("a\n\u{1b}[31m".into());
    let exchange = ExchangeSummary {
        upstream_status: Some(StatusCode::NO_CONTENT),
        upstream_time: Duration::from_millis(4),
        ..exchange(204)
    };
    fixture.tell(&verdict, &exchange);
    let lines = fixture.lines();
    assert_eq!(lines.len(), 1);
    let mut line = lines[0].clone();
    assert!(line["time"].take().is_string());
    assert_eq!(
        line,
        serde_json::json!({
            "time": null, "level": "INFO", "target": "request", "message": "event forwarded",
            "request_id": "00000000-0000-7707-8707-070707070707", "route": "stripe", "provider": "stripe",
            "source": "192.0.2.1", "verdict": "accepted", "event_id": "evt_1", "event_type": "a\n\u{1b}[31m",
            "secret": "new", "bytes": 12, "status": 204, "upstream_status": 204,
            "head_us": 30, "body_us": 200, "verify_us": 5, "upstream_us": 4000, "total_us": 300,
        })
    );
}

#[test]
fn accepted_requests_are_silent_where_the_config_says_so_but_failures_are_not() {
    let fixture = fixture(false);
    fixture.tell(
        &verdict("192.0.2.1", GateDecision::Accepted),
        &exchange(200),
    );
    fixture.tell(
        &verdict("192.0.2.1", GateDecision::Duplicate),
        &exchange(200),
    );
    let failed = ExchangeSummary {
        forward_error: Some(("connect", "cannot connect: refused".to_owned())),
        ..exchange(502)
    };
    fixture.tell(&verdict("192.0.2.1", GateDecision::Accepted), &failed);
    let lines = fixture.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "WARN");
    assert_eq!(lines[0]["message"], "event not accepted by the app");
    assert_eq!(lines[0]["forward_error"], "connect");
    assert_eq!(lines[0]["error"], "cannot connect: refused");
}

#[test]
fn a_forger_gets_five_lines_and_the_rest_is_counted() {
    let fixture = fixture(false);
    for _ in 0..100 {
        let refused = verdict("198.51.100.9", GateDecision::Refused(Reject::BadSignature));
        fixture.tell(&refused, &exchange(401));
    }
    let metrics = fixture.recorder.metrics_text();
    assert!(metrics.contains(
        r#"hookgate_requests_total{route="stripe",verdict="refused",reason="bad-signature"} 100"#
    ));
    assert!(metrics.contains("hookgate_log_lines_withheld_total 95\n"));
    let lines = fixture.lines();
    assert_eq!(lines.len(), 6);
    for line in &lines[..5] {
        assert_eq!(line["target"], "security");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["reason"], "bad-signature");
        assert_eq!(line["check"], "signature");
        assert_eq!(line["status"], 401);
    }
    assert_eq!(lines[5]["withheld"], 95);
    assert_eq!(lines[5]["source"], "198.51.100.9");
}

/// Returns a reject of every reason, with hostile text wherever evidence can hold a client's text.
fn every_reject() -> Vec<Reject> {
    let second = Duration::from_secs(1);
    vec![
        Reject::no_route("a\r\n\u{202e}", "/\u{0}\"x"),
        Reject::Method {
            method: Method::from_bytes(b"BREW").unwrap(),
        },
        Reject::content_type("text/\u{1b}[0m"),
        Reject::Framing(FramingFault::Host),
        Reject::BodyTooLarge { limit: 9 },
        Reject::SourceNotAllowed {
            ip: "192.0.2.1".parse().unwrap(),
        },
        Reject::SourceRate {
            retry_after: second,
        },
        Reject::SourceBudget {
            retry_after: second,
        },
        Reject::ClientCertMissing,
        Reject::ClientCertInvalid { fault: "expired" },
        Reject::ClientCertRevoked,
        Reject::ClientCertNotAllowed {
            subject: "CN=a\r\n\u{202e}".into(),
            fingerprint: "00".into(),
        },
        Reject::ClientCertUnchecked { fault: "expired" },
        Reject::MissingMaterial { name: "x".into() },
        Reject::MalformedMaterial {
            name: "x".into(),
            fault: "twice",
        },
        Reject::StaleTimestamp {
            age_seconds: -7,
            tolerance: second,
        },
        Reject::BodyTimeout,
        Reject::BodyAborted,
        Reject::BadSignature,
        Reject::UserNotAllowed { user: 1000 },
        Reject::KeyUnavailable {
            fault: "closed".into(),
        },
        Reject::Unconfirmed {
            fault: "closed".into(),
        },
        Reject::NoCurrentSecret,
        Reject::WrongTenant,
        Reject::Identity { fault: "twice" },
        Reject::MissingId,
        Reject::MissingType,
        Reject::MissingVersion,
        Reject::Filtered {
            by: FilterKind::Events,
        },
        Reject::Unjudged {
            fault: "no such key".into(),
        },
        Reject::NotJson {
            fault: JsonFault::Duplicate,
        },
        Reject::Schema {
            misfits: Box::new([SchemaViolation {
                location: "/a\r\n\u{202e}".into(),
                fault: "\u{1b}[0m".into(),
            }]),
        },
        Reject::RouteRate {
            retry_after: second,
        },
        Reject::Duplicate {
            status: StatusCode::OK,
        },
        Reject::Replayed,
        Reject::InFlight,
        Reject::FirstFailed {
            status: StatusCode::BAD_GATEWAY,
        },
        Reject::MalformedEvent {
            fault: "the batch is empty".into(),
        },
        Reject::NotStored {
            fault: "the store is full".into(),
        },
        Reject::Overload,
        Reject::Internal,
    ]
}

#[test]
fn each_reason_has_a_line_and_a_count() {
    let fixture = fixture(false);
    let rejects = every_reject();
    let reasons: Vec<_> = rejects.iter().map(Reject::reason).collect();
    assert_eq!(reasons, RejectReason::ALL);
    for (index, reject) in rejects.iter().enumerate() {
        let source = format!("192.0.2.{index}");
        let status = reject.status().as_u16();
        fixture.tell(
            &verdict(&source, GateDecision::Refused(reject.clone())),
            &exchange(status),
        );
        fixture.tell(
            &verdict(&source, GateDecision::Monitored(reject.clone())),
            &exchange(200),
        );
    }
    let metrics = fixture.recorder.metrics_text();
    let lines = fixture.lines();
    assert_eq!(lines.len(), 2 * rejects.len());
    for (reject, pair) in rejects.iter().zip(lines.chunks(2)) {
        let code = reject.code();
        assert_eq!(
            (&pair[0]["reason"], &pair[1]["reason"]),
            (&code.into(), &code.into())
        );
        assert_eq!(pair[1]["verdict"], "monitored");
        for word in ["refused", "monitored"] {
            let row = format!(r#"{{route="stripe",verdict="{word}",reason="{code}"}} 1"#);
            assert!(metrics.contains(&row), "{row}");
        }
    }
}

/// Returns the names of all metric families in the text.
fn families(metrics: &str) -> Vec<&str> {
    let names = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    names.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn the_metrics_text_is_whole_and_each_family_appears_once() {
    let fixture = fixture(false);
    let recorder = &fixture.recorder;
    recorder.register_metric(&traffic::DEDUP_ENTRIES, || 5);
    recorder.register_metric(&traffic::DEDUP_EVICTED, || 6);
    recorder.register_metric(&traffic::DEDUP_ENTRIES, || 7);
    fixture.recorder.register_certificates(|| {
        let names = vec!["a.example\"\n".to_owned()];
        vec![CertificateHealth::of_file(names, 1_900_000_000)]
    });
    fixture.recorder.reload_applied(3);
    fixture.recorder.reload_refused(&"line 1\nline 2");
    let forwarded = ExchangeSummary {
        upstream_status: Some(StatusCode::OK),
        upstream_time: Duration::from_millis(3),
        ..exchange(200)
    };
    fixture.tell(&verdict("192.0.2.1", GateDecision::Accepted), &forwarded);
    let mut unrouted = verdict(
        "192.0.2.1",
        GateDecision::Refused(Reject::no_route("a", "/")),
    );
    unrouted.route = None;
    fixture.tell(&unrouted, &exchange(404));

    let metrics = fixture.recorder.metrics_text();
    assert!(metrics.ends_with("# EOF\n"));
    let mut names = families(&metrics);
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for wanted in [
        "hookgate_requests_total{route=\"-\",verdict=\"refused\",reason=\"no-route\"} 1",
        "hookgate_requests_total{route=\"stripe\",verdict=\"accepted\",reason=\"-\"} 1",
        "hookgate_upstream_answers_total{route=\"stripe\",status=\"2xx\"} 1",
        "hookgate_request_stage_seconds_bucket{le=\"0.005\",route=\"stripe\",stage=\"upstream\"} 1",
        "hookgate_request_stage_seconds_bucket{le=\"+Inf\",route=\"stripe\",stage=\"total\"} 1",
        "hookgate_request_stage_seconds_count{route=\"stripe\",stage=\"head\"} 1",
        "hookgate_config_reloads_total{outcome=\"applied\"} 1",
        "hookgate_config_reloads_total{outcome=\"refused\"} 1",
        "hookgate_certificate_not_after_timestamp_seconds{name=\"a.example\\\"\\n\"} 1900000000",
        "hookgate_dedup_entries 7",
        "hookgate_dedup_evicted_total 6",
        "hookgate_build_info{version=",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(wanted), "{wanted}\n{metrics}");
    }
}

#[test]
fn what_clients_send_makes_no_new_series() {
    let fixture = fixture(false);
    let tell = |number: u32| {
        let ip = std::net::Ipv4Addr::from_bits(number).to_string();
        let path = format!("/{number}");
        let mut unrouted = verdict(&ip, GateDecision::Refused(Reject::no_route("h", &path)));
        unrouted.route = None;
        unrouted.event_type = Some(format!("type-{number}").into());
        fixture.tell(&unrouted, &exchange(404));
    };
    let series = || fixture.recorder.metrics_text().lines().count();
    tell(1);
    let before = series();
    for number in 2..500 {
        tell(number);
    }
    assert_eq!(series(), before);
}

#[test]
fn counters_go_on_after_a_reload() {
    let fixture = fixture(false);
    let name = RouteName::new("stripe");
    let before = fixture.recorder.route_counters(&name);
    let after = fixture.recorder.route_counters(&RouteName::new("stripe"));
    assert!(Arc::ptr_eq(&before, &after));
    // Fails if a removed route keeps its memory.
    let gone = Arc::downgrade(&fixture.recorder.route_counters(&RouteName::new("gone")));
    fixture.recorder.retain_routes(|known| *known == name);
    assert!(gone.upgrade().is_none());
    let after = fixture.recorder.route_counters(&name);
    assert!(Arc::ptr_eq(&before, &after));
}
