//! Causes outside of the signature: path, host, source, method, content type, size and filter.

use std::net::{IpAddr, SocketAddr};

use hookgate_verify::net::host::{self, without_root};
use http::header;

use crate::config::model::{PathRule, Route};
use crate::explain::case::each_route;
use crate::explain::cause::{CauseFinding, RefusalCause};
use crate::explain::past_request::PastRequest;
use crate::explain::url::without_port;
use crate::gate::reject::Reject;
use crate::gate::route::RouteTable;
use crate::gate::rules::RouteRules;
use crate::gate::verdict::GateDecision;

/// Finds a route that nearly matches: another host, a slash or a case too many, or the same end of the path.
pub(super) fn no_route(
    routes: &RouteTable<RouteRules>,
    seen: &PastRequest,
) -> Option<CauseFinding> {
    let path = seen.uri.path();
    let trimmed = |path: &str| path.trim_end_matches('/').to_ascii_lowercase();
    for route in each_route(routes) {
        let (PathRule::Exact(own) | PathRule::Prefix(own)) = &route.path;
        // The path matches, so only the host can be wrong.
        if own == path {
            let host = route.host.as_deref()?;
            return Some(RefusalCause::HostDiffers.proven(&format!("`{host}`")));
        }
        // A base URL that ends with a slash, joined with a path that begins with one.
        let doubled = path.replace("//", "/");
        if trimmed(own) == trimmed(path) || *own == doubled {
            let detail = format!("the route `{}`: `{own}`", route.name.as_str());
            return Some(RefusalCause::PathDiffers.proven(&detail));
        }
    }
    // A proxy in front may have added or removed a prefix. This is only likely, since routes may share an end.
    let ends = |route: &&Route| {
        let (PathRule::Exact(own) | PathRule::Prefix(own)) = &route.path;
        own.len() > 1 && (path.ends_with(own.as_str()) || own.ends_with(path) && path.len() > 1)
    };
    let route = each_route(routes).find(ends)?;
    let (PathRule::Exact(own) | PathRule::Prefix(own)) = &route.path;
    let detail = format!("the route `{}`: `{own}`", route.name.as_str());
    Some(RefusalCause::PathDiffers.likely(&detail))
}

/// Finds out if the source is an untrusted proxy in front of an allowed sender, or an unknown address.
pub(super) fn source(rules: &RouteRules, seen: &PastRequest, ip: IpAddr) -> CauseFinding {
    let lines = seen.headers.get_all("x-forwarded-for").iter();
    let mut named = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(address);
    match named.find(|named| *named != ip && rules.allows(named)) {
        // The header is not trusted to admit the request; it only serves as a hint to the operator.
        Some(named) => RefusalCause::ProxyNotTrusted.proven(&named.to_string()),
        None => RefusalCause::SourceUnknown.likely(&ip.to_string()),
    }
}

/// Parses an entry of `X-Forwarded-For`, with or without a port or brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let text = entry.trim();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    // Some proxies append the port, and IPv6 addresses may be in brackets.
    let ip = host::bare(text).parse::<IpAddr>().ok().or_else(with_port)?;
    Some(ip.to_canonical())
}

/// Returns the cause of rejects whose evidence alone proves it.
pub(super) fn evident(reject: &Reject, seen: &PastRequest) -> Option<CauseFinding> {
    Some(match reject {
        Reject::Method { method } => RefusalCause::MethodNotTaken.proven(method.as_str()),
        Reject::ContentType { found } => {
            let found = match found.is_empty() {
                true => "unspecified (no `Content-Type`)".to_owned(),
                false => format!("`{found}`"),
            };
            RefusalCause::ContentTypeNotTaken.proven(&found)
        }
        Reject::BodyTooLarge { .. } => RefusalCause::BodyLimit.proven(&needed(seen)),
        Reject::Filtered { by } => RefusalCause::EventFiltered.proven(&format!("`{}`", by.code())),
        Reject::Duplicate { .. }
        | Reject::Replayed
        | Reject::InFlight
        | Reject::FirstFailed { .. } => RefusalCause::Duplicate.proven(""),
        _ => return None,
    })
}

/// Returns a value for `max_body` that fits this body, in whole MiB.
fn needed(seen: &PastRequest) -> String {
    let declared = seen.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let bytes = seen.body.len().max(declared.unwrap_or_default());
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Returns the reject of a decision; a filtered event counts as one, because the app does not get it either.
pub(super) fn filter_reject(decision: &GateDecision) -> Option<Reject> {
    match decision {
        GateDecision::Filtered(by) => Some(Reject::Filtered { by: *by }),
        GateDecision::Refused(reject) | GateDecision::Monitored(reject) => Some(reject.clone()),
        GateDecision::Accepted | GateDecision::Challenge | GateDecision::Duplicate => None,
    }
}

/// Returns the host that a request names, without its port and without the trailing dot of the DNS root.
pub(super) fn host(seen: &PastRequest) -> &str {
    let named = seen.uri.authority().map(http::uri::Authority::as_str);
    let header = || seen.headers.get(header::HOST)?.to_str().ok();
    without_root(without_port(named.or_else(header).unwrap_or_default()))
}
