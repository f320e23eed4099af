//! Tests that generated files are up to date, and that each key row matches the code that reads it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hookgate_verify::document::report::ReportStyle;
use serde_json::Value as Json;

use super::*;
use crate::config::load_text;
use crate::config::reference::example::example;
use crate::config::reference::markdown::markdown;
use crate::test_rig::golden::compare;

fn with_literal_secrets(text: &str) -> String {
    text.replace("{ env = \"STRIPE_SECRET\" }", "\"whsec_8fJq2LxW0aZ1\"")
        .replace("{ env = \"GITHUB_SECRET\" }", "\"0aZ18fJq2LxW0aZ1\"")
}

fn load_errors(text: &str) -> String {
    load_text("a.toml", text).map_or_else(
        |report| report.render(ReportStyle::Plain),
        |_| String::new(),
    )
}

#[test]
fn the_example_is_up_to_date_and_loads() {
    compare("config.example.toml", &example());
    let loaded = load_text("a.toml", with_literal_secrets(&example()));
    let loaded = loaded.unwrap_or_else(|report| panic!("{}", report.render(ReportStyle::Plain)));
    assert_eq!(loaded.config.routes.len(), 2);
    // The only warnings are about the literal secrets that this test inserts.
    assert_eq!(loaded.report.summary(), "0 errors, 2 warnings");
}

#[test]
fn the_book_holds_the_reference() {
    let path = "docs/reference/config.md";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(file).expect("the book has the page");
    let (begin, end) = ("<!-- reference:begin -->\n", "<!-- reference:end -->");
    let (before, rest) = text.split_once(begin).expect("the page has a begin mark");
    let (_, after) = rest.split_once(end).expect("the page has an end mark");
    compare(
        path,
        &format!("{before}{begin}\n{}{end}{after}", markdown()),
    );
}

#[test]
fn the_schema_takes_the_example_and_no_unknown_key() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let json = |text: &str| -> Json {
        serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
    };
    let good = json(&example());
    if let Err(err) = validator.validate(&good) {
        panic!("{err} at {}", err.instance_path());
    }
    for (from, to) in [
        ("provider = \"stripe\"", "provder = \"stripe\""),
        ("path = \"/stripe\"", "path = \"/stripe\"\nprefix = \"/a\""),
        ("upstream = \"http:", "upstream = \"ftp:"),
        ("\nmax_body = \"25MiB\"", "\nmax_body = \"25MB\""),
    ] {
        let text = example().replacen(from, to, 1);
        assert!(!validator.is_valid(&json(&text)), "{to}");
    }
}

/// Returns a config with an empty table of a scheme at its end.
fn scheme_table(path: &str, own: &str, hmac: &str) -> String {
    let last = path.rsplit('.').next().unwrap();
    let scheme = match last {
        "token" => "type = \"token\"\n".to_owned(),
        "claims" | "body_claim" | "url_claim" | "jwks" => {
            "type = \"jwt\"\ntoken = { header = \"X\" }\nalgorithms = [\"RS256\"]\nkeys = \"jwks\"\n".to_owned()
        }
        "signature" => hmac.replace("signature = { header = \"X\" }\n", ""),
        _ => hmac.to_owned(),
    };
    format!("{own}{scheme}[routes.a.scheme.{last}]\n")
}

/// Returns a config with one more line in a section.
fn with_line(path: &str, line: &str) -> String {
    let route = "[routes.a]\npath = \"/a\"\nprovider = \"stripe\"\nsecret = \"whsec_8fJq2LxW0aZ1\"\nupstream = \"http://127.0.0.1/\"\n";
    let own = "[routes.a]\npath = \"/a\"\nsecret = \"whsec_8fJq2LxW0aZ1\"\nupstream = \"http://127.0.0.1/\"\n[routes.a.scheme]\n";
    let hmac = "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { header = \"X\" }\nsigned = \"{body}\"\n";
    let name = line.split_once(' ').map_or("", |(name, _)| name);
    let base = match path {
        // Bare keys come first.
        "" => return format!("{line}\n{route}"),
        "routes.NAME.upstream" | "routes.NAME.upstream.tls" => {
            let table = "[routes.a.upstream]\nurl = \"https://127.0.0.1/\"\n";
            let tls = match path.ends_with("tls") {
                true => "[routes.a.upstream.tls]\n",
                false => "",
            };
            route.replace("upstream = \"http://127.0.0.1/\"\n", "") + table + tls
        }
        "egress_proxy" => format!("{route}[egress_proxy]\nurl = \"http://proxy:3128\"\n"),
        "routes.NAME" => route.to_owned(),
        "routes.NAME.dedup" => format!("{route}[routes.a.dedup]\n"),
        "routes.NAME.secret" => {
            route.replace("secret = \"whsec_8fJq2LxW0aZ1\"", "") + "[routes.a.secret]\n"
        }
        "routes.NAME.scheme" if name == "token" || line == "type = \"token\"" => {
            format!("{own}type = \"token\"\n")
        }
        "routes.NAME.scheme" if name == "public_key" => {
            let rsa = hmac.replace("\"hmac\"", "\"rsa\"");
            format!("{own}{rsa}")
        }
        "routes.NAME.scheme" => format!("{own}{hmac}"),
        path if path.starts_with("routes.NAME.scheme.") => scheme_table(path, own, hmac),
        "routes.NAME.jwks" => {
            let route = route.replace("stripe", "kinde");
            format!("{route}[routes.a.jwks]\n")
        }
        "tls.certificates" => {
            format!("{route}[[tls.certificates]]\ncert = \"a\"\nkey = \"b\"\n")
        }
        "admin.tls" => format!(
            "{route}[admin]\nlisten = \"127.0.0.1:9180\"\n[admin.tls]\ncert = \"a\"\nkey = \"b\"\n"
        ),
        "admin.tokens" => {
            let entry = "name = \"a\"\nrole = \"viewer\"\ntoken = \"correct-horse\"\n";
            format!("{route}[admin]\nlisten = \"127.0.0.1:9180\"\n[[admin.tokens]]\n{entry}")
        }
        "routes.NAME.destinations.NAME" => {
            let queue = route.replace("upstream = ", "mode = \"queue\"\nupstream = ");
            let url = "url = \"http://127.0.0.1/\"\n";
            format!("{queue}[store]\nurl = \"sqlite:x\"\n[routes.a.destinations.b]\n{url}")
        }
        "routes.NAME.destinations.NAME.retry"
        | "routes.NAME.destinations.NAME.tls"
        | "routes.NAME.destinations.NAME.oauth2" => {
            let queue = route.replace("upstream = ", "mode = \"queue\"\nupstream = ");
            let last = path.rsplit('.').next().unwrap_or_default();
            format!(
                "{queue}[store]\nurl = \"sqlite:x\"\n[routes.a.destinations.b]\nurl = \"https://127.0.0.1/\"\n[routes.a.destinations.b.{last}]\n"
            )
        }
        "routes.NAME.socket" => {
            let queue = route.replace("upstream = ", "mode = \"queue\"\nupstream = ");
            format!(
                "{queue}[store]\nurl = \"sqlite:x\"\n[routes.a.socket]\npath = \"s\"\nusers = [0]\n"
            )
        }
        // The keys of one database are errors beside the other.
        "store" if POSTGRES_KEYS.contains(&name) => format!("{route}[store]\n{POSTGRES}"),
        "store" => format!("{route}[store]\nurl = \"sqlite:x\"\n"),
        "store.retention" => {
            format!("{route}[store]\nurl = \"sqlite:x\"\n[store.retention]\n")
        }
        "routes.NAME.upstreams" => {
            let row = "url = \"http://127.0.0.1/\"\nevents = [\"*\"]\n";
            format!("{route}[[routes.a.upstreams]]\n{row}")
        }
        // The keys of all types are read; those of another type are errors beside this one.
        "alerts.NAME" => format!("{route}[alerts.a]\ntype = \"slack\"\n"),
        "tls" => format!("{route}[tls]\ncert = \"a\"\nkey = \"b\"\n"),
        "admin" => format!("{route}[admin]\nlisten = \"127.0.0.1:9180\"\n"),
        _ => format!("{route}[{path}]\n"),
    };
    // TOML allows a key only once.
    let start = format!("{name} = ");
    let last = base.rfind("\n[").unwrap_or(0);
    let (head, tail) = base.split_at(last);
    let kept: String = tail
        .split_inclusive('\n')
        .filter(|line| !line.starts_with(&start))
        .collect();
    format!("{head}{kept}{line}\n")
}

const POSTGRES: &str = "url = \"postgres://hookgate@db1/hookgate\"\n";

/// Keys of `[store]` that need a PostgreSQL URL.
const POSTGRES_KEYS: [&str; 8] = [
    "password",
    "ca",
    "cert",
    "key",
    "insecure",
    "schema",
    "node",
    "durability",
];

/// Returns true for a table within `[routes.NAME.scheme]`.
fn is_below_scheme(section: &SectionDefinition) -> bool {
    section.path.starts_with("routes.NAME.scheme.")
}

#[test]
fn every_example_is_a_value_of_its_key() {
    for ListedSection { definition, .. } in sections() {
        for key in definition.keys {
            // The base config has routes already.
            if definition.path.is_empty() && key.name == "routes" {
                continue;
            }
            let line = format!("{} = {}", key.name, key.example);
            let shown = load_errors(&with_line(definition.path, &line));
            for sign in [
                "this is not TOML",
                "unknown key",
                "expected",
                " is not a valid",
                "choices",
            ] {
                // Some keys of these tables exist in one family of schemes only.
                if sign == "unknown key" && is_below_scheme(definition) {
                    continue;
                }
                assert!(!shown.contains(sign), "{line}\n{shown}");
            }
        }
    }
}

#[test]
fn the_rows_are_the_keys_that_are_read() {
    let listed = sections();
    let listed = listed.iter().map(|listed| listed.definition);
    for section in listed.filter(|section| !is_below_scheme(section)) {
        let shown = load_errors(&with_line(section.path, "qqqqqqqqqqqq = 1"));
        let (_, list) = shown
            .split_once("the keys here are ")
            .unwrap_or_else(|| panic!("{shown}"));
        let list = list.lines().next().unwrap();
        let mut read: BTreeSet<&str> = list
            .split(['`', ',', ' '])
            .filter(|name| !name.is_empty())
            .collect();
        if section.path == "store" {
            read.extend(POSTGRES_KEYS);
        }
        let mut rows: BTreeSet<&str> = section.keys.iter().map(|key| key.name).collect();
        if section.path == "routes.NAME.scheme" {
            // These keys are rejected in this family.
            for name in [
                "token",
                "detached",
                "public_key",
                "components",
                "parameters",
                "label",
                "tag",
                "keyid",
                "algorithms",
                "keys",
                "jwks",
                "issuer",
                "audience",
                "tolerance_claim",
                "body_claim",
                "url_claim",
                "claims",
                "route_claims",
                "hosts",
            ] {
                rows.remove(name);
            }
        }
        assert_eq!(read, rows, "[{}]", section.path);
    }
}
