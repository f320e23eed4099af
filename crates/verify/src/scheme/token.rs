//! Shared token schemes: the sender includes the secret itself in each request.
//!
//! Nothing of the request is signed, so a client that has seen one request can make others. The body is hashed anyway,
//! so that dedup can distinguish bodies.

use std::borrow::Cow;

use data_encoding::BASE64;
use http::{HeaderName, header};
use sha2::{Digest as _, Sha256};

use crate::model::secret::Secret;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::key;
use crate::scheme::material::{PresentedProof, SignatureMaterial};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::read_head;
use crate::scheme::secret_set::SecretSet;
use crate::scheme::sign::{SignError, SignatureParts, ToSign};
use crate::scheme::signature_match::SignatureMatch;
use crate::scheme::spec::{SchemeLocation, SchemeSpec, SecretForm, TokenLocation, TokenSpec};
use crate::scheme::whole_request::{JsonPointers, WholeRequest};

/// A compiled token scheme with its tokens.
pub struct TokenScheme {
    tokens: Box<[Secret]>,
    location: TokenLocation,
    pointers: JsonPointers,
    id_header: Option<HeaderName>,
    headers: Box<[HeaderName]>,
}

/// A token verification in progress.
pub(super) struct TokenVerifier<'a> {
    scheme: &'a TokenScheme,
    head: RequestHead<'a>,
    current: SecretSet,
    secret_index: Option<usize>,
    body: Sha256,
}

impl TokenScheme {
    /// Decodes the tokens and checks their form.
    pub(super) fn compile(
        spec: &SchemeSpec,
        family: &TokenSpec,
        secrets: &[&Secret],
    ) -> Result<Self, SchemeError> {
        let mut tokens = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let token = key::decode(&SecretForm::default(), secret)?;
            // RFC 7617: credentials are user and password with a colon between them.
            if matches!(family.location, TokenLocation::Basic) && !token.expose().contains(&b':') {
                return Err(SchemeError::SecretNotBasic);
            }
            tokens.push(token);
        }
        Ok(Self {
            tokens: tokens.into(),
            location: family.location.clone(),
            pointers: JsonPointers::new(spec.pointers()),
            id_header: spec.id_header().cloned(),
            headers: spec.headers().into(),
        })
    }

    /// Returns the headers that this scheme reads.
    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Returns the number of secrets.
    pub(super) fn secret_count(&self) -> usize {
        self.tokens.len()
    }

    /// Reads the proof and the signed values from the head.
    pub(super) fn material<'h>(
        &self,
        head: &RequestHead<'h>,
    ) -> Result<SignatureMaterial<'h>, MaterialFault> {
        let token = match &self.location {
            TokenLocation::Header { name, prefix } => {
                let value = read_head::read_header(head, name)?;
                let token = value.strip_prefix(prefix.as_bytes());
                let fault = "does not begin with the prefix of this scheme's tokens";
                Cow::Borrowed(token.ok_or_else(|| MaterialFault::malformed(name.as_str(), fault))?)
            }
            TokenLocation::Query(name) => read_head::read_query(head, name)?,
            TokenLocation::Basic => {
                let value = read_head::read_header(head, &header::AUTHORIZATION)?;
                let fault = "is not a valid HTTP Basic credential";
                let credentials = decode_basic(value);
                Cow::Owned(credentials.ok_or_else(|| {
                    MaterialFault::malformed(header::AUTHORIZATION.as_str(), fault)
                })?)
            }
            TokenLocation::Form(_) | TokenLocation::Json(_) | TokenLocation::FormJson(..) => {
                return Ok(SignatureMaterial {
                    proof: PresentedProof::Whole,
                    timestamp: None,
                    id: &[],
                });
            }
        };
        Ok(SignatureMaterial {
            proof: PresentedProof::Token(token),
            timestamp: None,
            id: &[],
        })
    }

    /// Compares with every current token at once, so that the body of an untrusted client need not be read.
    pub(super) fn begin<'a>(
        &'a self,
        material: &SignatureMaterial<'_>,
        head: RequestHead<'a>,
        current: SecretSet,
    ) -> TokenVerifier<'a> {
        let secret_index = match &material.proof {
            PresentedProof::Token(shown) => self.find(shown, current),
            _ => None,
        };
        TokenVerifier {
            scheme: self,
            head,
            current,
            secret_index,
            body: Sha256::new(),
        }
    }

    /// Returns the position of the token, which is compared with every secret.
    fn find(&self, shown: &[u8], current: SecretSet) -> Option<usize> {
        let mut found = None;
        // No early exit: the time must not depend on which token matches.
        for (index, token) in self.tokens.iter().enumerate() {
            let is_match = token.is_equal(shown) & current.contains(index);
            if is_match && found.is_none() {
                found = Some(index);
            }
        }
        found
    }

    /// Reads the token from the body.
    fn read_body(
        &self,
        head: RequestHead<'_>,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, MaterialFault> {
        let whole = WholeRequest::new(head, body, &self.pointers);
        let (place, inner) = match &self.location {
            TokenLocation::Form(name) => (SchemeLocation::Form(name.clone()), None),
            TokenLocation::Json(pointer) => (SchemeLocation::Json(pointer.clone()), None),
            TokenLocation::FormJson(name, pointer) => {
                (SchemeLocation::Form(name.clone()), Some(pointer))
            }
            _ => return Ok(None),
        };
        let value = whole.read(&place)?.ok_or_else(|| place.missing())?;
        let Some(pointer) = inner else {
            return Ok(Some(value.into_owned()));
        };
        let place = SchemeLocation::Json(pointer.clone());
        // The value of the form field is itself JSON, so read it like a body.
        let whole = WholeRequest::new(head, &value, &self.pointers);
        let token = whole.read(&place)?.ok_or_else(|| place.missing())?;
        Ok(Some(token.into_owned()))
    }

    /// Signs a request as the sender does.
    pub(super) fn sign(
        &self,
        index: usize,
        to_sign: &ToSign<'_>,
    ) -> Result<SignatureParts, SignError> {
        let token = self.tokens.get(index).ok_or(SignError::NoSecret)?.expose();
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| SignError::NotText);
        let mut stamp = SignatureParts::default();
        match &self.location {
            TokenLocation::Header { name, prefix } => {
                let value = format!("{prefix}{}", text(token)?);
                stamp.headers.push((name.clone(), value));
            }
            TokenLocation::Query(name) => {
                stamp.put(
                    &SchemeLocation::Query(name.clone()),
                    text(token)?.to_owned(),
                );
            }
            TokenLocation::Basic => {
                let value = format!("Basic {}", BASE64.encode(token));
                stamp.headers.push((header::AUTHORIZATION, value));
            }
            TokenLocation::Form(_) | TokenLocation::Json(_) | TokenLocation::FormJson(..) => {
                return Err(SignError::NoWay);
            }
        }
        if let (Some(header), Some(id)) = (&self.id_header, to_sign.id) {
            stamp.headers.push((header.clone(), id.to_owned()));
        }
        Ok(stamp)
    }
}

impl TokenVerifier<'_> {
    /// Returns whether the token is not a current one.
    pub(super) fn is_hopeless(&self) -> bool {
        self.secret_index.is_none() && self.scheme.location.is_in_head()
    }

    /// Feeds the next piece of the body.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.body.update(chunk);
    }

    /// Compares the proof; returns `None` if no current secret made it.
    pub(super) fn finish(self, body: &[u8]) -> Result<Option<SignatureMatch>, MaterialFault> {
        let secret_index = match self.secret_index {
            // Found in the head already.
            Some(index) => Some(index),
            None => {
                let shown = self.scheme.read_body(self.head, body)?;
                shown.and_then(|shown| self.scheme.find(&shown, self.current))
            }
        };
        // A token is the same for every request, so the digest of the body identifies the signed bytes.
        Ok(secret_index.map(|secret_index| SignatureMatch {
            secret_index,
            digest: self.body.finalize().into(),
            signed_time: None,
            validity: None,
        }))
    }
}

/// Decodes HTTP Basic credentials (RFC 7617). The scheme name is case-insensitive (RFC 9110 section 11.1), and one
/// space follows it.
fn decode_basic(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credentials) = value.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = BASE64.decode(credentials).ok()?;
    // The decoder also accepts padded blocks in a row; only the canonical text is accepted.
    (BASE64.encode_len(decoded.len()) == credentials.len()).then_some(decoded)
}
