//! The keys of `[alerts.NAME]` that only mail has: the server, the login and the addresses.

use std::net::IpAddr;
use std::sync::Arc;

use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use lettre::message::Mailbox;

use crate::config::load_context::LoadContext;
use crate::config::model::{MailSecurity, MailSettings};
use crate::config::secrets;

/// Largest number of recipients of a mail.
const MAX_RECIPIENTS: usize = 50;

/// All keys of this file.
pub(super) static KEYS: [&KeyDefinition; 6] =
    [&SERVER, &SECURITY, &USERNAME, &PASSWORD, &FROM, &TO];

/// Reads the keys of mail; returns `None` if a required one is absent or wrong.
pub(super) fn read(table: &mut TomlTable<'_>, context: &LoadContext) -> Option<MailSettings> {
    let server = table.read_placed(&SERVER, server);
    let security = table.read(&SECURITY, |value| value::choice(value, &MailSecurity::ALL));
    let username = table.read(&USERNAME, value::text);
    let password = table.value(&PASSWORD);
    let password = password.and_then(|value| secrets::read_password(&value, context));
    let from = table.read(&FROM, mailbox);
    let to = table.one_or_more(&TO, mailbox).unwrap_or_default();
    if let (true, Some(span)) = (to.len() > MAX_RECIPIENTS, table.name_span_of(&TO)) {
        let fault = ValueFault::new(
            format!("a mail can have at most {MAX_RECIPIENTS} recipients"),
            "send to a mailing list",
        );
        table.error(span, fault);
    }
    if table.has(&USERNAME) != table.has(&PASSWORD)
        && let Some(span) = table
            .name_span_of(&USERNAME)
            .or(table.name_span_of(&PASSWORD))
    {
        let fault = ValueFault::new(
            "a login needs both `username` and `password`",
            "set both, or remove both",
        );
        table.error(span, fault);
    }
    let server = server?;
    let (host, port) = server.value;
    let security = security.unwrap_or(match port {
        // On port 465 TLS begins with the first byte (RFC 8314, section 3.3).
        Some(465) => MailSecurity::Tls,
        _ => MailSecurity::StartTls,
    });
    if security == MailSecurity::Off && !is_loopback(&host) {
        let fault = ValueFault::new(
            "mail must not leave this machine without TLS",
            "use `security = \"starttls\"` or `\"tls\"`",
        );
        table.error(server.span, fault);
    }
    // Submission (RFC 6409), submission over TLS (RFC 8314), and plain SMTP to a relay on this machine.
    let usual = match security {
        MailSecurity::StartTls => 587,
        MailSecurity::Tls => 465,
        MailSecurity::Off => 25,
    };
    Some(MailSettings {
        host,
        port: port.unwrap_or(usual),
        security,
        login: username.zip(password.map(Arc::new)),
        from: from?,
        to: to.into_iter().map(|one| one.value).collect(),
    })
}

/// Parses `smtp.example.com` or `smtp.example.com:587`.
fn server(value: &TomlValue<'_>) -> Result<(String, Option<u16>), ValueFault> {
    let text = value::text(value)?;
    let fault = || {
        ValueFault::new(
            format!("`{text}` is not a host with an optional port"),
            format!("for example `{}`", SERVER.example),
        )
    };
    let authority: http::uri::Authority = text.parse().map_err(|_| fault())?;
    let host = authority.host();
    // An authority may contain a user, but the login comes from keys of its own.
    if host.is_empty() || text.contains('@') {
        return Err(fault());
    }
    let port = match authority.as_str().strip_prefix(host) {
        Some("") => None,
        Some(rest) => {
            let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
            Some(port.filter(|port| *port > 0).ok_or_else(fault)?)
        }
        None => return Err(fault()),
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

fn mailbox(value: &TomlValue<'_>) -> Result<Mailbox, ValueFault> {
    let text = value::text(value)?;
    text.parse().map_err(|_| {
        ValueFault::new(
            format!("`{text}` is not a mail address"),
            "for example `\"ops@example.com\"` or `\"Hookgate <hookgate@example.com>\"`",
        )
    })
}

/// Returns true for a host of this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    // A URL has an IPv6 address in brackets (RFC 3986, section 3.2.2).
    let bare = host.trim_matches(['[', ']']);
    let address = bare.parse::<IpAddr>();
    address.map_or(bare == "localhost", |ip| ip.to_canonical().is_loopback())
}

pub(super) static SERVER: KeyDefinition = KeyDefinition {
    name: "server",
    kind: ValueKind::Text,
    default: None,
    example: "\"smtp.example.com:587\"",
    doc: "Only `mail`: the SMTP server, with an optional port.",
};

pub(super) static SECURITY: KeyDefinition = KeyDefinition {
    name: "security",
    kind: ValueKind::Choice(&value::choice_words(&MailSecurity::ALL)),
    default: Some("`\"tls\"` for port 465, otherwise `\"starttls\"`"),
    example: "\"tls\"",
    doc: "Only `mail`: `starttls` begins TLS with a command and fails without it; `tls` begins with TLS. `off` only for a server on this machine.",
};

pub(super) static USERNAME: KeyDefinition = KeyDefinition {
    name: "username",
    kind: ValueKind::Text,
    default: None,
    example: "\"hookgate@example.com\"",
    doc: "Only `mail`: user name for the SMTP server.",
};

pub(super) static PASSWORD: KeyDefinition = KeyDefinition {
    name: "password",
    kind: ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"smtp\" }",
    doc: "Only `mail`: password for the SMTP server.",
};

pub(super) static FROM: KeyDefinition = KeyDefinition {
    name: "from",
    kind: ValueKind::Text,
    default: None,
    example: "\"Hookgate <hookgate@example.com>\"",
    doc: "Only `mail`: sender of the messages.",
};

pub(super) static TO: KeyDefinition = KeyDefinition {
    name: "to",
    kind: ValueKind::OneOrMore(&ValueKind::Text),
    default: None,
    example: "[\"ops@example.com\"]",
    doc: "Only `mail`: recipients of the messages.",
};
