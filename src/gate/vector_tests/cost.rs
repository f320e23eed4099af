//! Tests that work before verification is linear, for every provider file and for custom schemes.
//!
//! The tests measure the processor time of their own thread. They compare it with a reference that reads a body of the
//! same size once, on the same machine, in the same build, at the same time. So the bound means "linear, with a
//! factor", not a number of seconds. A loop over all pairs of 100,000 names exceeds it a hundredfold.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hint::black_box;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use hookgate_verify::document::report::ReportStyle;
use hookgate_verify::providers;
use hookgate_verify::scheme::RequestHead;
use hookgate_verify::scheme::spec::{JwtLocation, SchemeFamily, SchemeSpec};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use rustix::time::{ClockId, clock_gettime};
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;

use super::case::Case;
use super::each;
use super::spot::{Spot, spots};
use crate::config::load_text;
use crate::config::model::Route;
use crate::gate::challenge::bodied;
use crate::gate::rules::compile_keys;

/// The default of `max_body`.
const MIB: usize = 1 << 20;

/// Length of a header value that the listener still accepts.
const LONG_VALUE: usize = 12 * 1024;

/// Multiple of the reference that work may take. Reading JSON, hashing it under a few keys and sorting a form take a
/// few references each; the most expensive scheme takes a quarter of the limit.
const FACTOR: u32 = 40;

/// Returns the processor time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

fn measure(work: impl FnOnce()) -> Duration {
    let began = cpu_time();
    work();
    cpu_time().saturating_sub(began)
}

/// The cost of linear work on this machine at this time.
struct Reference(Duration);

impl Reference {
    /// Measures reading and hashing 1 MiB of JSON once.
    fn measure() -> Self {
        let body = names(MIB);
        let read = || {
            measure(|| {
                black_box(serde_json::from_slice::<IgnoredAny>(&body).is_ok());
                black_box(Sha256::digest(&body));
            })
        };
        Self(read().max(read()).max(Duration::from_millis(1)))
    }

    /// Adds the digest of the scheme if it is a slow one: no processor has instructions for Keccak.
    fn of(spec: &SchemeSpec) -> Self {
        let Self(mut took) = Self::measure();
        if format!("{:?}", spec.family).contains("Keccak256") {
            let body = names(MIB);
            took += measure(|| {
                black_box(Keccak256::digest(&body));
            });
        }
        Self(took)
    }

    /// Fails if the work exceeds the limit twice in a row.
    fn check(&self, what: &str, mut work: impl FnMut()) {
        let limit = self.0 * FACTOR;
        let took = measure(&mut work);
        if std::env::var_os("SHOW_COST").is_some() {
            eprintln!("{took:?} of {limit:?}: {what}");
        }
        if took > limit {
            let again = measure(&mut work);
            assert!(again <= limit, "{what}: {again:?}, more than {limit:?}");
        }
    }
}

/// Returns a JSON object of distinct names, about 100,000 in 1 MiB.
fn names(size: usize) -> Vec<u8> {
    filled(
        b"{",
        size,
        |number| format!("\"{number:x}\":0,"),
        b"\"\":0}",
    )
}

fn filled(start: &[u8], size: usize, piece: impl Fn(usize) -> String, end: &[u8]) -> Vec<u8> {
    let mut body = start.to_vec();
    let mut number = 0;
    loop {
        let piece = piece(number);
        if body.len() + piece.len() + end.len() > size {
            body.extend_from_slice(end);
            return body;
        }
        body.extend_from_slice(piece.as_bytes());
        number += 1;
    }
}

/// Returns the first keys of the pointers that a scheme reads, and the names of SNS fields.
fn keys(spec: &SchemeSpec) -> Vec<String> {
    let pointers = spec.pointers().into_iter();
    let mut keys: Vec<String> = pointers.filter_map(|one| one.into_iter().next()).collect();
    if matches!(spec.family, SchemeFamily::Certificate(_)) {
        keys.extend(["Message", "Type"].map(str::to_owned));
    }
    keys.sort_unstable();
    keys.dedup();
    keys.truncate(4);
    keys
}

/// Returns the scheme as text without the names in it.
fn shape(spec: &SchemeSpec) -> String {
    let text = format!(
        "{:?} {:?} {}",
        spec.family,
        spec.variants,
        spec.event_id.len()
    );
    // Every other piece between quotation marks is a name.
    text.split('"').step_by(2).collect()
}

/// Returns expensive bodies of 1 MiB, for every scheme.
fn bodies(spec: &SchemeSpec, own: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut bodies = vec![
        ("names".to_owned(), names(MIB)),
        (
            "lists".to_owned(),
            [vec![b'['; MIB / 2], vec![b']'; MIB / 2]].concat(),
        ),
        ("open lists".to_owned(), vec![b'['; MIB]),
        (
            "open objects".to_owned(),
            filled(b"", MIB, |_| r#"{"a":"#.to_owned(), b""),
        ),
        (
            "numbers".to_owned(),
            filled(b"[", MIB, |_| "0,".to_owned(), b"0]"),
        ),
        (
            "objects".to_owned(),
            filled(b"[", MIB, |_| "{},".to_owned(), b"{}]"),
        ),
        ("quotes".to_owned(), vec![b'"'; MIB]),
        ("control characters".to_owned(), vec![1; MIB]),
        (
            "fields".to_owned(),
            filled(b"", MIB, |number| format!("{number:x}=1&"), b""),
        ),
        (
            "a field again and again".to_owned(),
            filled(b"", MIB, |_| "a=&".to_owned(), b""),
        ),
        (
            "escaped fields".to_owned(),
            filled(b"a=", MIB, |_| "%41".to_owned(), b""),
        ),
        (
            "long fields".to_owned(),
            filled(b"", MIB, |_| format!("{}=%2B+&", "a".repeat(1100)), b""),
        ),
    ];
    if let Some(start) = own.trim_ascii_end().strip_suffix(b"}") {
        let start = [start, b","].concat();
        let more = |number| format!("\"k{number:x}\":0,");
        bodies.push((
            "own and names".to_owned(),
            filled(&start, MIB, more, b"\"\":0}"),
        ));
    }
    let form = [own, b"&"].concat();
    let field = |number| format!("k{number:x}=1&");
    bodies.push(("own and fields".to_owned(), filled(&form, MIB, field, b"")));
    for key in keys(spec) {
        let start = format!("{{{key:?}:{{");
        let more = |number| format!("\"{number:x}\":0,");
        let name = format!("names below `{key}`");
        bodies.push((name, filled(start.as_bytes(), MIB, more, b"\"\":0}}")));
        let again = |_| format!("{key:?}:\"x\",");
        bodies.push((
            format!("`{key}` again and again"),
            filled(b"{", MIB, again, b"\"\":0}"),
        ));
        let start = format!("{{{key:?}:\"");
        let escape = |_| "\\u0041".to_owned();
        bodies.push((
            format!("escapes in `{key}`"),
            filled(start.as_bytes(), MIB, escape, b"\"}"),
        ));
    }
    bodies
}

/// Returns tokens of 1 MiB: many claims, many names in the header, a large claim, many dots.
fn tokens(own: &str) -> Vec<(&'static str, String)> {
    let mut parts = own.split('.');
    let (header, signature) = (
        parts.next().unwrap_or_default(),
        parts.nth(1).unwrap_or_default(),
    );
    let room = MIB / 4 * 3 - 512;
    let many = BASE64URL_NOPAD.encode(&names(room));
    let nested = filled(
        b"{\"aud\":{",
        room,
        |number| format!("\"{number:x}\":0,"),
        b"\"\":0}}",
    );
    let nested = BASE64URL_NOPAD.encode(&nested);
    let kid = filled(
        b"{\"kid\":[",
        room,
        |_| "0,".to_owned(),
        b"0],\"alg\":\"RS256\"}",
    );
    let kid = BASE64URL_NOPAD.encode(&kid);
    vec![
        ("claims", format!("{header}.{many}.{signature}")),
        ("names in the header", format!("{many}.e30.{signature}")),
        ("a claim", format!("{header}.{nested}.{signature}")),
        ("a key's name", format!("{kid}.e30.{signature}")),
        ("dots", ".".repeat(MIB - 512)),
        (
            "a signature",
            format!("{header}.e30.{}", "A".repeat(MIB - 512)),
        ),
    ]
}

/// Returns the request with tokens of 1 MiB, if the scheme reads one from the body.
fn with_token(case: &Case, spec: &SchemeSpec) -> Vec<(&'static str, Case)> {
    let SchemeFamily::Jwt(family) = &spec.family else {
        return Vec::new();
    };
    let spot = match &family.location {
        JwtLocation::Body => {
            let own = String::from_utf8_lossy(&case.body).into_owned();
            let bodies = tokens(&own).into_iter().map(|(name, token)| {
                let body = token.into_bytes();
                (
                    name,
                    Case {
                        body,
                        ..case.clone()
                    },
                )
            });
            return bodies.collect();
        }
        JwtLocation::In(place, _) if !place.is_in_head() => Spot::of(place),
        JwtLocation::In(..) => return Vec::new(),
    };
    let own = String::from_utf8(spot.read(case).unwrap()).unwrap();
    let cases = tokens(&own).into_iter();
    let cases =
        cases.filter_map(|(name, token)| Some((name, spot.write(case, &[token.into_bytes()])?)));
    cases.collect()
}

/// Returns requests with heads that are as expensive as possible: each value long, listed repeatedly, or full of names.
fn heads(case: &Case, spec: &SchemeSpec) -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    for (spot, _) in spots(spec) {
        let Some(own) = spot
            .read(case)
            .filter(|_| matches!(spot, Spot::Header(_) | Spot::Query(_)))
        else {
            continue;
        };
        let again = |separator: &[u8]| {
            let entry = [&own[..], separator].concat();
            entry.repeat((LONG_VALUE / entry.len().max(1)).max(1))
        };
        let distinct = |separator: char| {
            let entry = |number| format!("k{number:x}=1{separator}");
            filled(b"", LONG_VALUE, entry, b"")
        };
        for (name, value) in [
            ("commas", again(b",")),
            ("spaces", again(b" ")),
            ("semicolons", again(b";")),
            ("entries", distinct(',')),
            ("sets", distinct(' ')),
            ("letters", vec![b'a'; LONG_VALUE]),
            ("separators", vec![b','; LONG_VALUE]),
        ] {
            if let Some(changed) = spot.write(case, &[value]) {
                cases.push((format!("{spot:?}: {name}"), changed));
            }
        }
    }
    let query = |piece: &str| {
        let target = case.target.split('?').next().unwrap_or_default();
        let target = format!("{target}?{}", piece.repeat(LONG_VALUE / piece.len()));
        Case {
            target,
            ..case.clone()
        }
    };
    for piece in ["a=1&", "&", "%61&", "%2F"] {
        cases.push((format!("query of `{piece}`"), query(piece)));
    }
    let mut many = case.clone();
    for number in 0..900 {
        let name = HeaderName::try_from(format!("x{number:x}")).unwrap();
        many.headers.append(name, HeaderValue::from_static("1"));
    }
    cases.push(("headers".to_owned(), many));
    cases
}

// Fails when any parsing before the signature takes more than linear time: search `Object` for each name from its
// start, or let a form have any number of fields and search it for each.
#[test]
fn no_body_costs_more_than_linear_work_before_it_is_refused() {
    let measured = RefCell::new(HashSet::new());
    each(|provider, vector| {
        let case = Case::new(provider, vector);
        let spec = case.settled(&provider.scheme);
        // Names of headers and fields change no cost, so each shape of a scheme is measured once.
        if !measured.borrow_mut().insert(shape(&spec)) {
            return;
        }
        let all = bodies(&spec, &case.body);
        let reference = Reference::of(&spec);
        // A MAC over the arriving body does not parse it.
        let count = match &spec.family {
            SchemeFamily::Hmac(_) => 1,
            _ => all.len(),
        };
        for (name, body) in all.into_iter().take(count) {
            let heavy = Case {
                body,
                ..case.clone()
            };
            let what = format!("{}, body of {name}", provider.id);
            reference.check(&what, || drop(black_box(heavy.verdict(&spec))));
        }
        for (name, heavy) in with_token(&case, &spec) {
            let what = format!("{}, token of {name}", provider.id);
            reference.check(&what, || drop(black_box(heavy.verdict(&spec))));
        }
    });
}

// Fails when a list in the head has no bound of its own, or when masking of the head searches it for each name.
#[test]
fn no_head_costs_more_than_linear_work_before_it_is_refused() {
    let reference = Reference::measure();
    each(|provider, vector| {
        let case = Case::new(provider, vector);
        let spec = case.settled(&provider.scheme);
        let all = heads(&case, &spec);
        reference.check(&format!("the heads of {}", provider.id), || {
            for (_, heavy) in &all {
                drop(black_box(heavy.verdict(&spec)));
                black_box(spec.shown_target(&heavy.target));
                let hidden = heavy
                    .headers
                    .keys()
                    .filter(|name| spec.redacts_header(name));
                black_box(hidden.count());
            }
        });
    });
}

// Fails when bodies of any size are parsed for a URL check.
#[test]
fn no_body_is_searched_for_a_url_check() {
    let head = (Method::POST, Uri::from_static("/"), HeaderMap::new());
    let head = RequestHead {
        method: &head.0,
        uri: &head.1,
        headers: &head.2,
    };
    let means = crate::gate::challenge::unsigned::ChallengeMaterial {
        verify_token: None,
        public_url: None,
        secret: None,
        is_left_to_app: false,
    };
    let reference = Reference::measure();
    for provider in providers::all() {
        let Some(kind) = provider.challenge.filter(|kind| bodied::is_in_body(*kind)) else {
            continue;
        };
        for (name, body) in bodies(&provider.scheme, b"{}") {
            reference.check(&format!("{}, a check of {name}", provider.id), || {
                black_box(bodied::answer(kind, &head, &body, &means).is_some());
            });
        }
    }
}

/// Routes with custom schemes.
const OWN: [(&str, &str); 7] = [
    (
        "token",
        "type = \"token\"\ntoken = { json = \"/token\" }\nevent_id = { json = \"/id\" }",
    ),
    (
        "form token",
        "type = \"token\"\ntoken = { form = \"token\" }",
    ),
    (
        "token in a form's JSON",
        "type = \"token\"\ntoken = { form = \"data\", json = \"/token\" }",
    ),
    (
        "signed token",
        "type = \"jwt\"\nalgorithms = [\"HS256\"]\ntoken = { json = \"/token\" }\nkeys = \"secret\"",
    ),
    (
        "values",
        "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { json = \"/signature\" }\nsigned = \"{json:/a}{json:/b/0}{json:/b/1}{body}\"",
    ),
    (
        "sorted form",
        "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { header = \"X-Signature\" }\nsigned = \"{form:sorted}{body}\"",
    ),
    (
        "text of the body",
        "type = \"hmac\"\nalgorithm = \"sha512\"\nencoding = \"hex\"\nsignature = { header = \"X-Signature\" }\nsigned = \"a{body:json_string}{body}\"",
    ),
];

fn own_route(name: &str, scheme: &str) -> Route {
    let text = format!(
        "[routes.a]\npath = \"/a\"\nsecret = \"f3b8c1d09e7a4b52aa17c4d85e6f9012\"\nupstream = \"http://127.0.0.1:8080/\"\n\n[routes.a.scheme]\n{scheme}\n"
    );
    let loaded = load_text("hookgate.toml", text);
    let loaded =
        loaded.unwrap_or_else(|report| panic!("{name}: {}", report.render(ReportStyle::Plain)));
    loaded.config.routes.into_iter().next().unwrap()
}

// Fails when the claims of a token are searched from the start for each name.
#[test]
fn custom_schemes_cost_linear_work() {
    let reference = Reference::measure();
    for (name, scheme) in OWN {
        let route = own_route(name, scheme);
        let keys = compile_keys(&route).ok().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-signature", "0".repeat(128).parse().unwrap());
        let (method, uri) = (Method::POST, Uri::from_static("/a"));
        let head = RequestHead {
            method: &method,
            uri: &uri,
            headers: &headers,
        };
        let mut all = bodies(&route.scheme, br#"{"signature":"x"}"#);
        for (kind, token) in tokens("eyJhbGciOiJIUzI1NiJ9.e30.AAAA") {
            let body = format!("{{\"token\":\"{token}\"}}");
            all.push((format!("token of {kind}"), body.into_bytes()));
        }
        for (kind, body) in all {
            reference.check(&format!("{name}, {kind}"), || {
                let Ok(mut pending) = keys.open(head, 0) else {
                    return;
                };
                pending.update(&body);
                drop(black_box(pending.need(&body)));
                drop(black_box(pending.finish(&body, None)));
            });
        }
    }
}

// Tests the bound itself: fails when `FACTOR` or the reference is so large that a loop over pairs passes.
#[test]
#[should_panic(expected = "more than")]
fn a_loop_over_all_pairs_is_seen() {
    let body = names(MIB);
    let names: Vec<&[u8]> = body.split(|byte| *byte == b',').collect();
    Reference::measure().check("pairs", || {
        let mut found = 0;
        // A fiftieth of all pairs already exceeds the limit by far.
        for name in names.iter().take(names.len() / 50) {
            found += usize::from(names.iter().rev().any(|other| other == name));
        }
        black_box(found);
    });
}
