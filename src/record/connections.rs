//! Log lines and metrics about connections, below the level of requests.
//!
//! The edge reports each event and keeps its own counts; this module only formats both.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use prometheus_client::encoding::DescriptorEncoder;
use tracing::Level;

use crate::edge::counters::{AtomicCounter, EdgeCounters};
use crate::edge::event::{ConnectionRefusal, EdgeEvent};
use crate::model::clock::ClockReading;
use crate::model::error::chain;
use crate::model::source::SourceKey;
use crate::record::family_encoder::{FamilyEncoder, single};
use crate::record::log_suppression::LineKind;
use crate::record::metric_table::{MetricRow, traffic};
use crate::record::recorder::TelemetryRecorder;

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
        *self.edge.lock() = Some(Arc::clone(counters));
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
    // Never negative, but the counter is signed because connections are added and subtracted by different threads.
    let open = u64::try_from(counters.open.read()).unwrap_or(u64::MAX);
    let accept_failed = counters.accept_failed.read();
    single(encoder, &traffic::CONNECTIONS_OPEN, open)?;
    single(
        encoder,
        &traffic::CONNECTIONS_ACCEPTED,
        counters.accepted.read(),
    )?;
    single(encoder, &traffic::ACCEPT_FAILURES, accept_failed)?;
    single(
        encoder,
        &traffic::IDLE_CONNECTIONS_CLOSED,
        counters.idle_closed.read(),
    )?;
    let refused = [
        (
            ConnectionRefusal::TooManyConnections.code(),
            &counters.refused_total,
        ),
        (
            ConnectionRefusal::TooManyFromSource.code(),
            &counters.refused_source,
        ),
        ("proxy-header", &counters.refused_proxy_header),
    ];
    labeled(encoder, &traffic::CONNECTIONS_REFUSED, &refused)?;
    let handshakes = [
        ("done", &counters.handshakes_ok),
        ("failed", &counters.handshakes_failed),
        ("timed-out", &counters.handshakes_timed_out),
    ];
    labeled(encoder, &traffic::TLS_HANDSHAKES, &handshakes)?;
    let versions = [
        ("1", &counters.connections_h1),
        ("2", &counters.connections_h2),
    ];
    labeled(encoder, &traffic::PROTOCOL_CONNECTIONS, &versions)?;
    let cut = [
        ("malformed-head", &counters.heads_refused),
        ("head-timeout", &counters.heads_timed_out),
        ("write-stalled", &counters.writes_stalled),
        ("flood", &counters.floods_cut),
    ];
    labeled(encoder, &traffic::CONNECTIONS_CUT, &cut)
}

/// Encodes a family with one label, by the values of the label.
fn labeled(
    encoder: &mut DescriptorEncoder<'_>,
    row: &'static MetricRow,
    counts: &[(&str, &AtomicCounter)],
) -> fmt::Result {
    let mut family = FamilyEncoder::begin(encoder, row)?;
    for (value, count) in counts {
        family.count(&[*value], count.read())?;
    }
    Ok(())
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
