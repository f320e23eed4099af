//! Makes events of a provider and signs them as the provider does, with a secret that both sides know.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers::{self, Provider};
use hookgate_verify::scheme::spec::{
    SchemeFamily, SchemeLocation, SchemeSpec, SecretEncoding, TokenLocation,
};
use hookgate_verify::scheme::{RequestHead, Scheme, ToSign, with_query};
use http::{HeaderName, Method, Uri};

use crate::model::clock::ClockReading;
use crate::net::request_file::RequestFile;
use crate::testing::error::TestingError;
use crate::testing::exchange::split;
use crate::testing::{payloads, placeholders, shape};

/// Sender of one provider's events to one URL.
pub struct EventSender {
    /// Id of the provider; empty for a custom scheme.
    provider: String,
    spec: SchemeSpec,
    scheme: Scheme,
    target: String,
    public_url: String,
}

/// Returns true if the secret of a route is enough to sign events of this provider.
#[must_use]
pub fn can_send(provider: &Provider) -> bool {
    provider.scheme.can_be_signed()
}

/// Generates a secret in the form that the scheme requires.
#[must_use]
pub fn new_secret(spec: &SchemeSpec) -> String {
    // 24 bytes: `check` warns of secrets shorter than 16 bytes.
    let mut bytes = [0; 24];
    placeholders::fresh(&mut bytes);
    if matches!(&spec.family, SchemeFamily::Token(token) if matches!(token.location, TokenLocation::Basic))
    {
        // The secret of HTTP Basic is `user:password`.
        return format!("user:{}", HEXLOWER.encode(&bytes));
    }
    let form = spec.secret_form();
    let prefix = &form.strip_prefix;
    match form.encoding {
        SecretEncoding::Base64 => format!("{prefix}{}", BASE64.encode(&bytes)),
        SecretEncoding::Utf8 | SecretEncoding::Hex => {
            format!("{prefix}{}", HEXLOWER.encode(&bytes))
        }
    }
}

impl EventSender {
    /// Creates a sender for a provider.
    ///
    /// `secret` has the form in which the provider shows it. `url` is the target of the events, which some providers
    /// sign.
    ///
    /// # Errors
    /// The provider is unknown or its events cannot be signed here, the secret does not have the form of the provider,
    /// or the URL is invalid.
    pub fn new(provider: &str, secret: &str, url: &str) -> Result<Self, TestingError> {
        let known = known(provider)?;
        let secret = Secret::new(secret.as_bytes().to_vec());
        Self::with(&known.scheme, Some(provider), &secret, url, None)
    }

    /// Creates a sender for a scheme.
    ///
    /// `public_url` is the origin that the receiver verifies, if it differs from the origin of `url`.
    ///
    /// # Errors
    /// As for [`EventSender::new`].
    pub fn with(
        spec: &SchemeSpec,
        provider: Option<&str>,
        secret: &Secret,
        url: &str,
        public_url: Option<&str>,
    ) -> Result<Self, TestingError> {
        let provider = provider.unwrap_or_default().to_owned();
        // Before the URL: this error says more than an invalid URL would.
        check_signable(spec, &provider)?;
        let (origin, target) = split(url)?;
        let public_url = public_url.map_or(origin, str::to_owned);
        let scheme = Scheme::compile(spec, &[secret], Some(&public_url))?;
        Ok(Self {
            provider,
            spec: spec.clone(),
            scheme,
            target,
            public_url,
        })
    }

    /// Creates the same sender with a generated secret, which the receiver does not have.
    ///
    /// # Errors
    /// The generated secret does not fit the scheme, which does not happen for the built-in providers.
    pub fn with_wrong_secret(&self) -> Result<Self, TestingError> {
        let secret = Secret::new(new_secret(&self.spec).into_bytes());
        let scheme = Scheme::compile(&self.spec, &[&secret], Some(&self.public_url))?;
        Ok(Self {
            provider: self.provider.clone(),
            spec: self.spec.clone(),
            scheme,
            target: self.target.clone(),
            public_url: self.public_url.clone(),
        })
    }

    /// Returns the scheme of the sender.
    #[must_use]
    pub fn spec(&self) -> &SchemeSpec {
        &self.spec
    }

    /// Returns the location of the signature or token, or `None` if it is not in the head.
    #[must_use]
    pub fn signature_location(&self) -> Option<SchemeLocation> {
        match &self.spec.family {
            SchemeFamily::Hmac(family) => Some(family.signature.location.clone()),
            SchemeFamily::Text(family) => family.signatures.first().map(|one| one.location.clone()),
            SchemeFamily::Token(family) => match &family.location {
                TokenLocation::Header { name, .. } => Some(SchemeLocation::Header(name.clone())),
                TokenLocation::Query(name) => Some(SchemeLocation::Query(name.clone())),
                TokenLocation::Basic => Some(SchemeLocation::Header(http::header::AUTHORIZATION)),
                _ => None,
            },
            SchemeFamily::Http(_) => {
                Some(SchemeLocation::Header(HeaderName::from_static("signature")))
            }
            SchemeFamily::Jwt(_) | SchemeFamily::Certificate(_) => None,
        }
    }

    /// Makes a new event of this type, signed with the current time. Without a type, uses the first payload of the
    /// provider.
    ///
    /// # Errors
    /// The provider has no payload of this type.
    pub fn event(&self, event_type: Option<&str>) -> Result<RequestFile, TestingError> {
        let now = ClockReading::read().unix_ms;
        let mut event = self.draft(event_type, now)?;
        self.sign(&mut event, now)?;
        Ok(event)
    }

    /// Makes a new event of this type with this time, but does not sign it.
    ///
    /// # Errors
    /// As for [`EventSender::event`].
    pub fn draft(
        &self,
        event_type: Option<&str>,
        unix_ms: i64,
    ) -> Result<RequestFile, TestingError> {
        let mut known = payloads::of(&self.provider);
        // Types compare without case, so that a user can type them as the documentation spells them.
        let payload = match event_type {
            None => known.next(),
            Some(asked) => known.find(|payload| payload.event_type.eq_ignore_ascii_case(asked)),
        };
        let event = match payload {
            Some(payload) => {
                let mut event = payload.event(unix_ms)?;
                self.name_type(&mut event, payload.event_type);
                event
            }
            None => self.unknown(event_type, unix_ms)?,
        };
        Ok(self.aimed(event))
    }

    /// Makes an event with this body, but does not sign it. The type is set only if the provider sends it in a header.
    #[must_use]
    pub fn draft_of(&self, event_type: Option<&str>, body: Bytes) -> RequestFile {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
        // A guess by the content, like that of curl's users: forms have no line breaks.
        let is_form = !is_json && body.contains(&b'=') && !body.contains(&b'\n');
        let mut event = RequestFile::new(Method::POST, "/", body);
        let content_type = match (is_json, is_form) {
            (true, _) => "application/json",
            (_, true) => "application/x-www-form-urlencoded",
            _ => "text/plain",
        };
        event.set_header("Content-Type", content_type);
        if let Some(event_type) = event_type {
            self.name_type(&mut event, event_type);
        }
        self.aimed(event)
    }

    /// Signs an event. Replaces an existing signature, but keeps the event id.
    ///
    /// # Errors
    /// The event lacks a value that the scheme signs.
    pub fn sign(&self, event: &mut RequestFile, unix_ms: i64) -> Result<(), TestingError> {
        let target: Uri = event
            .target
            .parse()
            .map_err(|_| TestingError::Url(event.target.clone()))?;
        // The id comes first, since many schemes sign it.
        let id = self.spec.id_header().map(|name| self.id(event, name));
        let headers = event.header_map()?;
        let to_sign = ToSign {
            head: RequestHead {
                method: &event.method,
                uri: &target,
                headers: &headers,
            },
            unix_ms,
            id: id.as_deref(),
            body: &event.body,
        };
        let stamp = self.scheme.sign(0, &to_sign)?;
        for (name, value) in stamp.headers {
            event.set_header(name.as_str(), &value);
        }
        if !stamp.query.is_empty() {
            let target = with_query(&target, &stamp.query);
            event.target = target.map_or_else(|| event.target.clone(), |uri| uri.to_string());
        }
        Ok(())
    }

    /// Returns the event id in a header, or generates one in the form that such senders use.
    fn id(&self, event: &RequestFile, name: &HeaderName) -> String {
        match event.header(name.as_str()) {
            Some(id) => id.to_owned(),
            // Svix and the senders of Standard Webhooks write ids like this.
            None if self.scheme_signs_id() => format!("msg_{}", placeholders::alnum(27)),
            None => placeholders::uuid(),
        }
    }

    fn scheme_signs_id(&self) -> bool {
        self.spec.signs_event_id()
    }

    fn name_type(&self, event: &mut RequestFile, event_type: &str) {
        for field in &self.spec.event_type {
            // Headers only: a type in the body is part of the payload.
            if let hookgate_verify::scheme::spec::FieldLocation::Header(name) = field {
                event.set_header(name.as_str(), event_type);
                return;
            }
        }
    }

    /// Makes an event with only the values that the scheme reads. Rejects an unknown type if the provider has payloads.
    fn unknown(&self, asked: Option<&str>, unix_ms: i64) -> Result<RequestFile, TestingError> {
        let known: Vec<_> = payloads::of(&self.provider).collect();
        match asked {
            Some(asked) if !known.is_empty() => Err(TestingError::NoPayload {
                provider: self.provider.clone(),
                requested: asked.to_owned(),
                known: known
                    .iter()
                    .map(|payload| payload.event_type)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
            _ => Ok(shape::least(&self.spec, asked, unix_ms)),
        }
    }

    /// Sets the target to that of the URL, followed by the query parameters that the draft already has.
    fn aimed(&self, mut event: RequestFile) -> RequestFile {
        let added = event.target.split_once('?').map(|(_, query)| query);
        event.target = match added {
            None => self.target.clone(),
            Some(query) => {
                let mark = if self.target.contains('?') { '&' } else { '?' };
                format!("{}{mark}{query}", self.target)
            }
        };
        event
    }
}

/// Finds a provider by its id.
pub(super) fn known(provider: &str) -> Result<Arc<Provider>, TestingError> {
    let found = providers::find(provider);
    found.ok_or_else(|| TestingError::NoProvider(provider.to_owned()))
}

fn check_signable(spec: &SchemeSpec, provider: &str) -> Result<(), TestingError> {
    if spec.can_be_signed() {
        return Ok(());
    }
    let why = match &spec.family {
        SchemeFamily::Jwt(_) | SchemeFamily::Certificate(_) => {
            "only the provider has the signing key"
        }
        SchemeFamily::Text(_) | SchemeFamily::Http(_) if spec.is_public_key() => {
            "only the provider has the private key"
        }
        SchemeFamily::Text(_)
        | SchemeFamily::Token(_)
        | SchemeFamily::Hmac(_)
        | SchemeFamily::Http(_) => "the signature or the token is inside the body",
    };
    Err(TestingError::NotSignable(provider.to_owned(), why))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hookgate_verify::signature::SignatureVerifier;

    use super::*;
    use crate::config::model::SecretEntry;

    /// Verifies an event with the verification of the gate.
    fn is_taken(sender: &EventSender, secret: &str, event: &RequestFile) -> Result<(), String> {
        let entry = SecretEntry::new("1", Secret::new(secret.as_bytes().to_vec()));
        let public_url = Some(sender.public_url.as_str());
        let keys =
            SignatureVerifier::new(&sender.spec, &[entry], public_url, Duration::from_mins(5));
        let keys = keys.map_err(|error| error.to_string())?;
        let (uri, headers) = (event.target.parse().unwrap(), event.header_map().unwrap());
        let head = RequestHead {
            method: &event.method,
            uri: &uri,
            headers: &headers,
        };
        let pending = keys.open(head, ClockReading::read().unix_ms);
        let mut pending = pending.map_err(|reject| format!("{reject:?}"))?;
        pending.update(&event.body);
        let signed = pending.finish(&event.body, None);
        signed.map(|_| ()).map_err(|reject| format!("{reject:?}"))
    }

    // Fails when the gate would reject events of a provider that this module can sign for.
    #[test]
    fn every_sender_signs_what_the_gate_accepts() {
        let mut failed = Vec::new();
        for provider in providers::all().iter().filter(|one| can_send(one)) {
            let secret = new_secret(&provider.scheme);
            let url = "https://hooks.example.com/in?a=1";
            let sender = EventSender::new(&provider.id, &secret, url).unwrap();
            let wrong = sender.with_wrong_secret().unwrap();
            let mut types: Vec<_> = payloads::of(&provider.id)
                .map(|one| one.event_type)
                .collect();
            types.push("");
            for event_type in types {
                let event_type = Some(event_type).filter(|one| !one.is_empty());
                let event = sender.event(event_type);
                let taken = event.map_err(|error| error.to_string());
                let taken = taken.and_then(|event| is_taken(&sender, &secret, &event));
                let other = wrong.event(event_type).map_err(|error| error.to_string());
                let other = other.and_then(|event| is_taken(&sender, &secret, &event));
                if taken.is_err() || other.is_ok() {
                    failed.push(format!("{} {event_type:?}: {taken:?}", provider.id));
                }
            }
        }
        assert!(failed.is_empty(), "{failed:#?}");
    }

    #[test]
    fn an_event_that_is_signed_again_keeps_its_id() {
        let sender = EventSender::new(
            "svix",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "http://a/",
        )
        .unwrap();
        let mut event = sender.event(None).unwrap();
        let before = event.clone();
        sender
            .sign(&mut event, ClockReading::read().unix_ms + 60_000)
            .unwrap();
        assert_eq!(event.header("svix-id"), before.header("svix-id"));
        assert_ne!(
            event.header("svix-signature"),
            before.header("svix-signature")
        );
    }
}
