//! Parser for `type = "jwt"`, `"sns"`, `"paypal"` and `"app_store"`: signed tokens and certificate signatures.

use crate::document::TextSpan;
use crate::document::key::KeyDefinition;
use crate::document::table::{TomlTable, TomlValue, ValueFault};
use crate::document::value;
use crate::net::remote_url::{HostPattern, RemoteUrl};
use crate::scheme::parse::keys::{
    ALGORITHMS, AUDIENCE, BODY, BODY_CLAIM, CLAIM_NAME, CLAIM_VALUE, CLAIMS, DETACHED, DIGEST,
    ENCODING, HOSTS, ISSUER, JWKS, KEYS, PREFIX, ROUTE_CLAIMS, SECRET, TOKEN, TOLERANCE_CLAIM,
    UNLESS_EMPTY, URL_CLAIM,
};
use crate::scheme::parse::locations;
use crate::scheme::parse::values::{DIGESTS, ENCODINGS, optional, secret_form};
use crate::scheme::spec::{
    BodyClaim, CertificateKind, CertificateSpec, DigestClaim, FixedClaim, JwtAlgorithm, JwtKeys,
    JwtLocation, JwtSpec, PublishedKeys, TokenAudience, TokenTimes, UrlClaim,
};

/// Source of the keys as the file names it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JwtKeyOrigin {
    Secret,
    Published,
    Asked,
}

/// Reads the keys of a scheme with signed tokens.
pub(super) fn jwt(table: &mut TomlTable<'_>) -> Option<JwtSpec> {
    let algorithms = algorithms(table);
    if !table.has(&TOKEN) {
        table.missing(&TOKEN);
    }
    let place = optional(table, &TOKEN, parse_token_location);
    let keys = keys(table);
    let secret = optional(table, &SECRET, secret_form);
    let issuers = texts(table, &ISSUER);
    let audience = audience(table, keys.as_ref());
    let times = times(table);
    let body_claim = optional(table, &BODY_CLAIM, body_claim);
    let url_claim = optional(table, &URL_CLAIM, url_claim);
    let claims = locations::each(table, &CLAIMS, fixed_claim);
    let route_claims = texts(table, &ROUTE_CLAIMS);
    let is_detached = table.read_placed(&DETACHED, value::boolean);
    let is_detached = is_detached.filter(|one| one.value).map(|one| one.span);
    let place = place??;
    if let Some(span) = is_detached {
        let names_audience = matches!(audience, Some(TokenAudience::Route(_) | TokenAudience::Url));
        check_detached(table, span, &place, names_audience);
    }
    Some(JwtSpec {
        algorithms: algorithms?,
        location: place,
        is_detached: is_detached.is_some(),
        keys: keys?,
        secret: secret?.unwrap_or_default(),
        issuers,
        audience: audience?,
        times,
        body_claim: body_claim?,
        url_claim: url_claim?,
        claims: claims?,
        route_claims,
    })
}

/// Reports what a token without a payload of its own cannot have.
fn check_detached(
    table: &TomlTable<'_>,
    span: TextSpan,
    place: &JwtLocation,
    names_audience: bool,
) {
    if matches!(place, JwtLocation::Body) {
        let fault = ValueFault::new(
            "the body cannot be both the token and its payload",
            "name the header of the token: `token = { header = \"X-Webhook-Signature\" }`",
        );
        table.error(span, fault);
    }
    let of_claims = [
        &ISSUER,
        &TOLERANCE_CLAIM,
        &BODY_CLAIM,
        &URL_CLAIM,
        &CLAIMS,
        &ROUTE_CLAIMS,
    ];
    let found = of_claims.into_iter().find(|key| table.has(key));
    if let Some(key) = found.or(names_audience.then_some(&AUDIENCE)) {
        let message = format!(
            "a detached token has no claims, so `{}` has nothing to look at",
            key.name
        );
        let fault = ValueFault::new(message, format!("remove `{}`, or `detached`", key.name));
        table.error(span, fault);
    }
}

/// Reads the keys of a scheme with certificates.
pub(super) fn certificate(
    table: &mut TomlTable<'_>,
    kind: CertificateKind,
) -> Option<CertificateSpec> {
    Some(CertificateSpec {
        kind,
        hosts: hosts(table),
        topics: Vec::new(),
    })
}

/// Reads claims and their required values. Reports each error; then it returns `None`.
pub fn fixed_claims(table: &mut TomlTable<'_>, key: &KeyDefinition) -> Option<Vec<FixedClaim>> {
    locations::each(table, key, fixed_claim)
}

/// Reads the URL of a key set.
pub fn remote_url(value: &TomlValue<'_>) -> Result<RemoteUrl, ValueFault> {
    let text = value::text(value)?;
    RemoteUrl::parse(&text).map_err(|fault| {
        ValueFault::new(
            format!("the URL `{text}` {fault}"),
            "use a URL such as `\"https://example.com/.well-known/jwks.json\"`",
        )
    })
}

fn algorithms(table: &mut TomlTable<'_>) -> Option<Vec<JwtAlgorithm>> {
    if !table.has(&ALGORITHMS) {
        table.missing(&ALGORITHMS);
    }
    let found = table.list(&ALGORITHMS, |value| {
        value::choice(value, &JwtAlgorithm::ALL)
    })?;
    if found.is_empty() {
        let fault = ValueFault::new(
            "the list of algorithms is empty",
            "add at least one, for example `[\"HS256\"]`",
        );
        table.error(table.span(), fault);
        return None;
    }
    Some(found.into_iter().map(|one| one.value).collect())
}

fn parse_token_location(table: &mut TomlTable<'_>) -> Option<JwtLocation> {
    // A token that is the body has no other location.
    if table.read(&BODY, value::boolean).unwrap_or(false) {
        return Some(JwtLocation::Body);
    }
    let prefix = table.read(&PREFIX, value::any_text).unwrap_or_default();
    locations::parse_location(table).map(|place| JwtLocation::In(place, prefix))
}

fn keys(table: &mut TomlTable<'_>) -> Option<JwtKeys> {
    const CHOICES: [(&str, JwtKeyOrigin); 3] = [
        ("secret", JwtKeyOrigin::Secret),
        ("jwks", JwtKeyOrigin::Published),
        ("asked", JwtKeyOrigin::Asked),
    ];
    let keys = table.require(&KEYS, |value| value::choice(value, &CHOICES))?;
    if keys.value == JwtKeyOrigin::Secret {
        table.refuse(JWKS.name, |_| {
            ValueFault::new("`jwks` requires `keys = \"jwks\"`", "remove it")
        });
        return Some(JwtKeys::Secret);
    }
    if !table.has(&JWKS) {
        table.missing(&JWKS);
    }
    // Three forms: the word `route`, a URL, or a table with hosts.
    let value = table.value(&JWKS)?;
    let published = if value.text() == Some("route") {
        PublishedKeys {
            url: None,
            hosts: Vec::new(),
        }
    } else if value.text().is_some() {
        PublishedKeys {
            url: Some(value.check(remote_url)?.value),
            hosts: Vec::new(),
        }
    } else {
        PublishedKeys {
            url: None,
            hosts: optional(table, &JWKS, |inner| Some(hosts(inner)))??,
        }
    };
    Some(match keys.value {
        JwtKeyOrigin::Asked => JwtKeys::Asked(published),
        _ => JwtKeys::Published(published),
    })
}

fn hosts(table: &mut TomlTable<'_>) -> Vec<HostPattern> {
    let found = table.list(&HOSTS, |value| {
        let text = value::text(value)?;
        HostPattern::parse(&text).ok_or_else(|| {
            ValueFault::new(
                format!("`{text}` is not a valid host"),
                "write a host such as `\"api.example.com\"` or `\"*.example.com\"`",
            )
        })
    });
    let found = found.unwrap_or_default();
    found.into_iter().map(|one| one.value).collect()
}

fn texts(table: &mut TomlTable<'_>, key: &KeyDefinition) -> Vec<String> {
    let found = table.one_or_more(key, value::text).unwrap_or_default();
    found.into_iter().map(|one| one.value).collect()
}

/// Reads the audience. Senders with public key sets must state it, because the same keys sign for all their customers.
fn audience(table: &mut TomlTable<'_>, keys: Option<&JwtKeys>) -> Option<TokenAudience> {
    let is_own = keys.is_none_or(|keys| matches!(keys, JwtKeys::Secret));
    if !is_own && !table.has(&AUDIENCE) {
        table.missing(&AUDIENCE);
    }
    let choice = table.read(&AUDIENCE, |value| {
        value::choice(value, &[("none", 0), ("route", 1), ("url", 2)])
    });
    Some(match choice {
        Some(1) => TokenAudience::Route(Vec::new()),
        Some(2) => TokenAudience::Url,
        Some(_) => TokenAudience::Any,
        // A wrong word has an error already; `Any` in its place could accept the tokens of all customers.
        None if table.has(&AUDIENCE) || !is_own => return None,
        None => TokenAudience::Any,
    })
}

fn times(table: &mut TomlTable<'_>) -> TokenTimes {
    let found = table.one_or_more(&TOLERANCE_CLAIM, |value| {
        value::choice(value, &[("exp", true), ("iat", false)])
    });
    let found = found.unwrap_or_default();
    TokenTimes {
        needs_exp: found.iter().any(|one| one.value),
        needs_iat: found.iter().any(|one| !one.value),
    }
}

fn body_claim(table: &mut TomlTable<'_>) -> Option<BodyClaim> {
    let unless_empty = table.read(&UNLESS_EMPTY, value::boolean);
    let claim = digest_claim(table)?;
    Some(match unless_empty {
        Some(true) => BodyClaim::UnlessEmpty(claim),
        _ => BodyClaim::Always(claim),
    })
}

fn digest_claim(table: &mut TomlTable<'_>) -> Option<DigestClaim> {
    let name = table.require(&CLAIM_NAME, value::text);
    let digest = table.require(&DIGEST, |value| value::choice(value, &DIGESTS));
    let encoding = table.require(&ENCODING, |value| value::choice(value, &ENCODINGS));
    Some(DigestClaim {
        name: name?.value,
        digest: digest?.value,
        encoding: encoding?.value,
    })
}

/// Reads a claim with the digest of the URL, or with the URL itself.
fn url_claim(table: &mut TomlTable<'_>) -> Option<UrlClaim> {
    // Either key means a digest; the other one is then required.
    if table.has(&DIGEST) || table.has(&ENCODING) {
        return digest_claim(table).map(UrlClaim::Digest);
    }
    let name = table.require(&CLAIM_NAME, value::text)?;
    Some(UrlClaim::Plain(name.value))
}

fn fixed_claim(table: &mut TomlTable<'_>) -> Option<FixedClaim> {
    let name = table.require(&CLAIM_NAME, value::text);
    let value = table.require(&CLAIM_VALUE, value::text);
    Some(FixedClaim {
        name: name?.value,
        value: value?.value,
    })
}
