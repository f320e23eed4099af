//! Signs events as the provider files say: by `hookgate::testing` where a shared secret is enough, else with key pairs of
//! the test's own, whose public part the route trusts.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};
use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use hookgate::internals::{
    BodyClaim, DigestAlgorithm, DigestClaim, FieldLocation, JwtAlgorithm, JwtKeys, JwtLocation,
    JwtSpec, KeyAlgorithm, ListSpec, Provider, SchemeFamily, SchemeLocation, SecretEncoding,
    SecretForm, SignMethod, SignatureEncoding, TemplatePart, TextSpec, TimeUnit, TimestampSpec,
    TokenAudience, TokenLocation, UrlClaim,
};
use hookgate::testing::{EventSender, RequestFile, can_send, new_secret};
use serde_json::{Map, Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::event::{Events, field_of, read, write};

/// The origin that senders call, as every route has it.
pub const ORIGIN: &str = "https://hooks.example.com";

/// The host of that origin.
const HOST: &str = "hooks.example.com";

/// Key pairs in the place of those of senders that sign with a private key.
pub struct KeyPairs {
    ed25519: Ed25519KeyPair,
    ecdsa: EcdsaKeyPair,
    /// Writes signatures as tokens have them.
    ecdsa_of_tokens: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

impl KeyPairs {
    pub fn generate() -> Self {
        Self {
            ed25519: Ed25519KeyPair::generate().unwrap(),
            ecdsa: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            ecdsa_of_tokens: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// The public parts of the keys of tokens, as senders publish theirs.
    pub fn jwks(&self) -> String {
        // SEQUENCE { INTEGER n of 2048 bits, INTEGER e }: nine bytes stand before n.
        let rsa = self.rsa.public_key().as_ref();
        let (modulus, point) = (&rsa[9..265], self.ecdsa_of_tokens.public_key().as_ref());
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let keys = json!({ "keys": [
            { "kid": "RS256", "kty": "RSA", "use": "sig", "alg": "RS256", "n": text(modulus), "e": "AQAB" },
            { "kid": "RS512", "kty": "RSA", "use": "sig", "alg": "RS512", "n": text(modulus), "e": "AQAB" },
            { "kid": "ES256", "kty": "EC", "use": "sig", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) },
        ] });
        keys.to_string()
    }

    /// Returns the public key as senders show theirs, or `None` where the test cannot sign.
    fn public(&self, algorithm: KeyAlgorithm) -> Option<String> {
        match algorithm {
            KeyAlgorithm::Ed25519 => Some(BASE64.encode(self.ed25519.public_key().as_ref())),
            KeyAlgorithm::EcdsaP256 => Some(x509(self.ecdsa.public_key())),
            KeyAlgorithm::RsaSha256 | KeyAlgorithm::RsaSha256OfDigest | KeyAlgorithm::RsaSha512 => {
                Some(x509(self.rsa.public_key()))
            }
            _ => None,
        }
    }

    fn sign(&self, algorithm: KeyAlgorithm, text: &[u8]) -> Vec<u8> {
        match algorithm {
            KeyAlgorithm::Ed25519 => self.ed25519.sign(text).as_ref().to_vec(),
            KeyAlgorithm::EcdsaP256 => {
                let signature = self.ecdsa.sign(&SystemRandom::new(), text);
                signature.unwrap().as_ref().to_vec()
            }
            KeyAlgorithm::RsaSha256 => self.sign_rsa(&RSA_PKCS1_SHA256, text),
            KeyAlgorithm::RsaSha256OfDigest => {
                self.sign_rsa(&RSA_PKCS1_SHA256, &Sha256::digest(text))
            }
            KeyAlgorithm::RsaSha512 => self.sign_rsa(&RSA_PKCS1_SHA512, text),
            other => panic!("the test has no key for {}", other.name()),
        }
    }

    fn sign_rsa(&self, encoding: &'static dyn RsaEncoding, text: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let signed = self
            .rsa
            .sign(encoding, &SystemRandom::new(), text, &mut signature);
        signed.unwrap();
        signature
    }
}

fn x509<'k, K: AsDer<PublicKeyX509Der<'k>>>(key: &K) -> String {
    BASE64.encode(key.as_der().unwrap().as_ref())
}

/// A sender of one provider's events.
pub struct Signer<'k> {
    keys: &'k KeyPairs,
    /// The route's secret; empty where the sender publishes its keys.
    secret: String,
    sender: Option<EventSender>,
}

impl<'k> Signer<'k> {
    /// Returns a signer, or `None` where only the sender itself can sign.
    pub fn new(provider: &Provider, keys: &'k KeyPairs) -> Option<Self> {
        let spec = &provider.scheme;
        let mut secret = new_secret(spec);
        match &spec.family {
            SchemeFamily::Text(TextSpec {
                method: SignMethod::PublicKey { algorithm, .. },
                ..
            }) => secret = keys.public(*algorithm)?,
            SchemeFamily::Jwt(family) => match family.keys {
                JwtKeys::Secret if family.algorithms.contains(&JwtAlgorithm::Rs256) => {
                    secret = x509(keys.rsa.public_key());
                }
                JwtKeys::Secret => {}
                _ => secret.clear(),
            },
            SchemeFamily::Certificate(_) => return None,
            _ => {}
        }
        let sender = can_send(provider).then(|| {
            let sender = EventSender::new(&provider.id, &secret, ORIGIN);
            sender.unwrap_or_else(|error| panic!("{}: {error}", provider.id))
        });
        Some(Self {
            keys,
            secret,
            sender,
        })
    }

    /// The line of the route that says with which key its requests are verified.
    pub fn config(&self) -> String {
        match self.secret.is_empty() {
            true => "jwks = { file = \"$DIR/keys.json\" }\n".to_owned(),
            false => format!("secret = \"{}\"\n", self.secret),
        }
    }

    /// Signs the request as of this time.
    pub fn sign(&self, events: &Events, draft: &RequestFile, unix_ms: i64) -> RequestFile {
        let mut request = draft.clone();
        let spec = &events.provider.scheme;
        let time = match &spec.family {
            SchemeFamily::Hmac(family) => family.timestamp.as_ref(),
            SchemeFamily::Text(family) => family.timestamp.as_ref(),
            _ => None,
        };
        // A query has its time from the signature.
        let is_own = |time: &&TimestampSpec| {
            time.key.is_none() && !matches!(time.location, SchemeLocation::Query(_))
        };
        if let Some(time) = time.filter(is_own) {
            let field = field_of(&time.location);
            write(&mut request, &field, &time_text(time.unit, unix_ms));
        }
        if let Some(sender) = &self.sender {
            let signed = sender.sign(&mut request, unix_ms);
            signed.unwrap_or_else(|error| panic!("{}: {error}", events.provider.id));
            // Some events of a sender have no id.
            if let Some(name) = spec.id_header()
                && !spec.signs_event_id()
                && draft.header(name.as_str()).is_none()
            {
                request.remove_header(name.as_str());
            }
            return request;
        }
        match &spec.family {
            SchemeFamily::Text(family) => self.sign_text(family, &mut request, unix_ms),
            SchemeFamily::Jwt(family) => self.add_token(family, events, &mut request, unix_ms),
            SchemeFamily::Token(family) => {
                let field = match &family.location {
                    TokenLocation::Form(name) => FieldLocation::Form(name.clone()),
                    TokenLocation::Json(pointer) => FieldLocation::Json(pointer.clone()),
                    TokenLocation::FormJson(name, pointer) => {
                        FieldLocation::FormJson(name.clone(), pointer.clone())
                    }
                    _ => panic!("`hookgate::testing` puts tokens into heads"),
                };
                write(&mut request, &field, &self.secret);
            }
            _ => panic!("{} cannot be signed", events.provider.id),
        }
        request
    }

    fn sign_text(&self, family: &TextSpec, request: &mut RequestFile, unix_ms: i64) {
        for other in &family.signatures {
            if let FieldLocation::Header(name) = field_of(&other.location) {
                request.remove_header(name.as_str());
            }
        }
        let time = family.timestamp.as_ref();
        let text = Composer {
            request,
            time: time.map(|time| time_text(time.unit, unix_ms)),
        };
        let text = text.compose(&family.signed.parts).unwrap();
        let proof = match &family.method {
            SignMethod::Hmac(algorithm) => {
                mac(*algorithm, &key(&family.secret, &self.secret), &text)
            }
            SignMethod::PublicKey { algorithm, .. } => self.keys.sign(*algorithm, &text),
            SignMethod::Hash(_) => panic!("`hookgate::testing` makes plain digests"),
        };
        let first = &family.signatures[0];
        let proof = format!("{}{}", first.prefix, encode(family.encoding, &proof));
        let value = match &first.list {
            None => proof,
            Some(list) => entries(list, time, unix_ms, &proof),
        };
        write(request, &field_of(&first.location), &value);
    }

    fn add_token(
        &self,
        family: &JwtSpec,
        events: &Events,
        request: &mut RequestFile,
        unix_ms: i64,
    ) {
        let url = format!("{ORIGIN}{}", request.target);
        let mut claims = match family.location {
            JwtLocation::Body => serde_json::from_slice(&request.body).unwrap(),
            JwtLocation::In(..) => Map::new(),
        };
        let seconds = unix_ms / 1000;
        claims.insert("iat".to_owned(), seconds.into());
        claims.insert("exp".to_owned(), (seconds + 240).into());
        claims.remove("nbf");
        let fixed = family.claims.iter().map(|one| (&one.name, &one.value));
        for (name, value) in fixed.chain(&events.claims) {
            let flag = serde_json::from_str(value).ok().filter(Value::is_boolean);
            let value = flag.unwrap_or_else(|| value.as_str().into());
            claims.insert(name.clone(), value);
        }
        if let Some(issuer) = family.issuers.first() {
            claims.insert("iss".to_owned(), issuer.as_str().into());
        }
        match &family.audience {
            TokenAudience::Any => {}
            TokenAudience::Route(_) => {
                claims.insert("aud".to_owned(), events.audience[0].as_str().into());
            }
            TokenAudience::Url => {
                claims.insert("aud".to_owned(), url.as_str().into());
            }
        }
        if let Some(BodyClaim::Always(claim) | BodyClaim::UnlessEmpty(claim)) = &family.body_claim {
            claims.insert(claim.name.clone(), digest(claim, &request.body).into());
        }
        match &family.url_claim {
            None => {}
            Some(UrlClaim::Plain(name)) => {
                claims.insert(name.clone(), url.as_str().into());
            }
            Some(UrlClaim::Digest(claim)) => {
                claims.insert(claim.name.clone(), digest(claim, url.as_bytes()).into());
            }
        }
        let token = match family.is_detached {
            true => self.token(family, &request.body),
            false => self.token(family, Value::Object(claims).to_string().as_bytes()),
        };
        match &family.location {
            JwtLocation::Body => request.body = token.into(),
            JwtLocation::In(place, prefix) => {
                write(request, &field_of(place), &format!("{prefix}{token}"));
            }
        }
    }

    /// Returns a signed token with this payload; a detached one leaves the payload out again (RFC 7515 Appendix F).
    fn token(&self, family: &JwtSpec, payload: &[u8]) -> String {
        let name = match family.algorithms[0] {
            JwtAlgorithm::Hs256 => "HS256",
            JwtAlgorithm::Rs256 => "RS256",
            JwtAlgorithm::Rs512 => "RS512",
            JwtAlgorithm::Es256 => "ES256",
            other => panic!("the test has no key for {other:?}"),
        };
        let header = json!({ "alg": name, "kid": name }).to_string();
        let header = BASE64URL_NOPAD.encode(header.as_bytes());
        let text = format!("{header}.{}", BASE64URL_NOPAD.encode(payload));
        let signature = match name {
            "HS256" => {
                let key = key(&family.secret, &self.secret);
                mac(DigestAlgorithm::Sha256, &key, text.as_bytes())
            }
            "RS256" => self.keys.sign(KeyAlgorithm::RsaSha256, text.as_bytes()),
            "RS512" => self.keys.sign(KeyAlgorithm::RsaSha512, text.as_bytes()),
            _ => {
                let pair = &self.keys.ecdsa_of_tokens;
                let signature = pair.sign(&SystemRandom::new(), text.as_bytes());
                signature.unwrap().as_ref().to_vec()
            }
        };
        let signature = BASE64URL_NOPAD.encode(&signature);
        match family.is_detached {
            true => format!("{header}..{signature}"),
            false => format!("{text}.{signature}"),
        }
    }
}

/// The signed text of a request.
struct Composer<'r> {
    request: &'r RequestFile,
    time: Option<String>,
}

impl Composer<'_> {
    /// Returns the text, or `None` where a value is absent.
    fn compose(&self, parts: &[TemplatePart]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        for part in parts {
            match part {
                TemplatePart::Group(parts) => text.extend(self.compose(parts).unwrap_or_default()),
                part => text.extend(self.value(part)?),
            }
        }
        Some(text)
    }

    fn value(&self, part: &TemplatePart) -> Option<Vec<u8>> {
        let request = self.request;
        let field = |field: FieldLocation| read(request, &field);
        let text = match part {
            TemplatePart::Literal(text) => text.clone(),
            TemplatePart::Timestamp => self.time.clone()?,
            TemplatePart::Body => return Some(request.body.to_vec()),
            TemplatePart::Header(name) => field(FieldLocation::Header(name.clone()))?,
            TemplatePart::Form(name) => field(FieldLocation::Form(name.clone()))?,
            TemplatePart::Json(pointer) => field(FieldLocation::Json(pointer.clone()))?,
            TemplatePart::LowerQuery(name) => {
                field(FieldLocation::Query(name.clone()))?.to_ascii_lowercase()
            }
            TemplatePart::LowerMethod => request.method.as_str().to_ascii_lowercase(),
            TemplatePart::PathQuery => request.target.clone(),
            TemplatePart::Host => HOST.to_owned(),
            TemplatePart::BodyDigest(DigestAlgorithm::Sha256, encoding) => {
                encode(*encoding, &Sha256::digest(&request.body))
            }
            TemplatePart::BodyJsonString => {
                serde_json::to_string(std::str::from_utf8(&request.body).unwrap()).unwrap()
            }
            TemplatePart::Entry(name) => entry(name),
            TemplatePart::UrlNoQuery => format!("{ORIGIN}{}", request.target.split('?').next()?),
            TemplatePart::UrlFormSorted => self.url_and_form(),
            other => panic!("the test does not compose {other:?}"),
        };
        Some(text.into_bytes())
    }
}

impl Composer<'_> {
    /// As Plivo joins them: <https://www.plivo.com/docs/voice/concepts/signature-validation>.
    fn url_and_form(&self) -> String {
        let target = &self.request.target;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let sorted = |text: &[u8]| {
            let mut pairs: Vec<_> = form_urlencoded::parse(text).into_owned().collect();
            pairs.sort();
            pairs
        };
        let query = sorted(query.as_bytes()).into_iter();
        let query: Vec<String> = query
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let fields = sorted(&self.request.body).into_iter();
        let fields: String = fields.map(|(name, value)| name + &value).collect();
        let query = query.join("&");
        let (mark, dot) = match (query.is_empty(), fields.is_empty()) {
            (true, true) => ("", ""),
            (false, false) => ("?", "."),
            _ => ("?", ""),
        };
        format!("{ORIGIN}{path}{mark}{query}{dot}{fields}")
    }
}

/// The value under a key beside the signature.
fn entry(name: &str) -> String {
    format!("the-{name}")
}

/// Writes the list that holds the signature, with everything that can be in one beside it.
fn entries(list: &ListSpec, time: Option<&TimestampSpec>, unix_ms: i64, proof: &str) -> String {
    if list.key.is_empty() && !list.any_key {
        return proof.to_owned();
    }
    let assign = list.assign;
    let quoted = |value: &str| match list.is_quoted {
        true => format!("\"{value}\""),
        false => value.to_owned(),
    };
    let mut entries = Vec::new();
    let keyed = time.and_then(|time| Some((time.key.as_ref()?, time.unit)));
    if let Some((key, unit)) = keyed {
        entries.push(format!(
            "{key}{assign}{}",
            quoted(&time_text(unit, unix_ms))
        ));
    }
    entries.push(match list.any_key {
        true => format!("public{assign}{proof}"),
        false => format!("{}{assign}{}", list.key, quoted(proof)),
    });
    // Hygraph's environment; others pass over an entry that they do not know.
    if !list.any_key {
        entries.push(format!("env{assign}{}", quoted(&entry("env"))));
    }
    entries.join(&list.separator.to_string())
}

fn time_text(unit: TimeUnit, unix_ms: i64) -> String {
    let time = || jiff::Timestamp::from_millisecond(unix_ms).unwrap();
    match unit {
        TimeUnit::Seconds | TimeUnit::SecondsOrMillis => (unix_ms / 1000).to_string(),
        TimeUnit::Millis => unix_ms.to_string(),
        TimeUnit::Rfc3339 => time().to_string(),
        TimeUnit::HttpDate => time().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
    }
}

/// Decodes the key from a secret's text.
fn key(form: &SecretForm, secret: &str) -> Vec<u8> {
    let text = secret.strip_prefix(&form.strip_prefix).unwrap_or(secret);
    let bytes = match form.encoding {
        SecretEncoding::Utf8 => text.as_bytes().to_vec(),
        SecretEncoding::Hex => HEXLOWER.decode(text.as_bytes()).unwrap(),
        SecretEncoding::Base64 => BASE64.decode(text.as_bytes()).unwrap(),
    };
    match form.derive {
        None => bytes,
        Some(DigestAlgorithm::Sha1) => Sha1::digest(&bytes).to_vec(),
        Some(other) => panic!("the test derives no key with {other:?}"),
    }
}

fn mac(algorithm: DigestAlgorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    match algorithm {
        DigestAlgorithm::Sha1 => {
            let mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
            mac.chain_update(text).finalize().into_bytes().to_vec()
        }
        DigestAlgorithm::Sha256 => {
            let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            mac.chain_update(text).finalize().into_bytes().to_vec()
        }
        other => panic!("the test makes no HMAC with {other:?}"),
    }
}

fn digest(claim: &DigestClaim, bytes: &[u8]) -> String {
    assert_eq!(claim.digest, DigestAlgorithm::Sha256);
    encode(claim.encoding, &Sha256::digest(bytes))
}

fn encode(encoding: SignatureEncoding, bytes: &[u8]) -> String {
    match encoding {
        SignatureEncoding::Hex => HEXLOWER.encode(bytes),
        SignatureEncoding::Base64 => BASE64.encode(bytes),
        SignatureEncoding::Base64Url => BASE64URL.encode(bytes),
        SignatureEncoding::Base64UrlUnpadded => BASE64URL_NOPAD.encode(bytes),
    }
}
