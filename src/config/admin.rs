//! `[admin]`: metrics and health for operators, apart from the listeners for strangers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Context;
use crate::config::model::{Admin, AdminListen, AdminToken, Role};
use crate::config::{secrets, tls};
use crate::document::Span;
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table, Value};
use crate::document::value;

/// What the audit log calls the `token` of `[admin]` itself.
const SINGLE: &str = "admin";

const MAX_NAME: usize = 64;

/// `[admin]` with the place that later checks point at.
pub(super) struct ReadAdmin {
    pub(super) admin: Admin,
    pub(super) listen_span: Span,
}

/// Reads the section; none where it is wrong.
pub(super) fn read(mut table: Table<'_>, context: &Context) -> Option<ReadAdmin> {
    let listen = table.require(&LISTEN, |value| listen(value, context));
    let tokens = tokens(&mut table, context);
    let tls = table.table(&TLS).and_then(|table| tls::one(table, context));
    let hosts = table.one_or_more(&HOST, value::host).unwrap_or_default();
    let hosts = hosts.into_iter().map(|host| host.value).collect();
    table.deny_unknown();
    let listen = listen?;
    let is_tls_wanted = table.has(&TLS);
    let has_tokens = !tokens.is_empty() || table.has(&TOKEN) || table.has(&TOKENS);
    match &listen.value {
        AdminListen::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
            if let Some(fault) = exposed(*address, is_tls_wanted, has_tokens) {
                table.error(listen.span, fault.label("not loopback"));
            }
        }
        AdminListen::Unix(_) if is_tls_wanted => {
            let fault = "a Unix socket has no use for `[admin.tls]`: it is for its owner only";
            table.error(
                listen.span,
                Fault::new(fault, "remove the table, or listen on an address"),
            );
        }
        AdminListen::Tcp(_) | AdminListen::Unix(_) => {}
    }
    Some(ReadAdmin {
        admin: Admin {
            listen: listen.value,
            tokens,
            tls,
            hosts,
        },
        listen_span: listen.span,
    })
}

/// `token`, and each of `[[admin.tokens]]`.
fn tokens(table: &mut Table<'_>, context: &Context) -> Vec<AdminToken> {
    let mut tokens = Vec::new();
    let single = table.value(&TOKEN);
    if let Some(secret) = single.and_then(|value| secrets::read_token(&value, context)) {
        tokens.push(AdminToken {
            name: SINGLE.into(),
            role: Role::Operator,
            secret: Arc::new(secret),
        });
    }
    for mut entry in table.tables(&TOKENS) {
        let name = entry.require(&NAME, token_name);
        let role = entry.require(&ROLE, |value| value::choice(value, &Role::ALL));
        let secret = entry.value(&TOKEN);
        if secret.is_none() {
            entry.missing(&TOKEN);
        }
        let secret = secret.and_then(|value| secrets::read_token(&value, context));
        entry.deny_unknown();
        let (Some(name), Some(role), Some(secret)) = (name, role, secret) else {
            continue;
        };
        let others = tokens.iter();
        let mut others = others.filter(|other: &&AdminToken| *other.name == *name.value);
        if others.next().is_some() {
            let fault = format!("there is another token of the name `{}`", name.value);
            entry.error(name.span, Fault::new(fault, "give each a name of its own"));
        }
        let is_twice = |other: &AdminToken| other.secret.is_equal(secret.expose());
        if tokens.iter().any(is_twice) {
            let fault = "two names have this token, so nobody could tell them apart";
            let help = "give each a token of its own";
            entry.error(entry.span(), Fault::new(fault, help));
        }
        tokens.push(AdminToken {
            name: name.value.into(),
            role: role.value,
            secret: Arc::new(secret),
        });
    }
    tokens
}

fn token_name(value: &Value<'_>) -> Result<String, Fault> {
    let name = value::text(value)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.len() <= MAX_NAME && name.bytes().all(is_plain) {
        return Ok(name);
    }
    Err(Fault::new(
        "this cannot be the name of a token",
        format!("letters, digits and `-_.@`, at most {MAX_NAME} of them"),
    ))
}

fn listen(value: &Value<'_>, context: &Context) -> Result<AdminListen, Fault> {
    let path = value.text().and_then(|text| text.strip_prefix("unix:"));
    if let Some(path) = path {
        return if path.is_empty() || path.contains('\0') {
            Err(Fault::new(
                "`unix:` needs a path",
                "for example `\"unix:/run/hookgate/admin.sock\"`",
            ))
        } else {
            Ok(AdminListen::Unix(context.folder.join(PathBuf::from(path))))
        };
    }
    Ok(AdminListen::Tcp(value::socket_address(value)?))
}

/// What an address that others can reach lacks.
fn exposed(address: SocketAddr, has_tls: bool, has_tokens: bool) -> Option<Fault> {
    let lacks = match (has_tls, has_tokens) {
        (true, true) => return None,
        (true, false) => "a token",
        (false, true) => "TLS",
        (false, false) => "TLS and a token",
    };
    Some(Fault::new(
        format!(
            "the admin listener on `{address}` could be reached from other machines, and lacks {lacks}"
        ),
        "add `[admin.tls]` with `cert` and `key`, and `token`; or listen on loopback, `\"127.0.0.1:9180\"`, or on `\"unix:/run/hookgate/admin.sock\"`",
    ))
}

/// `[admin]`.
pub(super) static SECTION: Section = Section {
    path: "admin",
    doc: "Metrics, health, and the API of the inbox, for operators. Without this section there is no admin listener, but for a Unix socket in the service's runtime folder where there is a `[store]`.",
    keys: &[&LISTEN, &TOKEN, &TOKENS, &TLS, &HOST],
    required: &["listen"],
    one_of: &[],
};

/// `[admin.tls]`.
pub(super) static TLS_SECTION: Section = Section {
    path: "admin.tls",
    doc: "The certificate of the admin listener, which any address but loopback needs. Loaded again when its files change.",
    keys: &[&tls::CERT, &tls::KEY],
    required: &["cert", "key"],
    one_of: &[],
};

static TLS: Key = Key {
    name: "tls",
    kind: Kind::Table(&TLS_SECTION),
    default: None,
    example: "{ cert = \"/etc/hookgate/tls/admin.pem\", key = \"/etc/hookgate/tls/admin.key\" }",
    doc: "Its certificate.",
};

static HOST: Key = Key {
    name: "host",
    kind: Kind::OneOrMore(&Kind::Text),
    default: None,
    example: "\"gate.example.com\"",
    doc: "Names under which it may be asked, beside `localhost`, addresses and the names of its certificate. Others are refused, since a page of a stranger can give its own name this address.",
};

/// `[[admin.tokens]]`.
pub(super) static TOKENS_SECTION: Section = Section {
    path: "admin.tokens",
    doc: "Tokens by name, so that the audit log says who did what, and so that some may only look.",
    keys: &[&NAME, &ROLE, &TOKEN],
    required: &["name", "role", "token"],
    one_of: &[],
};

static LISTEN: Key = Key {
    name: "listen",
    kind: Kind::Text,
    default: None,
    example: "\"127.0.0.1:9180\"",
    doc: "An address and port, or `unix:/path`. One that is not loopback needs `[admin.tls]` and a token.",
};

static TOKEN: Key = Key {
    name: "token",
    kind: Kind::Either(&Kind::Text, &Kind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"admin-token\" }",
    doc: "What `/metrics` and the API want as `Authorization: Bearer TOKEN`; the one of `[admin]` itself is an operator's. Over TCP the API answers nobody where there is none, since every user of the machine can connect.",
};

static TOKENS: Key = Key {
    name: "tokens",
    kind: Kind::Tables(&TOKENS_SECTION),
    default: None,
    example: "[{ name = \"ann\", role = \"operator\", token = { credential = \"admin-ann\" } }]",
    doc: "More tokens, each with a name and a role.",
};

static NAME: Key = Key {
    name: "name",
    kind: Kind::Text,
    default: None,
    example: "\"ann\"",
    doc: "Who has it, as the audit log says it.",
};

static ROLE: Key = Key {
    name: "role",
    kind: Kind::Choice(&value::choice_words(&Role::ALL)),
    default: None,
    example: "\"viewer\"",
    doc: "A `viewer` sees all there is but the audit log, payloads included, and changes nothing; an `operator` may do everything.",
};
