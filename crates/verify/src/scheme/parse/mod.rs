//! Parser from a TOML table to a [`SchemeSpec`], for the `[scheme]` of provider files and of routes.
//!
//! Contradictions that depend on secrets or on the route are left to `Scheme::check` and `Scheme::compile`.

pub mod identity;
pub mod keys;
mod values;

mod http_signature;
mod jwt;
mod locations;
mod template;

pub use jwt::{fixed_claims, remote_url};

use crate::document::key::KeyDefinition;
use crate::document::table::{SpannedValue, TomlTable, ValueFault};
use crate::document::value;
use crate::scheme::parse::keys::{
    ALGORITHM, ALGORITHMS, AUDIENCE, BODY_CLAIM, BODY_UNSIGNED, CLAIMS, COMPONENTS, DETACHED,
    EITHER_PORT, ENCODING, EVENT_ID, EVENT_TYPE, GZIP, HEADER_PREFIXES, HOSTS, ISSUER, JWKS, KEYID,
    KEYS, LABEL, PARAMETERS, PUBLIC_KEY, REQUIRE, ROUTE_CLAIMS, SECRET, SIGNATURE, SIGNED, TAG,
    TIMESTAMP, TOKEN, TOLERANCE_CLAIM, TYPE, URL_CLAIM, VERSION,
};
use crate::scheme::parse::template::template;
use crate::scheme::parse::values::{ENCODINGS, optional, secret_form};
use crate::scheme::spec::{
    CertificateKind, DigestAlgorithm, FieldLocation, GzipText, HmacSpec, KeyAlgorithm,
    SchemeFamily, SchemeSpec, SchemeVariants, SecretForm, SignMethod, SignatureSpec,
    SignedTemplate, TextSpec, TimestampSpec, TokenSpec,
};

/// Type of a scheme (the key `type`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum SchemeKind {
    Hmac,
    Hash,
    Ed25519,
    Ecdsa,
    Rsa,
    Jwt,
    Token,
    Sns,
    PayPal,
    AppStore,
    Http,
}

const KINDS: [(&str, SchemeKind); 11] = [
    ("hmac", SchemeKind::Hmac),
    ("hash", SchemeKind::Hash),
    ("ed25519", SchemeKind::Ed25519),
    ("ecdsa", SchemeKind::Ecdsa),
    ("rsa", SchemeKind::Rsa),
    ("jwt", SchemeKind::Jwt),
    ("token", SchemeKind::Token),
    ("sns", SchemeKind::Sns),
    ("paypal", SchemeKind::PayPal),
    ("app_store", SchemeKind::AppStore),
    ("http_signature", SchemeKind::Http),
];

/// Digests that are strong enough alone if clients cannot choose the text; MD5 is not.
const PLAIN_DIGESTS: [(&str, DigestAlgorithm); 5] = [
    ("sha1", DigestAlgorithm::Sha1),
    ("sha256", DigestAlgorithm::Sha256),
    ("sha384", DigestAlgorithm::Sha384),
    ("sha512", DigestAlgorithm::Sha512),
    ("keccak256", DigestAlgorithm::Keccak256),
];

const HMAC_DIGESTS: [(&str, DigestAlgorithm); 5] = [
    ("md5", DigestAlgorithm::Md5),
    ("sha1", DigestAlgorithm::Sha1),
    ("sha256", DigestAlgorithm::Sha256),
    ("sha384", DigestAlgorithm::Sha384),
    ("sha512", DigestAlgorithm::Sha512),
];

/// Keys that only schemes over a signed text have.
static TEXT_KEYS: [&KeyDefinition; 8] = [
    &ALGORITHM,
    &ENCODING,
    &SIGNATURE,
    &SIGNED,
    &TIMESTAMP,
    &REQUIRE,
    &PUBLIC_KEY,
    &EITHER_PORT,
];

/// Keys that only signed tokens have.
static JWT_KEYS: [&KeyDefinition; 11] = [
    &DETACHED,
    &ALGORITHMS,
    &KEYS,
    &JWKS,
    &ISSUER,
    &AUDIENCE,
    &TOLERANCE_CLAIM,
    &BODY_CLAIM,
    &URL_CLAIM,
    &CLAIMS,
    &ROUTE_CLAIMS,
];

/// Keys that only HTTP Message Signatures have.
static HTTP_KEYS: [&KeyDefinition; 5] = [&COMPONENTS, &PARAMETERS, &LABEL, &TAG, &KEYID];

/// Reads a scheme and reports each error. Returns `None` if no scheme can be made of the rest.
pub fn parse_spec(table: &mut TomlTable<'_>) -> Option<SchemeSpec> {
    let kind = table.require(&TYPE, |value| value::choice(value, &KINDS));
    let event_id = locations::fields(table, &EVENT_ID);
    let event_type = locations::fields(table, &EVENT_TYPE);
    let version = locations::fields(table, &VERSION);
    let variants = variants(table);
    let kind = kind?.value;
    // Before the keys of this family are read: a key of another family gets this error instead of "unknown key".
    refuse_others(table, kind);
    let family = match kind {
        SchemeKind::Token => token(table).map(SchemeFamily::Token),
        SchemeKind::Jwt => jwt::jwt(table).map(Box::new).map(SchemeFamily::Jwt),
        SchemeKind::Sns => {
            jwt::certificate(table, CertificateKind::Sns).map(SchemeFamily::Certificate)
        }
        SchemeKind::PayPal => {
            jwt::certificate(table, CertificateKind::PayPal).map(SchemeFamily::Certificate)
        }
        SchemeKind::AppStore => {
            jwt::certificate(table, CertificateKind::AppStore).map(SchemeFamily::Certificate)
        }
        SchemeKind::Http => http_signature::http_signature(table)
            .map(Box::new)
            .map(SchemeFamily::Http),
        _ => signed(table, kind),
    };
    let has_claims = [&event_id, &event_type, &version]
        .into_iter()
        .flatten()
        .flatten()
        .any(|field| matches!(field, FieldLocation::Claim(_)));
    let takes_claims = match &family {
        Some(SchemeFamily::Jwt(family)) => !family.is_detached,
        _ => matches!(kind, SchemeKind::Jwt | SchemeKind::AppStore),
    };
    if has_claims && !takes_claims {
        let fault = ValueFault::new(
            "`claim` requires a scheme with signed tokens (JWT) that have a payload of their own",
            "name a header or a location in the body instead of `claim`",
        );
        table.error(table.span(), fault);
    }
    table.deny_unknown();
    Some(SchemeSpec {
        family: family?,
        event_id: event_id?,
        event_type: event_type?,
        version: version?,
        variants: variants?,
    })
}

/// Replaces the locations of id, type and version in a scheme that is inherited from another file.
pub(crate) fn parse_overrides(table: &mut TomlTable<'_>, spec: &mut SchemeSpec) {
    let mut replace = |key, places: &mut Vec<FieldLocation>| {
        if table.has(key)
            && let Some(found) = locations::fields(table, key)
        {
            *places = found;
        }
    };
    replace(&EVENT_ID, &mut spec.event_id);
    replace(&EVENT_TYPE, &mut spec.event_type);
    replace(&VERSION, &mut spec.version);
    table.deny_unknown();
}

/// Reads the variants of header names and compression; returns `None` if they are wrong.
fn variants(table: &mut TomlTable<'_>) -> Option<SchemeVariants> {
    let is_there = table.has(&HEADER_PREFIXES);
    let prefixes = table.read(&HEADER_PREFIXES, |value| {
        const HELP: &str = "write two prefixes of header names: `[\"X-Acme-\", \"Acme-\"]`";
        let fault = || {
            ValueFault::new(
                "this is not a list of two different prefixes of header names",
                HELP,
            )
        };
        let items = value.items().ok_or_else(fault)?;
        let [own, other] = items.as_slice() else {
            return Err(fault());
        };
        let own = value::header(own)?.as_str().to_owned();
        let other = value::header(other)?.as_str().to_owned();
        match own == other {
            true => Err(fault()),
            false => Ok((own, other)),
        }
    });
    let gzip = table.read(&GZIP, |value| {
        let choices = [("plain", GzipText::Plain), ("sent", GzipText::Sent)];
        value::choice(value, &choices)
    });
    // Wrong prefixes are reported already; without them the scheme would read other headers.
    (prefixes.is_some() || !is_there).then_some(SchemeVariants { prefixes, gzip })
}

fn word(kind: SchemeKind) -> &'static str {
    let known = KINDS.into_iter().find(|(_, known)| *known == kind);
    known.map_or("", |(word, _)| word)
}

/// Reports keys that belong to other scheme types.
fn refuse_others(table: &mut TomlTable<'_>, kind: SchemeKind) {
    let word = word(kind);
    let refuse = |table: &mut TomlTable<'_>, keys: &[&KeyDefinition]| refuse(table, word, keys);
    if kind != SchemeKind::Http {
        refuse(table, &HTTP_KEYS);
    }
    match kind {
        SchemeKind::Hmac
        | SchemeKind::Hash
        | SchemeKind::Ed25519
        | SchemeKind::Ecdsa
        | SchemeKind::Rsa => {
            refuse(table, &[&TOKEN, &HOSTS]);
            refuse(table, &JWT_KEYS);
        }
        SchemeKind::Token => {
            refuse(table, &TEXT_KEYS);
            refuse(table, &JWT_KEYS);
            refuse(table, &[&SECRET, &BODY_UNSIGNED, &HOSTS]);
        }
        SchemeKind::Jwt => {
            refuse(table, &TEXT_KEYS);
            refuse(table, &[&BODY_UNSIGNED, &HOSTS]);
        }
        SchemeKind::AppStore => {
            refuse(table, &TEXT_KEYS);
            refuse(table, &JWT_KEYS);
            refuse(table, &[&SECRET, &BODY_UNSIGNED, &TOKEN, &HOSTS]);
        }
        SchemeKind::Sns | SchemeKind::PayPal => {
            refuse(table, &TEXT_KEYS);
            refuse(table, &JWT_KEYS);
            refuse(table, &[&SECRET, &BODY_UNSIGNED, &TOKEN]);
        }
        SchemeKind::Http => {
            refuse(
                table,
                &[&ENCODING, &SIGNATURE, &SIGNED, &TIMESTAMP, &REQUIRE],
            );
            refuse(table, &JWT_KEYS);
            refuse(table, &[&TOKEN, &HOSTS]);
        }
    }
}

/// Reports keys that a scheme type does not support.
fn refuse(table: &mut TomlTable<'_>, family: &str, keys: &[&KeyDefinition]) {
    for key in keys {
        table.refuse(key.name, |_| {
            ValueFault::new(
                format!("a scheme of type `{family}` has no `{}`", key.name),
                "remove the key, or change `type`",
            )
        });
    }
}

fn signed(table: &mut TomlTable<'_>, kind: SchemeKind) -> Option<SchemeFamily> {
    let method = method(table, kind);
    let encoding = table.require(&ENCODING, |value| value::choice(value, &ENCODINGS));
    let signed = table.require(&SIGNED, template);
    let is_body_unsigned = table.read(&BODY_UNSIGNED, value::boolean).unwrap_or(false);
    if let Some(signed) = &signed {
        check_body(table, signed, is_body_unsigned);
    }
    let signatures = locations::signatures(table, &SIGNATURE);
    let timestamps = locations::each(table, &TIMESTAMP, locations::timestamp);
    let secret = secret_forms(table);
    let require = locations::requirements(table, &REQUIRE);
    let either_port = table.read(&EITHER_PORT, value::boolean).unwrap_or(false);
    let mut timestamps = timestamps?.into_iter();
    let spec = TextSpec {
        method: method?,
        encoding: encoding?.value,
        signatures: signatures?,
        signed: signed?.value,
        timestamp: timestamps.next(),
        secret: secret?,
        require: require?,
        other_timestamps: timestamps.collect(),
        either_port,
    };
    // Prefer the streaming family: it verifies while the body arrives and copies nothing.
    Some(match streamed(&spec) {
        Some(streamed) => SchemeFamily::Hmac(streamed),
        None => SchemeFamily::Text(spec),
    })
}

/// Returns the same scheme as one that verifies while the body arrives, if that is possible.
fn streamed(spec: &TextSpec) -> Option<HmacSpec> {
    let SignMethod::Hmac(algorithm) = spec.method else {
        return None;
    };
    let [signature] = spec.signatures.as_slice() else {
        return None;
    };
    let is_list_simple = |signature: &SignatureSpec| match &signature.list {
        None => true,
        Some(list) => !list.any_key && !list.is_quoted && list.sets.is_none(),
    };
    let in_head = |timestamp: &TimestampSpec| timestamp.location.is_in_head();
    // Everything except the body must be known before the body arrives.
    let is_fit = signature.location.is_in_head()
        && signature.base64_json.is_none()
        && is_list_simple(signature)
        && spec.signed.is_streamable()
        && spec.require.is_empty()
        && spec.other_timestamps.is_empty()
        && !spec.either_port
        && spec.timestamp.as_ref().is_none_or(in_head);
    is_fit.then(|| HmacSpec {
        algorithm,
        encoding: spec.encoding,
        signature: signature.clone(),
        signed: spec.signed.clone(),
        timestamp: spec.timestamp.clone(),
        secret: spec.secret.clone(),
    })
}

/// Reports a signed text without the body, unless `body_unsigned` confirms it: any client could send another body with
/// it.
fn check_body(
    table: &TomlTable<'_>,
    signed: &SpannedValue<SignedTemplate>,
    is_body_unsigned: bool,
) {
    let fault = match (signed.value.signs_body(), is_body_unsigned) {
        (false, false) => ValueFault::new(
            "the signed text does not contain `{body}`, so any client could change the body",
            "add `{body}` where the sender puts the body, for example `\"{timestamp}.{body}\"`; if the sender really does not sign the body, add `body_unsigned = true`",
        ),
        (true, true) => ValueFault::new(
            "the signed text contains the body, so `body_unsigned` is wrong",
            "remove `body_unsigned`",
        ),
        _ => return,
    };
    table.error(signed.span, fault);
}

fn method(table: &mut TomlTable<'_>, kind: SchemeKind) -> Option<SignMethod> {
    if matches!(kind, SchemeKind::Hmac | SchemeKind::Hash) {
        refuse(table, word(kind), &[&PUBLIC_KEY]);
        let choices = match kind {
            SchemeKind::Hash => &PLAIN_DIGESTS,
            _ => &HMAC_DIGESTS,
        };
        let algorithm = table.require(&ALGORITHM, |value| value::choice(value, choices))?;
        return Some(match kind {
            SchemeKind::Hash => SignMethod::Hash(algorithm.value),
            _ => SignMethod::Hmac(algorithm.value),
        });
    }
    let choices: &[(&str, KeyAlgorithm)] = match kind {
        SchemeKind::Ecdsa => &[
            ("p256_sha256", KeyAlgorithm::EcdsaP256),
            ("p256_sha256_fixed", KeyAlgorithm::EcdsaP256Fixed),
            ("p256_sha1", KeyAlgorithm::EcdsaP256Sha1),
            ("p384_sha384", KeyAlgorithm::EcdsaP384),
        ],
        SchemeKind::Rsa => &[
            ("sha1", KeyAlgorithm::RsaSha1),
            ("sha256", KeyAlgorithm::RsaSha256),
            ("sha256_of_digest", KeyAlgorithm::RsaSha256OfDigest),
            ("sha512", KeyAlgorithm::RsaSha512),
        ],
        _ => &[],
    };
    let algorithm = if choices.is_empty() {
        refuse(table, word(kind), &[&ALGORITHM]);
        KeyAlgorithm::Ed25519
    } else {
        let found = table.require(&ALGORITHM, |value| value::choice(value, choices));
        found?.value
    };
    let key = table.read(&PUBLIC_KEY, value::text);
    Some(SignMethod::PublicKey { algorithm, key })
}

/// Reads the forms of the secret. The first form links to the others as its alternatives.
fn secret_forms(table: &mut TomlTable<'_>) -> Option<SecretForm> {
    let forms = locations::each(table, &SECRET, secret_form)?;
    // From the last to the first, so that each form links to the one after it.
    let joined = forms.into_iter().rev().reduce(|later, form| SecretForm {
        alternative: Some(Box::new(later)),
        ..form
    });
    Some(joined.unwrap_or_default())
}

fn token(table: &mut TomlTable<'_>) -> Option<TokenSpec> {
    if !table.has(&TOKEN) {
        table.missing(&TOKEN);
    }
    let place = optional(table, &TOKEN, locations::parse_token_location)??;
    Some(TokenSpec { location: place })
}

#[cfg(test)]
mod tests;
