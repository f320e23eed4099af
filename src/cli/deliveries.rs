//! `hookgate deliveries`: one event for one destination; list, show, retry, cancel, discard.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};

use crate::admin::path::with_query;
use crate::admin::wire::{Action, Changed, Deliveries, Delivery, DeliveryDetail, State};
use crate::cli::admin_client::AdminClient;
use crate::cli::ask::{self, block_on, confirm};
use crate::cli::door::Door;
use crate::cli::failure::{self, Failure};
use crate::cli::filters::{self, DeliveryFilters, Paging};
use crate::cli::output::{
    BAD, FAINT, GOOD, STRONG, clean, clean_or_dash, lines, list, print, print_json, styled,
};
use crate::cli::times;
use crate::model::delivery::DeliveryState;

/// What can be done with deliveries.
#[derive(Subcommand)]
pub(super) enum DeliveriesCommand {
    /// List deliveries, the newest first
    #[command(after_help = "Examples:\n  \
            hookgate deliveries list --state dead                      the dead letters\n  \
            hookgate deliveries list --destination github/ci           for one destination\n  \
            hookgate deliveries list --since 1d --all --json           for a program\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(List),
    /// Show one delivery with each attempt
    #[command(after_help = "Examples:\n  \
            hookgate deliveries show 4711\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Show(Show),
    /// Attempt deliveries now: those that wait, and dead letters
    #[command(after_help = "Examples:\n  \
            hookgate deliveries retry 4711 4712                        these\n  \
            hookgate deliveries retry --state dead --destination github/ci\n  \
            hookgate deliveries retry --state dead --since 1d --dry-run   only count\n\n\
            What was delivered or cancelled is sent again by `hookgate replay`.\n\n\
            Exit codes: 0 done, 1 some could not be changed, or failed, 2 wrong usage.")]
    Retry(Change),
    /// End deliveries that have not been made
    #[command(after_help = "Examples:\n  \
            hookgate deliveries cancel 4711\n  \
            hookgate deliveries cancel --destination github/ci --before 1d\n\n\
            Exit codes: 0 done, 1 some could not be changed, or failed, 2 wrong usage.")]
    Cancel(Change),
    /// Be done with dead letters
    #[command(after_help = "Examples:\n  \
            hookgate deliveries discard 4711\n  \
            hookgate deliveries discard --route github --type 'check_run.*'\n\n\
            Exit codes: 0 done, 1 some could not be changed, or failed, 2 wrong usage.")]
    Discard(Change),
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    paging: Paging,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: DeliveryFilters,
    #[command(flatten)]
    door: Door,
}

#[derive(Args)]
pub(super) struct Show {
    /// Its number, as the list has it
    id: i64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

#[derive(Args)]
pub(super) struct Change {
    /// Numbers of deliveries, as the list has them; else filters say which
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    /// All deliveries, without a filter
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only count them
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: DeliveryFilters,
    #[command(flatten)]
    door: Door,
}

/// Runs one of them.
pub(super) fn run(command: DeliveriesCommand) -> ExitCode {
    let with = |door: &Door| door.client();
    failure::end(match command {
        DeliveriesCommand::List(arguments) => {
            with(&arguments.door).and_then(|client| block_on(list_all(&client, &arguments)))
        }
        DeliveriesCommand::Show(arguments) => {
            with(&arguments.door).and_then(|client| block_on(show(&client, &arguments)))
        }
        DeliveriesCommand::Retry(arguments) => change(&arguments, Action::Retry),
        DeliveriesCommand::Cancel(arguments) => change(&arguments, Action::Cancel),
        DeliveriesCommand::Discard(arguments) => change(&arguments, Action::Discard),
    })
}

async fn list_all(client: &AdminClient, arguments: &List) -> Result<(), Failure> {
    let mut left = arguments.paging.wanted();
    let mut cursor = None;
    let mut whole = Vec::new();
    let mut is_first = true;
    loop {
        let pairs = filters::part(arguments.filters.pairs(), left, cursor);
        let path = with_query("/api/v1/deliveries", &pairs);
        let Deliveries { deliveries, next } = client.get("listing deliveries", &path).await?;
        left = left.saturating_sub(deliveries.len() as u64);
        cursor = next;
        let is_last = cursor.is_none() || left == 0;
        if arguments.json {
            whole.extend(deliveries);
        } else if !print(&table(&deliveries, is_first)) {
            return Ok(());
        }
        is_first = false;
        if is_last {
            break;
        }
    }
    if arguments.json {
        print_json(&Deliveries {
            deliveries: whole,
            next: cursor,
        });
    } else if cursor.is_some() {
        print(&styled(
            FAINT,
            "\nthere are more: `--all` or `--limit` shows them\n",
        ));
    }
    Ok(())
}

const HEADER: [&str; 8] = [
    "ID",
    "CREATED",
    "AGE",
    "DESTINATION",
    "TYPE",
    "STATE",
    "ATTEMPTS",
    "LAST ATTEMPT",
];

/// A list of deliveries.
pub(super) fn table(deliveries: &[Delivery], is_first: bool) -> String {
    if deliveries.is_empty() && is_first {
        return "no delivery matches\n".to_owned();
    }
    let mut table = list(match is_first {
        true => &HEADER,
        false => &[],
    });
    for delivery in deliveries {
        table.add_row(vec![
            Cell::new(delivery.id),
            Cell::new(times::exact(delivery.created)),
            Cell::new(times::relative(delivery.created)),
            Cell::new(destination(delivery)),
            Cell::new(clean_or_dash(delivery.event_type.as_deref())),
            state_cell(delivery),
            Cell::new(delivery.attempts),
            Cell::new(last(delivery)),
        ]);
    }
    lines(table)
}

fn destination(delivery: &Delivery) -> String {
    clean(&format!("{}/{}", delivery.route, delivery.destination))
}

/// The state, and when the next attempt is due.
fn state(delivery: &Delivery) -> String {
    let word = DeliveryState::from(delivery.state).word().replace('_', " ");
    let word = match delivery.replay {
        true => format!("{word} (replay)"),
        false => word,
    };
    match (delivery.state, delivery.due) {
        (State::Waiting, Some(due)) => format!("{word}, next {}", times::relative(due)),
        _ => word,
    }
}

fn state_cell(delivery: &Delivery) -> Cell {
    let cell = Cell::new(state(delivery));
    match delivery.state {
        State::Delivered => cell.fg(Color::Green),
        State::Dead => cell.fg(Color::Red),
        State::Waiting => cell.fg(Color::Yellow),
        _ => cell,
    }
}

fn last(delivery: &Delivery) -> String {
    match (delivery.last_status, delivery.last_error.as_deref()) {
        (Some(status), Some(error)) => format!("{status} {}", clean(error)),
        (Some(status), None) => status.to_string(),
        (None, error) => clean_or_dash(error),
    }
}

/// Names and values, one a line.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in facts {
        let name = styled(STRONG, &format!("{name:width$}"));
        out.push_str(&format!("{name}  {value}\n"));
    }
    out
}

async fn show(client: &AdminClient, arguments: &Show) -> Result<(), Failure> {
    let doing = format!("showing delivery {}", arguments.id);
    let path = format!("/api/v1/deliveries/{}", arguments.id);
    let detail: DeliveryDetail = client.get(&doing, &path).await?;
    if arguments.json {
        print_json(&detail);
    } else {
        print(&text(&detail));
    }
    Ok(())
}

fn text(detail: &DeliveryDetail) -> String {
    let delivery = &detail.delivery;
    let ended = delivery.ended.map_or_else(|| "-".to_owned(), times::both);
    let mut out = facts(&[
        ("delivery", delivery.id.to_string()),
        ("event", delivery.event.clone()),
        ("destination", destination(delivery)),
        ("type", clean_or_dash(delivery.event_type.as_deref())),
        ("provider's id", clean_or_dash(delivery.event_id.as_deref())),
        ("state", state(delivery)),
        ("created", times::both(delivery.created)),
        ("ended", ended),
    ]);
    out.push_str(&format!("\n{}\n", styled(STRONG, "Attempts")));
    if detail.attempts.is_empty() {
        out.push_str("none yet\n");
    }
    for attempt in &detail.attempts {
        let is_good = attempt.error.is_none();
        let what = match (attempt.status, attempt.error.as_deref()) {
            (Some(status), Some(error)) => format!("{status}, {}", clean(error)),
            (Some(status), None) => status.to_string(),
            (None, error) => clean_or_dash(error),
        };
        let style = if is_good { GOOD } else { BAD };
        out.push_str(&format!(
            "{:>3}  {}  {:>6}  {}\n",
            attempt.number,
            times::exact(attempt.started),
            times::took(attempt.duration_ms),
            styled(style, &what),
        ));
        if let Some(error) = attempt
            .error_detail
            .as_deref()
            .filter(|error| !error.is_empty())
        {
            out.push_str(&format!("     error: {}\n", clean(error)));
        }
        if !attempt.answer.is_empty() {
            out.push_str(&format!("     answer: {}\n", clean(&attempt.answer)));
        }
    }
    out
}

fn done(action: Action) -> &'static str {
    match action {
        Action::Retry => "are attempted now",
        Action::Cancel => "were cancelled",
        Action::Discard => "were discarded",
    }
}

fn change(arguments: &Change, action: Action) -> Result<(), Failure> {
    let has_filters = !arguments.filters.pairs().is_empty();
    if !arguments.ids.is_empty() && has_filters {
        return Err(Failure::usage("numbers and filters cannot be combined")
            .help("the numbers say already which deliveries are meant"));
    }
    if arguments.ids.is_empty() && !has_filters && !arguments.all {
        return Err(Failure::usage("which deliveries are meant?").help(format!(
            "name numbers, filters, or `--all`; `hookgate deliveries {} --help` has examples",
            action.word()
        )));
    }
    let client = arguments.door.client()?;
    match arguments.ids.is_empty() {
        true => block_on(change_many(&client, arguments, action)),
        false => block_on(change_these(&client, arguments, action)),
    }
}

/// Each by itself: those that cannot be changed are told, the others are changed.
async fn change_these(
    client: &AdminClient,
    arguments: &Change,
    action: Action,
) -> Result<(), Failure> {
    let word = action.word();
    let mut changed = Vec::new();
    let mut failed = 0_usize;
    for id in &arguments.ids {
        let doing = format!("asking for `{word}` of delivery {id}");
        let path = format!("/api/v1/deliveries/{id}/{word}");
        match client.post::<Delivery>(&doing, &path).await {
            Ok(delivery) => changed.push(delivery),
            Err(failure) => {
                failure.tell();
                failed = failed.saturating_add(1);
            }
        }
    }
    if arguments.json {
        print_json(&Deliveries {
            deliveries: changed,
            next: None,
        });
    } else if !changed.is_empty() {
        print(&table(&changed, true));
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::new(format!(
            "{failed} of {} could not be changed",
            arguments.ids.len()
        ))),
    }
}

async fn change_many(
    client: &AdminClient,
    arguments: &Change,
    action: Action,
) -> Result<(), Failure> {
    let word = action.word();
    let path = format!("/api/v1/deliveries/{word}");
    let asked = arguments.filters.many(arguments.all, true);
    let doing = format!("counting the deliveries that can take `{word}`");
    let found: Changed = client.post_many(&doing, &path, &asked).await?;
    if arguments.dry_run || found.count == 0 {
        match arguments.json {
            true => print_json(&found),
            false => {
                print(&format!("{} can take `{word}`\n", counted(&found)));
            }
        }
        return Ok(());
    }
    let question = format!("{} of {}", capital(word), counted(&found));
    if !confirm(&question, arguments.yes)? {
        return Err(Failure::new("nothing was changed"));
    }
    let asked = arguments.filters.many(arguments.all, false);
    let doing = format!("asking for `{word}` of {}", counted(&found));
    let changed: Changed = client.post_many(&doing, &path, &asked).await?;
    match arguments.json {
        true => print_json(&changed),
        false => {
            print(&format!("{} {}\n", counted(&changed), done(action)));
        }
    }
    Ok(())
}

fn counted(changed: &Changed) -> String {
    match changed.is_more {
        true => format!("more than {}", ask::deliveries(changed.count)),
        false => ask::deliveries(changed.count),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire::Attempt;
    use crate::cli::testing::{WHEN, delivery, plain};

    #[test]
    fn a_delivery_is_shown_with_each_attempt() {
        let attempt = |number, status, error: Option<&str>| Attempt {
            number,
            started: WHEN,
            duration_ms: 1250,
            status,
            error: error.map(str::to_owned),
            error_detail: error.map(|error| format!("{error}: refused")),
            answer: "busy\r\n".to_owned(),
        };
        let detail = DeliveryDetail {
            delivery: delivery(2, State::Delivered),
            attempts: vec![
                attempt(1, None, Some("connect")),
                attempt(2, Some(200), None),
            ],
        };
        let expected = "delivery 2\nevent 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12\ndestination github/ci\n\
            type push\nprovider's id 72d3162e-cc78-11e3-81ab-4c9367dc0958\nstate delivered (replay)\n\
            created 2025-11-24 16:00:00Z (AGE ago)\nended 2025-11-24 16:00:00Z (AGE ago)\n\nAttempts\n  \
            1 2025-11-24 16:00:00Z 1.2s connect\n     error: connect: refused\n     answer: busy\\u{d}\\u{a}\n  \
            2 2025-11-24 16:00:00Z 1.2s 200\n     answer: busy\\u{d}\\u{a}\n";
        assert_eq!(plain(&text(&detail)), expected);
    }

    #[test]
    fn a_list_tells_states_and_last_attempts() {
        let mut waiting = delivery(3, State::Waiting);
        waiting.last_status = None;
        waiting.due = Some(WHEN);
        let shown = plain(&table(&[waiting, delivery(2, State::InFlight)], true));
        let expected = "ID CREATED AGE DESTINATION TYPE STATE ATTEMPTS LAST ATTEMPT\n\
            3 2025-11-24 16:00:00Z AGE ago github/ci push waiting, next AGE ago 2 status\n\
            2 2025-11-24 16:00:00Z AGE ago github/ci push in flight (replay) 2 503 status\n";
        assert_eq!(shown, expected);
        assert_eq!(table(&[], true), "no delivery matches\n");
    }
}
