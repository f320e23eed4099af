//! A small HTTP client for the admin API, over a Unix socket, TCP to loopback, or TLS. One connection for each request, as
//! the admin listener has it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
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

use crate::admin::wire::ProblemDocument;
use crate::cli::admin_address::Address;
use crate::cli::failure::Failure;
use crate::cli::output::clean;
use crate::model::error::chain;
use crate::model::secret::Secret;

/// On this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// As the listener has it, and a little more.
const TIMEOUT: Duration = Duration::from_secs(35);

/// For a change or a count of many, as the listener has it, and a little more.
const LONG_TIMEOUT: Duration = Duration::from_secs(610);

/// A tail says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(45);

/// A line of a tail holds one event.
const MAX_LINE: usize = 1 << 20;

/// Asks one gate.
pub(super) struct AdminClient {
    address: Address,
    token: Option<Secret>,
    /// Whom to believe, for an address with TLS.
    tls: Option<Arc<ClientConfig>>,
}

trait Wire: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Wire for T {}

impl AdminClient {
    pub(super) fn new(address: Address, token: Option<Secret>) -> Self {
        Self {
            address,
            token,
            tls: None,
        }
    }

    /// Believes what this vouches for.
    pub(super) fn trusting(mut self, tls: Option<Arc<ClientConfig>>) -> Self {
        self.tls = tls;
        self
    }

    /// Gets a JSON document. `doing` says for what.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
    ) -> Result<T, Failure> {
        let bytes = self.bytes(doing, path).await?;
        read(&bytes).map_err(|failure| failure.doing(doing))
    }

    /// Gets bytes.
    pub(super) async fn bytes(&self, doing: &str, path: &str) -> Result<Bytes, Failure> {
        let asked = self.ask(Method::GET, path, None, TIMEOUT);
        asked.await.map_err(|failure| failure.doing(doing))
    }

    /// Asks for a change.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
    ) -> Result<T, Failure> {
        let asked = self.ask(Method::POST, path, None, TIMEOUT);
        let read = asked.await.and_then(|bytes| read(&bytes));
        read.map_err(|failure| failure.doing(doing))
    }

    /// Asks for a change of many, or a count.
    pub(super) async fn post_many<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(document).unwrap_or_default();
        let asked = self.ask(Method::POST, path, Some(body), LONG_TIMEOUT);
        let read = asked.await.and_then(|bytes| read(&bytes));
        read.map_err(|failure| failure.doing(doing))
    }

    /// Follows an answer that comes line by line.
    pub(super) async fn lines(&self, doing: &str, path: &str) -> Result<Lines, Failure> {
        let answer = self.send(Method::GET, path, None);
        let answer = timeout(TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(self.silent(TIMEOUT)));
        let answer = answer.map_err(|failure| failure.doing(doing))?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let body = timeout(TIMEOUT, answer.into_body().collect()).await;
            let body = body.ok().and_then(Result::ok);
            let body = body.map(http_body_util::Collected::to_bytes);
            return Err(self.refused(status, &body.unwrap_or_default()).doing(doing));
        }
        Ok(Lines {
            body: answer.into_body(),
            held: BytesMut::new(),
        })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Bytes, Failure> {
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
    ) -> Result<Response<Incoming>, Failure> {
        let connecting = timeout(CONNECT_TIMEOUT, self.connect()).await;
        let stream = connecting
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|err| self.unreachable(&err))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|err| self.broken(&err))?;
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
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let host = match &self.address {
            Address::Unix(_) => "localhost",
            Address::Tcp(authority) => authority.as_str(),
            Address::Tls(_, name) if name.contains(':') => "localhost",
            Address::Tls(_, name) => name,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host);
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_bytes(&[b"Bearer ", token.expose()].concat())
                .map_err(|_| {
                    Failure::usage("the token holds characters that no header can hold")
                        .help("look at the file: it should hold the token and nothing else")
                })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body);
        request.map_err(|err| Failure::usage(format!("`{path}` cannot be asked for: {err}")))
    }

    async fn connect(&self) -> io::Result<Pin<Box<dyn Wire>>> {
        match &self.address {
            Address::Unix(path) => Ok(Box::pin(UnixStream::connect(path).await?)),
            Address::Tcp(authority) => Ok(Box::pin(TcpStream::connect(authority.as_str()).await?)),
            Address::Tls(authority, name) => {
                let stream = TcpStream::connect(authority.as_str()).await?;
                let tls = self.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                let name = ServerName::try_from(name.clone());
                let name = name.map_err(|_| io::ErrorKind::InvalidInput)?;
                let connector = TlsConnector::from(Arc::clone(tls));
                Ok(Box::pin(connector.connect(name, stream).await?))
            }
        }
    }

    fn unreachable(&self, err: &io::Error) -> Failure {
        let address = &self.address;
        match err.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Failure::new(format!("no gate answers at `{address}`")).help(
                    "start it (`systemctl start hookgate`), or say where its `[admin]` listens: `--admin ADDRESS`, or `--config FILE`",
                )
            }
            io::ErrorKind::PermissionDenied => {
                Failure::new(format!("you have no right to use `{address}`"))
                    .help("run this as the user of the gate, or as root with `sudo`")
            }
            // What rustls refuses comes as this.
            io::ErrorKind::InvalidData => {
                Failure::new(format!("no trusted TLS with `{address}`: {err}")).help(
                    "ask it by a name that its certificate is for; `--admin-ca FILE` says which authority vouches for it, else the system's do",
                )
            }
            _ => Failure::new(format!("cannot connect to `{address}`: {err}")),
        }
    }

    fn broken(&self, err: &hyper::Error) -> Failure {
        Failure::new(format!(
            "the gate at `{}` broke off: {}",
            self.address,
            chain(err)
        ))
        .help("its log says why, where it is hookgate that answers there")
    }

    fn silent(&self, limit: Duration) -> Failure {
        Failure::new(format!(
            "the gate at `{}` did not answer within {} seconds",
            self.address,
            limit.as_secs()
        ))
        .help("it may go on with it: look before you ask again")
    }

    /// What a refusal means for the person who asked.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        let problem: Option<ProblemDocument> = serde_json::from_slice(body).ok();
        let Some(problem) = problem else {
            return Failure::new(format!(
                "what answers at `{}` is no admin API of hookgate (status {})",
                self.address,
                status.as_u16()
            ))
            .help("say where the gate's `[admin]` listens: `--admin ADDRESS`, or `--config FILE`");
        };
        let detail = problem.detail.as_deref().unwrap_or(&problem.title);
        let detail = clean(detail);
        match status {
            StatusCode::UNAUTHORIZED => {
                let error = match self.token {
                    Some(_) => "the gate has another token than the one that was sent",
                    None => "the gate wants a token",
                };
                Failure::new(error).help(
                    "`--token-file FILE`, the environment variable HOOKGATE_ADMIN_TOKEN, or `--config FILE` of the gate",
                )
            }
            StatusCode::BAD_REQUEST => Failure::usage(detail),
            _ => Failure::new(detail),
        }
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|err| {
        Failure::new(format!("the answer of the gate cannot be read: {err}"))
            .help("gate and command are of different versions: use the gate's own `hookgate`")
    })
}

/// An answer that comes line by line.
pub(super) struct Lines {
    body: Incoming,
    held: BytesMut,
}

impl Lines {
    /// The next line that is not empty; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let mut line = self.held.split_to(end.saturating_add(1));
                line.truncate(end);
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line.freeze()));
            }
            if self.held.len() > MAX_LINE {
                return Err(Failure::new("the gate sent a line without an end"));
            }
            let Ok(frame) = timeout(SILENCE, self.body.frame()).await else {
                return Err(Failure::new("the gate has fallen silent"));
            };
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame
                .map_err(|err| Failure::new(format!("the gate broke off: {}", chain(&err))))?;
            if let Ok(data) = frame.into_data() {
                self.held.extend_from_slice(&data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing;

    fn client(socket: &std::path::Path, token: Option<&str>) -> AdminClient {
        let token = token.map(|token| Secret::new(token.as_bytes().to_vec()));
        AdminClient::new(Address::Unix(socket.to_owned()), token)
    }

    /// What is told where the status is asked for.
    async fn told(client: &AdminClient) -> String {
        let answer = client.get::<serde_json::Value>("looking", "/api/v1/status");
        answer.await.unwrap_err().plain()
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let name = socket.display();
        assert_eq!(
            told(&client(&socket, None)).await,
            format!(
                "error: looking: no gate answers at `unix:{name}`\nhelp: start it (`systemctl start hookgate`), or say \
                 where its `[admin]` listens: `--admin ADDRESS`, or `--config FILE`\n"
            )
        );
        let (socket, stop) = testing::door(folder.path(), Some("correct-horse-battery"));
        let help = "help: `--token-file FILE`, the environment variable HOOKGATE_ADMIN_TOKEN, or `--config FILE` of the gate\n";
        for (token, error) in [
            (None, "error: looking: the gate wants a token\n"),
            (
                Some("wrong"),
                "error: looking: the gate has another token than the one that was sent\n",
            ),
        ] {
            let text = told(&client(&socket, token)).await;
            assert_eq!(text, format!("{error}{help}"));
        }
        let right = client(&socket, Some("correct-horse-battery"));
        let status: crate::admin::wire::Status = right.get("", "/api/v1/status").await.unwrap();
        assert!(!status.has_store);
        let listing = right.get::<serde_json::Value>("listing events", "/api/v1/events");
        assert_eq!(
            listing.await.unwrap_err().plain(),
            "error: listing events: this gate has no store: routes in queue or hybrid mode need `[store]` in the config\n"
        );
        let tail = right.lines("following events", "/api/v1/events/tail").await;
        let text = tail.err().unwrap().plain();
        assert!(
            text.starts_with("error: following events: this gate has no store"),
            "{text}"
        );
        let odd = client(&socket, Some("two\nlines"));
        assert!(told(&odd).await.contains("no header can hold"));
        stop.cancel();
    }

    #[tokio::test]
    async fn somebody_else_at_the_address_is_told_apart() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in [
                "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
                "SSH-2.0\r\n",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let address = Address::parse(&format!("http://{address}")).unwrap();
        let other = AdminClient::new(address, None);
        assert!(
            told(&other)
                .await
                .contains("is no admin API of hookgate (status 404)")
        );
        assert!(told(&other).await.contains("broke off"));
    }
}
