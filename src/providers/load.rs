//! The text of a provider file -> [`Provider`].

use std::time::Duration;

use crate::document::key::{Key, Kind};
use crate::document::report::Report;
use crate::document::table::{Fault, Table};
use crate::document::{Document, Source, value};
use crate::providers::{Challenge, IpRanges, Provider};
use crate::scheme::parse::{self, parse_spec};

/// 5 minutes: what Stripe's and Standard Webhooks' libraries use by default.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Parses a provider file.
pub(super) fn parse(name: &str, text: &str) -> Result<Provider, Box<Report>> {
    let source = Source::new(name, text.to_owned());
    let document = Document::parse(&source);
    let provider = provider(&mut document.root());
    let report = document.into_report();
    match provider {
        Some(provider) if report.diagnostics().is_empty() => Ok(provider),
        _ => Err(Box::new(report)),
    }
}

fn provider(table: &mut Table<'_>) -> Option<Provider> {
    let id = table.require(&ID, value::text);
    let name = table.require(&NAME, value::text);
    let docs = table.require(&DOCS, value::text);
    let tolerance = table.read(&TOLERANCE, value::duration);
    let retry_horizon = table.read(&RETRY_HORIZON, value::duration);
    let challenge = table.read(&CHALLENGE, |value| {
        value::choice(
            value,
            &[("slack_url_verification", Challenge::SlackUrlVerification)],
        )
    });
    let scheme = table
        .table(&SCHEME)
        .and_then(|mut scheme| parse_spec(&mut scheme));
    let ip_ranges = table
        .table(&IP_RANGES)
        .and_then(|mut ranges| ip_ranges(&mut ranges));
    // The vectors are for tests; a provider without one is refused by them.
    table.ignore("vectors");
    table.deny_unknown();
    Some(Provider {
        id: id?.value,
        name: name?.value,
        docs: docs?.value,
        scheme: scheme?,
        tolerance: tolerance.unwrap_or(DEFAULT_TOLERANCE),
        retry_horizon,
        challenge,
        ip_ranges,
    })
}

fn ip_ranges(table: &mut Table<'_>) -> Option<IpRanges> {
    let read = table.require(&READ, value::text);
    let url = table.require(&URL, value::text);
    let cidrs = table.list(&CIDRS, value::network);
    table.deny_unknown();
    let cidrs: Vec<_> = cidrs?.into_iter().map(|placed| placed.value).collect();
    if cidrs.is_empty() {
        let fault = Fault::new("the list of ranges is empty", "remove `[ip_ranges]`");
        table.error(table.span(), fault);
        return None;
    }
    Some(IpRanges {
        read: read?.value,
        url: url?.value,
        cidrs,
    })
}

static ID: Key = Key {
    name: "id",
    kind: Kind::Text,
    default: None,
    example: "\"stripe\"",
    doc: "Lower-case words joined by underscores; also the name of the file.",
};

static NAME: Key = Key {
    name: "name",
    kind: Kind::Text,
    default: None,
    example: "\"Stripe\"",
    doc: "The name for people.",
};

static DOCS: Key = Key {
    name: "docs",
    kind: Kind::Text,
    default: None,
    example: "\"https://docs.stripe.com/webhooks\"",
    doc: "Where the provider documents its signatures.",
};

static TOLERANCE: Key = Key {
    name: "tolerance",
    kind: Kind::Duration,
    default: Some("\"5m\""),
    example: "\"5m\"",
    doc: "How far a signed timestamp may be from now.",
};

static RETRY_HORIZON: Key = Key {
    name: "retry_horizon",
    kind: Kind::Duration,
    default: None,
    example: "\"3d\"",
    doc: "How long the provider goes on retrying.",
};

static CHALLENGE: Key = Key {
    name: "challenge",
    kind: Kind::Choice(&["slack_url_verification"]),
    default: None,
    example: "\"slack_url_verification\"",
    doc: "The provider's URL check.",
};

static SCHEME: Key = Key {
    name: "scheme",
    kind: Kind::Table(&parse::keys::SECTION),
    default: None,
    example: "{ type = \"token\", token = { header = \"X-Token\" } }",
    doc: "How it signs.",
};

static IP_RANGES: Key = Key {
    name: "ip_ranges",
    kind: Kind::Text,
    default: None,
    example: "{ read = \"2026-01-31\", url = \"https://example.com\", cidrs = [\"192.0.2.0/24\"] }",
    doc: "The addresses that it publishes, with the day on which they were read and the page.",
};

static READ: Key = Key {
    name: "read",
    kind: Kind::Text,
    default: None,
    example: "\"2026-01-31\"",
    doc: "The day on which the ranges were read.",
};

static URL: Key = Key {
    name: "url",
    kind: Kind::Text,
    default: None,
    example: "\"https://example.com/ips\"",
    doc: "Where the ranges are published.",
};

static CIDRS: Key = Key {
    name: "cidrs",
    kind: Kind::List(&Kind::Network),
    default: None,
    example: "[\"192.0.2.0/24\"]",
    doc: "The ranges.",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::report::Style;
    use crate::providers::FILES;

    #[test]
    fn every_file_loads_under_its_own_name() {
        for (name, text) in FILES {
            let provider = parse(name, text)
                .unwrap_or_else(|report| panic!("{}", report.render(Style::Plain)));
            assert_eq!(*name, format!("{}.toml", provider.id));
            let is_fit =
                |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
            assert!(provider.id.chars().all(is_fit), "{name}");
        }
        assert_eq!(crate::providers::all().len(), FILES.len());
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused() {
        let text = "id = \"a\"\nname = \"A\"\ndocs = \"x\"\nretries = 3\n[scheme]\ntype = \"token\"\ntoken = { query = \"t\" }\n";
        assert!(parse("a.toml", text).is_err());
        assert!(parse("a.toml", &text.replace("retries = 3\n", "")).is_ok());
    }
}
