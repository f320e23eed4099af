//! Compares the documentation with the program: reasons, providers, metrics, commands, API, log fields, checks, crates.
//! `tests/renew` writes what is generated.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hookgate::internals::{
    GateCheck, MetricKind, Provider as Known, RejectReason, all_metrics, all_providers,
    all_resources, id_signed, scheme_summary, time_signed,
};

use crate::admin::api_document;
use crate::harness::golden::compare;

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap()
}

/// Replaces the text between the marks of this name.
pub(crate) fn filled(text: &str, name: &str, table: &str) -> String {
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
    for reason in RejectReason::ALL {
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
    let mut out = "| id | provider | signature | is the time signed | is the id signed | retries for | published addresses |\n| --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
    for provider in all_providers() {
        let Known { id, name, docs, .. } = &**provider;
        let ranges = provider.ip_ranges.as_ref();
        let ranges = ranges.map_or("-".to_owned(), |ranges| format!("as of {}", ranges.read));
        let retries = provider
            .retry_horizon
            .map_or("unknown".to_owned(), in_words);
        let signature = scheme_summary(&provider.scheme);
        let time_signed = time_signed(&provider.scheme);
        let id_signed = id_signed(&provider.scheme);
        writeln!(
            out,
            "| `{id}` | [{name}]({docs}) | {signature} | {time_signed} | {id_signed} | {retries} | {ranges} |"
        )
        .unwrap();
    }
    out
}

/// Returns a time in its largest whole unit.
fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (count, unit) = match minutes {
        _ if minutes > 0 && minutes.is_multiple_of(1440) => (minutes / 1440, "day"),
        _ if minutes > 0 && minutes.is_multiple_of(60) => (minutes / 60, "hour"),
        _ => (minutes, "minute"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// Returns the table of all metrics, sorted by name.
fn metrics() -> String {
    let mut out =
        "| metric | kind | labels | what it counts |\n| --- | --- | --- | --- |\n".to_owned();
    let mut rows: Vec<_> = all_metrics().collect();
    rows.sort_unstable_by_key(|row| row.name);
    for row in rows {
        // The three series of a histogram share the name of the family.
        let name = match row.kind {
            MetricKind::Histogram => row.name.to_owned(),
            _ => row.series().concat(),
        };
        let labels: Vec<_> = row
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (kind, labels) = (row.kind.name(), labels.join(", "));
        let meaning = row.help.trim_end_matches('.');
        writeln!(out, "| `{name}` | {kind} | {labels} | {meaning} |").unwrap();
    }
    out
}

#[test]
fn the_tables_of_the_reference_are_up_to_date() {
    for (name, mark, table) in [
        ("docs/reference/reasons.md", "reasons", reasons()),
        (
            "docs/reference/providers.md",
            "providers",
            known_providers(),
        ),
        ("docs/reference/metrics.md", "metrics", metrics()),
    ] {
        compare(name, &filled(&read(name), mark, &table));
    }
}

/// Returns the help of a command as the program prints it on a narrow terminal.
fn help(command: &[String]) -> String {
    let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    arguments.push("--help");
    let output = crate::harness::command::command(&arguments)
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the names under `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    // A continued description is indented further than a name.
    let names = lines.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Writes the section of a command, then those of its subcommands.
fn write_command(out: &mut String, command: &[String]) {
    let text = help(command);
    let name = [&["hookgate".to_owned()], command].concat().join(" ");
    let mark = "#".repeat(2 + command.len().min(2).saturating_sub(1));
    write!(out, "\n{mark} `{name}`\n\n```text\n{text}\n```\n").unwrap();
    for name in subcommands(&text) {
        write_command(out, &[command, &[name]].concat());
    }
}

/// Fails when a command, an option or a help text changes and the reference does not.
#[test]
fn the_reference_of_commands_is_up_to_date() {
    let mut out = "# Command line\n\nThe help of every command, as `--help` prints it. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.\n".to_owned();
    write_command(&mut out, &[]);
    assert!(out.contains("`hookgate deliveries retry`"));
    compare("docs/reference/cli.md", &out);
}

/// Fails when a resource of the admin API is added, changed or removed and the reference does not follow.
#[tokio::test]
async fn the_reference_of_the_api_is_up_to_date() {
    let document = api_document().await;
    let mut out = API_HEAD.to_owned();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            let method = method.to_uppercase();
            let row = all_resources()
                .iter()
                .find(|row| row.method() == *method && row.path == path);
            let role = row.unwrap().role.word();
            writeln!(out, "| `{method}` | `{path}` | {role} | {summary} |").unwrap();
        }
    }
    compare("docs/reference/api.md", &out);
}

const API_HEAD: &str = "# Admin API

JSON over HTTP, below `/api/v1` on the admin listener. `/api/v1/openapi.json` describes every resource, parameter and field; this page lists them.

- Over TCP the API needs a token of `[admin]` as `Authorization: Bearer TOKEN`, and does not exist without one, since every user of the machine can
  connect to loopback. A Unix socket is for its owner only.
- A `listen` that other machines reach needs `[admin.tls]` too. Browsers may use the names of the certificate, and `host`.
- `[[admin.tokens]]` names several tokens: a `viewer` reads, an `operator` acts.
- The log (`target` is `audit`) and the resource `audit` record who did what, and who read the bytes of an event: with a store the last 100,000 actions of
  400 days.
- Tails send one JSON document a line, or server-sent events (`Accept: text/event-stream`), which continue behind `Last-Event-ID`.
- Values of headers that may be secrets of a sender are never returned.

| method | path | role | summary |
| --- | --- | --- | --- |
";

/// Fails when a field is added to the line of a request and its reference lacks it.
#[test]
fn the_reference_has_each_log_field() {
    let source = read("src/record/request_line.rs");
    let reference = read("docs/reference/log-fields.md");
    let mut names = BTreeSet::new();
    for start in ["text(\"", "count(\"", "number(\"", "message(\"", "(\""] {
        let rest = source.split(start).skip(1);
        names.extend(
            rest.filter_map(|rest| rest.split_once('"'))
                .map(|(name, _)| name),
        );
    }
    let is_field = |name: &&str| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let names: Vec<_> = names.into_iter().filter(is_field).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let is_listed = reference.contains(&format!("`{name}`"));
        assert!(is_listed, "docs/reference/log-fields.md lacks `{name}`");
    }
}

#[test]
fn the_readme_lists_the_checks_in_their_order() {
    let checks = [
        GateCheck::Route,
        GateCheck::Framing,
        GateCheck::SourceIp,
        GateCheck::SourceRate,
        GateCheck::ClientCert,
        GateCheck::Material,
        GateCheck::Body,
        GateCheck::Signature,
        GateCheck::Challenge,
        GateCheck::Identity,
        GateCheck::Filter,
        GateCheck::Schema,
        GateCheck::RouteRate,
        GateCheck::Dedup,
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
    let manifests: Vec<toml::Table> = ["Cargo.toml", "crates/verify/Cargo.toml"]
        .iter()
        .map(|path| read(path).parse().unwrap())
        .collect();
    let listed = read("docs/internals/dependencies.md");
    let mut rows: BTreeSet<&str> = BTreeSet::new();
    for line in listed.lines() {
        rows.extend(
            line.strip_prefix("| `")
                .and_then(|rest| rest.split('`').next()),
        );
    }
    let sections = ["dependencies", "dev-dependencies"];
    let tables = manifests
        .iter()
        .flat_map(|manifest| sections.map(|name| manifest[name].as_table()));
    let names = tables.flatten().flat_map(|table| table.keys());
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    assert_eq!(rows, names);
}
