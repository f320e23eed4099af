//! Tests of the commands over the inbox, which use the admin listener of a running gate.

use std::io::{BufRead, BufReader};

use hookgate::internals::AdminOfStore;
use serde_json::Value;

use crate::harness::command::{command, end, outcome};
use crate::harness::gate::Gate;
use crate::harness::transcript::Transcript;
use crate::harness::{LIMIT, signal};

const TOKEN: &str = "zQ4v9Jm2Lr7Xw1Bt";

/// Returns a config with one route in proxy mode; the admin listener requires the token.
fn config() -> String {
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n\
         [routes.a]\npath = \"/a\"\nprovider = \"github\"\nsecret = \"f3b8c1d09e7a4b52\"\n\
         upstream = \"http://127.0.0.1:1/\"\n"
    )
}

/// Runs a command, with the token in the environment if there is one.
async fn run(arguments: &[&str], token: Option<&str>) -> (i32, String, String) {
    let mut command = command(arguments);
    if let Some(token) = token {
        command.env("HOOKGATE_ADMIN_TOKEN", token);
    }
    outcome(end(command).await)
}

#[tokio::test]
async fn a_gate_without_a_store_says_so() {
    let gate = Gate::start(&config()).await;
    let address = format!("http://{}", gate.admin_address());
    let mut transcript = Transcript::new("no_store.txt");
    for arguments in [
        &["events", "list"][..],
        &["events", "tail"],
        &["deliveries", "list"],
        &["destinations", "list"],
        &["destinations", "pause", "a/b"],
        &["replay", "list"],
        &["replay", "--all"],
    ] {
        let ended = run(&[arguments, &["--admin", &address]].concat(), Some(TOKEN)).await;
        transcript.add(arguments, &ended);
    }
    transcript.compare();
}

#[tokio::test]
async fn the_token_comes_from_environment_file_or_config() {
    let gate = Gate::start(&config()).await;
    let address = format!("http://{}", gate.admin_address());
    let asked = ["events", "list", "--admin", &address];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let (file, config) = (file.to_str().unwrap(), gate.config_path());
    let mut transcript = Transcript::new("admin_token.txt");
    for (more, token) in [
        (&[][..], None),
        (&[], Some("another one")),
        (&["--token-file", file], None),
        (&["--config", config.to_str().unwrap()], None),
        (&["--token-file", "/nowhere"], None),
    ] {
        let ended = run(&[&asked[..], more].concat(), token).await;
        assert!(!ended.2.contains("another one"), "{}", ended.2);
        transcript.add(&[&asked[..], more].concat(), &ended);
    }
    transcript.compare();
}

// Fails when the token appears where every user of the machine can see it.
#[tokio::test]
async fn help_never_shows_the_token() {
    let (_, out, _) = run(&["events", "list", "--help"], Some(TOKEN)).await;
    assert!(
        out.contains("HOOKGATE_ADMIN_TOKEN") && !out.contains(TOKEN),
        "{out}"
    );
}

// Fails when an empty variable counts as an address, a file or a token.
#[tokio::test]
async fn empty_variables_count_as_unset() {
    for (arguments, code, text) in [
        (&["events", "list"][..], 1, "unix:/run/hookgate/admin.sock"),
        // With a TLS address, the file of authorities is used.
        (
            &["events", "list", "--admin", "https://127.0.0.1:1"],
            1,
            "https://127.0.0.1:1",
        ),
    ] {
        let mut command = command(arguments);
        for name in [
            "HOOKGATE_ADMIN",
            "HOOKGATE_ADMIN_CA",
            "HOOKGATE_ADMIN_TOKEN",
        ] {
            command.env(name, "");
        }
        let (found, _, err) = outcome(end(command).await);
        assert_eq!(found, code, "{err}");
        assert!(err.contains(text), "{err}");
    }
}

#[tokio::test]
async fn without_a_gate_the_error_names_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/admin.sock", folder.path().display());
    let mut transcript = Transcript::new("no_gate.txt");
    for arguments in [
        &["events", "list", "--admin", &address][..],
        &["events", "list", "--admin", "http://gate.example:9180"],
        &["replay"],
        &["deliveries", "cancel"],
    ] {
        transcript.add(arguments, &run(arguments, None).await);
    }
    transcript.compare();
}

/// Admin listener of a gate with a store, in this process, for commands.
pub struct Inbox {
    folder: tempfile::TempDir,
    admin: AdminOfStore,
}

impl Inbox {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = AdminOfStore::open(folder.path()).await.unwrap();
        Self { folder, admin }
    }

    /// Ends the gate, which closes its store soon after, and returns the folder.
    pub fn end(self) -> tempfile::TempDir {
        self.folder
    }

    /// Returns the folder of the store's file, `hookgate.db`.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Accepts an event of `github` for `ci`.
    pub async fn accept(&self, number: u8, event_type: &str) -> String {
        self.admin.accept(number, event_type).await.unwrap()
    }

    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(
            &[arguments, &["--admin", self.admin.address()]].concat(),
            None,
        )
        .await
    }

    /// Runs commands one after the other, and compares what they print with a golden file.
    async fn compare(&self, name: &'static str, commands: &[&[&str]]) {
        let mut transcript = Transcript::new(name);
        for arguments in commands {
            transcript.add(arguments, &self.run(arguments).await);
        }
        transcript.compare_without_ages();
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, err) = self.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!((code, &*err), (0, ""), "{arguments:?}");
        serde_json::from_str(&out).unwrap()
    }
}

#[tokio::test]
async fn events_are_listed_shown_and_printed_byte_for_byte() {
    let inbox = Inbox::open().await;
    for number in 0..3 {
        inbox.accept(number, "push").await;
    }
    let part = inbox.json(&["events", "list", "--limit", "2"]).await;
    assert!(part["next"].is_string(), "{part}");
    let whole = inbox.json(&["events", "list", "--all"]).await;
    assert_eq!(whole["events"].as_array().unwrap().len(), 3);
    assert_eq!(whole["next"], Value::Null);
    // Found in bodies, and in other values of the sender.
    for (text, expected) in [("{\"a\"", 3), ("ID-1", 1), ("nowhere", 0)] {
        let found = inbox.json(&["events", "list", "--text", text]).await;
        let found = found["events"].as_array().unwrap();
        assert_eq!(found.len(), expected, "{text}: {found:?}");
    }
    let uid = whole["events"][0]["uid"].as_str().unwrap();
    let show = [
        "events",
        "show",
        uid,
        "--body",
        "--admin",
        inbox.admin.address(),
    ];
    assert_eq!(end(command(&show)).await.stdout, b"{\"a\":\xff}\n");

    inbox
        .compare(
            "events.txt",
            &[
                &["events", "list"],
                &["events", "list", "--limit", "2"],
                &["events", "list", "--type", "issues.*"],
                &["events", "list", "--text", "nowhere"],
                // A tail looks into no body.
                &["events", "tail", "--text", "x"],
                &["events", "show", uid],
                &["events", "show", "id-2"],
                &["events", "list", "--since", "soon"],
            ],
        )
        .await;
}

#[tokio::test]
async fn deliveries_are_changed_one_by_one_or_many_at_once() {
    let inbox = Inbox::open().await;
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(inbox.accept(number, "push").await);
    }
    let cancel = ["deliveries", "cancel"];
    inbox
        .compare(
            "deliveries.txt",
            &[
                &["deliveries", "list"],
                &[&cancel[..], &[&ids[0]]].concat(),
                // The other one is cancelled all the same.
                &[&cancel[..], &[&ids[0], &ids[1]]].concat(),
                &[&cancel[..], &["--destination", "github/ci", "--dry-run"]].concat(),
                // There is no terminal to ask for confirmation.
                &[&cancel[..], &["--all"]].concat(),
                &[&cancel[..], &["--yes", "--id", "id-2"]].concat(),
                &[&cancel[..], &["--yes", "--all"]].concat(),
                &["deliveries", "list", "--state", "dead"],
                &["deliveries", "show", &ids[3]],
                &["deliveries", "show", "99"],
            ],
        )
        .await;
    let shown = inbox.json(&["deliveries", "show", &ids[3]]).await;
    assert_eq!(shown["delivery"]["state"], "cancelled");
}

#[tokio::test]
async fn destinations_are_paused_by_name_and_by_route() {
    let inbox = Inbox::open().await;
    inbox.accept(0, "push").await;
    inbox
        .compare(
            "destinations.txt",
            &[
                &["destinations", "pause", "github/ci"],
                &["destinations", "resume", "github/ci"],
                &["destinations", "pause", "github/cj"],
                &["destinations", "pause", "github"],
                &["destinations", "pause", "--route", "github"],
            ],
        )
        .await;
    let listed = inbox.json(&["destinations", "list"]).await;
    assert_eq!(listed["destinations"][0]["route_paused"], true);
}

#[tokio::test]
async fn a_replay_is_counted_begun_and_watched() {
    let inbox = Inbox::open().await;
    for number in 0..3 {
        inbox.accept(number, "push").await;
    }
    inbox
        .compare(
            "replay.txt",
            &[
                &["replay", "--route", "github", "--dry-run"],
                &["replay", "--route", "github", "--yes"],
                &["replay", "--type", "other", "--yes"],
                &["replay", "pause", "1"],
                &["replay", "list"],
            ],
        )
        .await;
    let listed = inbox.json(&["replay", "list"]).await;
    assert_eq!(listed["replays"][0]["state"], "ended");
    let listed = inbox.json(&["deliveries", "list", "--replays"]).await;
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_tail_prints_a_document_a_line_until_it_is_ended() {
    let inbox = Inbox::open().await;
    inbox.accept(0, "push").await;
    let arguments = ["events", "tail", "--json", "--since", "0"];
    let mut tail = command(&[&arguments[..], &["--admin", inbox.admin.address()]].concat())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let out = tail.stdout.take().unwrap();
    let (tx, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = tx.send(line);
        }
    });
    let mut next = async || {
        let line = tokio::time::timeout(LIMIT, lines.recv()).await.unwrap();
        serde_json::from_str::<Value>(&line.unwrap()).unwrap()
    };
    assert_eq!(next().await["event_id"], "id-0");
    inbox.accept(1, "issues.opened").await;
    assert_eq!(next().await["type"], "issues.opened");
    signal(tail.id(), "INT");
    let status = tokio::task::spawn_blocking(move || tail.wait()).await;
    assert!(status.unwrap().unwrap().success());
}
