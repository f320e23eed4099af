//! Loads a provider file: parses its text into a [`Provider`].

use std::time::Duration;

use crate::document::key::KeyDefinition;
use crate::document::report::DiagnosticReport;
use crate::document::table::{SpannedValue, TomlTable, TomlValue, ValueFault};
use crate::document::{SourceText, TomlDocument, value};
use crate::providers::challenge::ProviderChallenge;
use crate::providers::identity::{self, RetrySigning, SenderIdentity};
use crate::providers::provider::{
    DEFAULT_TOLERANCE, IpRanges, Provider, ProviderEvidence, ProviderRetries, RangesFormat,
};
use crate::providers::{files, keys};
use crate::scheme::parse::{parse_overrides, parse_spec};
use crate::scheme::spec::SchemeSpec;

/// Parses the text of a provider file, or reports every error in it.
pub(super) fn parse(name: &str, text: &str) -> Result<Provider, Box<DiagnosticReport>> {
    let source = SourceText::new(name, text.to_owned());
    let document = TomlDocument::parse(&source);
    let provider = provider(&mut document.root());
    let report = document.into_report();
    match provider {
        // Warnings are errors here: the files are part of the release, and a test loads each of them.
        Some(mut provider) if report.diagnostics().is_empty() => {
            provider.about = opening_comment(text);
            Ok(provider)
        }
        _ => Err(Box::new(report)),
    }
}

fn provider(table: &mut TomlTable<'_>) -> Option<Provider> {
    let id = table.require(&keys::ID, value::text);
    let name = table.require(&keys::NAME, value::text);
    let docs = table.require(&keys::DOCS, value::text);
    let setup = table.read(&keys::SETUP, value::text);
    let tolerance = table.read(&keys::TOLERANCE, value::duration);
    let retry_horizon = table.read(&keys::RETRY_HORIZON, value::duration);
    let retries = optional(table, &keys::RETRIES, retries);
    let challenge = table.read(&keys::CHALLENGE, |value| {
        value::choice(value, ProviderChallenge::ALL)
    });
    let proof = table.read(&keys::PROOF, |value| {
        value::choice(
            value,
            &[("documentation only", ProviderEvidence::DocumentationOnly)],
        )
    });
    let stricter = texts(table.list(&keys::STRICTER, value::text));
    let unsigned = texts(table.list(&keys::UNSIGNED, value::text));
    let scheme = scheme(table);
    if !table.has(&keys::IDENTITY) {
        table.missing(&keys::IDENTITY);
    }
    let identity = optional(table, &keys::IDENTITY, identity::read);
    let ip_ranges = optional(table, &keys::IP_RANGES, ip_ranges);
    let sources = sources(table);
    // Samples are for tests; reading the key keeps `deny_unknown` from reporting it.
    table.value(&keys::SAMPLES);
    table.deny_unknown();
    let (scheme, identity) = (scheme?, identity?);
    let tolerance = tolerance.unwrap_or(DEFAULT_TOLERANCE);
    Some(Provider {
        id: id?.value,
        name: name?.value,
        about: String::new(),
        docs: docs?.value,
        setup,
        tolerance: covering(tolerance, retry_horizon, &scheme, &identity),
        scheme,
        identity,
        retry_horizon,
        retries,
        challenge,
        proof: proof.unwrap_or(ProviderEvidence::Vectors),
        sources,
        stricter,
        unsigned,
        ip_ranges,
    })
}

/// Widens the tolerance if a retry repeats the first timestamp: otherwise each retry after an outage would be stale.
fn covering(
    tolerance: Duration,
    retry_horizon: Option<Duration>,
    scheme: &SchemeSpec,
    identity: &SenderIdentity,
) -> Duration {
    let repeats = identity.retries_resign.value == RetrySigning::No && scheme.is_dated();
    // Only a signed time that repeats can become stale.
    let horizon = retry_horizon.filter(|_| repeats);
    tolerance.max(horizon.unwrap_or_default())
}

fn optional<'a, T>(
    table: &mut TomlTable<'a>,
    key: &KeyDefinition,
    parse: impl FnOnce(&mut TomlTable<'a>) -> Option<T>,
) -> Option<T> {
    table.table(key).and_then(|mut inner| parse(&mut inner))
}

fn texts(placed: Option<Vec<SpannedValue<String>>>) -> Vec<String> {
    let placed = placed.unwrap_or_default();
    placed.into_iter().map(|placed| placed.value).collect()
}

/// Parses `[scheme]`, or takes the scheme of another file by its id and applies `[overrides]`.
fn scheme(table: &mut TomlTable<'_>) -> Option<SchemeSpec> {
    if !is_text(table) {
        table.refuse(keys::OVERRIDES.name, |_| {
            ValueFault::new(
                "`[overrides]` belongs to `scheme = \"ID\"`",
                "write the fields into `[scheme]`",
            )
        });
        if !table.has(&keys::SCHEME) {
            table.missing(&keys::SCHEME);
        }
        return optional(table, &keys::SCHEME, parse_spec);
    }
    let mut spec = table.read(&keys::SCHEME, scheme_of_another)?;
    if let Some(mut overrides) = table.table(&keys::OVERRIDES) {
        parse_overrides(&mut overrides, &mut spec);
    }
    Some(spec)
}

fn is_text(table: &mut TomlTable<'_>) -> bool {
    let value = table.value(&keys::SCHEME);
    value.is_some_and(|value| value.text().is_some())
}

/// Parses the scheme of another file. That file must have its own `[scheme]` table, so that references cannot form a
/// cycle.
fn scheme_of_another(value: &TomlValue<'_>) -> Result<SchemeSpec, ValueFault> {
    let id = value::text(value)?;
    let spec = files::text_of(&id).and_then(|text| {
        let source = SourceText::new(&id, text.to_owned());
        let document = TomlDocument::parse(&source);
        let mut root = document.root();
        // A reference to a file that is itself a reference is not followed.
        if is_text(&mut root) {
            return None;
        }
        let spec = root.table(&keys::SCHEME);
        let spec = spec.and_then(|mut scheme| parse_spec(&mut scheme));
        spec.filter(|_| !document.into_report().has_errors())
    });
    spec.ok_or_else(|| {
        ValueFault::new(
            format!("no provider file `{id}` has its own `[scheme]` table"),
            "use the id of a provider file with a `[scheme]` table",
        )
    })
}

fn retries(table: &mut TomlTable<'_>) -> Option<ProviderRetries> {
    let retries = ProviderRetries {
        timeout: table.read(&keys::TIMEOUT, value::duration),
        attempts: table.read(&keys::ATTEMPTS, value::count),
        stops: table.read(&keys::STOPS, value::text),
        source: table.read(&keys::SOURCE, value::text),
    };
    table.deny_unknown();
    Some(retries)
}

fn ip_ranges(table: &mut TomlTable<'_>) -> Option<IpRanges> {
    let read = table.require(&keys::READ, value::text);
    let url = table.require(&keys::URL, value::text);
    let pointers = table.one_or_more(&keys::POINTER, pointer);
    let lines = table.read(&keys::LINES, value::boolean);
    let cidrs = table.list(&keys::CIDRS, value::network);
    table.deny_unknown();
    let cidrs: Vec<_> = cidrs?.into_iter().map(|placed| placed.value).collect();
    // An empty list would reject every request of a route that allows the provider's addresses.
    if cidrs.is_empty() {
        let fault = ValueFault::new("the list of ranges is empty", "remove `[ip_ranges]`");
        table.error(table.span(), fault);
        return None;
    }
    let format = match (pointers, lines) {
        (None, None | Some(false)) => None,
        (None, Some(true)) => Some(RangesFormat::Lines),
        (Some(pointers), None | Some(false)) => {
            let pointers = pointers.into_iter().map(|placed| placed.value);
            Some(RangesFormat::Json(pointers.collect()))
        }
        (Some(_), Some(true)) => {
            let fault = ValueFault::new(
                "`pointer` and `lines` exclude each other",
                "remove one of them",
            );
            table.error(table.span(), fault);
            None
        }
    };
    Some(IpRanges {
        read: read?.value,
        url: url?.value,
        format,
        cidrs,
    })
}

/// Parses a JSON pointer such as `"/prefixes/*/ipv4Prefix"` into its steps.
fn pointer(value: &TomlValue<'_>) -> Result<Vec<String>, ValueFault> {
    let text = value::text(value)?;
    let steps = text.strip_prefix('/').ok_or_else(|| {
        ValueFault::new(
            format!("`{text}` is not a JSON pointer"),
            "for example `\"/prefixes/*/ipv4Prefix\"`",
        )
    })?;
    Ok(steps.split('/').map(str::to_owned).collect())
}

/// Returns the sources of the vectors. Tests read the rest of them, and fail for a provider without vectors.
fn sources(table: &mut TomlTable<'_>) -> Vec<String> {
    let vectors = table.tables(&keys::VECTORS);
    let sources = vectors
        .into_iter()
        .filter_map(|mut vector| vector.read(&keys::SOURCE, value::text));
    sources.collect()
}

/// Returns the comment lines before the first key, as one paragraph.
fn opening_comment(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix('#'));
    let lines: Vec<&str> = lines.map(str::trim).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::report::ReportStyle;
    use crate::providers::files::FILES;
    use crate::providers::{self, find};

    #[test]
    fn every_file_loads_under_its_own_name() {
        for (name, text) in FILES {
            let provider = parse(name, text)
                .unwrap_or_else(|report| panic!("{}", report.render(ReportStyle::Plain)));
            assert_eq!(*name, format!("{}.toml", provider.id));
            let is_fit =
                |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
            assert!(provider.id.chars().all(is_fit), "{name}");
        }
        assert_eq!(providers::all().len(), FILES.len());
        assert!(find("github").is_some());
        assert!(find("github.toml").is_none());
        assert!(find("").is_none());
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused() {
        let text = format!(
            "id = \"a\"\nname = \"A\"\ndocs = \"x\"\nretry = 3\n[scheme]\ntype = \"token\"\ntoken = {{ query = \"t\" }}\n{IDENTITY}"
        );
        assert!(parse("a.toml", &text).is_err());
        assert!(parse("a.toml", &text.replace("retry = 3\n", "")).is_ok());
    }

    const IDENTITY: &str = "[identity]
key = { header = \"X-Id\", source = \"s\" }
retries_resign = { value = \"no\", source = \"s\" }
response = { value = \"ignored\", source = \"s\" }
tenant = { value = \"customer\", source = \"s\" }
";

    const HEAD: &str =
        "# What to know,\n#  in two lines.\nid = \"a\"\nname = \"A\"\ndocs = \"x\"\n";

    fn rendered(text: &str) -> String {
        match parse("a.toml", &format!("{HEAD}{text}")) {
            Ok(_) => panic!("{text} loads"),
            Err(report) => report.render(ReportStyle::Plain),
        }
    }

    #[test]
    fn facts_for_operators_are_read() {
        let text = format!(
            "{HEAD}scheme = \"standard_webhooks\"
setup = \"Settings > Webhooks\"
proof = \"documentation only\"
stricter = [\"One.\", \"Two.\"]
unsigned = [\"the time\"]
challenge = \"meta_hub\"
[overrides]
event_type = {{ json = \"/kind\" }}
[retries]
timeout = \"10s\"
attempts = 8
stops = \"410 stops it\"
source = \"https://a.example\"
[ip_ranges]
read = \"2026-01-01\"
url = \"https://a.example\"
pointer = \"/prefixes/*/cidr\"
cidrs = [\"192.0.2.0/24\"]
{IDENTITY}
[[vectors]]
source = \"here\"
"
        );
        let provider = parse("a.toml", &text).unwrap();
        assert_eq!(provider.about, "What to know, in two lines.");
        assert_eq!(provider.proof, ProviderEvidence::DocumentationOnly);
        assert_eq!((provider.stricter.len(), provider.unsigned.len()), (2, 1));
        assert_eq!(provider.sources, ["here"]);
        let retries = provider.retries.unwrap();
        assert_eq!(
            (retries.timeout, retries.attempts),
            (Some(Duration::from_secs(10)), Some(8))
        );
        let steps = ["prefixes", "*", "cidr"].map(str::to_owned).to_vec();
        let format = provider.ip_ranges.unwrap().format;
        assert_eq!(format, Some(RangesFormat::Json(vec![steps])));
        let other = find("standard_webhooks").unwrap();
        assert_eq!(provider.scheme.event_id, other.scheme.event_id);
        assert_ne!(provider.scheme.event_type, other.scheme.event_type);
    }

    /// Fails when a fact of `[identity]`, or its source, may be missing.
    #[test]
    fn each_fact_of_an_identity_has_a_source() {
        let text = |identity: &str| format!("scheme = \"svix\"\n{identity}");
        let whole = format!("{HEAD}{}", text(IDENTITY));
        assert!(parse("a.toml", &whole).is_ok());
        assert!(rendered("scheme = \"svix\"").contains("needs `identity`"));
        for line in IDENTITY.lines().skip(1) {
            let without = IDENTITY.replace(&format!("{line}\n"), "");
            let name = line.split_once(' ').unwrap().0;
            assert!(rendered(&text(&without)).contains(&format!("needs `{name}`")));
            let unsourced = line.replace(", source = \"s\"", "");
            let unsourced = IDENTITY.replace(line, &unsourced);
            assert!(
                rendered(&text(&unsourced)).contains("needs `source`"),
                "{line}"
            );
        }
    }

    #[test]
    fn keys_of_several_parts_are_read() {
        let parsed = |key: &str| {
            let first = IDENTITY.lines().nth(1).unwrap();
            let identity = IDENTITY.replace(first, &format!("key = {key}"));
            parse("a.toml", &format!("{HEAD}scheme = \"svix\"\n{identity}"))
        };
        for (key, words) in [
            ("{ nothing = true, source = \"s\" }", "nothing"),
            (
                "{ signed_bytes = true, source = \"s\" }",
                "the digest of the signed bytes",
            ),
            (
                "{ all = [{ header = \"A\" }, [{ json = \"/b\" }, { form = \"c\" }]], source = \"s\" }",
                "the header `a` with `/b` of the body or the form field `c`",
            ),
        ] {
            let provider = parsed(key).unwrap();
            assert_eq!(provider.identity.key.value.to_string(), words);
        }
        for key in [
            "{ source = \"s\" }",
            "{ nothing = true, header = \"A\", source = \"s\" }",
            "{ all = [], source = \"s\" }",
            "{ all = [[{ signed_bytes = true }, { header = \"A\" }]], source = \"s\" }",
        ] {
            assert!(parsed(key).is_err(), "{key}");
        }
    }

    /// Fails when retries that repeat the first timestamp become stale.
    #[test]
    fn the_tolerance_covers_retries_that_repeat_the_first_timestamp() {
        let text = |value: &str| {
            let identity = IDENTITY.replace("\"no\"", value);
            format!("{HEAD}retry_horizon = \"3d\"\nscheme = \"svix\"\n{identity}")
        };
        let tolerance = |value: &str| parse("a.toml", &text(value)).unwrap().tolerance;
        assert_eq!(tolerance("\"no\""), Duration::from_secs(3 * 24 * 3600));
        assert_eq!(tolerance("\"yes\""), DEFAULT_TOLERANCE);
        assert_eq!(tolerance("\"unknown\""), DEFAULT_TOLERANCE);
    }

    #[test]
    fn faults_are_reported() {
        for (text, message) in [
            ("", "needs `scheme`"),
            ("scheme = \"unknown\"", "no provider file `unknown`"),
            (
                "scheme = \"svix\"\n[overrides]\nsigned = \"{body}\"",
                "unknown key `signed`",
            ),
            (
                "[overrides]\nevent_id = { json = \"/a\" }\n[scheme]\ntype = \"token\"\ntoken = { query = \"t\" }",
                "belongs to `scheme = \"ID\"`",
            ),
            (
                "scheme = \"svix\"\nchallenge = \"slak\"",
                "is not one of the choices",
            ),
            (
                "scheme = \"svix\"\n[ip_ranges]\nread = \"x\"\nurl = \"x\"\nlines = true\npointer = \"/a\"\ncidrs = [\"192.0.2.0/24\"]",
                "exclude each other",
            ),
        ] {
            let rendered = rendered(text);
            assert!(rendered.contains(message), "{text}: {rendered}");
        }
    }
}
