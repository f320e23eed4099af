//! Tests of counts and advice over several nodes.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use tracing::Level;

use crate::admin::config_view::ConfigView;
use crate::admin::controls::AdminControls;
use crate::admin::state::AdminState;
use crate::admin::{node_counts, node_rows, rotation};
use crate::config::load_text;
use crate::model::clock::ClockReading;
use crate::model::database::{DatabaseLocation, SqliteFile};
use crate::record::TelemetryRecorder;
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;
use crate::store::node_testing::NodeStub;
use crate::store::nodes::{HourReport, NodeReport, NodeRow, RouteReport, SecretReport};
use crate::store::{Store, StoreOptions};

const DAY_MS: i64 = 86_400_000;

/// The state of a node whose store says that there are others.
struct NodeView {
    _folder: TempDir,
    state: Arc<AdminState>,
    stub: Arc<NodeStub>,
    now_ms: i64,
}

impl NodeView {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for secret in ["old", "new"] {
            fs::write(
                folder.path().join(secret),
                format!("fake-secret-of-github-{secret}"),
            )
            .unwrap();
        }
        let path = folder.path().join("hookgate.toml").display().to_string();
        let text = "[server]\nlisten = [\"127.0.0.1:0\"]\n[routes.shop]\npath = \"/shop\"\n\
            upstream = \"http://127.0.0.1:1/\"\nprovider = \"github\"\n\
            secret = [{ file = \"new\", name = \"new\" }, { file = \"old\", name = \"old\" }]\n";
        let loaded = match load_text(&path, text.to_owned()) {
            Ok(loaded) => loaded,
            Err(report) => panic!("{report:?}"),
        };
        let stub = Arc::new(NodeStub::default());
        let store = Store::open(StoreOptions {
            location: DatabaseLocation::Sqlite(SqliteFile {
                path: folder.path().join("hookgate.db"),
                min_free: 0,
            }),
            encryption_keys: Vec::new(),
            keep_body: true,
            max_size: None,
            max_events: None,
        });
        let controls = AdminControls {
            store: Some(store.unwrap().with_stub(Arc::clone(&stub))),
            ..AdminControls::without_store()
        };
        let writer = Box::new(std::io::sink());
        let logger = LineLogger::to_writer(LineEncoding::Json, Level::INFO, writer).unwrap();
        let state = AdminState::new(TelemetryRecorder::new(logger, true), &[], controls);
        state.set_facts(ConfigView::of(&loaded.config));
        Self {
            _folder: folder,
            state,
            stub,
            now_ms: ClockReading::read().unix_ms,
        }
    }

    /// A node that has counted for a month: it saw both secrets, `new` a moment ago.
    fn row(&self, name: &str, old_ago_ms: i64) -> NodeRow {
        let used = |label: &str, ago_ms: i64| SecretReport {
            route: "shop".to_owned(),
            label: label.to_owned(),
            matches: 5,
            last_ms: self.now_ms - ago_ms,
        };
        NodeRow {
            id: 2,
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            started_ms: self.now_ms - 30 * DAY_MS,
            quiet_ms: 0,
            ended_ms: None,
            is_self: false,
            report: NodeReport {
                published_ms: self.now_ms,
                counted_since_ms: self.now_ms - 30 * DAY_MS,
                secrets: vec![used("old", old_ago_ms), used("new", 0)],
                routes: vec![RouteReport {
                    route: "shop".to_owned(),
                    hours: vec![
                        HourReport {
                            start_ms: self.now_ms,
                            requests: 10,
                            would_refuse: vec![("bad-signature".to_owned(), 4)],
                        },
                        HourReport {
                            start_ms: self.now_ms - 2 * DAY_MS,
                            requests: 1000,
                            would_refuse: Vec::new(),
                        },
                    ],
                }],
                ..NodeReport::default()
            },
        }
    }

    fn set(&self, rows: &[NodeRow]) {
        *self.stub.nodes.lock() = rows.to_vec();
    }

    async fn advice(&self) -> Vec<String> {
        let needs = rotation::problems(&self.state, ClockReading::read()).await;
        needs
            .into_iter()
            .map(|need| need.kind.word().to_owned())
            .collect()
    }
}

/// Fails when the uses of other nodes are left out, or when advice rests on the reports of some nodes only.
#[tokio::test]
async fn a_secret_is_unused_only_if_every_node_says_so() {
    let view = NodeView::open();
    let own = NodeRow {
        is_self: true,
        ..view.row("one", 20 * DAY_MS)
    };
    let idle = view.row("two", 9 * DAY_MS);
    view.set(&[own.clone(), idle.clone()]);
    let uses = node_counts::secrets_now(&view.state).await;
    let old = uses
        .secrets
        .iter()
        .find(|secret| secret.name == "old")
        .unwrap();
    // This process has counted nothing yet: its fresh report replaces the row of the store.
    assert_eq!(old.matches, 5);
    assert_eq!(old.last_match.unwrap().0, view.now_ms - 9 * DAY_MS);
    // It has counted for a moment, so a week cannot have passed.
    assert_eq!(view.advice().await, [""; 0]);
    let counted = |rows: &[NodeRow]| {
        view.set(rows);
        let state = Arc::clone(&view.state);
        async move { node_counts::secrets_now(&state).await.complete_since_ms }
    };
    assert!(counted(&[own.clone(), idle.clone()]).await.is_some());
    let stale = |row: &NodeRow| {
        let mut row = row.clone();
        row.report.published_ms -= 301_000;
        row
    };
    assert_eq!(counted(&[own.clone(), stale(&idle)]).await, None);
    let mut partial = idle.clone();
    partial.report.is_partial = true;
    assert_eq!(counted(&[own.clone(), partial]).await, None);
    // A node that does not find itself was declared dead.
    assert_eq!(counted(std::slice::from_ref(&idle)).await, None);
    let mut ended = stale(&idle);
    ended.ended_ms = Some(view.now_ms);
    assert!(counted(&[own, ended]).await.is_some());
}

/// Fails when hours of before the last day count, or when a node whose counts are missing is not named.
#[tokio::test]
async fn the_nodes_with_known_counts_are_apart_from_the_others() {
    let view = NodeView::open();
    let own = NodeRow {
        is_self: true,
        ..view.row("one", 0)
    };
    let mut stale = view.row("three", 0);
    stale.report.published_ms = 0;
    view.set(&[own, view.row("two", 0), stale]);
    let (known, missing) = node_rows::known_rows(&view.state).await;
    let names: Vec<_> = known.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(
        (names, missing),
        (vec!["one", "two"], vec!["three".to_owned()])
    );
    let day = node_counts::day_of(&view.state, "shop", view.now_ms).await;
    assert_eq!(day.requests, 10);
    assert_eq!(day.reasons[0].count, 4);
    assert_eq!(day.missing_nodes, ["three"]);
}
