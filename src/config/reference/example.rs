//! Generator of `config.example.toml`: every key with its meaning, most of them commented out.

use std::fmt::Write;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};

use crate::config::root::ROOT;
use crate::config::{
    acme, admin, alerts, destination, egress_proxy, http_listener, log, outgoing_tls, route,
    server, store, telemetry, tls, upstream, watch,
};

/// Lines of the example that are active, as (section, key, value).
const ACTIVE: [(&str, &str, &str); 13] = [
    ("server", "listen", "[\"0.0.0.0:443\", \"[::]:443\"]"),
    ("tls", "cert", "\"/etc/hookgate/tls/fullchain.pem\""),
    ("tls", "key", "\"/etc/hookgate/tls/privkey.pem\""),
    ("admin", "listen", "\"127.0.0.1:9180\""),
    ("routes.stripe", "path", "\"/stripe\""),
    ("routes.stripe", "provider", "\"stripe\""),
    ("routes.stripe", "secret", "{ env = \"STRIPE_SECRET\" }"),
    (
        "routes.stripe",
        "upstream",
        "\"http://127.0.0.1:8080/webhooks/stripe\"",
    ),
    ("routes.github", "path", "\"/github\""),
    ("routes.github", "provider", "\"github\""),
    ("routes.github", "secret", "{ env = \"GITHUB_SECRET\" }"),
    ("routes.github", "max_body", "\"25MiB\""),
    (
        "routes.github",
        "upstream",
        "\"http://127.0.0.1:8080/webhooks/github\"",
    ),
];

/// Returns a complete commented config: two routes that work once their secrets are set, and every key with its
/// default.
#[must_use]
pub(super) fn example() -> String {
    let mut out = "\
# An example of /etc/hookgate/hookgate.toml with every key. A line that begins with `#` and a key is a possible setting;
# as long as it is a comment, the default applies. Run `hookgate check --config FILE` to find errors in a config.
# This file is generated from the definitions of the keys in the code.
#
# Durations are \"500ms\", \"30s\", \"5m\", \"1h30m\", \"7d\"; sizes \"64KiB\", \"1MiB\"; rates \"100/s\", \"600/m\" or
# { per_second = 50, burst = 100 }. Relative paths are relative to this file.

"
    .to_owned();
    for key in ROOT.keys {
        // Bare keys must come before the first section.
        if !matches!(key.kind, ValueKind::Table(_) | ValueKind::Named(_)) {
            add_key(&mut out, key, "");
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    for section in [
        &server::SECTION,
        &tls::SECTION,
        &admin::SECTION,
        &log::SECTION,
    ] {
        out.push_str(&example_section(section, section.path));
    }
    // One route with every key, then a minimal one.
    out.push_str(&example_section(&route::SECTION, "routes.stripe"));
    out.push_str("\n# A minimal route. GitHub sends bodies of up to 25 MiB.\n[routes.github]\n");
    for (_, key, value) in ACTIVE
        .iter()
        .filter(|(path, _, _)| *path == "routes.github")
    {
        let _ = writeln!(out, "{key} = {value}");
    }
    out.push_str(LEGACY);
    out.push_str(QUEUE);
    for (section, path) in [
        (&acme::SECTION, "tls.acme"),
        (&acme::EXTERNAL_ACCOUNT_SECTION, "tls.acme.external_account"),
        (&http_listener::SECTION, "server.http"),
        (&telemetry::SECTION, "telemetry"),
        (&alerts::SECTION, "alerts.team"),
        (&watch::SECTION, "watch"),
        (&store::SECTION, "store"),
        (&store::RETENTION_SECTION, "store.retention"),
        (&destination::SECTION, "routes.orders.destinations.ci"),
        (&upstream::SECTION, "routes.internal.upstream"),
        (
            &outgoing_tls::UPSTREAM_SECTION,
            "routes.internal.upstream.tls",
        ),
        (&egress_proxy::SECTION, "egress_proxy"),
    ] {
        out.push_str(&commented(&example_section(section, path)));
    }
    out
}

/// Comments out every line of the text.
fn commented(text: &str) -> String {
    let line = |line: &str| match line.is_empty() || line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("# {line}\n"),
    };
    text.lines().map(line).collect()
}

fn example_section(section: &SectionDefinition, path: &str) -> String {
    let mut out = format!("\n# {}\n[{path}]\n", section.doc);
    for key in section.keys {
        // A table has an example of its own at the end of the file; arrays of tables are in the reference.
        if matches!(key.kind, ValueKind::Table(_)) {
            continue;
        }
        add_key(&mut out, key, path);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn add_key(out: &mut String, key: &KeyDefinition, path: &str) {
    out.push_str(&wrapped(key.doc));
    let active = ACTIVE
        .iter()
        .find(|(active_path, name, _)| *active_path == path && *name == key.name);
    match (active, key.default) {
        (Some((_, name, value)), _) => {
            let _ = writeln!(out, "{name} = {value}");
        }
        (None, Some(default)) => {
            let _ = writeln!(
                out,
                "# Default: {default}.\n# {} = {}",
                key.name, key.example
            );
        }
        (None, None) => {
            let _ = writeln!(out, "# {} = {}", key.name, key.example);
        }
    }
    out.push('\n');
}

/// Wraps a text into comment lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > 120 {
            out.push_str(&line);
            out.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    out + &line + "\n"
}

const LEGACY: &str = r#"
# A sender with its own scheme, and a secret that is being rotated.
# [routes.legacy]
# path = "/legacy"
# upstream = "http://127.0.0.1:8081/in"
# secret = [{ credential = "legacy-new" }, { credential = "legacy-old", until = 2027-01-31 }]
# [routes.legacy.scheme]
# type = "hmac"
# algorithm = "sha256"
# encoding = "hex"
# signature = { header = "X-Webhook-Signature", prefix = "sha256=" }
# signed = "{timestamp}.{body}"
# timestamp = { header = "X-Webhook-Timestamp", unit = "ms" }
# event_id = { header = "X-Webhook-ID" }
# event_type = { json = "/type" }
"#;

const QUEUE: &str = r#"
# A route that stores events, responds at once, and delivers them with retries. It requires `[store]`.
# [routes.orders]
# path = "/orders"
# provider = "shopify"
# secret = { credential = "shopify" }
# mode = "queue"
# upstream = "http://127.0.0.1:8080/orders"
"#;
