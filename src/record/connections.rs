//! Log lines and metrics about connections, below the level of requests.
//!
//! The edge reports each event and keeps its own counts; this module only formats both.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use tracing::Level;

use crate::edge::counters::EdgeCounters;
use crate::edge::event::{ConnectionRefusal, EdgeEvent};
use crate::model::clock::ClockReading;
use crate::model::error::chain;
use crate::model::source::SourceKey;
use crate::record::log_suppression::LineKind;
use crate::record::metrics::counter;
use crate::record::{TelemetryRecorder, lock};

/// Placeholder address for events without a source, because log lines are rate-limited by source.
const NO_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Log line of an edge event: level, message and fields.
struct EdgeEventLine {
    kind: LineKind,
    level: Level,
    message: &'static str,
    ip: IpAddr,
    /// One more field beyond the source: its name and its text.
    detail: Option<(&'static str, String)>,
}

impl TelemetryRecorder {
    /// Logs what happened to a connection. It counts nothing, because the edge keeps the counts.
    pub(crate) fn edge_event(&self, event: &EdgeEvent) {
        let telling = event_line(event);
        if !self.logger.is_enabled(telling.level) {
            return;
        }
        let key = (SourceKey::of(telling.ip), telling.kind);
        let Some(withheld) = self.allowance(key) else {
            return;
        };
        let target = match telling.kind {
            LineKind::Security => "security",
            LineKind::Plain | LineKind::Unsigned => "connection",
        };
        let now = ClockReading::read();
        let mut line = self
            .logger
            .line(now, telling.level, target, telling.message);
        if telling.ip != NO_SOURCE {
            line.text("source", &telling.ip);
        }
        if let Some((name, text)) = &telling.detail {
            line.text(name, text);
        }
        // The first line after a pause says how many lines about this source were left out.
        if withheld > 0 {
            line.count("withheld", withheld);
        }
        self.logger.write(line);
    }

    /// Adds the counts of the edge to the metrics.
    pub(crate) fn register_edge(&self, counters: &Arc<EdgeCounters>) {
        *lock(&self.edge) = Some(Arc::clone(counters));
    }
}

/// Maps an edge event to its log line. Events that an attacker can cause on purpose are security events.
fn event_line(event: &EdgeEvent) -> EdgeEventLine {
    let security = |ip: &IpAddr, message, detail| EdgeEventLine {
        kind: LineKind::Security,
        level: Level::WARN,
        message,
        ip: *ip,
        detail,
    };
    let plain = |ip: &IpAddr, level, message, detail| EdgeEventLine {
        kind: LineKind::Plain,
        level,
        message,
        ip: *ip,
        detail,
    };
    match event {
        EdgeEvent::ConnectionRefused { ip, reason } => {
            let detail = Some(("reason", reason.code().to_owned()));
            match reason {
                ConnectionRefusal::TooManyFromSource => security(ip, "connection rejected", detail),
                // Reaching the limit of all connections is a matter of capacity, not the fault of this source.
                ConnectionRefusal::TooManyConnections => {
                    plain(ip, Level::WARN, "connection rejected", detail)
                }
            }
        }
        EdgeEvent::ProxyHeaderRefused { ip, reason } => security(
            ip,
            "PROXY header rejected",
            Some(("reason", (*reason).to_owned())),
        ),
        // Scanners and old clients cause failed handshakes all the time, so these are not security events.
        EdgeEvent::HandshakeFailed { ip, error } => plain(
            ip,
            Level::INFO,
            "TLS handshake failed",
            Some(("error", error.clone())),
        ),
        EdgeEvent::HandshakeTimeout { ip } => {
            plain(ip, Level::INFO, "TLS handshake timed out", None)
        }
        EdgeEvent::HeadRefused { ip, fault } => security(
            ip,
            "malformed request head rejected",
            Some(("fault", fault.code().to_owned())),
        ),
        EdgeEvent::HeadTimeout { ip } => security(ip, "request head timed out", None),
        EdgeEvent::WriteStalled { ip } => plain(
            ip,
            Level::INFO,
            "client did not read the response in time",
            None,
        ),
        EdgeEvent::Flood { ip } => security(ip, "HTTP/2 flood, connection closed", None),
        // These two concern the gate itself and have no source.
        EdgeEvent::AcceptFailed { error } => plain(
            &NO_SOURCE,
            Level::ERROR,
            "cannot accept connections",
            Some(("error", chain(error))),
        ),
        EdgeEvent::CertificateExpired { names } => plain(
            &NO_SOURCE,
            Level::ERROR,
            "certificate expired",
            Some(("names", names.join(" "))),
        ),
    }
}

/// Encodes the counts of the edge as metrics.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, counters: &EdgeCounters) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "hookgate_connections_open",
        "Connections that are currently open",
        None,
        MetricType::Gauge,
    )?;
    let open = u64::try_from(counters.open.read()).unwrap_or(u64::MAX);
    // Never negative, but the counter is signed because connections are added and subtracted by different threads.
    metric.encode_gauge(&open)?;
    let totals = [
        (
            "hookgate_connections_accepted",
            "Connections accepted, including those rejected right afterwards",
            counters.accepted.read(),
        ),
        (
            "hookgate_accept_failures",
            "Errors of the accept call itself, such as too many open files",
            counters.accept_failed.read(),
        ),
        (
            "hookgate_idle_connections_closed",
            "Idle connections closed because no request arrived",
            counters.idle_closed.read(),
        ),
    ];
    for (name, help, count) in totals {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, f64>(&count, None)?;
    }
    for family in families(counters) {
        let mut metric =
            encoder.encode_descriptor(family.name, family.help, None, MetricType::Counter)?;
        for (value, count) in family.rows {
            counter(&mut metric, &[(family.label, value)], count)?;
        }
    }
    Ok(())
}

struct MetricFamily {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    rows: Vec<(&'static str, u64)>,
}

fn families(counters: &EdgeCounters) -> [MetricFamily; 4] {
    [
        MetricFamily {
            name: "hookgate_connections_refused",
            help: "Connections rejected before the first byte of a request was read, by reason",
            label: "reason",
            rows: vec![
                (
                    ConnectionRefusal::TooManyConnections.code(),
                    counters.refused_total.read(),
                ),
                (
                    ConnectionRefusal::TooManyFromSource.code(),
                    counters.refused_source.read(),
                ),
                ("proxy-header", counters.refused_proxy_header.read()),
            ],
        },
        MetricFamily {
            name: "hookgate_tls_handshakes",
            help: "TLS handshakes, by outcome",
            label: "outcome",
            rows: vec![
                ("done", counters.handshakes_ok.read()),
                ("failed", counters.handshakes_failed.read()),
                ("timed-out", counters.handshakes_timed_out.read()),
            ],
        },
        MetricFamily {
            name: "hookgate_protocol_connections",
            help: "Connections that reached HTTP, by HTTP version",
            label: "version",
            rows: vec![
                ("1", counters.connections_h1.read()),
                ("2", counters.connections_h2.read()),
            ],
        },
        MetricFamily {
            name: "hookgate_connections_cut",
            help: "Connections closed by the gate for what the client sent or did not read, by reason",
            label: "reason",
            rows: vec![
                ("malformed-head", counters.heads_refused.read()),
                ("head-timeout", counters.heads_timed_out.read()),
                ("write-stalled", counters.writes_stalled.read()),
                ("flood", counters.floods_cut.read()),
            ],
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::edge::head_check::HeadFault;
    use crate::record::log::LineLogger;
    use crate::record::log_line::LineEncoding;
    use crate::record::testing::Kept;

    #[test]
    fn each_event_is_one_line() {
        let kept = Kept::default();
        let logger =
            LineLogger::to_writer(LineEncoding::Text, Level::INFO, Box::new(kept.clone())).unwrap();
        let recorder = TelemetryRecorder::new(logger, true);
        let ip = IpAddr::from([192, 0, 2, 7]);
        let events = [
            EdgeEvent::ConnectionRefused {
                ip,
                reason: ConnectionRefusal::TooManyFromSource,
            },
            EdgeEvent::HandshakeFailed {
                ip,
                error: "odd\nbytes".to_owned(),
            },
            EdgeEvent::HeadRefused {
                ip,
                fault: HeadFault::BothFramings,
            },
            EdgeEvent::AcceptFailed {
                error: io::Error::other("no files"),
            },
            EdgeEvent::CertificateExpired {
                names: vec!["a.example".to_owned(), "b.example".to_owned()],
            },
        ];
        for event in &events {
            recorder.edge_event(event);
        }
        recorder.close();
        let text = kept.text();
        let lines: Vec<_> = text.lines().map(|line| &line[25..]).collect();
        assert_eq!(
            lines,
            [
                " WARN security: connection rejected source=192.0.2.7 reason=too-many-from-source",
                " INFO connection: TLS handshake failed source=192.0.2.7 error=\"odd\\nbytes\"",
                " WARN security: malformed request head rejected source=192.0.2.7 fault=both-framings",
                "ERROR connection: cannot accept connections error=\"no files\"",
                "ERROR connection: certificate expired names=\"a.example b.example\"",
            ]
        );
    }

    #[test]
    fn the_counts_of_the_edge_are_shown() {
        let logger =
            LineLogger::to_writer(LineEncoding::Text, Level::INFO, Box::new(io::sink())).unwrap();
        let recorder = TelemetryRecorder::new(logger, true);
        recorder.register_edge(&Arc::default());
        let text = recorder.metrics_text();
        for wanted in [
            "hookgate_connections_open 0",
            "hookgate_connections_refused_total{reason=\"proxy-header\"} 0",
            "hookgate_tls_handshakes_total{outcome=\"timed-out\"} 0",
        ] {
            assert!(text.contains(wanted), "{wanted}");
        }
    }
}
