//! The gate in process, as `hookgate run` would run it, on a free port with a throw-away certificate.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::Value;
use tracing::Level;

use crate::app::App;
use crate::net::request_file::RequestFile;
use crate::record::line::Encoding;
use crate::record::log::Logger;
use crate::testing::exchange::{Answer, Target, Trust};
use crate::testing::folder::Folder;
use crate::testing::{TestingError, load};

/// Everything is on this machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Between two looks at the log, and how many there are.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: usize = 2000;

/// A running gate.
pub struct Gate {
    app: App,
    target: Target,
    url: String,
    log: Log,
    /// Removed with the gate.
    folder: Folder,
}

impl Gate {
    /// Starts with a config. Where it has no `[server]` or `[tls]`, they are added: a free port of 127.0.0.1, and a
    /// certificate for `localhost` that nobody else trusts.
    ///
    /// # Errors
    /// The config is refused, or something cannot be started.
    pub async fn start(config: &str) -> Result<Self, TestingError> {
        let failed = |what| move |error: String| TestingError::Io(what, error);
        let folder = Folder::make("hookgate-testing");
        let folder = folder.map_err(|error| TestingError::Io("no folder", error.to_string()))?;
        let authority = folder.write_certificates("hookgate testing");
        let authority =
            authority.map_err(|error| TestingError::Io("no certificate", error.to_string()))?;
        let text = complete(config, &folder)?;
        let log = Log::default();
        let logger = Logger::to_writer(Encoding::Json, Level::INFO, Box::new(log.clone()));
        let logger = logger.map_err(|error| error.to_string());
        let app = App::start(load(&text)?, logger.map_err(failed("no log"))?).await;
        let app = app.map_err(|error| {
            let error = crate::model::error::chain(&error);
            TestingError::Io("the gate does not start", error)
        })?;
        let port = app
            .addresses()
            .first()
            .map_or(0, std::net::SocketAddr::port);
        let url = format!("https://localhost:{port}");
        let mut roots = RootCertStore::empty();
        let added = roots.add(authority).map_err(|error| error.to_string());
        added.map_err(failed("no certificate"))?;
        Ok(Self {
            target: Target::new(&url, Trust::Roots(roots), TIMEOUT)?,
            app,
            url,
            log,
            folder,
        })
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The PEM file of the authority that other clients need to believe.
    #[must_use]
    pub fn authority(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Sends a request as a provider would.
    ///
    /// # Errors
    /// No answer came.
    pub async fn send(&self, request: &RequestFile) -> Result<Answer, TestingError> {
        let answer = self.target.send(request).await;
        answer.map_err(|error| TestingError::Io("no answer", error))
    }

    /// The line that the gate's log has about the request with this answer: verdict, reason, evidence. `None` where none
    /// comes.
    pub async fn told(&self, answer: &Answer) -> Option<Value> {
        let id = answer.header("hookgate-request-id")?;
        for _ in 0..LOOKS {
            let line = self.log.lines().into_iter().find(|line| {
                line.get("request_id").and_then(Value::as_str) == Some(id)
                    && line.get("verdict").is_some()
            });
            if line.is_some() {
                return line;
            }
            tokio::time::sleep(LOOK).await;
        }
        None
    }

    /// The lines of its log so far.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        self.log.lines()
    }

    /// Finishes what is in flight, and ends.
    pub async fn stop(self) {
        self.app.stop().await;
    }
}

/// The config with what it lacks.
fn complete(config: &str, folder: &Folder) -> Result<String, TestingError> {
    // What is no TOML is told in the gate's own words.
    let Ok(table) = config.parse::<toml::Table>() else {
        load(config)?;
        return Ok(config.to_owned());
    };
    let mut text = String::new();
    if !table.contains_key("server") {
        text.push_str("[server]\nlisten = [\"127.0.0.1:0\"]\n\n");
    }
    if !table.contains_key("tls") {
        let folder = folder.path().display();
        text.push_str(&format!(
            "[tls]\ncert = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n\n"
        ));
    }
    text.push_str(config);
    Ok(text)
}

/// The lines of the log, as they are written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = bytes.split(|byte| *byte == b'\n');
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
