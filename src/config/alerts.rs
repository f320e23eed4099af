//! `[alerts.NAME]`: a receiver of alerts, such as a chat channel or a mailbox.

use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::secret::Secret;
use http::Uri;

use crate::config::alerts_mail::{self, FROM, PASSWORD, SECURITY, SERVER, TO, USERNAME};
use crate::config::load_context::LoadContext;
use crate::config::model::{AlertSection, AlertTarget, ChatFormat};
use crate::config::{destination, secrets, sign_upstream};
use crate::model::problem::ProblemKind;

/// Largest number of receivers. Each has a queue and a task.
const MAX_RECEIVERS: usize = 32;

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
    let mail = alerts_mail::read(table, context);
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
            unfit.extend(alerts_mail::KEYS);
            vec![&URL, &SECRET]
        }
        ReceiverType::Slack | ReceiverType::Discord | ReceiverType::Teams => {
            unfit.extend(alerts_mail::KEYS);
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
    if url.scheme_str() != Some("https") && !alerts_mail::is_loopback(host) {
        return Err(ValueFault::new(
            "alerts must not leave this machine without TLS",
            "use an `https://` URL",
        ));
    }
    Ok(url)
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
