//! Tests of the commands over the inbox, which use the admin listener of a running gate.

use std::io::{BufRead, BufReader};

use hookgate::internals::AdminOfStore;
use serde_json::Value;

use crate::harness::command::{command, end, outcome};
use crate::harness::gate::Gate;
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
    let no_store =
        "this gate has no store: routes in queue or hybrid mode need `[store]` in the config";
    for (arguments, doing) in [
        (&["events", "list"][..], "listing events"),
        (&["events", "tail"], "following events"),
        (&["deliveries", "list"], "listing deliveries"),
        (&["destinations", "list"], "listing destinations"),
        (
            &["destinations", "pause", "a/b"],
            "pausing destination `a/b`",
        ),
        (&["replay", "list"], "listing replays"),
        (&["replay", "--all"], "counting the deliveries of a replay"),
    ] {
        let arguments = [arguments, &["--admin", &address]].concat();
        let (code, out, err) = run(&arguments, Some(TOKEN)).await;
        assert_eq!((code, &*out), (1, ""), "{arguments:?}\n{err}");
        assert_eq!(err, format!("error: {doing}: {no_store}\n"));
    }
}

#[tokio::test]
async fn the_token_comes_from_environment_file_or_config() {
    let gate = Gate::start(&config()).await;
    let address = format!("http://{}", gate.admin_address());
    let asked = ["events", "list", "--admin", &address];
    let (code, _, err) = run(&asked, None).await;
    assert_eq!(code, 1);
    assert!(
        err.starts_with("error: listing events: the gate requires a token\nhelp: "),
        "{err}"
    );
    let (code, _, err) = run(&asked, Some("another one")).await;
    assert_eq!(code, 1);
    assert!(err.contains("the gate rejects this token"), "{err}");
    assert!(!err.contains("another one"), "{err}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let (_, _, err) = run(&[&asked[..], &["--token-file", &file]].concat(), None).await;
    assert!(err.contains("this gate has no store"), "{err}");
    let config = gate.config_path();
    let config = config.to_str().unwrap();
    let (_, _, err) = run(&[&asked[..], &["--config", config]].concat(), None).await;
    assert!(err.contains("this gate has no store"), "{err}");
    let (code, _, err) = run(&[&asked[..], &["--token-file", "/nowhere"]].concat(), None).await;
    assert_eq!(code, 2);
    assert!(
        err.starts_with("error: reading the token: cannot read `/nowhere`"),
        "{err}"
    );
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
    let (code, out, err) = run(&["events", "list", "--admin", &address], None).await;
    assert_eq!((code, &*out), (1, ""));
    assert_eq!(
        err,
        format!(
            "error: listing events: cannot reach a gate at `{address}`\n\
             help: start it (`systemctl start hookgate`), or name its admin listener: `--admin ADDRESS`, or `--config FILE`\n"
        )
    );
    let (code, _, err) = run(
        &["events", "list", "--admin", "http://gate.example:9180"],
        None,
    )
    .await;
    assert_eq!(code, 2);
    assert!(err.contains("is another machine"), "{err}");
    for arguments in [&["replay"][..], &["deliveries", "cancel"]] {
        let (code, _, err) = run(arguments, None).await;
        assert_eq!(code, 2, "nothing was said: {err}");
    }
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

    async fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, err) = self.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!((code, &*err), (0, ""), "{arguments:?}");
        serde_json::from_str(&out).unwrap()
    }
}

/// Returns the words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn events_are_listed_shown_and_printed_byte_for_byte() {
    let inbox = Inbox::open().await;
    for number in 0..3 {
        inbox.accept(number, "push").await;
    }
    let (code, out, err) = inbox.run(&["events", "list"]).await;
    assert_eq!((code, &*err), (0, ""));
    assert!(!out.contains('\u{1b}'), "colour for nobody: {out}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        words(lines[0]),
        words("RECEIVED AGE EVENT ROUTE TYPE PROVIDER'S ID DELIVERIES")
    );
    let first = words(lines[1]);
    assert_eq!(first[..2], ["2025-11-24", "16:00:02Z"]);
    assert_eq!(
        first[6..],
        ["github", "push", "id-2", "1", "pending"],
        "{out}"
    );
    assert_eq!(lines.len(), 4, "{out}");

    let (_, out, _) = inbox.run(&["events", "list", "--limit", "2"]).await;
    assert!(out.contains("there are more: `--all`"), "{out}");
    let part = inbox.json(&["events", "list", "--limit", "2"]).await;
    assert!(part["next"].is_string(), "{part}");
    let whole = inbox.json(&["events", "list", "--all"]).await;
    assert_eq!(whole["events"].as_array().unwrap().len(), 3);
    assert_eq!(whole["next"], Value::Null);
    let (code, out, _) = inbox.run(&["events", "list", "--type", "issues.*"]).await;
    assert_eq!((code, &*out), (0, "no event matches\n"));

    // Found in bodies, and in other values of the sender.
    for (text, expected) in [("{\"a\"", 3), ("ID-1", 1), ("nowhere", 0)] {
        let found = inbox.json(&["events", "list", "--text", text]).await;
        let found = found["events"].as_array().unwrap();
        assert_eq!(found.len(), expected, "{text}: {found:?}");
    }
    let (code, out, _) = inbox.run(&["events", "list", "--text", "nowhere"]).await;
    assert_eq!((code, &*out), (0, "no event matches\n"));
    let (code, _, _) = inbox.run(&["events", "tail", "--text", "x"]).await;
    assert_eq!(code, 2, "a tail looks into no body");

    let uid = whole["events"][0]["uid"].as_str().unwrap();
    let (_, out, _) = inbox.run(&["events", "show", uid]).await;
    for part in [
        uid,
        "msg_2",
        "192.0.2.7 over TLS",
        "POST /github",
        "github/ci",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    let show = [
        "events",
        "show",
        uid,
        "--body",
        "--admin",
        inbox.admin.address(),
    ];
    assert_eq!(end(command(&show)).await.stdout, b"{\"a\":\xff}\n");

    let (code, _, err) = inbox.run(&["events", "show", "id-2"]).await;
    assert_eq!(code, 2);
    assert!(
        err.starts_with("error: showing event `id-2`: `id-2` is not the id of an event"),
        "{err}"
    );
    let (code, _, err) = inbox.run(&["events", "list", "--since", "soon"]).await;
    assert_eq!(code, 2);
    assert!(
        err.starts_with(
            "error: listing events: `since` is `soon`, which is not a valid time: use "
        ),
        "{err}"
    );
}

#[tokio::test]
async fn deliveries_are_changed_one_by_one_or_many_at_once() {
    let inbox = Inbox::open().await;
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(inbox.accept(number, "push").await);
    }
    let (code, out, _) = inbox.run(&["deliveries", "cancel", &ids[0]]).await;
    assert_eq!(code, 0);
    assert!(out.contains("cancelled"), "{out}");
    let (code, out, err) = inbox.run(&["deliveries", "cancel", &ids[0], &ids[1]]).await;
    assert_eq!(code, 1);
    assert!(out.contains("cancelled"), "the other one is changed: {out}");
    assert_eq!(
        err,
        format!(
            "error: requesting `cancel` of delivery {0}: cannot cancel delivery {0}, which is cancelled: \
             the delivery ended already\n\
             error: 1 of 2 deliveries could not be changed\n",
            ids[0]
        )
    );
    let (code, out, _) = inbox
        .run(&[
            "deliveries",
            "cancel",
            "--destination",
            "github/ci",
            "--dry-run",
        ])
        .await;
    assert_eq!((code, &*out), (0, "`cancel` would change 2 deliveries\n"));
    // There is no terminal to ask for confirmation.
    let (code, _, err) = inbox.run(&["deliveries", "cancel", "--all"]).await;
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "error: Cancel of 2 deliveries: cannot ask for confirmation without a terminal\nhelp: check with `--dry-run`, then add `--yes`\n"
    );
    for which in [&["--id", "id-2"][..], &["--all"]] {
        let cancel = [&["deliveries", "cancel", "--yes"], which].concat();
        let (code, out, _) = inbox.run(&cancel).await;
        assert_eq!((code, &*out), (0, "1 delivery was cancelled\n"));
    }
    let shown = inbox.json(&["deliveries", "show", &ids[3]]).await;
    assert_eq!(shown["delivery"]["state"], "cancelled");
    let (code, out, _) = inbox.run(&["deliveries", "list", "--state", "dead"]).await;
    assert_eq!((code, &*out), (0, "no delivery matches\n"));
    let (code, _, err) = inbox.run(&["deliveries", "show", "99"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("delivery 99 does not exist"), "{err}");
}

#[tokio::test]
async fn destinations_are_paused_by_name_and_by_route() {
    let inbox = Inbox::open().await;
    inbox.accept(0, "push").await;
    let (code, out, _) = inbox.run(&["destinations", "pause", "github/ci"]).await;
    assert_eq!(code, 0);
    assert!(
        words(out.lines().nth(1).unwrap()).starts_with(&["github/ci", "paused"]),
        "{out}"
    );
    let (_, out, _) = inbox.run(&["destinations", "resume", "github/ci"]).await;
    assert!(!out.contains("paused"), "{out}");
    let (_, out, _) = inbox
        .run(&["destinations", "pause", "--route", "github"])
        .await;
    assert!(out.contains("route paused"), "{out}");
    let listed = inbox.json(&["destinations", "list"]).await;
    assert_eq!(listed["destinations"][0]["route_paused"], true);
    let (code, _, err) = inbox.run(&["destinations", "pause", "github/cj"]).await;
    assert_eq!(code, 1);
    assert_eq!(
        err,
        "error: pausing destination `github/cj`: route `github` has no destination `cj`: did you mean `ci`?\n"
    );
    let (code, _, err) = inbox.run(&["destinations", "pause", "github"]).await;
    assert_eq!(code, 2);
    assert!(err.contains("`--route github` for all of a route"), "{err}");
}

#[tokio::test]
async fn a_replay_is_counted_begun_and_watched() {
    let inbox = Inbox::open().await;
    for number in 0..3 {
        inbox.accept(number, "push").await;
    }
    let (code, out, _) = inbox
        .run(&["replay", "--route", "github", "--dry-run"])
        .await;
    assert_eq!((code, &*out), (0, "a replay would create 3 deliveries\n"));
    let (code, out, err) = inbox.run(&["replay", "--route", "github", "--yes"]).await;
    assert_eq!(
        (code, &*out, &*err),
        (0, "replay 1 ended: 3 deliveries created\n", "")
    );
    let listed = inbox.json(&["replay", "list"]).await;
    assert_eq!(listed["replays"][0]["state"], "ended");
    let listed = inbox.json(&["deliveries", "list", "--replays"]).await;
    assert_eq!(listed["deliveries"].as_array().unwrap().len(), 3);
    let (code, out, _) = inbox.run(&["replay", "--type", "other", "--yes"]).await;
    assert_eq!((code, &*out), (0, "a replay would create 0 deliveries\n"));
    let (code, _, err) = inbox.run(&["replay", "pause", "1"]).await;
    assert_eq!(code, 1);
    assert!(
        err.starts_with("error: pausing replay 1: replay 1 has ended"),
        "{err}"
    );
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
