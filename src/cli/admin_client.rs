//! HTTP client for the admin API, over a Unix socket, loopback TCP or TLS.
//!
//! It opens one connection for each request, since the admin listener closes a connection after one response.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hookgate_verify::model::secret::Secret;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::admin::documents::ProblemDocument;
use crate::cli::admin_address::AdminAddress;
use crate::cli::failure::CommandFailure;
use crate::cli::output::clean;
use crate::model::error::chain;

/// Limit for connecting, the TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit for a request: that of the admin listener and a margin, so that the listener's own error arrives first.
const TIMEOUT: Duration = Duration::from_secs(35);

/// Limit for changing or counting many rows, which the admin listener allows more time for.
const LONG_TIMEOUT: Duration = Duration::from_secs(610);

/// Longest silence in a stream. The gate sends an empty line every 15 seconds, so three are missing by then.
const SILENCE: Duration = Duration::from_secs(45);

/// Bytes of a line in a stream, which holds one event.
const MAX_LINE: usize = 1 << 20;

/// Client for the admin API of one gate.
pub(super) struct AdminClient {
    address: AdminAddress,
    token: Option<Secret>,
    /// Trust anchors for an address with TLS.
    tls: Option<Arc<ClientConfig>>,
}

trait ClientStream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> ClientStream for T {}

impl AdminClient {
    pub(super) fn new(address: AdminAddress, token: Option<Secret>) -> Self {
        Self {
            address,
            token,
            tls: None,
        }
    }

    /// Sets the trust anchors for an address with TLS.
    pub(super) fn trusting(mut self, tls: Option<Arc<ClientConfig>>) -> Self {
        self.tls = tls;
        self
    }

    /// Fetches a JSON document. `doing` begins the message of a failure, such as `listing events`.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
    ) -> Result<T, CommandFailure> {
        let bytes = self.bytes(doing, path).await?;
        read(&bytes).map_err(|failure| failure.doing(doing))
    }

    /// Fetches a response as bytes, such as the body of an event.
    pub(super) async fn bytes(&self, doing: &str, path: &str) -> Result<Bytes, CommandFailure> {
        let asked = self.send_request(Method::GET, path, None, TIMEOUT);
        asked.await.map_err(|failure| failure.doing(doing))
    }

    /// Requests one change, by POST without a body.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
    ) -> Result<T, CommandFailure> {
        let asked = self.send_request(Method::POST, path, None, TIMEOUT);
        let read = asked.await.and_then(|bytes| read(&bytes));
        read.map_err(|failure| failure.doing(doing))
    }

    /// Requests a change of many rows or a count, with the time limit for long work.
    pub(super) async fn post_many<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T, CommandFailure> {
        let body = serde_json::to_vec(document).unwrap_or_default();
        let asked = self.send_request(Method::POST, path, Some(body), LONG_TIMEOUT);
        let read = asked.await.and_then(|bytes| read(&bytes));
        read.map_err(|failure| failure.doing(doing))
    }

    /// Opens a response that arrives line by line and has no end of its own.
    pub(super) async fn lines(
        &self,
        doing: &str,
        path: &str,
    ) -> Result<ResponseLines, CommandFailure> {
        let answer = self.send(Method::GET, path, None);
        // The limit covers the head only. The body continues as long as the caller reads it.
        let answer = timeout(TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(self.silent(TIMEOUT)));
        let answer = answer.map_err(|failure| failure.doing(doing))?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            // An error response is an ordinary document, which ends.
            let body = timeout(TIMEOUT, answer.into_body().collect()).await;
            let body = body.ok().and_then(Result::ok);
            let body = body.map(http_body_util::Collected::to_bytes);
            return Err(self.refused(status, &body.unwrap_or_default()).doing(doing));
        }
        Ok(ResponseLines {
            body: answer.into_body(),
            held: BytesMut::new(),
        })
    }

    async fn send_request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Bytes, CommandFailure> {
        // One limit for connecting, the head and the body together.
        let exchange = async {
            let answer = self.send(method, path, body).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await;
            let body = body.map_err(|err| self.broken(&err))?.to_bytes();
            match status.is_success() {
                true => Ok(body),
                false => Err(self.refused(status, &body)),
            }
        };
        let exchange = timeout(limit, exchange).await;
        exchange.unwrap_or_else(|_| Err(self.silent(limit)))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response<Incoming>, CommandFailure> {
        let connecting = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream = connecting
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|err| self.unreachable(&err))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|err| self.broken(&err))?;
        // This task does the I/O of the connection, and ends with it.
        tokio::spawn(connection);
        let request = self.request(method, path, body)?;
        sender
            .send_request(request)
            .await
            .map_err(|err| self.broken(&err))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, CommandFailure> {
        let host = match &self.address {
            AdminAddress::Unix(_) => "localhost",
            AdminAddress::Tcp(authority) => authority.as_str(),
            // The listener always accepts `localhost`. A socket path is no host name, and an IPv6 address needs
            // brackets.
            AdminAddress::Tls(_, name) if name.contains(':') => "localhost",
            AdminAddress::Tls(_, name) => name,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host);
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_bytes(&[b"Bearer ", token.expose()].concat())
                .map_err(|_| {
                    CommandFailure::usage(
                        "the token contains characters that an HTTP header cannot hold",
                    )
                    .help("check the token file: it must contain the token and nothing else")
                })?;
            // Keeps the token out of debug output and of header compression.
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body);
        request.map_err(|err| CommandFailure::usage(format!("`{path}` is not a valid path: {err}")))
    }

    async fn connect(&self) -> io::Result<Pin<Box<dyn ClientStream>>> {
        match &self.address {
            AdminAddress::Unix(path) => Ok(Box::pin(UnixStream::connect(path).await?)),
            AdminAddress::Tcp(authority) => {
                Ok(Box::pin(TcpStream::connect(authority.as_str()).await?))
            }
            AdminAddress::Tls(authority, name) => {
                let stream = TcpStream::connect(authority.as_str()).await?;
                let tls = self.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                let name = ServerName::try_from(name.clone());
                let name = name.map_err(|_| io::ErrorKind::InvalidInput)?;
                let connector = TlsConnector::from(Arc::clone(tls));
                Ok(Box::pin(connector.connect(name, stream).await?))
            }
        }
    }

    fn unreachable(&self, err: &io::Error) -> CommandFailure {
        let address = &self.address;
        match err.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                CommandFailure::new(format!("cannot reach a gate at `{address}`")).help(
                    "start it (`systemctl start hookgate`), or name its admin listener: `--admin ADDRESS`, or \
                    `--config FILE`",
                )
            }
            io::ErrorKind::PermissionDenied => {
                CommandFailure::new(format!("permission denied for `{address}`"))
                    .help("run the command as the user of the gate, or as root with `sudo`")
            }
            // tokio-rustls reports a failed certificate verification as this kind.
            io::ErrorKind::InvalidData => {
                CommandFailure::new(format!("cannot verify the certificate of `{address}`: {err}")).help(
                    "use a name that its certificate contains; if a private authority signed it, add `--admin-ca FILE`",
                )
            }
            _ => CommandFailure::new(format!("cannot connect to `{address}`: {err}")),
        }
    }

    fn broken(&self, err: &hyper::Error) -> CommandFailure {
        CommandFailure::new(format!(
            "the connection to the gate at `{}` failed: {}",
            self.address,
            chain(err)
        ))
        .help("see the log of the gate; check that hookgate is what listens at this address")
    }

    fn silent(&self, limit: Duration) -> CommandFailure {
        CommandFailure::new(format!(
            "the gate at `{}` did not respond within {} seconds",
            self.address,
            limit.as_secs()
        ))
        .help("it may still complete the request: check the result before you try again")
    }

    /// Converts an error response into a failure that says what to do.
    fn refused(&self, status: StatusCode, body: &[u8]) -> CommandFailure {
        // The admin API always responds with a problem document (RFC 9457). Anything else is another server.
        let problem: Option<ProblemDocument> = serde_json::from_slice(body).ok();
        let Some(problem) = problem else {
            return CommandFailure::new(format!(
                "the server at `{}` is not an admin API of hookgate (status {})",
                self.address,
                status.as_u16()
            ))
            .help("name the admin listener of the gate: `--admin ADDRESS`, or `--config FILE`");
        };
        let detail = problem.detail.as_deref().unwrap_or(&problem.title);
        let detail = clean(detail);
        match status {
            StatusCode::UNAUTHORIZED => {
                let error = match self.token {
                    Some(_) => "the gate rejects this token",
                    None => "the gate requires a token",
                };
                CommandFailure::new(error).help(
                    "use `--token-file FILE`, the environment variable HOOKGATE_ADMIN_TOKEN, or `--config FILE` of \
                    the gate",
                )
            }
            StatusCode::BAD_REQUEST => CommandFailure::usage(detail),
            _ => CommandFailure::new(detail),
        }
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CommandFailure> {
    serde_json::from_slice(bytes).map_err(|err| {
        CommandFailure::new(format!("cannot parse the response of the gate: {err}"))
            .help("gate and command may have different versions: use the `hookgate` binary that the gate runs")
    })
}

/// Lines of a streamed response.
pub(super) struct ResponseLines {
    body: Incoming,
    held: BytesMut,
}

impl ResponseLines {
    /// Returns the next line that is not empty, or `None` at the end. Empty lines only show that the gate is alive.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, CommandFailure> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let mut line = self.held.split_to(end.saturating_add(1));
                line.truncate(end);
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line.freeze()));
            }
            // Bounds the memory if the server is not a gate.
            if self.held.len() > MAX_LINE {
                return Err(CommandFailure::new(
                    "the gate sent a line longer than 1 MiB",
                ));
            }
            let Ok(frame) = timeout(SILENCE, self.body.frame()).await else {
                return Err(CommandFailure::new("the gate sent nothing for 45 seconds"));
            };
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|err| {
                CommandFailure::new(format!(
                    "the connection to the gate failed: {}",
                    chain(&err)
                ))
            })?;
            // Other frames are trailers, which carry nothing here.
            if let Ok(data) = frame.into_data() {
                self.held.extend_from_slice(&data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::resources::{LIST_EVENTS, SHOW_STATUS, TAIL_EVENTS};
    use crate::cli::testing;
    use crate::test_rig::app::{App, raw_then_close, respond, sequence};

    fn client(socket: &std::path::Path, token: Option<&str>) -> AdminClient {
        let token = token.map(|token| Secret::new(token.as_bytes().to_vec()));
        AdminClient::new(AdminAddress::Unix(socket.to_owned()), token)
    }

    /// Returns the message of the failure when the status is fetched.
    async fn told(client: &AdminClient) -> String {
        let answer = client.get::<serde_json::Value>("looking", SHOW_STATUS.path);
        answer.await.unwrap_err().plain()
    }

    #[tokio::test]
    async fn failures_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let name = socket.display();
        assert_eq!(
            told(&client(&socket, None)).await,
            format!(
                "error: looking: cannot reach a gate at `unix:{name}`\nhelp: start it (`systemctl start hookgate`), \
                 or name its admin listener: `--admin ADDRESS`, or `--config FILE`\n"
            )
        );
        let (socket, stop) = testing::door(folder.path(), Some("correct-horse-battery"));
        let help = "help: use `--token-file FILE`, the environment variable HOOKGATE_ADMIN_TOKEN, or `--config FILE` of the gate\n";
        for (token, error) in [
            (None, "error: looking: the gate requires a token\n"),
            (
                Some("wrong"),
                "error: looking: the gate rejects this token\n",
            ),
        ] {
            let text = told(&client(&socket, token)).await;
            assert_eq!(text, format!("{error}{help}"));
        }
        let right = client(&socket, Some("correct-horse-battery"));
        let status: crate::admin::documents::StatusDocument =
            right.get("", SHOW_STATUS.path).await.unwrap();
        assert!(!status.has_store);
        let listing = right.get::<serde_json::Value>("listing events", LIST_EVENTS.path);
        assert_eq!(
            listing.await.unwrap_err().plain(),
            "error: listing events: this gate has no store: routes in queue or hybrid mode need `[store]` in the \
            config\n"
        );
        let tail = right.lines("following events", TAIL_EVENTS.path).await;
        let text = tail.err().unwrap().plain();
        assert!(
            text.starts_with("error: following events: this gate has no store"),
            "{text}"
        );
        let odd = client(&socket, Some("two\nlines"));
        assert!(told(&odd).await.contains("an HTTP header cannot hold"));
        stop.cancel();
    }

    #[tokio::test]
    async fn another_server_at_the_address_is_recognized() {
        let app = App::start(sequence([
            respond(404, "no"),
            raw_then_close(b"SSH-2.0\r\n"),
        ]));
        let address = AdminAddress::parse(&app.url("")).unwrap();
        let other = AdminClient::new(address, None);
        assert!(
            told(&other)
                .await
                .contains("is not an admin API of hookgate (status 404)")
        );
        assert!(told(&other).await.contains("the connection to the gate at"));
    }
}
