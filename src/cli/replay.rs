//! `hookgate replay`: delivers old events again, as new deliveries, and watches how far that is.

use std::fmt::Write;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::admin::wire::{Replay, ReplayAsked, ReplayState, Replays};
use crate::cli::admin_client::AdminClient;
use crate::cli::ask::{self, block_on, confirm};
use crate::cli::door::Door;
use crate::cli::failure::{self, Failure};
use crate::cli::filters::DeliveryFilters;
use crate::cli::output::{lines, list, print, print_json};
use crate::cli::times;

/// Between two looks at a replay.
const PACE: Duration = Duration::from_millis(500);

/// What `replay` alone takes.
#[derive(Args)]
pub(super) struct Begin {
    /// All deliveries, without a filter
    #[arg(long)]
    all: bool,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Do not wait until it is over
    #[arg(long)]
    detach: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: DeliveryFilters,
    #[command(flatten)]
    door: Door,
}

/// What can be done with replays that were begun.
#[derive(Subcommand)]
pub(super) enum ReplayCommand {
    /// List replays, the newest first
    #[command(after_help = "Examples:\n  hookgate replay list\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(List),
    /// Stop a replay; what it has made is attempted all the same
    #[command(after_help = "Examples:\n  hookgate replay pause 3\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Pause(One),
    /// Let a replay go on, and watch it
    #[command(after_help = "Examples:\n  hookgate replay resume 3\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Resume(One),
}

#[derive(Args)]
pub(super) struct List {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

#[derive(Args)]
pub(super) struct One {
    /// Its number, as the list has it
    id: i64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Do not wait until it is over
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    door: Door,
}

/// Runs `replay`, or one of the commands below it.
pub(super) fn run(begin: &Begin, command: Option<ReplayCommand>) -> ExitCode {
    failure::end(match command {
        None => start(begin),
        Some(ReplayCommand::List(arguments)) => arguments
            .door
            .client()
            .and_then(|client| block_on(list_all(&client, arguments.json))),
        Some(ReplayCommand::Pause(arguments)) => set(&arguments, true),
        Some(ReplayCommand::Resume(arguments)) => set(&arguments, false),
    })
}

fn start(arguments: &Begin) -> Result<(), Failure> {
    if arguments.filters.pairs().is_empty() && !arguments.all {
        return Err(Failure::usage("which deliveries shall be made again?")
            .help("name filters, or `--all`; `hookgate replay --help` has examples"));
    }
    let client = arguments.door.client()?;
    block_on(begin(&client, arguments))
}

async fn begin(client: &AdminClient, arguments: &Begin) -> Result<(), Failure> {
    let path = "/api/v1/replays";
    let asked = arguments.filters.many(arguments.all, true);
    let doing = "counting what a replay would deliver";
    let found: ReplayAsked = client.post_many(doing, path, &asked).await?;
    let counted = ask::deliveries(found.count);
    if arguments.dry_run || found.count == 0 {
        match arguments.json {
            true => print_json(&found),
            false => {
                print(&format!("a replay would make {counted}\n"));
            }
        }
        return Ok(());
    }
    if !confirm(&format!("Make {counted} again"), arguments.yes)? {
        return Err(Failure::new("nothing was replayed"));
    }
    let asked = arguments.filters.many(arguments.all, false);
    let begun: ReplayAsked = client
        .post_many("beginning the replay", path, &asked)
        .await?;
    let Some(replay) = begun.replay else {
        return Err(Failure::new("the gate began no replay").doing("beginning the replay"));
    };
    follow(client, replay, arguments.detach, arguments.json).await
}

/// Watches a replay until it is over, paused by somebody, or nobody wants to watch any more.
async fn follow(
    client: &AdminClient,
    mut replay: Replay,
    is_detached: bool,
    json: bool,
) -> Result<(), Failure> {
    let id = replay.id;
    let doing = format!("watching replay {id}");
    let bar = bar(&replay);
    let path = format!("/api/v1/replays/{id}");
    // One for all looks: a signal between two of them is not lost.
    let mut ended = pin!(ask::interrupted()?);
    while replay.state == ReplayState::Running && !is_detached {
        let look = async {
            tokio::time::sleep(PACE).await;
            client.get(&doing, &path).await
        };
        replay = tokio::select! {
            looked = look => looked?,
            _ = &mut ended => break,
        };
        bar.set_length(replay.total);
        bar.set_position(replay.done);
    }
    bar.finish_and_clear();
    match json {
        true => print_json(&replay),
        false => {
            print(&told(&replay));
        }
    }
    Ok(())
}

/// Drawn on standard error, and only where that is a terminal.
fn bar(replay: &Replay) -> ProgressBar {
    let bar = ProgressBar::new(replay.total).with_position(replay.done);
    let style = "replay {msg} {bar:40} {pos}/{len} {rate}, {eta} left; Ctrl-C stops watching";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(
            style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                let _ = write!(out, "{:.0}/s", state.per_sec());
            }),
        );
    }
    bar.set_message(replay.id.to_string());
    bar
}

/// What became of it, and what can be done.
fn told(replay: &Replay) -> String {
    let id = replay.id;
    let made = ask::deliveries(replay.done.saturating_sub(replay.skipped));
    let skipped = match replay.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} left out because their body was not kept"),
    };
    match replay.state {
        ReplayState::Ended => format!("replay {id} is over: {made} made{skipped}\n"),
        ReplayState::Paused => format!(
            "replay {id} is paused at {} of {}\n`hookgate replay resume {id}` lets it go on\n",
            replay.done, replay.total
        ),
        ReplayState::Running => format!(
            "replay {id} goes on by itself; it is at {} of {}\n`hookgate replay list` shows how far it is, \
             `hookgate replay pause {id}` stops it, `hookgate replay resume {id}` lets it go on\n",
            replay.done, replay.total
        ),
    }
}

fn set(arguments: &One, is_paused: bool) -> Result<(), Failure> {
    let client = arguments.door.client()?;
    let id = arguments.id;
    block_on(async {
        if is_paused {
            let doing = format!("pausing replay {id}");
            let path = format!("/api/v1/replays/{id}/pause");
            let replay: Replay = client.post(&doing, &path).await?;
            match arguments.json {
                true => print_json(&replay),
                false => {
                    print(&told(&replay));
                }
            }
            return Ok(());
        }
        let doing = format!("resuming replay {id}");
        let path = format!("/api/v1/replays/{id}/resume");
        let replay: Replay = client.post(&doing, &path).await?;
        follow(&client, replay, arguments.detach, arguments.json).await
    })
}

async fn list_all(client: &AdminClient, json: bool) -> Result<(), Failure> {
    let replays: Replays = client.get("listing replays", "/api/v1/replays").await?;
    if json {
        print_json(&replays);
    } else {
        print(&table(&replays.replays));
    }
    Ok(())
}

fn table(replays: &[Replay]) -> String {
    if replays.is_empty() {
        return "there was no replay\n".to_owned();
    }
    let mut table = list(&["ID", "BEGUN", "AGE", "STATE", "DONE", "TOTAL", "LEFT OUT"]);
    for replay in replays {
        let state = match replay.state {
            ReplayState::Running => "running",
            ReplayState::Paused => "paused",
            ReplayState::Ended => "over",
        };
        table.add_row([
            replay.id.to_string(),
            times::exact(replay.created),
            times::relative(replay.created),
            state.to_owned(),
            replay.done.to_string(),
            replay.total.to_string(),
            replay.skipped.to_string(),
        ]);
    }
    lines(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{WHEN, plain};

    #[test]
    fn what_became_of_a_replay_is_told_with_what_can_be_done() {
        let replay = |state, skipped| Replay {
            id: 3,
            created: WHEN,
            state,
            total: 10,
            done: 10,
            skipped,
        };
        let over = told(&replay(ReplayState::Ended, 0));
        assert_eq!(over, "replay 3 is over: 10 deliveries made\n");
        let over = told(&replay(ReplayState::Ended, 9));
        let expected =
            "replay 3 is over: 1 delivery made, 9 left out because their body was not kept\n";
        assert_eq!(over, expected);
        let running = told(&replay(ReplayState::Running, 0));
        for command in ["replay list", "replay pause 3", "replay resume 3"] {
            assert!(
                running.contains(&format!("`hookgate {command}`")),
                "{running}"
            );
        }
        let rows = [replay(ReplayState::Paused, 2)];
        let expected = "ID BEGUN AGE STATE DONE TOTAL LEFT OUT\n\
            3 2025-11-24 16:00:00Z AGE ago paused 10 10 2\n";
        assert_eq!(plain(&table(&rows)), expected);
        assert_eq!(table(&[]), "there was no replay\n");
    }
}
