//! Test helpers for the commands that use the admin API: sample rows, stable text, and a gate.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::admin::documents::{ApiTimestamp, DeliveryDocument, DeliveryStateName, StateCounts};
use crate::admin::{AdminControls, AdminListener, AdminState, access, serve};
use crate::config::model::{AdminListen, AdminRole};
use crate::record::TelemetryRecorder;
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;

/// Time of the sample rows: 2025-11-24, 16:00 UTC.
pub(super) const WHEN: ApiTimestamp = ApiTimestamp(1_764_000_000_000);

pub(super) const UID: &str = "0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12";

pub(super) fn counts(delivered: u64, dead: u64) -> StateCounts {
    StateCounts {
        delivered,
        dead,
        ..StateCounts::default()
    }
}

pub(super) fn delivery(id: i64, state: DeliveryStateName) -> DeliveryDocument {
    DeliveryDocument {
        id,
        event: UID.to_owned(),
        route: "github".to_owned(),
        destination: "ci".to_owned(),
        event_id: Some("72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned()),
        event_type: Some("push".to_owned()),
        state,
        attempts: 2,
        replay: id == 2,
        created: WHEN,
        due: None,
        ended: Some(WHEN),
        last_status: Some(503),
        last_error: Some("status".to_owned()),
    }
}

/// Removes colors, and replaces each age by `AGE` and each gap by one blank, so that text is the same in each run.
pub(super) fn plain(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let mut words: Vec<&str> = line.split_whitespace().collect();
        while let Some(unit) = words.iter().position(|word| *word == "days") {
            words.remove(unit);
            let count = words[unit - 1].trim_start_matches('(');
            assert!(count.parse::<u64>().is_ok(), "{line}");
            words[unit - 1] = match words[unit - 1].starts_with('(') {
                true => "(AGE",
                false => "AGE",
            };
        }
        out.push_str(&" ".repeat(indent));
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}

/// Serves an admin listener without a store on a socket in `folder`, until the returned token is cancelled.
pub(super) fn door(folder: &Path, token: Option<&str>) -> (PathBuf, CancellationToken) {
    open(folder, token, AdminControls::without_store())
}

pub(super) fn open(
    folder: &Path,
    token: Option<&str>,
    controls: AdminControls,
) -> (PathBuf, CancellationToken) {
    let writer = Box::new(std::io::sink());
    let logger = LineLogger::to_writer(LineEncoding::Json, Level::INFO, writer).unwrap();
    let tokens = token.map(|token| access::token("admin", AdminRole::Operator, token));
    let tokens: Vec<_> = tokens.into_iter().collect();
    let state = AdminState::new(TelemetryRecorder::new(logger, true), &tokens, controls);
    let socket = folder.join("admin.sock");
    let listener = AdminListener::bind(&AdminListen::Unix(socket.clone())).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, state, None, stop.clone()));
    (socket, stop)
}
