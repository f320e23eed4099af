//! Tests of salvage on damaged and cut files.

use super::*;
use crate::store::{SalvageResult, salvage};

const FRAME: usize = 24 + 4096;

/// Returns a store with this many events. It was killed, so its last commits are in the log alone.
async fn killed(in_file: u64, in_log: u64) -> (TempDir, PathBuf) {
    let rig = Rig::new();
    let app = rig.destination("app").await;
    let large = |number: u64| {
        let body = vec![b'a' + u8::try_from(number % 26).unwrap(); 3000];
        event(number)
            .set(|event| {
                event.digest = sha2::Sha256::digest(&body).into();
                event.body = Some(Bytes::from(body));
            })
            .to(pending(app))
            .0
    };
    for number in 0..in_file {
        rig.commit(large(number)).await;
    }
    let rig = rig.reopen(|_| {});
    for number in in_file..in_file + in_log {
        rig.commit(large(number)).await;
    }
    let Rig { store, folder, .. } = rig;
    store
        .sqlite()
        .shared
        .faults
        .is_abandoned
        .store(true, Ordering::SeqCst);
    drop(store);
    let path = folder.path().join("inbox.db");
    (folder, path)
}

fn salvaged(path: &Path) -> (SalvageResult, Vec<serde_json::Value>) {
    let scratch = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let found = salvage(path, &[], None, scratch.path(), &mut out).unwrap();
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0);
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (found, lines.collect())
}

fn whole(lines: &[serde_json::Value]) -> usize {
    let mut lines = lines.iter();
    let is_whole = |line: &&serde_json::Value| line["lacks"] == serde_json::json!([]);
    lines.by_ref().filter(is_whole).count()
}

use sha2::Digest as _;

// Fails when the log behind the damage is ignored, or the damage is not counted.
#[tokio::test]
async fn what_stands_behind_damage_in_the_log_is_read() {
    let (_folder, path) = killed(20, 30).await;
    let (found, lines) = salvaged(&path);
    assert_eq!((found.whole, found.in_part, found.unreadable), (50, 0, 0));
    assert_eq!((found.discarded_commits, lines.len()), (0, 50));
    let log = path.with_extension("db-wal");
    let mut bytes = std::fs::read(&log).unwrap();
    let frames = (bytes.len() - 32) / FRAME;
    bytes[32 + frames / 2 * FRAME + 2000] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let (found, lines) = salvaged(&path);
    assert!(found.discarded_commits > 5, "{found:?}");
    assert_eq!(found.damaged_frames, 1);
    assert_eq!(found.whole + found.in_part, 50);
    assert!(whole(&lines) >= 45, "{found:?}");
    // An ordinary start reads only what SQLite reads, and continues.
    let store = Store::open(options(&path)).unwrap();
    let events = store.stats().await.unwrap().events;
    assert!((20..50).contains(&events), "{events}");
}

// Fails when a file that lacks a page is not opened, or one damaged page makes others unreadable.
#[tokio::test]
async fn a_cut_file_gives_what_is_left_of_it() {
    let (_folder, path) = killed(200, 0).await;
    let bytes = std::fs::read(&path).unwrap();
    for pages in [1, 20] {
        std::fs::write(&path, &bytes[..bytes.len() - pages * 4096]).unwrap();
        assert!(Store::open(options(&path)).is_err());
        let (found, lines) = salvaged(&path);
        assert!(whole(&lines) >= 200 - 5 * pages, "{pages}: {found:?}");
        assert!(found.whole < 200, "{pages}: {found:?}");
        assert!(
            found.whole + found.in_part + found.unreadable >= 200,
            "{found:?}"
        );
    }
    // Pages in the middle, and the head of the file.
    let mut middle = bytes.clone();
    let at = bytes.len() / 2 / 4096 * 4096;
    middle[at..at + 8192].fill(0x5a);
    middle[..100].fill(0);
    std::fs::write(&path, &middle).unwrap();
    let (found, lines) = salvaged(&path);
    assert!(whole(&lines) >= 100, "{found:?}");
    assert!(
        found.whole + found.in_part + found.unreadable >= 200,
        "{found:?}"
    );
}

// Fails when a changed body is reported as whole.
#[tokio::test]
async fn a_body_that_is_not_as_it_was_accepted_is_marked() {
    let (_folder, path) = killed(20, 0).await;
    let mut bytes = std::fs::read(&path).unwrap();
    let place = memchr::memmem::find(&bytes, &[b'f'; 1000]).unwrap();
    bytes[place + 700] = b'!';
    std::fs::write(&path, bytes).unwrap();
    let (found, lines) = salvaged(&path);
    assert_eq!((found.whole, found.in_part), (19, 1));
    assert_eq!(lines[5]["lacks"], serde_json::json!(["digest"]));
}

// Fails when what is below a damaged interior page is not looked for on the leaf pages.
#[tokio::test]
async fn events_on_sound_leaf_pages_need_no_tree() {
    let (_folder, path) = killed(200, 0).await;
    let mut bytes = std::fs::read(&path).unwrap();
    // The interior pages of all tables.
    let mut damaged = 0;
    for page in bytes.chunks_exact_mut(4096).skip(1) {
        if page[0] == 5 && page[1..3] == [0, 0] && page[5..7] != [0, 0] {
            page.fill(0x5a);
            damaged += 1;
        }
    }
    assert!(damaged >= 2, "{damaged}");
    std::fs::write(&path, &bytes).unwrap();
    let (found, lines) = salvaged(&path);
    assert_eq!((lines.len(), found.carved), (200, 200), "{found:?}");
    for line in &lines {
        let lacks = &line["lacks"];
        let is_body_whole = !lacks.to_string().contains("digest");
        assert!(is_body_whole && line["is_carved"] == true, "{line}");
    }
}

// Fails when a bit that flipped in an index page, or a log that is gone, keeps events from being read.
#[tokio::test]
async fn damage_that_concerns_no_row_loses_none() {
    let (_folder, path) = killed(200, 0).await;
    let sound = std::fs::read(&path).unwrap();
    let mut bytes = sound.clone();
    let mut damaged = 0;
    for page in bytes.chunks_exact_mut(4096).skip(1) {
        // The leaf pages of indexes.
        if page[0] == 10 && page[1..3] == [0, 0] {
            page[3000] ^= 1;
            damaged += 1;
        }
    }
    assert!(damaged >= 1);
    std::fs::write(&path, &bytes).unwrap();
    let (found, _) = salvaged(&path);
    assert_eq!(found.whole + found.in_part, 200, "{found:?}");
    std::fs::write(&path, &sound).unwrap();
    let _ = std::fs::remove_file(path.with_extension("db-wal"));
    let (found, _) = salvaged(&path);
    assert_eq!((found.whole, found.carved), (200, 0));
}
