//! `hookgate secrets`: lists the secrets of a running gate and when they last matched.
//!
//! A rotation can end once the old secret no longer matches. The secret text itself is never shown.

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Cell;

use crate::admin::documents::{SecretUseDocument, SecretUseList};
use crate::admin::resources::LIST_SECRETS;
use crate::cli::admin_client::AdminClient;
use crate::cli::confirm::block_on;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::filters::RouteListArguments;
use crate::cli::output::{clean, lines, list, print, print_json};
use crate::cli::times;

/// Subcommands of `hookgate secrets`.
#[derive(Subcommand)]
pub(super) enum SecretsCommand {
    /// List the secrets of all routes: when they expire and when they last matched, never their text
    #[command(after_help = "Examples:\n  \
            hookgate secrets list\n  \
            hookgate secrets list --route github\n  \
            hookgate secrets list --json | jq '.secrets[] | select(.matches == 0)'\n\n\
            A secret that no longer matches can be removed from the config. Matches are counted since the gate \
            started; a reload keeps the counts.\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(RouteListArguments),
}

/// Runs a subcommand and returns its exit code.
pub(super) fn run(command: SecretsCommand) -> ExitCode {
    let SecretsCommand::List(arguments) = command;
    let client = arguments.admin.client();
    failure::end(client.and_then(|client| block_on(show(&client, &arguments))))
}

async fn show(client: &AdminClient, arguments: &RouteListArguments) -> Result<(), CommandFailure> {
    let mut found: SecretUseList = client.get("listing secrets", LIST_SECRETS.path).await?;
    if let Some(route) = &arguments.route {
        found.secrets.retain(|secret| secret.route == *route);
    }
    match arguments.json {
        true => print_json(&found),
        false => {
            print(&text(&found));
        }
    }
    Ok(())
}

fn text(found: &SecretUseList) -> String {
    if found.secrets.is_empty() {
        return "no secrets found\n".to_owned();
    }
    let mut table = list(&["ROUTE", "SECRET", "FROM", "UNTIL", "MATCHES", "LAST MATCH"]);
    for SecretUseDocument {
        route,
        name,
        not_before,
        until,
        matches,
        last_match,
        // Destructured in full, so that a new field of the API cannot be forgotten here.
    } in &found.secrets
    {
        let or_dash = |moment: &Option<_>| moment.map_or_else(|| "-".to_owned(), times::both);
        table.add_row(vec![
            Cell::new(clean(route)),
            Cell::new(clean(name)),
            Cell::new(or_dash(not_before)),
            Cell::new(or_dash(until)),
            Cell::new(matches),
            Cell::new(times::relative_or_dash(*last_match)),
        ]);
    }
    let since = times::both(found.counted_since);
    let missing = match found.complete {
        true => "",
        false => {
            "some nodes are missing: another node may still use a secret that matches nothing here\n"
        }
    };
    format!("{}\ncounted since {since}\n{missing}", lines(table))
}
