//! `hookgate status`: shows the state of a running gate on one screen.
//!
//! It reads the same admin API as the overview of the console, so both show the same numbers.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use comfy_table::{Cell, Color};
use serde::Serialize;

use crate::admin::documents::{
    ApiTimestamp, CertificateDocument, CertificateList, DestinationDocument, DestinationList,
    HistoryDocument, RouteDocument, RouteList, StatusDocument, VerdictList,
};
use crate::admin::path::with_query;
use crate::admin::resources::{
    LIST_CERTIFICATES, LIST_DESTINATIONS, LIST_ROUTES, LIST_VERDICTS, SHOW_ROUTE_HISTORY,
    SHOW_STATUS,
};
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::{block_on, deliveries, interrupted};
use crate::cli::destinations;
use crate::cli::exchange;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{BAD, FAINT, GOOD, STRONG, clean, lines, list, print, print_json, styled};
use crate::cli::times;
use crate::model::clock::ClockReading;

/// Columns of the chart and the time that each covers: one hour in total.
const COLUMNS: usize = 20;
const COLUMN_MS: i64 = 3 * 60_000;

/// Number of verdicts to fetch, to find the latest of each route.
const VERDICTS: &str = "500";

/// Escape sequence that clears a terminal and moves the cursor to the upper left corner.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

#[derive(Args)]
pub(super) struct StatusArguments {
    /// Refresh the screen until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// With `--watch`: time between two refreshes
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "watch", value_parser = exchange::time)]
    every: Duration,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Data of one screen.
#[derive(Serialize)]
struct StatusScreen {
    status: StatusDocument,
    routes: Vec<RouteActivity>,
    destinations: Vec<DestinationDocument>,
    certificates: Vec<CertificateDocument>,
}

/// A route with its requests of the last hour.
#[derive(Serialize)]
struct RouteActivity {
    route: RouteDocument,
    passed: u64,
    refused: u64,
    /// Requests in each part of the hour, oldest first.
    columns: [u64; COLUMNS],
    last: Option<ApiTimestamp>,
}

/// Runs `hookgate status`. Exits with 1 where something needs attention.
pub(super) fn run(arguments: &StatusArguments) -> ExitCode {
    let looked = arguments.admin.client().and_then(|client| {
        block_on(async {
            match arguments.watch {
                true => watch(&client, arguments.every).await.map(|()| true),
                false => once(&client, arguments.json).await,
            }
        })
    });
    match looked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => failure::end(Err(failure)),
    }
}

async fn once(client: &AdminClient, json: bool) -> Result<bool, CommandFailure> {
    let screen = load_screen(client).await?;
    match json {
        true => print_json(&screen),
        false => {
            print(&text(&screen));
        }
    }
    Ok(screen.is_well())
}

async fn watch(client: &AdminClient, every: Duration) -> Result<(), CommandFailure> {
    let mut interrupted = std::pin::pin!(interrupted()?);
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        let shown = match load_screen(client).await {
            Ok(screen) => text(&screen),
            // Keeps watching: a gate that restarts is back soon.
            Err(failure) => failure.text(),
        };
        let shown = match is_terminal {
            // Into a file or pipe, screens follow each other instead.
            true => format!("{CLEAR}{shown}"),
            false => format!("{shown}\n"),
        };
        if !print(&shown) {
            return Ok(());
        }
        tokio::select! {
            () = &mut interrupted => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
    }
}

async fn load_screen(client: &AdminClient) -> Result<StatusScreen, CommandFailure> {
    let doing = "fetching the status";
    let status: StatusDocument = client.get(doing, SHOW_STATUS.path).await?;
    let RouteList { routes } = client.get(doing, LIST_ROUTES.path).await?;
    let CertificateList { certificates } = client.get(doing, LIST_CERTIFICATES.path).await?;
    // A gate without a store has no destinations, and rejects the request for them.
    let destinations = match status.has_store {
        true => {
            let found: DestinationList = client.get(doing, LIST_DESTINATIONS.path).await?;
            found.destinations
        }
        false => Vec::new(),
    };
    let now_ms = ClockReading::read().unix_ms;
    // One request for all routes; only the history needs one for each.
    let mut last = last(client).await?;
    let mut shown = Vec::with_capacity(routes.len());
    for route in routes {
        let path = SHOW_ROUTE_HISTORY.at(&[&route.name]);
        let history: HistoryDocument = client.get(doing, &path).await?;
        let last = last.remove(&route.name);
        shown.push(RouteActivity::of(route, &history, last, now_ms));
    }
    Ok(StatusScreen {
        status,
        routes: shown,
        destinations,
        certificates,
    })
}

/// Fetches the time of the latest request of each route, as far as the gate keeps verdicts.
async fn last(client: &AdminClient) -> Result<HashMap<String, ApiTimestamp>, CommandFailure> {
    let path = with_query(LIST_VERDICTS.path, &[("limit", VERDICTS.to_owned())]);
    let found: VerdictList = client.get("fetching the latest requests", &path).await?;
    Ok(found.last_by_route())
}

impl StatusScreen {
    fn is_well(&self) -> bool {
        self.status.ready && self.status.needs.is_empty()
    }
}

impl RouteActivity {
    fn of(
        route: RouteDocument,
        history: &HistoryDocument,
        last: Option<ApiTimestamp>,
        now_ms: i64,
    ) -> Self {
        let mut found = Self {
            route,
            passed: history.passed(),
            refused: history.failed(),
            columns: [0; COLUMNS],
            // Beyond the verdicts that the gate keeps, the history knows the time to the minute or the hour only.
            last: last.or(history.last()),
        };
        for tally in &history.minutes {
            // Column 0 is the oldest. Minutes that are older than an hour have no column and are left out.
            let ago = now_ms.saturating_sub(tally.start.0).max(0) / COLUMN_MS;
            let column = usize::try_from(ago).ok();
            let column = column.and_then(|ago| (COLUMNS - 1).checked_sub(ago));
            if let Some(column) = column.and_then(|column| found.columns.get_mut(column)) {
                *column += tally.passed() + tally.failed();
            }
        }
        found
    }
}

fn text(screen: &StatusScreen) -> String {
    let mut text = String::new();
    head(&mut text, &screen.status);
    if !screen.status.needs.is_empty() {
        let _ = writeln!(text, "\n{}", styled(STRONG, "Needs attention"));
    }
    for need in &screen.status.needs {
        let _ = writeln!(text, "  {} {}", styled(BAD, "!"), clean(&need.text));
    }
    let _ = write!(text, "\n{}", routes(&screen.routes));
    if !screen.destinations.is_empty() {
        let _ = write!(text, "\n{}", destinations::table(&screen.destinations));
    }
    if !screen.certificates.is_empty() {
        let _ = write!(text, "\n{}", certificates(&screen.certificates));
    }
    text
}

fn head(text: &mut String, status: &StatusDocument) {
    // Two separate facts: a gate whose store fails still serves routes in proxy mode.
    let state = match (status.ready, status.store_healthy) {
        (true, Some(false)) => styled(BAD, "ready, but its store is not writable"),
        (true, _) => styled(GOOD, "ready"),
        (false, _) => styled(BAD, "not ready: starting or draining"),
    };
    let since = times::relative(status.started);
    let _ = writeln!(
        text,
        "{} {state}, started {since}, {} open, {} in flight",
        styled(STRONG, &format!("hookgate {}", clean(&status.version))),
        counted(status.connections, "connection"),
        counted(status.in_flight, "request"),
    );
    if let Some(node) = &status.node {
        let nodes = status.nodes.map_or_else(
            || "the other nodes are unknown while the database is away".to_owned(),
            |nodes| format!("{} alive", counted(nodes, "node")),
        );
        let line = format!(
            "node {}, {nodes}; requests and rejections below are this node's",
            clean(node)
        );
        let _ = writeln!(text, "{}", styled(FAINT, &line));
    }
    if status.has_store {
        let waiting = match status.oldest_waiting {
            Some(oldest) => format!(", oldest from {}", times::relative(oldest)),
            None => String::new(),
        };
        let backlog = deliveries(status.backlog);
        let _ = writeln!(
            text,
            "{}",
            styled(FAINT, &format!("{backlog} pending{waiting}"))
        );
    }
}

fn counted(count: u64, word: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {word}{plural}")
}

fn routes(routes: &[RouteActivity]) -> String {
    let mut table = list(&[
        "ROUTE",
        "PROVIDER",
        "MODE",
        "LAST HOUR",
        "PASSED",
        "REJECTED",
        "LAST",
        "OPEN",
        "DEAD",
    ]);
    for now in routes {
        let mode = match now.route.enforced {
            true => now.route.mode.clone(),
            false => format!("{}, monitor", now.route.mode),
        };
        let refused = Cell::new(now.refused);
        // Only routes in queue or hybrid mode have a backlog.
        let backlog = now.route.backlog;
        table.add_row(vec![
            Cell::new(clean(&now.route.name)),
            Cell::new(clean(&now.route.provider)),
            Cell::new(mode),
            Cell::new(chart(&now.columns)),
            Cell::new(now.passed),
            match now.refused {
                0 => refused,
                _ => refused.fg(Color::Yellow),
            },
            Cell::new(times::relative_or_dash(now.last)),
            Cell::new(backlog.map_or_else(|| "-".to_owned(), |all| all.open().to_string())),
            Cell::new(backlog.map_or_else(|| "-".to_owned(), |all| all.dead.to_string())),
        ]);
    }
    lines(table)
}

/// Draws a bar for each part of the hour, relative to the highest one. Any count above zero is visible.
fn chart(columns: &[u64; COLUMNS]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = columns.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: u64| match count {
        0 => '·',
        _ => {
            // Rounded up, so that even one request among thousands gets the lowest bar rather than the dot of zero.
            let step = count.saturating_mul(8).div_ceil(highest).saturating_sub(1);
            let bar = usize::try_from(step).ok().and_then(|step| BARS.get(step));
            bar.copied().unwrap_or('█')
        }
    };
    columns.iter().map(|count| bar(*count)).collect()
}

fn certificates(certificates: &[CertificateDocument]) -> String {
    let mut table = list(&["CERTIFICATE", "EXPIRES", "RENEWAL"]);
    for one in certificates {
        let end = one.not_after.map(times::both);
        let end = Cell::new(end.unwrap_or_else(|| "no certificate yet".to_owned()));
        let next = one.next_renewal.map(times::both);
        let renewal = match (&one.failure, next) {
            (Some(failure), Some(next)) => format!("failed {} times, next {next}", failure.count),
            (_, Some(next)) => next,
            (_, None) => "by you".to_owned(),
        };
        table.add_row(vec![
            Cell::new(clean(&one.names.join(", "))),
            match one.ends_soon() {
                true => end.fg(Color::Red),
                false => end,
            },
            Cell::new(renewal),
        ]);
    }
    lines(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_shows_even_a_single_request() {
        let mut columns = [0; COLUMNS];
        columns[0] = 1;
        columns[1] = 500;
        columns[2] = 1000;
        assert_eq!(chart(&columns), format!("▁▄█{}", "·".repeat(17)));
        assert_eq!(chart(&[0; COLUMNS]), "·".repeat(COLUMNS));
    }
}
