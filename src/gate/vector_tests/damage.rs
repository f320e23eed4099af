//! The negative tests: every vector of every provider, damaged in each way that its scheme suggests, is rejected.
//!
//! No code here names a provider. The matches over the scheme have no catch-all arm, so that a new family, part or
//! location does not compile until it is covered.

use std::time::Duration;

use hookgate_verify::net::remote_url::RemoteUrl;
use hookgate_verify::providers::Provider;
use hookgate_verify::scheme::spec::{ListSpec, SchemeSpec, SignatureEncoding};

use super::case::Case;
use super::elsewhere::covers;
use super::spot::{Role, Spot, envelope_with, in_envelope, parts, spots};
use super::{Vector, each, name};

/// Returns a vector without the values that its verification does not need, such as a second signature.
pub(super) fn minimal(provider: &Provider, vector: &Vector) -> Case {
    let spec = &provider.scheme;
    let mut case = Case::new(provider, vector).under_own_names(spec);
    assert!(
        case.is_taken(spec),
        "{}: {:?}",
        name(provider, vector),
        case.verdict(spec)
    );
    for (spot, role) in spots(spec) {
        let Role::Signature(list, _) = role else {
            continue;
        };
        if let Some(without) = spot.write(&case, &[]).filter(|one| one.is_taken(spec)) {
            case = without;
        }
        let Some(list) = list else { continue };
        for separator in list.sets.into_iter().chain([list.separator]) {
            case = without_entries(&case, spec, &spot, separator);
        }
    }
    case
}

fn without_entries(case: &Case, spec: &SchemeSpec, spot: &Spot, separator: char) -> Case {
    let mut case = case.clone();
    let text = String::from_utf8(spot.read(&case).unwrap()).unwrap();
    let mut entries: Vec<&str> = text.split(separator).collect();
    let mut at = 0;
    while at < entries.len() {
        let removed = entries.remove(at);
        let value = entries.join(&separator.to_string()).into_bytes();
        match spot.write(&case, &[value]).filter(|one| one.is_taken(spec)) {
            Some(shorter) => case = shorter,
            None => {
                entries.insert(at, removed);
                at += 1;
            }
        }
    }
    case
}

/// Asserts that the damaged case is rejected, unless it equals the whole one.
pub(super) fn refused(
    provider: &Provider,
    vector: &Vector,
    whole: &Case,
    damaged: &Case,
    what: &str,
) {
    assert!(
        damaged == whole || !damaged.is_taken(&provider.scheme),
        "{}: taken with {what}",
        name(provider, vector)
    );
}

/// Runs `damage` over each value of each vector.
fn each_value(damage: impl Fn(&Spot, &Role, &[u8]) -> Vec<(String, Vec<Vec<u8>>)>) {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        for (spot, role) in spots(&provider.scheme) {
            let Some(value) = spot.read(&whole) else {
                continue;
            };
            let mut damages = damage(&spot, &role, &value);
            // The signature inside is damaged like one without an envelope.
            if let Role::Envelope(pointer) = &role {
                let inner = in_envelope(&value, pointer).unwrap();
                let role = Role::Signature(None, SignatureEncoding::Base64);
                for (label, values) in damage(&spot, &role, &inner) {
                    let text = |value: &Vec<u8>| std::str::from_utf8(value).is_ok();
                    if values.iter().all(text) {
                        let changed = envelope_with(&value, pointer, &values);
                        damages.push((format!("inside, {label}"), vec![changed]));
                    }
                }
            }
            for (label, values) in damages {
                let what = format!("{spot:?} {label}");
                if let Some(damaged) = spot.write(&whole, &values) {
                    // Spaces around a JSON number are not part of it.
                    let is_json = matches!(spot, Spot::Json(_));
                    if !is_json || spot.read(&damaged).as_deref() != Some(&*value) {
                        refused(provider, vector, &whole, &damaged, &what);
                    }
                }
            }
        }
    });
}

/// Returns whether two texts are the same signature in different spellings.
fn is_same(role: &Role, value: &[u8], other: &[u8]) -> bool {
    match role {
        // Any time within the tolerance is valid.
        Role::UnsignedTime => other.iter().all(u8::is_ascii_digit),
        // Behind the host, the URL only leads to another file of the same sender.
        Role::KeyPlace => is_near(value, other),
        Role::LowerValue => value.eq_ignore_ascii_case(other),
        // Header names are case-insensitive, and spaces around them are ignored.
        Role::HeaderList => {
            let names = |list: &[u8]| -> Vec<Vec<u8>> {
                let each = list.split(|byte| *byte == b',');
                each.map(|one| one.trim_ascii().to_ascii_lowercase())
                    .collect()
            };
            names(value) == names(other)
        }
        Role::Envelope(pointer) => {
            let own = in_envelope(value, pointer);
            own.is_some() && own == in_envelope(other, pointer)
        }
        // The key is not signed, so any key is valid.
        Role::Signature(
            Some(ListSpec {
                any_key: true,
                assign,
                ..
            }),
            _,
        ) => {
            let signature = |text: &[u8]| {
                let text = String::from_utf8_lossy(text).into_owned();
                text.split_once(*assign)
                    .map(|(_, value)| value.to_ascii_lowercase())
            };
            signature(value) == signature(other)
        }
        Role::Signature(Some(ListSpec { trim: true, .. }), _) => {
            let spaceless = |text: &[u8]| {
                let mut text = text.to_vec();
                text.retain(|byte| *byte != b' ');
                // A comma after the last entry is ignored, like a space.
                text.pop_if(|byte| *byte == b',');
                text
            };
            spaceless(value) == spaceless(other)
        }
        Role::Signature(..) | Role::Value | Role::Required | Role::Token | Role::Basic => false,
    }
}

/// Returns whether the gate would fetch from this URL as from the sender's. Other tests cover the exact host.
fn is_near(value: &[u8], other: &[u8]) -> bool {
    let text = |bytes: &[u8]| RemoteUrl::parse_strange(&String::from_utf8_lossy(bytes)).ok();
    let (Some(value), Some(other)) = (text(value), text(other)) else {
        return false;
    };
    value.port() == other.port() && domain(value.host()) == domain(other.host())
}

/// Returns the last two labels of a host.
fn domain(host: &str) -> &str {
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at + 1);
    dots.nth(1).map_or(host, |at| &host[at..])
}

// Fails when a scheme continues without a value that it signs: `unwrap_or_default` on a missing value.
#[test]
fn a_missing_or_empty_value_is_refused() {
    each_value(|_, _, value| {
        let mut damages = vec![("missing".to_owned(), vec![])];
        if !value.is_empty() {
            damages.push(("empty".to_owned(), vec![vec![]]));
        }
        damages
    });
}

// Fails when `read_header`, `read_query`, `form::one` or the picker returns the first or the last of several values.
#[test]
fn a_doubled_value_is_refused() {
    each_value(|_, _, value| {
        let (value, other) = (value.to_vec(), b"1".to_vec());
        vec![
            ("twice".to_owned(), vec![value.clone(), value.clone()]),
            ("and another".to_owned(), vec![value.clone(), other.clone()]),
            ("after another".to_owned(), vec![other, value]),
        ]
    });
}

// Fails when a length is not compared first, or a comparison stops at the shorter text.
#[test]
fn a_cut_value_is_refused() {
    each_value(|_, role, value| {
        let cuts = (1..value.len()).flat_map(|at| [&value[at..], &value[..at]]);
        let cuts = cuts.filter(|cut| !is_same(role, value, cut));
        cuts.map(|cut| ("cut".to_owned(), vec![cut.to_vec()]))
            .collect()
    });
}

// Fails when a decoder ignores unknown characters, or a value is trimmed.
#[test]
fn a_foreign_character_is_refused_anywhere() {
    const FOREIGN: [&str; 10] = ["!", " ", "\t", ",", "=", ";", "\"", "\u{e9}", "0", "%"];
    each_value(|_, role, value| {
        let mut damages = Vec::new();
        for at in 0..=value.len() {
            for foreign in FOREIGN {
                let mut longer = value.to_vec();
                longer.splice(at..at, foreign.bytes());
                if !is_same(role, value, &longer) {
                    damages.push((format!("with {foreign:?} at {at}"), vec![longer]));
                }
            }
        }
        for (left, right) in [(" ", " "), (",", ","), (" ", ","), ("\"", "\"")] {
            let around = [left.as_bytes(), value, right.as_bytes()].concat();
            if !is_same(role, value, &around) {
                damages.push((format!("between {left:?} and {right:?}"), vec![around]));
            }
        }
        damages
    });
}

// Fails when a comparison skips a byte, or a signed value is not fed.
#[test]
fn a_value_with_any_bit_turned_is_refused() {
    each_value(|_, role, value| {
        let mut damages = Vec::new();
        for at in 0..value.len() {
            for bit in [1, 2, 4, 8, 16, 32, 64] {
                let mut other = value.to_vec();
                other[at] ^= bit;
                if !is_same(role, value, &other) && !is_same_digit(role, value[at], other[at]) {
                    damages.push((format!("with bit {bit} of byte {at} turned"), vec![other]));
                }
            }
        }
        damages
    });
}

/// Returns whether two bytes are the same digit: hexadecimal digits are case-insensitive. Letters in other parts of the
/// value are covered by the test of case below.
fn is_same_digit(role: &Role, one: u8, other: u8) -> bool {
    match role {
        Role::Signature(_, SignatureEncoding::Hex) => {
            one.is_ascii_hexdigit() && one.eq_ignore_ascii_case(&other)
        }
        // RFC 7617: the word `Basic` is case-insensitive.
        Role::Basic => {
            b"BASIC".contains(&one.to_ascii_uppercase()) && one.eq_ignore_ascii_case(&other)
        }
        _ => false,
    }
}

// Fails when a prefix, a key, a token or base64 is compared without regard to case.
#[test]
fn another_case_is_refused_but_for_hexadecimal_digits() {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        for (spot, role) in spots(&provider.scheme) {
            let Some(value) = spot.read(&whole) else {
                continue;
            };
            let swapped = with_other_case(&role, &value);
            if is_same(&role, &value, &swapped) {
                continue;
            }
            if let Some(damaged) = spot.write(&whole, &[swapped]) {
                refused(
                    provider,
                    vector,
                    &whole,
                    &damaged,
                    &format!("{spot:?} in the other case"),
                );
            }
            if let Role::Signature(_, SignatureEncoding::Hex) = role {
                let upper = digits_in_capitals(&value);
                let same = spot.write(&whole, &[upper]).unwrap();
                let is_covered = !same_text_is_signed(&provider.scheme, &spot);
                assert!(
                    !is_covered || same.is_taken(&provider.scheme),
                    "{}",
                    name(provider, vector)
                );
            }
        }
    });
}

/// Returns whether the signature is inside a text that is itself signed: in the body, for example.
fn same_text_is_signed(spec: &SchemeSpec, spot: &Spot) -> bool {
    match spot {
        Spot::Header(_) => false,
        Spot::Query(_) => parts(spec).iter().any(|part| covers(part).query),
        Spot::Form(_) | Spot::Json(_) | Spot::FormJson(..) => spec.signs_body(),
    }
}

/// Swaps the case of every letter, except for hexadecimal digits of signatures and the word `Basic`.
fn with_other_case(role: &Role, value: &[u8]) -> Vec<u8> {
    let is_kept = |at: usize| match role {
        Role::Signature(_, SignatureEncoding::Hex) => is_in_digits(value, at),
        Role::Basic => at < b"Basic ".len(),
        _ => false,
    };
    let swap = |(at, byte): (usize, &u8)| match byte.is_ascii_alphabetic() && !is_kept(at) {
        true => byte ^ 0x20,
        false => *byte,
    };
    value.iter().enumerate().map(swap).collect()
}

fn digits_in_capitals(value: &[u8]) -> Vec<u8> {
    let capital = |(at, byte): (usize, &u8)| match is_in_digits(value, at) {
        true => byte.to_ascii_uppercase(),
        false => *byte,
    };
    value.iter().enumerate().map(capital).collect()
}

/// Returns whether the byte is in a run of hexadecimal digits at least as long as the shortest digest, MD5's.
fn is_in_digits(value: &[u8], at: usize) -> bool {
    let is_digit = |byte: &&u8| byte.is_ascii_hexdigit();
    let before = value[..at].iter().rev().take_while(is_digit).count();
    let after = value[at..].iter().take_while(is_digit).count();
    after > 0 && before + after >= 32
}

// Fails when a value in a group is read only if it was present before, or a listed header is not read at all.
#[test]
fn a_value_that_was_not_there_is_signed_too() {
    each(|provider, vector| {
        let whole = minimal(provider, vector);
        for (spot, role) in spots(&provider.scheme) {
            if spot.read(&whole).is_none() && !matches!(role, Role::Signature(..)) {
                let added = spot.write(&whole, &[b"1".to_vec()]);
                if let Some(damaged) = added {
                    refused(
                        provider,
                        vector,
                        &whole,
                        &damaged,
                        &format!("{spot:?} added"),
                    );
                }
            }
            if let Role::HeaderList = role {
                let list = String::from_utf8(spot.read(&whole).unwrap()).unwrap();
                for listed in list.split(',') {
                    let listed = Spot::Header(listed.trim().parse().unwrap());
                    for values in [vec![], vec![b"x".to_vec()]] {
                        let damaged = listed.write(&whole, &values).unwrap();
                        refused(
                            provider,
                            vector,
                            &whole,
                            &damaged,
                            &format!("{listed:?} changed"),
                        );
                    }
                }
            }
        }
    });
}

// Fails when only positive ages are compared, or when the time is read from an unsigned location.
#[test]
fn a_time_beyond_the_tolerance_is_refused_whatever_its_unit() {
    each(|provider, vector| {
        if !provider.scheme.is_dated() {
            return;
        }
        let whole = minimal(provider, vector);
        for factor in [2, 100, 10_000] {
            let far = provider.tolerance * factor + Duration::from_secs(1);
            for damaged in [whole.clone().later(far), whole.clone().earlier(far)] {
                refused(provider, vector, &whole, &damaged, "another time");
            }
        }
    });
}
