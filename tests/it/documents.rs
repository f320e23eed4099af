//! What README.md lists is what the program has: reasons, providers, metrics, checks, and the crates in ARCHITECTURE.md.
//! `UPDATE=1` writes the tables between their marks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use hookgate::gate::reject::Reason;
use hookgate::gate::verdict::Check;
use hookgate::providers::{self, Provider as Known};
use hookgate::scheme::spec::{CertificateKind, Family, Part, SignMethod};

use crate::watching::Busy;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

/// The text with what stands between the marks of this name replaced.
fn filled(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name}:begin -->\n"),
        format!("<!-- {name}:end -->"),
    );
    let (before, rest) = text.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}\n{table}\n{end}{after}")
}

fn reasons() -> String {
    let mut out = "| reason | status | what happened | usually | where to look |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for reason in Reason::ALL {
        let told = reason.explanation();
        let (code, status) = (told.code, told.status.as_u16());
        let (means, usually, look_at) = (told.means, told.usually, told.look_at);
        writeln!(
            out,
            "| `{code}` | {status} | {means} | {usually} | {look_at} |"
        )
        .unwrap();
    }
    out
}

fn known_providers() -> String {
    let mut out = "| id | provider | signature | is the time signed | is the id signed | goes on retrying for | published addresses |\n| --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
    for provider in providers::all() {
        let Known { id, name, docs, .. } = &**provider;
        let ranges = provider.ip_ranges.as_ref();
        let ranges = ranges.map_or("none".to_owned(), |ranges| format!("as of {}", ranges.read));
        let retries = provider.retry_horizon.map_or("unknown".to_owned(), |time| {
            let hours = time.as_secs() / 3600;
            if hours % 24 == 0 {
                format!("{} days", hours / 24)
            } else {
                format!("{hours} hours")
            }
        });
        let id_signed = match (
            provider.scheme.event_id.is_empty(),
            provider.scheme.signs_event_id(),
        ) {
            (true, _) => "has none",
            (false, true) => "yes",
            (false, false) => "no",
        };
        let (signature, time_signed) = signature(provider);
        writeln!(
            out,
            "| `{id}` | [{name}]({docs}) | {signature} | {time_signed} | {id_signed} | {retries} | {ranges} |"
        )
        .unwrap();
    }
    out
}

fn signature(provider: &Known) -> (String, &'static str) {
    match &provider.scheme.family {
        Family::Token(_) => ("a token, nothing is signed".to_owned(), "no"),
        Family::Jwt(jwt) => {
            let names = jwt.algorithms.iter().map(|one| format!("{one:?}"));
            let names: Vec<String> = names.collect();
            let covers = if provider.scheme.signs_body() {
                ""
            } else {
                ", without the body"
            };
            let kind = format!("JWT {}{covers}", names.join(", ").to_uppercase());
            let time = if provider.scheme.tells_age() {
                "yes"
            } else {
                "no"
            };
            (kind, time)
        }
        Family::Certificate(family) if family.kind == CertificateKind::AppStore => {
            ("JWS ES256, certificate".to_owned(), "no")
        }
        Family::Certificate(_) => ("RSA, certificate".to_owned(), "no"),
        Family::Http(http) => {
            let time = if provider.scheme.is_dated() {
                "yes"
            } else {
                "no"
            };
            (format!("RFC 9421, {}", http.algorithm.name()), time)
        }
        Family::Hmac(hmac) => {
            let is_signed = hmac.signed.parts.contains(&Part::Timestamp);
            let time = match (&hmac.timestamp, is_signed) {
                (Some(_), true) => "yes",
                (Some(_), false) => "no, but it is checked",
                (None, _) => "no",
            };
            let digest = format!("{:?}", hmac.algorithm).to_uppercase();
            (format!("HMAC-{digest}"), time)
        }
        Family::Text(text) => {
            let is_signed = text.signed.holds(&Part::Timestamp);
            let time = match (&text.timestamp, is_signed) {
                (Some(_), true) => "yes",
                (Some(_), false) => "no, but it is checked",
                (None, _) => "no",
            };
            let kind = match &text.method {
                SignMethod::Hmac(digest) => format!("HMAC-{digest:?}").to_uppercase(),
                SignMethod::Hash(digest) => {
                    let digest = format!("{digest:?}").to_uppercase();
                    format!("{digest} over text and secret")
                }
                SignMethod::PublicKey { algorithm, .. } => algorithm.name().to_owned(),
            };
            (kind, time)
        }
    }
}

/// Name, kind, labels and meaning of each family in a text of OpenMetrics.
fn metrics(text: &str) -> String {
    let mut kinds = BTreeMap::new();
    let mut meanings = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            kinds.insert(name, kind);
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, meaning) = rest.split_once(' ').unwrap();
            meanings.insert(name, meaning.trim_end_matches('.'));
        } else if let Some((series, rest)) = line.split_once('{') {
            let (names, _) = rest.rsplit_once('}').unwrap();
            let family = kinds.keys().filter(|name| series.starts_with(**name));
            let family = family.max_by_key(|name| name.len()).unwrap();
            let names = names.split("\",").map(|label| label.split('=').next());
            let names = names.flatten().filter(|name| *name != "le");
            labels.entry(family).or_default().extend(names);
        }
    }
    let mut out =
        "| metric | kind | labels | what it counts |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, kind) in &kinds {
        let ending = match *kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels = labels.get(name).into_iter().flatten();
        let labels: Vec<_> = labels.map(|label| format!("`{label}`")).collect();
        let meaning = meanings[name];
        writeln!(
            out,
            "| `{name}{ending}` | {kind} | {} | {meaning} |",
            labels.join(", ")
        )
        .unwrap();
    }
    out
}

#[tokio::test]
async fn the_tables_of_the_readme_are_up_to_date() {
    // A family shows its labels once it has counted something.
    let (_, told) = Busy::start().await.gate.admin("/metrics").await;

    let found = read("README.md");
    let mut expected = filled(&found, "reasons", &reasons());
    expected = filled(&expected, "providers", &known_providers());
    expected = filled(&expected, "metrics", &metrics(&told));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file("README.md"), &expected).unwrap();
    }
    let is_same = read("README.md") == expected;
    assert!(is_same, "README.md is not up to date: UPDATE=1 cargo test");
}

#[test]
fn the_readme_lists_the_checks_in_their_order() {
    let checks = [
        Check::Route,
        Check::Framing,
        Check::SourceIp,
        Check::SourceRate,
        Check::Material,
        Check::Body,
        Check::Signature,
        Check::Challenge,
        Check::Identity,
        Check::Filter,
        Check::Schema,
        Check::RouteRate,
        Check::Dedup,
    ];
    assert!(checks.is_sorted());
    let readme = read("README.md");
    for (index, check) in checks.into_iter().enumerate() {
        let mut name = String::new();
        for letter in format!("{check:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        let row = format!("\n| {} | `{name}` |", index + 1);
        assert!(readme.contains(&row), "README.md has no row{row}");
    }
}

#[test]
fn each_dependency_has_its_reason() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let map = read("ARCHITECTURE.md");
    let listed = map.split_once("## Dependencies").unwrap().1;
    let mut rows: BTreeSet<&str> = BTreeSet::new();
    for line in listed.lines() {
        rows.extend(
            line.strip_prefix("| `")
                .and_then(|rest| rest.split('`').next()),
        );
    }
    let sections = ["dependencies", "dev-dependencies"].map(|name| manifest[name].as_table());
    let names = sections
        .into_iter()
        .flatten()
        .flat_map(|table| table.keys());
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    assert_eq!(rows, names);
}
