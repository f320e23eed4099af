//! Queries about a whole scheme: what it signs, what it reads, and what its secret is.

use crate::scheme::spec::{
    CertificateKind, Family, Field, HttpAlgorithm, HttpParameter, JwtKeys, JwtPlace, Part, Place,
    SecretForm, SignMethod, Spec, Template, TextSpec, TokenPlace, TokenSpec,
};

impl Spec {
    /// Returns whether the signature covers the body.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        match &self.family {
            Family::Jwt(family) => {
                family.body_claim.is_some() || family.is_detached || family.place == JwtPlace::Body
            }
            Family::Http(family) => family.signs_body(),
            _ => self.template().is_some_and(Template::signs_body),
        }
    }

    /// Returns whether the signature covers a field, so that only the sender can change it.
    #[must_use]
    pub fn signs_field(&self, field: &Field) -> bool {
        match &self.family {
            Family::Jwt(family) => return family.signs_field(field),
            Family::Certificate(family) => return family.signs_field(field),
            Family::Http(family) => return family.signs_field(field),
            _ => {}
        }
        let Some(template) = self.template() else {
            return false;
        };
        match field {
            Field::Json(pointer) => {
                template.signs_body() || template.holds(&Part::Json(pointer.clone()))
            }
            Field::Form(name) | Field::FormJson(name, _) => {
                template.signs_body() || template.holds(&Part::Form(name.clone()))
            }
            Field::Query(name) => {
                template.holds(&Part::PathQuery)
                    || template.holds(&Part::Url)
                    || template.holds(&Part::Query(name.clone()))
            }
            Field::Header(name) => {
                template.holds(&Part::Header(name.clone()))
                    || template.holds(&Part::LowerHeader(name.clone()))
                    || (template.holds(&Part::Id) && self.id_header() == Some(name))
            }
            Field::Claim(_) => false,
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
            Field::Header(name) => Some(name),
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
        for place in self.places() {
            if let Place::Header(name) = place {
                add(name);
            }
        }
        if let Family::Token(token) = &self.family {
            match &token.place {
                TokenPlace::Header { name, .. } => add(name),
                TokenPlace::Basic => add(&http::header::AUTHORIZATION),
                _ => {}
            }
        }
        if let Family::Certificate(family) = &self.family {
            family.kind.headers().iter().for_each(&mut add);
        }
        if let Family::Http(family) = &self.family {
            family.headers().iter().for_each(&mut add);
        }
        if let Some(template) = self.template() {
            template.visit(&mut |part| match part {
                Part::Header(name) | Part::LowerHeader(name) | Part::ListedHeaders(name) => {
                    add(name);
                }
                _ => {}
            });
        }
        let fields = self.event_id.iter().chain(&self.event_type);
        for field in fields.chain(&self.version) {
            if let Field::Header(name) = field {
                add(name);
            }
        }
        names
    }

    /// Returns the locations of signatures, timestamps and required values.
    fn places(&self) -> Vec<&Place> {
        match &self.family {
            Family::Hmac(family) => {
                let timestamp = family.timestamp.iter().map(|one| &one.place);
                let mut places = vec![&family.signature.place];
                places.extend(timestamp);
                places
            }
            Family::Text(family) => {
                let timestamps = family.timestamp.iter().chain(&family.other_timestamps);
                let timestamp = timestamps.map(|one| &one.place);
                let signatures = family.signatures.iter().map(|one| &one.place);
                let required = family.require.iter().map(|one| &one.place);
                signatures.chain(timestamp).chain(required).collect()
            }
            Family::Jwt(family) => match &family.place {
                JwtPlace::In(place, _) => vec![place],
                JwtPlace::Body => Vec::new(),
            },
            Family::Token(_) | Family::Certificate(_) | Family::Http(_) => Vec::new(),
        }
    }

    /// Returns the JSON pointers that verification reads, sorted.
    #[must_use]
    pub fn pointers(&self) -> Vec<Vec<String>> {
        let mut found: Vec<Vec<String>> = Vec::new();
        for place in self.places() {
            if let Place::Json(pointer) = place {
                found.push(pointer.clone());
            }
        }
        if let Some(template) = self.template() {
            template.visit(&mut |part| {
                if let Part::Json(pointer) = part {
                    found.push(pointer.clone());
                }
            });
        }
        if let Family::Token(TokenSpec {
            place: TokenPlace::Json(pointer) | TokenPlace::FormJson(_, pointer),
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
    pub fn template(&self) -> Option<&Template> {
        match &self.family {
            Family::Hmac(family) => Some(&family.signed),
            Family::Text(family) => Some(&family.signed),
            Family::Token(_) | Family::Jwt(_) | Family::Certificate(_) | Family::Http(_) => None,
        }
    }

    /// Returns whether the sender signs the time, so that an old captured request is recognized by its age.
    #[must_use]
    pub fn is_dated(&self) -> bool {
        match &self.family {
            Family::Hmac(family) => family.timestamp.is_some(),
            Family::Text(family) => family.timestamp.is_some(),
            Family::Jwt(family) => family.times.needs_iat,
            Family::Http(family) => family.requires(HttpParameter::Created),
            Family::Token(_) | Family::Certificate(_) => false,
        }
    }

    /// Returns whether an old request becomes invalid by itself.
    #[must_use]
    pub fn tells_age(&self) -> bool {
        let expires = match &self.family {
            Family::Jwt(family) => family.times.needs_exp,
            Family::Http(family) => family.requires(HttpParameter::Expires),
            _ => false,
        };
        expires || self.is_dated()
    }

    /// Returns whether the route needs no secret: the keys are fetched, or are in a file.
    #[must_use]
    pub fn has_own_keys(&self) -> bool {
        match &self.family {
            Family::Jwt(family) => {
                // `Asked` needs the account's credentials, which are a secret.
                matches!(family.keys, JwtKeys::Published(_) | JwtKeys::File(_))
            }
            // PayPal's secret is the webhook id, which the route must set.
            Family::Certificate(family) => family.kind != CertificateKind::PayPal,
            _ => false,
        }
    }

    /// Returns whether a public key takes the place of the secret, so that nothing has to be kept secret.
    #[must_use]
    pub fn is_public_key(&self) -> bool {
        match &self.family {
            Family::Text(family) => matches!(family.method, SignMethod::PublicKey { .. }),
            Family::Jwt(family) => {
                let mut algorithms = family.algorithms.iter();
                matches!(family.keys, JwtKeys::Secret)
                    && algorithms.all(|algorithm| algorithm.hmac().is_none())
            }
            Family::Http(family) => family.algorithm != HttpAlgorithm::HmacSha256,
            Family::Hmac(_) | Family::Token(_) | Family::Certificate(_) => false,
        }
    }

    /// Returns whether the route's secret is public: a public key, or the id of a webhook.
    #[must_use]
    pub fn is_secret_public(&self) -> bool {
        self.is_public_key() || matches!(self.family, Family::Certificate(_))
    }

    /// Returns the sender's well-known public key, if the scheme has one.
    #[must_use]
    pub fn known_key(&self) -> Option<&str> {
        match &self.family {
            Family::Text(TextSpec {
                method: SignMethod::PublicKey { key, .. },
                ..
            }) => key.as_deref(),
            Family::Http(family) => family.public_key.as_deref(),
            _ => None,
        }
    }

    /// Returns whether the secret is enough to sign like the sender: not with public keys, and not inside a body, whose
    /// bytes do not change.
    #[must_use]
    pub fn can_be_signed(&self) -> bool {
        match &self.family {
            Family::Hmac(_) => true,
            Family::Token(family) => !matches!(
                family.place,
                TokenPlace::Form(_) | TokenPlace::Json(_) | TokenPlace::FormJson(..)
            ),
            Family::Text(family) => {
                let [signature] = family.signatures.as_slice() else {
                    return false;
                };
                // A list with several entries or a keyed timestamp has more than one form, so it is not reproduced.
                let time = family.timestamp.as_ref();
                !matches!(family.method, SignMethod::PublicKey { .. })
                    && signature.place.is_in_head()
                    && signature.list.is_none()
                    && signature.base64_json.is_none()
                    && time.is_none_or(|time| time.key.is_none())
            }
            Family::Http(family) => family.algorithm == HttpAlgorithm::HmacSha256,
            Family::Jwt(_) | Family::Certificate(_) => false,
        }
    }

    /// Returns the conversion of a secret's text into the key.
    #[must_use]
    pub fn secret_form(&self) -> SecretForm {
        match &self.family {
            Family::Hmac(family) => family.secret.clone(),
            Family::Text(family) => family.secret.clone(),
            Family::Jwt(family) => family.secret.clone(),
            Family::Http(family) => family.secret.clone(),
            Family::Token(_) | Family::Certificate(_) => SecretForm::default(),
        }
    }
}
