//! Signed tokens (RFC 7519): found, verified with the scheme's keys, then compared with the route and the request.
//!
//! A token can only select a key by its name. Its algorithm must be one of the scheme's, and a key is used only for
//! algorithms of its own type. So no token can make a public key serve as an HMAC secret.
//!
//! A token in the head that a local key verifies is verified before the body is read, unless the body is its payload. If its
//! key must be fetched, that happens after the body has arrived and all cheaper checks have passed.

mod claims;
mod keyring;
pub(in crate::scheme) mod token;

use std::borrow::Cow;

use http::HeaderName;
use sha2::{Digest as _, Sha256};

use crate::model::secret::Secret;
use crate::scheme::certificate::app_store;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::jwt::claims::ClaimContext;
use crate::scheme::jwt::keyring::JwtKeyring;
use crate::scheme::jwt::token::{MAX_TOKEN, ParsedJwt};
use crate::scheme::material::{PresentedProof, SignatureMaterial};
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::remote_keys::{KeyNeed, RemoteKeys};
use crate::scheme::secret_set::SecretSet;
use crate::scheme::signature_match::SignatureMatch;
use crate::scheme::spec::{
    CertificateKind, JwtKeys, JwtLocation, JwtSpec, SchemeFamily, SchemeLocation, SchemeSpec,
    TokenAudience, UrlClaim,
};
use crate::scheme::whole_request::{JsonPointers, WholeRequest};

/// A compiled scheme of signed tokens with its keys.
pub struct JwtScheme {
    keys: JwtKeyring,
    spec: JwtSpec,
    pointers: JsonPointers,
    public_url: Box<str>,
    headers: Box<[HeaderName]>,
}

/// A token verification in progress.
pub(super) struct JwtVerifier<'a> {
    scheme: &'a JwtScheme,
    head: RequestHead<'a>,
    current: SecretSet,
    /// The token, if it is in the head and was read already.
    token: Option<Box<ParsedJwt>>,
    /// Position of the secret, if it verified the token already.
    secret_index: Option<usize>,
}

impl JwtScheme {
    /// Validates the spec and prepares the keys.
    pub(super) fn compile(
        spec: &SchemeSpec,
        family: &JwtSpec,
        secrets: &[&Secret],
        public_url: Option<&str>,
    ) -> Result<Self, SchemeError> {
        check(family, public_url)?;
        Ok(Self {
            keys: JwtKeyring::new(family, secrets)?,
            spec: family.clone(),
            pointers: JsonPointers::new(spec.pointers()),
            public_url: public_url.unwrap_or_default().into(),
            headers: spec.headers().into(),
        })
    }

    /// Returns the headers that this scheme reads.
    pub(super) fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Returns the number of secrets; keys that are not secrets count as one.
    pub(super) fn secret_count(&self) -> usize {
        self.keys.secret_count()
    }

    /// Reads the proof and the signed values from the head.
    pub(super) fn material<'h>(
        &self,
        head: &RequestHead<'h>,
    ) -> Result<SignatureMaterial<'h>, MaterialFault> {
        // Only a token in the head can be rejected before the body arrives.
        let is_in_head =
            matches!(&self.spec.location, JwtLocation::In(place, _) if place.is_in_head());
        let proof = if is_in_head {
            PresentedProof::Jwt(self.read(*head, &[])?)
        } else {
            PresentedProof::Whole
        };
        Ok(SignatureMaterial {
            proof,
            timestamp: None,
            id: &[],
        })
    }

    /// Begins the verification of one request.
    pub(super) fn begin<'a>(
        &'a self,
        material: SignatureMaterial<'a>,
        head: RequestHead<'a>,
        current: SecretSet,
    ) -> JwtVerifier<'a> {
        let token = match material.proof {
            PresentedProof::Jwt(token) => Some(token),
            _ => None,
        };
        // Without the body, which comes later, there is nothing of a detached token to verify.
        let secret_index = token
            .as_deref()
            .filter(|_| !self.spec.is_detached)
            .and_then(|token| self.keys.find(token, current));
        JwtVerifier {
            scheme: self,
            head,
            current,
            token,
            secret_index,
        }
    }

    /// Reads the token of a request, unverified but with an algorithm of the scheme.
    fn read(&self, head: RequestHead<'_>, body: &[u8]) -> Result<Box<ParsedJwt>, MaterialFault> {
        let whole = WholeRequest::new(head, body, &self.pointers);
        let (name, text, max) = match &self.spec.location {
            JwtLocation::Body => ("the body".into(), Cow::Borrowed(body), usize::MAX),
            JwtLocation::In(place, prefix) => {
                let value = whole.read(place)?.ok_or_else(|| place.missing())?;
                let bare = value.strip_prefix(prefix.as_bytes());
                let fault = "does not begin with the prefix of this scheme's tokens";
                let bare = bare.ok_or_else(|| place.malformed(fault))?.to_vec();
                // `max_body` already bounds a token in the body; one in the head needs a bound of its own.
                let max = if matches!(place, SchemeLocation::Json(_) | SchemeLocation::Form(_)) {
                    usize::MAX
                } else {
                    MAX_TOKEN
                };
                (place.name(), Cow::Owned(bare), max)
            }
        };
        let malformed = |fault| MaterialFault::malformed(&name, fault);
        if text.len() > max {
            return Err(malformed("is too long for a token"));
        }
        let token = match self.spec.is_detached {
            true => ParsedJwt::parse_detached(text.into_owned()),
            false => ParsedJwt::parse(text.into_owned()),
        };
        let token = token.map_err(malformed)?;
        if !self.spec.algorithms.contains(&token.algorithm) {
            return Err(malformed(
                "is signed with an algorithm that this scheme does not accept",
            ));
        }
        Ok(Box::new(token))
    }
}

impl JwtVerifier<'_> {
    /// Returns whether no current secret signed the token.
    pub(super) fn is_hopeless(&self) -> bool {
        let is_tried = self.token.is_some() && !self.scheme.spec.is_detached;
        is_tried && self.scheme.keys.is_local() && self.secret_index.is_none()
    }

    /// Returns the key that must be fetched before `finish`, if any.
    pub(super) fn need(&mut self, body: &[u8]) -> Result<Option<KeyNeed>, MaterialFault> {
        if self.scheme.keys.is_local() {
            return Ok(None);
        }
        if self.token.is_none() {
            self.token = Some(self.scheme.read(self.head, body)?);
        }
        let kid = self.token.as_ref().and_then(|token| token.kid.as_deref());
        self.scheme.keys.need(kid, self.current).map(Some)
    }

    /// Compares the proof; returns `None` if no current secret made it.
    pub(super) fn finish(
        self,
        body: &[u8],
        keys: Option<&RemoteKeys>,
    ) -> Result<Option<SignatureMatch>, MaterialFault> {
        let scheme = self.scheme;
        let mut token = match self.token {
            Some(token) => token,
            None => scheme.read(self.head, body)?,
        };
        if scheme.spec.is_detached {
            token.attach(body);
        }
        let found = match (self.secret_index, keys) {
            // Verified already in `begin`, so do not verify it again.
            (Some(index), _) => Some(index),
            // Fetched keys count as one secret, at position 0.
            (None, Some(RemoteKeys::Set(set))) => {
                let kid = token.kid.as_deref();
                let (text, signature) = (token.signed(), token.signature());
                set.verifies(token.algorithm, kid, text, signature)
                    .then_some(0)
            }
            (None, _) => scheme.keys.find(&token, self.current),
        };
        let Some(secret_index) = found else {
            return Ok(None);
        };
        let request = ClaimContext {
            head: self.head,
            body,
            public_url: &scheme.public_url,
        };
        // Claims are trusted only after the signature was verified.
        let times = claims::check(&scheme.spec, &token.claims, &request)?;
        Ok(Some(SignatureMatch {
            secret_index,
            digest: digest(&token, body),
            signed_time: times.issued,
            validity: Some(times.validity),
        }))
    }
}

/// Returns a digest that identifies a request by token and body: two events may have equal bodies, and one token may be
/// used for several events.
fn digest(token: &ParsedJwt, body: &[u8]) -> [u8; 32] {
    let signed = token.signed();
    let mut digest = Sha256::new();
    // The length in front keeps token and body apart: moved bytes would give another digest.
    digest.update((signed.len() as u64).to_be_bytes());
    digest.update(signed);
    digest.update(body);
    digest.finalize().into()
}

/// Returns the text of a claim in the verified token of a request: a string, the digits of an integer, or a boolean.
pub fn claim_text(
    spec: &SchemeSpec,
    head: &RequestHead<'_>,
    body: &[u8],
    name: &str,
) -> Option<String> {
    let family = match &spec.family {
        SchemeFamily::Jwt(family) => family,
        SchemeFamily::Certificate(family) if family.kind == CertificateKind::AppStore => {
            return app_store::claim(body, name);
        }
        _ => return None,
    };
    let pointers = JsonPointers::new(spec.pointers());
    let whole = WholeRequest::new(*head, body, &pointers);
    let text = match &family.location {
        JwtLocation::Body => Cow::Borrowed(body),
        JwtLocation::In(place, prefix) => {
            let value = whole.read(place).ok()??;
            Cow::Owned(value.strip_prefix(prefix.as_bytes())?.to_vec())
        }
    };
    let token = ParsedJwt::parse(text.into_owned()).ok()?;
    claims::text(token.claims.find(name)?).map(Cow::into_owned)
}

/// Reports contradictions that do not depend on the secrets.
pub(super) fn check(family: &JwtSpec, public_url: Option<&str>) -> Result<(), SchemeError> {
    let is_hmac = |one: &crate::scheme::spec::JwtAlgorithm| one.hmac().is_some();
    let hmacs = family.algorithms.iter().filter(|one| is_hmac(one)).count();
    let is_local = matches!(family.keys, JwtKeys::Secret);
    // Tokens are forged by using a public key as an HMAC secret, so a scheme has one or the other.
    if hmacs > 0 && (hmacs < family.algorithms.len() || !is_local) {
        return Err(SchemeError::MixedAlgorithms);
    }
    if family.audience == TokenAudience::Route(Vec::new()) {
        return Err(SchemeError::NeedsAudience);
    }
    if let Some(name) = family.route_claims.first() {
        let name = name.clone();
        return Err(SchemeError::NeedsClaim { name });
    }
    if let JwtKeys::Published(published) | JwtKeys::Asked(published) = &family.keys
        && published.url.is_none()
    {
        return Err(SchemeError::NeedsJwks);
    }
    let needs_url = family.audience == TokenAudience::Url || family.url_claim.is_some();
    if needs_url && public_url.is_none() {
        return Err(SchemeError::NeedsPublicUrl);
    }
    Ok(())
}

impl UrlClaim {
    /// Returns the name of the claim.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Plain(name) => name,
            Self::Digest(claim) => &claim.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use data_encoding::BASE64URL_NOPAD;
    use http::{HeaderMap, HeaderValue, Method, Uri};

    use super::*;
    use crate::document::report::ReportStyle;
    use crate::document::{SourceText, TomlDocument};
    use crate::scheme::Scheme;
    use crate::scheme::parse::parse_spec;

    fn compile(text: &str, secret: &str) -> Scheme {
        let source = SourceText::new("scheme.toml", text.to_owned());
        let document = TomlDocument::parse(&source);
        let spec = parse_spec(&mut document.root());
        let report = document.into_report();
        assert!(
            !report.has_errors(),
            "{}",
            report.render(ReportStyle::Plain)
        );
        let secret = Secret::new(secret.as_bytes().to_vec());
        Scheme::compile(&spec.unwrap(), &[&secret], None).unwrap()
    }

    fn verify(scheme: &Scheme, token: &str, body: &[u8]) -> Result<bool, MaterialFault> {
        let mut headers = HeaderMap::new();
        headers.insert("x-jws", HeaderValue::from_str(token).unwrap());
        let head = RequestHead {
            method: &Method::POST,
            uri: &Uri::from_static("/"),
            headers: &headers,
        };
        let material = scheme.material(&head)?;
        let mut verifier = scheme.begin(material, head, SecretSet::all(1));
        assert!(!verifier.is_hopeless());
        verifier.update(body);
        verifier.finish(body, None).map(|found| found.is_some())
    }

    // Fails when a detached token is verified before its payload is there, or over anything but the raw body.
    #[test]
    fn a_detached_token_covers_the_body_as_it_was_sent() {
        let scheme = compile(
            "type = \"jwt\"\nalgorithms = [\"HS256\"]\nkeys = \"secret\"\ntoken = { header = \"x-jws\" }\ndetached = true",
            "key",
        );
        let sign = |body: &[u8]| {
            let header = BASE64URL_NOPAD.encode(br#"{"alg":"HS256"}"#);
            let payload = BASE64URL_NOPAD.encode(body);
            let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
            let mac = hmac::sign(&key, format!("{header}.{payload}").as_bytes());
            let signature = BASE64URL_NOPAD.encode(mac.as_ref());
            [header, payload, signature]
        };
        for body in [&b""[..], b"{}", b"{\"n\":10.0}\n", b"\xff\x00 not JSON"] {
            let [header, payload, signature] = sign(body);
            let token = format!("{header}..{signature}");
            assert_eq!(verify(&scheme, &token, body), Ok(true), "{body:?}");
            let longer = [body, b" "].concat();
            assert_eq!(verify(&scheme, &token, &longer), Ok(false), "{body:?}");
            if !payload.is_empty() {
                let whole = format!("{header}.{payload}.{signature}");
                assert!(verify(&scheme, &whole, body).is_err(), "{body:?}");
            }
        }
    }
}
