//! Formats one provider in detail, as text and as JSON.

use hookgate_verify::model::span;
use hookgate_verify::providers::challenge::ProviderChallenge;
use hookgate_verify::providers::identity::{ResponseUse, RetrySigning, SigningTenant};
use hookgate_verify::providers::{IpRanges, Provider, ProviderEvidence};
use hookgate_verify::scheme::spec::SchemeFamily;
use hookgate_verify::scheme::words;
use serde_json::{Value as Json, json};

use crate::cli::output::{FAINT, STRONG, styled};
use crate::cli::providers::route;

/// Maximum columns of a line: easy to read, and fits nearly every terminal.
const WIDTH: usize = 100;

/// Columns of a label, the gap behind it included.
const LABELS: usize = 14;

/// Formats all facts about a provider, in sections.
pub(super) fn text(provider: &Provider) -> String {
    let mut out = format!(
        "{}  {}\n{}\n",
        styled(STRONG, &provider.name),
        provider.id,
        styled(FAINT, &provider.docs)
    );
    if !provider.about.is_empty() {
        out.push('\n');
        wrap(&mut out, "", &provider.about);
    }
    section(
        &mut out,
        "How it signs",
        &words::lines(&provider.scheme, provider.tolerance),
    );
    let open = words::not_signed(&provider.scheme);
    let open = open.iter().chain(&provider.unsigned);
    bullets(&mut out, "Not signed", open);
    section(&mut out, "Event identity", &identity(provider));
    section(&mut out, "Behavior", &behaviour(provider));
    bullets(
        &mut out,
        "Stricter than its own library",
        provider.stricter.iter(),
    );
    bullets(&mut out, "Proof", proofs(provider).iter());
    heading(&mut out, "At the provider");
    wrap(&mut out, "  ", &at_the_provider(provider));
    heading(&mut out, "In the config");
    for line in route::sample(provider).lines() {
        out.push_str(&format!("  {line}\n"));
    }
    out
}

/// Builds the JSON document with the same facts.
pub(super) fn json(provider: &Provider) -> Json {
    let scheme = words::lines(&provider.scheme, provider.tolerance);
    let scheme: serde_json::Map<String, Json> = scheme
        .into_iter()
        .map(|(label, text)| (label.replace(' ', "_"), Json::from(text)))
        .collect();
    let open = words::not_signed(&provider.scheme);
    let unsigned: Vec<_> = open.iter().chain(&provider.unsigned).collect();
    let seconds = |time: std::time::Duration| time.as_secs();
    json!({
        "id": provider.id,
        "name": provider.name,
        "docs": provider.docs,
        "about": provider.about,
        "setup": provider.setup,
        "family": words::family(&provider.scheme),
        "scheme": scheme,
        "not_signed": unsigned,
        "tolerance_seconds": provider.scheme.is_dated().then(|| seconds(provider.tolerance)),
        "retry_horizon_seconds": provider.retry_horizon.map(seconds),
        "retries": provider.retries.as_ref().map(|retries| json!({
            "timeout_seconds": retries.timeout.map(seconds),
            "attempts": retries.attempts,
            "stops": retries.stops,
            "source": retries.source,
        })),
        "identity": identity_json(provider),
        "challenge": provider.challenge.map(ProviderChallenge::name),
        "ip_ranges": provider.ip_ranges.as_ref().map(ranges_json),
        "stricter": provider.stricter,
        "proof": proof(provider),
        "sources": provider.sources,
        "route": route::sample(provider),
    })
}

fn ranges_json(ranges: &IpRanges) -> Json {
    let cidrs: Vec<_> = ranges.cidrs.iter().map(ToString::to_string).collect();
    json!({
        "read": ranges.read,
        "url": ranges.url,
        "can_be_refreshed": ranges.format.is_some(),
        "cidrs": cidrs,
    })
}

/// Describes the key that identifies an event, and what follows from it for dedup.
fn identity(provider: &Provider) -> Vec<(&'static str, String)> {
    let facts = &provider.identity;
    let key = &facts.key.value;
    let text = match (key.is_nothing(), provider.scheme.signs_key(key)) {
        (true, _) => "nothing: each request reaches the app, retries too".to_owned(),
        (false, true) => format!("{key}: hookgate forwards an event to the app once"),
        // Under an unsigned id alone, a captured body sent with the id of another event would suppress that event.
        (false, false) => {
            format!("{key}, not signed: it is combined with the digest of the body")
        }
    };
    let resigned = match facts.retries_resign.value {
        RetrySigning::Yes => "signed again, with a new timestamp and signature",
        RetrySigning::No => "identical to the first request, with its timestamp and signature",
        RetrySigning::Unknown => "not documented",
    };
    let response = match &facts.response.value {
        ResponseUse::Ignored => "only the status counts".to_owned(),
        ResponseUse::Used { types } => {
            let types: Vec<_> = types.iter().map(|one| format!("`{one}`")).collect();
            let which = match types.is_empty() {
                true => String::new(),
                false => format!(" in events of type {}", types.join(" or ")),
            };
            format!(
                "the sender uses its body{which}: duplicates are forwarded too, with `Hookgate-Duplicate: true`"
            )
        }
    };
    let tenant = match &facts.tenant.value {
        SigningTenant::Customer => "used for your events only".to_owned(),
        SigningTenant::Shared { location: place } => {
            let places: Vec<_> = place.iter().map(ToString::to_string).collect();
            let named = match &*places {
                [] => String::new(),
                [place] => format!(", which must match {place}"),
                places => format!(", which must contain every id in {}", places.join(" and ")),
            };
            format!(
                "one key for all customers of the sender: `audience` or `claims` of the route identifies you{named}"
            )
        }
    };
    let mut lines = vec![
        ("key", sourced(&text, &facts.key.source)),
        ("retries", sourced(resigned, &facts.retries_resign.source)),
        ("response", sourced(&response, &facts.response.source)),
        ("signing key", sourced(&tenant, &facts.tenant.source)),
    ];
    if let Some(batch) = &facts.batch {
        let text = format!(
            "several events in one body, at `/{}`",
            batch.value.elements.join("/")
        );
        lines.push(("batch", sourced(&text, &batch.source)));
    }
    if let Some(max) = &facts.max_body {
        let text = format!("up to {} MiB", max.value >> 20);
        lines.push(("largest body", sourced(&text, &max.source)));
    }
    lines
}

fn sourced(text: &str, source: &str) -> String {
    format!("{text} ({source})")
}

fn identity_json(provider: &Provider) -> Json {
    let facts = &provider.identity;
    json!({
        "key": facts.key.value.to_string(),
        "key_is_signed": provider.scheme.signs_key(&facts.key.value),
        "key_source": facts.key.source,
        "retries_resign": facts.retries_resign.value.word(),
        "retries_resign_source": facts.retries_resign.source,
        "response": match facts.response.value {
            ResponseUse::Ignored => "ignored",
            ResponseUse::Used { .. } => "used",
        },
        "response_source": facts.response.source,
        "tenant": match facts.tenant.value {
            SigningTenant::Customer => "customer",
            SigningTenant::Shared { .. } => "shared",
        },
        "tenant_source": facts.tenant.source,
        "max_body": facts.max_body.as_ref().map(|fact| fact.value),
    })
}

/// Describes retries, the URL check and the source addresses.
fn behaviour(provider: &Provider) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(retries) = &provider.retries {
        let timeout = retries.timeout.map(span::format_as_config);
        let parts = [
            timeout.map(|time| format!("waits {time} for a response")),
            retries
                .attempts
                .map(|count| format!("{count} attempts in total")),
            retries.stops.clone(),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let source = retries.source.iter().map(|source| format!(" ({source})"));
        let source: String = source.collect();
        lines.push(("retries", format!("{}{source}", parts.join("; "))));
    }
    if let Some(time) = provider.retry_horizon {
        let text = format!(
            "after {}, so dedup remembers events at least that long",
            span::format_as_config(time)
        );
        lines.push(("gives up", text));
    }
    let challenge = match provider.challenge {
        Some(kind) if kind.usual().is_some() => {
            format!("{}; hookgate responds to it by itself", kind.describe())
        }
        Some(kind) => format!("{}; otherwise left to the app", kind.describe()),
        None => "not used".to_owned(),
    };
    lines.push(("URL check", challenge));
    lines.push(("addresses", addresses(provider.ip_ranges.as_ref())));
    lines
}

fn addresses(ranges: Option<&IpRanges>) -> String {
    let Some(ranges) = ranges else {
        return "no reliable list is published".to_owned();
    };
    let cidrs: Vec<_> = ranges.cidrs.iter().map(ToString::to_string).collect();
    let refresh = match ranges.format {
        Some(_) => "; `refresh_ranges` updates them",
        None => "",
    };
    format!(
        "{} ranges, read on {} from {}{refresh}: {}",
        cidrs.len(),
        ranges.read,
        ranges.url,
        cidrs.join(", ")
    )
}

fn proofs(provider: &Provider) -> Vec<String> {
    let mut lines = Vec::new();
    if provider.proof == ProviderEvidence::DocumentationOnly {
        let why = match &provider.scheme.family {
            SchemeFamily::Token(_) => {
                "there is no signature to test, the token is the secret itself"
            }
            _ => "no test vector from an independent source was found",
        };
        lines.push(format!("documentation only: {why}"));
    }
    lines.extend(provider.sources.iter().cloned());
    // One source often proves several facts.
    lines.dedup();
    lines
}

fn at_the_provider(provider: &Provider) -> String {
    let id = &provider.id;
    let url = format!("Enter the URL `https://YOUR-HOST/{id}` (the route's `path`).");
    match &provider.setup {
        Some(setup) => format!("{setup} {url}"),
        None => url,
    }
}

fn heading(out: &mut String, title: &str) {
    out.push_str(&format!("\n{}\n", styled(STRONG, title)));
}

fn section(out: &mut String, title: &str, lines: &[(&'static str, String)]) {
    heading(out, title);
    for (label, text) in lines {
        wrap(out, &format!("  {label:LABELS$}"), text);
    }
}

fn bullets<'a>(out: &mut String, title: &str, lines: impl Iterator<Item = &'a String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    heading(out, title);
    for line in lines {
        wrap(out, "  - ", line);
    }
}

/// Wraps text into lines of at most `WIDTH` columns. The first line follows `lead`, the others are indented as much.
fn wrap(out: &mut String, lead: &str, text: &str) {
    let indent = lead.chars().count();
    out.push_str(lead);
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        // A word that is longer than a line stays in one piece on a line of its own.
        if column > indent && column + 1 + length > WIDTH {
            out.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        }
        if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

/// Returns the kind of evidence for the signature scheme of a provider.
pub(super) fn proof(provider: &Provider) -> &'static str {
    match provider.proof {
        ProviderEvidence::Vectors => "vectors",
        ProviderEvidence::DocumentationOnly => "documentation only",
    }
}

#[cfg(test)]
mod tests {
    use hookgate_verify::providers;

    use super::*;

    #[test]
    fn each_provider_is_shown_in_lines_that_fit() {
        for provider in providers::all() {
            let text = anstream::adapter::strip_str(&text(provider)).to_string();
            for needed in [&provider.name, &provider.docs, "[routes."] {
                assert!(text.contains(needed), "{text}");
            }
            // A URL is never broken, so that a terminal can open it.
            let is_fit = |line: &str| line.chars().count() <= WIDTH || line.contains("http");
            assert!(text.lines().all(is_fit), "{text}");
        }
    }

    #[test]
    fn long_text_is_wrapped_behind_its_label() {
        let mut out = String::new();
        wrap(&mut out, "  label ", &"word ".repeat(20));
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
        assert!(lines[1].starts_with("        word"));
    }
}
