//! A gate in the same process, as `hookgate run` starts it, on a free port with a temporary certificate.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::Value;
use tracing::Level;

use crate::app::RunningGate;
use crate::net::request_file::RequestFile;
use crate::record::log::LineLogger;
use crate::record::log_line::LineEncoding;
use crate::testing::error::{TestingError, load};
use crate::testing::exchange::{ReceivedResponse, SendTarget, ServerTrust};
use crate::testing::folder::PrivateFolder;
use crate::testing::log_capture::LogCapture;

/// Limit for a response. Everything is on this machine, so more than this means a hang.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Limit for the log line of a request, which may appear after the response.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// Running gate for tests. [`TestGate::stop`] ends it.
pub struct TestGate {
    app: RunningGate,
    target: SendTarget,
    url: String,
    log: LogCapture,
    /// Folder with the certificate, removed together with the gate.
    folder: PrivateFolder,
}

impl TestGate {
    /// Starts a gate with a config.
    ///
    /// Adds a missing `[server]` with a free port of 127.0.0.1, and a missing `[tls]` with a new certificate for
    /// `localhost`, which only [`TestGate::send`] trusts.
    ///
    /// # Errors
    /// The config has errors, or the gate cannot start.
    pub async fn start(config: &str) -> Result<Self, TestingError> {
        let failed = |what| move |error: String| TestingError::Io(what, error);
        let folder = PrivateFolder::make("hookgate-testing");
        let folder = folder.map_err(|error| {
            TestingError::Io("cannot create a temporary folder", error.to_string())
        })?;
        let authority = folder.write_certificates("hookgate testing");
        let authority = authority
            .map_err(|error| TestingError::Io("cannot create a certificate", error.to_string()))?;
        // The certificate is written first: the completed config contains its path, and loading it reads the files.
        let text = complete(config, &folder)?;
        let log = LogCapture::default();
        let logger = LineLogger::to_writer(LineEncoding::Json, Level::INFO, Box::new(log.clone()));
        let logger = logger.map_err(|error| error.to_string());
        let app = RunningGate::start(
            load(&text)?,
            logger.map_err(failed("cannot start the log"))?,
        )
        .await;
        let app = app.map_err(|error| {
            let error = crate::model::error::chain(&error);
            TestingError::Io("the gate cannot start", error)
        })?;
        let url = format!("https://localhost:{}", first_address(&app).port());
        let mut roots = RootCertStore::empty();
        let added = roots.add(authority).map_err(|error| error.to_string());
        added.map_err(failed("cannot trust the certificate"))?;
        Ok(Self {
            target: SendTarget::new(&url, ServerTrust::Roots(roots), TIMEOUT)?,
            app,
            url,
            log,
            folder,
        })
    }

    /// Returns the address of the first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        first_address(&self.app)
    }

    /// Returns the URL of a path at this gate.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Returns the PEM file of the authority that other clients must trust.
    #[must_use]
    pub fn authority(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Sends a request as a provider would.
    ///
    /// # Errors
    /// No response was received.
    pub async fn send(&self, request: &RequestFile) -> Result<ReceivedResponse, TestingError> {
        let answer = self.target.send(request).await;
        answer.map_err(|error| TestingError::Io("no response received", error))
    }

    /// Waits for the log line of the request with this response: verdict, reason and evidence. Returns `None` if no
    /// such line is written within ten seconds.
    pub async fn log_line_of(&self, answer: &ReceivedResponse) -> Option<Value> {
        let id = answer.header("hookgate-request-id")?;
        // Other lines about the request have its id too; only the final one has a verdict.
        let is_wanted = |line: &Value| {
            line.get("request_id").and_then(Value::as_str) == Some(id)
                && line.get("verdict").is_some()
        };
        self.log.wait_for(is_wanted, LOG_TIMEOUT).await
    }

    /// Waits until the log has more than `count` lines, and returns those after the first `count`.
    pub(crate) async fn log_after(&self, count: usize) -> Vec<Value> {
        self.log.more_than(count).await
    }

    /// Returns the lines of the gate's log so far.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        self.log.since(0)
    }

    /// Stops the gate after the requests in flight.
    pub async fn stop(self) {
        self.app.stop().await;
    }
}

/// Returns the address of the listener that `complete` adds, unless the config has its own.
fn first_address(app: &RunningGate) -> SocketAddr {
    let first = app.addresses().first().copied();
    first.unwrap_or(([127, 0, 0, 1], 0).into())
}

/// Completes a config with the sections that it lacks.
fn complete(config: &str, folder: &PrivateFolder) -> Result<String, TestingError> {
    // Text that is not TOML fails in `load`, whose error shows the location.
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
