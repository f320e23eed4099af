//! Tests that a signed text cannot be split differently into a request with another id, time or type.
//!
//! No code here names a provider, except the last test. Besides the vectors, the tests use requests that are signed here, with
//! ids and bodies that invite another split.
//!
//! Where a sender sorts the fields of a form and joins them with nothing in between, the signed text has several readings by
//! design: a client that has one signed request can send it with its fields split elsewhere. The last test checks the
//! properties that hold nevertheless, and lists these senders.

use hookgate_verify::VerifyError;
use hookgate_verify::identity::{IdentityFacts, IdentityRules};
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers::Provider;
use hookgate_verify::scheme::spec::{
    FieldLocation, SchemeFamily, SchemeLocation, SchemeSpec, TemplatePart, TimestampSpec,
};
use hookgate_verify::scheme::{Scheme, ToSign};
use http::{HeaderValue, header};
use url::form_urlencoded;

use super::case::Case;
use super::damage::minimal;
use super::spot::Spot;
use super::{Vector, each, name};

const IDS: [&str; 3] = ["msg_1", "msg.1700000300", "a.1700000300.b"];

const BODIES: [&str; 5] = [
    "{\"id\":\"a\",\"type\":\"b\",\"at\":\"2023-11-14T22:18:20Z\",\"n\":1.5,\"of\":{\"t\":1700000300}}",
    "1700000300.{\"id\":\"x\"}",
    "[{\"id\":1,\"type\":\"b\"},{\"id\":2.5}]",
    "0",
    "a=1&b=2.5&t=1700000300",
];

fn time_of(spec: &SchemeSpec) -> Option<&TimestampSpec> {
    match &spec.family {
        SchemeFamily::Hmac(family) => family.timestamp.as_ref(),
        SchemeFamily::Text(family) => family.timestamp.as_ref(),
        _ => None,
    }
}

/// Returns the parts of the signed text in order, with those of a group if the request has them.
fn tokens(spec: &SchemeSpec, case: &Case) -> Vec<TemplatePart> {
    let mut found = Vec::new();
    for part in spec.template().map_or(&[][..], |template| &template.parts) {
        match part {
            TemplatePart::Group(parts) => {
                let is_there = parts.iter().all(|part| {
                    matches!(part, TemplatePart::Literal(_)) || read(spec, case, part).is_some()
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
fn spot(spec: &SchemeSpec, part: &TemplatePart) -> Option<Spot> {
    match part {
        TemplatePart::Id => Some(Spot::Header(spec.id_header()?.clone())),
        TemplatePart::Header(name) => Some(Spot::Header(name.clone())),
        TemplatePart::Query(name) => Some(Spot::Query(name.clone())),
        TemplatePart::Form(name) => Some(Spot::Form(name.clone())),
        TemplatePart::Json(pointer) => Some(Spot::Json(pointer.clone())),
        TemplatePart::Timestamp => {
            let time = time_of(spec).filter(|time| time.key.is_none())?;
            Some(Spot::of(&time.location))
        }
        _ => None,
    }
}

fn read(spec: &SchemeSpec, case: &Case, part: &TemplatePart) -> Option<Vec<u8>> {
    match part {
        TemplatePart::Body => Some(case.body.clone()),
        TemplatePart::Url => {
            Some([case.public_url.clone()?.as_bytes(), case.target.as_bytes()].concat())
        }
        TemplatePart::PathQuery => Some(case.target.clone().into_bytes()),
        TemplatePart::Timestamp if spot(spec, part).is_none() => listed_time(spec, case),
        part => spot(spec, part)?.read(case),
    }
}

/// Returns the time in a list that also contains the signature.
fn listed_time(spec: &SchemeSpec, case: &Case) -> Option<Vec<u8>> {
    let time = time_of(spec)?;
    let (SchemeLocation::Header(header), Some(key)) = (&time.location, &time.key) else {
        return None;
    };
    let value = case.headers.get(header)?.to_str().ok()?;
    let (_, rest) = value.split_once(&format!("{key}="))?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit);
    Some(digits.collect())
}

/// Returns the request with another value, or `None` if there is no such request or it would match another route.
fn write(spec: &SchemeSpec, case: &Case, part: &TemplatePart, value: &[u8]) -> Option<Case> {
    let mut other = case.clone();
    match part {
        TemplatePart::Body => other.body = value.to_vec(),
        TemplatePart::Url | TemplatePart::PathQuery => {
            let url = std::str::from_utf8(value).ok()?;
            let origin = match part {
                TemplatePart::Url => case.public_url.clone()?,
                _ => String::new(),
            };
            let target = url.strip_prefix(&origin)?;
            let path = |target: &str| target.split('?').next().map(str::to_owned);
            if path(target) != path(&case.target) {
                return None;
            }
            other.target = target.to_owned();
        }
        TemplatePart::Timestamp if spot(spec, part).is_none() => {
            let time = time_of(spec)?;
            let (SchemeLocation::Header(header), Some(old)) =
                (&time.location, listed_time(spec, case))
            else {
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
fn identity(spec: &SchemeSpec, case: &Case) -> Option<Identity> {
    let rules = IdentityRules::compile(IdentityFacts::of(spec));
    let uri = case.target.parse().ok()?;
    let found = rules.read(&case.head(&uri), &case.body).ok()?;
    let id = found.event_id.map(|id| id.as_str().to_owned());
    let kind = found.event_type.map(String::from);
    Some((id, kind, read(spec, case, &TemplatePart::Timestamp)))
}

/// Returns every request that has the same signed text, split differently between two adjacent values.
fn recut(spec: &SchemeSpec, case: &Case) -> Vec<Case> {
    let tokens = tokens(spec, case);
    let values: Vec<usize> = (0..tokens.len())
        .filter(|at| !matches!(tokens[*at], TemplatePart::Literal(_)))
        .collect();
    let mut found = Vec::new();
    for pair in values.windows(2) {
        let (left, right) = (&tokens[pair[0]], &tokens[pair[1]]);
        let between = tokens[pair[0] + 1..pair[1]].iter().map(|part| match part {
            TemplatePart::Literal(text) => text.as_str(),
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
                (TemplatePart::Timestamp, _) => at_its_time(other, first),
                (_, TemplatePart::Timestamp) => at_its_time(other, second),
                _ => other,
            }));
        }
    }
    found.extend(around_the_time(spec, case, &tokens));
    found
}

/// Returns requests with another time inside a text of three values, where both ends of the time move at once.
fn around_the_time(spec: &SchemeSpec, case: &Case, tokens: &[TemplatePart]) -> Vec<Case> {
    let mut found = Vec::new();
    let values: Vec<&TemplatePart> = tokens
        .iter()
        .filter(|part| !matches!(part, TemplatePart::Literal(_)))
        .collect();
    let literal = |left: &TemplatePart, right: &TemplatePart| {
        let at = tokens.iter().position(|part| part == left).unwrap();
        match &tokens[at + 1] {
            TemplatePart::Literal(text) if tokens.get(at + 2) == Some(right) => text.clone(),
            _ => String::new(),
        }
    };
    for three in values
        .windows(3)
        .filter(|three| *three[1] == TemplatePart::Timestamp)
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
            let is_part = |reject: &VerifyError| matches!(reject, VerifyError::MalformedMaterial { fault, .. } if fault.starts_with("is neither complete JSON"));
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

/// Senders whose signed text joins the names and values of a form. Open in each of them: where a name ends, where a value
/// ends, and, behind a URL with a query, where the query ends.
const JOINED: [&str; 4] = ["mailchimp", "mandrill", "plivo", "twilio"];

/// Forms whose fields invite another cut.
const FORMS: [&str; 4] = [
    "a=1&b=2.5&t=1700000300",
    "Body=a%3Db%26c&CallSid=CA1&From=%2B1415",
    "Digits=1&Digits=2&Event=Hangup",
    "mandrill_events=%5B%7B%22event%22%3A%22send%22%7D%5D",
];

/// Where a field that took over a part of the URL is cut; further cuts differ in the value alone.
const FIRST_CUTS: usize = 4;

type Fields = Vec<(String, String)>;

fn joins_fields(spec: &SchemeSpec) -> bool {
    spec.template().is_some_and(|template| {
        template.any(&|part| {
            matches!(
                part,
                TemplatePart::FormSorted
                    | TemplatePart::UrlFormSorted
                    | TemplatePart::FormOrDigest(_)
            )
        })
    })
}

/// The fields as they are joined.
fn sorted_fields(body: &[u8]) -> Fields {
    let mut fields: Fields = form_urlencoded::parse(body).into_owned().collect();
    fields.sort();
    fields.dedup();
    fields
}

fn with_fields(case: &Case, fields: &[(String, String)]) -> Case {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    as_form(case, &form.finish())
}

/// With another body, which its head calls a form.
fn as_form(case: &Case, body: &str) -> Case {
    let mut other = case.clone();
    other.body = body.as_bytes().to_vec();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    other.headers.insert(header::CONTENT_TYPE, kind);
    other
}

/// Every cut of `text` into two.
fn cuts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let ends = (0..=text.len()).filter(|at| text.is_char_boundary(*at));
    ends.map(|at| text.split_at(at))
}

/// Every form with the same joined text that differs in one boundary: between a name and its value, between a value and
/// the next name, or with both boundaries of a field gone.
fn recut_fields(fields: &[(String, String)]) -> Vec<Fields> {
    let mut found = Vec::new();
    for (at, (name, value)) in fields.iter().enumerate() {
        for (first, second) in cuts(&format!("{name}{value}")) {
            let mut other = fields.to_vec();
            other[at] = (first.to_owned(), second.to_owned());
            found.push(other);
        }
        let Some((next_name, next_value)) = fields.get(at + 1) else {
            continue;
        };
        for (first, second) in cuts(&format!("{value}{next_name}")) {
            let mut other = fields.to_vec();
            other[at].1 = first.to_owned();
            other[at + 1].0 = second.to_owned();
            found.push(other);
        }
        let mut other = fields.to_vec();
        other[at].1 = format!("{value}{next_name}{next_value}");
        other.remove(at + 1);
        found.push(other);
    }
    let whole: String = fields
        .iter()
        .flat_map(|(name, value)| [&**name, value])
        .collect();
    found.extend(cuts(&whole).map(|(name, value)| vec![(name.to_owned(), value.to_owned())]));
    found.retain(|other| other != fields);
    found
}

/// Every request that gives a part of the joined fields to the URL, or takes a part of its query into the first name.
fn recut_url(case: &Case, fields: &[(String, String)]) -> Vec<Case> {
    let mut found = Vec::new();
    let whole: String = fields
        .iter()
        .flat_map(|(name, value)| [&**name, value])
        .collect();
    let escaped = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte);
        text.bytes().all(is_plain).then(|| text.to_owned())
    };
    let mut add = |target: String, body: Case| {
        found.push(Case { target, ..body });
    };
    for (taken, rest) in cuts(&whole) {
        let Some(taken) = escaped(taken).filter(|taken| !taken.is_empty()) else {
            continue;
        };
        let mut bodies = vec![(rest.to_owned(), String::new())];
        let first = cuts(rest).take(FIRST_CUTS);
        bodies.extend(first.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for target in [
            format!("{}{taken}", case.target),
            format!("{}?{taken}", case.target),
        ] {
            let empty = Case {
                body: Vec::new(),
                ..case.clone()
            };
            let raw = as_form(case, rest);
            let mut json = raw.clone();
            json.headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            add(target.clone(), empty);
            add(target.clone(), raw);
            add(target.clone(), json);
            for field in &bodies {
                add(
                    target.clone(),
                    with_fields(case, std::slice::from_ref(field)),
                );
            }
        }
    }
    let Some((path, query)) = case.target.split_once('?') else {
        return found;
    };
    for (kept, taken) in cuts(&format!("?{query}")).filter(|(_, taken)| !taken.is_empty()) {
        let target = format!("{path}{kept}");
        let mut first = vec![(taken.to_owned(), String::new())];
        first.extend(fields.iter().cloned());
        add(target.clone(), with_fields(case, &first));
        for (name, value) in cuts(&format!("{taken}{whole}")).take(FIRST_CUTS) {
            let only = (name.to_owned(), value.to_owned());
            add(target.clone(), with_fields(case, &[only]));
        }
    }
    found
}

/// The vector, and beside a provider's first one the same with forms that are signed here, each behind a URL with a query
/// and without one.
fn forms(provider: &Provider, vector: &Vector) -> Vec<Case> {
    let spec = &provider.scheme;
    let whole = minimal(provider, vector);
    let mut found = vec![whole.clone()];
    if provider.sources.first() != Some(&vector.source) {
        return found;
    }
    let path = whole.target.split('?').next().unwrap().to_owned();
    for (form, target) in FORMS
        .iter()
        .flat_map(|form| [(form, path.clone()), (form, format!("{path}?x=1&y=a.b"))])
    {
        let mut case = as_form(&whole, form);
        case.target = target;
        found.extend(signed_again(spec, &case));
    }
    found
}

/// The request under a signature over what it is now. Where the list of signatures keeps `Scheme::sign` away, the scheme
/// without the list signs, which makes one entry of it.
fn signed_again(spec: &SchemeSpec, case: &Case) -> Option<Case> {
    let mut plain = spec.clone();
    if let SchemeFamily::Text(family) = &mut plain.family {
        for signature in &mut family.signatures {
            signature.list = None;
        }
    }
    let secret = Secret::new(case.secret.clone());
    let scheme = Scheme::compile(&plain, &[&secret], case.public_url.as_deref()).unwrap();
    let uri = case.target.parse().unwrap();
    let stamp = scheme.sign(
        0,
        &ToSign {
            head: case.head(&uri),
            unix_ms: case.now * 1000,
            id: None,
            body: &case.body,
        },
    );
    let mut signed = case.clone();
    for (name, value) in stamp.ok()?.headers {
        signed.headers.insert(name, value.parse().unwrap());
    }
    Some(signed)
}

/// Returns the facts that no cut may change: the id, the time, the presence of a query, and a type outside of the form.
fn fixed(spec: &SchemeSpec, case: &Case) -> (Option<Identity>, bool) {
    let mut known = identity(spec, case);
    let is_in_form = |field: &FieldLocation| {
        matches!(field, FieldLocation::Form(_) | FieldLocation::FormJson(..))
    };
    if let Some((_, kind, _)) = &mut known
        && spec.event_type.iter().any(is_in_form)
    {
        *kind = None;
    }
    // Plivo's own text is the same for a form and for a query.
    let template = spec.template().unwrap();
    let has_query = !template.holds(&TemplatePart::UrlFormSorted) && case.target.contains('?');
    (known, has_query)
}

/// Fails when a scheme that joins fields is new and not listed, when JSON passes in the place of the form, and when a field
/// may have no name or one that begins as a query does (`Composer::joined_fields`).
#[test]
fn joined_fields_cut_elsewhere_change_no_id_time_or_query() {
    let tried = std::cell::Cell::new(0);
    let open = std::cell::RefCell::new(std::collections::BTreeSet::new());
    each(|provider, vector| {
        let spec = &provider.scheme;
        if !joins_fields(spec) {
            return;
        }
        for case in forms(provider, vector) {
            assert!(case.is_taken(spec), "{}: {case:?}", name(provider, vector));
            let known = fixed(spec, &case);
            let fields = sorted_fields(&case.body);
            let mut others: Vec<Case> = recut_fields(&fields)
                .iter()
                .map(|other| with_fields(&case, other))
                .collect();
            others.extend(recut_url(&case, &fields));
            for other in others {
                tried.set(tried.get() + 1);
                if !other.is_taken(spec) {
                    continue;
                }
                open.borrow_mut().insert(provider.id.clone());
                let is_named = sorted_fields(&other.body)
                    .iter()
                    .all(|(name, _)| !name.is_empty() && !name.starts_with('?'));
                let is_json = other.body.starts_with(b"{") || other.body.starts_with(b"[");
                assert!(
                    is_named && !is_json && fixed(spec, &other) == known,
                    "{}: {case:?}\nis also {other:?}",
                    name(provider, vector)
                );
            }
        }
    });
    assert!(tried.get() > 1000, "only {} cuts", tried.get());
    assert!(open.borrow().iter().eq(JOINED), "{:?}", open.borrow());
}
