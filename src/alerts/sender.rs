//! Sends one message to one receiver: by HTTP, or by mail.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::scheme::standard_webhooks::{ID, SIGNATURE, SigningKey, TIMESTAMP};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use lettre::message::Mailbox;
use lettre::message::header::{
    ContentType, HeaderName as MailHeaderName, HeaderValue as MailHeader,
};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde_json::Value as Json;

use crate::alerts::message::AlertMessage;
use crate::alerts::payload::{discord, json, slack, teams};
use crate::config::model::{ChatFormat, MailSecurity, MailSettings};
use crate::dispatch;
use crate::model::clock::ClockReading;
use crate::model::error::chain;
use crate::net::client::ConnectionPool;

/// Most bytes read of a response.
const MAX_RESPONSE: usize = 16 * 1024;

/// Most characters of a mail's text.
const MAX_MAIL: usize = 64 * 1024;

/// Most characters of a mail's subject.
const MAX_SUBJECT: usize = 200;

/// Round trips of an SMTP dialog, of which each has the timeout.
const SMTP_STEPS: u32 = 4;

/// How the messages of one receiver are sent.
pub(super) enum AlertSender {
    Http(HttpSender),
    Mail(Box<MailSender>),
}

/// Receiver that is posted to.
pub(super) struct HttpSender {
    pub(super) pool: Arc<ConnectionPool>,
    pub(super) url: Uri,
    pub(super) format: HttpFormat,
    /// Keys that sign; only for programs.
    pub(super) keys: Vec<Arc<SigningKey>>,
}

/// Format of a posted message.
#[derive(Clone, Copy)]
pub(super) enum HttpFormat {
    Chat(ChatFormat),
    Json,
}

/// Receiver by mail.
pub(super) struct MailSender {
    pub(super) settings: MailSettings,
    pub(super) ca: Vec<Certificate>,
    pub(super) timeout: Duration,
}

/// Reason why a receiver did not accept a message. The text contains no URL and no credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SendFailure {
    pub(super) text: String,
    /// True if the same message will not be accepted later either.
    pub(super) is_final: bool,
    /// Pause that the receiver asked for.
    pub(super) retry_after: Option<Duration>,
}

impl SendFailure {
    fn temporary(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_final: false,
            retry_after: None,
        }
    }

    fn lasting(text: impl Into<String>) -> Self {
        Self {
            is_final: true,
            ..Self::temporary(text)
        }
    }
}

impl AlertSender {
    /// Sends a message and waits until the receiver has accepted it. `host` names this gate.
    pub(super) async fn send(&self, message: &AlertMessage, host: &str) -> Result<(), SendFailure> {
        match self {
            Self::Http(sender) => sender.send(message, host).await,
            Self::Mail(sender) => sender.send(message, host).await,
        }
    }
}

impl HttpSender {
    async fn send(&self, message: &AlertMessage, host: &str) -> Result<(), SendFailure> {
        let payload = match self.format {
            HttpFormat::Chat(ChatFormat::Slack) => slack::payload(message, host),
            HttpFormat::Chat(ChatFormat::Discord) => discord::payload(message, host),
            HttpFormat::Chat(ChatFormat::Teams) => teams::payload(message, host),
            HttpFormat::Json => json::payload(message, host),
        };
        let request = self.request(message, &payload);
        let request = request.ok_or_else(|| SendFailure::lasting("its URL is not valid"))?;
        let sent = dispatch::exchange(&self.pool, request, Duration::ZERO).await;
        let (response, lease) = sent.map_err(|error| SendFailure::temporary(chain(&error)))?;
        let (head, body) = response.into_parts();
        // Read to its end, so that the connection can be used again. Its text may repeat the URL, so it is not shown.
        lease.drain(body, 0, MAX_RESPONSE).await;
        answered(head.status, &head.headers)
    }

    fn request(&self, message: &AlertMessage, payload: &Json) -> Option<Request<Full<Bytes>>> {
        let body = Bytes::from(serde_json::to_vec(payload).ok()?);
        let authority = self.url.authority()?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(authority.as_str()).ok()?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let agent = concat!("hookgate/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if !self.keys.is_empty() {
            // The time of the attempt, since receivers reject old timestamps.
            let timestamp = ClockReading::read().unix_seconds().to_string();
            let each = self.keys.iter();
            let signatures: Vec<_> = each
                .filter_map(|key| key.sign(&message.id, &timestamp, &body))
                .collect();
            headers.insert(ID, HeaderValue::from_str(&message.id).ok()?);
            headers.insert(TIMESTAMP, HeaderValue::from_str(&timestamp).ok()?);
            headers.insert(
                SIGNATURE,
                HeaderValue::from_str(&signatures.join(" ")).ok()?,
            );
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.path_and_query()?.as_str().parse().ok()?;
        *request.headers_mut() = headers;
        Some(request)
    }
}

/// Judges a response.
fn answered(status: StatusCode, headers: &HeaderMap) -> Result<(), SendFailure> {
    if status.is_success() {
        return Ok(());
    }
    let text = match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::GONE => {
            format!(
                "it responds with {}: check `url`, the webhook may have been removed",
                status.as_u16()
            )
        }
        _ => format!("it responds with {}", status.as_u16()),
    };
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds: Option<u64> = seconds.and_then(|text| text.trim().parse().ok());
    // Other 4xx say that the message or the address is wrong, which no retry changes.
    let is_temporary = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    );
    Err(SendFailure {
        text,
        is_final: !is_temporary && !status.is_server_error(),
        retry_after: seconds.map(Duration::from_secs),
    })
}

impl MailSender {
    async fn send(&self, message: &AlertMessage, host: &str) -> Result<(), SendFailure> {
        let mail = self.mail(message, host);
        let mail = mail.map_err(|error| SendFailure::lasting(chain(&error)))?;
        let transport = self.transport()?;
        // Each step of the dialog has a timeout of its own; this bounds all of them.
        let limit = self.timeout * SMTP_STEPS;
        let sent = tokio::time::timeout(limit, transport.send(mail)).await;
        let sent =
            sent.map_err(|_| SendFailure::temporary("the server did not respond in time"))?;
        sent.map(|_| ()).map_err(|error| SendFailure {
            // A wrong password or recipient is permanent in SMTP, too.
            is_final: error.is_permanent(),
            ..SendFailure::temporary(chain(&error))
        })
    }

    fn mail(&self, message: &AlertMessage, host: &str) -> Result<Message, lettre::error::Error> {
        let subject: String = message.title(host).chars().take(MAX_SUBJECT).collect();
        let domain = self.settings.from.email.domain();
        let mut builder = Message::builder()
            .from(self.settings.from.clone())
            // One for each message, not for each attempt: mailboxes show copies once.
            .message_id(Some(format!("<{}@{domain}>", message.id)))
            .subject(subject);
        for to in &self.settings.to {
            let to: Mailbox = to.clone();
            builder = builder.to(to);
        }
        let mut mail = builder
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{}\n", message.plain(MAX_MAIL, str::to_owned)))?;
        // RFC 3834: keeps vacation programs from answering.
        let name = MailHeaderName::new_from_ascii_str("Auto-Submitted");
        mail.headers_mut()
            .insert_raw(MailHeader::new(name, "auto-generated".to_owned()));
        Ok(mail)
    }

    /// Builds the transport for one message. It holds a copy of the password, so it is dropped after the message.
    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendFailure> {
        let settings = &self.settings;
        let tls = || {
            let builder = TlsParameters::builder(settings.host.clone());
            let builder = match self.ca.is_empty() {
                true => builder,
                false => {
                    let store = lettre::transport::smtp::client::CertificateStore::None;
                    self.ca.iter().cloned().fold(
                        builder.certificate_store(store),
                        lettre::transport::smtp::client::TlsParametersBuilder::add_root_certificate,
                    )
                }
            };
            let built = builder.build_rustls();
            built.map_err(|error| SendFailure::temporary(chain(&error)))
        };
        let tls = match settings.security {
            // Required, since an attacker on the path can remove the server's offer of STARTTLS (RFC 3207, section 6).
            MailSecurity::StartTls => Tls::Required(tls()?),
            MailSecurity::Tls => Tls::Wrapper(tls()?),
            MailSecurity::Off => Tls::None,
        };
        let domain = settings.from.email.domain();
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .hello_name(ClientId::Domain(domain.to_owned()))
            .timeout(Some(self.timeout));
        let builder = match &settings.login {
            None => builder,
            Some((user, password)) => {
                let password = String::from_utf8_lossy(password.expose()).into_owned();
                builder.credentials(Credentials::new(user.clone(), password))
            }
        };
        Ok(builder.build())
    }
}
