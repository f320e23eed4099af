//! `[routes.NAME]`: every key of a route.

use hookgate_verify::model::glob::PatternList;
use hookgate_verify::providers::challenge::OnChallenge;
use serde_json::{Map, Value as Json};

use crate::client_certs::ClientCertRule;
use crate::config::effective::document::{EffectiveValue, ExtraField, SectionDocument};
use crate::config::effective::{destination, format, upstream, verification};
use crate::config::model::{
    EnforceMode, ExpiredCrl, LocalSocket, PathRule, QuietRule, Route, RouteMode, SchemaRule,
};
use crate::config::{
    audience, client_cert, dedup, destination as destinations, filter, mode, route, schemas,
    secrets, sign_upstream, socket, upstream as upstream_keys, upstreams,
    verification as verification_keys, watch,
};
use crate::criteria::when::WhenExpression;

pub(super) fn route(route: &Route) -> EffectiveValue {
    let table = SectionDocument::new(&route::SECTION);
    let table = requests(table, route);
    let table = verifies(table, route);
    let table = modes(table, route);
    let table = upstreams(table, route);
    let labels: Vec<_> = route.secrets.iter().map(|secret| &*secret.label).collect();
    table
        .extra(ExtraField::Secrets, labels)
        .extra(ExtraField::HasWhen, route.when.is_some())
        .extra(ExtraField::SignsUpstream, !route.sign_upstream.is_empty())
        .finish()
}

/// Sets the keys that select requests and events.
fn requests(table: SectionDocument, route: &Route) -> SectionDocument {
    let exact = match &route.path {
        PathRule::Exact(path) => Some(path.clone()),
        PathRule::Prefix(_) => None,
    };
    table
        .set(&route::HOST, route.host.clone())
        .set(&route::PATH, exact)
        .set(&route::PREFIX, route.path.prefix())
        .set(&route::METHODS, format::texts(&route.methods))
        .set(&route::CONTENT_TYPES, route.content_types.clone())
        .set(&route::RATE_LIMIT, route.rate_limit.map(format::rate))
        .set(&route::MAX_BODY, route.max_body)
        .set(
            &filter::EVENTS,
            route.events.as_ref().map(PatternList::texts),
        )
        .set(
            &filter::VERSIONS,
            route.versions.as_ref().map(PatternList::texts),
        )
        .set(
            &filter::WHEN,
            route.when.as_deref().map(WhenExpression::text),
        )
        .set(&schemas::SCHEMAS, schemas(&route.schemas))
}

/// Returns the file of each schema under its pattern; null without schemas.
fn schemas(rules: &[SchemaRule]) -> Option<Json> {
    let files = rules
        .iter()
        .map(|rule| (rule.pattern.to_string(), format::path(&rule.path).into()));
    (!rules.is_empty()).then(|| Json::Object(files.collect::<Map<_, _>>()))
}

/// Sets the keys that verify requests.
fn verifies(table: SectionDocument, route: &Route) -> SectionDocument {
    let provider = route.provider.as_ref();
    table
        .set(
            &verification_keys::PROVIDER,
            provider.map(|provider| provider.id.clone()),
        )
        .nest(&verification_keys::SCHEME, verification::scheme(route))
        .nest(&secrets::SECRET, verification::secrets(&route.secrets))
        .set(&audience::AUDIENCE, verification::audience(route))
        .nest(&audience::CLAIMS, verification::claims(&route.scheme))
        .nest(&audience::JWKS, verification::jwks(&route.scheme))
        .set(
            &verification_keys::TOLERANCE,
            format::duration(route.tolerance),
        )
        .set(&verification_keys::PUBLIC_URL, route.public_url.clone())
        .set(
            &verification_keys::ALLOW_IPS,
            route.allow_ips.as_ref().map(verification::allow_ips),
        )
        .nest(
            &client_cert::CLIENT_CERT,
            route.client_cert.as_deref().map(client_certificates),
        )
        .nest(&dedup::DEDUP, route.dedup.as_ref().map(verification::dedup))
        .set(&route::ENFORCE, route.enforce.word())
        .set(&route::CONTINUE_TRACE, route.continue_trace)
        .set(&watch::QUIET_AFTER, quiet_after(route.quiet))
        .set(
            &verification_keys::ON_CHALLENGE,
            route.on_challenge.map(OnChallenge::word),
        )
        .set(
            &verification_keys::VERIFY_TOKEN,
            format::masked(route.verify_token.is_some()),
        )
}

/// Returns the fixed time of a route; `learned` or false otherwise.
fn quiet_after(rule: QuietRule) -> Json {
    match rule {
        QuietRule::Learned => "learned".into(),
        QuietRule::After(time) => format::duration(time).into(),
        QuietRule::Off => false.into(),
    }
}

/// Sets the mode and the keys of stored events.
fn modes(table: SectionDocument, route: &Route) -> SectionDocument {
    let (answer_within, store_on) = match route.mode {
        RouteMode::Hybrid {
            answer_within,
            stores_4xx,
        } => {
            let within = format::duration(answer_within);
            (Some(within), stores_4xx.then(|| vec!["4xx"]))
        }
        RouteMode::Proxy | RouteMode::Queue => (None, None),
    };
    // The route's key is part of each of its destinations.
    let resigns = route.destinations.iter().any(|one| one.resign);
    let each = route.destinations.iter();
    let each = each.map(|one| (one.name.to_string(), destination::destination(one)));
    table
        .set(&mode::MODE, route.mode.name().word())
        .set(&mode::ANSWER_WITHIN, answer_within)
        .set(&mode::STORE_ON, store_on)
        .nest(&destinations::DESTINATIONS, EffectiveValue::named(each))
        .set(&mode::RESIGN, resigns.then_some("provider"))
        .nest(&socket::SOCKET, route.socket.as_ref().map(local_socket))
}

fn client_certificates(rule: &ClientCertRule) -> EffectiveValue {
    let (ca, crl) = rule.files();
    let crl: Vec<_> = crl.iter().map(|path| format::path(path)).collect();
    let (names, fingerprints) = rule.allowed();
    let expired = match rule.accepts_expired_crl() {
        true => ExpiredCrl::Accept,
        false => ExpiredCrl::Refuse,
    };
    SectionDocument::new(&client_cert::SECTION)
        .set(&client_cert::CA, format::path(ca))
        .set(&client_cert::CRL, (!crl.is_empty()).then_some(crl))
        .set(&client_cert::NAMES, (!names.is_empty()).then_some(names))
        .set(
            &client_cert::FINGERPRINTS,
            (!fingerprints.is_empty()).then(|| fingerprints.to_vec()),
        )
        .set(&client_cert::EXPIRED_CRL, expired.word())
        .set(&client_cert::FORWARD, rule.is_forwarded())
        .finish()
}

fn local_socket(socket: &LocalSocket) -> EffectiveValue {
    SectionDocument::new(&socket::SECTION)
        .set(&socket::PATH, format::path(&socket.path))
        .set(&socket::USERS, socket.users.clone())
        .finish()
}

/// Sets the keys of the upstream. They are null on a route that has only destinations.
fn upstreams(table: SectionDocument, route: &Route) -> SectionDocument {
    let usual = route.upstream.as_ref();
    // Without a URL of its own, monitor mode sends unverified requests to `upstream`.
    let is_monitored = route.enforce == EnforceMode::Monitor;
    let unverified = route.unverified_upstream.as_ref();
    let unverified = unverified.or(usual.filter(|_| is_monitored));
    table
        .set(
            &sign_upstream::SIGN_UPSTREAM,
            format::key_count(route.sign_upstream.len()),
        )
        .nest(&upstream_keys::UPSTREAM, usual.map(upstream::nested))
        .nest(&upstreams::UPSTREAMS, upstream::branches(&route.branches))
        .set(
            &upstream_keys::UNVERIFIED_UPSTREAM,
            unverified.map(|upstream| upstream.url.redacted()),
        )
        .set(
            &upstream_keys::UPSTREAM_GRACE,
            usual.map(|upstream| format::duration(upstream.grace)),
        )
        .set(
            &upstream_keys::CONNECT_TIMEOUT,
            usual.map(|upstream| format::duration(upstream.connect_timeout)),
        )
        .set(
            &upstream_keys::TIMEOUT,
            usual.map(|upstream| format::duration(upstream.timeout)),
        )
        .set(
            &upstream_keys::POOL_IDLE_TIMEOUT,
            usual.map(|upstream| format::duration(upstream.keep.idle_timeout)),
        )
        .set(
            &upstream_keys::PASS_ERROR_BODIES,
            usual.map(|upstream| upstream.pass_error_bodies),
        )
}
