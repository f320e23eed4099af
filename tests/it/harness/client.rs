//! HTTP clients over TLS or plain sockets, from a chosen source address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::LIMIT;
use super::sender::Hook;

/// Byte stream of a connection, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Response to a client, with its whole body.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Returns the text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Client of one listener, with the options of its connections.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    is_h2: bool,
    from: Option<IpAddr>,
    server_name: String,
    preamble: Vec<u8>,
}

impl Client {
    /// Creates a client; it speaks plain HTTP if `tls` is `None`.
    pub fn new(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            address,
            tls,
            is_h2: false,
            from: None,
            server_name: "localhost".to_owned(),
            preamble: Vec::new(),
        }
    }

    /// Connects to another address.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Speaks HTTP/2.
    #[must_use]
    pub fn h2(mut self) -> Self {
        self.is_h2 = true;
        self
    }

    /// Connects from this source address; all of 127.0.0.0/8 works.
    #[must_use]
    #[expect(
        clippy::wrong_self_convention,
        reason = "reads as what it does: send from there"
    )]
    pub fn from_ip(mut self, ip: &str) -> Self {
        self.from = Some(ip.parse().unwrap());
        self
    }

    /// Requests this name by SNI.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.server_name);
        self
    }

    /// Sends these bytes before anything else, as a PROXY protocol header.
    #[must_use]
    pub fn preamble(mut self, bytes: &[u8]) -> Self {
        self.preamble = bytes.to_vec();
        self
    }

    /// Sends one request on a new connection.
    pub async fn send(&self, hook: &Hook) -> Reply {
        self.try_send(hook).await.unwrap()
    }

    /// Sends like `send`, and returns the error's text if no complete response arrived.
    pub async fn try_send(&self, hook: &Hook) -> Result<Reply, String> {
        self.connect().await?.try_send(hook).await
    }

    /// Opens a connection for several requests.
    pub async fn connect(&self) -> Result<Connection, String> {
        let stream = self.open().await?;
        let io = TokioIo::new(stream);
        if self.is_h2 {
            let handshake = http2::handshake(TokioExecutor::new(), io).await;
            let (requests, driver) = handshake.map_err(|err| format!("{err:?}"))?;
            let driver = tokio::spawn(async move { drop(driver.await) });
            return Ok(Connection {
                requests: Requests::H2(requests),
                driver,
            });
        }
        let handshake = http1::handshake(io).await;
        let (requests, driver) = handshake.map_err(|err| format!("{err:?}"))?;
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection {
            requests: Requests::H1(requests),
            driver,
        })
    }

    /// Opens the byte stream of a connection.
    pub async fn open(&self) -> Result<Box<dyn Stream>, String> {
        let opening = async {
            let mut tcp = self.dial().await.map_err(|err| err.to_string())?;
            if !self.preamble.is_empty() {
                let writing = tokio::io::AsyncWriteExt::write_all(&mut tcp, &self.preamble);
                writing.await.map_err(|err| err.to_string())?;
            }
            let Some(config) = &self.tls else {
                return Ok(Box::new(tcp) as Box<dyn Stream>);
            };
            let name = ServerName::try_from(self.server_name.clone()).unwrap();
            let tls = TlsConnector::from(Arc::clone(config))
                .connect(name, tcp)
                .await;
            Ok(Box::new(tls.map_err(|err| err.to_string())?) as Box<dyn Stream>)
        };
        let opened = tokio::time::timeout(LIMIT, opening).await;
        opened.map_err(|_elapsed| "no connection in time".to_owned())?
    }

    async fn dial(&self) -> std::io::Result<TcpStream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(ip) = self.from {
            socket.bind(SocketAddr::new(ip, 0))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Open connection; closed when dropped.
pub struct Connection {
    requests: Requests,
    driver: tokio::task::JoinHandle<()>,
}

enum Requests {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub async fn send(&mut self, hook: &Hook) -> Reply {
        self.try_send(hook).await.unwrap()
    }

    pub async fn try_send(&mut self, hook: &Hook) -> Result<Reply, String> {
        let exchange = async {
            let sent = match &mut self.requests {
                Requests::H1(requests) => {
                    requests.ready().await.map_err(|err| format!("{err:?}"))?;
                    requests.send_request(request(hook, None)).await
                }
                Requests::H2(requests) => {
                    requests.ready().await.map_err(|err| format!("{err:?}"))?;
                    requests.send_request(request(hook, Some("https"))).await
                }
            };
            let answer = sent.map_err(|err| format!("{err:?}"))?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|err| format!("{err:?}"))?;
            Ok(Reply {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let ended = tokio::time::timeout(LIMIT, exchange).await;
        ended.map_err(|_elapsed| "no answer in time".to_owned())?
    }

    /// Returns whether the other side has closed.
    pub fn is_closed(&self) -> bool {
        match &self.requests {
            Requests::H1(requests) => requests.is_closed(),
            Requests::H2(requests) => requests.is_closed(),
        }
    }
}

/// Builds a request: HTTP/1 in origin form with `Host`, HTTP/2 with scheme and authority.
fn request(hook: &Hook, scheme: Option<&str>) -> http::Request<Full<Bytes>> {
    let uri = match scheme {
        Some(scheme) => format!("{scheme}://{}{}", hook.host, hook.target),
        None => hook.target.clone(),
    };
    let mut request = http::Request::builder()
        .method(hook.method.as_str())
        .uri(uri);
    if scheme.is_none() {
        request = request.header("host", &hook.host);
    }
    for (name, value) in &hook.headers {
        request = request.header(name, value);
    }
    request.body(Full::from(hook.body.clone())).unwrap()
}
