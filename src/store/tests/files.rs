//! Tests of the file: access, rejection, the leftovers of a killed process, and reads by other processes.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::store::audit::ActionSearch;
use crate::store::{copy, export, stats_of};
use crate::test_rig::let_time_pass;

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(options(path))
}

// Fails when the lock is not taken, or not held for as long as the store is open.
#[tokio::test]
async fn two_gates_never_share_a_file() {
    let rig = Rig::new();
    assert!(matches!(open(&rig.path()), Err(StoreError::InUse { .. })));
    let path = rig.path();
    rig.store.close();
    open(&path).unwrap();
}

// Fails when the lock is by name: two gates would damage each other's log and index.
#[tokio::test]
async fn no_other_name_of_the_file_leads_past_the_lock() {
    let rig = Rig::new();
    let other = tempfile::tempdir_in(rig.folder.path()).unwrap();
    let (soft, hard) = (other.path().join("soft.db"), other.path().join("hard.db"));
    std::os::unix::fs::symlink(rig.path(), &soft).unwrap();
    std::fs::hard_link(rig.path(), &hard).unwrap();
    let folder = other.path().join("folder");
    std::os::unix::fs::symlink(rig.folder.path(), &folder).unwrap();
    let names = [soft.clone(), hard, folder.join("inbox.db")];
    for name in &names {
        assert!(matches!(open(name), Err(StoreError::InUse { .. })));
    }
    // Another process meets the lock on the file itself.
    for name in &names {
        let mut flock = std::process::Command::new("flock");
        let status = flock.arg("-n").arg(name).arg("true").status().unwrap();
        assert!(!status.success(), "{}", name.display());
    }
    rig.commit(event(1).0).await;
    let Rig { store, folder, .. } = rig;
    store.close();
    // The log is beside the file that the link points to.
    let store = open(&soft).unwrap();
    assert!(store.event(uid(1)).await.unwrap().is_some());
    store.commit(event(2).0).await.unwrap();
    assert!(folder.path().join("inbox.db-wal").exists());
}

// Fails when the schema version is checked after a write.
#[tokio::test]
async fn a_newer_form_is_refused_and_left_alone() {
    let rig = Rig::new();
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    conn.close().unwrap();
    let before = std::fs::read(&path).unwrap();
    let newer = |outcome: Result<(), StoreError>| {
        matches!(
            outcome,
            Err(StoreError::Newer {
                found: 99,
                known: 3,
                ..
            })
        )
    };
    assert!(newer(open(&path).map(drop)));
    assert!(newer(stats_of(&file(&path)).map(drop)));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

// Fails when the start does not migrate an older file, or reading from outside changes it.
#[tokio::test]
async fn an_older_form_is_brought_forward_with_what_it_holds() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let delivery = rig.deliver(1, app).await;
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    // The first schema had no audit log and no clock.
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(
        "DROP TABLE audit; ALTER TABLE total DROP COLUMN clock_ms;
        ALTER TABLE total DROP COLUMN boot_ms; ALTER TABLE total DROP COLUMN boot_id;
        ALTER TABLE sealing_key DROP COLUMN last_clear;
        ALTER TABLE sealing_key DROP COLUMN last_clear_seal; PRAGMA user_version = 1",
    )
    .unwrap();
    conn.close().unwrap();
    assert_eq!(check(&path).unwrap(), Vec::<String>::new());
    assert_eq!(stats_of(&file(&path)).unwrap().events, 1);
    let form = || -> i64 {
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(form(), 1);
    let store = open(&path).unwrap();
    assert_eq!(form(), 3);
    let rig = Rig::of_file(store, folder);
    assert_eq!(rig.uids(EventSearch::default()).await, [uid(1)]);
    assert_eq!(ids(&rig.begin(app).await), [delivery]);
    let search = ActionSearch::default();
    assert!(rig.store.actions(search, ALL).await.unwrap().is_empty());
    rig.assert_sound();
}

// Fails when `form` ignores the application id, or damage becomes `Open`.
#[test]
fn what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Damaged { .. })));
    std::fs::remove_file(&path).unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE other (id INTEGER)")
        .unwrap();
    conn.close().unwrap();
    assert!(matches!(open(&path), Err(StoreError::Damaged { .. })));
    let nowhere = folder.path().join("none").join("inbox.db");
    assert!(matches!(open(&nowhere), Err(StoreError::Open { .. })));
}

// Fails when `create` gives the file the mode of the umask.
#[tokio::test]
async fn nobody_else_may_read_it() {
    let rig = Rig::new();
    rig.commit(event(1).0).await;
    for entry in std::fs::read_dir(rig.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

// Fails when `prepare_writer` omits `synchronous`, the journal mode or `auto_vacuum`.
#[tokio::test]
async fn the_file_is_set_up_as_the_promises_need_it() {
    let rig = Rig::new();
    let found = rig.store.sqlite().pragmas_for_test().await;
    // WAL, FULL, INCREMENTAL, no mapping, no automatic checkpoint.
    assert_eq!(found, ["wal", "2", "2", "0", "0", "1"]);
}

// Fails when `interrupt_all` is not called, or writes another error word.
#[tokio::test]
async fn what_a_killed_process_had_in_flight_is_made_again() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let id = rig.deliver(1, app).await;
    let ordered = NewDelivery {
        order_key: Some(5),
        ..pending(app)
    };
    rig.commit(event(2).to(ordered).0).await;
    assert_eq!(rig.take(app, 9, NOW + 10).await.len(), 2);
    let rig = rig.kill(|_| {});
    assert_eq!(rig.state(id).await, DeliveryState::Pending);
    let attempts = rig.store.attempts(id).await.unwrap();
    let (word, _) = attempts[0].record.error.as_ref().unwrap();
    assert_eq!(
        (attempts.len(), attempts[0].number, word.as_str()),
        (1, 1, "interrupted")
    );
    assert_eq!(attempts[0].record.started_ms, NOW + 10);
    let again = rig.begin(app).await;
    assert_eq!(
        again.iter().map(|due| due.attempt).collect::<Vec<_>>(),
        [2, 2]
    );
    rig.assert_sound();
}

// Fails when a reply leaves before `commit` returns: the copy is taken at the moment of the reply.
#[tokio::test]
async fn what_was_acknowledged_stands_in_a_copy_taken_at_that_moment() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    for number in 0..20 {
        rig.deliver(number, app).await;
        let other = tempfile::tempdir().unwrap();
        for suffix in ["", "-wal"] {
            let name = format!("inbox.db{suffix}");
            std::fs::copy(rig.folder.path().join(&name), other.path().join(&name)).unwrap();
        }
        let store = open(&other.path().join("inbox.db")).unwrap();
        assert!(store.event(uid(number)).await.unwrap().is_some());
        assert_eq!(store.stats().await.unwrap().events, number + 1);
    }
}

// Fails when `check` omits any of its three parts.
#[tokio::test]
async fn the_check_finds_damage_and_states_that_cannot_be() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    rig.commit_all((0..300).map(|number| event(number).to(pending(app))))
        .await;
    // While the store is running.
    rig.assert_sound();
    let Rig { store, folder, .. } = rig;
    let path = folder.path().join("inbox.db");
    store.close();
    let conn = rusqlite::Connection::open(&path).unwrap();
    let sql = "PRAGMA foreign_keys = OFF; UPDATE delivery SET state = 3 WHERE id = 5;
        DELETE FROM content WHERE event = 7; DELETE FROM event WHERE id = 8;";
    conn.execute_batch(sql).unwrap();
    conn.close().unwrap();
    let found = check(&path).unwrap().join("\n");
    for expected in [
        "a delivery has ended without an end time: 5",
        "an open delivery has no body to deliver: 7",
        "a row of `delivery` refers to a missing row of `event`",
        "the counter of deliveries in a lane is wrong",
        "the counter of events is wrong",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let late = (bytes.len() / 4096 - 3) * 4096;
    bytes[late..late + 2048].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    assert!(check(&path).unwrap().len() > 5);
}

// Fails when the copy does not use one transaction, or overwrites a file.
#[tokio::test]
async fn a_copy_is_taken_beside_a_running_store() {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    rig.commit_all((0..300).map(|number| event(number).to(pending(app))))
        .await;
    let (from, to) = (rig.path(), rig.folder.path().join("copy.db"));
    let store = rig.store.clone();
    let runtime = tokio::runtime::Handle::current();
    let mut calls = 0;
    let (path, target) = (from.clone(), to.clone());
    let copied = tokio::task::spawn_blocking(move || {
        copy(&path, &target, &mut |done, total| {
            calls += 1;
            assert!(done <= total);
            // Later commits are not in the copy, and do not restart it.
            runtime
                .block_on(store.commit(event(1000 + calls).0))
                .unwrap();
        })?;
        Ok::<_, StoreError>(calls)
    });
    assert!(copied.await.unwrap().unwrap() > 0);
    assert!(copy(&from, &to, &mut |_, _| {}).is_err());
    assert_eq!(stats_of(&file(&to)).unwrap().events, 300);
    assert!(stats_of(&file(&from)).unwrap().events > 300);
    assert_eq!(check(&to).unwrap(), Vec::<String>::new());
    let store = open(&to).unwrap();
    assert_eq!(store.event(uid(7)).await.unwrap().unwrap().headers.len(), 3);
}

// Fails when `export` omits the attempts, or ignores `since_ms`.
#[tokio::test]
async fn an_export_holds_events_with_all_that_became_of_them() {
    let rig = Rig::with(|options| options.encryption_keys = vec![key("0123456789abcdef")]);
    let app = rig.destination("app").await;
    rig.deliver(1, app).await;
    let binary = event(2).set(|event| event.body = Some(Bytes::from_static(b"\xff\0x")));
    rig.commit(binary.to(pending(app)).0).await;
    for due in rig.begin(app).await {
        rig.finish(&due, NextState::Dead).await;
    }
    let lines = |keys: &[Secret], since_ms| {
        let mut out = Vec::new();
        export(&file(&rig.path()), keys, since_ms, &mut out, &mut |_, _| {})?;
        let text = String::from_utf8(out).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        Ok::<Vec<serde_json::Value>, StoreError>(lines.collect())
    };
    let keys = [key("0123456789abcdef")];
    let found = lines(&keys, None).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["uid"], uid(1).to_string());
    assert_eq!(found[0]["body"], "{\"number\":1}");
    assert_eq!(found[1]["body_base64"], "/wB4");
    assert_eq!(
        found[0]["headers"][0],
        serde_json::json!(["x-github-event", "push"])
    );
    let delivery = &found[0]["deliveries"][0];
    assert_eq!(delivery["state"], "dead");
    assert_eq!(delivery["destination"], "app");
    assert_eq!(delivery["attempts"][0]["error"], "connect");
    assert_eq!(delivery["attempts"][0]["answer"], "first bytes");
    assert_eq!(lines(&keys, Some(NOW + 2)).unwrap().len(), 1);
    assert!(matches!(lines(&[], None), Err(StoreError::Key { .. })));
}

// Fails when the writer never copies the log, or does not wait for the copy at the log's bound: on a slow disk the log
// would grow without end.
#[tokio::test]
async fn the_log_is_written_back_and_begins_anew() {
    let rig = Rig::new();
    let large =
        |number| event(number).set(|event| event.body = Some(Bytes::from(vec![b'x'; 1_000_000])));
    for number in 0..110 {
        rig.commit(large(number).0).await;
    }
    let log = std::fs::metadata(rig.folder.path().join("inbox.db-wal"))
        .unwrap()
        .len();
    let file = std::fs::metadata(rig.path()).unwrap().len();
    assert!(log < 80_000_000 && file > 60_000_000, "{log} {file}");
    rig.store.close();
    assert!(!rig.folder.path().join("inbox.db-wal").exists());
}

// Fails when the log is copied only once it is long: commits would then wait until all of it is durable.
#[tokio::test]
async fn a_short_log_is_written_back_beside_the_commits() {
    let rig = Rig::new();
    let size = || std::fs::metadata(rig.path()).unwrap().len();
    let empty = size();
    let large = event(0).set(|event| event.body = Some(Bytes::from(vec![b'x'; 8_000_000])));
    rig.commit(large.0).await;
    // The pauses are too short for the writer to find the queue quiet (`QUIET`), and the pages too few for a full log.
    let mut number = 1;
    while size() < empty + 8_000_000 {
        assert!(number < 10_000, "{} of {empty}", size());
        rig.commit(event(number).0).await;
        let_time_pass("less than `QUIET`", Duration::from_millis(10)).await;
        number += 1;
    }
}
