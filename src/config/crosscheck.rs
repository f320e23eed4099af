//! What only the whole config can tell: listeners against TLS, routes against each other.

use std::net::SocketAddr;

use crate::config::STORE;
use crate::config::admin::ReadAdmin;
use crate::config::model::{AdminListen, Mode, PathRule, Store, Tls};
use crate::config::route::PlacedRoute;
use crate::config::server::ReadServer;
use crate::config::store::URL;
use crate::document::table::{Fault, Table};

/// The sections beside `[server]` and the routes.
pub(super) struct Others<'a> {
    pub(super) tls: Option<&'a Tls>,
    pub(super) admin: Option<&'a ReadAdmin>,
    pub(super) store: Option<&'a Store>,
}

/// Checks the sections against each other.
pub(super) fn check(
    root: &Table<'_>,
    server: &ReadServer,
    others: &Others<'_>,
    routes: &[PlacedRoute],
) {
    listeners(root, server, others.tls);
    if let Some(admin) = others.admin {
        admin_listener(root, server, admin);
    }
    stores(root, others.store, routes);
    overlaps(root, routes);
    health(root, server, routes);
}

fn listeners(root: &Table<'_>, read: &ReadServer, tls: Option<&Tls>) {
    let listen = &read.server.listen;
    for (index, (address, span)) in listen.iter().zip(&read.listen_spans).enumerate() {
        if address.port() != 0 && listen.iter().take(index).any(|other| other == address) {
            let fault = Fault::new(
                format!("`{address}` stands here twice"),
                "remove one of them",
            );
            root.error(*span, fault);
        }
        let is_public = !address.ip().to_canonical().is_loopback();
        if is_public && tls.is_none() && !read.server.insecure_http {
            let fault = Fault::new(
                format!("plain HTTP on `{address}`: events and tokens could be read on their way"),
                "add `[tls]` with `cert` and `key`; behind a proxy that ends TLS write `insecure_http = true`",
            );
            root.error(*span, fault.label("not loopback, and there is no `[tls]`"));
        }
    }
}

fn admin_listener(root: &Table<'_>, read: &ReadServer, admin: &ReadAdmin) {
    let AdminListen::Tcp(address) = &admin.admin.listen else {
        return;
    };
    let covers = |other: &SocketAddr| {
        other.port() == address.port()
            && other.port() != 0
            && (other.ip() == address.ip()
                || (other.ip().is_unspecified()
                    && (other.is_ipv4() == address.is_ipv4()
                        || (other.is_ipv6() && !read.server.is_v6_only(*other)))))
    };
    if let Some(other) = read.server.listen.iter().find(|other| covers(other)) {
        let fault = Fault::new(
            format!("the admin listener and `listen` of `[server]` (`{other}`) take the same port"),
            "choose another port for one of them",
        );
        root.error(admin.listen_span, fault);
    }
}

/// A mode that keeps events needs a place for them.
fn stores(root: &Table<'_>, store: Option<&Store>, routes: &[PlacedRoute]) {
    if store.is_some() || root.has(&STORE) {
        return;
    }
    let mut stored = routes
        .iter()
        .filter(|placed| placed.route.mode != Mode::Proxy);
    if let Some(placed) = stored.next() {
        let fault = Fault::new(
            format!(
                "the route `{}` keeps events, and the config does not say where",
                placed.route.name
            ),
            format!("add `[store]` with `url = {}`", URL.example),
        );
        root.error(placed.route.span, fault);
    }
}

fn overlaps(root: &Table<'_>, routes: &[PlacedRoute]) {
    for (index, later) in routes.iter().enumerate() {
        let same = routes.iter().take(index).find(|earlier| {
            earlier.route.host == later.route.host && earlier.route.path == later.route.path
        });
        let Some(earlier) = same else { continue };
        // Routes come in the order of their names; the fault belongs to the one that stands further down.
        let (first, second) = if earlier.path_span.start < later.path_span.start {
            (earlier, later)
        } else {
            (later, earlier)
        };
        let host = second.route.host.as_ref();
        let fault = Fault::new(
            format!(
                "the routes `{}` and `{}` take the same requests{}",
                first.route.name,
                second.route.name,
                host.map_or(String::new(), |host| format!(" for `{host}`")),
            ),
            "give one of them another `path`, `prefix` or `host`",
        );
        root.error(second.path_span, fault);
    }
}

fn health(root: &Table<'_>, read: &ReadServer, routes: &[PlacedRoute]) {
    let (Some(path), Some(span)) = (&read.server.health, read.health_span) else {
        return;
    };
    let taken = routes
        .iter()
        .find(|placed| placed.route.path == PathRule::Exact(path.clone()));
    if let Some(placed) = taken {
        let fault = Fault::new(
            format!(
                "`health` hides the route `{}`, which has the same path",
                placed.route.name
            ),
            "choose another path for one of them",
        );
        root.error(span, fault);
    }
}
