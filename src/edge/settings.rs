//! The edge's part of the configuration snapshot, built at start and at each reload.
//!
//! A connection holds the settings from its begin to its end, so a reload never changes the rules of an open
//! connection.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::ServerConfig;

use crate::config::model::{ProxyProtocol, Route, ServerSection, TlsSection};
use crate::edge::certificate_store::CertificateStore;
use crate::edge::client_auth::CertificateHosts;
use crate::edge::error::EdgeError;
use crate::edge::http1_builder;
use crate::edge::managed::ManagedCertificates;
use crate::edge::tls::{RequestedFrom, server_config};

/// The settings of one configuration snapshot.
pub(crate) struct EdgeSettings {
    pub(super) tls: Option<TlsSettings>,
    pub(super) http1: hyper::server::conn::http1::Builder,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) proxy_protocol: ProxyProtocol,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_source: usize,
    pub(super) handshake_timeout: Duration,
    pub(super) header_timeout: Duration,
    /// Deadline for a peer that does not read its response. It is the same time that a slow request body gets.
    pub(super) write_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_header_size: usize,
}

/// The TLS part of the settings.
pub(super) struct TlsSettings {
    pub(super) config: Arc<ServerConfig>,
    /// For clients that are asked for a certificate, if routes demand one.
    pub(super) asking: Option<(CertificateHosts, Arc<ServerConfig>)>,
    pub(super) certificates: Arc<CertificateStore>,
    /// Answers to challenges of a CA, if the config has `[tls.acme]`.
    pub(super) challenges: Option<Arc<ManagedCertificates>>,
}

impl EdgeSettings {
    /// Loads the certificates and builds everything that connections need. Expired certificates are loaded too, see
    /// [`EdgeSettings::deny_expired`].
    ///
    /// # Errors
    /// Certificates, keys or authorities that cannot be used.
    pub(crate) fn build(
        server: &ServerSection,
        tls: Option<&TlsSection>,
        routes: &[Route],
        managed: &Arc<ManagedCertificates>,
    ) -> Result<Self, EdgeError> {
        let tls = tls
            .map(|tls| TlsSettings::build(tls, routes, managed))
            .transpose()?;
        Ok(Self {
            tls,
            http1: http1_builder::builder(server.max_header_size),
            trusted_proxies: server.trusted_proxies.clone(),
            proxy_protocol: server.proxy_protocol,
            max_connections: server.max_connections,
            max_connections_per_source: server.max_connections_per_source,
            handshake_timeout: server.handshake_timeout,
            header_timeout: server.header_timeout,
            write_timeout: server.body_timeout,
            idle_timeout: server.idle_timeout,
            max_header_size: server.max_header_size,
        })
    }

    /// Rejects expired certificates. Used for a reload, where the old certificates can stay in use.
    ///
    /// # Errors
    /// A certificate is expired.
    pub(crate) fn deny_expired(&self) -> Result<(), EdgeError> {
        match &self.tls {
            Some(tls) => Ok(tls.certificates.deny_expired()?),
            None => Ok(()),
        }
    }
}

impl TlsSettings {
    fn build(
        tls: &TlsSection,
        routes: &[Route],
        managed: &Arc<ManagedCertificates>,
    ) -> Result<Self, EdgeError> {
        let managed = Arc::clone(managed);
        let challenges = tls.acme.is_some().then(|| Arc::clone(&managed));
        let certificates = Arc::new(CertificateStore::load(&tls.certificates, managed)?);
        let config = server_config(tls, Arc::clone(&certificates), RequestedFrom::NoClient)?;
        let asking = match CertificateHosts::of(routes) {
            // With `client_ca` the first config asks every client already.
            Some(hosts) if tls.client_ca.is_none() => {
                let requested = RequestedFrom::Clients(routes);
                let config = server_config(tls, Arc::clone(&certificates), requested)?;
                Some((hosts, Arc::new(config)))
            }
            _ => None,
        };
        Ok(Self {
            asking,
            config: Arc::new(config),
            certificates,
            challenges,
        })
    }

    /// Returns the configuration for a client that requests this server name.
    pub(super) fn config_for(&self, server_name: Option<&str>) -> Arc<ServerConfig> {
        let asking = self.asking.as_ref();
        let asking = asking.filter(|(hosts, _)| hosts.ask(server_name));
        Arc::clone(asking.map_or(&self.config, |(_, config)| config))
    }
}
