//! Tests of faults around the store's file.
//!
//! A failed sync followed by a power failure, a second gate under another name, disks that are full from the start,
//! file descriptors that run out, and commands that are killed while they write.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::crash::{count, has};
use crate::harness::app::{App, Recorded, by, ok, respond};
use crate::harness::command::{command, outcome};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, let_time_pass, wait_for};

fn config(app: &str) -> String {
    let mut text = "[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n".to_owned();
    text.push_str(&Provider::Github.route("queue", app, "mode = \"queue\"\n"));
    text.push_str("[routes.queue.destinations.upstream]\nbreaker = false\n");
    text.push_str(&Provider::Github.route("proxy", app, ""));
    text
}

fn strace(arguments: &[&str]) -> Vec<String> {
    assert!(has("strace"), "strace is needed: tests/run installs it");
    let fixed = ["strace", "-D", "-f", "-qq"];
    let all = fixed.iter().chain(arguments);
    all.map(|word| (*word).to_owned()).collect()
}

/// Change of a file in a trace.
enum Step {
    Write(u64, Vec<u8>),
    Truncate(u64),
    /// True where it succeeded.
    Sync(bool),
    /// Response with 200 to a sender.
    Answer,
}

/// Text of `HTTP/1.1 200` in strace's output.
const OK: &str = r"\x48\x54\x54\x50\x2f\x31\x2e\x31\x20\x32\x30\x30";

/// Formats bytes as strace does.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if let (b'\\', [b'x', high, low, after @ ..]) = (first, after) {
            let digits = [*high, *low];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    bytes
}

/// Returns the calls of a trace that concern the store's file and its log, by the end of their names.
fn parse(trace: &str) -> Vec<(String, Step)> {
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    let mut steps = Vec::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, begun);
            continue;
        }
        let joined;
        let call = match call
            .strip_prefix("<... ")
            .and_then(|rest| rest.split_once(" resumed>"))
        {
            Some((_, end)) => {
                let Some(begun) = unfinished.remove(thread) else {
                    continue;
                };
                joined = format!("{begun}{end}");
                &joined
            }
            None => call,
        };
        let Some((name, rest)) = call.split_once('(') else {
            continue;
        };
        if matches!(name, "write" | "writev" | "sendto") {
            if call.contains(OK) {
                steps.push((String::new(), Step::Answer));
            }
            continue;
        }
        let Some((path, rest)) = rest
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
        else {
            continue;
        };
        let path = String::from_utf8(unescape(path)).unwrap();
        let Some(file) = ["hookgate.db", "hookgate.db-wal"]
            .into_iter()
            .find(|file| path.ends_with(&format!("/{file}")))
        else {
            continue;
        };
        let (arguments, result) = rest.rsplit_once(" = ").unwrap();
        let arguments = arguments.trim_end();
        let is_done = !result.starts_with('-');
        let step = match name {
            "fdatasync" | "fsync" => Step::Sync(is_done),
            _ if !is_done => continue,
            "pwrite64" => {
                let (_, data) = arguments.split_once('"').unwrap();
                let (data, rest) = data.split_once('"').unwrap();
                assert!(!rest.starts_with("..."), "strace cut the data");
                let at = rest.rsplit_once(", ").unwrap().1.trim_end_matches(')');
                Step::Write(at.parse().unwrap(), unescape(data))
            }
            "ftruncate" => {
                let size = arguments.rsplit_once(", ").unwrap().1.trim_end_matches(')');
                Step::Truncate(size.trim().parse().unwrap())
            }
            _ => continue,
        };
        steps.push((file.to_owned(), step));
    }
    steps
}

/// Model of a disk that keeps synced writes, and those of the others that the test selects.
#[derive(Default)]
struct Disk {
    durable: BTreeMap<String, Vec<u8>>,
    pending: Vec<(String, Change)>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

fn apply(files: &mut BTreeMap<String, Vec<u8>>, file: &str, change: &Change) {
    let bytes = files.entry(file.to_owned()).or_default();
    match change {
        Change::Write(at, data) => {
            let at = usize::try_from(*at).unwrap();
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[at..at + data.len()].copy_from_slice(data);
        }
        Change::Truncate(size) => bytes.resize(usize::try_from(*size).unwrap(), 0),
    }
}

impl Disk {
    fn take(&mut self, file: &str, step: &Step) {
        let change = match step {
            Step::Write(at, data) => Change::Write(*at, data.clone()),
            Step::Truncate(size) => Change::Truncate(*size),
            Step::Sync(is_done) => {
                // Writes that a failed sync loses are lost forever: the system counts them as written.
                let pending = std::mem::take(&mut self.pending);
                for (other, change) in pending {
                    if other != file {
                        self.pending.push((other, change));
                    } else if *is_done {
                        apply(&mut self.durable, file, &change);
                    }
                }
                return;
            }
            Step::Answer => return,
        };
        self.pending.push((file.to_owned(), change));
    }

    /// Returns the files after a power failure at this moment, if these of the unsynced writes reached the disk.
    fn after_power_failed(&self, got_through: impl Fn(usize) -> bool) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.durable.clone();
        for (place, (file, change)) in self.pending.iter().enumerate() {
            if got_through(place) {
                apply(&mut files, file, change);
            }
        }
        files
    }
}

/// Asserts that all acknowledged events are there, and that the file is intact.
fn assert_whole(files: &BTreeMap<String, Vec<u8>>, acknowledged: &[String], what: &str) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().join("hookgate.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    let sound: Result<String, _> = db.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    assert_eq!(sound.as_deref(), Ok("ok"), "{what}");
    let mut find = db
        .prepare("SELECT count(*) FROM event WHERE event_id = ?1")
        .unwrap();
    for id in acknowledged {
        let found: i64 = find.query_row([id], |row| row.get(0)).unwrap();
        assert_eq!(found, 1, "{what}: {id} is lost");
    }
}

/// Returns a config with a route whose events are stored and never delivered, so that each is one commit.
fn stored_only() -> String {
    let route = Provider::Github.route("queue", "http://127.0.0.1:1/", "mode = \"queue\"\n");
    let end = "[routes.queue.destinations.upstream]\nevents = [\"none\"]\n";
    format!("[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n{route}{end}")
}

/// Runs a gate whose syncs fail repeatedly. Returns the ids of the acknowledged events in their order, and the trace.
async fn failed_synchronisations() -> (Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let wrapper = strace(&[
        "-y",
        "-xx",
        "-s",
        "2000000",
        "-o",
        trace.to_str().unwrap(),
        "-e",
        "trace=pwrite64,fdatasync,fsync,ftruncate,write,writev,sendto",
        "-e",
        // Each failure comes a commit or two after the file was reopened: its first pages are in the file alone.
        "inject=fdatasync:error=EIO:when=20+9",
    ]);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let gate = Gate::options(&stored_only()).plain().under(&wrapper);
    let mut gate = gate.start().await;
    let sender = Sender::new(Provider::Github);
    let mut acknowledged = Vec::new();
    let began = std::time::Instant::now();
    let mut number = 0;
    while acknowledged.len() < 60 {
        let body = format!("{{\"number\":{number},\"fill\":\"{}\"}}", "x".repeat(40));
        let id = format!("evt_{number}");
        let hook = sender.sign("/queue", &id, body.as_bytes());
        match gate.send(&hook).await.status {
            200 => acknowledged.push(id),
            _ => let_time_pass("a refused sender tries again later", RETRY).await,
        }
        number += 1;
        assert!(began.elapsed() < 3 * LIMIT, "the store did not come back");
    }
    gate.signal("KILL");
    gate.wait().await;
    let mut text = String::new();
    wait_for("the end of the trace", LIMIT, || {
        let before = text.len();
        text = std::fs::read_to_string(&trace).unwrap_or_default();
        text.len() == before && text.ends_with('\n')
    })
    .await;
    (acknowledged, text)
}

// Fails when `reopen` omits `secure`: pages of commits that the log has lost are copied into the file, which mixes them
// with older ones of the log when power fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_not_synchronised_is_never_copied_into_the_file() {
    let (acknowledged, trace) = failed_synchronisations().await;
    let mut disk = Disk::default();
    let (mut failures, mut moments, mut answered) = (0, 0, 0);
    for (number, (file, step)) in parse(&trace).iter().enumerate() {
        if matches!(step, Step::Answer) {
            answered += 1;
            continue;
        }
        disk.take(file, step);
        failures += usize::from(matches!(step, Step::Sync(false)));
        // While the file itself is being written: at other moments only the log can have gaps.
        let is_copying = disk.pending.iter().any(|(file, _)| !file.ends_with("-wal"));
        if failures == 0 || !is_copying {
            continue;
        }
        // Power fails now, and this part of the unsynced writes is on the disk.
        let last = disk.pending.len();
        let ways: [(&str, &dyn Fn(usize) -> bool); 3] = [
            ("all", &|_| true),
            ("each second one", &|place| place % 2 == 0),
            ("the last one", &|place| place + 1 == last),
        ];
        for (what, got_through) in ways {
            let files = disk.after_power_failed(got_through);
            let what = format!("step {number} after {failures} failures, {what} got through");
            assert_whole(&files, &acknowledged[..answered], &what);
        }
        moments += 1;
    }
    assert!(failures > 2 && moments > 50, "{failures} {moments}");
    assert_eq!(answered, acknowledged.len());
    println!("{failures} failures, {moments} moments");
}

// Fails when a second gate can open the file by another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gate_is_kept_out_whatever_name_it_has_for_the_file() {
    let app = App::start(ok());
    let gate = Gate::options(&config(&app.url("/in"))).start().await;
    let file = gate.folder().join("hookgate.db");
    let other = tempfile::tempdir_in(gate.folder()).unwrap();
    std::os::unix::fs::symlink(&file, other.path().join("soft.db")).unwrap();
    std::fs::hard_link(&file, other.path().join("hard.db")).unwrap();
    for name in ["soft.db", "hard.db"] {
        let path = other.path().join(name);
        let text = config(&app.url("/in"));
        let text = text.replace("sqlite:hookgate.db", &format!("sqlite:{}", path.display()));
        let (status, lines) = Gate::options(&text).start_refused().await;
        assert_eq!(status.code(), Some(1));
        let said = lines.join("\n");
        assert!(said.contains("in use by another process"), "{said}");
    }
    let hook = Sender::new(Provider::Github).event("/queue");
    assert_eq!(gate.send(&hook).await.status, 200);
    app.wait_for_requests(1).await;
}

/// Returns the responses of `/readyz` and `/healthz`.
async fn health(gate: &Gate) -> [(u16, String); 2] {
    [gate.admin("/readyz").await, gate.admin("/healthz").await]
}

// Fails when the gate does not start without room for its store, does not accept events once there is room, or does not
// log it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_a_full_disk_serves_proxy_routes_and_stores_later() {
    let app = App::start(ok());
    // The first writes of each thread fail: one thread tries at the start, another one later.
    let wrapper = strace(&[
        "-o",
        "/dev/null",
        "-e",
        "trace=pwrite64",
        "-e",
        "inject=pwrite64:error=ENOSPC:when=1..6",
    ]);
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let gate = Gate::options(&config(&app.url("/in")))
        .under(&wrapper)
        .start()
        .await;
    let [ready, alive] = health(&gate).await;
    assert_eq!(ready, (503, "store failing\n".to_owned()));
    assert_eq!(alive, (200, "store failing\n".to_owned()));
    let proxied = Sender::new(Provider::Github).event("/proxy");
    assert_eq!(gate.send(&proxied).await.status, 200);
    let hook = Sender::new(Provider::Github).event("/queue");
    assert_eq!(gate.send(&hook).await.status, 503);
    gate.wait_for_line(&["the store is open and accepts events"])
        .await;
    wait_for("the store", LIMIT, || {
        gate.log_lines()
            .iter()
            .any(|line| line.contains("config reloaded"))
    })
    .await;
    assert_eq!(gate.send(&hook).await.status, 200);
    app.wait_for_requests(2).await;
    let [ready, alive] = health(&gate).await;
    assert_eq!((ready.0, &*alive.1), (200, "ok\n"));
    // The event is recognized again, and a restart finds everything.
    assert_eq!(
        gate.send(&hook).await.header("hookgate-duplicate"),
        Some("true")
    );
}

// Fails when the store opens connections only on demand: without descriptors it would fail, and fail to recover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_goes_on_where_descriptors_have_run_out() {
    let refused = by(|_: &Recorded| respond(503, ""));
    let app = App::start(refused);
    let gate = Gate::options(&config(&app.url("/in")))
        .under(&["prlimit", "--nofile=96:96"])
        .start()
        .await;
    let mut connection = gate.client().connect().await.unwrap();
    let sender = Sender::new(Provider::Github);
    assert_eq!(connection.send(&sender.event("/queue")).await.status, 200);
    let mut held = Vec::new();
    for _ in 0..120 {
        held.push(
            tokio::net::TcpStream::connect(gate.address())
                .await
                .unwrap(),
        );
    }
    wait_for("no descriptor to be free", LIMIT, || {
        let folder = format!("/proc/{}/fd", gate.pid());
        std::fs::read_dir(folder).unwrap().count() >= 95
    })
    .await;
    // Enough for several checkpoint steps.
    for number in 0..16 {
        let body = format!(
            "{{\"number\":{number},\"fill\":\"{}\"}}",
            "x".repeat(400_000)
        );
        let hook = sender.sign("/queue", &format!("evt_{number}"), body.as_bytes());
        assert_eq!(connection.send(&hook).await.status, 200, "{number}");
    }
    drop(held);
    let file = gate.folder().join("hookgate.db");
    assert_eq!(count(&file, "SELECT count(*) FROM event"), 17);
    wait_for("descriptors", LIMIT, || {
        let folder = format!("/proc/{}/fd", gate.pid());
        std::fs::read_dir(folder).unwrap().count() < 90
    })
    .await;
    let reopened = gate.metric("hookgate_store_reopened_total", &[]).await;
    assert!(reopened < 1.0, "{reopened}");
}

/// Runs a command that is killed at its first call of a kind.
fn killed_at(call: &str, arguments: &[&str]) {
    let kill = format!("inject={call}:signal=KILL:when=1");
    let status = std::process::Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
            "-e",
            &kill,
        ])
        .arg(env!("CARGO_BIN_EXE_hookgate"))
        .args(arguments)
        .status()
        .unwrap();
    assert!(!status.success(), "it was not killed at {call}");
}

// Fails when a copy or an export is written under its final name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_or_export_that_is_killed_leaves_nothing_under_its_name() {
    assert!(has("strace"), "strace is needed: tests/run installs it");
    let app = App::start(ok());
    let mut gate = Gate::options(&config(&app.url("/in"))).start().await;
    let hooks: Vec<Hook> = (0..9)
        .map(|_| Sender::new(Provider::Github).event("/queue"))
        .collect();
    for hook in &hooks {
        assert_eq!(gate.send(hook).await.status, 200);
    }
    app.wait_for_requests(hooks.len()).await;
    gate.stop().await;
    let file = gate.folder().join("hookgate.db");
    let file = file.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("out");
    let name = to.to_str().unwrap();
    for (arguments, calls) in [
        (
            &["store", "copy", file, name][..],
            &["pwrite64", "fdatasync", "fsync", "renameat2"][..],
        ),
        (
            &["store", "export", file, "--out", name],
            &["fsync", "renameat2"],
        ),
        (
            &["store", "export", file, "--salvage", "--out", name],
            &["fsync", "renameat2"],
        ),
    ] {
        for call in calls {
            killed_at(call, arguments);
            // The call itself may finish before the signal takes effect.
            assert!(*call == "renameat2" || !to.exists(), "{arguments:?} {call}");
            let _ = std::fs::remove_file(&to);
        }
        let (code, _, err) = outcome(command(arguments).output().unwrap());
        assert_eq!(code, 0, "{err}");
        assert!(is_whole(&to), "{arguments:?}");
        // Opening it leaves files next to it.
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("out{suffix}")));
        }
        let names = folder.path().read_dir().unwrap();
        let left: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn is_whole(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    match bytes.starts_with(b"SQLite format 3\0") {
        true => count(path, "SELECT count(*) FROM event") == 9,
        false => bytes.iter().filter(|byte| **byte == b'\n').count() == 9,
    }
}

// Fails when the start does not report discarded commits, or when the command does not count what it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_says_how_much_of_a_damaged_log_was_discarded() {
    let app = App::start(ok());
    let mut gate = Gate::options(&config(&app.url("/in"))).start().await;
    for _ in 0..20 {
        let hook = Sender::new(Provider::Github).event("/queue");
        assert_eq!(gate.send(&hook).await.status, 200);
    }
    gate.signal("KILL");
    gate.wait().await;
    let log = gate.folder().join("hookgate.db-wal");
    let mut bytes = std::fs::read(&log).unwrap();
    let place = 32 + (bytes.len() / 2 / 4120) * 4120 + 1000;
    bytes[place] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let file = gate.folder().join("hookgate.db");
    let (code, out, err) = outcome(
        command(&["store", "export", file.to_str().unwrap(), "--salvage"])
            .output()
            .unwrap(),
    );
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().count(), 20, "{err}");
    assert!(
        err.contains("1 of its pages do not match their checksum"),
        "{err}"
    );
    let text = config(&app.url("/in"));
    let text = text.replace("sqlite:hookgate.db", &format!("sqlite:{}", file.display()));
    let again = Gate::options(&text).start().await;
    let line = again.wait_for_line(&["the store's log is damaged"]).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = line.to_string();
    assert!(
        text.contains("\"commits\"") && text.contains("\"kept_commits\""),
        "{text}"
    );
}

/// Pause of a sender before it sends again.
const RETRY: Duration = Duration::from_millis(20);

/// A small file system in a mount namespace of its own, for as long as a process holds it.
struct SmallDisk {
    holder: std::process::Child,
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one; none where this machine permits no namespaces.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size={size} tmpfs '{0}' && echo mounted && exec cat",
            folder.path().display()
        );
        let spawned = std::process::Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            // It ends with its input, so also with a test that is killed.
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut disk = Self {
            holder: spawned.ok()?,
            folder,
        };
        let mut line = String::new();
        let out = disk.holder.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        (line == "mounted\n").then_some(disk)
    }

    /// The words before a command that runs where the disk is mounted.
    fn wrapper(&self) -> [String; 5] {
        let holder = self.holder.id().to_string();
        ["nsenter", "-t", &holder, "-m", "--"].map(str::to_owned)
    }

    /// A file on it, by the name that leads there from outside.
    fn path(&self, name: &str) -> std::path::PathBuf {
        let inside = self.folder.path().strip_prefix("/").unwrap();
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(inside).join(name)
    }

    fn fill(&self) {
        use std::io::Write;
        let mut options = std::fs::OpenOptions::new();
        let file = options.append(true).create(true);
        let mut file = file.open(self.path("ballast")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// Leaves so many bytes free of a full disk.
    fn shrink(&self, free: u64) {
        let file = std::fs::File::options();
        let file = file.clone().write(true).open(self.path("ballast")).unwrap();
        let size = file.metadata().unwrap().len();
        file.set_len(size - free).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Sends events until one is taken, as their senders do, and adds it to those that were acknowledged.
async fn send_until_taken(gate: &Gate, first: usize, acknowledged: &mut Vec<String>) {
    let sender = Sender::new(Provider::Github);
    let began = std::time::Instant::now();
    for number in first.. {
        let id = format!("evt_{number}");
        let hook = sender.sign("/queue", &id, format!("{{\"number\":{number}}}").as_bytes());
        match gate.send(&hook).await.status {
            200 => {
                acknowledged.push(id);
                return;
            }
            status => assert_eq!(status, 503),
        }
        assert!(began.elapsed() < LIMIT, "the store takes nothing");
        let_time_pass("a refused sender tries again later", RETRY).await;
    }
}

// Fails when a full file system keeps the gate from starting, when events are refused with a status that senders give up at,
// when the store stays closed after there is room again, or when an acknowledged event is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_file_system_loses_no_acknowledged_event() {
    let Some(disk) = SmallDisk::mount("24m") else {
        println!("SKIPPED: this machine permits no mount namespaces (run as root)");
        return;
    };
    let app = App::start(ok());
    let mounted = disk.folder.path().join("hookgate.db");
    let url = format!("sqlite:{}", mounted.display());
    let text = config(&app.url("/in")).replace("sqlite:hookgate.db", &url);
    // So that writes fail, and not the look at the free room before them.
    let text = text.replace("min_free = \"1MiB\"", "min_free = \"4KiB\"");
    let wrapper = disk.wrapper();
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let sender = Sender::new(Provider::Github);
    let mut acknowledged = Vec::new();

    // Full from the start.
    disk.fill();
    let mut gate = Gate::options(&text).under(&wrapper).start().await;
    let [ready, _] = health(&gate).await;
    assert_eq!(ready, (503, "store failing\n".to_owned()));
    assert_eq!(gate.send(&sender.event("/proxy")).await.status, 200);
    assert_eq!(gate.send(&sender.event("/queue")).await.status, 503);
    disk.free();
    send_until_taken(&gate, 0, &mut acknowledged).await;
    assert_eq!(gate.admin("/readyz").await.0, 200);

    // Full while it runs: a commit finds too little room for its pages, and then there is no byte left.
    for number in 100..110 {
        send_until_taken(&gate, number, &mut acknowledged).await;
    }
    disk.fill();
    disk.shrink(64 << 10);
    let body = format!("{{\"fill\":\"{}\"}}", "x".repeat(900_000));
    let large = sender.sign("/queue", "evt_large", body.as_bytes());
    assert_eq!(gate.send(&large).await.status, 503);
    disk.fill();
    let hook = sender.event("/queue");
    let began = std::time::Instant::now();
    // The last small events may find room that the store had already.
    while gate.send(&hook).await.status != 503 {
        assert!(began.elapsed() < LIMIT);
    }
    assert_eq!(gate.send(&sender.event("/proxy")).await.status, 200);
    assert_eq!(
        gate.admin("/readyz").await,
        (503, "store failing\n".to_owned())
    );
    disk.free();
    send_until_taken(&gate, 200, &mut acknowledged).await;
    assert_eq!(gate.send(&large).await.status, 200);
    assert_eq!(gate.admin("/readyz").await.0, 200);
    acknowledged.push("evt_large".to_owned());
    gate.stop().await;
    let files: BTreeMap<String, Vec<u8>> = ["hookgate.db", "hookgate.db-wal"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::fs::read(disk.path(name)).ok()?)))
        .collect();
    assert_whole(&files, &acknowledged, "after the disk was full twice");
    assert_eq!(acknowledged.len(), 13);
}
