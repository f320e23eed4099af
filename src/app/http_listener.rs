//! The listener of `[server.http]`: answers `http-01`, and redirects to https or refuses.
//!
//! It serves no route, so nothing that a sender sends in clear reaches an app.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use tokio::net::TcpListener;

use crate::app::error::StartError;
use crate::config::model::GateConfig;
use crate::edge::managed::ManagedCertificates;
use crate::edge::{EdgeServer, listener};
use crate::net::problem;
use crate::net::response::{HttpResponse, ResponseBody};

/// Path of the proofs of `http-01` (RFC 8555, section 8.3).
const PROOFS: &str = "/.well-known/acme-challenge/";

/// Rules of the running config for requests in clear.
#[derive(Default)]
pub(super) struct HttpRules {
    redirects: bool,
    /// Hosts to redirect to. Any other host would make this an open redirect.
    hosts: HashSet<String>,
    /// Port of https where it is not 443.
    port: Option<u16>,
}

/// The rules in use, which a reload replaces.
pub(super) type HttpRulesHandle = Arc<ArcSwap<HttpRules>>;

impl HttpRules {
    /// Returns the rules of a config.
    pub(super) fn of(config: &GateConfig) -> Self {
        let http = config.server.http.as_ref();
        let routes = config.routes.iter().filter_map(|route| route.host.clone());
        let acme = config.tls.as_ref().and_then(|tls| tls.acme.as_ref());
        let names = acme.into_iter().flat_map(|acme| &acme.names);
        let names = names.map(|name| name.name.clone());
        let mut ports = config.server.listen.iter().map(SocketAddr::port);
        let first = ports.clone().next().filter(|port| *port != 0);
        Self {
            redirects: http.is_some_and(|http| http.redirects),
            hosts: routes.chain(names).collect(),
            port: first.filter(|_| ports.all(|port| port != 443)),
        }
    }

    /// Returns the https URL for a request, or `None` if it must be refused.
    fn target(&self, headers: &HeaderMap, path: &str, edge: &EdgeServer) -> Option<HeaderValue> {
        let mut values = headers.get_all(header::HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let authority = Authority::try_from(value.as_bytes()).ok()?;
        let host = authority.host().to_ascii_lowercase();
        let is_known = self.redirects
            && (self.hosts.contains(&host)
                || edge.certificates().iter().any(|info| info.covers(&host)));
        let port = self.port.map_or(String::new(), |port| format!(":{port}"));
        let url = format!("https://{host}{port}{path}");
        is_known.then(|| HeaderValue::from_str(&url).ok()).flatten()
    }
}

/// Divides the sockets that systemd passed: those for `[server.http]` by their ports, and all others.
pub(super) fn divide(
    config: &GateConfig,
    handed: Vec<std::net::TcpListener>,
) -> (Vec<std::net::TcpListener>, Vec<std::net::TcpListener>) {
    let http = config.server.http.as_ref();
    let ports: Vec<u16> = http.map_or_else(Vec::new, |http| {
        http.listen.iter().map(SocketAddr::port).collect()
    });
    handed.into_iter().partition(|socket| {
        let port = socket.local_addr().map(|address| address.port());
        !port.is_ok_and(|port| ports.contains(&port))
    })
}

/// Opens the listeners: those that systemd passed, else those of the config.
pub(super) fn open(
    config: &GateConfig,
    handed: Vec<std::net::TcpListener>,
) -> Result<Vec<TcpListener>, StartError> {
    let adopt = |socket| listener::adopt(socket).map_err(StartError::Adopt);
    if !handed.is_empty() {
        return handed.into_iter().map(adopt).collect();
    }
    let Some(http) = &config.server.http else {
        return Ok(Vec::new());
    };
    let has_v4 = |port| {
        let mut listen = http.listen.iter();
        listen.any(|other| other.is_ipv4() && other.port() == port)
    };
    let bind = |address: &SocketAddr| {
        let is_v6_only = address.is_ipv6() && address.port() != 0 && has_v4(address.port());
        listener::bind(*address, is_v6_only).map_err(|source| StartError::Listen {
            address: *address,
            source,
        })
    };
    http.listen.iter().map(bind).collect()
}

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    rules: Arc<HttpRules>,
    managed: Arc<ManagedCertificates>,
    edge: Arc<EdgeServer>,
) -> HttpResponse {
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(token) = path.strip_prefix(PROOFS).filter(|_| is_read) {
        // Never redirected: the CA would follow, and find no proof there.
        return match managed.find_token(token).await {
            Some(proof) => text(StatusCode::OK, "application/octet-stream", proof),
            None => refusal(StatusCode::NOT_FOUND),
        };
    }
    match rules.target(request.headers(), path, &edge) {
        Some(target) => {
            // 308 keeps the method, so that a client that follows it sends the same request again.
            let mut response = HttpResponse::new(ResponseBody::empty());
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(header::LOCATION, target);
            response
        }
        None => refusal(StatusCode::FORBIDDEN),
    }
}

fn refusal(status: StatusCode) -> HttpResponse {
    let document = problem::document(status, None);
    text(status, "application/problem+json", document)
}

fn text(status: StatusCode, kind: &'static str, body: String) -> HttpResponse {
    let mut response = HttpResponse::new(ResponseBody::whole(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
