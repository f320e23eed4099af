//! HTTP/1.1 client of the demo: connects over TLS from a chosen loopback address.
//!
//! Each attacker gets an address of its own, so that the limits per source do not mix.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::cli::demo::events::DemoRequest;

/// Limit for connecting and for a response. Everything is on this machine, so more than this means a hang.
const LIMIT: Duration = Duration::from_secs(10);

/// Status and headers of a response of the gate.
pub(super) struct DemoResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// Open connection to the gate.
pub(super) struct DemoConnection(SendRequest<Full<Bytes>>);

/// Connects to the gate with a full TLS handshake.
pub(super) async fn open(
    gate: SocketAddr,
    from: Ipv4Addr,
    tls: &Arc<ClientConfig>,
) -> anyhow::Result<DemoConnection> {
    let opening = async {
        let socket = TcpSocket::new_v4()?;
        socket
            // On Linux, all addresses of 127.0.0.0/8 belong to the loopback interface.
            .bind((from, 0).into())
            .with_context(|| format!("cannot send from {from}"))?;
        let stream = socket.connect(gate).await.context("cannot connect")?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, stream)
            .await;
        let stream = stream.context("the TLS handshake failed")?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(DemoConnection(requests))
    };
    tokio::time::timeout(LIMIT, opening)
        .await
        .context("the gate does not accept connections")?
}

impl DemoConnection {
    /// Sends one request and returns the response.
    pub(super) async fn send(&mut self, webhook: &DemoRequest) -> anyhow::Result<DemoResponse> {
        let mut request = Request::post(webhook.path)
            .header("host", "localhost")
            .header("content-type", "application/json");
        for (name, value) in &webhook.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::from(webhook.body.clone()))?;
        let exchange = async {
            self.0.ready().await?;
            let (head, body) = self.0.send_request(request).await?.into_parts();
            // Read to its end, so that the connection can carry the next request.
            body.collect().await?;
            Ok(DemoResponse {
                status: head.status,
                headers: head.headers,
            })
        };
        tokio::time::timeout(LIMIT, exchange)
            .await
            .context("the gate does not respond")?
    }
}
