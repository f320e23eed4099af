//! Signs as providers do, in code of its own. It shares nothing with the code under test, so that both cannot have the
//! same error.

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::unix_now;

/// Provider that a test sender imitates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provider {
    Stripe,
    Github,
    Shopify,
    Slack,
    StandardWebhooks,
    Svix,
    Gitlab,
    XWebhook,
    /// Custom scheme: `[routes.x.scheme]` with `CUSTOM_SCHEME`.
    Custom,
}

/// All providers of the tests.
pub const PROVIDERS: [Provider; 9] = [
    Provider::Stripe,
    Provider::Github,
    Provider::Shopify,
    Provider::Slack,
    Provider::StandardWebhooks,
    Provider::Svix,
    Provider::Gitlab,
    Provider::XWebhook,
    Provider::Custom,
];

/// Contents of the `[routes.NAME.scheme]` table that `Provider::Custom` signs for.
pub const CUSTOM_SCHEME: &str = r#"type = "hmac"
algorithm = "sha256"
encoding = "hex"
signature = { header = "X-Legacy-Signature", prefix = "sha256=" }
signed = "{timestamp}.{body}"
timestamp = { header = "X-Legacy-Timestamp", unit = "ms" }
event_id = { header = "X-Legacy-Id" }
event_type = { json = "/type" }
"#;

impl Provider {
    /// Returns the id, as in `provider = "..."`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Github => "github",
            Self::Shopify => "shopify",
            Self::Slack => "slack",
            Self::StandardWebhooks => "standard_webhooks",
            Self::Svix => "svix",
            Self::Gitlab => "gitlab",
            Self::XWebhook => "x_webhook",
            Self::Custom => "custom",
        }
    }

    /// Returns a secret in the form in which the provider shows it.
    pub fn secret(self) -> &'static str {
        match self {
            Self::StandardWebhooks | Self::Svix => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            _ => "s3cret-of-a-test-0123456789abcdef",
        }
    }

    /// Returns another secret in the same form.
    pub fn other_secret(self) -> &'static str {
        match self {
            Self::StandardWebhooks | Self::Svix => "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            _ => "an0ther-secret-0123456789abcdefgh",
        }
    }

    /// Returns whether the gate checks a timestamp.
    pub fn has_timestamp(self) -> bool {
        !matches!(self, Self::Github | Self::Shopify | Self::Gitlab)
    }

    /// Returns the header with the signature or token.
    pub fn signature_header(self) -> &'static str {
        match self {
            Self::Stripe => "Stripe-Signature",
            Self::Github => "X-Hub-Signature-256",
            Self::Shopify => "X-Shopify-Hmac-Sha256",
            Self::Slack => "X-Slack-Signature",
            Self::StandardWebhooks => "webhook-signature",
            Self::Svix => "svix-signature",
            Self::Gitlab => "X-Gitlab-Token",
            Self::XWebhook => "X-Webhook-Signature",
            Self::Custom => "X-Legacy-Signature",
        }
    }

    /// Returns a route for this provider: `[routes.NAME]` on `/NAME`, with `secret()` and the lines that the test adds.
    pub fn route(self, name: &str, upstream: &str, more: &str) -> String {
        let secret = self.secret();
        self.route_with(name, upstream, &format!("secret = \"{secret}\"\n{more}"))
    }

    /// Returns a route like `route`, but the lines of the test contain the secret.
    pub fn route_with(self, name: &str, upstream: &str, more: &str) -> String {
        let table = format!("[routes.{name}]\npath = \"/{name}\"\nupstream = \"{upstream}\"\n");
        match self {
            Self::Custom => format!("{table}{more}\n[routes.{name}.scheme]\n{CUSTOM_SCHEME}\n"),
            _ => format!("{table}provider = \"{}\"\n{more}\n", self.id()),
        }
    }
}

/// Sender of one provider's events.
#[derive(Clone)]
pub struct Sender {
    pub provider: Provider,
    pub secret: String,
    /// Signed time in seconds; `None` is now.
    pub at: Option<i64>,
}

impl Sender {
    /// Creates a sender with the provider's usual secret.
    pub fn new(provider: Provider) -> Self {
        Self {
            provider,
            secret: provider.secret().to_owned(),
            at: None,
        }
    }

    /// Creates a sender with another secret.
    pub fn with_secret(mut self, secret: &str) -> Self {
        secret.clone_into(&mut self.secret);
        self
    }

    /// Signs with a time that is this much later than now, or earlier if negative.
    pub fn shifted(mut self, seconds: i64) -> Self {
        self.at = Some(unix_now() + seconds);
        self
    }

    /// Signs an event with a unique id, to `/NAME`.
    pub fn event(&self, path: &str) -> Hook {
        let id = format!("evt_{}", uuid::Uuid::now_v7().simple());
        self.event_of(path, &id)
    }

    /// Signs an event with this id.
    pub fn event_of(&self, path: &str, id: &str) -> Hook {
        let body = match self.provider {
            Provider::Stripe => {
                format!(
                    r#"{{"id":"{id}","object":"event","type":"invoice.paid","data":{{"object":{{"amount":1999}}}}}}"#
                )
            }
            Provider::Slack => {
                format!(
                    r#"{{"type":"event_callback","event_id":"{id}","event":{{"type":"message","text":"hi"}}}}"#
                )
            }
            _ => format!(r#"{{"type":"thing.made","number":7,"note":"{id}"}}"#),
        };
        self.sign(path, id, body.as_bytes())
    }

    /// Signs any bytes.
    pub fn sign(&self, path: &str, id: &str, body: &[u8]) -> Hook {
        let at = self.at.unwrap_or_else(unix_now);
        let (seconds, millis) = (at.to_string(), (at * 1000).to_string());
        let mut hook = Hook::bare("POST", path, body).with("content-type", "application/json");
        let secret = self.secret.as_bytes();
        let fields: Vec<(&str, String)> = match self.provider {
            Provider::Stripe => {
                let hex = HEXLOWER.encode(&mac(secret, &[seconds.as_bytes(), b".", body]));
                vec![("Stripe-Signature", format!("t={seconds},v1={hex}"))]
            }
            Provider::Github => vec![
                ("X-GitHub-Event", "push".to_owned()),
                ("X-GitHub-Delivery", id.to_owned()),
                (
                    "X-Hub-Signature-256",
                    format!("sha256={}", HEXLOWER.encode(&mac(secret, &[body]))),
                ),
            ],
            Provider::Shopify => vec![
                ("X-Shopify-Topic", "orders/create".to_owned()),
                ("X-Shopify-Webhook-Id", id.to_owned()),
                ("X-Shopify-Event-Id", id.to_owned()),
                (
                    "X-Shopify-Hmac-Sha256",
                    BASE64.encode(&mac(secret, &[body])),
                ),
            ],
            Provider::Slack => {
                let hex = HEXLOWER.encode(&mac(secret, &[b"v0:", seconds.as_bytes(), b":", body]));
                vec![
                    ("X-Slack-Request-Timestamp", seconds),
                    ("X-Slack-Signature", format!("v0={hex}")),
                ]
            }
            Provider::StandardWebhooks => standard("webhook", &self.secret, id, &seconds, body),
            Provider::Svix => standard("svix", &self.secret, id, &seconds, body),
            Provider::Gitlab => vec![
                ("X-Gitlab-Event", "Push Hook".to_owned()),
                ("X-Gitlab-Event-UUID", id.to_owned()),
                ("X-Gitlab-Webhook-UUID", id.to_owned()),
                ("Idempotency-Key", id.to_owned()),
                ("X-Gitlab-Token", self.secret.clone()),
            ],
            Provider::XWebhook => vec![
                ("X-Webhook-ID", id.to_owned()),
                ("X-Webhook-Timestamp", millis),
                (
                    "X-Webhook-Signature",
                    HEXLOWER.encode(&mac(secret, &[body])),
                ),
            ],
            Provider::Custom => {
                let hex = HEXLOWER.encode(&mac(secret, &[millis.as_bytes(), b".", body]));
                vec![
                    ("X-Legacy-Id", id.to_owned()),
                    ("X-Legacy-Timestamp", millis),
                    ("X-Legacy-Signature", format!("sha256={hex}")),
                ]
            }
        };
        for (name, value) in fields {
            hook = hook.with(name, &value);
        }
        hook
    }
}

fn standard(
    prefix: &str,
    secret: &str,
    id: &str,
    seconds: &str,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let key = BASE64
        .decode(secret.trim_start_matches("whsec_").as_bytes())
        .unwrap();
    let signed = mac(&key, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body]);
    let signature = format!("v1,{}", BASE64.encode(&signed));
    let names = match prefix {
        "svix" => ["svix-id", "svix-timestamp", "svix-signature"],
        _ => ["webhook-id", "webhook-timestamp", "webhook-signature"],
    };
    vec![
        (names[0], id.to_owned()),
        (names[1], seconds.to_owned()),
        (names[2], signature),
    ]
}

/// Computes HMAC-SHA256 over the pieces.
pub fn mac(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    pieces.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().to_vec()
}

/// Request before it is sent; tests may change any field.
#[derive(Clone, Debug)]
pub struct Hook {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Hook {
    /// Creates a request with no headers but `Host` and the length.
    pub fn bare(method: &str, target: &str, body: &[u8]) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: "localhost".to_owned(),
            headers: Vec::new(),
            body: body.to_vec(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        let before = self.headers.len();
        self.headers
            .retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        assert!(self.headers.len() < before, "{name} is not there");
        self
    }

    /// Replaces the value of a header.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value.as_str())
            .expect("the header is there")
    }

    /// Changes the target.
    #[must_use]
    pub fn to(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Changes the host.
    #[must_use]
    pub fn at_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Changes the method.
    #[must_use]
    pub fn by_method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// Flips one bit in the middle of the signed body.
    #[must_use]
    pub fn flip_body_byte(mut self) -> Self {
        let middle = self.body.len() / 2;
        self.body[middle] ^= 1;
        self
    }

    /// Returns the bytes of an HTTP/1.1 request with a declared length.
    pub fn to_http1(&self) -> Vec<u8> {
        let mut bytes = self.head_http1(&format!("content-length: {}\r\n", self.body.len()));
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Returns the bytes of a head with framing lines from the test.
    pub fn head_http1(&self, framing: &str) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n",
            self.method, self.target, self.host
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(framing);
        head.push_str("\r\n");
        head.into_bytes()
    }
}
