//! `hookgate replay`: delivers old events again, as new deliveries, and shows the progress.
//!
//! The gate runs the replay. This command only starts, pauses or watches it, so ending the command stops nothing.

use std::fmt::Write;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::admin::documents::{ReplayCreated, ReplayDocument, ReplayList, ReplayState};
use crate::admin::resources::{
    BEGIN_REPLAY, LIST_REPLAYS, PAUSE_REPLAY, RESUME_REPLAY, SHOW_REPLAY,
};
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::{self, block_on, confirm};
use crate::cli::failure::{self, CommandFailure};
use crate::cli::filters::DeliveryFilters;
use crate::cli::output::{lines, list, print, print_json};
use crate::cli::times;

/// Time between two requests for the progress of a replay.
const PACE: Duration = Duration::from_millis(500);

/// Arguments of `replay` without a subcommand.
#[derive(Args)]
pub(super) struct ReplayBeginArguments {
    /// Replay all deliveries, without a filter
    #[arg(long)]
    all: bool,
    /// Only count the deliveries, replay nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Do not wait until the replay ends
    #[arg(long)]
    detach: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: DeliveryFilters,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Subcommands of `hookgate replay`.
#[derive(Subcommand)]
pub(super) enum ReplayCommand {
    /// List replays, newest first
    #[command(after_help = "Examples:\n  hookgate replay list\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(ReplayListArguments),
    /// Pause a replay; deliveries that it already created are still attempted
    #[command(after_help = "Examples:\n  hookgate replay pause 3\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Pause(ReplayControlArguments),
    /// Resume a paused replay, and watch it
    #[command(after_help = "Examples:\n  hookgate replay resume 3\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Resume(ReplayControlArguments),
}

#[derive(Args)]
pub(super) struct ReplayListArguments {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

#[derive(Args)]
pub(super) struct ReplayControlArguments {
    /// Number of the replay, from `hookgate replay list`
    id: i64,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    /// Do not wait until the replay ends
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Runs `hookgate replay` or one of its subcommands, and returns its exit code.
pub(super) fn run(begin: &ReplayBeginArguments, command: Option<ReplayCommand>) -> ExitCode {
    failure::end(match command {
        None => start(begin),
        Some(ReplayCommand::List(arguments)) => arguments
            .admin
            .client()
            .and_then(|client| block_on(list_all(&client, arguments.json))),
        Some(ReplayCommand::Pause(arguments)) => set(&arguments, true),
        Some(ReplayCommand::Resume(arguments)) => set(&arguments, false),
    })
}

fn start(arguments: &ReplayBeginArguments) -> Result<(), CommandFailure> {
    // Without a filter, all events would be sent again. `--all` states that this is intended.
    if arguments.filters.pairs().is_empty() && !arguments.all {
        return Err(CommandFailure::usage("no deliveries selected")
            .help("add filters or `--all`; `hookgate replay --help` has examples"));
    }
    let client = arguments.admin.client()?;
    block_on(begin(&client, arguments))
}

async fn begin(
    client: &AdminClient,
    arguments: &ReplayBeginArguments,
) -> Result<(), CommandFailure> {
    let path = BEGIN_REPLAY.path;
    // A dry run first: the number goes into the question.
    let asked = arguments.filters.many(arguments.all, true);
    let doing = "counting the deliveries of a replay";
    let found: ReplayCreated = client.post_many(doing, path, &asked).await?;
    let counted = confirm::deliveries(found.count);
    if arguments.dry_run || found.count == 0 {
        match arguments.json {
            true => print_json(&found),
            false => {
                print(&format!("a replay would create {counted}\n"));
            }
        }
        return Ok(());
    }
    if !confirm(&format!("Replay {counted}"), arguments.yes)? {
        return Err(CommandFailure::new("nothing was replayed"));
    }
    let asked = arguments.filters.many(arguments.all, false);
    let begun: ReplayCreated = client
        .post_many("starting the replay", path, &asked)
        .await?;
    let Some(replay) = begun.replay else {
        return Err(CommandFailure::new("the gate started no replay").doing("starting the replay"));
    };
    follow(client, replay, arguments.detach, arguments.json).await
}

/// Watches a replay until it ends, is paused, or Ctrl-C ends the watching.
async fn follow(
    client: &AdminClient,
    mut replay: ReplayDocument,
    is_detached: bool,
    json: bool,
) -> Result<(), CommandFailure> {
    let id = replay.id;
    let doing = format!("watching replay {id}");
    let bar = bar(&replay);
    let path = SHOW_REPLAY.at(&[&id.to_string()]);
    // One future for the whole loop, so that a Ctrl-C between two requests is not lost.
    let mut ended = pin!(confirm::interrupted()?);
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
    // The text below has the final numbers.
    bar.finish_and_clear();
    match json {
        true => print_json(&replay),
        false => {
            print(&describe_replay(&replay));
        }
    }
    Ok(())
}

/// Creates a progress bar. It appears on standard error, and only if that is a terminal.
fn bar(replay: &ReplayDocument) -> ProgressBar {
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

/// Describes the state of a replay and the commands that change it.
fn describe_replay(replay: &ReplayDocument) -> String {
    let id = replay.id;
    // `done` counts every delivery that was looked at, the skipped ones included.
    let made = confirm::deliveries(replay.done.saturating_sub(replay.skipped));
    let skipped = match replay.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} skipped because their body is no longer stored"),
    };
    match replay.state {
        ReplayState::Ended => format!("replay {id} ended: {made} created{skipped}\n"),
        ReplayState::Paused => format!(
            "replay {id} is paused at {} of {}\n`hookgate replay resume {id}` resumes it\n",
            replay.done, replay.total
        ),
        ReplayState::Running => format!(
            "replay {id} continues in the background, at {} of {}\n`hookgate replay list` shows its progress, \
             `hookgate replay pause {id}` pauses it, `hookgate replay resume {id}` resumes it\n",
            replay.done, replay.total
        ),
    }
}

fn set(arguments: &ReplayControlArguments, is_paused: bool) -> Result<(), CommandFailure> {
    let client = arguments.admin.client()?;
    let id = arguments.id;
    block_on(async {
        // A paused replay has no progress to watch.
        if is_paused {
            let doing = format!("pausing replay {id}");
            let path = PAUSE_REPLAY.at(&[&id.to_string()]);
            let replay: ReplayDocument = client.post(&doing, &path).await?;
            match arguments.json {
                true => print_json(&replay),
                false => {
                    print(&describe_replay(&replay));
                }
            }
            return Ok(());
        }
        let doing = format!("resuming replay {id}");
        let path = RESUME_REPLAY.at(&[&id.to_string()]);
        let replay: ReplayDocument = client.post(&doing, &path).await?;
        follow(&client, replay, arguments.detach, arguments.json).await
    })
}

async fn list_all(client: &AdminClient, json: bool) -> Result<(), CommandFailure> {
    let replays: ReplayList = client.get("listing replays", LIST_REPLAYS.path).await?;
    if json {
        print_json(&replays);
    } else {
        print(&table(&replays.replays));
    }
    Ok(())
}

fn table(replays: &[ReplayDocument]) -> String {
    if replays.is_empty() {
        return "no replays found\n".to_owned();
    }
    let mut table = list(&["ID", "STARTED", "AGE", "STATE", "DONE", "TOTAL", "SKIPPED"]);
    for replay in replays {
        let state = match replay.state {
            ReplayState::Running => "running",
            ReplayState::Paused => "paused",
            ReplayState::Ended => "ended",
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
    fn the_state_of_a_replay_comes_with_its_commands() {
        let replay = |state, skipped| ReplayDocument {
            id: 3,
            created: WHEN,
            state,
            total: 10,
            done: 10,
            skipped,
        };
        let over = describe_replay(&replay(ReplayState::Ended, 0));
        assert_eq!(over, "replay 3 ended: 10 deliveries created\n");
        let over = describe_replay(&replay(ReplayState::Ended, 9));
        let expected = "replay 3 ended: 1 delivery created, 9 skipped because their body is no longer stored\n";
        assert_eq!(over, expected);
        let running = describe_replay(&replay(ReplayState::Running, 0));
        for command in ["replay list", "replay pause 3", "replay resume 3"] {
            assert!(
                running.contains(&format!("`hookgate {command}`")),
                "{running}"
            );
        }
        let rows = [replay(ReplayState::Paused, 2)];
        let expected = "ID STARTED AGE STATE DONE TOTAL SKIPPED\n\
            3 2025-11-24 16:00:00Z AGE ago paused 10 10 2\n";
        assert_eq!(plain(&table(&rows)), expected);
        assert_eq!(table(&[]), "no replays found\n");
    }
}
