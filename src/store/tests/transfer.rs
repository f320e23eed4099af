//! Tests of copies between SQLite and PostgreSQL. They need a server, so they do nothing in a run on SQLite alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::model::database::PostgresSettings;
use crate::store::audit::{ActionSearch, OperatorAction};
use crate::store::search::{EventSearch, ReplaySearch};
use crate::store::{Transfer, transfer};

const KEY: &str = "the key of both stores";

fn with_key(options: &mut StoreOptions) {
    options.encryption_keys = vec![key(KEY)];
}

/// A file with rows of all kinds: sealed and clear, delivered, dead, cancelled, waiting, pending and in flight, in order
/// and not, with claims, pauses, a replay and an audit log.
async fn file() -> (TempDir, PathBuf) {
    // In clear first, so that the last event in clear is on record.
    let rig = Rig::open(tempfile::tempdir().unwrap(), None, |_| {});
    let app = rig.destination("app").await;
    for number in 1..=3 {
        rig.deliver(number, app).await;
    }
    let rig = rig.reopen(with_key);
    let (app, slow) = (rig.destination("app").await, rig.destination("slow").await);
    let due = rig.begin(app).await;
    for (due, next) in due.iter().zip([
        NextState::Delivered,
        NextState::Dead,
        NextState::Waiting(NOW + 9_000_000),
    ]) {
        assert!(rig.finish(due, next).await);
    }
    let (waiting, going) = in_order(slow);
    for number in 4..=40 {
        let delivery = match number {
            4 => going.clone(),
            5..=8 => waiting.clone(),
            _ => pending(slow),
        };
        let claim = u8::try_from(number).unwrap();
        let event = event(number)
            .to(delivery)
            .claim(claim, NOW + 4_000_000_000_000);
        let event = event.set(|event| {
            event.event_type = (number % 2 == 0).then(|| "pull\0request".into());
            event.body = Some(Bytes::from(vec![u8::try_from(number).unwrap(); 100_000]));
        });
        rig.commit(event.0).await;
    }
    let in_flight = rig.begin(slow).await;
    assert!(in_flight.len() > 2);
    assert!(rig.finish(&in_flight[0], NextState::Dead).await);
    let store = &rig.store;
    store
        .pause(&route("github"), Some(&name("slow")), true)
        .await
        .unwrap();
    store.disable(app, Some("410 from the app")).await.unwrap();
    let search = DeliverySearch::default();
    let replay = store
        .begin_replay(ReplaySearch { search }, NOW)
        .await
        .unwrap();
    store.step_replay(replay.id, 2, NOW).await.unwrap();
    let action = OperatorAction {
        at_ms: NOW,
        who: "ann".to_owned(),
        role: "operator".to_owned(),
        source: "192.0.2.1".to_owned(),
        action: "pause".to_owned(),
        target: "github/slow".to_owned(),
        detail: None,
        status: 200,
    };
    store.record_action(action).await.unwrap();
    let path = rig.path();
    let Rig { store, folder, .. } = rig;
    store.close();
    (folder, path)
}

fn export(path: &Path) -> String {
    let mut lines = Vec::new();
    let location = options(path).location;
    crate::store::export(&location, &[key(KEY)], None, &mut lines, &mut |_, _| {}).unwrap();
    String::from_utf8(lines).unwrap()
}

fn to_postgres(path: &Path, settings: &PostgresSettings) -> Result<u64, StoreError> {
    transfer(&Transfer::ToPostgres(path, settings), &mut |_, _| {})
}

fn to_sqlite(settings: &PostgresSettings, path: &Path) -> Result<u64, StoreError> {
    transfer(&Transfer::ToSqlite(settings, path), &mut |_, _| {})
}

// Fails when a row is lost or changed, a number is not kept (sealed bytes could not be opened), or an index or a counter
// of the target is not computed.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_survives_the_way_to_postgres_and_back() {
    let Some(schema) = TestSchema::create() else {
        return;
    };
    let (folder, path) = file().await;
    let settings = schema.settings(None);
    let back = folder.path().join("back.db");
    let (from, to) = (path.clone(), back.clone());
    let copied = tokio::task::spawn_blocking(move || {
        let there = to_postgres(&from, &settings)?;
        // A schema with data is never written over.
        assert!(matches!(
            to_postgres(&from, &settings),
            Err(StoreError::Setup { .. })
        ));
        Ok::<_, StoreError>((there, to_sqlite(&settings, &to)?))
    });
    let (there, and_back) = copied.await.unwrap().unwrap();
    assert_eq!(there, and_back);
    // PostgreSQL's text has no NUL.
    let before = export(&path).replace("pull\\u0000request", "pull\\\\0request");
    assert_eq!(before, export(&back));
    let location = options(&back).location;
    assert_eq!(
        crate::store::check(&location).unwrap(),
        Vec::<String>::new()
    );

    // Both databases can be used, and what was in flight is attempted again.
    for rig in [
        Rig::open(folder, None, with_key),
        Rig::open(tempfile::tempdir().unwrap(), Some(schema), with_key),
    ] {
        let slow = rig.destination("slow").await;
        assert_eq!(rig.uids(EventSearch::default()).await.len(), 40);
        assert_eq!(rig.store.stats().await.unwrap().events, 40);
        assert!(rig.store.is_held(slow));
        rig.store
            .pause(&route("github"), Some(&name("slow")), false)
            .await
            .unwrap();
        let due = rig.take(slow, 100, i64::MAX / 2).await;
        // One dead, four behind the first of their key, and two that the replay made are not among the 37.
        assert!(due.len() > 30, "{}", due.len());
        assert!(
            due.iter()
                .all(|due| due.event.body.as_ref().is_some_and(|body| body.len() > 5))
        );
        let known = event(9).claim(9, NOW + 4_000_000_000_000);
        assert!(matches!(
            rig.store.commit(known.0).await,
            Ok(CommitOutcome::Duplicate(202))
        ));
        assert!(matches!(
            rig.store.commit(event(99).0).await,
            Ok(CommitOutcome::New(_))
        ));
        let actions = rig
            .store
            .actions(ActionSearch::default(), ALL)
            .await
            .unwrap();
        assert_eq!(actions.len(), 1);
        assert_eq!(rig.store.replays(9).await.unwrap()[0].done, 2);
    }
}

// Fails when a copy that was cut off can be used, begins again, or goes on after its source has changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_cut_off_goes_on() {
    let Some(schema) = TestSchema::create() else {
        return;
    };
    let (folder, path) = file().await;
    let settings = schema.settings(None);
    let (from, location) = (path.clone(), at(schema.location(folder.path())));
    let copied = tokio::task::spawn_blocking(move || {
        let cut = catch_unwind(AssertUnwindSafe(|| {
            let mut steps = 0;
            transfer(&Transfer::ToPostgres(&from, &settings), &mut |_, _| {
                steps += 1;
                assert!(steps < 12, "cut off");
            })
        }));
        assert!(cut.is_err());
        let err = Store::open(location).err().map(|err| err.to_string());
        assert!(err.unwrap_or_default().contains("is unfinished"));
        let first = std::cell::Cell::new(None);
        // The server may need a moment to see that the first session is gone.
        crate::test_rig::block_until("the copy goes on", crate::test_rig::LIMIT, || {
            let copied = transfer(&Transfer::ToPostgres(&from, &settings), &mut |done, _| {
                first.set(first.get().or(Some(done)));
            });
            match copied {
                Err(err) if err.to_string().contains("is running") => false,
                copied => copied.map(|_| true).unwrap(),
            }
        });
        assert!(first.get() > Some(0), "the copy began again");
        settings
    });
    let settings = copied.await.unwrap();

    // The other way: the file has another name until the copy is complete.
    let back = folder.path().join("back.db");
    let cut = tokio::task::spawn_blocking(move || {
        let cut = catch_unwind(AssertUnwindSafe(|| {
            let mut steps = 0;
            transfer(&Transfer::ToSqlite(&settings, &back), &mut |_, _| {
                steps += 1;
                assert!(steps < 12, "cut off");
            })
        }));
        assert!(cut.is_err() && !back.exists());
        to_sqlite(&settings, &back).unwrap();
        export(&back)
    });
    let before = export(&path).replace("pull\\u0000request", "pull\\\\0request");
    assert_eq!(cut.await.unwrap(), before);
}
