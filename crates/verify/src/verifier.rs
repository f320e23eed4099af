//! The public face of the crate: a [`Verifier`], and the events that it returns.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri};

use crate::error::VerifyError;
use crate::identity::IdentityRules;
use crate::model::unix_time::unix_ms;
use crate::providers::challenge::ProviderChallenge;
use crate::scheme::spec::SchemeSpec;
use crate::scheme::words::not_signed;
use crate::scheme::{RequestHead, SignError, ToSign, with_query};
use crate::sender_key::{KeyRequest, SenderKey};
use crate::signature::{PendingVerification, SignatureVerifier};

/// Verifies the webhooks of one sender.
///
/// It holds no state about requests, so one verifier serves all threads.
pub struct Verifier {
    spec: SchemeSpec,
    signature: SignatureVerifier,
    identity: IdentityRules,
    /// The customers whose events are accepted, where the event itself names its customer.
    tenants: Option<Vec<String>>,
    challenge: Option<ProviderChallenge>,
}

/// A genuine event of the sender.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifiedEvent {
    /// The sender's id of the event, if it has one. See [`Verifier::signs_event_id`].
    pub event_id: Option<String>,
    /// The type of the event.
    pub event_type: Option<String>,
    /// The version of the payload.
    pub version: Option<String>,
    /// Label of the secret that made the signature.
    pub matched_secret: Arc<str>,
    /// A digest of all bytes that the signature covers: equal requests have equal digests.
    pub digest: [u8; 32],
    /// The decompressed body, if the sender compressed it and its scheme says so.
    pub plain_body: Option<Vec<u8>>,
}

/// The head of a request, with its headers under the names that the scheme reads.
pub struct ReceivedHead<'r> {
    received: RequestHead<'r>,
    renamed: Option<Box<HeaderMap>>,
}

/// A request whose head is right and whose body is arriving.
pub struct BodyVerification<'r> {
    verifier: &'r Verifier,
    head: RequestHead<'r>,
    pending: PendingVerification<'r>,
}

impl Verifier {
    pub(crate) fn new(
        spec: SchemeSpec,
        signature: SignatureVerifier,
        identity: IdentityRules,
        tenants: Option<Vec<String>>,
        challenge: Option<ProviderChallenge>,
    ) -> Self {
        Self {
            spec,
            signature,
            identity,
            tenants,
            challenge,
        }
    }

    /// Verifies a whole request. The body must be the bytes as received: parsed and printed JSON has other bytes.
    ///
    /// # Errors
    /// Returns the reason why the request is not genuine. Senders that publish their keys at a URL which has to be read
    /// first give [`VerifyError::KeyNeeded`]: use [`Self::begin`] for them.
    pub fn verify<B: AsRef<[u8]>>(
        &self,
        request: &Request<B>,
        now: SystemTime,
    ) -> Result<VerifiedEvent, VerifyError> {
        let head = self.head_of(request.method(), request.uri(), request.headers())?;
        let mut verification = self.begin(&head, now)?;
        // The same bytes go to the MAC and to the reader of the event.
        let body = request.body().as_ref();
        verification.update(body);
        if let Some(key) = verification.key_request(body)? {
            return Err(VerifyError::KeyNeeded {
                url: key.url().into(),
            });
        }
        verification.finish(body, None)
    }

    /// Reads the head of a request, for a body that arrives in pieces.
    ///
    /// # Errors
    /// Returns an error if the request mixes the header names of two variants of the scheme.
    pub fn head<'r>(&self, parts: &'r Parts) -> Result<ReceivedHead<'r>, VerifyError> {
        self.head_of(&parts.method, &parts.uri, &parts.headers)
    }

    fn head_of<'r>(
        &self,
        method: &'r Method,
        uri: &'r Uri,
        headers: &'r HeaderMap,
    ) -> Result<ReceivedHead<'r>, VerifyError> {
        let renamed = self.signature.own_names(headers)?;
        let received = RequestHead {
            method,
            uri,
            headers,
        };
        Ok(ReceivedHead { received, renamed })
    }

    /// Checks the head and begins to verify, before the body has arrived. A request without a signature, or with an old
    /// one, ends here.
    ///
    /// # Errors
    /// Returns the reason why no body can make the request genuine.
    pub fn begin<'r>(
        &'r self,
        head: &'r ReceivedHead<'_>,
        now: SystemTime,
    ) -> Result<BodyVerification<'r>, VerifyError> {
        let head = RequestHead {
            headers: head.renamed.as_deref().unwrap_or(head.received.headers),
            ..head.received
        };
        Ok(BodyVerification {
            verifier: self,
            head,
            pending: self.signature.open(head, unix_ms(now))?,
        })
    }

    /// Signs a request as the sender does, for tests: sets the headers and parameters of the signature by the first secret.
    ///
    /// # Errors
    /// Returns an error if only the sender can sign, or if the scheme signs a value that the request lacks.
    pub fn sign<B: AsRef<[u8]>>(
        &self,
        request: &mut Request<B>,
        event_id: Option<&str>,
        now: SystemTime,
    ) -> Result<(), SignError> {
        let parts = self.signature.scheme().sign(
            0,
            &ToSign {
                head: RequestHead {
                    method: request.method(),
                    uri: request.uri(),
                    headers: request.headers(),
                },
                unix_ms: unix_ms(now),
                id: event_id,
                body: request.body().as_ref(),
            },
        )?;
        for (name, value) in parts.headers {
            let value = HeaderValue::try_from(value).map_err(|_| SignError::NotText)?;
            request.headers_mut().insert(name, value);
        }
        if !parts.query.is_empty() {
            // Parameters of the same name are replaced: two would be ambiguous.
            let uri = with_query(request.uri(), &parts.query).ok_or(SignError::NotText)?;
            *request.uri_mut() = uri;
        }
        Ok(())
    }

    /// Returns whether the signature covers the event id. If not, a client that sees one request can send it again under
    /// another id, so an id alone does not show a duplicate.
    #[must_use]
    pub fn signs_event_id(&self) -> bool {
        self.spec.signs_event_id()
    }

    /// Returns whether the age of a request is limited by its signature. If not, an old request stays valid.
    #[must_use]
    pub fn limits_age(&self) -> bool {
        self.spec.has_signed_age()
    }

    /// Lists in words what the signature does not cover.
    #[must_use]
    pub fn not_signed(&self) -> Vec<String> {
        not_signed(&self.spec)
    }
}

impl BodyVerification<'_> {
    /// Takes the next piece of the body, in order. Schemes that sign the bytes as they are hash them here.
    pub fn update(&mut self, chunk: &[u8]) {
        self.pending.update(chunk);
    }

    /// Returns the key that has to be fetched before [`Self::finish`], if any; `body` is the whole body.
    ///
    /// # Errors
    /// Returns the reason why the request is not genuine whatever the key is.
    pub fn key_request(&mut self, body: &[u8]) -> Result<Option<KeyRequest>, VerifyError> {
        Ok(self.pending.need(body)?.map(KeyRequest::new))
    }

    /// Compares the signature and reads the event; `body` is everything that `update` was given, and `key` is the answer
    /// to [`Self::key_request`].
    ///
    /// # Errors
    /// Returns the reason why the request is not genuine.
    pub fn finish(
        self,
        body: &[u8],
        key: Option<&SenderKey>,
    ) -> Result<VerifiedEvent, VerifyError> {
        let verifier = self.verifier;
        let signed = self.pending.finish(body, key.map(SenderKey::keys))?;
        // The app reads the decompressed body, so the event is read from the same bytes.
        let text = signed.plain.as_deref().unwrap_or(body);
        // Any client that asks for a URL check gets a signature over such a text.
        if verifier
            .challenge
            .is_some_and(|challenge| challenge.signs_for_anyone(text))
        {
            return Err(VerifyError::BadSignature);
        }
        // Only after the signature: until then, the id and the customer are a client's claims.
        let identity = verifier.identity.read(&self.head, text)?;
        if let Some(tenants) = &verifier.tenants
            && !identity.tenants.are_among(tenants)
        {
            return Err(VerifyError::WrongTenant);
        }
        Ok(VerifiedEvent {
            event_id: identity.event_id.map(|id| id.as_str().to_owned()),
            event_type: identity.event_type.map(String::from),
            version: identity.version.map(String::from),
            matched_secret: signed.label,
            digest: signed.digest,
            plain_body: signed.plain.map(Vec::from),
        })
    }
}
