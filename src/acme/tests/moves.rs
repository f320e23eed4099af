//! Tests of the move between files and a shared store. Without `HOOKGATE_TEST_POSTGRES` they do nothing.

use serde_json::{Value as Json, json};

use crate::acme::records::RecordKind;
use crate::acme::storage::RecordStorage;
use crate::store::tests::schema::TestSchema;
use crate::store::{Store, StoreOptions};

/// The documents that a move must keep.
const KEPT: [(RecordKind, &str); 2] = [
    (RecordKind::Account, "ca.example"),
    (RecordKind::Certificate, "*.hooks.example"),
];

fn open(schema: &TestSchema) -> Store {
    let options = StoreOptions {
        location: schema.shared_location(),
        encryption_keys: Vec::new(),
        keep_body: true,
        max_size: None,
        max_events: None,
    };
    Store::open(options).unwrap()
}

/// Fails when a move to a store that nodes share, or back to files, loses an account or a certificate, or replaces one of
/// the shared store by an older file.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_certificates_survive_a_move_to_a_shared_store_and_back() {
    let Some(schema) = TestSchema::create() else {
        return;
    };
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = RecordStorage::new(first.path(), None);
    files.create_folder().unwrap();
    for (kind, name) in KEPT {
        files.put(kind, name, &json!({ "of": name })).await.unwrap();
    }

    // `hookgate store copy` leaves them alone. The node that has the files puts them into the store.
    let shared = RecordStorage::new(first.path(), Some(open(&schema)));
    let records = shared.read_all().await.unwrap();
    shared.share_missing(&records).await.unwrap();

    // A node without files gets them from there, and has copies from then on.
    let other = RecordStorage::new(second.path(), Some(open(&schema)));
    other.create_folder().unwrap();
    let records = other.read_all().await.unwrap();
    for (kind, name) in KEPT {
        assert_eq!(records.get::<Json>(kind, name), Some(json!({ "of": name })));
    }

    // The first node has an older file now, which must not come back.
    let (kind, name) = KEPT[1];
    other
        .put(kind, name, &json!({ "of": "renewal" }))
        .await
        .unwrap();
    let records = shared.read_all().await.unwrap();
    shared.share_missing(&records).await.unwrap();
    assert_eq!(
        records.get::<Json>(kind, name),
        Some(json!({ "of": "renewal" }))
    );

    // Back to files, on either machine.
    for folder in [&first, &second] {
        let records = RecordStorage::new(folder.path(), None).read_files();
        let account = KEPT[0];
        assert_eq!(
            records.get::<Json>(account.0, account.1),
            Some(json!({ "of": account.1 }))
        );
        assert_eq!(
            records.get::<Json>(kind, name),
            Some(json!({ "of": "renewal" }))
        );
    }
}
