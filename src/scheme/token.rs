//! Token schemes: the sender shows the secret itself. Nothing of the request is signed, so whoever has seen one request
//! can make others; the body is hashed all the same, so that dedup can tell bodies apart.

use std::borrow::Cow;

use data_encoding::BASE64;
use http::{HeaderName, header};
use sha2::{Digest as _, Sha256};

use crate::model::secret::Secret;
use crate::scheme::body::{Pointers, Whole};
use crate::scheme::material::{self, Material, MaterialFault, Proof};
use crate::scheme::sign::{SignError, Stamp, ToSign};
use crate::scheme::spec::{Place, SecretForm, Spec, TokenPlace, TokenSpec};
use crate::scheme::{Head, Match, SchemeError, SecretSet, key};

/// A token scheme with its tokens.
pub struct TokenScheme {
    tokens: Box<[Secret]>,
    place: TokenPlace,
    pointers: Pointers,
    id_header: Option<HeaderName>,
    headers: Box<[HeaderName]>,
}

/// One token verification under way.
pub(super) struct TokenVerifier<'a> {
    scheme: &'a TokenScheme,
    head: Head<'a>,
    current: SecretSet,
    secret_index: Option<usize>,
    body: Sha256,
}

impl TokenScheme {
    /// Takes the tokens.
    pub(super) fn compile(
        spec: &Spec,
        family: &TokenSpec,
        secrets: &[&Secret],
    ) -> Result<Self, SchemeError> {
        let mut tokens = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let token = key::decode(&SecretForm::default(), secret)?;
            if matches!(family.place, TokenPlace::Basic) && !token.expose().contains(&b':') {
                return Err(SchemeError::SecretNotBasic);
            }
            tokens.push(token);
        }
        Ok(Self {
            tokens: tokens.into(),
            place: family.place.clone(),
            pointers: Pointers::new(spec.pointers()),
            id_header: spec.id_header().cloned(),
            headers: spec.headers().into(),
        })
    }

    /// See [`crate::scheme::Scheme::headers`].
    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// How many secrets it has.
    pub(super) fn secret_count(&self) -> usize {
        self.tokens.len()
    }

    /// See [`crate::scheme::Scheme::material`].
    pub(super) fn material<'h>(&self, head: &Head<'h>) -> Result<Material<'h>, MaterialFault> {
        let token = match &self.place {
            TokenPlace::Header { name, prefix } => {
                let value = material::read_header(head, name)?;
                let token = value.strip_prefix(prefix.as_bytes());
                let fault = "does not begin as this scheme's tokens do";
                Cow::Borrowed(token.ok_or_else(|| MaterialFault::malformed(name.as_str(), fault))?)
            }
            TokenPlace::Query(name) => material::read_query(head, name)?,
            TokenPlace::Basic => {
                let value = material::read_header(head, &header::AUTHORIZATION)?;
                let fault = "is not Basic credentials";
                let credentials = decode_basic(value);
                Cow::Owned(credentials.ok_or_else(|| {
                    MaterialFault::malformed(header::AUTHORIZATION.as_str(), fault)
                })?)
            }
            TokenPlace::Form(_) | TokenPlace::Json(_) | TokenPlace::FormJson(..) => {
                return Ok(Material {
                    proof: Proof::Whole,
                    timestamp: None,
                    id: &[],
                });
            }
        };
        Ok(Material {
            proof: Proof::Token(token),
            timestamp: None,
            id: &[],
        })
    }

    /// Compares with every current token at once: a stranger's body need not be read.
    pub(super) fn begin<'a>(
        &'a self,
        material: &Material<'_>,
        head: Head<'a>,
        current: SecretSet,
    ) -> TokenVerifier<'a> {
        let secret_index = match &material.proof {
            Proof::Token(shown) => self.find(shown, current),
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

    /// The position of the token, compared with every one of them.
    fn find(&self, shown: &[u8], current: SecretSet) -> Option<usize> {
        let mut found = None;
        for (index, token) in self.tokens.iter().enumerate() {
            let is_match = token.is_equal(shown) & current.contains(index);
            if is_match && found.is_none() {
                found = Some(index);
            }
        }
        found
    }

    /// The token that the body shows.
    fn read_body(&self, head: Head<'_>, body: &[u8]) -> Result<Option<Vec<u8>>, MaterialFault> {
        let whole = Whole::new(head, body, &self.pointers);
        let (place, inner) = match &self.place {
            TokenPlace::Form(name) => (Place::Form(name.clone()), None),
            TokenPlace::Json(pointer) => (Place::Json(pointer.clone()), None),
            TokenPlace::FormJson(name, pointer) => (Place::Form(name.clone()), Some(pointer)),
            _ => return Ok(None),
        };
        let value = whole.read(&place)?.ok_or_else(|| place.missing())?;
        let Some(pointer) = inner else {
            return Ok(Some(value.into_owned()));
        };
        let place = Place::Json(pointer.clone());
        let whole = Whole::new(head, &value, &self.pointers);
        let token = whole.read(&place)?.ok_or_else(|| place.missing())?;
        Ok(Some(token.into_owned()))
    }

    /// See [`crate::scheme::Scheme::sign`].
    pub(super) fn sign(&self, index: usize, to_sign: &ToSign<'_>) -> Result<Stamp, SignError> {
        let token = self.tokens.get(index).ok_or(SignError::NoSecret)?.expose();
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| SignError::NotText);
        let mut stamp = Stamp::default();
        match &self.place {
            TokenPlace::Header { name, prefix } => {
                let value = format!("{prefix}{}", text(token)?);
                stamp.headers.push((name.clone(), value));
            }
            TokenPlace::Query(name) => {
                stamp.put(&Place::Query(name.clone()), text(token)?.to_owned());
            }
            TokenPlace::Basic => {
                let value = format!("Basic {}", BASE64.encode(token));
                stamp.headers.push((header::AUTHORIZATION, value));
            }
            TokenPlace::Form(_) | TokenPlace::Json(_) | TokenPlace::FormJson(..) => {
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
    /// Whether the token is none of the current ones.
    pub(super) fn is_hopeless(&self) -> bool {
        self.secret_index.is_none() && self.scheme.place.is_in_head()
    }

    /// See [`crate::scheme::Verifier::update`].
    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.body.update(chunk);
    }

    /// See [`crate::scheme::Verifier::finish`].
    pub(super) fn finish(self, body: &[u8]) -> Result<Option<Match>, MaterialFault> {
        let secret_index = match self.secret_index {
            Some(index) => Some(index),
            None => {
                let shown = self.scheme.read_body(self.head, body)?;
                shown.and_then(|shown| self.scheme.find(&shown, self.current))
            }
        };
        Ok(secret_index.map(|secret_index| Match {
            secret_index,
            digest: self.body.finalize().into(),
            signed_time: None,
            validity: None,
        }))
    }
}

/// RFC 7617; the name of the scheme is case-insensitive (RFC 9110 11.1), one space follows it.
fn decode_basic(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, credentials) = value.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = BASE64.decode(credentials).ok()?;
    // Padded blocks in a row decode too; only what encodes to the same text is one value.
    (BASE64.encode_len(decoded.len()) == credentials.len()).then_some(decoded)
}
