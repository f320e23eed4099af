//! `hookgate deliveries retry`, `cancel` and `discard`: by number, or all that match filters.
//!
//! A change by filters always counts first and asks for confirmation.

use clap::Args;

use crate::admin::documents::{BulkChangeResult, DeliveryAction, DeliveryDocument, DeliveryList};
use crate::admin::resources::{
    CANCEL_DELIVERIES, CANCEL_DELIVERY, DISCARD_DELIVERIES, DISCARD_DELIVERY, RETRY_DELIVERIES,
    RETRY_DELIVERY,
};
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::{self, block_on, confirm};
use crate::cli::deliveries::text::table;
use crate::cli::failure::CommandFailure;
use crate::cli::filters::DeliveryFilters;
use crate::cli::output::{print, print_json};

#[derive(Args)]
pub(in crate::cli) struct ChangeArguments {
    /// Numbers of deliveries, from `hookgate deliveries list`; or use filters instead
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    /// Change all deliveries, without a filter
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Only count the deliveries, change nothing
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: DeliveryFilters,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Returns the words after a count. A retry says "due", not "attempted": the destination may be paused.
fn done(action: DeliveryAction, count: u64) -> &'static str {
    match (action, count) {
        (DeliveryAction::Retry, 1) => "is due now",
        (DeliveryAction::Retry, _) => "are due now",
        (DeliveryAction::Cancel, 1) => "was cancelled",
        (DeliveryAction::Cancel, _) => "were cancelled",
        (DeliveryAction::Discard, 1) => "was discarded",
        (DeliveryAction::Discard, _) => "were discarded",
    }
}

/// Runs the change, by number or by filters.
pub(super) fn change(
    arguments: &ChangeArguments,
    action: DeliveryAction,
) -> Result<(), CommandFailure> {
    let has_filters = !arguments.filters.pairs().is_empty();
    if !arguments.ids.is_empty() && has_filters {
        return Err(
            CommandFailure::usage("numbers and filters cannot be combined")
                .help("use either delivery numbers or filters"),
        );
    }
    // An empty variable in a script must not select all deliveries; `--all` states that this is intended.
    if arguments.ids.is_empty() && !has_filters && !arguments.all {
        return Err(
            CommandFailure::usage("no deliveries selected").help(format!(
                "add numbers, filters or `--all`; `hookgate deliveries {} --help` has examples",
                action.word()
            )),
        );
    }
    let client = arguments.admin.client()?;
    match arguments.ids.is_empty() {
        true => block_on(change_many(&client, arguments, action)),
        false => block_on(change_these(&client, arguments, action)),
    }
}

/// Changes each delivery by itself. Reports those that cannot be changed, and changes the others.
async fn change_these(
    client: &AdminClient,
    arguments: &ChangeArguments,
    action: DeliveryAction,
) -> Result<(), CommandFailure> {
    let word = action.word();
    let resource = match action {
        DeliveryAction::Retry => &RETRY_DELIVERY,
        DeliveryAction::Cancel => &CANCEL_DELIVERY,
        DeliveryAction::Discard => &DISCARD_DELIVERY,
    };
    let mut changed = Vec::new();
    let mut failed = 0_usize;
    for id in &arguments.ids {
        let doing = format!("requesting `{word}` of delivery {id}");
        let path = resource.at(&[&id.to_string()]);
        // One request for each: a delivery that cannot be changed must not stop the others.
        match client.post::<DeliveryDocument>(&doing, &path).await {
            Ok(delivery) => changed.push(delivery),
            Err(failure) => {
                failure.print();
                failed = failed.saturating_add(1);
            }
        }
    }
    if arguments.json {
        print_json(&DeliveryList {
            deliveries: changed,
            next: None,
        });
    } else if !changed.is_empty() {
        print(&table(&changed, true));
    }
    match failed {
        0 => Ok(()),
        _ => Err(CommandFailure::new(format!(
            "{failed} of {} deliveries could not be changed",
            arguments.ids.len()
        ))),
    }
}

async fn change_many(
    client: &AdminClient,
    arguments: &ChangeArguments,
    action: DeliveryAction,
) -> Result<(), CommandFailure> {
    let word = action.word();
    let path = match action {
        DeliveryAction::Retry => RETRY_DELIVERIES.path,
        DeliveryAction::Cancel => CANCEL_DELIVERIES.path,
        DeliveryAction::Discard => DISCARD_DELIVERIES.path,
    };
    let asked = arguments.filters.many(arguments.all, true);
    // A dry run first: the number goes into the question.
    let doing = format!("counting the deliveries for `{word}`");
    let found: BulkChangeResult = client.post_many(&doing, path, &asked).await?;
    // With nothing to change, no question is asked.
    if arguments.dry_run || found.count == 0 {
        match arguments.json {
            true => print_json(&found),
            false => {
                print(&format!(
                    "`{word}` would change {}\n",
                    confirm::deliveries(found.count)
                ));
            }
        }
        return Ok(());
    }
    let question = format!("{} of {}", capital(word), confirm::deliveries(found.count));
    if !confirm(&question, arguments.yes)? {
        return Err(CommandFailure::new("nothing was changed"));
    }
    let asked = arguments.filters.many(arguments.all, false);
    // The gate selects again, so deliveries that changed since the count are judged by their state now.
    let doing = format!(
        "requesting `{word}` of {}",
        confirm::deliveries(found.count)
    );
    let changed: BulkChangeResult = client.post_many(&doing, path, &asked).await?;
    match arguments.json {
        true => print_json(&changed),
        false => {
            print(&format!(
                "{} {}\n",
                confirm::deliveries(changed.count),
                done(action, changed.count)
            ));
        }
    }
    Ok(())
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
