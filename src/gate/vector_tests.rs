//! Tests of every provider file's vectors: each is accepted unchanged, and rejected after each kind of damage.
//!
//! The tests find the files by themselves, so that a new file is covered without a line here.

mod case;
mod cost;
mod damage;
mod elsewhere;
mod identity;
mod keys;
mod oracle;
mod recut;
mod spot;
mod tokens;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use hookgate_verify::VerifyError;
use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::identity::{IdentityFacts, IdentityRules};
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers::{self, Provider};
use hookgate_verify::scheme::gzip;
use hookgate_verify::scheme::spec::{GzipText, HeaderFamilies, SchemeFamily};
use http::Uri;
use serde::Deserialize;

use self::case::Case;
use self::spot::{Spot, spots};
use crate::gate::challenge;
use crate::net::response::ResponseBody;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    vectors: Vec<Vector>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    source: String,
    /// The gate's clock, in seconds since the epoch.
    now: i64,
    /// The route's secret; empty if the sender publishes its keys.
    #[serde(default)]
    secret: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "path")]
    path: String,
    public_url: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    /// The route's `audience` and `claims`, if it needs them.
    #[serde(default)]
    audience: Vec<String>,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    /// The response of the URL where the sender publishes its keys: a key set, or a certificate with its chain.
    fetched: Option<String>,
    /// Root certificate of the chain.
    root: Option<String>,
    event_id: Option<String>,
    event_type: Option<String>,
    /// The response text if the vector is a URL check.
    challenge: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn path() -> String {
    "/webhook".to_owned()
}

/// Runs `check` over every vector of every provider, and reports all that fail.
fn each(check: impl Fn(&Provider, &Vector)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/verify/providers");
    let mut failed = Vec::new();
    for provider in providers::all() {
        let file = folder.join(format!("{}.toml", provider.id));
        let text = std::fs::read_to_string(&file).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        assert!(!file.vectors.is_empty(), "{} has no vectors", provider.id);
        for vector in &file.vectors {
            let run = AssertUnwindSafe(|| check(provider, vector));
            if std::panic::catch_unwind(run).is_err() {
                failed.push(name(provider, vector));
            }
        }
    }
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
}

fn name(provider: &Provider, vector: &Vector) -> String {
    format!("{}: {}", provider.id, vector.source)
}

#[test]
fn the_providers_of_this_release_are_there() {
    let ids: Vec<&str> = providers::all().iter().map(|one| one.id.as_str()).collect();
    for id in [
        "github",
        "github_sha1",
        "gitlab",
        "shopify",
        "slack",
        "standard_webhooks",
        "stripe",
        "svix",
        "x_webhook",
    ] {
        assert!(ids.contains(&id), "{id}");
    }
}

#[test]
fn every_vector_is_taken() {
    each(|provider, vector| {
        let verdict = Case::new(provider, vector).verdict(&provider.scheme);
        assert_eq!(verdict, Some(Ok(())), "{}", name(provider, vector));
    });
}

#[test]
fn every_vector_has_the_id_and_type_that_it_says() {
    each(|provider, vector| {
        let case = Case::new(provider, vector);
        let rules = IdentityRules::compile(IdentityFacts::of(&provider.scheme));
        let uri: Uri = case.target.parse().unwrap();
        let families = HeaderFamilies::new(&provider.scheme);
        let own_names = families.and_then(|families| families.own_names(&case.headers).unwrap());
        let mut head = case.head(&uri);
        head.headers = own_names.as_deref().unwrap_or(head.headers);
        let plain = gzip::plain(&case.body, 1 << 20).unwrap();
        let plain = plain.filter(|_| provider.scheme.variants.gzip.is_some());
        let identity = rules
            .read(&head, plain.as_deref().unwrap_or(&case.body))
            .unwrap_or_else(|err| panic!("{}: {err:?}", name(provider, vector)));
        let id = identity.event_id.as_ref().map(EventId::as_str);
        assert_eq!(id, vector.event_id.as_deref(), "{}", name(provider, vector));
        let kind = identity.event_type.as_deref();
        let said = vector.event_type.as_deref();
        assert_eq!(kind, said, "{}", name(provider, vector));
    });
}

#[test]
fn a_challenge_is_answered_where_the_vector_is_one() {
    each(|provider, vector| {
        let case = Case::new(provider, vector);
        let uri: Uri = case.target.parse().unwrap();
        let secret = Secret::new(case.secret.clone());
        let answer = provider
            .challenge
            .and_then(|kind| challenge::answer(kind, &case.head(&uri), &case.body, Some(&secret)));
        let text = answer.map(|answer| match answer.into_body() {
            ResponseBody::Whole(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => String::new(),
        });
        assert_eq!(text, vector.challenge, "{}", name(provider, vector));
    });
}

// Fails when a part of the body is not fed to the MAC.
#[test]
fn another_body_is_refused_where_the_body_is_signed() {
    each(|provider, vector| {
        if !provider.scheme.signs_body() {
            return;
        }
        let whole = Case::new(provider, vector);
        let signs_plain = provider.scheme.variants.gzip == Some(GzipText::Plain);
        let plain = |body: &[u8]| gzip::plain(body, 1 << 20).ok().flatten();
        for position in 0..whole.body.len() {
            let mut case = whole.clone();
            case.body[position] ^= 1;
            // The header of a gzip stream contains a time and a system, which are not signed.
            let text = plain(&case.body);
            if signs_plain && text.is_some() && text == plain(&whole.body) {
                continue;
            }
            refused(provider, vector, &case);
        }
        for body in [[&whole.body[..], b"\n"].concat(), vec![]] {
            if body == whole.body {
                continue;
            }
            let case = Case {
                body,
                ..whole.clone()
            };
            refused(provider, vector, &case);
        }
    });
}

/// Expects a reject. A scheme that reads the body may report another fault before it compares the signature.
fn refused(provider: &Provider, vector: &Vector, case: &Case) {
    let is_text = !matches!(&provider.scheme.family, SchemeFamily::Hmac(_))
        || provider.scheme.variants.gzip.is_some();
    match case.verdict(&provider.scheme) {
        Some(Err(VerifyError::BadSignature)) => {}
        Some(Err(
            VerifyError::MissingMaterial { .. }
            | VerifyError::MalformedMaterial { .. }
            | VerifyError::StaleTimestamp { .. },
        )) if is_text => {}
        other => panic!("{}: {other:?}", name(provider, vector)),
    }
}

// Fails when a reject names another value than the wrong one.
#[test]
fn a_missing_or_doubled_header_is_named() {
    each(|provider, vector| {
        let SchemeFamily::Hmac(_) = &provider.scheme.family else {
            return;
        };
        let whole = Case::new(provider, vector).under_own_names(&provider.scheme);
        for (spot, _) in spots(&provider.scheme) {
            let Spot::Header(header) = &spot else {
                continue;
            };
            let value = spot.read(&whole).unwrap();
            let missing = spot.write(&whole, &[]).unwrap();
            let reject = VerifyError::MissingMaterial {
                name: header.as_str().into(),
            };
            let verdict = missing.verdict(&provider.scheme);
            assert_eq!(verdict, Some(Err(reject)), "{}", name(provider, vector));
            let doubled = spot.write(&whole, &[value.clone(), value]).unwrap();
            let verdict = doubled.verdict(&provider.scheme);
            assert!(
                matches!(&verdict, Some(Err(VerifyError::MalformedMaterial { name, .. })) if **name == *header.as_str()),
                "{} with two {header}: {verdict:?}",
                name(provider, vector)
            );
        }
    });
}
