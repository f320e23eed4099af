//! Queries about a whole scheme: what it signs, what it reads, and what its secret is.

use crate::scheme::spec::algorithm::KeyAlgorithm;
use crate::scheme::spec::certificate::CertificateKind;
use crate::scheme::spec::family::{SchemeFamily, SchemeSpec, SignMethod, TextSpec};
use crate::scheme::spec::http_signature::{HttpAlgorithm, HttpParameter};
use crate::scheme::spec::jwt::{JwtKeys, JwtLocation, TokenAudience};
use crate::scheme::spec::location::{FieldLocation, SchemeLocation};
use crate::scheme::spec::secret_form::SecretForm;
use crate::scheme::spec::template::{SignedTemplate, TemplatePart};
use crate::scheme::spec::token::{TokenLocation, TokenSpec};

/// Label in the verdict if the well-known public key of the sender verified the request.
pub const KNOWN_KEY: &str = "known-key";

/// Label in the verdict if a key that the sender publishes verified the request.
pub const PUBLISHED_KEY: &str = "published-key";

impl SchemeSpec {
    /// Returns the customers that the scheme itself compares, to be set; `None` if it compares no customer.
    pub fn audience_mut(&mut self) -> Option<&mut Vec<String>> {
        match &mut self.family {
            SchemeFamily::Jwt(family) => match &mut family.audience {
                TokenAudience::Route(wanted) => Some(wanted),
                TokenAudience::Any | TokenAudience::Url => None,
            },
            SchemeFamily::Certificate(family) if family.kind.needs_audience() => {
                Some(&mut family.topics)
            }
            _ => None,
        }
    }

    /// Returns the `type` under which a config or a provider file writes the scheme.
    pub fn type_word(&self) -> &'static str {
        match &self.family {
            SchemeFamily::Hmac(_) => "hmac",
            SchemeFamily::Text(text) => text.method.type_word(),
            SchemeFamily::Token(_) => "token",
            SchemeFamily::Jwt(_) => "jwt",
            SchemeFamily::Certificate(family) => match family.kind {
                CertificateKind::Sns => "sns",
                CertificateKind::PayPal => "paypal",
                CertificateKind::AppStore => "app_store",
            },
            SchemeFamily::Http(_) => "http_signature",
        }
    }

    /// Returns whether the signature covers the body.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        match &self.family {
            SchemeFamily::Jwt(family) => {
                family.body_claim.is_some()
                    || family.is_detached
                    || family.location == JwtLocation::Body
            }
            SchemeFamily::Http(family) => family.signs_body(),
            _ => self.template().is_some_and(SignedTemplate::signs_body),
        }
    }

    /// Returns whether the signature covers a field, so that only the sender can change it.
    #[must_use]
    pub fn signs_field(&self, field: &FieldLocation) -> bool {
        match &self.family {
            SchemeFamily::Jwt(family) => return family.signs_field(field),
            SchemeFamily::Certificate(family) => return family.signs_field(field),
            SchemeFamily::Http(family) => return family.signs_field(field),
            _ => {}
        }
        let Some(template) = self.template() else {
            return false;
        };
        match field {
            FieldLocation::Json(pointer) => {
                template.signs_body() || template.holds(&TemplatePart::Json(pointer.clone()))
            }
            FieldLocation::Form(name) | FieldLocation::FormJson(name, _) => {
                template.signs_body() || template.holds(&TemplatePart::Form(name.clone()))
            }
            FieldLocation::Query(name) => {
                template.holds(&TemplatePart::PathQuery)
                    || template.holds(&TemplatePart::Url)
                    || template.holds(&TemplatePart::Query(name.clone()))
            }
            FieldLocation::Header(name) => {
                template.holds(&TemplatePart::Header(name.clone()))
                    || template.holds(&TemplatePart::LowerHeader(name.clone()))
                    || (template.holds(&TemplatePart::Id) && self.id_header() == Some(name))
            }
            FieldLocation::Claim(_) => false,
        }
    }

    /// Returns whether the signature covers the event id at each of its locations.
    #[must_use]
    pub fn signs_event_id(&self) -> bool {
        !self.event_id.is_empty() && self.event_id.iter().all(|field| self.signs_field(field))
    }

    /// Returns the header that `{id}` means: the first header among the locations of the event id.
    #[must_use]
    pub fn id_header(&self) -> Option<&http::HeaderName> {
        self.event_id.iter().find_map(|field| match field {
            FieldLocation::Header(name) => Some(name),
            _ => None,
        })
    }

    /// Returns the headers that verification reads, and those of ids, types and versions, each once.
    #[must_use]
    pub fn headers(&self) -> Vec<http::HeaderName> {
        let mut names = self.own_headers();
        // Headers of the alternative family must reach the app as well.
        let others = names
            .iter()
            .filter_map(|name| self.variants.other_name(name));
        let others: Vec<http::HeaderName> = others.collect();
        names.extend(others);
        names
    }

    /// Returns the same headers without the names of the alternative family.
    pub(super) fn own_headers(&self) -> Vec<http::HeaderName> {
        let mut names: Vec<http::HeaderName> = Vec::new();
        let mut add = |name: &http::HeaderName| {
            if !names.contains(name) {
                names.push(name.clone());
            }
        };
        for place in self.locations() {
            if let SchemeLocation::Header(name) = place {
                add(name);
            }
        }
        if let SchemeFamily::Token(token) = &self.family {
            match &token.location {
                TokenLocation::Header { name, .. } => add(name),
                TokenLocation::Basic => add(&http::header::AUTHORIZATION),
                _ => {}
            }
        }
        if let SchemeFamily::Certificate(family) = &self.family {
            family.kind.headers().iter().for_each(&mut add);
        }
        if let SchemeFamily::Http(family) = &self.family {
            family.headers().iter().for_each(&mut add);
        }
        if let Some(template) = self.template() {
            template.visit(&mut |part| match part {
                TemplatePart::Header(name)
                | TemplatePart::LowerHeader(name)
                | TemplatePart::ListedHeaders(name) => {
                    add(name);
                }
                _ => {}
            });
        }
        let fields = self.event_id.iter().chain(&self.event_type);
        for field in fields.chain(&self.version) {
            if let FieldLocation::Header(name) = field {
                add(name);
            }
        }
        names
    }

    /// Returns the locations of signatures, timestamps and required values.
    fn locations(&self) -> Vec<&SchemeLocation> {
        match &self.family {
            SchemeFamily::Hmac(family) => {
                let timestamp = family.timestamp.iter().map(|one| &one.location);
                let mut places = vec![&family.signature.location];
                places.extend(timestamp);
                places
            }
            SchemeFamily::Text(family) => {
                let timestamps = family.timestamp.iter().chain(&family.other_timestamps);
                let timestamp = timestamps.map(|one| &one.location);
                let signatures = family.signatures.iter().map(|one| &one.location);
                let required = family.require.iter().map(|one| &one.location);
                signatures.chain(timestamp).chain(required).collect()
            }
            SchemeFamily::Jwt(family) => match &family.location {
                JwtLocation::In(place, _) => vec![place],
                JwtLocation::Body => Vec::new(),
            },
            SchemeFamily::Token(_) | SchemeFamily::Certificate(_) | SchemeFamily::Http(_) => {
                Vec::new()
            }
        }
    }

    /// Returns the JSON pointers that verification reads, sorted.
    #[must_use]
    pub fn pointers(&self) -> Vec<Vec<String>> {
        let mut found: Vec<Vec<String>> = Vec::new();
        for place in self.locations() {
            if let SchemeLocation::Json(pointer) = place {
                found.push(pointer.clone());
            }
        }
        if let Some(template) = self.template() {
            template.visit(&mut |part| {
                if let TemplatePart::Json(pointer) = part {
                    found.push(pointer.clone());
                }
            });
        }
        if let SchemeFamily::Token(TokenSpec {
            location: TokenLocation::Json(pointer) | TokenLocation::FormJson(_, pointer),
        }) = &self.family
        {
            found.push(pointer.clone());
        }
        found.sort();
        found.dedup();
        found
    }

    /// Returns the signed text; `None` if the scheme has no template.
    #[must_use]
    pub fn template(&self) -> Option<&SignedTemplate> {
        match &self.family {
            SchemeFamily::Hmac(family) => Some(&family.signed),
            SchemeFamily::Text(family) => Some(&family.signed),
            SchemeFamily::Token(_)
            | SchemeFamily::Jwt(_)
            | SchemeFamily::Certificate(_)
            | SchemeFamily::Http(_) => None,
        }
    }

    /// Returns whether the sender signs the time, so that an old captured request is recognized by its age.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        match &self.family {
            SchemeFamily::Hmac(family) => family.timestamp.is_some(),
            SchemeFamily::Text(family) => family.timestamp.is_some(),
            // `exp` limits how long a token is valid, but says nothing about its age.
            SchemeFamily::Jwt(family) => family.times.needs_iat,
            SchemeFamily::Http(family) => family.requires(HttpParameter::Created),
            SchemeFamily::Token(_) | SchemeFamily::Certificate(_) => false,
        }
    }

    /// Returns whether an old request becomes invalid by itself.
    #[must_use]
    pub fn has_signed_age(&self) -> bool {
        let expires = match &self.family {
            SchemeFamily::Jwt(family) => family.times.needs_exp,
            SchemeFamily::Http(family) => family.requires(HttpParameter::Expires),
            _ => false,
        };
        expires || self.is_dated()
    }

    /// Returns whether the route needs no secret: the keys are fetched, or are in a file.
    #[must_use]
    pub fn has_own_keys(&self) -> bool {
        match &self.family {
            SchemeFamily::Jwt(family) => {
                // `Asked` needs the account's credentials, which are a secret.
                matches!(family.keys, JwtKeys::Published(_) | JwtKeys::File { .. })
            }
            // PayPal's secret is the webhook id, which the route must set.
            SchemeFamily::Certificate(family) => family.kind != CertificateKind::PayPal,
            _ => false,
        }
    }

    /// Returns whether a public key takes the place of the secret, so that nothing has to be kept secret.
    #[must_use]
    pub fn is_public_key(&self) -> bool {
        match &self.family {
            SchemeFamily::Text(family) => matches!(family.method, SignMethod::PublicKey { .. }),
            SchemeFamily::Jwt(family) => {
                let mut algorithms = family.algorithms.iter();
                matches!(family.keys, JwtKeys::Secret)
                    && algorithms.all(|algorithm| algorithm.hmac().is_none())
            }
            SchemeFamily::Http(family) => family.algorithm != HttpAlgorithm::HmacSha256,
            SchemeFamily::Hmac(_) | SchemeFamily::Token(_) | SchemeFamily::Certificate(_) => false,
        }
    }

    /// Returns whether the route's secret is public: a public key, or the id of a webhook.
    #[must_use]
    pub fn is_secret_public(&self) -> bool {
        self.is_public_key() || matches!(self.family, SchemeFamily::Certificate(_))
    }

    /// Returns the sender's well-known public key, if the scheme has one.
    #[must_use]
    pub fn known_key(&self) -> Option<&str> {
        match &self.family {
            SchemeFamily::Text(TextSpec {
                method: SignMethod::PublicKey { key, .. },
                ..
            }) => key.as_deref(),
            SchemeFamily::Http(family) => family.public_key.as_deref(),
            _ => None,
        }
    }

    /// Returns whether the secret is enough to sign like the sender: not with public keys, and not inside a body, whose
    /// bytes do not change.
    #[must_use]
    pub fn can_be_signed(&self) -> bool {
        match &self.family {
            SchemeFamily::Hmac(_) => true,
            SchemeFamily::Token(family) => !matches!(
                family.location,
                TokenLocation::Form(_) | TokenLocation::Json(_) | TokenLocation::FormJson(..)
            ),
            SchemeFamily::Text(family) => {
                let [signature] = family.signatures.as_slice() else {
                    return false;
                };
                // A list with several entries or a keyed timestamp has more than one form, so it is not reproduced.
                let time = family.timestamp.as_ref();
                !matches!(family.method, SignMethod::PublicKey { .. })
                    && signature.location.is_in_head()
                    && signature.list.is_none()
                    && signature.base64_json.is_none()
                    && time.is_none_or(|time| time.key.is_none())
            }
            SchemeFamily::Http(family) => family.algorithm == HttpAlgorithm::HmacSha256,
            SchemeFamily::Jwt(_) | SchemeFamily::Certificate(_) => false,
        }
    }

    /// Returns the conversion of a secret's text into the key.
    #[must_use]
    pub fn secret_form(&self) -> SecretForm {
        match &self.family {
            SchemeFamily::Hmac(family) => family.secret.clone(),
            SchemeFamily::Text(family) => family.secret.clone(),
            SchemeFamily::Jwt(family) => family.secret.clone(),
            SchemeFamily::Http(family) => family.secret.clone(),
            SchemeFamily::Token(_) | SchemeFamily::Certificate(_) => SecretForm::default(),
        }
    }
}

impl SignMethod {
    fn type_word(&self) -> &'static str {
        match self {
            Self::Hmac(_) => "hmac",
            Self::Hash(_) => "hash",
            Self::PublicKey { algorithm, .. } => match algorithm {
                KeyAlgorithm::Ed25519 => "ed25519",
                KeyAlgorithm::EcdsaP256
                | KeyAlgorithm::EcdsaP256Fixed
                | KeyAlgorithm::EcdsaP256Sha1
                | KeyAlgorithm::EcdsaP384
                | KeyAlgorithm::EcdsaP384Fixed => "ecdsa",
                KeyAlgorithm::RsaSha1
                | KeyAlgorithm::RsaSha256
                | KeyAlgorithm::RsaSha256OfDigest
                | KeyAlgorithm::RsaSha512
                | KeyAlgorithm::RsaPssSha512 => "rsa",
            },
        }
    }
}
