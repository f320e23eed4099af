//! `hookgate destinations`: lists destinations with their backlog; pauses and resumes them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};

use crate::admin::documents::{DestinationDocument, DestinationList};
use crate::admin::resources::{
    LIST_DESTINATIONS, PAUSE_DESTINATION, PAUSE_ROUTE, RESUME_DESTINATION, RESUME_ROUTE,
};
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::block_on;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::filters::RouteListArguments;
use crate::cli::output::{clean, lines, list, print, print_json};
use crate::cli::times;

/// Subcommands of `hookgate destinations`.
#[derive(Subcommand)]
pub(super) enum DestinationsCommand {
    /// List destinations with their state and their pending deliveries
    #[command(after_help = "Examples:\n  \
            hookgate destinations list\n  \
            hookgate destinations list --json | jq '.destinations[] | select(.deliveries.dead > 0)'\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(RouteListArguments),
    /// Stop attempts to a destination; its events are still accepted and wait
    #[command(after_help = "Examples:\n  \
            hookgate destinations pause github/ci                      one destination\n  \
            hookgate destinations pause --route github                 all destinations of a route\n\n\
            A pause survives a restart of the gate.\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Pause(PauseArguments),
    /// Resume attempts after a pause, or after a destination was disabled because it responded with 410
    #[command(after_help = "Examples:\n  \
            hookgate destinations resume github/ci                     one destination\n  \
            hookgate destinations resume --route github                a route; destinations paused by name stay \
            paused\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Resume(PauseArguments),
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = false, args = ["destination", "route"])]
pub(super) struct PauseArguments {
    /// Destination, as in `hookgate destinations list`
    #[arg(value_name = "ROUTE/NAME")]
    destination: Option<String>,
    /// Route whose destinations are all meant
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Runs a subcommand and returns its exit code.
pub(super) fn run(command: DestinationsCommand) -> ExitCode {
    failure::end(match command {
        DestinationsCommand::List(arguments) => arguments
            .admin
            .client()
            .and_then(|client| block_on(list_all(&client, &arguments))),
        DestinationsCommand::Pause(arguments) => set(&arguments, true),
        DestinationsCommand::Resume(arguments) => set(&arguments, false),
    })
}

async fn list_all(
    client: &AdminClient,
    arguments: &RouteListArguments,
) -> Result<(), CommandFailure> {
    let path = LIST_DESTINATIONS.path;
    let mut answer: DestinationList = client.get("listing destinations", path).await?;
    if let Some(route) = &arguments.route {
        answer.destinations.retain(|one| one.route == *route);
    }
    show(&answer, arguments.json);
    Ok(())
}

fn set(arguments: &PauseArguments, is_paused: bool) -> Result<(), CommandFailure> {
    let (path, what) = match (&arguments.destination, &arguments.route) {
        (Some(destination), _) => {
            let Some((route, name)) = destination.split_once('/') else {
                return Err(CommandFailure::usage(format!("`{destination}` is not a destination")).help(
                    format!(
                        "use `ROUTE/NAME` as in `hookgate destinations list`, or `--route {destination}` for all of a \
                        route"
                    ),
                ));
            };
            let resource = match is_paused {
                true => &PAUSE_DESTINATION,
                false => &RESUME_DESTINATION,
            };
            let what = format!("destination `{destination}`");
            (resource.at(&[route, name]), what)
        }
        (None, route) => {
            let route = route.as_deref().unwrap_or_default();
            let resource = match is_paused {
                true => &PAUSE_ROUTE,
                false => &RESUME_ROUTE,
            };
            (resource.at(&[route]), format!("route `{route}`"))
        }
    };
    // In the progressive form, as the beginning of a failure message.
    let doing = match is_paused {
        true => format!("pausing {what}"),
        false => format!("resuming {what}"),
    };
    let client = arguments.admin.client()?;
    let answer: DestinationList = block_on(client.post(&doing, &path))?;
    show(&answer, arguments.json);
    Ok(())
}

fn show(answer: &DestinationList, json: bool) {
    if json {
        print_json(answer);
    } else {
        print(&table(&answer.destinations));
    }
}

const HEADER: [&str; 9] = [
    "DESTINATION",
    "STATE",
    "BREAKER",
    "OPEN",
    "IN FLIGHT",
    "DEAD",
    "OLDEST OPEN",
    "LAST SUCCESS",
    "LAST FAILURE",
];

/// Formats a list of destinations, one line each.
pub(super) fn table(destinations: &[DestinationDocument]) -> String {
    if destinations.is_empty() {
        return "no destinations found\n".to_owned();
    }
    let mut table = list(&HEADER);
    for one in destinations {
        // Health is in the memory of the worker. A destination that left the config has a backlog, but no worker.
        let health = one.health.as_ref();
        let breaker = health.map_or("-", |health| &*health.breaker);
        let dead = Cell::new(up_to(one.deliveries.dead));
        table.add_row(vec![
            Cell::new(clean(&format!("{}/{}", one.route, one.name))),
            state(one),
            match breaker {
                "open" => Cell::new(breaker).fg(Color::Red),
                _ => Cell::new(breaker.replace('_', " ")),
            },
            Cell::new(one.deliveries.open()),
            Cell::new(one.deliveries.in_flight),
            match one.deliveries.dead {
                0 => dead,
                _ => dead.fg(Color::Red),
            },
            Cell::new(times::relative_or_dash(one.oldest_open)),
            Cell::new(times::relative_or_dash(
                health.and_then(|health| health.last_success),
            )),
            Cell::new(times::relative_or_dash(
                health.and_then(|health| health.last_failure),
            )),
        ]);
    }
    lines(table)
}

/// Formats a count of ended deliveries, which the gate counts up to 1000 only, since old ones can be many.
fn up_to(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => "1000 or more".to_owned(),
    }
}

fn state(one: &DestinationDocument) -> Cell {
    match (&one.disabled, one.paused, one.route_paused) {
        // In the order of strength: a disabled destination stays off even if its pause ends.
        (Some(why), _, _) => Cell::new(clean(&format!("off: {why}"))).fg(Color::Red),
        (None, true, _) => Cell::new("paused").fg(Color::Yellow),
        (None, false, true) => Cell::new("route paused").fg(Color::Yellow),
        // The store still has deliveries for it, but no worker attempts them.
        _ if one.health.is_none() => Cell::new("not in the config"),
        _ => Cell::new("active").fg(Color::Green),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::documents::HealthDocument;
    use crate::cli::testing::{WHEN, counts, plain};

    #[test]
    fn a_list_shows_the_state_of_destinations() {
        let health = HealthDocument {
            breaker: "half_open".to_owned(),
            in_flight: 0,
            last_success: Some(WHEN),
            last_failure: None,
        };
        let active = DestinationDocument {
            route: "github".to_owned(),
            name: "ci".to_owned(),
            paused: false,
            route_paused: false,
            disabled: None,
            deliveries: counts(7, 1000),
            oldest_open: None,
            health: Some(health),
        };
        let with = |change: fn(&mut DestinationDocument)| {
            let mut changed = active.clone();
            change(&mut changed);
            changed
        };
        let rows = [
            active.clone(),
            with(|one| one.paused = true),
            with(|one| one.route_paused = true),
            with(|one| one.disabled = Some("it responded with 410".to_owned())),
            with(|one| one.health = None),
        ];
        let expected = "DESTINATION STATE BREAKER OPEN IN FLIGHT DEAD OLDEST OPEN LAST SUCCESS LAST FAILURE\n\
            github/ci active half open 0 0 1000 or more - AGE ago -\n\
            github/ci paused half open 0 0 1000 or more - AGE ago -\n\
            github/ci route paused half open 0 0 1000 or more - AGE ago -\n\
            github/ci off: it responded with 410 half open 0 0 1000 or more - AGE ago -\n\
            github/ci not in the config - 0 0 1000 or more - - -\n";
        assert_eq!(plain(&table(&rows)), expected);
        assert_eq!(table(&[]), "no destinations found\n");
    }
}
