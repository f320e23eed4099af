//! Checked values of `[server]` and `[tls]`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::value::choice_word;
use hookgate_verify::model::rate::RateLimit;
use ipnet::IpNet;

use crate::config::model::acme::AcmeSection;

/// Settings of `[server]`: listeners and their limits.
pub struct ServerSection {
    /// Addresses to listen on; ignored if systemd passes sockets.
    pub listen: Vec<SocketAddr>,
    /// Allows plain HTTP on addresses other than loopback.
    pub insecure_http: bool,
    /// Peers whose `X-Forwarded-For` and PROXY protocol headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Policy for the PROXY protocol header at the start of a connection.
    pub proxy_protocol: ProxyProtocol,
    /// Limit of open connections in total.
    pub max_connections: usize,
    /// Limit of open connections per source (IPv4 address or IPv6 /64).
    pub max_connections_per_source: usize,
    /// Limit of requests in flight to upstreams.
    pub max_in_flight: usize,
    /// Limit of unverified requests per source, applied before the body is read.
    pub per_source_rate_limit: Option<RateLimit>,
    /// Time limit from accept to the end of the TLS handshake, PROXY header included.
    pub handshake_timeout: Duration,
    /// Time limit from the first byte of a request head to its end.
    pub header_timeout: Duration,
    /// Time limit for the whole request body.
    pub body_timeout: Duration,
    /// Time limit for a connection without a request.
    pub idle_timeout: Duration,
    /// Time from the stop signal to the drain, in which health checks fail; `None`: no such time.
    pub shutdown_delay: Option<Duration>,
    /// Time limit of the drain.
    pub shutdown_timeout: Duration,
    /// Limit of the request head, in bytes.
    pub max_header_size: usize,
    /// The path of the health check for load balancers, on every host; `None`: no health check.
    pub health: Option<String>,
    /// Interval at which published address ranges are fetched; `None`: never.
    pub refresh_ranges: Option<Duration>,
    /// Folder for state that hookgate fetches or learns; `None`: as systemd says, else the default.
    pub state_dir: Option<PathBuf>,
    /// Number of verdicts of each kind to hold in memory; 0 disables it.
    pub keep_verdicts: usize,
    /// Number of rejected requests to hold in memory; 0 disables it.
    pub keep_rejected: usize,
    /// The listener for plain HTTP beside the TLS listeners; `None`: no such listener.
    pub http: Option<HttpListener>,
}

/// Settings of `[server.http]`: a listener for plain HTTP that serves no route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpListener {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// True if requests are redirected to https, false if they are refused.
    pub redirects: bool,
}

impl ServerSection {
    /// Returns whether an IPv6 listener must not accept IPv4, because another listener has an IPv4 address on the same
    /// port. By default `[::]` accepts both.
    pub(crate) fn is_v6_only(&self, address: SocketAddr) -> bool {
        let is_v4 = |other: &SocketAddr| other.ip().to_canonical().is_ipv4();
        let mut others = self.listen.iter();
        !is_v4(&address)
            && address.port() != 0
            && others.any(|other| is_v4(other) && other.port() == address.port())
    }

    /// Returns whether the peer's statement about the client's address is trusted.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// Policy for the PROXY protocol header (`proxy_protocol`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyProtocol {
    /// No header is expected. One that arrives is not a TLS record, so the connection is closed.
    Off,
    /// Each connection must begin with a header from a trusted proxy, or is closed.
    Required,
}

impl ProxyProtocol {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] = [("off", Self::Off), ("required", Self::Required)];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// Settings of `[tls]`: certificates and protocol versions.
pub struct TlsSection {
    /// `cert` and `key` first, then each of `[[tls.certificates]]`; the first serves names that no other certificate
    /// covers.
    pub certificates: Vec<CertificateFiles>,
    /// PEM file of the CAs that client certificates must chain to; `None`: clients need no certificate.
    pub client_ca: Option<(PathBuf, TextSpan)>,
    /// The lowest TLS version to accept.
    pub min_version: TlsVersion,
    /// Certificates that hookgate gets by itself; `None`: only those of files.
    pub acme: Option<AcmeSection>,
}

/// Files of one certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate chain, leaf certificate first.
    pub cert: PathBuf,
    /// The private key of the leaf certificate.
    pub key: PathBuf,
    /// Span of `cert` in the config.
    pub cert_span: TextSpan,
    /// Span of `key` in the config.
    pub key_span: TextSpan,
}

/// Lowest TLS version to accept (`min_version`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsVersion {
    /// TLS 1.2 and later, `"1.2"`.
    Tls12,
    /// TLS 1.3 and later, `"1.3"`.
    Tls13,
}

impl TlsVersion {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] = [("1.2", Self::Tls12), ("1.3", Self::Tls13)];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}
