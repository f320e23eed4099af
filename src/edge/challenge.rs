//! The challenge `tls-alpn-01` (RFC 8737): connections of a CA on the TLS listener.
//!
//! Such a connection offers exactly the protocol `acme-tls/1`. It gets a self-signed certificate with the proof in an
//! extension, and ends after the handshake. It never gets an ordinary certificate and never reaches HTTP.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::edge::certificate_index::requested_name;
use crate::edge::managed::ManagedCertificates;

/// The protocol of the challenge (RFC 8737, section 6.2).
const PROTOCOL: &[u8] = b"acme-tls/1";

/// Reads the ClientHello. Returns the handshake of an ordinary client, or answers a CA and returns `None`.
pub(super) async fn begin(
    stream: TcpStream,
    managed: &ManagedCertificates,
) -> io::Result<Option<StartHandshake<TcpStream>>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let name = {
        let hello = start.client_hello();
        if !is_challenge(&hello) {
            return Ok(Some(start));
        }
        requested_name(&hello)
    };
    let answer = match &name {
        Some(name) => managed.find_challenge(name).await,
        None => None,
    };
    let Some(key) = answer else {
        return Err(io::Error::other("no challenge is pending for this name"));
    };
    let config = server_config(key).map_err(io::Error::other)?;
    let mut answered = start.into_stream(Arc::new(config)).await?;
    // The certificate is the whole answer, so the connection ends here (RFC 8737, section 3).
    let _ = answered.shutdown().await;
    Ok(None)
}

/// Returns true for a CA: an ordinary client may offer the protocol only beside others.
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.next() == Some(PROTOCOL) && offered.next().is_none()
}

/// Builds the configuration of one challenge. It asks for no client certificate, which a CA does not have.
fn server_config(key: Arc<CertifiedKey>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
