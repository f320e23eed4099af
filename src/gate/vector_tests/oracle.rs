//! Tests that no response to an unverified request is a valid signature of an event, for every provider.
//!
//! No code here names a provider. Each kind of check is sent with each text in each location where any check reads one.
//! Each piece of each response is then used as a signature of that text, in every location where the scheme reads a
//! signature.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::document::report::ReportStyle;
use hookgate_verify::providers::challenge::ProviderChallenge;
use hookgate_verify::providers::{self, Provider};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};

use super::case::Case;
use super::spot::{Role, Spot, spots};
use super::{File, Vector};
use crate::config;
use crate::gate::rules::RouteRules;
use crate::gate::verdict::Verdict;
use crate::gate::{Gate, GateAdmission};
use crate::model::clock::ClockReading;
use crate::model::ids::RequestId;
use crate::model::source::RequestSource;

/// Texts for checks to sign: some that checks accept, and some that events could have.
const TEXTS: [&str; 8] = [
    "20f9f8ed05f77439fe955c977e4c8a53",
    "MTcwMDAwMDAwMC1mYWtl",
    "abc",
    "v0:1700000000:x",
    "PHBheWxvYWQ+PC9wYXlsb2FkPg==",
    "{\"for_user_id\":\"1\"}",
    "[]",
    "12345",
];

/// The headers in which checks send a text.
const HEADERS: [&str; 5] = [
    "x-hook-secret",
    "x-okta-verification-challenge",
    "x-gcs-webhooks-endpoint-verification",
    "smartsheet-hook-challenge",
    "webhook-request-origin",
];

/// Returns a gate with one route, for the provider of the vector.
fn gate(provider: &Provider, vector: &Vector, more: &str) -> (Gate, RouteRules) {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = format!(
        "[routes.hook]\npath = \"/hook\"\nprovider = \"{}\"\nupstream = \"http://127.0.0.1:1/\"\n{more}\n",
        provider.id
    );
    if !vector.secret.is_empty() {
        text += &format!("secret = {}\n", quoted(&vector.secret));
    }
    if let Some(url) = &vector.public_url {
        text += &format!("public_url = {}\n", quoted(url));
    }
    if !vector.audience.is_empty() {
        text += &format!("audience = {:?}\n", vector.audience);
    }
    let needs_token = provider
        .challenge
        .is_some_and(ProviderChallenge::needs_verify_token);
    if needs_token && !more.contains("forward") {
        text += "verify_token = \"a8f1c3e59b7d2046\"\n";
    }
    let config = match config::load_text("hookgate.toml", &text) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{}", report.render(ReportStyle::Plain)),
    };
    let route = config.routes.into_iter().next().unwrap();
    let gate = Gate::new(None, Default::default(), Duration::from_secs(5));
    (
        gate,
        RouteRules::compile(route.into(), None, None, None).unwrap(),
    )
}

async fn admit((gate, rules): &(Gate, RouteRules), case: &Case) -> Option<GateAdmission> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let source = RequestSource {
        ip,
        peer: SocketAddr::new(ip, 0),
        is_tls: true,
    };
    let now = ClockReading::at_unix_seconds(case.now);
    let mut verdict = Verdict::new(RequestId::new(0, [0; 10]), source, now);
    let mut request = Request::new(Full::new(Bytes::from(case.body.clone())));
    *request.method_mut() = case.method.clone();
    *request.uri_mut() = case.target.parse().ok()?;
    *request.headers_mut() = case.headers.clone();
    let headers = request.headers_mut();
    headers.insert("content-length", HeaderValue::from(case.body.len()));
    headers.insert("host", HeaderValue::from_static("hooks.example.com"));
    Some(gate.admit(rules, None, request, now, &mut verdict).await)
}

/// Returns every check with this text: in each parameter and header, and in the bodies that checks have.
fn checks(whole: &Case, text: &str) -> Vec<Case> {
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let bare = |method: &Method| {
        let mut case = whole.clone();
        case.headers.clear();
        (case.method, case.target) = (method.clone(), "/hook".to_owned());
        case.body.clear();
        case
    };
    let mut found = Vec::new();
    let all = ProviderChallenge::ALL
        .iter()
        .flat_map(|(_, kind)| kind.parameters());
    for method in [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS] {
        for name in all.clone() {
            let mut case = bare(&method);
            let known =
                "hub.mode=subscribe&hub.verify_token=a8f1c3e59b7d2046&hub.topic=a8f1c3e59b7d2046";
            case.target = format!("/hook?{name}={escaped}&{known}");
            found.push(case);
        }
        for name in HEADERS {
            // Some texts are not valid in a header.
            if let Ok(value) = HeaderValue::from_str(text) {
                let mut case = bare(&method);
                case.headers.insert(name, value);
                found.push(case);
            }
        }
    }
    let json = serde_json::Value::from(text);
    for body in [
        format!("{{\"challenge\":{json}}}"),
        format!("{{\"verification_token\":{json}}}"),
        format!(
            "{{\"type\":\"url_verification\",\"token\":\"a8f1c3e59b7d2046\",\"challenge\":{json}}}"
        ),
        format!("{{\"event\":\"endpoint.url_validation\",\"payload\":{{\"plainToken\":{json}}}}}"),
        "{\"test\":true}".to_owned(),
        "ssl_check=1&token=abc".to_owned(),
        "webhook_id=17".to_owned(),
    ] {
        let mut case = bare(&Method::POST);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        case.headers.insert("content-type", form);
        let ping = HeaderValue::from_static("diagnostics:ping");
        case.headers.insert("x-event-key", ping);
        case.body = body.into_bytes();
        found.push(case);
    }
    found
}

/// Returns every piece of a response that could be a signature.
async fn pieces(admission: GateAdmission) -> Vec<String> {
    let GateAdmission::Answered(answer) = admission else {
        return Vec::new();
    };
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map(|whole| whole.to_bytes());
    let body = String::from_utf8(body.unwrap_or_default().to_vec()).unwrap();
    let values = head.headers.values();
    let mut texts: Vec<String> = values
        .map(|value| value.to_str().unwrap_or_default().to_owned())
        .collect();
    texts.push(body);
    let mut found = Vec::new();
    for text in texts {
        let is_inner = |one: char| one.is_ascii_alphanumeric() || "+/_-=".contains(one);
        for piece in text.split(|one| !is_inner(one)) {
            found.push(piece.to_owned());
            found.extend(piece.split_once('=').map(|(_, rest)| rest.to_owned()));
        }
        found.push(text);
    }
    // Every scheme has longer signatures and tokens.
    found.retain(|piece| piece.len() >= 8);
    found.sort();
    found.dedup();
    found
}

/// Returns events whose signed text may be `text`, with `piece` as the signature in one location after the other.
fn forgeries(provider: &Provider, whole: &Case, text: &str, piece: &str) -> Vec<Case> {
    let spec = &provider.scheme;
    let mut bodies = vec![Case {
        body: text.as_bytes().to_vec(),
        ..whole.clone()
    }];
    for (spot, role) in spots(spec) {
        if matches!(role, Role::Value) {
            bodies.extend(spot.write(whole, &[text.as_bytes().to_vec()]));
        }
    }
    let mut found = Vec::new();
    for body in &bodies {
        for (spot, role) in spots(spec) {
            let mut values = vec![piece.to_owned()];
            match &role {
                Role::Signature(list, _) => {
                    let prefixes = ["sha256=", "sha1=", "v0=", "sha512="];
                    values.extend(prefixes.map(|prefix| format!("{prefix}{piece}")));
                    if let Some(list) = list {
                        let key = match list.key.as_str() {
                            _ if list.any_key => "fakePublicKey",
                            key => key,
                        };
                        values.push(format!("{key}{}{piece}", list.assign));
                    }
                }
                Role::Token | Role::Basic => {
                    values.extend([format!("Bearer {piece}"), format!("Basic {piece}")]);
                }
                _ => continue,
            }
            for value in values {
                let signed = match &spot {
                    // A body that is not text has no field for a signature.
                    Spot::Form(_) | Spot::Json(_) if std::str::from_utf8(&body.body).is_err() => {
                        None
                    }
                    spot => spot.write(body, &[value.into_bytes()]),
                };
                found.extend(signed);
            }
        }
    }
    found
}

/// Fails when `asked_and_signed` does not call `signs_for_anyone`: the response to X's or Braintree's check is then
/// the signature of an event.
#[tokio::test]
async fn no_response_to_an_unverified_request_signs_an_event() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/verify/providers");
    let mut verified = Vec::new();
    for provider in providers::all()
        .iter()
        .filter(|one| one.challenge.is_some())
    {
        let text = std::fs::read_to_string(folder.join(format!("{}.toml", provider.id))).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        let vector = file.vectors.first().unwrap();
        let gate = gate(provider, vector, "");
        let whole = Case {
            target: "/hook".to_owned(),
            ..Case::new(provider, vector)
        };
        let mut texts = TEXTS.map(str::to_owned).to_vec();
        texts.extend(
            String::from_utf8(whole.body.clone())
                .ok()
                .filter(|text| text.len() < 2000),
        );
        for text in texts {
            let mut answers = Vec::new();
            for check in checks(&whole, &text) {
                if let Some(admission) = admit(&gate, &check).await {
                    answers.extend(pieces(admission).await);
                }
            }
            answers.sort();
            answers.dedup();
            for piece in &answers {
                for forged in forgeries(provider, &whole, &text, piece) {
                    if forged.is_taken(&provider.scheme) {
                        verified.push(provider.id.as_str());
                    }
                    let admission = admit(&gate, &forged).await;
                    assert!(
                        matches!(
                            admission,
                            None | Some(GateAdmission::Refused(..) | GateAdmission::Answered(_))
                        ),
                        "{}: {text:?} passes as an event with {piece:?}",
                        provider.id
                    );
                }
            }
        }
    }
    // For these the signature is valid, and only the form of the event reveals the forgery. Without such cases this
    // tests nothing.
    verified.sort_unstable();
    verified.dedup();
    assert_eq!(verified, ["braintree", "twitter"]);
}

/// Fails when a check is forwarded whose text could be an event: the app would sign it.
#[tokio::test]
async fn no_check_with_the_text_of_an_event_is_forwarded() {
    for id in ["twitter", "braintree"] {
        let provider = providers::find(id).unwrap();
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/verify/providers");
        let text = std::fs::read_to_string(folder.join(format!("{id}.toml"))).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        let vector = file.vectors.first().unwrap();
        let gate = gate(&provider, vector, "on_challenge = \"forward\"");
        let whole = Case::new(&provider, vector);
        let mut forwarded = 0;
        for text in TEXTS {
            for check in checks(&whole, text) {
                match admit(&gate, &check).await {
                    Some(GateAdmission::Unverified(_)) => {
                        forwarded += 1;
                        assert!(!text.contains(['{', '[', ':']), "{id}: {text}");
                    }
                    Some(GateAdmission::Refused(..)) | None => {}
                    Some(_) => panic!("{id}: {text}"),
                }
            }
        }
        assert!(forwarded > 0, "{id}");
    }
}
