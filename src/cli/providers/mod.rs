//! `hookgate providers`: lists the supported providers and shows one in detail.

pub(super) mod refresh;
mod route;
mod show;

use std::process::ExitCode;

use hookgate_verify::document::suggest;
use hookgate_verify::providers::challenge::ProviderChallenge;
use hookgate_verify::providers::{self, Provider};
use hookgate_verify::scheme::words;
use serde_json::json;

use crate::cli::failure::EXIT_USAGE;
use crate::cli::output::{self, BAD, FAINT, STRONG, styled};

/// Prints the list of providers, one line each.
pub(super) fn list(json: bool) -> ExitCode {
    if json {
        let rows: Vec<_> = providers::all().iter().map(|one| row_json(one)).collect();
        return print(&format!("{:#}\n", serde_json::Value::from(rows)));
    }
    print(&table())
}

/// Prints one provider in detail. Exits with 2 if the id is unknown.
pub(super) fn show(id: &str, json: bool) -> ExitCode {
    let Some(provider) = providers::find(id) else {
        return unknown(id);
    };
    if json {
        return print(&format!("{:#}\n", show::json(&provider)));
    }
    print(&show::text(&provider))
}

/// Reports an unknown id and suggests the nearest one.
fn unknown(id: &str) -> ExitCode {
    let help = match suggest::nearest(id, providers::ids()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "`hookgate providers` lists all {}",
            providers::ids().count()
        ),
    };
    refused(&format!("no provider has the id `{id}`"), &help)
}

fn refused(error: &str, help: &str) -> ExitCode {
    anstream::eprintln!(
        "{}: {error}\n{}: {help}",
        styled(BAD, "error"),
        styled(STRONG, "help")
    );
    ExitCode::from(EXIT_USAGE)
}

/// Prints to standard output, and returns the exit code of success.
fn print(text: &str) -> ExitCode {
    output::print(text);
    ExitCode::SUCCESS
}

const HEADER: [&str; 5] = ["ID", "NAME", "SIGNATURE", "URL CHECK", "PROOF"];

/// Formats the list in columns with one line for each provider, so that `grep` can select lines.
fn table() -> String {
    let rows: Vec<[String; 5]> = providers::all().iter().map(|one| row(one)).collect();
    let mut widths = HEADER.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            // Characters, not bytes: names may contain letters beyond ASCII.
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(widths);
        let padded: Vec<_> = padded
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = styled(STRONG, &line(&HEADER.map(str::to_owned)));
    for row in &rows {
        out.push('\n');
        out.push_str(&line(row));
    }
    let count = format!(
        "{} providers; `hookgate providers show ID` shows one in detail",
        rows.len()
    );
    format!("{out}\n\n{}\n", styled(FAINT, &count))
}

fn row(provider: &Provider) -> [String; 5] {
    let challenge = provider.challenge.map_or("", ProviderChallenge::name);
    [
        provider.id.clone(),
        provider.name.clone(),
        words::family(&provider.scheme),
        challenge.to_owned(),
        show::proof(provider).to_owned(),
    ]
}

fn row_json(provider: &Provider) -> serde_json::Value {
    json!({
        "id": provider.id,
        "name": provider.name,
        "docs": provider.docs,
        "signature": words::family(&provider.scheme),
        "challenge": provider.challenge.map(ProviderChallenge::name),
        "proof": show::proof(provider),
        "ip_ranges": provider.ip_ranges.as_ref().map(|ranges| &ranges.read),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_one_line_for_each() {
        let text = table();
        for provider in providers::all() {
            let begins = |line: &&str| line.split_whitespace().next() == Some(&*provider.id);
            assert_eq!(text.lines().filter(begins).count(), 1, "{text}");
        }
    }
}
