//! Tests of signed tokens and certificates, damaged in what other families lack.
//!
//! That is the token's own claims about itself, the audience, the validity period, and the keys that were fetched.

use std::time::Duration;

use aws_lc_rs::hmac::{Algorithm, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512, Key, sign};
use data_encoding::BASE64URL_NOPAD;
use hookgate_verify::scheme::spec::{
    FixedClaim, JwtAlgorithm, JwtLocation, JwtSpec, SchemeFamily, SchemeSpec, TokenAudience,
};
use serde_json::Value;

use super::case::Case;
use super::damage::{minimal, refused};
use super::spot::{Role, Spot, spots};
use super::{each, name};

/// A century: longer than any leeway or validity period.
const LONG: Duration = Duration::from_secs(100 * 365 * 86_400);

fn jwt(spec: &SchemeSpec) -> Option<&JwtSpec> {
    match &spec.family {
        SchemeFamily::Jwt(family) => Some(family),
        _ => None,
    }
}

/// Returns the text before the token, and its three parts.
fn token(spec: &JwtSpec, case: &Case) -> (String, [String; 3]) {
    let (prefix, text) = match &spec.location {
        JwtLocation::Body => (String::new(), String::from_utf8(case.body.clone()).unwrap()),
        JwtLocation::In(place, prefix) => {
            let text = spot(place).read(case).unwrap();
            let text = String::from_utf8(text).unwrap();
            let bare = text.strip_prefix(prefix.as_str()).unwrap().to_owned();
            (prefix.clone(), bare)
        }
    };
    let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    (prefix, parts.try_into().unwrap())
}

fn with_token(spec: &JwtSpec, case: &Case, prefix: &str, parts: &[String; 3]) -> Case {
    let text = format!("{prefix}{}", parts.join("."));
    match &spec.location {
        JwtLocation::Body => Case {
            body: text.into_bytes(),
            ..case.clone()
        },
        JwtLocation::In(place, _) => spot(place).write(case, &[text.into_bytes()]).unwrap(),
    }
}

fn spot(place: &hookgate_verify::scheme::spec::SchemeLocation) -> Spot {
    Spot::of(place)
}

fn decoded(part: &str) -> serde_json::Map<String, Value> {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

fn encoded(object: &serde_json::Map<String, Value>) -> String {
    BASE64URL_NOPAD.encode(&serde_json::to_vec(object).unwrap())
}

// Fails when the token's own `alg` is trusted: `LocalKey::verifies` that always returns true.
#[test]
fn a_token_does_not_choose_its_algorithm() {
    each(|provider, vector| {
        let Some(spec) = jwt(&provider.scheme) else {
            return;
        };
        let whole = minimal(provider, vector);
        let (prefix, parts) = token(spec, &whole);
        let others = JwtAlgorithm::ALL.map(|(name, _)| name).into_iter();
        for name in others.chain(["none", "None", "NONE", "hs256", "RS1", ""]) {
            let mut header = decoded(&parts[0]);
            if header.insert("alg".to_owned(), name.into()) == Some(name.into()) {
                continue;
            }
            for signature in [parts[2].clone(), String::new()] {
                let parts = [encoded(&header), parts[1].clone(), signature];
                let damaged = with_token(spec, &whole, &prefix, &parts);
                refused(provider, vector, &whole, &damaged, name);
            }
        }
    });
}

// Fails when the algorithm is taken from the token: `Keyring::find` without the comparison with `token.algorithm`, and
// `JwtScheme::read` without the comparison with the scheme's. Each of the two alone is sufficient.
#[test]
fn the_right_secret_under_another_algorithm_verifies_nothing() {
    let tried = std::cell::Cell::new(0);
    each(|provider, vector| {
        let Some(spec) = jwt(&provider.scheme) else {
            return;
        };
        let whole = minimal(provider, vector);
        let (prefix, mut parts) = token(spec, &whole);
        let is_known = signed(HMAC_SHA256, &whole.secret, &parts) == parts[2];
        if !is_known || spec.algorithms.len() > 1 {
            return;
        }
        let mut header = decoded(&parts[0]);
        for (name, named) in [("HS384", HMAC_SHA384), ("HS512", HMAC_SHA512)] {
            header.insert("alg".to_owned(), name.into());
            parts[0] = encoded(&header);
            for algorithm in [named, HMAC_SHA256] {
                parts[2] = signed(algorithm, &whole.secret, &parts);
                let damaged = with_token(spec, &whole, &prefix, &parts);
                refused(provider, vector, &whole, &damaged, name);
                tried.set(tried.get() + 1);
            }
        }
    });
    assert!(tried.get() > 0);
}

fn signed(algorithm: Algorithm, secret: &[u8], parts: &[String; 3]) -> String {
    let text = format!("{}.{}", parts[0], parts[1]);
    let mac = sign(&Key::new(algorithm, secret), text.as_bytes());
    BASE64URL_NOPAD.encode(mac.as_ref())
}

// Fails when a public key may be the secret of an HMAC: let `check` in `scheme/jwt` accept mixed algorithms.
#[test]
fn a_public_key_is_no_shared_secret() {
    each(|provider, vector| {
        let Some(spec) = jwt(&provider.scheme) else {
            return;
        };
        let whole = minimal(provider, vector);
        let is_hmac = spec.algorithms.iter().any(|one| one.hmac().is_some());
        let (prefix, mut parts) = token(spec, &whole);
        let mut header = decoded(&parts[0]);
        if is_hmac || header.insert("alg".to_owned(), "HS256".into()).is_none() {
            return;
        }
        parts[0] = encoded(&header);
        for key in [
            &whole.secret,
            whole.fetched.clone().unwrap_or_default().as_bytes(),
        ] {
            let key = Key::new(HMAC_SHA256, key);
            let text = format!("{}.{}", parts[0], parts[1]);
            let made = sign(&key, text.as_bytes());
            parts[2] = BASE64URL_NOPAD.encode(made.as_ref());
            let damaged = with_token(spec, &whole, &prefix, &parts);
            refused(
                provider,
                vector,
                &whole,
                &damaged,
                "HS256 with the public key",
            );
        }
    });
}

// Fails when a claim is not compared with the route's: `check_audience` without its comparison.
#[test]
fn a_token_for_another_audience_or_with_other_claims_is_refused() {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        // The gate compares the tenant of other families with the route, after the signature.
        let is_of_scheme = match &provider.scheme.family {
            SchemeFamily::Jwt(family) => matches!(family.audience, TokenAudience::Route(_)),
            family => matches!(family, SchemeFamily::Certificate(_)),
        };
        if is_of_scheme && !whole.audience.is_empty() {
            for other in [vec!["elsewhere".to_owned()], vec![]] {
                let damaged = Case {
                    audience: other,
                    ..whole.clone()
                };
                refused(provider, vector, &whole, &damaged, "another audience");
            }
        }
        let Some(spec) = jwt(&provider.scheme) else {
            return;
        };
        for missing in 0..whole.claims.len() {
            let mut damaged = whole.clone();
            damaged.claims[missing].value.push('x');
            refused(provider, vector, &whole, &damaged, "another claim");
            damaged.claims.remove(missing);
            refused(provider, vector, &whole, &damaged, "no claim");
        }
        let mut unknown = whole.clone();
        unknown.claims.push(FixedClaim {
            name: "not-there".to_owned(),
            value: "1".to_owned(),
        });
        refused(provider, vector, &whole, &unknown, "a missing claim");
        let mut issuer = provider.scheme.clone();
        if let SchemeFamily::Jwt(family) = &mut issuer.family {
            family.issuers = vec!["another issuer".to_owned()];
        }
        assert!(!whole.is_taken(&issuer), "{}", name(provider, vector));
        let is_any = matches!(spec.audience, TokenAudience::Any | TokenAudience::Url);
        assert!(is_any || !whole.audience.is_empty());
    });
}

// Fails when `exp` or `nbf` is ignored: `check_validity` that returns at once.
#[test]
fn a_token_or_certificate_counts_in_its_hours_only() {
    each(|provider, vector| {
        let is_bounded = match &provider.scheme.family {
            SchemeFamily::Jwt(family) if family.is_detached => return,
            SchemeFamily::Jwt(family) => {
                let claims = decoded(&token(family, &Case::new(provider, vector)).1[1]);
                ["exp", "nbf", "iat"].map(|name| claims.contains_key(name))
            }
            SchemeFamily::Certificate(_) => [true, true, true],
            _ => return,
        };
        let whole = minimal(provider, vector);
        if is_bounded[0] {
            let damaged = whole.clone().later(LONG);
            refused(provider, vector, &whole, &damaged, "a late hour");
        }
        if is_bounded[1] || is_bounded[2] {
            let damaged = whole.clone().earlier(LONG);
            refused(provider, vector, &whole, &damaged, "an early hour");
        }
    });
}

// Fails when a key with another name or an unknown owner is tried: `is_named` that always returns true.
#[test]
fn keys_that_are_not_the_senders_verify_nothing() {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        let Some(fetched) = &whole.fetched else {
            return;
        };
        for at in (fetched.len() / 4..fetched.len()).step_by(3) {
            if !fetched.is_char_boundary(at) || !fetched.is_char_boundary(at + 1) {
                continue;
            }
            let byte = fetched.as_bytes()[at];
            if !byte.is_ascii_alphanumeric() {
                continue;
            }
            let other = if byte == b'A' { 'B' } else { 'A' };
            let text = format!("{}{other}{}", &fetched[..at], &fetched[at + 1..]);
            if !is_key_touched(fetched, &text) {
                continue;
            }
            let damaged = Case {
                fetched: Some(text),
                ..whole.clone()
            };
            refused(provider, vector, &whole, &damaged, "another key");
        }
        for text in ["", "{}", "{\"keys\":[]}"] {
            let damaged = Case {
                fetched: Some(text.to_owned()),
                ..whole.clone()
            };
            refused(provider, vector, &whole, &damaged, text);
        }
        if whole.root.is_some() {
            let damaged = Case {
                root: None,
                ..whole.clone()
            };
            refused(provider, vector, &whole, &damaged, "no authority");
        }
    });
}

/// Returns whether a change affects the names or numbers of a key set. For a certificate, the chain decides.
fn is_key_touched(one: &str, other: &str) -> bool {
    let parts = |text: &str| -> Option<Vec<Value>> {
        let set: Value = serde_json::from_str(text).ok()?;
        let keys = match set.get("keys") {
            Some(keys) => keys.as_array()?.clone(),
            None => vec![set.get("key")?.clone()],
        };
        let names = ["kid", "kty", "crv", "n", "e", "x", "y"];
        Some(
            keys.iter()
                .flat_map(|key| names.map(|name| key[name].clone()))
                .collect(),
        )
    };
    match (parts(one), parts(other)) {
        (Some(one), Some(other)) => one != other,
        _ => false,
    }
}

// Fails when a certificate is fetched from any URL in a request: `is_own_host` that always returns true.
#[test]
fn a_certificate_comes_from_the_senders_hosts_only() {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        for (spot, role) in spots(&provider.scheme) {
            let Role::KeyPlace = role else { continue };
            let url = String::from_utf8(spot.read(&whole).unwrap()).unwrap();
            let host = url.split('/').nth(2).unwrap();
            for other in [
                url.replacen("https", "http", 1),
                url.replace(host, "evil.example"),
                url.replace(host, &format!("{host}.evil.example")),
                url.replace(host, &format!("evil.example/{host}")),
                url.replace(host, &format!("evil-{host}")),
                url.replace(host, &format!("x.{host}")),
                url.replace(host, &format!("{host}:8443")),
                url.replace(host, &format!("{host}:443")),
                url.replace(host, &format!("{host}.")),
                url.replace(host, &format!("user@{host}")),
                url.replace(host, &format!("{host}@evil.example")),
                url.replace(host, &format!("{host}%2eevil.example")),
                url.replace(host, &format!("evil.example\\@{host}")),
                url.replace(host, &host.to_ascii_uppercase()),
                url.replace(host, "127.0.0.1"),
                url.replace(host, "[::1]"),
                format!("{url}#x"),
                format!(" {url}"),
            ] {
                let damaged = spot.write(&whole, &[other.clone().into_bytes()]).unwrap();
                refused(provider, vector, &whole, &damaged, &other);
            }
        }
    });
}
