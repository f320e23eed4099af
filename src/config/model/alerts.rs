//! Checked values of `[alerts.NAME]` and `[watch]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::model::secret::Secret;
use hookgate_verify::scheme::standard_webhooks::SigningKey;
use http::Uri;
use lettre::message::Mailbox;

use crate::model::problem::ProblemKind;

/// Settings of one receiver of alerts: `[alerts.NAME]`.
pub struct AlertSection {
    /// NAME of the receiver's table.
    pub name: String,
    /// How and where messages are sent.
    pub target: AlertTarget,
    /// The kinds of problems that it is notified about.
    pub conditions: Vec<ProblemKind>,
    /// Most messages in an hour.
    pub max_per_hour: u32,
    /// Repeats problems that last, at growing intervals.
    pub reminders: bool,
    /// CAs that the receiver's certificate must chain to; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Time limit to connect, and for a response.
    pub timeout: Duration,
}

impl AlertSection {
    /// Returns the `type` of the receiver.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match &self.target {
            AlertTarget::Chat { format, .. } => match format {
                ChatFormat::Slack => "slack",
                ChatFormat::Discord => "discord",
                ChatFormat::Teams => "teams",
            },
            AlertTarget::Webhook { .. } => "webhook",
            AlertTarget::Mail(_) => "mail",
        }
    }
}

/// How and where the messages of a receiver are sent.
pub enum AlertTarget {
    /// An incoming webhook of a chat service. Its URL is all that a post needs, so it is a credential.
    Chat {
        /// The format of the service.
        format: ChatFormat,
        /// The URL of the webhook.
        url: Uri,
    },
    /// A program of the operator, which gets JSON that is signed by Standard Webhooks.
    Webhook {
        /// The URL of the program.
        url: Uri,
        /// The keys that sign.
        keys: Vec<Arc<SigningKey>>,
    },
    /// Mail.
    Mail(MailSettings),
}

/// Format of a chat service (`type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChatFormat {
    /// Slack, and what accepts its messages, such as Mattermost.
    Slack,
    /// Discord.
    Discord,
    /// Microsoft Teams, by its Workflows.
    Teams,
}

/// Settings of mail.
pub struct MailSettings {
    /// Name or address of the SMTP server.
    pub host: String,
    /// Port of the SMTP server.
    pub port: u16,
    /// How the connection is protected.
    pub security: MailSecurity,
    /// User and password, if the server wants them.
    pub login: Option<(String, Arc<Secret>)>,
    /// Sender of the messages.
    pub from: Mailbox,
    /// Recipients of the messages.
    pub to: Vec<Mailbox>,
}

/// Protection of the connection to an SMTP server (`security`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MailSecurity {
    /// TLS after a `STARTTLS` command, which must succeed.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// No TLS.
    Off,
}

impl MailSecurity {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("starttls", Self::StartTls),
        ("tls", Self::Tls),
        ("off", Self::Off),
    ];
}

/// Settings of `[watch]`: what counts as a problem.
#[derive(Clone, PartialEq, Debug)]
pub struct WatchSection {
    /// Time between two looks for problems.
    pub interval: Duration,
    /// Dead letters of a destination from which they are a problem.
    pub dead_letters: u64,
    /// Time for which a breaker is open before it is a problem; `None`: never.
    pub breaker_open: Option<Duration>,
    /// Age of the oldest pending delivery; `None`: never.
    pub backlog_age: Option<Duration>,
    /// Time before its end at which a certificate is a problem.
    pub certificate_expiry: Duration,
    /// Time before its end at which a secret is a problem.
    pub secret_expiry: Duration,
    /// Age of published ranges; `None`: never.
    pub ranges_age: Option<Duration>,
    /// Share of a limit of the store, from 0 to 1; `None`: never.
    pub store_full: Option<f64>,
    /// Rejected requests of a route within an hour, below which they are never a problem; `None`: never one.
    pub refusals: Option<u64>,
    /// Multiple of its usual gap after which a route is quiet; `None`: never.
    pub quiet: Option<f64>,
}

/// When a route counts as quiet (`quiet_after`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuietRule {
    /// After a multiple of its usual gap, which is learned.
    Learned,
    /// After a fixed time without an event.
    After(Duration),
    /// Never.
    Off,
}
