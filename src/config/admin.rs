//! `[admin]`: the admin listener, apart from the listeners for webhooks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{SpannedValue, TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::glob::GlobPattern;

use crate::config::load_context::LoadContext;
use crate::config::model::{AdminListen, AdminRole, AdminSection, AdminToken, PayloadAccess};
use crate::config::{secrets, tls};
use crate::model::route_scope::RouteScope;

/// Name of the `token` of `[admin]` itself in the audit log.
pub(super) const SINGLE: &str = "admin";

const MAX_NAME: usize = 64;

/// `[admin]` with the span that later checks point at.
pub(super) struct SpannedAdminSection {
    pub(super) admin: AdminSection,
    pub(super) listen_span: TextSpan,
    /// The patterns of `routes` of all tokens.
    pub(super) route_patterns: Vec<SpannedValue<GlobPattern>>,
}

/// Reads the section; returns `None` if it has no valid `listen`.
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> Option<SpannedAdminSection> {
    let listen = table.require(&LISTEN, |value| listen(value, context));
    let mut route_patterns = Vec::new();
    let tokens = tokens(&mut table, &mut route_patterns, context);
    let tls = table.table(&TLS).and_then(|table| tls::one(table, context));
    let hosts = table.one_or_more(&HOST, value::host).unwrap_or_default();
    let hosts = hosts.into_iter().map(|host| host.value).collect();
    table.deny_unknown();
    let listen = listen?;
    // A table or token that is present but wrong has an error of its own, so do not report it as missing too.
    let is_tls_wanted = table.has(&TLS);
    let has_tokens = !tokens.is_empty() || table.has(&TOKEN) || table.has(&TOKENS);
    match &listen.value {
        AdminListen::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
            if let Some(fault) = exposed(*address, is_tls_wanted, has_tokens) {
                table.error(listen.span, fault.label("not loopback"));
            }
        }
        AdminListen::Unix(_) if is_tls_wanted => {
            let fault =
                "`[admin.tls]` has no effect on a Unix socket, which only its owner can use";
            table.error(
                listen.span,
                ValueFault::new(
                    fault,
                    "remove `[admin.tls]`, or set `listen` to an address and port",
                ),
            );
        }
        AdminListen::Tcp(_) | AdminListen::Unix(_) => {}
    }
    Some(SpannedAdminSection {
        admin: AdminSection {
            listen: listen.value,
            tokens,
            tls,
            hosts,
        },
        listen_span: listen.span,
        route_patterns,
    })
}

/// Reads `token` and each of `[[admin.tokens]]`.
fn tokens(
    table: &mut TomlTable<'_>,
    route_patterns: &mut Vec<SpannedValue<GlobPattern>>,
    context: &LoadContext,
) -> Vec<AdminToken> {
    let mut tokens = Vec::new();
    let single = table.value(&TOKEN);
    if let Some(secret) = single.and_then(|value| secrets::read_token(&value, context)) {
        tokens.push(AdminToken {
            name: SINGLE.into(),
            role: AdminRole::Operator,
            scope: RouteScope::All,
            payload: PayloadAccess::Shown,
            secret: Arc::new(secret),
        });
    }
    for mut entry in table.tables(&TOKENS) {
        let name = entry.require(&NAME, token_name);
        let role = entry.require(&ROLE, |value| value::choice(value, &AdminRole::ALL));
        let scope = scope(&mut entry, route_patterns);
        let payload = entry.read(&PAYLOAD, value::boolean);
        let secret = entry.value(&TOKEN);
        if secret.is_none() {
            entry.missing(&TOKEN);
        }
        let secret = secret.and_then(|value| secrets::read_token(&value, context));
        entry.deny_unknown();
        let (Some(name), Some(role), Some(secret)) = (name, role, secret) else {
            continue;
        };
        // The audit log names the token, so a name must mean one token, and a token one name.
        let others = tokens.iter();
        let mut others = others.filter(|other: &&AdminToken| *other.name == *name.value);
        if others.next().is_some() {
            let fault = format!("two tokens have the name `{}`", name.value);
            entry.error(
                name.span,
                ValueFault::new(fault, "give each token a different name"),
            );
        }
        // Equal tokens would make the name in the audit log a matter of order.
        let is_twice = |other: &AdminToken| other.secret.is_equal(secret.expose());
        if tokens.iter().any(is_twice) {
            let fault =
                "two names have the same token, so the audit log could not distinguish them";
            let help = "give each name a different token";
            entry.error(entry.span(), ValueFault::new(fault, help));
        }
        tokens.push(AdminToken {
            name: name.value.into(),
            role: role.value,
            scope,
            payload: match payload {
                Some(false) => PayloadAccess::Hidden,
                Some(true) | None => PayloadAccess::Shown,
            },
            secret: Arc::new(secret),
        });
    }
    tokens
}

/// Reads `routes` of a token. An error in it stops the load, so that a wrong pattern never widens a token.
fn scope(
    entry: &mut TomlTable<'_>,
    route_patterns: &mut Vec<SpannedValue<GlobPattern>>,
) -> RouteScope {
    let Some(patterns) = entry.list(&TOKEN_ROUTES, |value| {
        let text = value::text(value)?;
        GlobPattern::parse(&text).map_err(|err| {
            let help =
                "write the name of a route, or a pattern in which `*` matches any characters";
            ValueFault::new(format!("`{text}`: {err}"), help)
        })
    }) else {
        return RouteScope::All;
    };
    if patterns.is_empty() {
        let fault = ValueFault::new(
            "a token for no route can see nothing",
            "add names of routes, or remove `routes` for a token that sees all of them",
        );
        entry.error(entry.span(), fault);
    }
    let scope = patterns.iter().map(|pattern| pattern.value.clone());
    let scope = RouteScope::Only(scope.collect());
    route_patterns.extend(patterns);
    scope
}

fn token_name(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let name = value::text(value)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.len() <= MAX_NAME && name.bytes().all(is_plain) {
        return Ok(name);
    }
    Err(ValueFault::new(
        "this is not a valid token name",
        format!("use at most {MAX_NAME} letters, digits, `-`, `_`, `.` and `@`"),
    ))
}

fn listen(value: &TomlValue<'_>, context: &LoadContext) -> Result<AdminListen, ValueFault> {
    let path = value.text().and_then(|text| text.strip_prefix("unix:"));
    if let Some(path) = path {
        // The kernel ends the path of a socket at the first NUL byte.
        return if path.is_empty() || path.contains('\0') {
            Err(ValueFault::new(
                "`unix:` needs a path",
                "for example `\"unix:/run/hookgate/admin.sock\"`",
            ))
        } else {
            Ok(AdminListen::Unix(context.folder.join(PathBuf::from(path))))
        };
    }
    Ok(AdminListen::Tcp(value::socket_address(value)?))
}

/// Returns an error if the address is reachable from other machines but lacks TLS or a token.
fn exposed(address: SocketAddr, has_tls: bool, has_tokens: bool) -> Option<ValueFault> {
    // Without TLS a token could be read on the network; without a token TLS protects nothing.
    let lacks = match (has_tls, has_tokens) {
        (true, true) => return None,
        (true, false) => "a token",
        (false, true) => "TLS",
        (false, false) => "TLS and a token",
    };
    Some(ValueFault::new(
        format!(
            "the admin listener on `{address}` is reachable from other machines but lacks {lacks}"
        ),
        "add `[admin.tls]` with `cert` and `key`, and `token`; or listen on loopback, `\"127.0.0.1:9180\"`, or on `\"unix:/run/hookgate/admin.sock\"`",
    ))
}

/// Keys of the `[admin]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "admin",
    doc: "The admin listener: metrics, health checks, the admin API and the console. Without this section hookgate opens no admin listener. If there is a `[store]`, it opens a Unix socket in the runtime folder of the service.",
    keys: &[&LISTEN, &TOKEN, &TOKENS, &TLS, &HOST],
    required: &["listen"],
    one_of: &[],
};

/// Keys of the `[admin.tls]` section.
pub(super) static TLS_SECTION: SectionDefinition = SectionDefinition {
    path: "admin.tls",
    doc: "The certificate of the admin listener. Required unless it listens on loopback or a Unix socket. Reloaded when the files change.",
    keys: &[&tls::CERT, &tls::KEY],
    required: &["cert", "key"],
    one_of: &[],
};

pub(super) static TLS: KeyDefinition = KeyDefinition {
    name: "tls",
    kind: ValueKind::Table(&TLS_SECTION),
    default: None,
    example: "{ cert = \"/etc/hookgate/tls/admin.pem\", key = \"/etc/hookgate/tls/admin.key\" }",
    doc: "The certificate of the admin listener.",
};

pub(super) static HOST: KeyDefinition = KeyDefinition {
    name: "host",
    kind: ValueKind::OneOrMore(&ValueKind::Text),
    default: None,
    example: "\"gate.example.com\"",
    doc: "Host names that clients may use for the admin listener, in addition to `localhost`, IP addresses and the names of its certificate. Other names are rejected, to prevent DNS rebinding from other websites.",
};

/// Keys of each `[[admin.tokens]]` table.
pub(super) static TOKENS_SECTION: SectionDefinition = SectionDefinition {
    path: "admin.tokens",
    doc: "Named tokens. The audit log records the name, and `role`, `routes` and `payload` limit what the token may see and do.",
    keys: &[&NAME, &ROLE, &TOKEN_ROUTES, &PAYLOAD, &TOKEN],
    required: &["name", "role", "token"],
    one_of: &[],
};

pub(super) static LISTEN: KeyDefinition = KeyDefinition {
    name: "listen",
    kind: ValueKind::Text,
    default: None,
    example: "\"127.0.0.1:9180\"",
    doc: "Address and port, or `unix:/path`, to listen on. An address other than loopback requires `[admin.tls]` and a token.",
};

pub(super) static TOKEN: KeyDefinition = KeyDefinition {
    name: "token",
    kind: ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"admin-token\" }",
    doc: "Bearer token for `/metrics` and the admin API, sent as `Authorization: Bearer TOKEN`. The `token` of `[admin]` has the role `operator`. Over TCP the API requires a token, because every user of the machine can connect.",
};

pub(super) static TOKENS: KeyDefinition = KeyDefinition {
    name: "tokens",
    kind: ValueKind::Tables(&TOKENS_SECTION),
    default: None,
    example: "[{ name = \"ann\", role = \"operator\", token = { credential = \"admin-ann\" } }]",
    doc: "Additional tokens, each with a name and a role.",
};

pub(super) static NAME: KeyDefinition = KeyDefinition {
    name: "name",
    kind: ValueKind::Text,
    default: None,
    example: "\"ann\"",
    doc: "Name of the token's owner, as it appears in the audit log.",
};

pub(super) static ROLE: KeyDefinition = KeyDefinition {
    name: "role",
    kind: ValueKind::Choice(&value::choice_words(&AdminRole::ALL)),
    default: None,
    example: "\"viewer\"",
    doc: "Permissions of the token. A `viewer` can read everything except the audit log, including payloads, and can change nothing. An `operator` can do everything. `routes` and `payload` limit both.",
};

pub(super) static TOKEN_ROUTES: KeyDefinition = KeyDefinition {
    name: "routes",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("all routes, and the gate as a whole"),
    example: "[\"stripe\", \"shop-*\"]",
    doc: "Routes that the token may see and change; `*` matches any characters. Lists, counts, searches, tails, replays and metrics then contain these routes only, and everything else does not exist for the token. What concerns the gate as a whole is refused: the config, its reload, certificates, nodes, the audit log and the counters of the store.",
};

pub(super) static PAYLOAD: KeyDefinition = KeyDefinition {
    name: "payload",
    kind: ValueKind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Whether the token may see what senders sent and apps responded. With `false` it sees ids, types, sizes, times and results, but no body, header value, query or response. Search by text, export of bodies, request files and explanations are refused.",
};
