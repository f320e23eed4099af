//! Tests of encryption: no private text in the file, changing keys, and moved rows.

use super::*;
use crate::store::content_match::ContentCriterion;

const OLD: &str = "the old key, of many bytes";
const NEW: &str = "the new key, of many bytes";

/// Texts that must not appear in the file.
const MARKS: [&str; 4] = ["bodyMARK", "headerMARK", "targetMARK", "answerMARK"];

async fn fill(rig: &Rig) -> DeliveryId {
    let app = rig.destination("app").await;
    let marked = event(1).to(pending(app)).set(|event| {
        event.body = Some(Bytes::from_static(b"...bodyMARK..."));
        event.target = "/github?q=targetMARK".to_owned();
        let value = HeaderValue::from_static("headerMARK");
        event.headers.insert("x-marked", value);
    });
    let id = rig.commit(marked.0).await[0];
    let due = rig.begin(app).await.remove(0);
    let mut ended = finished(&due, NextState::Dead);
    ended.record.response_start = Bytes::from_static(b"answerMARK");
    assert!(rig.store.finish(ended).await.unwrap());
    id
}

async fn assert_readable(rig: &Rig, id: DeliveryId) {
    let event = rig.store.event(uid(1)).await.unwrap().unwrap();
    assert_eq!(event.body.as_deref(), Some(&b"...bodyMARK..."[..]));
    assert_eq!(event.target, "/github?q=targetMARK");
    assert_eq!(event.headers["x-marked"], "headerMARK");
    let attempts = rig.store.attempts(id).await.unwrap();
    assert_eq!(attempts[0].record.response_start, "answerMARK");
}

fn marks_in(rig: &Rig) -> Vec<&'static str> {
    let mut found = Vec::new();
    for suffix in ["", "-wal"] {
        let path = rig.folder.path().join(format!("inbox.db{suffix}"));
        let bytes = std::fs::read(path).unwrap_or_default();
        for mark in MARKS {
            if memchr::memmem::find(&bytes, mark.as_bytes()).is_some() {
                found.push(mark);
            }
        }
    }
    found
}

// Fails when any of the four parts is stored unencrypted.
#[tokio::test]
async fn nothing_private_stands_in_the_file_or_its_log() {
    let clear = Rig::new();
    fill(&clear).await;
    assert_eq!(
        marks_in(&clear).len(),
        MARKS.len(),
        "the marks can be found at all"
    );
    let rig = Rig::with(|options| options.encryption_keys = vec![key(OLD)]);
    let id = fill(&rig).await;
    assert_eq!(marks_in(&rig), Vec::<&str>::new());
    assert_readable(&rig, id).await;
    let rig = rig.reopen(|options| options.encryption_keys = vec![key(OLD)]);
    assert_eq!(marks_in(&rig), Vec::<&str>::new());
    assert_readable(&rig, id).await;
}

// Fails when only the first key decrypts, or when `check_keys` is omitted.
#[tokio::test]
async fn the_first_key_seals_and_all_open() {
    let rig = Rig::with(|options| options.encryption_keys = vec![key(OLD)]);
    let id = fill(&rig).await;
    let rig = rig.reopen(|options| options.encryption_keys = vec![key(NEW), key(OLD)]);
    assert_readable(&rig, id).await;
    let app = rig.destination("app").await;
    for number in 2..12 {
        rig.deliver(number, app).await;
    }
    // The new rows need only the new key.
    let rig = rig.reopen(|options| options.encryption_keys = vec![key(NEW)]);
    assert!(
        rig.store
            .event(uid(5))
            .await
            .unwrap()
            .unwrap()
            .body
            .is_some()
    );
    // Content that cannot be decrypted is empty.
    let lost = rig.store.event(uid(1)).await.unwrap().unwrap();
    assert_eq!((lost.body, lost.headers.len()), (None, 0));
    let Rig {
        store,
        folder,
        schema,
    } = rig;
    store.close();
    let location = match &schema {
        None => options(&folder.path().join("inbox.db")).location,
        Some(schema) => schema.location(folder.path()),
    };
    for keys in [
        vec![],
        vec![key(OLD)],
        vec![key("some other key than these")],
    ] {
        let mut options = at(location.clone());
        options.encryption_keys = keys;
        assert!(matches!(
            Store::open(options),
            Err(StoreError::Key { .. } | StoreError::SchemaKey { .. })
        ));
    }
}

// Fails when neither key nor additional data contain the uid, or the additional data omit the part.
#[tokio::test]
async fn a_sealed_row_cannot_be_moved() {
    let rig = Rig::with(|options| options.encryption_keys = vec![key(OLD)]);
    fill(&rig).await;
    let app = rig.destination("app").await;
    rig.deliver(2, app).await;
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    let conn = rusqlite::Connection::open(&path).unwrap();
    let sql =
        "UPDATE content SET body = (SELECT body FROM content WHERE event = 1) WHERE event = 2";
    conn.execute(sql, []).unwrap();
    conn.execute("UPDATE content SET body = head WHERE event = 1", [])
        .unwrap();
    conn.close().unwrap();
    let mut options = options(&path);
    options.encryption_keys = vec![key(OLD)];
    let store = Store::open(options).unwrap();
    for number in [1, 2] {
        assert_eq!(store.event(uid(number)).await.unwrap().unwrap().body, None);
    }
}

// Fails when the search reads encrypted bodies, when case matters, or when the next part begins at the wrong position.
#[tokio::test]
async fn a_text_is_found_in_sealed_bodies() {
    let rig = Rig::with(|options| options.encryption_keys = vec![key(OLD)]);
    for number in 1..=5 {
        let body = if number % 2 == 1 { "a Needle" } else { "hay" };
        let event = event(number).set(|event| event.body = Some(body.into()));
        rig.commit(event.0).await;
    }
    let find = async |text: &str, after| {
        let page = ListPage { after, limit: 2 };
        let found = rig.store.events_with_content(
            EventSearch::default(),
            ContentCriterion::Text(text.to_owned()),
            page,
        );
        let (rows, next) = found.await.unwrap();
        (
            rows.into_iter().map(|row| row.uid).collect::<Vec<_>>(),
            next,
        )
    };
    let (found, next) = find("nEEDLE", None).await;
    assert_eq!(found, [uid(5), uid(3)]);
    assert_eq!(find("needle", next).await, (vec![uid(1)], None));
    assert_eq!(find("MSG_4", None).await, (vec![uid(4)], None));
    assert_eq!(find("nothing", None).await, (vec![], None));
}

/// Writes an event as an attacker with access to the file would: in clear, with a due delivery.
fn forge(path: &Path, id: i64) {
    let conn = rusqlite::Connection::open(path).unwrap();
    let uid = uid(u64::try_from(id).unwrap());
    let sql =
        "INSERT INTO event SELECT ?1, ?2, kind, received_ms, body_size, event_id, NULL, event_type
        FROM event WHERE id = 1";
    conn.execute(sql, rusqlite::params![id, &uid.as_bytes()[..]])
        .unwrap();
    let sql = "INSERT INTO content SELECT ?1, 0, head, x'7b7d' FROM clear_content";
    conn.execute(sql, [id]).unwrap();
    let sql =
        "INSERT INTO delivery SELECT ?1, ?1, lane, destination, 0, 0, priority, due_ms, NULL, 0, 0,
        round_began_ms, created_ms, NULL, NULL, NULL FROM delivery WHERE id = 1";
    conn.execute(sql, [id]).unwrap();
    conn.execute(
        "UPDATE tally SET count = count + 1 WHERE state = (SELECT state FROM delivery WHERE id = ?1)",
        [id],
    )
    .unwrap();
    conn.close().unwrap();
}

// Fails when a row in clear is trusted, when the number beside the keys is trusted without its proof, or when a row in
// clear prevents the start.
#[tokio::test]
async fn a_row_in_clear_that_is_younger_than_the_first_key_is_not_opened() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    rig.deliver(1, app).await;
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE clear_content AS SELECT head FROM content WHERE event = 1")
        .unwrap();
    conn.close().unwrap();
    let with = |keys: &[&str]| {
        let mut options = options(&path);
        options.encryption_keys = keys.iter().map(|text| key(text)).collect();
        Store::open(options).unwrap()
    };
    let store = with(&[OLD]);
    let sealed = event(2).to(pending(app)).0;
    store.commit(sealed).await.unwrap();
    // Rows from before the first key stay valid.
    assert!(store.event(uid(1)).await.unwrap().unwrap().body.is_some());
    store.close();
    forge(&path, 50);
    for keys in [&[OLD][..], &[NEW, OLD], &[OLD, NEW]] {
        let store = with(keys);
        let forged = store.event(uid(50)).await.unwrap().unwrap();
        assert_eq!((forged.body, forged.headers.len()), (None, 0), "{keys:?}");
        assert!(store.event(uid(1)).await.unwrap().unwrap().body.is_some());
        store.close();
    }
    let store = with(&[NEW, OLD]);
    let due = store.begin(app, 9, NOW + 1_000_000).await.unwrap();
    let forged = due.iter().find(|due| due.event.uid == uid(50)).unwrap();
    assert_eq!(forged.event.body, None);
    store.close();
    // An attacker who changes the number has no key to prove it with.
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("UPDATE sealing_key SET last_clear = 1000", [])
        .unwrap();
    conn.close().unwrap();
    let store = with(&[NEW, OLD]);
    assert_eq!(store.event(uid(50)).await.unwrap().unwrap().body, None);
}

// Fails when a store whose keys come from an earlier version accepts everything in clear, or nothing.
#[tokio::test]
async fn where_the_first_key_came_is_found_in_a_store_of_an_earlier_version() {
    let rig = Rig::new();
    for number in 1..=9 {
        rig.commit(event(number).0).await;
    }
    let rig = rig.reopen(|options| options.encryption_keys = vec![key(OLD)]);
    for number in 10..=30 {
        rig.commit(event(number).0).await;
    }
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    let conn = rusqlite::Connection::open(&path).unwrap();
    let noted = || -> Option<i64> {
        let sql = "SELECT last_clear FROM sealing_key";
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(noted(), Some(9));
    let sql = "UPDATE sealing_key SET last_clear = NULL, last_clear_seal = NULL";
    conn.execute(sql, []).unwrap();
    let mut options = options(&path);
    options.encryption_keys = vec![key(OLD)];
    let store = Store::open(options).unwrap();
    assert_eq!(noted(), Some(9));
    for number in [1, 9, 10, 30] {
        let event = store.event(uid(number)).await.unwrap().unwrap();
        assert!(event.body.is_some(), "{number}");
    }
}
