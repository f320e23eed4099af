//! Tests of vectors sent with another method, path, host or form, if the scheme signs it.

use hookgate_verify::scheme::public_url;
use hookgate_verify::scheme::spec::{SchemeFamily, SchemeSpec, TemplatePart, TokenAudience};
use http::Method;

use super::case::Case;
use super::damage::{minimal, refused};
use super::each;
use super::spot::parts;

/// The aspects of a request that a part of the signed text covers, besides single values.
#[derive(Default)]
pub(super) struct Covers {
    pub(super) method: bool,
    pub(super) path: bool,
    pub(super) query: bool,
    pub(super) public_url: bool,
    pub(super) form: bool,
}

pub(super) fn covers(part: &TemplatePart) -> Covers {
    let none = Covers::default();
    let path = Covers {
        path: true,
        ..Covers::default()
    };
    let target = Covers {
        query: true,
        path: true,
        ..Covers::default()
    };
    match part {
        TemplatePart::Method | TemplatePart::LowerMethod => Covers {
            method: true,
            ..none
        },
        TemplatePart::Path => path,
        TemplatePart::PathQuery => target,
        TemplatePart::Url | TemplatePart::UrlDecoded => Covers {
            public_url: true,
            ..target
        },
        TemplatePart::UrlNoQuery => Covers {
            public_url: true,
            ..path
        },
        TemplatePart::Host => Covers {
            public_url: true,
            ..none
        },
        TemplatePart::UrlFormSorted => Covers {
            public_url: true,
            form: true,
            ..target
        },
        TemplatePart::FormSorted | TemplatePart::FormOrDigest(_) => Covers { form: true, ..none },
        // Other tests change the body, and single values are spots.
        TemplatePart::Literal(_)
        | TemplatePart::Body
        | TemplatePart::BodyDigest(..)
        | TemplatePart::BodyJsonString
        | TemplatePart::BodyOrForm(_)
        | TemplatePart::Timestamp
        | TemplatePart::Id
        | TemplatePart::Header(_)
        | TemplatePart::LowerHeader(_)
        | TemplatePart::ListedHeaders(_)
        | TemplatePart::Entry(_)
        | TemplatePart::Query(_)
        | TemplatePart::LowerQuery(_)
        | TemplatePart::Form(_)
        | TemplatePart::Json(_)
        | TemplatePart::Secret
        | TemplatePart::Group(_) => none,
    }
}

/// Returns the coverage of a token: the URL, or `None`.
fn token_covers(spec: &SchemeSpec) -> Option<Covers> {
    let SchemeFamily::Jwt(family) = &spec.family else {
        return None;
    };
    let is_url = family.url_claim.is_some() || family.audience == TokenAudience::Url;
    is_url.then(|| covers(&TemplatePart::Url))
}

// Fails when a part of the template is not fed: `TemplatePart::Method => {}`.
#[test]
fn another_method_path_query_or_host_is_refused_where_it_is_signed() {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        let parts = parts(&provider.scheme);
        let covered = parts.iter().map(covers);
        for covers in covered.chain(token_covers(&provider.scheme)) {
            for (what, damaged) in elsewhere(&covers, &whole) {
                if is_other_port(&provider.scheme, &whole, &damaged) {
                    continue;
                }
                refused(provider, vector, &whole, &damaged, &what);
            }
        }
    });
}

/// Returns whether only the port differs, and the scheme accepts the URL with and without a port.
fn is_other_port(spec: &SchemeSpec, whole: &Case, damaged: &Case) -> bool {
    let has_either = matches!(&spec.family, SchemeFamily::Text(family) if family.either_port);
    let portless = |case: &Case| {
        let url = case.public_url.clone().unwrap_or_default();
        let (scheme, host, _, base) = public_url::split(&url);
        format!("{scheme}{host}{base}")
    };
    let is_moved = whole.public_url != damaged.public_url;
    has_either && is_moved && portless(whole) == portless(damaged)
}

fn elsewhere(covers: &Covers, whole: &Case) -> Vec<(String, Case)> {
    let mut damages = Vec::new();
    let (path, query) = match whole.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (whole.target.as_str(), None),
    };
    let tail = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut add = |what: &str, change: &dyn Fn(&mut Case)| {
        let mut damaged = whole.clone();
        change(&mut damaged);
        damages.push((what.to_owned(), damaged));
    };
    if covers.method {
        add("another method", &|case| case.method = Method::PATCH);
    }
    if covers.path {
        for other in [
            format!("{path}x"),
            format!("{path}/"),
            format!("/x{path}"),
            path.to_ascii_uppercase(),
        ] {
            add("another path", &|case| {
                case.target = format!("{other}{tail}")
            });
        }
    }
    if covers.query {
        let longer = match query {
            Some(query) => [
                format!("{query}&x=1"),
                format!("x=1&{query}"),
                format!("{query}&"),
            ],
            None => ["x=1".to_owned(), "&".to_owned(), String::new()],
        };
        for other in longer {
            add("a longer query", &|case| {
                case.target = format!("{path}?{other}")
            });
        }
        if query.is_some() {
            add("no query", &|case| case.target = path.to_owned());
        }
    }
    if covers.public_url {
        for other in [
            "https://elsewhere.test",
            "http://hooks.example.com",
            "https://hooks.example.com:8443",
        ] {
            add("another host", &|case| {
                case.public_url = Some(other.to_owned())
            });
        }
    }
    if covers.form {
        damages.extend(other_forms(whole));
    }
    damages
}

/// Returns the case with fields added, removed, renamed or changed. Twilio signs a repeated pair once.
fn other_forms(whole: &Case) -> Vec<(String, Case)> {
    let text = String::from_utf8(whole.body.clone()).unwrap();
    let mut bodies = vec![format!("{text}&x=1"), format!("{text}&x")];
    let fields: Vec<&str> = text.split('&').filter(|field| !field.is_empty()).collect();
    for at in 0..fields.len() {
        for other in [
            String::new(),
            format!("{}x", fields[at]),
            format!("x{}", fields[at]),
        ] {
            let mut changed: Vec<&str> = fields.clone();
            changed[at] = &other;
            bodies.push(changed.join("&"));
        }
    }
    let cases = bodies.into_iter().map(|body| Case {
        body: body.into_bytes(),
        ..whole.clone()
    });
    cases
        .map(|case| ("another form".to_owned(), case))
        .collect()
}
