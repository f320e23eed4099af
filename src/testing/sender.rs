//! Makes events of a provider and signs them as it does, under a secret that both sides know.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderName, Method, Uri};

use crate::model::clock::Now;
use crate::model::secret::Secret;
use crate::net::request_file::RequestFile;
use crate::providers::{self, Provider};
use crate::scheme::spec::{Family, Place, SecretEncoding, Spec, TokenPlace};
use crate::scheme::{Head, Scheme, ToSign, with_query};
use crate::testing::exchange::split;
use crate::testing::{TestingError, fill, payloads, shape};

/// Signs events of one provider for one URL.
pub struct Sender {
    /// Its id; empty for a scheme of one's own.
    provider: String,
    spec: Spec,
    scheme: Scheme,
    target: String,
    public_url: String,
}

/// Whether who has the secret can make events of this provider.
#[must_use]
pub fn can_send(provider: &Provider) -> bool {
    provider.scheme.can_be_signed()
}

/// A fresh secret in the form in which this provider's are.
#[must_use]
pub fn new_secret(spec: &Spec) -> String {
    let mut bytes = [0; 24];
    fill::fresh(&mut bytes);
    if matches!(&spec.family, Family::Token(token) if matches!(token.place, TokenPlace::Basic)) {
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

impl Sender {
    /// A sender of a provider that hookgate knows, with the secret as the provider shows it, and the URL where the events
    /// go: some providers sign it.
    ///
    /// # Errors
    /// There is no such provider, it cannot be signed for, the secret is none of its secrets, or the URL is none.
    pub fn new(provider: &str, secret: &str, url: &str) -> Result<Self, TestingError> {
        let known = known(provider)?;
        let secret = Secret::new(secret.as_bytes().to_vec());
        Self::with(&known.scheme, Some(provider), &secret, url, None)
    }

    /// The same with a scheme; `public_url` is the origin that the receiver believes to have, where that is another one
    /// than the URL's.
    ///
    /// # Errors
    /// As for [`Sender::new`].
    pub fn with(
        spec: &Spec,
        provider: Option<&str>,
        secret: &Secret,
        url: &str,
        public_url: Option<&str>,
    ) -> Result<Self, TestingError> {
        let provider = provider.unwrap_or_default().to_owned();
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

    /// The same with another secret, which the receiver does not know.
    ///
    /// # Errors
    /// Not in practice.
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

    /// How it signs.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Where the signature or the token stands.
    #[must_use]
    pub fn signature_place(&self) -> Option<Place> {
        match &self.spec.family {
            Family::Hmac(family) => Some(family.signature.place.clone()),
            Family::Text(family) => family.signatures.first().map(|one| one.place.clone()),
            Family::Token(family) => match &family.place {
                TokenPlace::Header { name, .. } => Some(Place::Header(name.clone())),
                TokenPlace::Query(name) => Some(Place::Query(name.clone())),
                TokenPlace::Basic => Some(Place::Header(http::header::AUTHORIZATION)),
                _ => None,
            },
            Family::Http(_) => Some(Place::Header(HeaderName::from_static("signature"))),
            Family::Jwt(_) | Family::Certificate(_) => None,
        }
    }

    /// A new event of this type, signed now; without a type the first that there is.
    ///
    /// # Errors
    /// There is no payload of this type.
    pub fn event(&self, event_type: Option<&str>) -> Result<RequestFile, TestingError> {
        let now = Now::read().unix_ms;
        let mut event = self.draft(event_type, now)?;
        self.sign(&mut event, now)?;
        Ok(event)
    }

    /// A new event of this type as of this time, not signed yet.
    ///
    /// # Errors
    /// As for [`Sender::event`].
    pub fn draft(
        &self,
        event_type: Option<&str>,
        unix_ms: i64,
    ) -> Result<RequestFile, TestingError> {
        let mut known = payloads::of(&self.provider);
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

    /// An event with this body, not signed yet. The type goes where it stands in the head; in the body it is what it is.
    #[must_use]
    pub fn draft_of(&self, event_type: Option<&str>, body: Bytes) -> RequestFile {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
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

    /// Signs, in place of any signature that is there; the event's id stays where it has one.
    ///
    /// # Errors
    /// A value that is signed is not there.
    pub fn sign(&self, event: &mut RequestFile, unix_ms: i64) -> Result<(), TestingError> {
        let target: Uri = event
            .target
            .parse()
            .map_err(|_| TestingError::Url(event.target.clone()))?;
        let id = self.spec.id_header().map(|name| self.id(event, name));
        let headers = event.header_map()?;
        let to_sign = ToSign {
            head: Head {
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

    /// The id of an event, where it stands in a header.
    fn id(&self, event: &RequestFile, name: &HeaderName) -> String {
        match event.header(name.as_str()) {
            Some(id) => id.to_owned(),
            // As these senders write theirs.
            None if self.scheme_signs_id() => format!("msg_{}", fill::alnum(27)),
            None => fill::uuid(),
        }
    }

    fn scheme_signs_id(&self) -> bool {
        self.spec.signs_event_id()
    }

    fn name_type(&self, event: &mut RequestFile, event_type: &str) {
        for field in &self.spec.event_type {
            if let crate::scheme::spec::Field::Header(name) = field {
                event.set_header(name.as_str(), event_type);
                return;
            }
        }
    }

    /// The least that the scheme reads; only where there is no payload that could be meant.
    fn unknown(&self, asked: Option<&str>, unix_ms: i64) -> Result<RequestFile, TestingError> {
        let known: Vec<_> = payloads::of(&self.provider).collect();
        match asked {
            Some(asked) if !known.is_empty() => Err(TestingError::NoPayload {
                provider: self.provider.clone(),
                asked: asked.to_owned(),
                known: known
                    .iter()
                    .map(|payload| payload.event_type)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
            _ => Ok(shape::least(&self.spec, asked, unix_ms)),
        }
    }

    /// With the path of the URL; a query that the body's maker added stays behind it.
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

/// A provider by its id.
pub(super) fn known(provider: &str) -> Result<Arc<Provider>, TestingError> {
    let found = providers::find(provider);
    found.ok_or_else(|| TestingError::NoProvider(provider.to_owned()))
}

fn check_signable(spec: &Spec, provider: &str) -> Result<(), TestingError> {
    if spec.can_be_signed() {
        return Ok(());
    }
    let why = match &spec.family {
        Family::Jwt(_) | Family::Certificate(_) => {
            "its sender signs with a key that nobody else has"
        }
        Family::Text(_) | Family::Http(_) if spec.is_public_key() => {
            "its sender signs with a private key that nobody else has"
        }
        Family::Text(_) | Family::Token(_) | Family::Hmac(_) | Family::Http(_) => {
            "the signature or the token stands in the body"
        }
    };
    Err(TestingError::NotSignable(provider.to_owned(), why))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::model::SecretEntry;
    use crate::document::Span;
    use crate::gate::signature::Keys;

    /// What the gate's own verification says.
    fn is_taken(sender: &Sender, secret: &str, event: &RequestFile) -> Result<(), String> {
        let entry = SecretEntry {
            label: "1".into(),
            secret: Secret::new(secret.as_bytes().to_vec()),
            not_before_ms: None,
            until_ms: None,
            span: Span::default(),
        };
        let public_url = Some(sender.public_url.as_str());
        let keys = Keys::new(&sender.spec, &[entry], public_url, Duration::from_mins(5));
        let keys = keys.map_err(|error| error.to_string())?;
        let (uri, headers) = (event.target.parse().unwrap(), event.header_map().unwrap());
        let head = Head {
            method: &event.method,
            uri: &uri,
            headers: &headers,
        };
        let pending = keys.open(head, &Now::read());
        let mut pending = pending.map_err(|reject| format!("{reject:?}"))?;
        pending.update(&event.body);
        let signed = pending.finish(&event.body, None);
        signed.map(|_| ()).map_err(|reject| format!("{reject:?}"))
    }

    // Fails when a provider that can be signed for has events that the gate would refuse.
    #[test]
    fn every_sender_signs_what_the_gate_takes() {
        let mut failed = Vec::new();
        for provider in providers::all().iter().filter(|one| can_send(one)) {
            let secret = new_secret(&provider.scheme);
            let url = "https://hooks.example.com/in?a=1";
            let sender = Sender::new(&provider.id, &secret, url).unwrap();
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
        let sender = Sender::new(
            "svix",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "http://a/",
        )
        .unwrap();
        let mut event = sender.event(None).unwrap();
        let before = event.clone();
        sender
            .sign(&mut event, Now::read().unix_ms + 60_000)
            .unwrap();
        assert_eq!(event.header("svix-id"), before.header("svix-id"));
        assert_ne!(
            event.header("svix-signature"),
            before.header("svix-signature")
        );
    }
}
