//! `hookgate promote ROUTE`: shows what a route in monitor mode would have rejected.
//!
//! It also names the config line to change. It never changes the config itself: the operator decides.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use comfy_table::Cell;
use serde::Serialize;
use toml::de::{DeTable, DeValue};

use crate::admin::documents::PromotionDocument;
use crate::admin::resources::SHOW_ROUTE_PROMOTION;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::block_on;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{
    BAD, STRONG, clean, clean_or_dash, lines, list, print, print_json, styled,
};
use crate::cli::times;
use crate::config;

/// Maximum number of example requests in the text.
const SHOWN: usize = 10;

#[derive(Args)]
pub(super) struct PromoteArguments {
    /// Name of the route in the config
    #[arg(value_name = "ROUTE")]
    route: String,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

/// The report: the answer of the gate, and the config line to change.
#[derive(Serialize)]
struct PromotionReport {
    #[serde(flatten)]
    promotion: PromotionDocument,
    /// Config line that keeps the route in monitor mode; `None` if the file cannot be read here.
    place: Option<ConfigLine>,
}

/// Location of a line in the config.
#[derive(Serialize)]
struct ConfigLine {
    file: PathBuf,
    /// Line number, counted from 1.
    line: usize,
}

/// Runs `hookgate promote` and returns its exit code.
pub(super) fn run(arguments: &PromoteArguments) -> ExitCode {
    failure::end(print_report(arguments))
}

fn print_report(arguments: &PromoteArguments) -> Result<(), CommandFailure> {
    let client = arguments.admin.client()?;
    let path = SHOW_ROUTE_PROMOTION.at(&[&arguments.route]);
    let promotion: PromotionDocument =
        block_on(client.get("counting what the route would reject", &path))?;
    // Without `--config`, the file of the systemd unit may be readable here.
    let found = arguments.admin.config().find();
    let report = PromotionReport {
        place: found.and_then(|found| find_line(&found.path, &arguments.route)),
        promotion,
    };
    match arguments.json {
        true => print_json(&report),
        false => {
            print(&text(&report));
        }
    }
    Ok(())
}

fn text(report: &PromotionReport) -> String {
    let promotion = &report.promotion;
    let route = clean(&promotion.route);
    let mut text = String::new();
    // The counts are those of real rejections then, so there is nothing to preview.
    if promotion.enforced {
        return format!(
            "route `{route}` already rejects requests that fail a check: nothing to change\n"
        );
    }
    let since = times::both(promotion.since);
    let reasons = promotion.reasons.iter();
    let reasons: Vec<String> = reasons
        .map(|each| format!("{} {}", each.count, clean(&each.reason)))
        .collect();
    let reasons = match reasons.is_empty() {
        true => String::new(),
        false => format!(": {}", reasons.join(", ")),
    };
    let _ = writeln!(
        text,
        "since {since}, route `{route}` would have rejected {} of {} requests{reasons}",
        styled(STRONG, &promotion.would_refuse.to_string()),
        promotion.requests,
    );
    if !promotion.missing_nodes.is_empty() {
        let _ = writeln!(
            text,
            "{} not counted: {}. Wait until these nodes publish their counts, or ask each of them",
            styled(BAD, "!"),
            clean(&promotion.missing_nodes.join(", ")),
        );
    }
    if !promotion.examples.is_empty() {
        let mut table = list(&["WHEN", "REASON", "SOURCE", "EVENT", "REQUEST"]);
        // Enough to recognize a pattern; `--json` has all of them.
        for each in promotion.examples.iter().take(SHOWN) {
            table.add_row(vec![
                Cell::new(times::both(each.at)),
                Cell::new(clean_or_dash(each.reason.as_deref())),
                Cell::new(clean(&each.source)),
                Cell::new(clean_or_dash(each.event_type.as_deref())),
                Cell::new(clean(&each.request_id)),
            ]);
        }
        let _ = write!(text, "\n{}", lines(table));
        let _ = writeln!(text, "\n`hookgate explain REQUEST` explains one of them.");
    }
    // The exact line if the config is readable here, else the key to look for.
    let line = match &report.place {
        Some(place) => format!("remove line {} of {}", place.line, place.file.display()),
        None => format!("remove `enforce = \"monitor\"` from `[routes.{route}]` in the config"),
    };
    let _ = writeln!(
        text,
        "\nTo reject them from now on, {line} (`enforce = \"monitor\"`), and reload: `systemctl reload hookgate`.\n\
         Requests like those above then get an error response and do not reach the app. All others are not affected. \
         To undo it, put the line back."
    );
    text
}

/// Finds the line that puts the route into monitor mode, in the main file or an included one. Returns `None` if the files
/// cannot be read or have no such line.
fn find_line(main: &Path, route: &str) -> Option<ConfigLine> {
    let texts = config::read_texts(main).ok()?;
    let mut texts = texts.iter();
    texts.find_map(|file| find_monitor_line(&file.path, &file.text, route))
}

fn find_monitor_line(file: &Path, text: &str, route: &str) -> Option<ConfigLine> {
    let root = DeTable::parse(text).ok()?;
    let routes = table(root.get_ref(), "routes")?;
    let keys = table(routes, route)?;
    let (name, value) = keys.iter().find(|(name, _)| name.get_ref() == "enforce")?;
    if !matches!(value.get_ref(), DeValue::String(word) if word == "monitor") {
        return None;
    }
    // The parser gives byte offsets; the line number is the count of line ends before.
    let before = text.get(..name.span().start)?;
    Some(ConfigLine {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
    })
}

fn table<'a, 'i>(of: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    match of.get(key)?.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_line_is_that_of_the_route() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let text = "[routes.a]\nenforce = \"monitor\"\n\n[routes.\"b.c\"]\nprovider = \"x\"\n# enforce = \"monitor\"\n  \
            enforce = \"monitor\"\n[routes.d]\nenforce = \"block\"\n";
        fs::write(&file, text).unwrap();
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        let included = folder.path().join("conf.d/e.toml");
        fs::write(&included, "[routes.e]\n\nenforce = \"monitor\"\n").unwrap();
        let line = |route| find_line(&file, route).map(|place| place.line);
        assert_eq!((line("a"), line("b.c")), (Some(2), Some(7)));
        assert_eq!((line("d"), line("f")), (None, None));
        let place = find_line(&file, "e").unwrap();
        assert_eq!((place.file, place.line), (included, 3));
    }
}
