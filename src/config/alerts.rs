//! `[alerts.NAME]`: a receiver of alerts, such as a chat channel or a mailbox.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::secret::Secret;
use http::Uri;
use lettre::message::Mailbox;

use crate::config::load_context::LoadContext;
use crate::config::model::{AlertSection, AlertTarget, ChatFormat, MailSecurity, MailSettings};
use crate::config::{destination, secrets, sign_upstream};
use crate::model::problem::ProblemKind;

/// Largest number of receivers. Each has a queue and a task.
const MAX_RECEIVERS: usize = 32;

/// Largest number of recipients of a mail.
const MAX_RECIPIENTS: usize = 50;

const DEFAULT_PER_HOUR: u64 = 12;

/// Most messages in an hour that a receiver may want.
const MAX_PER_HOUR: u64 = 1000;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Kind of a receiver (`type`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReceiverType {
    Slack,
    Discord,
    Teams,
    Webhook,
    Mail,
}

const TYPES: [(&str, ReceiverType); 5] = [
    ("slack", ReceiverType::Slack),
    ("discord", ReceiverType::Discord),
    ("teams", ReceiverType::Teams),
    ("webhook", ReceiverType::Webhook),
    ("mail", ReceiverType::Mail),
];

/// Keys that only receivers by HTTP have.
static HTTP_KEYS: [&KeyDefinition; 1] = [&URL];

/// Keys that only mail has.
static MAIL_KEYS: [&KeyDefinition; 6] = [&SERVER, &SECURITY, &USERNAME, &PASSWORD, &FROM, &TO];

/// Reads all receivers, sorted by name.
pub(super) fn read_all(
    root: &mut TomlTable<'_>,
    key: &KeyDefinition,
    context: &LoadContext,
) -> Vec<AlertSection> {
    let tables = root.named_tables(key);
    if tables.len() > MAX_RECEIVERS
        && let Some(span) = root.name_span_of(key)
    {
        let fault = ValueFault::new(
            format!("a gate can have at most {MAX_RECEIVERS} receivers of alerts"),
            "send to one receiver that distributes the alerts",
        );
        root.error(span, fault);
    }
    let each = tables.into_iter();
    each.filter_map(|(name, mut table)| read(name, &mut table, context))
        .collect()
}

fn read(name: &str, table: &mut TomlTable<'_>, context: &LoadContext) -> Option<AlertSection> {
    destination::check_name(name, table);
    let kind = table.require(&TYPE, |value| value::choice(value, &TYPES));
    // Every key is read for every type, so that all errors of the table appear at once.
    let url = url(table, kind.map(|kind| kind.value), context);
    let keys = sign_upstream::read_keys(table, &SECRET, None, context);
    let mail = mail(table, context);
    let conditions = table.list(&CONDITIONS, |value| value::choice(value, &ProblemKind::ALL));
    let max_per_hour = table.read(&MAX_PER_HOUR_KEY, |value| {
        let count = value::count(value)?;
        match count <= MAX_PER_HOUR {
            true => Ok(count),
            false => Err(ValueFault::new(
                format!("{count} messages in an hour are a flood"),
                format!("set at most {MAX_PER_HOUR}"),
            )),
        }
    });
    let reminders = table.read(&REMINDERS, value::boolean);
    let ca = table.read(&CA, value::path);
    let timeout = table.read(&TIMEOUT, value::duration);
    table.deny_unknown();
    // Only here, after every key was read, so that a wrong `type` hides no other error.
    let kind = kind?.value;
    check_keys(table, kind);
    let chat = |format, url| AlertTarget::Chat { format, url };
    let target = match kind {
        ReceiverType::Slack => chat(ChatFormat::Slack, url?),
        ReceiverType::Discord => chat(ChatFormat::Discord, url?),
        ReceiverType::Teams => chat(ChatFormat::Teams, url?),
        ReceiverType::Webhook => AlertTarget::Webhook { url: url?, keys },
        ReceiverType::Mail => AlertTarget::Mail(mail?),
    };
    let conditions = conditions.map(|list| list.into_iter().map(|one| one.value).collect());
    let all = || ProblemKind::ALL.into_iter().map(|(_, kind)| kind).collect();
    Some(AlertSection {
        name: name.to_owned(),
        target,
        conditions: conditions.unwrap_or_else(all),
        max_per_hour: u32::try_from(max_per_hour.unwrap_or(DEFAULT_PER_HOUR)).unwrap_or(u32::MAX),
        reminders: reminders.unwrap_or(true),
        ca: ca.map(|path| context.folder.join(path)),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
    })
}

/// Reports keys that are missing, and keys that have no effect for this type.
fn check_keys(table: &TomlTable<'_>, kind: ReceiverType) {
    let word = value::choice_word(&TYPES, &kind);
    let mut unfit: Vec<&KeyDefinition> = Vec::new();
    let wanted: Vec<&KeyDefinition> = match kind {
        ReceiverType::Mail => {
            unfit.extend(HTTP_KEYS);
            unfit.push(&SECRET);
            vec![&SERVER, &FROM, &TO]
        }
        ReceiverType::Webhook => {
            unfit.extend(MAIL_KEYS);
            vec![&URL, &SECRET]
        }
        ReceiverType::Slack | ReceiverType::Discord | ReceiverType::Teams => {
            unfit.extend(MAIL_KEYS);
            unfit.push(&SECRET);
            vec![&URL]
        }
    };
    for key in wanted.into_iter().filter(|key| !table.has(key)) {
        table.missing(key);
    }
    for key in unfit {
        if let Some(span) = table.name_span_of(key) {
            let fault = ValueFault::new(
                format!(
                    "`{}` has no meaning for a receiver of type `{word}`",
                    key.name
                ),
                "remove it",
            );
            table.error(span, fault);
        }
    }
}

/// Reads the URL. The URL of a chat webhook is a credential: it is all that a post needs.
fn url(
    table: &mut TomlTable<'_>,
    kind: Option<ReceiverType>,
    context: &LoadContext,
) -> Option<Uri> {
    let value = table.value(&URL)?;
    // An unknown type counts as a chat, so that its URL is treated as a secret, too.
    let is_credential = kind != Some(ReceiverType::Webhook);
    let secret = match value.text() {
        Some(text) if !is_credential => Secret::new(text.as_bytes().to_vec()),
        _ => secrets::read_url(&value, context)?,
    };
    let parsed = value.check(|_| parse_url(&secret))?;
    Some(parsed.value)
}

fn parse_url(secret: &Secret) -> Result<Uri, ValueFault> {
    let text = std::str::from_utf8(secret.expose()).unwrap_or_default();
    let url = value::parse_destination_url(text)?;
    let host = url.host().unwrap_or_default();
    // Outside of this machine everyone on the way could read the credential and the alerts.
    if url.scheme_str() != Some("https") && !is_loopback(host) {
        return Err(ValueFault::new(
            "alerts must not leave this machine without TLS",
            "use an `https://` URL",
        ));
    }
    Ok(url)
}

fn is_loopback(host: &str) -> bool {
    // A URL has an IPv6 address in brackets (RFC 3986, section 3.2.2).
    let bare = host.trim_matches(['[', ']']);
    let address = bare.parse::<IpAddr>();
    address.map_or(bare == "localhost", |ip| ip.to_canonical().is_loopback())
}

/// Reads the keys of mail; returns `None` if a required one is absent or wrong.
fn mail(table: &mut TomlTable<'_>, context: &LoadContext) -> Option<MailSettings> {
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

/// Keys of the `[alerts.NAME]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "alerts.NAME",
    doc: "A receiver of alerts, named by you: a chat channel, a program or a mailbox. It gets a message when a problem appears, gets worse or is over. `[watch]` sets what counts as a problem.",
    keys: &[
        &TYPE,
        &URL,
        &SECRET,
        &SERVER,
        &SECURITY,
        &USERNAME,
        &PASSWORD,
        &FROM,
        &TO,
        &CONDITIONS,
        &MAX_PER_HOUR_KEY,
        &REMINDERS,
        &CA,
        &TIMEOUT,
    ],
    required: &["type"],
    one_of: &[],
};

pub(super) static TYPE: KeyDefinition = KeyDefinition {
    name: "type",
    kind: ValueKind::Choice(&value::choice_words(&TYPES)),
    default: None,
    example: "\"slack\"",
    doc: "Kind of the receiver: an incoming webhook of `slack` (also Mattermost and others that accept its messages), `discord` or `teams` (Workflows), a program of yours (`webhook`), or `mail`.",
};

pub(super) static URL: KeyDefinition = KeyDefinition {
    name: "url",
    kind: ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"slack-webhook\" }",
    doc: "URL that messages are posted to. The URL of a chat webhook is a credential, so keep it out of the config file. `http://` only on this machine.",
};

pub(super) static SECRET: KeyDefinition = KeyDefinition {
    name: "secret",
    kind: sign_upstream::SIGN_UPSTREAM.kind,
    default: None,
    example: "{ credential = \"alert-key\" }",
    doc: "Only `webhook`: keys that sign each message according to Standard Webhooks, as `secret` of a destination.",
};

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

pub(super) static CONDITIONS: KeyDefinition = KeyDefinition {
    name: "conditions",
    kind: ValueKind::List(&ValueKind::Choice(&value::choice_words(&ProblemKind::ALL))),
    default: Some("all"),
    example: "[\"quiet\", \"dead_letters\", \"certificate\"]",
    doc: "Kinds of problems that the receiver is notified about.",
};

// Enough for a bad hour with every problem in a message of its own, and not enough to bury a channel.
pub(super) static MAX_PER_HOUR_KEY: KeyDefinition = KeyDefinition {
    name: "max_per_hour",
    kind: ValueKind::Count,
    default: Some("12"),
    example: "4",
    doc: "Most messages in an hour. What happens beyond it waits for the next message, which sums it up.",
};

pub(super) static REMINDERS: KeyDefinition = KeyDefinition {
    name: "reminders",
    kind: ValueKind::Bool,
    default: Some("true"),
    example: "false",
    doc: "Reminds of problems that last and are not acknowledged, at growing intervals: after 4 hours, 12 hours, 1 day, 3 days, and then every 7 days.",
};

pub(super) static CA: KeyDefinition = KeyDefinition {
    name: "ca",
    kind: ValueKind::Path,
    default: Some("the system's CAs"),
    example: "\"internal-ca.pem\"",
    doc: "PEM file with the CAs that the receiver's certificate must chain to.",
};

pub(super) static TIMEOUT: KeyDefinition = KeyDefinition {
    name: "timeout",
    kind: ValueKind::Duration,
    default: Some("\"10s\""),
    example: "\"30s\"",
    doc: "Maximum time to send a message. After that it is sent again later.",
};
