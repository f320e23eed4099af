//! The gate as a process: the real binary with its own folder, configuration, log and signals.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use super::client::{Client, Reply};
use super::command::{command, end};
use super::raw::Raw;
use super::sender::Hook;
use super::tls::Authority;
use super::{LIMIT, poll_for, signal, wait_for};

/// A running gate; killed when dropped.
pub struct Gate {
    child: Child,
    folder: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
    authority: Authority,
    is_plain: bool,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

/// Message in the log after a rejected reload.
pub const RELOAD_REFUSED: &str = "config rejected, the previous one stays in use";

/// Options for starting a gate.
pub struct Options {
    text: String,
    is_plain: bool,
    environment: Vec<(String, String)>,
    /// Program that runs the gate, with its arguments.
    wrapper: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

impl Options {
    /// Plain HTTP on loopback: no `[tls]`.
    pub fn plain(mut self) -> Self {
        self.is_plain = true;
        self
    }

    /// An environment variable for the process.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the gate through another program, which must keep the process id (`exec`).
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Adds a file to the gate's folder, which the config names as `$DIR/NAME`.
    pub fn file(mut self, name: &str, content: &[u8]) -> Self {
        self.files.push((name.to_owned(), content.to_vec()));
        self
    }

    /// Starts the gate and waits until it has logged each listener.
    pub async fn start(self) -> Gate {
        let mut gate = self.spawn();
        gate.wait_until_it_listens().await;
        gate
    }

    /// Starts a gate that must reject its config, and waits for its end.
    pub async fn start_refused(self) -> (ExitStatus, Vec<String>) {
        let mut gate = self.spawn();
        let status = gate.wait().await;
        (status, gate.log_lines())
    }

    fn spawn(self) -> Gate {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let names = ["localhost", "127.0.0.1", "hooks.example.com"];
        authority.issue(folder.path(), "cert", &names);
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        for (name, content) in &self.files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let text = complete(&self.text, folder.path(), self.is_plain);
        std::fs::write(folder.path().join("hookgate.toml"), text).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let child = spawn(
            &folder.path().join("hookgate.toml"),
            &self.environment,
            &self.wrapper,
            &log,
        );
        Gate {
            child,
            environment: self.environment,
            wrapper: self.wrapper,
            folder,
            log,
            authority,
            is_plain: self.is_plain,
            addresses: Vec::new(),
            admin: None,
        }
    }
}

/// Starts the program, whose log goes to `log`.
fn spawn(
    config: &Path,
    environment: &[(String, String)],
    wrapper: &[String],
    log: &Arc<Mutex<Vec<String>>>,
) -> Child {
    let program = env!("CARGO_BIN_EXE_hookgate");
    let mut command = match wrapper {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    let mut child = command
        .args(["run", "--config"])
        .arg(config)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env_remove("NOTIFY_SOCKET")
        .env_remove("LISTEN_FDS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stderr, lines) = (child.stderr.take().unwrap(), Arc::clone(log));
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            lines.lock().push(line);
        }
    });
    child
}

impl Gate {
    /// Starts a gate with TLS. Tables that the text does not have are added: `[server]` on a free port of 127.0.0.1,
    /// `[tls]` with a certificate for localhost, 127.0.0.1 and hooks.example.com, `[admin]`. `$DIR` is the gate's folder.
    pub async fn start(text: &str) -> Self {
        Self::options(text).start().await
    }

    /// Returns the start options for a config.
    pub fn options(text: &str) -> Options {
        Options {
            text: text.to_owned(),
            is_plain: false,
            environment: Vec::new(),
            wrapper: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Returns the address of the first listener.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns the addresses of all listeners, in the order of the log.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.expect("the gate logged no admin listener")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("hookgate.toml")
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Creates a command in the gate's folder that uses its admin listener with this token.
    pub fn command(&self, token: &str, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command
            .current_dir(self.folder())
            .env("HOOKGATE_ADMIN", format!("http://{}", self.admin_address()))
            .env("HOOKGATE_ADMIN_TOKEN", token);
        command
    }

    /// Runs a command against the admin listener of this gate.
    pub async fn hookgate(&self, token: &str, arguments: &[&str]) -> Output {
        end(self.command(token, arguments)).await
    }

    /// Creates an HTTP/1.1 client of the first listener.
    pub fn client(&self) -> Client {
        let config = (!self.is_plain).then(|| self.authority.client_config(&["http/1.1"]));
        Client::new(self.address(), config)
    }

    /// Creates an HTTP/2 client of the first listener.
    pub fn client_h2(&self) -> Client {
        Client::new(self.address(), Some(self.authority.client_config(&["h2"]))).h2()
    }

    /// Sends one request on a new connection over HTTP/1.1.
    pub async fn send(&self, hook: &Hook) -> Reply {
        self.client().send(hook).await
    }

    /// Opens a raw connection, over TLS with HTTP/1.1 if the gate has TLS.
    pub async fn raw(&self) -> Raw {
        let config = (!self.is_plain).then(|| self.authority.client_config(&["http/1.1"]));
        Raw::connect(self.address(), config).await
    }

    /// Opens a raw connection with HTTP/2 selected; the preface is not sent.
    pub async fn raw_h2(&self) -> Raw {
        Raw::connect(self.address(), Some(self.authority.client_config(&["h2"]))).await
    }

    /// Sends a GET to the admin listener; returns status and body.
    pub async fn admin(&self, path: &str) -> (u16, String) {
        let hook = Hook::bare("GET", path, b"");
        let reply = Client::new(self.admin_address(), None).send(&hook).await;
        (
            reply.status,
            String::from_utf8_lossy(&reply.body).into_owned(),
        )
    }

    /// Returns `token` of `[admin]`, if the config has one.
    fn admin_token(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.folder().join("hookgate.toml")).ok()?;
        let section = text.split("[admin]\n").nth(1)?.split("\n[").next()?;
        let token = section
            .lines()
            .find_map(|line| line.strip_prefix("token = \""))?;
        Some(token.strip_suffix('"')?.to_owned())
    }

    /// Returns a metric, summed over the series whose labels contain all of `labels` (such as `route="a"`).
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let mut hook = Hook::bare("GET", "/metrics", b"");
        if let Some(token) = self.admin_token() {
            hook = hook.with("Authorization", &format!("Bearer {token}"));
        }
        let reply = Client::new(self.admin_address(), None).send(&hook).await;
        let text = reply.text();
        assert_eq!(reply.status, 200, "{text}");
        let fits = |line: &&str| {
            let series = line.split([' ', '{']).next();
            series == Some(name) && labels.iter().all(|label| line.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        text.lines().filter(fits).map(value).sum()
    }

    /// Waits until a metric, summed like in `metric`, fits.
    pub async fn wait_for_metric(
        &self,
        name: &str,
        labels: &[&str],
        is_fitting: impl Fn(f64) -> bool,
    ) {
        let what = format!("{name}{labels:?}");
        poll_for(&what, LIMIT, async || {
            is_fitting(self.metric(name, labels).await).then_some(())
        })
        .await;
    }

    /// Returns every line of the log so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    /// Returns the lines of the log that are JSON objects.
    pub fn log_events(&self) -> Vec<Value> {
        let lines = self.log_lines();
        let parsed = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        parsed.collect()
    }

    /// Waits for a line that contains all these texts, and returns it.
    pub async fn wait_for_line(&self, texts: &[&str]) -> String {
        let find = || {
            let lines = self.log_lines();
            let found = lines
                .iter()
                .find(|line| texts.iter().all(|text| line.contains(text)));
            found.cloned()
        };
        let what = format!("a log line with {texts:?}");
        wait_for(&what, LIMIT, || find().is_some()).await;
        find().unwrap()
    }

    /// Writes another config (completed like the first) and reloads; returns whether it was accepted.
    pub async fn reload(&self, text: &str) -> bool {
        let text = complete(text, self.folder(), self.is_plain);
        std::fs::write(self.config_path(), text).unwrap();
        self.reload_as_it_is().await
    }

    /// Reloads by SIGHUP with the same config; returns whether it was accepted.
    pub async fn reload_as_it_is(&self) -> bool {
        let seen = self.log_lines().len();
        self.signal("HUP");
        let find = |wanted: &str| {
            self.log_lines()
                .iter()
                .skip(seen)
                .any(|line| says(line, wanted))
        };
        wait_for("the end of the reload", LIMIT, || {
            find("config reloaded") || find(RELOAD_REFUSED)
        })
        .await;
        find("config reloaded")
    }

    /// Sends a signal to the process.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Sends SIGTERM, then waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait().await
    }

    /// Waits for the end of the process.
    pub async fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the end of the gate", LIMIT, || {
            child.try_wait().unwrap().is_some()
        })
        .await;
        self.child.wait().unwrap()
    }

    /// Returns whether the process is alive.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Returns the resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sets the environment for the next start.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Writes the config for the next start.
    pub fn set_config(&self, text: &str) {
        let text = complete(text, self.folder(), self.is_plain);
        std::fs::write(self.config_path(), text).unwrap();
    }

    /// Ends the process by a signal and starts it again in the same folder.
    pub async fn restart(&mut self, name: &str) {
        self.signal(name);
        self.wait().await;
        self.log = Arc::default();
        self.child = spawn(
            &self.config_path(),
            &self.environment,
            &self.wrapper,
            &self.log,
        );
        self.wait_until_it_listens().await;
    }

    async fn wait_until_it_listens(&mut self) {
        let listeners = listeners(&std::fs::read_to_string(self.config_path()).unwrap());
        wait_for("the listeners of the gate", LIMIT, || {
            self.note_addresses();
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the gate did not start ({ended:?}):\n{}",
                self.log_lines().join("\n")
            );
            self.addresses.len() == listeners && self.admin.is_some()
        })
        .await;
    }

    fn note_addresses(&mut self) {
        let find = |wanted: &str| -> Vec<SocketAddr> {
            let events = self.log_events();
            let fitting = events
                .iter()
                .filter(|event| event_name(event) == Some(wanted));
            let address = |event: &Value| field(event, "address")?.as_str()?.parse().ok();
            fitting.filter_map(address).collect()
        };
        let (addresses, admin) = (find("listening"), find("admin listening"));
        self.addresses = addresses;
        self.admin = admin.first().copied();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.log_lines();
            let last = &lines[lines.len().saturating_sub(30)..];
            eprintln!("end of the gate's log:\n{}", last.join("\n"));
        }
    }
}

/// Returns the message of a JSON log line.
pub fn event_name(line: &Value) -> Option<&str> {
    ["event", "message"]
        .iter()
        .find_map(|key| field(line, key)?.as_str())
}

/// Returns a field of a JSON log line.
pub fn field<'a>(line: &'a Value, key: &str) -> Option<&'a Value> {
    line.get(key).or_else(|| line.get("fields")?.get(key))
}

fn says(line: &str, wanted: &str) -> bool {
    let parsed = serde_json::from_str::<Value>(line);
    parsed.is_ok_and(|line| event_name(&line) == Some(wanted))
}

/// Counts the addresses of `[server] listen`.
fn listeners(config: &str) -> usize {
    let mut lines = config.lines().map(str::trim_start);
    let line = lines.find(|line| line.starts_with("listen"));
    line.unwrap().matches('"').count() / 2
}

/// Adds the tables that the text lacks.
fn complete(text: &str, folder: &Path, is_plain: bool) -> String {
    let mut whole = text.replace("$DIR", &folder.display().to_string());
    let has = |whole: &str, table: &str| whole.lines().any(|line| line.trim() == table);
    let listen = "listen = [\"127.0.0.1:0\"]";
    if !has(&whole, "[server]") {
        whole = format!("[server]\n{listen}\n\n{whole}");
    } else if !whole
        .lines()
        .any(|line| line.trim_start().starts_with("listen"))
    {
        whole = whole.replacen("[server]", &format!("[server]\n{listen}"), 1);
    }
    if !has(&whole, "[admin]") {
        whole.push_str("\n[admin]\nlisten = \"127.0.0.1:0\"\n");
    }
    if !is_plain && !has(&whole, "[tls]") {
        let folder = folder.display();
        whole.push_str(&format!(
            "\n[tls]\ncert = \"{folder}/cert.pem\"\nkey = \"{folder}/cert.key\"\n"
        ));
    }
    whole
}
