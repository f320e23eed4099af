//! `hookgate deliveries`: lists, shows, retries, cancels and discards deliveries.
//!
//! A delivery is one event for one destination.

mod change;
#[cfg(test)]
mod tests;
mod text;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::admin::documents::{DeliveryAction, DeliveryDetail, DeliveryDocument, DeliveryList};
use crate::admin::resources::{LIST_DELIVERIES, SHOW_DELIVERY};
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::block_on;
use crate::cli::deliveries::change::{ChangeArguments, change};
pub(super) use crate::cli::deliveries::text::table;
use crate::cli::deliveries::text::text;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::filters::DeliveryFilters;
use crate::cli::listing::{ListDefinition, ListOptions};
use crate::cli::output::{print, print_json};

/// Subcommands of `hookgate deliveries`.
#[derive(Subcommand)]
pub(super) enum DeliveriesCommand {
    /// List deliveries, newest first
    #[command(after_help = "Examples:\n  \
            hookgate deliveries list --state dead                      dead letters\n  \
            hookgate deliveries list --destination github/ci           one destination\n  \
            hookgate deliveries list --since 1d --all --json           for a program\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(DeliveriesListArguments),
    /// Show one delivery with each attempt
    #[command(after_help = "Examples:\n  \
            hookgate deliveries show 4711\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Show(DeliveriesShowArguments),
    /// Retry waiting deliveries and dead letters now
    #[command(after_help = "Examples:\n  \
            hookgate deliveries retry 4711 4712                        these two deliveries\n  \
            hookgate deliveries retry --state dead --destination github/ci\n  \
            hookgate deliveries retry --state dead --since 1d --dry-run   only count\n\n\
            To send a delivery again that was delivered or cancelled, use `hookgate replay`.\n\n\
            Exit codes: 0 done, 1 failed or some could not be changed, 2 wrong usage.")]
    Retry(ChangeArguments),
    /// Cancel deliveries that are still open; they are not attempted again
    #[command(after_help = "Examples:\n  \
            hookgate deliveries cancel 4711\n  \
            hookgate deliveries cancel --destination github/ci --before 1d\n\n\
            Exit codes: 0 done, 1 failed or some could not be changed, 2 wrong usage.")]
    Cancel(ChangeArguments),
    /// Discard dead letters, so that they no longer need attention
    #[command(after_help = "Examples:\n  \
            hookgate deliveries discard 4711\n  \
            hookgate deliveries discard --route github --type 'check_run.*'\n\n\
            Exit codes: 0 done, 1 failed or some could not be changed, 2 wrong usage.")]
    Discard(ChangeArguments),
}

#[derive(Args)]
pub(super) struct DeliveriesListArguments {
    #[command(flatten)]
    paging: ListOptions,
    #[command(flatten)]
    filters: DeliveryFilters,
    #[command(flatten)]
    admin: AdminOptions,
}

#[derive(Args)]
pub(super) struct DeliveriesShowArguments {
    /// Number of the delivery, from `hookgate deliveries list`
    id: i64,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

const LISTING: ListDefinition<DeliveryList, DeliveryDocument> = ListDefinition {
    doing: "listing deliveries",
    path: LIST_DELIVERIES.path,
    open: |part| (part.deliveries, part.next),
    close: |deliveries, next| DeliveryList { deliveries, next },
    table,
};

/// Runs a subcommand and returns its exit code.
pub(super) fn run(command: DeliveriesCommand) -> ExitCode {
    let with = |door: &AdminOptions| door.client();
    failure::end(match command {
        DeliveriesCommand::List(arguments) => {
            with(&arguments.admin).and_then(|client| block_on(list(&client, &arguments)))
        }
        DeliveriesCommand::Show(arguments) => {
            with(&arguments.admin).and_then(|client| block_on(show(&client, &arguments)))
        }
        DeliveriesCommand::Retry(arguments) => change(&arguments, DeliveryAction::Retry),
        DeliveriesCommand::Cancel(arguments) => change(&arguments, DeliveryAction::Cancel),
        DeliveriesCommand::Discard(arguments) => change(&arguments, DeliveryAction::Discard),
    })
}

async fn list(
    client: &AdminClient,
    arguments: &DeliveriesListArguments,
) -> Result<(), CommandFailure> {
    let filters = arguments.filters.pairs();
    LISTING.print(client, filters, &arguments.paging).await
}

async fn show(
    client: &AdminClient,
    arguments: &DeliveriesShowArguments,
) -> Result<(), CommandFailure> {
    let doing = format!("showing delivery {}", arguments.id);
    let path = SHOW_DELIVERY.at(&[&arguments.id.to_string()]);
    let detail: DeliveryDetail = client.get(&doing, &path).await?;
    if arguments.json {
        print_json(&detail);
    } else {
        print(&text(&detail));
    }
    Ok(())
}
