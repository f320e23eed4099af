//! Tests of `hookgate store` on the file of a store, with a gate running or without.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::command::{command, outcome};
use crate::harness::transcript::Transcript;
use crate::inbox_cli::Inbox;

fn run(arguments: &[&str]) -> (i32, String, String) {
    outcome(command(arguments).output().unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Writes a config that names the store, next to its file.
fn config(inbox: &Inbox) -> PathBuf {
    let path = inbox.folder().join("hookgate.toml");
    // The secret of the route is not available to the command.
    let config =
        "[store]\nurl = \"sqlite:hookgate.db\"\n[routes.a]\nsecret = { credential = \"no\" }\n";
    std::fs::write(&path, config).unwrap();
    path
}

#[tokio::test]
async fn a_store_is_checked_counted_copied_and_exported_beside_its_gate() {
    let inbox = Inbox::open().await;
    for number in 0..3 {
        inbox.accept(number, "push").await;
    }
    let config = config(&inbox);
    let config = text(&config);
    let file = inbox.folder().join("hookgate.db");
    let file = text(&file);

    let (code, out, _) = run(&["store", "check", "--config", config, "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["is_whole"]), (0, &Value::Bool(true)));

    let (_, out, _) = run(&["store", "stats", file, "--json"]);
    let stats: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&stats["events"], &stats["deliveries"]["pending"]),
        (&3.into(), &3.into())
    );

    let copy = inbox.folder().join("copy.db");
    let copy = text(&copy);
    let mut transcript = Transcript::new("store.txt");
    for arguments in [
        &["store", "check", file][..],
        &["store", "stats", "--config", config],
        &["store", "copy", "--config", config, copy],
        &["store", "check", copy],
        // An existing file is never overwritten.
        &["store", "copy", file, copy],
    ] {
        transcript.add(arguments, &run(arguments));
    }
    transcript.compare_without_ages();

    let (code, out, err) = run(&["store", "export", copy]);
    assert_eq!((code, &*err), (0, ""));
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids: Vec<_> = lines
        .iter()
        .map(|line| line["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["id-0", "id-1", "id-2"]);
    let to = inbox.folder().join("events.jsonl");
    let arguments = [
        "store",
        "export",
        file,
        "--since",
        "1764000002",
        "--out",
        text(&to),
    ];
    let (code, out, _) = run(&arguments);
    assert_eq!((code, &*out), (0, ""));
    assert_eq!(std::fs::read_to_string(&to).unwrap().lines().count(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&to.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds customers' events");
    let (code, _, err) = run(&arguments);
    assert_eq!(code, 1, "what is there is not written over: {err}");
}

#[test]
fn a_file_that_is_no_store_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.db");
    let mut transcript = Transcript::new("store_errors.txt");
    for command in ["check", "stats", "export"] {
        let arguments = ["store", command, text(&none)];
        transcript.add(&arguments, &run(&arguments));
        assert!(!none.exists(), "a look makes no file");
    }
    let config = folder.path().join("hookgate.toml");
    std::fs::write(&config, "[server]\n").unwrap();
    for arguments in [
        &["store", "stats", "--config", text(&config)][..],
        &["store", "check"],
        &["store", "check", "a", "--config", "b"],
        &["store", "copy", "a"],
        &["store", "copy", "a", "b", "--config", "c"],
        &["store", "export", "a", "--since", "soon"],
    ] {
        let ended = run(arguments);
        assert_eq!(ended.0, 2, "{arguments:?}");
        transcript.add(arguments, &ended);
    }
    transcript.compare();
}
