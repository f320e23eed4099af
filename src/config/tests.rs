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

/// Fails without the call of `secret_mask::mask_secrets` in `TomlDocument::parse_merged`, or without `mask_broken_line` in
/// `DiagnosticReport`.
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

/// The secret of the tables below. It looks like no word that marks a secret.
const PART: &str = "Zq7Xk2Wm9b";

/// A queue route with a destination, to which a case adds lines.
const QUEUE: &str = "[store]
url = \"sqlite:x.db\"
[routes.a]
path = \"/a\"
provider = \"github\"
secret = \"f3b8c1d09e7a4b52\"
mode = \"queue\"
[routes.a.destinations.p]
url = \"https://partner.example/in\"
";

/// Asserts that no rendering of any of these configs shows `PART`. `HIDDEN` in a config becomes the secret.
fn assert_hidden(configs: &[String]) {
    for text in configs {
        let text = text.replace("HIDDEN", PART);
        let report = load_text("hookgate.toml", text.as_str()).map(|loaded| loaded.report);
        let report = report.unwrap_or_else(|report| report);
        let plain = report.render(ReportStyle::Plain) + &report.render(ReportStyle::Colour);
        let shown = plain + &report.to_json().to_string();
        assert!(report.has_errors(), "it loads: {text}");
        assert!(!shown.contains(PART), "{text}\n{shown}");
    }
}

/// Fails if a report shows the URL of a chat webhook, whatever is wrong with its line. Mutation: leave out one of the
/// conditions of `is_misplaced`, `public_length` or `has_open_quotes`.
#[test]
fn no_report_shows_the_url_of_a_chat() {
    let url = "https://hooks.slack.com/services/T0/B0/HIDDEN";
    let lines = [
        // Not TOML, with the URL in the broken line or beside it.
        format!("url = \"{url}\n"),
        format!("url = {url}\n"),
        format!("url = '{url}\"\n"),
        format!("url: \"{url}\"\n"),
        format!("url \"{url}\"\n"),
        format!("url = \"{url}\" x\n"),
        format!("url == \"{url}\"\n"),
        format!("url = \"{url}\"\nurl = \"{url}\"\n"),
        format!("url = \"{url}\"\n[alerts.ops]\nurl = \"{url}\"\n"),
        format!("ulr = \"{url}\"\n[oops\n"),
        format!("url = \"\"\"\n{url}\n"),
        format!("url = \"\"\"\na = {url}\n"),
        "ulr = '''\na = HIDDEN\n".to_owned(),
        "url = \"hooks.slack.com/services/HIDDEN\n".to_owned(),
        // Another key, type or form.
        format!("ulr = \"{url}\"\n"),
        format!("webhook = \"{url}\"\n"),
        format!("webhook = \"\"\"{url}?a=b\n\"\"\"\n"),
        "webhook = \"hooks.slack.com/services/HIDDEN\"\n".to_owned(),
        format!("\"{url}\" = 1\n"),
        format!("url = [\"{url}\"]\n"),
        "url = [\"hooks.slack.com/services/HIDDEN\"]\n".to_owned(),
        format!("url = {{ value = \"{url}\" }}\n"),
        format!("url = {{ valu = \"{url}\" }}\n"),
        format!("url = {{ env = \"{url}\" }}\n"),
        format!("url = {{ file = \"{url}\" }}\n"),
        format!("url.ulr = \"{url}\"\n"),
        // The right form with a wrong URL.
        format!("url = \"{url}#a\"\n"),
        "url = \"http://hooks.slack.com/services/HIDDEN\"\n".to_owned(),
        "url = \"hooks.slack.com/services/HIDDEN\"\n".to_owned(),
        "url = \"https://hooks.slack.com\n/services/HIDDEN\"\n".to_owned(),
        "url = \"\"\"\nhttps://hooks.slack.com/services/HIDDEN\n\"\"\"\n".to_owned(),
    ];
    let in_section = lines.map(|line| format!("[alerts.ops]\ntype = \"slack\"\n{line}"));
    assert_hidden(&in_section);
    let elsewhere = [
        format!("alerts = {{ ops = {{ type = \"slak\", url = \"{url}\" }} }}\n{MINIMAL}"),
        format!("alerts = {{ ops = {{ type = \"slack\", url = \"{url}\" }}\n{MINIMAL}"),
        format!("alert = {{ ops = {{ type = \"slack\", url = \"{url}\" }} }}\n{MINIMAL}"),
        format!("alerts.ops.url = \"{url}\n{MINIMAL}"),
        format!("alerts.ops.ulr = \"{url}\"\n{MINIMAL}"),
        format!("alerts.ops.url = 1\nalerts.ops.url = \"{url}\"\n{MINIMAL}"),
        format!("{MINIMAL}alerts.ops.url = \"{url}\"\n"),
        format!("[alerts]\nops = \"{url}\"\n{MINIMAL}"),
        format!("[alerts]\nops = [\"{url}\"]\n{MINIMAL}"),
        format!("[[alerts]]\nurl = \"{url}\"\n{MINIMAL}"),
        format!("[alerts.ops]\ntype = \"{url}\"\n{MINIMAL}"),
        format!("[alerts.ops\nurl = \"{url}\"\n{MINIMAL}"),
        format!("[alerts.\"{url}\"]\ntype = \"slack\"\n{MINIMAL}"),
        format!("[{url}]\n{MINIMAL}"),
    ];
    assert_hidden(&elsewhere);
}

/// Fails if a report shows another secret that is in a config itself.
#[test]
fn no_report_shows_a_secret_of_a_section() {
    let oauth2 = format!(
        "{QUEUE}[routes.a.destinations.p.oauth2]\ntoken_url = \"https://login.example/t\"\nclient_id = \"c\"\n"
    );
    let mail = "[alerts.m]\ntype = \"mail\"\nserver = \"m.example\"\nfrom = \"a@example.com\"\nto = \"b@example.com\"\nusername = \"u\"\n";
    let account =
        "[tls.acme]\nnames = [\"a.example.com\"]\n[tls.acme.external_account]\nkey_id = \"k\"\n";
    let proxy = "[egress_proxy]\nurl = \"http://proxy.example:3128\"\n";
    let sections = [
        // The database.
        (
            "[store]\nnode = \"edge-1\"\n".to_owned(),
            &[
                "url = \"postgres://u:HIDDEN@db/d\"",
                "url = \"postgres://u:HIDDEN@db/d",
                "url = \"postgres://u:HIDDEN",
                "url = postgres://u:HIDDEN@db/d",
                "url = \"postgres:u:HIDDEN@db/d\"",
                "url = \"u:HIDDEN@db/d\"",
                "url = \"postgres://u@db/d?password=HIDDEN\"",
                "url = \"postgres://db/d?password=HIDDEN\"",
                "url = \"host=db user=u password=HIDDEN\"",
                "ulr = \"postgres://u:HIDDEN@db/d\"",
                "url = \"postgres://u@db/d\"\npassword = \"HIDDEN",
                "url = \"postgres://u@db/d\"\npasword = \"HIDDEN\"",
                "url = \"postgres://u@db/d\"\npwd = \"HIDDEN\"",
                "url = \"postgres://u@db/d\"\npassword = { text = \"HIDDEN\" }",
                "url = \"postgres://u@db/d\"\npassword = { env = \"HIDDEN\" }",
            ][..],
        ),
        // Client credentials of OAuth 2.0.
        (
            oauth2,
            &[
                "client_secret = \"HIDDEN",
                "client_secret = HIDDEN",
                "client_secret = [\"HIDDEN\"]",
                "client_secret = { valu = \"HIDDEN\" }",
                "client_secret = \"HIDDEN\"\nclient_secret = \"HIDDEN\"",
                "client_secret = \"\"\"\nHIDDEN=\n",
                "client_secert = \"HIDDEN\"",
                "clientsecret = \"HIDDEN\"",
                "client-secert = \"HIDDEN",
            ],
        ),
        (
            QUEUE.to_owned(),
            &[
                "oauth2.client_secert = \"HIDDEN\"",
                "oauth2 = { token_url = \"https://c:HIDDEN@login.example/t\" }",
                "oauth2 = { token_url = \"https://login.example/t\", client_secert = \"HIDDEN\" }",
                "headers = { X-Key = \"HIDDEN\", X-Key = \"b\" }",
                "header = { X-A = \"HIDDEN\" }",
            ],
        ),
        // The login at a proxy.
        (
            proxy.to_owned(),
            &[
                "user = \"u\"\npassword = \"HIDDEN",
                "user = \"u\"\npaswords = \"HIDDEN\"",
                "user = \"u:HIDDEN\"",
                "user = \"u:HIDDEN",
                "except = [\"http://u:HIDDEN@proxy.example\"]",
            ],
        ),
        (
            String::new(),
            &[
                "egress_proxy = \"http://u:HIDDEN@proxy.example:3128\"",
                "egress_proxy = \"http://u:HIDDEN@proxy.example:3128",
                "egress_proxy = \"u:HIDDEN@proxy.example:3128\"",
                "egress_proxy = { url = \"http://proxy.example:3128\", user = \"u\", pass = \"HIDDEN\" }",
                "egress_proxy = { ulr = \"http://u:HIDDEN@proxy.example:3128\" }",
            ],
        ),
        // The login at a mail server.
        (
            mail.to_owned(),
            &[
                "password = \"HIDDEN",
                "pasword = \"HIDDEN\"",
                "password = \"HIDDEN\"\npassword = \"x\"",
                "password = [\"HIDDEN\"]",
            ],
        ),
        (
            "[alerts.m]\ntype = \"mail\"\n".to_owned(),
            &[
                "server = \"u:HIDDEN@m.example:25\"",
                "server = \"smtps://u:HIDDEN@m.example\"",
                "username = \"u:HIDDEN\"",
                "from = \"u:HIDDEN@example.com\"",
            ],
        ),
        // The account key of a CA.
        (
            account.to_owned(),
            &[
                "hmac_key = \"HIDDEN!\"",
                "hmac_key = \"HIDDEN",
                "hmac_key = HIDDEN",
                "hmac-key = \"HIDDEN\"",
                "hmac_ky = \"HIDDEN",
                "hmac_key = \"\"\"\nHIDDEN=\n",
                "hmac_key = { credential = \"k\", text = \"HIDDEN\" }",
            ],
        ),
    ];
    for (section, lines) in sections {
        let configs: Vec<_> = lines
            .iter()
            .map(|line| format!("{section}{line}\n"))
            .collect();
        assert_hidden(&configs);
    }
}

/// Fails if what helps the operator is masked: the host of a URL in a broken file, where a secret is, and a database
/// without a password.
#[test]
fn a_report_shows_what_is_no_secret() {
    let alert = "[alerts.ops]\ntype = \"slak\"\n";
    for (text, shown) in [
        (
            format!("{alert}url = {{ env = \"CHAT_URL\", fil = 1 }}\n"),
            "env = \"CHAT_URL\"",
        ),
        (
            "url = \"https://chat.example/a\n".to_owned(),
            "\"https://chat.example**",
        ),
        (
            "[store]\nurl = \"postgres://u@db/d?x=1\"\n".to_owned(),
            "postgres://u@db/d?x=1",
        ),
        (
            MINIMAL
                .replace("routes.a", "routes.alerts")
                .replace(":8080", ":0"),
            "\"http://127.0.0.1:0/\"",
        ),
        (
            "[alerts.m]\ntype = \"mail\"\nfrom = \"Gate gate@example.com\"\n".to_owned(),
            "`Gate gate@example.com` is not a mail address",
        ),
    ] {
        let report = fault(&text);
        assert!(report.contains(shown), "{report}");
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
