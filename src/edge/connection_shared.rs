//! The part of a connection that its protocols share.

use std::sync::Arc;

use http::{HeaderValue, Request, header};
use hyper::body::Incoming;

use crate::client_certs::PeerCertificates;
use crate::edge::connection_watch::StallKind;
use crate::edge::event::EdgeEvent;
use crate::edge::handler::RequestHandler;
use crate::edge::head_check::HeadFault;
use crate::edge::server_state::EdgeServer;
use crate::edge::settings::EdgeSettings;
use crate::edge::source::{PeerAddress, sender};
use crate::model::source::RequestSource;
use crate::net::problem;
use crate::net::response::{HttpResponse, ResponseBody};

/// The data that all requests of one connection share.
pub(super) struct ConnectionShared<H> {
    pub(super) edge: Arc<EdgeServer>,
    pub(super) settings: Arc<EdgeSettings>,
    pub(super) handler: H,
    pub(super) peer: PeerAddress,
    pub(super) is_tls: bool,
    /// Certificates of the client, which routes may demand.
    pub(super) certificates: Option<PeerCertificates>,
    /// True where the peer's `X-Forwarded-For` is trusted.
    pub(super) is_proxy: bool,
}

impl<H: RequestHandler> ConnectionShared<H> {
    /// Passes a request to the handler, with its source.
    pub(super) fn answer(&self, mut request: Request<Incoming>) -> H::Future {
        self.edge.counters().requests.add();
        // The headers decide only where the connection comes from a trusted proxy.
        let ip = if self.is_proxy {
            sender(
                self.peer.ip,
                &self.settings.trusted_proxies,
                request.headers(),
            )
        } else {
            self.peer.ip
        };
        let source = RequestSource {
            ip,
            peer: self.peer.socket,
            is_tls: self.is_tls,
        };
        if let Some(certificates) = &self.certificates {
            request.extensions_mut().insert(certificates.clone());
        }
        self.handler.answer(request, source)
    }

    /// Builds the response to an ambiguous request.
    pub(super) fn refuse(&self, fault: HeadFault) -> HttpResponse {
        self.count_fault(fault);
        let body = problem::document(fault.status(), None);
        let mut answer = HttpResponse::new(ResponseBody::whole(body.into()));
        *answer.status_mut() = fault.status();
        answer.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        answer
    }

    pub(super) fn count_fault(&self, fault: HeadFault) {
        self.edge.counters().heads_refused.add();
        let ip = self.peer.ip;
        self.edge.notify(EdgeEvent::HeadRefused { ip, fault });
    }

    pub(super) fn count_stall(&self, stall: StallKind) {
        let ip = self.peer.ip;
        match stall {
            StallKind::Head => {
                self.edge.counters().heads_timed_out.add();
                self.edge.notify(EdgeEvent::HeadTimeout { ip });
            }
            StallKind::Write => {
                self.edge.counters().writes_stalled.add();
                self.edge.notify(EdgeEvent::WriteStalled { ip });
            }
        }
    }
}
