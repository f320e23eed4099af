//! The effective config as JSON, with defaults, under the keys of the config file.
//!
//! It must never contain a secret: secrets and headers show only their names, and URLs mask values that may be secrets.

use std::path::Path;
use std::time::Duration;

use http::Uri;
use serde_json::{Map, Value, json};

use crate::config::model::{
    AdminListen, AdminSection, DedupRule, DeliveryOrder, DestinationSection, GateConfig, PathRule,
    RetryPauses, RetryPolicy, Route, RouteMode, ServerSection, StoreSection, TlsSection,
    UpstreamSettings,
};
use crate::model::rate::RateLimit;
use crate::net::redact;

/// Builds the JSON document of the effective config.
pub(super) fn effective(config: &GateConfig) -> Value {
    let routes = config.routes.iter();
    let routes: Map<_, _> = routes
        .map(|one| (one.name.to_string(), route(one)))
        .collect();
    json!({
        "server": server(&config.server),
        "tls": config.tls.as_ref().map(tls),
        "admin": config.admin.as_ref().map(admin),
        "store": config.store.as_ref().map(store),
        "log": {
            "format": config.log.format.word(),
            "level": config.log.level.as_str().to_ascii_lowercase(),
            "accepted": config.log.accepted,
        },
        "routes": routes,
    })
}

/// Formats a URL and masks values of its query that may be secrets.
pub(super) fn url(url: &Uri) -> String {
    // `redact::target` masks behind the first `?`. Scheme, host and path cannot contain one.
    redact::target(&url.to_string())
}

fn server(server: &ServerSection) -> Value {
    json!({
        "listen": server.listen,
        "insecure_http": server.insecure_http,
        "trusted_proxies": texts(&server.trusted_proxies),
        "proxy_protocol": server.proxy_protocol.word(),
        "max_connections": server.max_connections,
        "max_connections_per_source": server.max_connections_per_source,
        "max_in_flight": server.max_in_flight,
        "per_source_rate_limit": server.per_source_rate_limit.map(rate),
        "handshake_timeout": duration(server.handshake_timeout),
        "header_timeout": duration(server.header_timeout),
        "body_timeout": duration(server.body_timeout),
        "idle_timeout": duration(server.idle_timeout),
        "shutdown_timeout": duration(server.shutdown_timeout),
        "max_header_size": server.max_header_size,
        "health": server.health,
        "refresh_ranges": server.refresh_ranges.map(duration),
        "state_dir": server.state_dir.as_deref().map(path),
        "keep_verdicts": server.keep_verdicts,
    })
}

fn tls(tls: &TlsSection) -> Value {
    let certificates = tls.certificates.iter();
    let certificates: Vec<_> = certificates
        .map(|files| json!({ "cert": path(&files.cert), "key": path(&files.key) }))
        .collect();
    json!({
        "certificates": certificates,
        "client_ca": tls.client_ca.as_ref().map(|(authorities, _)| path(authorities)),
        "min_version": tls.min_version.word(),
    })
}

fn admin(admin: &AdminSection) -> Value {
    let tokens = admin.tokens.iter();
    // Name and role of each token, never its text.
    let tokens: Vec<_> = tokens
        .map(|token| json!({ "name": &*token.name, "role": token.role.word() }))
        .collect();
    json!({
        "listen": match &admin.listen {
            AdminListen::Tcp(address) => address.to_string(),
            AdminListen::Unix(socket) => format!("unix:{}", socket.display()),
        },
        "tokens": tokens,
        "tls": admin.tls.as_ref().map(|files| json!({ "cert": path(&files.cert), "key": path(&files.key) })),
        "host": admin.hosts,
    })
}

fn store(store: &StoreSection) -> Value {
    json!({
        "url": format!("sqlite:{}", store.path.display()),
        "min_free": store.min_free,
        "max_size": store.max_size,
        "max_events": store.max_events,
        "keep_body": store.keep_body,
        // How many keys there are shows a rotation in progress without revealing one.
        "encryption_keys": store.encryption_keys.len(),
        "retention": {
            "delivered": store.retention.delivered.map(duration),
            "dead": store.retention.dead.map(duration),
            "attempts": store.retention.attempts.map(duration),
            "size": store.retention.size,
        },
    })
}

fn route(route: &Route) -> Value {
    let secrets = route.secrets.iter();
    // Labels only: this document must never contain the text of a secret.
    let secrets: Vec<_> = secrets.map(|secret| &*secret.label).collect();
    let destinations = route.destinations.iter();
    let destinations: Map<_, _> = destinations
        .map(|one| (one.name.to_string(), destination(one)))
        .collect();
    // The addresses of a provider change by themselves, so the config shows the word `provider` instead of them.
    let allow_ips = route.allow_ips.as_ref().map(|ips| {
        let mut listed = texts(&ips.nets);
        listed.extend(ips.is_provider.then(|| "provider".to_owned()));
        listed
    });
    let exact = match &route.path {
        PathRule::Exact(path) => Some(path),
        PathRule::Prefix(_) => None,
    };
    let answer_within = match route.mode {
        RouteMode::Hybrid { answer_within, .. } => Some(duration(answer_within)),
        RouteMode::Proxy | RouteMode::Queue => None,
    };
    json!({
        "host": route.host,
        "path": exact,
        "prefix": route.path.prefix(),
        "answer_within": answer_within,
        "methods": texts(&route.methods),
        "content_types": route.content_types,
        "provider": route.provider.as_ref().map(|provider| &provider.id),
        "secrets": secrets,
        "tolerance": duration(route.tolerance),
        "public_url": route.public_url,
        "allow_ips": allow_ips,
        "rate_limit": route.rate_limit.map(rate),
        "max_body": route.max_body,
        "audience": route.tenant.as_ref().map(|tenant| &tenant.allowed),
        "dedup": route.dedup.as_ref().map(dedup),
        "enforce": route.enforce.word(),
        "has_when": route.when.is_some(),
        "schemas": route.schemas.len(),
        "signs_upstream": !route.sign_upstream.is_empty(),
        "mode": route.mode.name().word(),
        "upstream": route.upstream.as_ref().map(upstream),
        "socket": route.socket.as_ref().map(|socket| path(&socket.path)),
        "destinations": destinations,
    })
}

fn dedup(dedup: &DedupRule) -> Value {
    let by = [("key", !dedup.key.is_nothing()), ("body", dedup.by_body)];
    let by: Vec<_> = by.iter().filter(|(_, counts)| *counts).collect();
    json!({
        "window": duration(dedup.window),
        "by": by.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        "key": dedup.key.to_string(),
        "binds_body": dedup.binds_body,
        "replay": dedup.replay.word(),
        "missing_id": dedup.missing_id.word(),
        "max_entries": dedup.max_entries,
    })
}

fn upstream(upstream: &UpstreamSettings) -> Value {
    json!({
        "url": url(&upstream.url),
        "connect_timeout": duration(upstream.connect_timeout),
        "timeout": duration(upstream.timeout),
        "pool_idle_timeout": duration(upstream.pool_idle_timeout),
        "pass_error_bodies": upstream.pass_error_bodies,
        "upstream_grace": duration(upstream.grace),
    })
}

fn destination(destination: &DestinationSection) -> Value {
    let names = destination.headers.iter();
    // Names only: operators put tokens for the app into these headers.
    let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
    json!({
        "url": url(&destination.url),
        "has_when": destination.when.is_some(),
        "active": destination.active,
        "connect_timeout": duration(destination.connect_timeout),
        "timeout": duration(destination.timeout),
        "concurrency": destination.concurrency,
        "rate_limit": destination.rate_limit.map(rate),
        "retry": retry(&destination.retry),
        "order": match &destination.order {
            DeliveryOrder::None => "none".to_owned(),
            DeliveryOrder::Fifo => "fifo".to_owned(),
            DeliveryOrder::FifoByHeader(name) => format!("fifo by header {name}"),
            DeliveryOrder::FifoByJson(pointer) => format!("fifo by {pointer}"),
        },
        "headers": names,
        "is_signed": !destination.secrets.is_empty(),
        "resign": destination.resign,
        "external": destination.external,
        "repr_digest": destination.repr_digest,
        "breaker": destination.breaker,
    })
}

fn retry(retry: &RetryPolicy) -> Value {
    let pauses = match &retry.pauses {
        RetryPauses::List(list) => json!(list.iter().copied().map(duration).collect::<Vec<_>>()),
        RetryPauses::Exponential { base, factor, cap } => {
            json!({ "base": duration(*base), "factor": factor, "cap": duration(*cap) })
        }
    };
    json!({
        "schedule": pauses,
        "max_attempts": retry.max_attempts,
        "max_age": retry.max_age.map(duration),
        "jitter": retry.jitter,
    })
}

/// Formats a duration in the form of the config file.
fn duration(time: Duration) -> Value {
    match time.subsec_millis() {
        0 => json!(format!("{}s", time.as_secs())),
        _ => json!(format!("{}ms", time.as_millis())),
    }
}

fn rate(rate: RateLimit) -> Value {
    // One unit for all rates, so that a program can compare them.
    let per_second = f64::from(rate.count.get()) / rate.period.as_secs_f64();
    json!({ "per_second": per_second, "burst": rate.burst })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
