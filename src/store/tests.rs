//! Tests of the guarantees of the store. Each names the one-line change that makes it fail.

mod change;
mod clock;
mod counting;
mod damage;
mod delivery;
mod erasing;
mod failure;
mod fault_proxy;
mod files;
mod lost_answers;
mod million;
mod purge;
pub(crate) mod schema;
mod sealing;
mod searching;
mod shared_claims;
mod states;
mod transfer;
mod two_nodes;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::model::secret::Secret;
use http::{HeaderMap, HeaderValue, Method};
use tempfile::TempDir;

use crate::model::database::{DatabaseLocation, SqliteFile};
use crate::model::delivery::{DeliveryId, DeliveryState};
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::options::StoreOptions;
use crate::store::rows::{
    AttemptRecord, ClaimRow, CommitOutcome, DestinationId, DueDelivery, FinishedAttempt,
    NewDelivery, NewEvent, NextState, StoredEvent,
};
use crate::store::search::{DeliverySearch, EventSearch, ListPage};
use crate::store::take::TakeRequest;
use crate::store::tests::schema::TestSchema;

pub(super) const NOW: i64 = 1_700_000_000_000;

/// A store in its own folder or schema, with the operations that most tests need.
pub(super) struct Rig {
    pub(super) store: Store,
    pub(super) folder: TempDir,
    /// The schema of this test on the server of `HOOKGATE_TEST_POSTGRES`; `None` for an SQLite file.
    schema: Option<TestSchema>,
}

/// Checks a file.
pub(super) fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    crate::store::check(&file(path))
}

/// Returns the location of a file.
pub(super) fn file(path: &Path) -> DatabaseLocation {
    DatabaseLocation::Sqlite(SqliteFile {
        path: path.to_owned(),
        min_free: 0,
    })
}

pub(super) fn options(path: &Path) -> StoreOptions {
    at(file(path))
}

/// Returns the settings of most tests for a location.
pub(super) fn at(location: DatabaseLocation) -> StoreOptions {
    StoreOptions {
        location,
        encryption_keys: Vec::new(),
        keep_body: true,
        max_size: None,
        max_events: None,
    }
}

pub(super) fn key(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

pub(super) fn route(name: &str) -> RouteName {
    RouteName::new(name)
}

pub(super) fn name(name: &str) -> DestinationName {
    DestinationName::new(name)
}

pub(super) const ALL: ListPage = ListPage {
    after: None,
    limit: 1000,
};

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(set: impl FnOnce(&mut StoreOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::open(folder, TestSchema::create(), set)
    }

    fn open(
        folder: TempDir,
        schema: Option<TestSchema>,
        set: impl FnOnce(&mut StoreOptions),
    ) -> Self {
        let mut options = match &schema {
            None => options(&folder.path().join("inbox.db")),
            Some(schema) => at(schema.location(folder.path())),
        };
        set(&mut options);
        let store = Store::open(options).unwrap();
        Self {
            store,
            folder,
            schema,
        }
    }

    /// Returns a rig for a file that a test has changed.
    pub(super) fn of_file(store: Store, folder: TempDir) -> Self {
        Self {
            store,
            folder,
            schema: None,
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("inbox.db")
    }

    /// Opens the store a second time, as another node does. Returns `None` for a file.
    pub(super) fn second_node(&self) -> Option<Store> {
        let schema = self.schema.as_ref()?;
        let location = DatabaseLocation::Postgres(Box::new(schema.settings(None)));
        Some(Store::open(at(location)).unwrap())
    }

    /// Returns the number of kinds that the store knows.
    pub(super) fn kinds(&self) -> usize {
        match self.is_shared() {
            false => self.store.sqlite().shared.kinds_for_test(),
            true => self.store.postgres().kinds_for_test(),
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.schema.is_some()
    }

    pub(super) fn reopen(self, set: impl FnOnce(&mut StoreOptions)) -> Self {
        let Self {
            store,
            folder,
            schema,
        } = self;
        store.close();
        Self::open(folder, schema, set)
    }

    /// Ends like a killed process: writes nothing and closes nothing in order.
    pub(super) fn kill(self, set: impl FnOnce(&mut StoreOptions)) -> Self {
        let Self {
            store,
            folder,
            schema,
        } = self;
        match &schema {
            None => store
                .sqlite()
                .shared
                .faults
                .is_abandoned
                .store(true, Ordering::SeqCst),
            Some(_) => store.postgres().abandon(),
        }
        drop(store);
        Self::open(folder, schema, set)
    }

    /// Commits many events at once, so that they form few groups.
    pub(super) async fn commit_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut waiting = Vec::new();
        for event in events {
            let store = self.store.clone();
            waiting.push(tokio::spawn(async move { store.commit(event.0).await }));
        }
        for commit in waiting {
            commit.await.unwrap().unwrap();
        }
    }

    pub(super) async fn destination(&self, destination: &str) -> DestinationId {
        let route = route("github");
        self.store
            .destination(&route, &name(destination))
            .await
            .unwrap()
    }

    pub(super) async fn commit(&self, event: NewEvent) -> Vec<DeliveryId> {
        match self.store.commit(event).await.unwrap() {
            CommitOutcome::New(ids) => ids,
            CommitOutcome::Duplicate(status) => panic!("duplicate with {status}"),
        }
    }

    /// Commits one event for one destination.
    pub(super) async fn deliver(&self, number: u64, destination: DestinationId) -> DeliveryId {
        let event = event(number).to(pending(destination));
        self.commit(event.0).await[0]
    }

    pub(super) async fn begin(&self, destination: DestinationId) -> Vec<DueDelivery> {
        self.take(destination, 100, NOW + 1_000_000).await
    }

    pub(super) async fn finish(&self, due: &DueDelivery, next: NextState) -> bool {
        self.store.finish(finished(due, next)).await.unwrap()
    }

    pub(super) async fn state(&self, id: DeliveryId) -> DeliveryState {
        let rows = self.store.deliveries(DeliverySearch::default(), ALL).await;
        let rows = rows.unwrap();
        rows.iter().find(|row| row.id == id).unwrap().state
    }

    pub(super) async fn uids(&self, search: EventSearch) -> Vec<RequestId> {
        let rows = self.store.events(search, ALL).await.unwrap();
        rows.into_iter().map(|row| row.uid).collect()
    }

    /// Asserts that the check finds nothing wrong with the store.
    pub(super) fn assert_sound(&self) {
        let found = match &self.schema {
            None => check(&self.path()),
            Some(schema) => schema.check(),
        };
        assert_eq!(found.unwrap(), Vec::<String>::new());
    }

    /// Takes due deliveries of a destination, without limits across nodes.
    pub(super) async fn take(
        &self,
        destination: DestinationId,
        limit: usize,
        as_of_ms: i64,
    ) -> Vec<DueDelivery> {
        let request = TakeRequest::new(destination, limit, as_of_ms);
        self.store.take(request).await.unwrap().due
    }
}

/// An event under construction.
pub(super) struct Event(pub(super) NewEvent);

pub(super) fn uid(number: u64) -> RequestId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    RequestId::new(NOW + i64::try_from(number).unwrap(), random)
}

pub(super) fn event(number: u64) -> Event {
    let mut headers = HeaderMap::new();
    headers.insert("x-github-event", HeaderValue::from_static("push"));
    headers.append("x-twice", HeaderValue::from_static("one"));
    headers.append("x-twice", HeaderValue::from_bytes(b"tw\xf6").unwrap());
    let event = StoredEvent {
        uid: uid(number),
        route: route("github"),
        provider: "github".to_owned(),
        event_id: EventId::parse(&format!("evt_{number}")),
        event_type: Some("push".into()),
        webhook_id: format!("msg_{number}"),
        received_ms: NOW + i64::try_from(number).unwrap(),
        source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        is_tls: true,
        method: Method::POST,
        target: "/github?a=%20b".to_owned(),
        host: Some("hooks.example".to_owned()),
        headers,
        body: Some(Bytes::from(format!("{{\"number\":{number}}}"))),
        digest: [7; 32],
    };
    Event(NewEvent {
        event,
        claims: Vec::new(),
        status: 202,
        deliveries: Vec::new(),
    })
}

impl Event {
    pub(super) fn to(mut self, delivery: NewDelivery) -> Self {
        self.0.deliveries.push(delivery);
        self
    }

    pub(super) fn set(mut self, set: impl FnOnce(&mut StoredEvent)) -> Self {
        set(&mut self.0.event);
        self
    }

    pub(super) fn claim(mut self, key: u8, expires_ms: i64) -> Self {
        let key = [key; 16];
        self.0.claims.push(ClaimRow { key, expires_ms });
        self
    }
}

pub(super) fn pending(destination: DestinationId) -> NewDelivery {
    NewDelivery {
        destination,
        due_ms: NOW,
        priority: 0,
        order_key: None,
        is_in_flight: false,
    }
}

/// Returns a delivery that may be taken, and one in flight with the same order key.
pub(super) fn in_order(destination: DestinationId) -> (NewDelivery, NewDelivery) {
    let waiting = NewDelivery {
        order_key: Some(1),
        ..pending(destination)
    };
    let going = NewDelivery {
        is_in_flight: true,
        ..waiting.clone()
    };
    (waiting, going)
}

pub(super) fn finished(due: &DueDelivery, next: NextState) -> FinishedAttempt {
    let (status, error) = match next {
        NextState::Delivered => (Some(204), None),
        NextState::Waiting(_) => (Some(503), None),
        NextState::Dead => (None, Some(("connect".to_owned(), "refused".to_owned()))),
    };
    FinishedAttempt {
        delivery: due.delivery,
        attempt: due.attempt,
        record: AttemptRecord {
            started_ms: NOW + 5,
            duration_ms: 7,
            status,
            error,
            response_start: Bytes::from_static(b"first bytes"),
        },
        next,
    }
}

pub(super) fn ids(due: &[DueDelivery]) -> Vec<DeliveryId> {
    due.iter().map(|due| due.delivery).collect()
}

pub(super) fn is_full(outcome: &Result<CommitOutcome, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Full { .. }))
}
