//! Checks that need the whole config: listeners against TLS, routes against each other.

use std::net::SocketAddr;

use hookgate_verify::document::suggest;
use hookgate_verify::document::table::{TomlTable, ValueFault};

use crate::config::admin::SpannedAdminSection;
use crate::config::model::{
    AdminListen, ChallengeKind, PathRule, RouteMode, StoreSection, TlsSection,
};
use crate::config::root::{STORE, TLS};
use crate::config::route::SpannedRoute;
use crate::config::server::SpannedServerSection;
use crate::config::store::URL;
use crate::model::database::DatabaseLocation;

/// The sections other than `[server]` and the routes.
pub(super) struct OtherSections<'a> {
    pub(super) tls: Option<&'a TlsSection>,
    pub(super) admin: Option<&'a SpannedAdminSection>,
    pub(super) store: Option<&'a StoreSection>,
}

/// Reports conflicts between sections and between routes.
pub(super) fn check(
    root: &TomlTable<'_>,
    server: &SpannedServerSection,
    others: &OtherSections<'_>,
    routes: &[SpannedRoute],
) {
    listeners(root, server, others.tls);
    http_listener(root, server, others.tls);
    acme_port(root, server, others.tls);
    if let Some(admin) = others.admin {
        admin_listener(root, server, admin);
        token_routes(root, admin, routes);
    }
    client_certs(root, others.tls, routes);
    stores(root, others.store, routes);
    shared_dedup(root, others.store, routes);
    overlaps(root, routes);
    health(root, server, routes);
}

fn listeners(root: &TomlTable<'_>, read: &SpannedServerSection, tls: Option<&TlsSection>) {
    let listen = &read.server.listen;
    for (index, (address, span)) in listen.iter().zip(&read.listen_spans).enumerate() {
        // Port 0 means any free port, so it may be listed several times.
        if address.port() != 0 && listen.iter().take(index).any(|other| other == address) {
            let fault =
                ValueFault::new(format!("`{address}` is listed twice"), "remove one of them");
            root.error(*span, fault);
        }
        // `::ffff:127.0.0.1` is loopback too, so compare the canonical address.
        let is_public = !address.ip().to_canonical().is_loopback();
        if is_public && tls.is_none() && !read.server.insecure_http {
            let fault = ValueFault::new(
                format!("plain HTTP on `{address}` exposes events and tokens on the network"),
                "add `[tls]` with `cert` and `key`; behind a proxy that terminates TLS, set `insecure_http = true`",
            );
            root.error(*span, fault.label("not loopback, and there is no `[tls]`"));
        }
    }
}

/// Reports addresses of `[server.http]` that are in use already, and a listener that could not redirect to anything.
fn http_listener(root: &TomlTable<'_>, read: &SpannedServerSection, tls: Option<&TlsSection>) {
    let Some(http) = &read.server.http else {
        return;
    };
    for (index, (address, span)) in http.listen.iter().zip(&read.http_spans).enumerate() {
        let mut earlier = http.listen.iter().take(index);
        let is_twice = earlier.any(|other| other == address);
        if address.port() != 0 && (is_twice || read.server.listen.contains(address)) {
            let fault =
                ValueFault::new(format!("`{address}` is listed twice"), "remove one of them");
            root.error(*span, fault);
        }
    }
    if let (Some(span), None) = (read.http_spans.first(), tls) {
        let fault = ValueFault::new(
            "`[server.http]` has no effect without TLS: `listen` of `[server]` speaks plain HTTP already",
            "add `[tls]`, or remove `[server.http]`",
        );
        root.error(*span, fault);
    }
}

/// Warns where the CA cannot reach the challenge `tls-alpn-01`, since it connects to port 443 only (RFC 8737).
fn acme_port(root: &TomlTable<'_>, read: &SpannedServerSection, tls: Option<&TlsSection>) {
    let Some(acme) = tls.and_then(|tls| tls.acme.as_ref()) else {
        return;
    };
    let listen = &read.server.listen;
    // Sockets of systemd are unknown here, and loopback addresses are for trials with a CA on the same machine.
    let is_elsewhere =
        |address: &SocketAddr| address.port() != 443 && !address.ip().to_canonical().is_loopback();
    if acme.challenges == [ChallengeKind::TlsAlpn]
        && !listen.is_empty()
        && listen.iter().all(is_elsewhere)
    {
        let fault = ValueFault::new(
            "the CA checks `tls-alpn-01` on port 443, but no address of `listen` has that port",
            "forward port 443 of each name to this listener as TCP, or add port 443 to `listen`",
        );
        root.warning(acme.span, fault);
    }
}

fn admin_listener(root: &TomlTable<'_>, read: &SpannedServerSection, admin: &SpannedAdminSection) {
    let AdminListen::Tcp(address) = &admin.admin.listen else {
        return;
    };
    // A wildcard address covers the admin address: `0.0.0.0` all of IPv4, `[::]` all of IPv6 and, unless it is IPv6
    // only, IPv4.
    let covers = |other: &SocketAddr| {
        other.port() == address.port()
            && other.port() != 0
            && (other.ip() == address.ip()
                || (other.ip().is_unspecified()
                    && (other.is_ipv4() == address.is_ipv4()
                        || (other.is_ipv6() && !read.server.is_v6_only(*other)))))
    };
    let http = read.server.http.iter().flat_map(|http| &http.listen);
    if let Some(other) = read
        .server
        .listen
        .iter()
        .chain(http)
        .find(|other| covers(other))
    {
        let fault = ValueFault::new(
            format!("the admin listener and `listen` of `[server]` (`{other}`) use the same port"),
            "choose another port for one of them",
        );
        root.error(admin.listen_span, fault);
    }
}

/// Warns about patterns of tokens that match no route. The store may still have events of such a route.
fn token_routes(root: &TomlTable<'_>, admin: &SpannedAdminSection, routes: &[SpannedRoute]) {
    for pattern in &admin.route_patterns {
        let mut names = routes.iter().map(|placed| placed.route.name.as_str());
        if names.any(|name| pattern.value.matches(name)) {
            continue;
        }
        let names = routes.iter().map(|placed| placed.route.name.as_str());
        let near = suggest::nearest(&pattern.value.to_string(), names);
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "use the names of `[routes.NAME]`".to_owned(),
        };
        let fault = format!("no route matches `{}`", pattern.value);
        root.warning(pattern.span, ValueFault::new(fault, help));
    }
}

/// Reports routes that demand client certificates where no handshake can bring one.
fn client_certs(root: &TomlTable<'_>, tls: Option<&TlsSection>, routes: &[SpannedRoute]) {
    for placed in routes {
        let Some(span) = placed.client_cert_span else {
            continue;
        };
        match tls {
            // A `[tls]` that is present but wrong has an error of its own.
            None if !root.has(&TLS) => {
                let fault = ValueFault::new(
                    "without `[tls]` no client can show a certificate, so this route would refuse every request",
                    "add `[tls]` with `cert` and `key`; behind a proxy that terminates TLS, check certificates there",
                );
                root.error(span, fault);
            }
            Some(tls) if tls.client_ca.is_some() => {
                let fault = ValueFault::new(
                    "`client_ca` of `[tls]` applies to this route too, and before its `client_cert`",
                    "list the authorities of this route in the file of `client_ca` too",
                );
                root.note(span, fault);
            }
            _ => {}
        }
    }
}

/// Reports a route that stores events without a `[store]`.
fn stores(root: &TomlTable<'_>, store: Option<&StoreSection>, routes: &[SpannedRoute]) {
    // A `[store]` that is present but wrong has an error of its own.
    if store.is_some() || root.has(&STORE) {
        return;
    }
    let mut stored = routes
        .iter()
        .filter(|placed| placed.route.mode != RouteMode::Proxy);
    if let Some(placed) = stored.next() {
        let fault = ValueFault::new(
            format!(
                "the route `{}` stores events, but the config has no `[store]`",
                placed.route.name
            ),
            format!("add `[store]` with `url = {}`", URL.example),
        );
        root.error(placed.route.span, fault);
    }
}

/// Reports routes whose dedup is shared over nodes that do not share a store, or that need no shared claims.
fn shared_dedup(root: &TomlTable<'_>, store: Option<&StoreSection>, routes: &[SpannedRoute]) {
    let is_shared =
        store.is_some_and(|store| matches!(store.location, DatabaseLocation::Postgres(_)));
    // A `[store]` that is present but wrong has an error of its own.
    let is_unknown = store.is_none() && root.has(&STORE);
    for placed in routes {
        let Some(span) = placed.shared_dedup_span else {
            continue;
        };
        let name = &placed.route.name;
        if !is_shared && !is_unknown {
            let fault = ValueFault::new(
                format!(
                    "the dedup of route `{name}` is shared, but this gate shares its store with no other node"
                ),
                "use `url = \"postgres://...\"` in `[store]`, or remove `shared`",
            );
            root.error(span, fault);
        } else if placed.route.mode == RouteMode::Queue {
            let fault = ValueFault::new(
                "`shared` has no effect: the events of this route are stored, and a commit finds duplicates of all nodes",
                "remove `shared`",
            );
            root.warning(span, fault);
        }
    }
}

fn overlaps(root: &TomlTable<'_>, routes: &[SpannedRoute]) {
    for (index, later) in routes.iter().enumerate() {
        let same = routes.iter().take(index).find(|earlier| {
            // Only equal rules collide: for different ones the gate has a fixed precedence.
            earlier.route.host == later.route.host && earlier.route.path == later.route.path
        });
        let Some(earlier) = same else { continue };
        // Routes are sorted by name; report the error at the route that is further down in the file.
        let (first, second) = if earlier.path_span.start < later.path_span.start {
            (earlier, later)
        } else {
            (later, earlier)
        };
        let host = second.route.host.as_ref();
        let fault = ValueFault::new(
            format!(
                "the routes `{}` and `{}` match the same requests{}",
                first.route.name,
                second.route.name,
                host.map_or(String::new(), |host| format!(" for `{host}`")),
            ),
            "give one of them another `path`, `prefix` or `host`",
        );
        root.error(second.path_span, fault);
    }
}

fn health(root: &TomlTable<'_>, read: &SpannedServerSection, routes: &[SpannedRoute]) {
    let (Some(path), Some(span)) = (&read.server.health, read.health_span) else {
        return;
    };
    let taken = routes
        .iter()
        // The health check applies to every host, so the route's host does not matter. A prefix is not hidden as a
        // whole.
        .find(|placed| placed.route.path == PathRule::Exact(path.clone()));
    if let Some(placed) = taken {
        let fault = ValueFault::new(
            format!(
                "`health` hides the route `{}`, which has the same path",
                placed.route.name
            ),
            "choose another path for one of them",
        );
        root.error(span, fault);
    }
}
