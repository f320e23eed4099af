//! `[routes.NAME]`: which requests, how they are verified, and what holds for them.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use crate::config::Context;
use crate::config::dedup::{self, Basis};
use crate::config::model::{Dedup, Enforce, PathRule, Route, SecretEntry};
use crate::config::{secrets, upstream};
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Placed, Table, Value};
use crate::document::{Span, suggest, value};
use crate::model::ids::RouteName;
use crate::model::secret::Secret;
use crate::providers::{self, Provider};
use crate::scheme::parse::{self, parse_spec};
use crate::scheme::spec::{Family, SecretEncoding, Spec};
use crate::scheme::{Scheme, SchemeError};

/// A route with the place of its path, which later checks point at.
pub(super) struct PlacedRoute {
    pub(super) route: Route,
    pub(super) path_span: Span,
}

/// 1 MiB: Stripe, Slack and Shopify stay far below; GitHub's events may have up to 25 MiB, but rarely do.
const DEFAULT_MAX_BODY: usize = 1 << 20;

/// A body is held in memory until it is verified.
const LARGEST_MAX_BODY: usize = 1 << 30;

/// 5 minutes: what Stripe's and Standard Webhooks' libraries use by default.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Reads every route, in the order of their names.
pub(super) fn read_all(root: &mut Table<'_>, key: &Key, context: &Context) -> Vec<PlacedRoute> {
    let tables = root.named_tables(key);
    if tables.is_empty() {
        root.absent(
            "the config has no route",
            "add `[routes.NAME]` with `path`, `provider`, `secret` and `upstream`",
        );
    }
    tables
        .into_iter()
        .filter_map(|(name, mut table)| read(name, &mut table, context))
        .collect()
}

/// The provider, or a scheme of the route's own.
struct Origin {
    provider: Option<Arc<Provider>>,
    spec: Spec,
    span: Span,
}

/// How requests of a route are verified.
struct Verification {
    origin: Origin,
    secrets: Vec<SecretEntry>,
    tolerance: Duration,
    public_url: Option<String>,
    allow_ips: Option<Vec<IpNet>>,
    answer_challenge: bool,
    dedup: Option<Dedup>,
}

fn read(name: &str, table: &mut Table<'_>, context: &Context) -> Option<PlacedRoute> {
    check_name(name, table);
    let host = table.read(&HOST, value::host);
    let path = path_rule(table);
    let methods = table.list(&METHODS, value::method);
    let content_types = table.list(&CONTENT_TYPES, media_type);
    let verification = verification(table, context);
    let rate_limit = table.read(&RATE_LIMIT, value::rate);
    let max_body = table.read(&MAX_BODY, max_body);
    let enforce = enforce(table);
    let upstream = upstream::read(table);
    refuse_later_keys(table);
    table.deny_unknown();
    let (path, verification) = (path?, verification?);
    let route = Route {
        name: RouteName::new(name),
        span: table.span(),
        host,
        path: path.value,
        methods: methods.map_or(vec![Method::POST], values),
        content_types: content_types.map_or(Vec::new(), values),
        provider: verification.origin.provider,
        scheme: verification.origin.spec,
        secrets: verification.secrets,
        tolerance: verification.tolerance,
        public_url: verification.public_url,
        allow_ips: verification.allow_ips,
        rate_limit,
        max_body: max_body.unwrap_or(DEFAULT_MAX_BODY),
        dedup: verification.dedup,
        enforce,
        answer_challenge: verification.answer_challenge,
        upstream: upstream?,
    };
    Some(PlacedRoute {
        route,
        path_span: path.span,
    })
}

/// Reads all that depends on the scheme; none where there is no scheme.
fn verification(table: &mut Table<'_>, context: &Context) -> Option<Verification> {
    let origin = origin(table);
    let secrets = secrets::read_all(table, context);
    let tolerance = table.read_placed(&TOLERANCE, value::duration);
    let public_url = table.read(&PUBLIC_URL, value::origin);
    let allow_ips = allow_ips(table, origin.as_ref());
    let provider = origin
        .as_ref()
        .and_then(|origin| origin.provider.as_deref());
    let answer_challenge = answer_challenge(table, provider);
    // It cannot be read without a scheme; asking makes the key known.
    table.value(&dedup::DEDUP);
    let origin = origin?;
    check_tolerance(table, &origin, tolerance.as_ref());
    if check_scheme(table, &origin, public_url.as_deref()) {
        for entry in &secrets {
            secrets::check_use(table, entry, &origin.spec, public_url.as_deref());
        }
    }
    let usual = origin.provider.as_ref().map(|provider| provider.tolerance);
    let tolerance = tolerance.map(|placed| placed.value).or(usual);
    let tolerance = tolerance.unwrap_or(DEFAULT_TOLERANCE);
    let basis = Basis {
        spec: &origin.spec,
        provider: origin.provider.as_deref(),
        tolerance,
    };
    let dedup = dedup::read(table, &basis);
    Some(Verification {
        origin,
        secrets,
        tolerance,
        public_url,
        allow_ips,
        answer_challenge,
        dedup,
    })
}

fn values<T>(placed: Vec<Placed<T>>) -> Vec<T> {
    placed.into_iter().map(|placed| placed.value).collect()
}

fn check_name(name: &str, table: &Table<'_>) {
    let is_fit = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !is_fit {
        let fault = Fault::new(
            "this name cannot stand in headers, logs and metrics",
            "up to 64 letters, digits, `_` and `-`",
        );
        table.error(table.span(), fault);
    }
}

fn path_rule(table: &mut Table<'_>) -> Option<Placed<PathRule>> {
    if table.has(&PATH) && table.has(&PREFIX) {
        let prefix = table.value(&PREFIX);
        table.value(&PATH);
        if let Some(prefix) = prefix {
            let fault = Fault::new(
                "`path` and `prefix` exclude each other",
                "remove one of them",
            );
            prefix.fault(fault);
        }
        return None;
    }
    if table.has(&PREFIX) {
        table.value(&PATH);
        return table.read_placed(&PREFIX, |value| {
            let text = raw_path(value)?;
            match text.strip_suffix('/') {
                Some(shorter) if !shorter.is_empty() => Err(Fault::new(
                    format!("the prefix `{text}` ends with a slash"),
                    format!("`\"{shorter}\"` stands for itself and for everything below it"),
                )),
                _ => Ok(PathRule::Prefix(text)),
            }
        });
    }
    table.value(&PREFIX);
    table.require(&PATH, |value| raw_path(value).map(PathRule::Exact))
}

/// A path as it stands in a request line: it is compared byte by byte.
pub(super) fn raw_path(value: &Value<'_>) -> Result<String, Fault> {
    let text = value::text(value)?;
    let wrong = |what: &str, help: &str| Fault::new(format!("the path `{text}` {what}"), help);
    if !text.starts_with('/') {
        return Err(wrong(
            "does not begin with `/`",
            "for example `\"/stripe\"`",
        ));
    }
    if text.contains(['?', '#']) {
        return Err(wrong(
            "holds a query or fragment",
            "only the path: any query matches",
        ));
    }
    let is_raw = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
    if !text.bytes().all(is_raw) {
        return Err(wrong(
            "holds a character that no request can hold",
            "write it percent-encoded, as the sender does",
        ));
    }
    if text.split('/').any(|step| step == "." || step == "..") {
        return Err(wrong(
            "holds a dot segment, which senders resolve before they send",
            "write the path without it",
        ));
    }
    Ok(text)
}

fn media_type(value: &Value<'_>) -> Result<String, Fault> {
    let text = value::text(value)?;
    let lower = text.to_ascii_lowercase();
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    match lower.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(lower),
        _ => Err(Fault::new(
            format!("`{text}` is not a media type"),
            "type and subtype without parameters: `\"application/json\"`",
        )),
    }
}

fn max_body(value: &Value<'_>) -> Result<usize, Fault> {
    let size = value::size(value)?;
    if size > LARGEST_MAX_BODY {
        return Err(Fault::new(
            "a body is held in memory until it is verified: this is too much",
            "at most `\"1GiB\"`; GitHub sends up to 25 MiB, most others below 1 MiB",
        ));
    }
    Ok(size)
}

/// The provider's scheme, or the route's own.
fn origin(table: &mut Table<'_>) -> Option<Origin> {
    let scheme_span = table.name_span_of(&SCHEME);
    let is_named = table.has(&PROVIDER);
    let provider = table.read_placed(&PROVIDER, find_provider);
    let scheme = table.table(&SCHEME);
    match (is_named, scheme, scheme_span) {
        (true, _, Some(span)) => {
            let fault = Fault::new(
                "`provider` and `scheme` exclude each other",
                "remove `provider` to use a scheme of your own",
            );
            table.error(span, fault);
            None
        }
        (true, None, None) => provider.map(|provider| Origin {
            spec: provider.value.scheme.clone(),
            provider: Some(provider.value),
            span: provider.span,
        }),
        (false, Some(mut scheme), _) => parse_spec(&mut scheme).map(|spec| Origin {
            provider: None,
            spec,
            span: scheme.span(),
        }),
        (false, None, None) => {
            table.absent(
                format!(
                    "`[{}]` does not say how its requests are signed",
                    table.path()
                ),
                "add `provider = \"ID\"`, or `[routes.NAME.scheme]` for a scheme of your own",
            );
            None
        }
        _ => None,
    }
}

fn find_provider(value: &Value<'_>) -> Result<Arc<Provider>, Fault> {
    let id = value::text(value)?;
    providers::find(&id).ok_or_else(|| {
        let ids = || providers::all().iter().map(|provider| provider.id.as_str());
        let all = ids().collect::<Vec<_>>().join("`, `");
        let help = match suggest::nearest(&id, ids()) {
            Some(near) => format!("did you mean `{near}`? There are `{all}`"),
            None => format!("there are `{all}`; `[routes.NAME.scheme]` describes any other"),
        };
        Fault::new(format!("unknown provider `{id}`"), help).label("no provider has this id")
    })
}

fn check_tolerance(table: &Table<'_>, origin: &Origin, tolerance: Option<&Placed<Duration>>) {
    let is_dated = match &origin.spec.family {
        Family::Hmac(family) => family.timestamp.is_some(),
        Family::Token(_) => false,
    };
    if let Some(tolerance) = tolerance.filter(|_| !is_dated) {
        let fault = Fault::new(
            "this scheme signs no time, so `tolerance` changes nothing",
            "remove it; dedup is what keeps a captured request from being replayed",
        );
        table.warning(tolerance.span, fault);
    }
}

/// Reports what is wrong with a scheme whatever its secrets are; true where nothing is.
fn check_scheme(table: &Table<'_>, origin: &Origin, public_url: Option<&str>) -> bool {
    let secret = fitting_secret(&origin.spec);
    let Err(err) = Scheme::compile(&origin.spec, &[&secret], public_url) else {
        return true;
    };
    let help = match err {
        SchemeError::NeedsPublicUrl => {
            "add `public_url = \"https://hooks.example.com\"`, the address that the sender calls"
        }
        _ => "mend `signed`, `signature`, `timestamp` or `event_id` of the scheme",
    };
    table.error(origin.span, Fault::new(err.to_string(), help));
    false
}

/// A text that is a well-formed secret of the scheme, to find out what is wrong apart from the secrets.
fn fitting_secret(spec: &Spec) -> Secret {
    let encoding = match &spec.family {
        Family::Hmac(family) => family.secret.encoding,
        Family::Token(_) => SecretEncoding::Utf8,
    };
    let text: &[u8] = match encoding {
        SecretEncoding::Utf8 => b"user:password",
        SecretEncoding::Base64 => b"AAAAAAAA",
        SecretEncoding::Hex => b"00000000",
    };
    Secret::new(text.to_vec())
}

/// The ranges that may send, `"provider"` replaced by the provider's own.
fn allow_ips(table: &mut Table<'_>, origin: Option<&Origin>) -> Option<Vec<IpNet>> {
    let value = table.value(&ALLOW_IPS)?;
    let Some(items) = value.items() else {
        value.fault(value.unexpected("a list", ALLOW_IPS.example));
        return None;
    };
    if items.is_empty() {
        value.fault(Fault::new(
            "an empty list lets nobody send",
            "add ranges, or remove `allow_ips` to let every address send",
        ));
    }
    let mut nets = Vec::new();
    for item in items {
        if item.text() == Some("provider") {
            // An unknown provider has its own error.
            let Some(origin) = origin else { continue };
            let provider = origin.provider.as_deref();
            match provider.and_then(|provider| provider.ip_ranges.as_ref()) {
                Some(ranges) => nets.extend(&ranges.cidrs),
                None => item.fault(no_ranges(provider)),
            }
        } else if let Some(net) = item.check(value::network) {
            nets.push(net.value);
        }
    }
    Some(nets)
}

fn no_ranges(provider: Option<&Provider>) -> Fault {
    let message = match provider {
        Some(provider) => format!("{} publishes no address ranges", provider.name),
        None => "a route without a provider has no address ranges of a provider".to_owned(),
    };
    Fault::new(message, "name the ranges, or remove `\"provider\"`")
}

fn enforce(table: &mut Table<'_>) -> Enforce {
    let enforce = table.read_placed(&ENFORCE, |value| {
        value::choice(
            value,
            &[("block", Enforce::Block), ("monitor", Enforce::Monitor)],
        )
    });
    let Some(enforce) = enforce else {
        return Enforce::Block;
    };
    if enforce.value == Enforce::Monitor {
        let fault = Fault::new(
            "unverified requests of this route reach the app",
            "`\"block\"` once the log shows that genuine requests pass",
        );
        table.warning(enforce.span, fault);
    }
    enforce.value
}

fn answer_challenge(table: &mut Table<'_>, provider: Option<&Provider>) -> bool {
    let has_challenge = provider.is_some_and(|provider| provider.challenge.is_some());
    let choice = table.read_placed(&ON_CHALLENGE, |value| {
        value::choice(value, &[("answer", true), ("forward", false)])
    });
    if let (Some(choice), Some(provider)) = (&choice, provider)
        && !has_challenge
    {
        let fault = Fault::new(
            format!("{} has no URL check to answer", provider.name),
            "remove `on_challenge`",
        );
        table.error(choice.span, fault);
    }
    has_challenge && choice.is_none_or(|choice| choice.value)
}

/// Keys that the design gives a meaning which this version does not have: accepting one would promise something.
fn refuse_later_keys(table: &mut Table<'_>) {
    if let Some(value) = table.value(&MODE) {
        value.check(|value| {
            let text = value::text(value)?;
            match text.as_str() {
                "proxy" => Ok(()),
                "queue" | "hybrid" => Err(Fault::new(
                    format!(
                        "`mode = \"{text}\"` is not supported by this version; only \"proxy\" is"
                    ),
                    "remove it and set `upstream`",
                )),
                _ => Err(Fault::new(
                    format!("`{text}` is not a mode"),
                    "the only mode of this version is `\"proxy\"`",
                )),
            }
        });
    }
    let later = [
        "destinations",
        "answer_within",
        "events",
        "versions",
        "when",
        "schemas",
        "sign_upstream",
        "resign",
    ];
    for name in later {
        table.refuse(name, |_| {
            Fault::new(
                format!("`{name}` is not supported by this version"),
                "remove it",
            )
        });
    }
}

/// `[routes.NAME]`.
pub(super) static SECTION: Section = Section {
    path: "routes.NAME",
    doc: "One webhook: which requests, how they are verified, and where they go.",
    keys: &[
        &HOST,
        &PATH,
        &PREFIX,
        &METHODS,
        &CONTENT_TYPES,
        &PROVIDER,
        &SCHEME,
        &secrets::SECRET,
        &TOLERANCE,
        &PUBLIC_URL,
        &ALLOW_IPS,
        &RATE_LIMIT,
        &MAX_BODY,
        &dedup::DEDUP,
        &ENFORCE,
        &MODE,
        &ON_CHALLENGE,
        &upstream::UPSTREAM,
        &upstream::CONNECT_TIMEOUT,
        &upstream::TIMEOUT,
        &upstream::POOL_IDLE_TIMEOUT,
        &upstream::PASS_ERROR_BODIES,
    ],
    required: &["secret", "upstream"],
    one_of: &[&["path", "prefix"], &["provider", "scheme"]],
};

static HOST: Key = Key {
    name: "host",
    kind: Kind::Text,
    default: Some("every host"),
    example: "\"hooks.example.com\"",
    doc: "The host that requests are for. A route with a host beats one without.",
};

static PATH: Key = Key {
    name: "path",
    kind: Kind::Text,
    default: None,
    example: "\"/stripe\"",
    doc: "The path, compared byte by byte. Either this or `prefix`.",
};

static PREFIX: Key = Key {
    name: "prefix",
    kind: Kind::Text,
    default: None,
    example: "\"/hooks\"",
    doc: "A path with everything below it; the rest is appended to the upstream's path. An exact path beats every prefix, a longer prefix a shorter one.",
};

// Every provider sends events by POST.
static METHODS: Key = Key {
    name: "methods",
    kind: Kind::List(&Kind::Text),
    default: Some("[\"POST\"]"),
    example: "[\"POST\", \"PUT\"]",
    doc: "Allowed methods; others are answered 405.",
};

static CONTENT_TYPES: Key = Key {
    name: "content_types",
    kind: Kind::List(&Kind::Text),
    default: Some("every type"),
    example: "[\"application/json\"]",
    doc: "Allowed media types, without parameters; others are answered 415.",
};

static PROVIDER: Key = Key {
    name: "provider",
    kind: Kind::Text,
    default: None,
    example: "\"stripe\"",
    doc: "Who sends: the id of a provider that hookgate knows. Either this or `scheme`.",
};

static SCHEME: Key = Key {
    name: "scheme",
    kind: Kind::Table(&parse::SECTION),
    default: None,
    example: "{ type = \"token\", token = { header = \"X-Token\" } }",
    doc: "A scheme of one's own, where no provider fits.",
};

static TOLERANCE: Key = Key {
    name: "tolerance",
    kind: Kind::Duration,
    default: Some("the provider's, else \"5m\""),
    example: "\"5m\"",
    doc: "How far a signed timestamp may be from now, in both directions.",
};

static PUBLIC_URL: Key = Key {
    name: "public_url",
    kind: Kind::Url,
    default: None,
    example: "\"https://hooks.example.com\"",
    doc: "Scheme, host and port that the sender calls; needed where the scheme signs the URL.",
};

static ALLOW_IPS: Key = Key {
    name: "allow_ips",
    kind: Kind::List(&Kind::Network),
    default: Some("every address"),
    example: "[\"provider\", \"10.0.0.0/8\"]",
    doc: "Source addresses that may send; `\"provider\"` stands for the ranges that the provider publishes. Others are answered 403.",
};

static RATE_LIMIT: Key = Key {
    name: "rate_limit",
    kind: Kind::Rate,
    default: Some("no limit"),
    example: "\"100/s\"",
    doc: "Verified requests of this route; more are answered 429, and the provider tries again later.",
};

static MAX_BODY: Key = Key {
    name: "max_body",
    kind: Kind::Size,
    default: Some("\"1MiB\""),
    example: "\"25MiB\"",
    doc: "Bytes of the body; a longer one is answered 413. GitHub sends up to 25 MiB.",
};

static ENFORCE: Key = Key {
    name: "enforce",
    kind: Kind::Choice(&["block", "monitor"]),
    default: Some("\"block\""),
    example: "\"monitor\"",
    doc: "`monitor` records what would be refused and forwards it all the same: for trying a route out before an app that still verifies by itself.",
};

static MODE: Key = Key {
    name: "mode",
    kind: Kind::Choice(&["proxy"]),
    default: Some("\"proxy\""),
    example: "\"proxy\"",
    doc: "The request is forwarded while the provider waits, and the provider gets the app's own answer.",
};

static ON_CHALLENGE: Key = Key {
    name: "on_challenge",
    kind: Kind::Choice(&["answer", "forward"]),
    default: Some("\"answer\" where the provider has a URL check"),
    example: "\"forward\"",
    doc: "Whether hookgate answers the provider's URL check, or the app does.",
};
