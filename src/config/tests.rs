//! Tests for loading a config.

use hookgate_verify::document::report::ReportStyle;
use hookgate_verify::document::value::choice_words;
use proptest::prelude::*;

use crate::config::model::{DedupRule, DeliveryOrder, MissingId, ModeName, ReplayRule, RouteMode};
use crate::config::{LoadedConfig, load_text};

const MINIMAL: &str = "[routes.a]
path = \"/a\"
provider = \"github\"
secret = \"f3b8c1d09e7a4b52\"
upstream = \"http://127.0.0.1:8080/\"
";

fn loaded(text: &str) -> LoadedConfig {
    load_text("hookgate.toml", text)
        .unwrap_or_else(|report| panic!("{}", report.render(ReportStyle::Plain)))
}

fn fault(text: &str) -> String {
    match load_text("hookgate.toml", text) {
        Ok(_) => panic!("it loads: {text}"),
        Err(report) => report.render(ReportStyle::Plain),
    }
}

#[test]
fn four_lines_make_a_route() {
    let LoadedConfig { config, report } = loaded(MINIMAL);
    assert_eq!(report.summary(), "0 errors, 1 warning");
    let route = config.routes.first().unwrap();
    assert_eq!(route.methods, [http::Method::POST]);
    assert_eq!(route.max_body, 25 << 20);
    let dedup = route.dedup.as_ref().unwrap();
    assert!(!dedup.key.is_nothing() && dedup.binds_body && !dedup.by_body);
    assert_eq!(dedup.missing_id, MissingId::Accept);
    assert_eq!(dedup.replay, ReplayRule::Flag);
    assert_eq!(dedup.window.as_secs(), 7 * 24 * 3600);
}

fn dedup(text: &str) -> DedupRule {
    let config = loaded(text).config;
    config.routes.first().unwrap().dedup.clone().unwrap()
}

#[test]
fn a_signed_key_counts_alone() {
    let dedup = dedup(&MINIMAL.replace("github", "stripe"));
    assert!(!dedup.key.is_nothing() && !dedup.binds_body && !dedup.by_body);
    assert_eq!(dedup.replay, ReplayRule::Off);
    assert_eq!(dedup.window.as_secs(), 3 * 24 * 3600);
}

/// Fails if bodies are compared although the operator did not ask for it: two events with equal bodies would be one.
#[test]
fn without_a_key_nothing_is_a_duplicate() {
    let dropbox = dedup(&MINIMAL.replace("github", "dropbox"));
    assert!(dropbox.key.is_nothing() && !dropbox.by_body);
    assert_eq!(dropbox.replay, ReplayRule::Flag);
    let own = MINIMAL.replace(
        "provider = \"github\"",
        "scheme = { type = \"token\", token = { header = \"X-Token\" } }",
    );
    let LoadedConfig { config, report } = loaded(&own);
    let dedup = config.routes.first().unwrap().dedup.clone().unwrap();
    assert!(dedup.key.is_nothing() && !dedup.by_body);
    // A shared token signs no bytes that could be replayed.
    assert_eq!(dedup.replay, ReplayRule::Off);
    let notes: Vec<String> = report
        .render(ReportStyle::Plain)
        .lines()
        .filter(|line| line.starts_with("note: "))
        .map(str::to_owned)
        .collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("no dedup: the scheme has no `event_id`"));
}

/// Fails if a config of an earlier version changes its meaning.
#[test]
fn what_the_operator_asked_for_stays() {
    let with = |by: &str| dedup(&format!("{MINIMAL}dedup = {{ by = {by} }}\n"));
    let either = with("[\"id\", \"body\"]");
    assert!(!either.key.is_nothing() && !either.binds_body && either.by_body);
    let id = with("[\"id\"]");
    assert!(!id.key.is_nothing() && !id.binds_body && !id.by_body);
    let body = with("[\"body\"]");
    assert!(body.key.is_nothing() && body.by_body);
    assert_eq!(body.replay, ReplayRule::Off);
}

/// Fails without the call of `mask::hide_secrets` in `Document::parse`, or without `hide_broken_line` in `Report`.
#[test]
fn no_report_shows_a_secret() {
    let hidden = "f3b8c1d09e7a4b52";
    for text in [
        MINIMAL.replace("secret =", "secert ="),
        MINIMAL.replace("secret =", "api_key ="),
        MINIMAL
            .replace("\"f3b8", "\"\"\"\nf3b8")
            .replace("4b52\"", "4b52\n\"\"\""),
        MINIMAL.replace("4b52\"", "4b52"),
        MINIMAL.replace("\"f3b8", "[\"f3b8"),
        MINIMAL.replace("\"f3b8c1d09e7a4b52\"", "{ value = \"f3b8c1d09e7a4b52\" }"),
        MINIMAL.replace("\"f3b8c1d09e7a4b52\"", "{ env = \"f3b8c1d09e7a4b52\" }"),
        MINIMAL.replace("http://", "http://u:f3b8c1d09e7a4b52@"),
        MINIMAL.replace("secret = ", "secret = = "),
        MINIMAL
            .replace("github", "standard_webhooks")
            .replace("f3b8", "whsec_-f3b8"),
        MINIMAL.replace("secret =", "my_secret ="),
        MINIMAL.replace("secret =", "my_token ="),
        MINIMAL.replace("secret =", "password ="),
        MINIMAL.replace("secret =", "sign_upstream = 7\nsign_upstream ="),
        MINIMAL.replace("\"f3b8c1d09e7a4b52\"", "[\"f3b8c1d09e7a4b52\", 7]"),
        format!("{MINIMAL}headers = {{ X-A = \"f3b8c1d09e7a4b52\" }}\n"),
    ] {
        let report = load_text("hookgate.toml", text.as_str()).map(|loaded| loaded.report);
        let report = report.unwrap_or_else(|report| report);
        let shown = report.render(ReportStyle::Plain) + &report.to_json().to_string();
        assert!(!shown.contains(hidden), "{shown}");
        assert!(!report.diagnostics().is_empty(), "{text}");
    }
}

/// Fails if the validity of a secret is masked like the secret itself.
#[test]
fn a_report_shows_what_stands_beside_a_secret() {
    let text = MINIMAL.replace(
        "\"f3b8c1d09e7a4b52\"",
        "{ value = \"f3b8c1d09e7a4b52\", until = \"2031-05-06T00:00:00Z\", mode = 7 }",
    );
    let shown = fault(&text);
    assert!(shown.contains("2031-05-06"), "{shown}");
    assert!(!shown.contains("f3b8"), "{shown}");
}

#[test]
fn what_is_stored_needs_a_store_and_a_way_out() {
    let queue = MINIMAL.replace("upstream = ", "mode = \"queue\"\nupstream = ");
    let shown = fault(&queue);
    assert!(shown.contains("has no `[store]`"), "{shown}");
    let kept = loaded(&format!("{queue}[store]\nurl = \"sqlite:x.db\"\n")).config;
    let route = &kept.routes[0];
    assert_eq!(route.mode, RouteMode::Queue);
    let names: Vec<_> = route
        .destinations
        .iter()
        .map(|each| each.name.as_str())
        .collect();
    assert_eq!(names, ["upstream"]);
    assert!(route.destinations[0].appends_rest);
    assert_eq!(route.destinations[0].retry.max_attempts, 10);

    let two = "[routes.a.destinations.ci]\nurl = \"https://example.com/ci?x=1\"\nretry = { base = \"1s\", factor = 2, max_age = \"1d\" }\norder = \"fifo:json:/account\"\n";
    let kept = loaded(&format!("{queue}{two}[store]\nurl = \"sqlite:x.db\"\n")).config;
    let ci = &kept.routes[0].destinations[0];
    assert_eq!((ci.name.as_str(), ci.appends_rest), ("ci", false));
    assert_eq!(ci.order, DeliveryOrder::FifoByJson("/account".to_owned()));
    assert_eq!(kept.routes[0].destinations.len(), 2);
}

#[test]
fn a_broken_file_shows_its_other_errors_but_nothing_absent() {
    let shown = fault("[routes.a]\npath = /a\ntimeout = \"5\"\n");
    assert!(shown.contains("this is not TOML"), "{shown}");
    assert!(shown.contains("not a duration"), "{shown}");
    assert!(!shown.contains("needs"), "{shown}");
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = load_text("a.toml", text);
    }

    #[test]
    fn no_damage_panics(at in 0..MINIMAL.len(), cut in 0..20usize, put in "[\\[\\]{}=\",.'#\\n a-z0-9]{0,6}") {
        let mut text = MINIMAL.to_owned();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &put);
        let report = load_text("a.toml", text).map(|loaded| loaded.report);
        let report = report.unwrap_or_else(|report| report);
        let _ = report.render(ReportStyle::Plain);
        let _ = report.to_json();
    }
}

/// Fails when a choice is read under another word than the one that the effective config shows.
#[test]
fn a_choice_is_read_and_shown_under_one_word() {
    for (word, mode) in ModeName::ALL {
        assert_eq!(mode.word(), word);
    }
    let dedup = |line: &str| {
        let text = format!("{MINIMAL}dedup = {{ {line} }}\n");
        loaded(&text).config.routes[0].dedup.clone().unwrap()
    };
    for (word, rule) in ReplayRule::ALL {
        let read = dedup(&format!("replay = \"{word}\""));
        assert_eq!((read.replay, read.replay.word()), (rule, word));
    }
    for (word, rule) in MissingId::ALL {
        let read = dedup(&format!("missing_id = \"{word}\""));
        assert_eq!((read.missing_id, read.missing_id.word()), (rule, word));
    }
    assert_eq!(choice_words(&ReplayRule::ALL), ["flag", "block", "off"]);
}
