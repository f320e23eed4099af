//! An admin listener over a store without a gate, for tests of the commands over the inbox.

use std::error::Error;
use std::path::Path;

use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use http::{HeaderMap, Method};
use tokio_util::sync::CancellationToken;

use crate::admin::{AdminControls, AdminListener, AdminState, run_replays, serve};
use crate::config::model::AdminListen;
use crate::model::database::{DatabaseLocation, SqliteFile};
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::record::TelemetryRecorder;
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;
use crate::store::rows::{CommitOutcome, NewDelivery, NewEvent, StoredEvent};
use crate::store::{Store, StoreOptions};

/// A store with its admin listener in this process. The listener ends when this is dropped.
pub struct AdminOfStore {
    address: String,
    store: Store,
    stop: CancellationToken,
}

impl AdminOfStore {
    /// Opens `hookgate.db` in a folder, and serves its admin API on `admin.sock` in the same folder.
    ///
    /// # Errors
    /// Returns an error if the store cannot be opened or the socket cannot be bound.
    pub async fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let options = StoreOptions {
            location: DatabaseLocation::Sqlite(SqliteFile {
                path: folder.join("hookgate.db"),
                min_free: 0,
            }),
            encryption_keys: Vec::new(),
            keep_body: true,
            max_size: None,
            max_events: None,
        };
        let store = tokio::task::spawn_blocking(move || Store::open(options)).await??;
        let controls = AdminControls {
            store: Some(store.clone()),
            ..AdminControls::without_store()
        };
        let writer = Box::new(std::io::sink());
        let logger = LineLogger::to_writer(LineEncoding::Json, tracing::Level::INFO, writer)?;
        let state = AdminState::new(TelemetryRecorder::new(logger, true), &[], controls.clone());
        let socket = folder.join("admin.sock");
        let listener = AdminListener::bind(&AdminListen::Unix(socket.clone()))?;
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, state, None, stop.clone()));
        tokio::spawn(run_replays(controls, stop.clone()));
        Ok(Self {
            address: format!("unix:{}", socket.display()),
            store,
            stop,
        })
    }

    /// Returns the address of the listener, as `--admin` takes it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Commits an event of the route `github` with one pending delivery to `ci`. Returns the delivery's id.
    ///
    /// # Errors
    /// Returns an error if the store does not accept the event or has it already.
    pub async fn accept(&self, number: u8, event_type: &str) -> Result<String, Box<dyn Error>> {
        let route = RouteName::new("github");
        let name = DestinationName::new("ci");
        let destination = self.store.destination(&route, &name).await?;
        let received_ms = 1_764_000_000_000 + i64::from(number) * 1000;
        let event = StoredEvent {
            uid: RequestId::new(received_ms, [number; 10]),
            route,
            provider: "github".to_owned(),
            event_id: EventId::parse(&format!("id-{number}")),
            event_type: Some(event_type.into()),
            webhook_id: format!("msg_{number}"),
            received_ms,
            source: [192, 0, 2, 7].into(),
            is_tls: true,
            method: Method::POST,
            target: "/github".to_owned(),
            host: Some("hooks.example".to_owned()),
            headers: HeaderMap::new(),
            body: Some(Bytes::from_static(b"{\"a\":\xff}\n")),
            digest: [7; 32],
        };
        let delivery = NewDelivery {
            destination,
            due_ms: 0,
            priority: 0,
            order_key: None,
            is_in_flight: false,
        };
        let committed = self.store.commit(NewEvent {
            event,
            claims: Vec::new(),
            status: 202,
            deliveries: vec![delivery],
        });
        match committed.await? {
            CommitOutcome::New(ids) => ids
                .first()
                .map(ToString::to_string)
                .ok_or_else(|| "the event has no delivery".into()),
            CommitOutcome::Duplicate(status) => Err(format!("a duplicate of {status}").into()),
        }
    }
}

impl Drop for AdminOfStore {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
