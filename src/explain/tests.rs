//! Tests that make exactly the mistake of each cause, with real signatures.
//!
//! `scheme` signs each request, the test changes one thing, and the explanation must name that thing. No text of an
//! explanation may hold a secret.

mod bodies;
mod heads;
mod places;
mod secrets;
mod strange;
mod times;
mod urls;

use bytes::Bytes;
use hookgate_verify::document::report::ReportStyle;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers;
use hookgate_verify::scheme::spec::SchemeSpec;
use hookgate_verify::scheme::{RequestHead, Scheme, ToSign};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use crate::config::{self, model::GateConfig};
use crate::explain::{PastRequest, RefusalExplainer, RefusalExplanation};
use crate::gate::Gate;
use crate::gate::rules::RouteRules;
use crate::model::ids::RouteName;

pub(super) const TEXT: &str = "kT7vQ2xW9mZ4pL8nB3cR6yH1dF5gJ0sA";
pub(super) const OTHER: &str = "uE8iO3aX6bN1mV4cY9zK2jW7hG5fD0tS";
pub(super) const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const OTHER_KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Time at which requests are signed and arrive, in seconds since the Unix epoch.
pub(super) const T: i64 = 1_700_000_000;

pub(super) const JSON: &str =
    r#"{"id":"evt_1","type":"invoice.paid","data":{"name":"Zoë","url":"https://a/b"}}"#;

/// Builds an explainer from the text of a config.
pub(super) fn explainer(text: &str) -> RefusalExplainer {
    let loaded = config::load_text("hookgate.toml", text);
    let config: GateConfig = match loaded {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{}", report.render(ReportStyle::Plain)),
    };
    let routes = config.routes.into_iter();
    let rules = routes.map(|route| RouteRules::compile(route.into(), None, None, None).unwrap());
    let rules: Vec<_> = rules.collect();
    let timeout = std::time::Duration::from_secs(5);
    let gate = Gate::new(None, Default::default(), timeout);
    RefusalExplainer::new(&gate, &rules).unwrap()
}

/// Returns the config of a route of a provider.
pub(super) fn route(name: &str, provider: &str, secret: &str, more: &str) -> String {
    let secret = match secret.starts_with('{') || secret.starts_with('[') {
        true => secret.to_owned(),
        false => toml::Value::String(secret.to_owned()).to_string(),
    };
    format!(
        "[routes.{name}]\npath = \"/{name}\"\nprovider = \"{provider}\"\nsecret = {secret}\n\
         upstream = \"http://127.0.0.1:1/\"\n{more}\n"
    )
}

/// Returns the scheme of a provider from the catalogue.
pub(super) fn spec(provider: &str) -> SchemeSpec {
    providers::find(provider).unwrap().scheme.clone()
}

/// Signs a request as a sender with this scheme and secret signs it.
pub(super) fn signed(spec: &SchemeSpec, secret: &str, path: &str, body: &[u8]) -> PastRequest {
    signed_as(spec, secret, None, "application/json", path, body)
}

/// Signs a request with a scheme that signs the URL.
pub(super) fn signed_to(
    spec: &SchemeSpec,
    secret: &str,
    public_url: &str,
    path: &str,
    body: &[u8],
) -> PastRequest {
    signed_as(
        spec,
        secret,
        Some(public_url),
        "application/json",
        path,
        body,
    )
}

/// Signs a request that has a content type.
pub(super) fn signed_as(
    spec: &SchemeSpec,
    secret: &str,
    public_url: Option<&str>,
    content_type: &str,
    path: &str,
    body: &[u8],
) -> PastRequest {
    let secret = Secret::new(secret.as_bytes().to_vec());
    let scheme = Scheme::compile(spec, &[&secret], public_url).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("hooks.example.com"));
    headers.insert("content-type", content_type.parse().unwrap());
    headers.insert("content-length", HeaderValue::from(body.len()));
    let (method, uri): (Method, Uri) = (Method::POST, path.parse().unwrap());
    let to_sign = ToSign {
        head: RequestHead {
            method: &method,
            uri: &uri,
            headers: &headers,
        },
        unix_ms: T * 1000,
        id: Some("msg_1"),
        body,
    };
    for (name, value) in scheme.sign(0, &to_sign).unwrap().headers {
        headers.insert(name, HeaderValue::from_str(&value).unwrap());
    }
    PastRequest {
        method,
        uri,
        version: Version::HTTP_11,
        headers,
        body: Bytes::copy_from_slice(body),
        is_cut: false,
        received_ms: Some(T * 1000),
        source: None,
        recorded: None,
        others: Vec::new(),
    }
}

/// Replaces the body, as a proxy that changes it in transit does.
pub(super) fn with_body(seen: &PastRequest, body: &[u8]) -> PastRequest {
    let mut seen = seen.clone();
    seen.headers
        .insert("content-length", HeaderValue::from(body.len()));
    seen.body = Bytes::copy_from_slice(body);
    seen
}

/// Returns the request with one header replaced.
pub(super) fn with_header(seen: &PastRequest, name: &str, value: &str) -> PastRequest {
    let mut seen = seen.clone();
    let name: HeaderName = name.parse().unwrap();
    seen.headers
        .insert(name, HeaderValue::from_str(value).unwrap());
    seen
}

/// Returns the request without a header, and the value of that header.
pub(super) fn without(seen: &PastRequest, name: &str) -> (PastRequest, String) {
    let mut seen = seen.clone();
    let value = seen.headers.remove(name).unwrap();
    (seen, value.to_str().unwrap().to_owned())
}

/// Explains a request and checks that no secret of the tests appears in the result.
pub(super) fn explain(
    explainer: &RefusalExplainer,
    name: Option<&str>,
    seen: &PastRequest,
) -> RefusalExplanation {
    let name = name.map(RouteName::new);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let explanation = runtime.block_on(explainer.explain(name.as_ref(), seen));
    let text = serde_json::to_string(&explanation).unwrap();
    for secret in [TEXT, OTHER, KEY, OTHER_KEY] {
        let bare = secret.trim_start_matches("whsec_");
        for start in 0..bare.len() - 8 {
            assert!(!text.contains(&bare[start..start + 8]), "{text}");
        }
    }
    explanation
}

/// Checks that the explanation names the reason and the cause, and returns it.
#[track_caller]
pub(super) fn check(
    config: &str,
    seen: &PastRequest,
    reason: &str,
    slug: &str,
) -> RefusalExplanation {
    let explanation = explain(&explainer(config), None, seen);
    assert_eq!(
        explanation.reason.as_deref(),
        Some(reason),
        "{explanation:#?}"
    );
    let found = explanation.cause.as_ref().map(|cause| cause.slug.as_str());
    assert_eq!(found, Some(slug), "{explanation:#?}");
    assert!(!explanation.passes);
    explanation
}

/// Works as [`check`], for a cause that makes the verification pass.
#[track_caller]
pub(super) fn proves(
    config: &str,
    seen: &PastRequest,
    reason: &str,
    slug: &str,
) -> RefusalExplanation {
    let explanation = check(config, seen, reason, slug);
    assert!(
        explanation.cause.as_ref().unwrap().is_proven,
        "{explanation:#?}"
    );
    explanation
}

/// Returns the sentences of the cause.
pub(super) fn says(explanation: &RefusalExplanation) -> String {
    let cause = explanation.cause.as_ref().unwrap();
    format!("{} {}", cause.says, cause.fix)
}

#[test]
fn what_is_in_order_passes() {
    let providers = [
        ("stripe", TEXT),
        ("github", TEXT),
        ("standard_webhooks", KEY),
        ("slack", TEXT),
        ("shopify", TEXT),
        ("gitlab", TEXT),
    ];
    for (provider, secret) in providers {
        let seen = signed(&spec(provider), secret, "/a", JSON.as_bytes());
        let explanation = explain(&explainer(&route("a", provider, secret, "")), None, &seen);
        assert!(explanation.passes, "{provider}: {explanation:#?}");
        assert_eq!(explanation.provider.as_deref(), Some(provider));
    }
}

// Fails if a cause is reported although no cause can be found.
#[test]
fn where_nothing_helps_it_says_so() {
    let seen = signed(
        &spec("stripe"),
        "nobody-knows-this-secret-0123456789",
        "/a",
        JSON.as_bytes(),
    );
    let config = route("a", "stripe", TEXT, "") + &route("b", "github", OTHER, "");
    let explanation = explain(&explainer(&config), None, &seen);
    assert_eq!(explanation.reason.as_deref(), Some("bad-signature"));
    assert_eq!(explanation.cause, None);
    assert!(explanation.tries > 50, "{explanation:#?}");
    assert!(
        explanation.fix.contains("The secret at the provider"),
        "{}",
        explanation.fix
    );
}
