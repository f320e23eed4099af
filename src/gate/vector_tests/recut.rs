//! Tests that a signed text cannot be split differently into a request with another id, time or type.
//!
//! No code here names a provider. Besides the vectors, the tests use requests that are signed here, with ids and bodies
//! that invite another split.

use http::HeaderValue;

use super::case::Case;
use super::damage::minimal;
use super::spot::Spot;
use super::{Vector, each, name};
use crate::gate::identity::{IdentityFacts, IdentityRules};
use crate::gate::reject::Reject;
use crate::model::secret::Secret;
use crate::providers::Provider;
use crate::scheme::spec::{Family, Part, Place, Spec, TimestampSpec};
use crate::scheme::{Scheme, ToSign};

const IDS: [&str; 3] = ["msg_1", "msg.1700000300", "a.1700000300.b"];

const BODIES: [&str; 5] = [
    "{\"id\":\"a\",\"type\":\"b\",\"at\":\"2023-11-14T22:18:20Z\",\"n\":1.5,\"of\":{\"t\":1700000300}}",
    "1700000300.{\"id\":\"x\"}",
    "[{\"id\":1,\"type\":\"b\"},{\"id\":2.5}]",
    "0",
    "a=1&b=2.5&t=1700000300",
];

fn time_of(spec: &Spec) -> Option<&TimestampSpec> {
    match &spec.family {
        Family::Hmac(family) => family.timestamp.as_ref(),
        Family::Text(family) => family.timestamp.as_ref(),
        _ => None,
    }
}

/// Returns the parts of the signed text in order, with those of a group if the request has them.
fn tokens(spec: &Spec, case: &Case) -> Vec<Part> {
    let mut found = Vec::new();
    for part in spec.template().map_or(&[][..], |template| &template.parts) {
        match part {
            Part::Group(parts) => {
                let is_there = parts.iter().all(|part| {
                    matches!(part, Part::Literal(_)) || read(spec, case, part).is_some()
                });
                if is_there {
                    found.extend(parts.iter().cloned());
                }
            }
            part => found.push(part.clone()),
        }
    }
    found
}

/// Returns the location of a part that is a single value.
fn spot(spec: &Spec, part: &Part) -> Option<Spot> {
    match part {
        Part::Id => Some(Spot::Header(spec.id_header()?.clone())),
        Part::Header(name) => Some(Spot::Header(name.clone())),
        Part::Query(name) => Some(Spot::Query(name.clone())),
        Part::Form(name) => Some(Spot::Form(name.clone())),
        Part::Json(pointer) => Some(Spot::Json(pointer.clone())),
        Part::Timestamp => {
            let time = time_of(spec).filter(|time| time.key.is_none())?;
            Some(Spot::of(&time.place))
        }
        _ => None,
    }
}

fn read(spec: &Spec, case: &Case, part: &Part) -> Option<Vec<u8>> {
    match part {
        Part::Body => Some(case.body.clone()),
        Part::Url => Some([case.public_url.clone()?.as_bytes(), case.target.as_bytes()].concat()),
        Part::PathQuery => Some(case.target.clone().into_bytes()),
        Part::Timestamp if spot(spec, part).is_none() => listed_time(spec, case),
        part => spot(spec, part)?.read(case),
    }
}

/// Returns the time in a list that also contains the signature.
fn listed_time(spec: &Spec, case: &Case) -> Option<Vec<u8>> {
    let time = time_of(spec)?;
    let (Place::Header(header), Some(key)) = (&time.place, &time.key) else {
        return None;
    };
    let value = case.headers.get(header)?.to_str().ok()?;
    let (_, rest) = value.split_once(&format!("{key}="))?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit);
    Some(digits.collect())
}

/// Returns the request with another value, or `None` if there is no such request or it would match another route.
fn write(spec: &Spec, case: &Case, part: &Part, value: &[u8]) -> Option<Case> {
    let mut other = case.clone();
    match part {
        Part::Body => other.body = value.to_vec(),
        Part::Url | Part::PathQuery => {
            let url = std::str::from_utf8(value).ok()?;
            let origin = match part {
                Part::Url => case.public_url.clone()?,
                _ => String::new(),
            };
            let target = url.strip_prefix(&origin)?;
            let path = |target: &str| target.split('?').next().map(str::to_owned);
            if path(target) != path(&case.target) {
                return None;
            }
            other.target = target.to_owned();
        }
        Part::Timestamp if spot(spec, part).is_none() => {
            let time = time_of(spec)?;
            let (Place::Header(header), Some(old)) = (&time.place, listed_time(spec, case)) else {
                return None;
            };
            let (old, new) = (
                String::from_utf8(old).ok()?,
                std::str::from_utf8(value).ok()?,
            );
            let whole = case
                .headers
                .get(header)?
                .to_str()
                .ok()?
                .replacen(&old, new, 1);
            let whole = HeaderValue::from_str(&whole).ok()?;
            other.headers.insert(header.clone(), whole);
        }
        part => other = spot(spec, part)?.write(case, &[value.to_vec()])?,
    }
    Some(other)
}

/// Sets the clock to the request's own time, so that the age is never the reason for a reject. Ignores times before
/// 2001 and after 2099.
fn at_its_time(mut case: Case, time: &[u8]) -> Case {
    let Ok(text) = std::str::from_utf8(time) else {
        return case;
    };
    let seconds = match text.parse::<i64>() {
        Ok(number) if text.len() == 13 => number / 1000,
        Ok(number) => number,
        Err(_) => text
            .parse::<jiff::Timestamp>()
            .map_or(0, jiff::Timestamp::as_second),
    };
    if (1_000_000_000..4_102_444_800).contains(&seconds) {
        case.now = seconds;
    }
    case
}

type Identity = (Option<String>, Option<String>, Option<Vec<u8>>);

/// Returns id, type and time as the gate would read them.
fn identity(spec: &Spec, case: &Case) -> Option<Identity> {
    let rules = IdentityRules::compile(IdentityFacts::of(spec));
    let uri = case.target.parse().ok()?;
    let found = rules.read(&case.head(&uri), &case.body).ok()?;
    let id = found.event_id.map(|id| id.as_str().to_owned());
    let kind = found.event_type.map(String::from);
    Some((id, kind, read(spec, case, &Part::Timestamp)))
}

/// Returns every request that has the same signed text, split differently between two adjacent values.
fn recut(spec: &Spec, case: &Case) -> Vec<Case> {
    let tokens = tokens(spec, case);
    let values: Vec<usize> = (0..tokens.len())
        .filter(|at| !matches!(tokens[*at], Part::Literal(_)))
        .collect();
    let mut found = Vec::new();
    for pair in values.windows(2) {
        let (left, right) = (&tokens[pair[0]], &tokens[pair[1]]);
        let between = tokens[pair[0] + 1..pair[1]].iter().map(|part| match part {
            Part::Literal(text) => text.as_str(),
            _ => "",
        });
        let between: String = between.collect();
        let (Some(a), Some(b)) = (read(spec, case, left), read(spec, case, right)) else {
            continue;
        };
        let text = [&a, between.as_bytes(), &b].concat();
        for at in 0..=text.len().saturating_sub(between.len()) {
            if at == a.len() || !text[at..].starts_with(between.as_bytes()) {
                continue;
            }
            let (first, second) = (&text[..at], &text[at + between.len()..]);
            let other = write(spec, case, left, first);
            let other = other.and_then(|other| write(spec, &other, right, second));
            found.extend(other.map(|other| match (left, right) {
                (Part::Timestamp, _) => at_its_time(other, first),
                (_, Part::Timestamp) => at_its_time(other, second),
                _ => other,
            }));
        }
    }
    found.extend(around_the_time(spec, case, &tokens));
    found
}

/// Returns requests with another time inside a text of three values, where both ends of the time move at once.
fn around_the_time(spec: &Spec, case: &Case, tokens: &[Part]) -> Vec<Case> {
    let mut found = Vec::new();
    let values: Vec<&Part> = tokens
        .iter()
        .filter(|part| !matches!(part, Part::Literal(_)))
        .collect();
    let literal = |left: &Part, right: &Part| {
        let at = tokens.iter().position(|part| part == left).unwrap();
        match &tokens[at + 1] {
            Part::Literal(text) if tokens.get(at + 2) == Some(right) => text.clone(),
            _ => String::new(),
        }
    };
    for three in values
        .windows(3)
        .filter(|three| *three[1] == Part::Timestamp)
    {
        let read = |part| read(spec, case, part);
        let (Some(a), Some(time), Some(b)) = (read(three[0]), read(three[1]), read(three[2]))
        else {
            continue;
        };
        let (before, after) = (literal(three[0], three[1]), literal(three[1], three[2]));
        let text = [&a, before.as_bytes(), &time, after.as_bytes(), &b].concat();
        for start in 0..text.len() {
            for length in [10, 13, 20] {
                let Some(inner) = text.get(start..start + length) else {
                    continue;
                };
                let is_time = match length {
                    20 => inner.ends_with(b"Z"),
                    _ => inner.iter().all(u8::is_ascii_digit),
                };
                let (first, last) = (&text[..start], &text[start + length..]);
                let cut = (
                    first.strip_suffix(before.as_bytes()),
                    last.strip_prefix(after.as_bytes()),
                );
                let (true, (Some(first), Some(last))) = (is_time, cut) else {
                    continue;
                };
                let other = write(spec, case, three[0], first);
                let other = other.and_then(|other| write(spec, &other, three[1], inner));
                let other = other.and_then(|other| write(spec, &other, three[2], last));
                found.extend(other.map(|other| at_its_time(other, inner)));
            }
        }
    }
    found
}

/// Returns requests that a sender with this vector's secret could have signed.
fn signed(provider: &Provider, vector: &Vector) -> Vec<Case> {
    let spec = &provider.scheme;
    let whole = minimal(provider, vector);
    let mut found = vec![whole.clone()];
    if !spec.can_be_signed() {
        return found;
    }
    let secret = Secret::new(whole.secret.clone());
    let scheme = Scheme::compile(spec, &[&secret], whole.public_url.as_deref()).unwrap();
    for id in IDS {
        for body in BODIES {
            let mut case = whole.clone();
            case.body = body.as_bytes().to_vec();
            let stamp = scheme.sign(
                0,
                &ToSign {
                    head: case.head(&case.target.parse().unwrap()),
                    unix_ms: case.now * 1000,
                    id: spec.id_header().map(|_| id),
                    body: &case.body,
                },
            );
            let Ok(stamp) = stamp else { continue };
            for (name, value) in stamp.headers {
                case.headers.insert(name, value.parse().unwrap());
            }
            found.push(case);
        }
    }
    found
}

/// Fails when `Pending::finish` does not check the boundaries, or when a timestamp may begin with a zero.
#[test]
fn no_other_cut_of_the_signed_text_is_another_request() {
    each(|provider, vector| {
        let spec = &provider.scheme;
        for case in signed(provider, vector) {
            // A rejected request was signed as well, so no other split of it may pass.
            let verdict = case.verdict(spec);
            let is_part = |reject: &Reject| matches!(reject, Reject::MalformedMaterial { fault, .. } if fault.starts_with("is not whole"));
            if matches!(&verdict, Some(Err(reject)) if is_part(reject)) {
                // No sender signs half a document.
                continue;
            }
            let is_taken = verdict == Some(Ok(()));
            let known = identity(spec, &case);
            for other in recut(spec, &case) {
                assert!(
                    !other.is_taken(spec) || (is_taken && identity(spec, &other) == known),
                    "{}: {case:?}\nis also {other:?}",
                    name(provider, vector)
                );
            }
        }
    });
}
