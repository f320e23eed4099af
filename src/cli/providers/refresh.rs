//! `hookgate providers refresh-ranges`: downloads the address ranges of providers and saves them for the gate.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use hookgate_verify::document::report::ReportStyle;
use hookgate_verify::providers::{self, Provider};
use serde_json::{Value as Json, json};

use crate::app::systemd;
use crate::cli::config_file::ConfigFile;
use crate::cli::config_option::{ConfigOption, ConfigPlace};
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{BAD, FAINT, GOOD, STRONG, styled};
use crate::cli::providers::{print, refused, unknown};
use crate::config;
use crate::model::error::chain;
use crate::net::client::OutgoingClient;
use crate::net::fetch::{EgressRoute, HttpsFetcher};
use crate::ranges::{LiveRanges, RangeBook, RangeChange, RangeRefresh, RefreshError, SenderRanges};

/// Exit code where some providers could not be updated.
const EXIT_FAILED: u8 = 1;

/// Arguments of `refresh-ranges`.
#[derive(Args)]
pub(in crate::cli) struct RefreshArguments {
    /// Provider ids (default: all providers that publish machine-readable ranges)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Accept ranges that differ much from the known ones; review the provider's announcement first
    #[arg(long)]
    accept: bool,
    /// State folder of the gate (default: `state_dir` of its config, else that of the systemd unit)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigOption,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// Reads the state folder and the egress proxy of the gate's config. A config that was found but cannot be read counts as
/// absent, since the command also works without one.
fn gate_settings(option: &ConfigOption) -> Result<(Option<PathBuf>, EgressRoute), CommandFailure> {
    let proxy = EgressRoute::default();
    let Some(found) = option.find() else {
        return Ok((None, proxy));
    };
    let file = match ConfigFile::load(&found.path) {
        Ok(file) => file,
        Err(_) if found.place != ConfigPlace::Named => return Ok((None, proxy)),
        Err(failure) => return Err(failure),
    };
    let loaded = config::load_egress_proxy(&found.path).map_err(|report| {
        let text = report.render(ReportStyle::Plain);
        CommandFailure::usage(format!(
            "`egress_proxy` cannot be used\n{}",
            text.trim_end()
        ))
    })?;
    proxy.set(loaded);
    let folder = file.text("server", "state_dir");
    Ok((folder.map(|path| file.resolve(path)), proxy))
}

/// Refreshes the ranges of each provider. Exits with 0 if all are up to date, 1 if some could not be updated, 2 if an
/// id is unknown.
pub(in crate::cli) fn run(arguments: RefreshArguments) -> ExitCode {
    let chosen = match choose(&arguments.ids) {
        Ok(chosen) => chosen,
        Err(code) => return code,
    };
    let (configured, proxy) = match gate_settings(&arguments.config) {
        Ok(settings) => settings,
        Err(failure) => return failure::end(Err(failure)),
    };
    // The default is the folder of the systemd unit, where its gate reads the ranges.
    let folder = arguments.state_dir.or(configured);
    let folder = folder.unwrap_or_else(systemd::state_dir);
    let refresh = RangeRefresh {
        fetcher: HttpsFetcher::new(OutgoingClient::new()).through(proxy),
        accepts_any_change: arguments.accept,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("{}: {error}", styled(BAD, "error"));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let rows = runtime.block_on(refresh_all(
        chosen,
        Arc::new(RangeBook::new(Some(folder.clone()))),
        refresh,
    ));
    let is_failed = rows.iter().any(|row| row.outcome.is_err());
    if arguments.json {
        let rows: Vec<_> = rows.iter().map(RefreshRow::json).collect();
        print(&format!("{:#}\n", Json::from(rows)));
    } else {
        print(&text(&rows, &folder, arguments.accept));
    }
    match is_failed {
        true => ExitCode::from(EXIT_FAILED),
        false => ExitCode::SUCCESS,
    }
}

/// Resolves the ids, or selects all providers that publish machine-readable ranges.
fn choose(ids: &[String]) -> Result<Vec<Arc<Provider>>, ExitCode> {
    let can_be_asked = |provider: &Provider| {
        let ranges = provider.ip_ranges.as_ref();
        ranges.is_some_and(|ranges| ranges.format.is_some())
    };
    // Without ids, providers that only publish a page for people are skipped silently. With an id, that is an error.
    if ids.is_empty() {
        let all = providers::all().iter().filter(|one| can_be_asked(one));
        return Ok(all.cloned().collect());
    }
    let mut chosen = Vec::new();
    for id in ids {
        let provider = providers::find(id).ok_or_else(|| unknown(id))?;
        if !can_be_asked(&provider) {
            let help = match &provider.ip_ranges {
                Some(ranges) => format!(
                    "hookgate knows the ranges of {}; see {}",
                    ranges.read, ranges.url
                ),
                None => "if you know its addresses, list them in `allow_ips`".to_owned(),
            };
            let error = format!(
                "{} publishes no ranges in a machine-readable form",
                provider.name
            );
            return Err(refused(&error, &help));
        }
        chosen.push(provider);
    }
    Ok(chosen)
}

/// Result of refreshing one provider.
struct RefreshRow {
    id: String,
    before: Arc<SenderRanges>,
    live: Arc<LiveRanges>,
    outcome: Result<RangeChange, RefreshError>,
}

/// Refreshes all providers concurrently, and returns the results in the given order.
async fn refresh_all(
    chosen: Vec<Arc<Provider>>,
    book: Arc<RangeBook>,
    refresh: RangeRefresh,
) -> Vec<RefreshRow> {
    let mut asked = Vec::new();
    for provider in chosen {
        let Some(live) = book.live(&provider) else {
            continue;
        };
        let (book, refresh) = (Arc::clone(&book), refresh.clone());
        asked.push(tokio::spawn(async move {
            // Read before the refresh: if it fails, the message says which ranges stay in use.
            let before = live.ranges();
            let outcome = book.refresh(&refresh, &live).await;
            RefreshRow {
                id: provider.id.clone(),
                before,
                live,
                outcome,
            }
        }));
    }
    let mut rows = Vec::new();
    for one in asked {
        // A task that panicked has no row; the others are not affected.
        rows.extend(one.await);
    }
    rows
}

impl RefreshRow {
    fn json(&self) -> Json {
        let ranges = self.live.ranges();
        let texts =
            |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut row = json!({
            "id": self.id,
            "read": ranges.read,
            "cidrs": texts(&ranges.nets),
            "error": self.outcome.as_ref().err().map(|error| chain(error)),
        });
        if let (Ok(change), Some(row)) = (&self.outcome, row.as_object_mut()) {
            row.insert("added".to_owned(), texts(&change.added).into());
            row.insert("removed".to_owned(), texts(&change.removed).into());
        }
        row
    }

    fn text(&self, width: usize) -> String {
        let id = format!("{:width$}", self.id);
        let change = match &self.outcome {
            Ok(change) => change,
            Err(error @ RefreshError::Keep { .. }) => {
                return format!("{}  {}", styled(BAD, &id), chain(error));
            }
            Err(error) => {
                let kept = format!(
                    "{} of {} stay in use",
                    count(&self.before),
                    self.before.read
                );
                return format!("{}  {kept}: {}", styled(BAD, &id), chain(error));
            }
        };
        if change.is_empty() {
            return format!("{}  {}, unchanged", styled(GOOD, &id), count(&change.now));
        }
        let mut text = format!("{}  {}, changed", styled(GOOD, &id), count(&change.now));
        for (sign, nets) in [('+', &change.added), ('-', &change.removed)] {
            for net in nets {
                text.push_str(&format!("\n{:width$}  {sign} {net}", ""));
            }
        }
        text
    }
}

fn count(ranges: &SenderRanges) -> String {
    match ranges.nets.len() {
        1 => "1 range".to_owned(),
        count => format!("{count} ranges"),
    }
}

fn text(rows: &[RefreshRow], folder: &Path, accepts: bool) -> String {
    let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        text.push_str(&row.text(width));
        text.push('\n');
    }
    let is_absurd = |row: &RefreshRow| matches!(row.outcome, Err(RefreshError::Absurd { .. }));
    // The hint appears only where `--accept` would help.
    if !accepts && rows.iter().any(is_absurd) {
        let help = "if the provider announced the change, accept it with `--accept`";
        text.push_str(&format!("\n{}: {help}\n", styled(STRONG, "help")));
    }
    // If all failed, nothing was saved.
    if rows.iter().any(|row| row.outcome.is_ok()) {
        let detail = format!(
            "saved in {}; a gate reads them when it starts or reloads",
            folder.join("ranges").display()
        );
        text.push_str(&format!("\n{}\n", styled(FAINT, &detail)));
    }
    text
}
