//! Checked values of `[admin]`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hookgate_verify::document::value::choice_word;
use hookgate_verify::model::secret::Secret;

use crate::config::model::server::CertificateFiles;
use crate::model::route_scope::RouteScope;

/// Settings of `[admin]`: the admin listener.
pub struct AdminSection {
    /// `listen`: a TCP address or `unix:/path`.
    pub listen: AdminListen,
    /// `token` and `[[admin.tokens]]`. If there are any, requests need one of them as `Authorization: Bearer TOKEN`.
    pub tokens: Vec<AdminToken>,
    /// `[admin.tls]`; always present if `listen` is not loopback.
    pub tls: Option<CertificateFiles>,
    /// `host`: names that browsers may use, in addition to loopback, addresses and the names of the certificate.
    pub hosts: Vec<String>,
}

/// Credentials and role of one user of the admin listener.
#[derive(Clone)]
pub struct AdminToken {
    /// Name of the token in the audit log.
    pub name: Arc<str>,
    /// Role that decides which actions are allowed.
    pub role: AdminRole,
    /// `routes`: the routes that the token may see.
    pub scope: RouteScope,
    /// `payload`: whether the token may see what senders sent.
    pub payload: PayloadAccess,
    /// The token that the client must send.
    pub secret: Arc<Secret>,
}

/// Role of an admin token (`role`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AdminRole {
    /// May read everything except the audit log.
    Viewer,
    /// May read and change everything.
    Operator,
}

impl AdminRole {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] =
        [("viewer", Self::Viewer), ("operator", Self::Operator)];

    /// Returns the word for the role in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Access of an admin token to bodies and header values of senders (`payload`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadAccess {
    /// May see bodies, header values and queries.
    Shown,
    /// Sees ids, types, sizes and times only.
    Hidden,
}

/// Address of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// A TCP address; if it is not loopback, TLS and a token are required.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}
