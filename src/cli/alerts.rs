//! `hookgate alerts`: lists the open alerts of a running gate, acknowledges them, and sends test messages.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};

use crate::admin::documents::{
    AlertDocument, AlertList, AlertReceiverDocument, AlertTestDocument, AlertTestList,
};
use crate::admin::resources::{ACKNOWLEDGE_ALERT, LIST_ALERTS, TEST_ALERT_RECEIVER, TEST_ALERTS};
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::block_on;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{clean, lines, list, print, print_json};
use crate::cli::times;

/// Subcommands of `hookgate alerts`.
#[derive(Subcommand)]
pub(super) enum AlertsCommand {
    /// Send a test message to every receiver, or to one, and print what became of it
    #[command(after_help = "Examples:\n  \
            hookgate alerts test                  all receivers of the config\n  \
            hookgate alerts test team             only `[alerts.team]`\n\n\
            The running gate sends the message, with its own credentials.\n\n\
            Exit codes: 0 all receivers accepted the message, 1 one did not, or the gate does not respond, 2 wrong \
            usage.")]
    Test(AlertTestArguments),
    /// Acknowledge an alert: no further message until it is over or gets worse
    #[command(after_help = "Examples:\n  \
            hookgate alerts acknowledge 12\n\n\
            The audit log records who acknowledged the alert.\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Acknowledge(AlertAcknowledgeArguments),
}

#[derive(Args)]
pub(super) struct AlertListArguments {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

#[derive(Args)]
pub(super) struct AlertTestArguments {
    /// Name of a receiver: NAME of `[alerts.NAME]`
    #[arg(value_name = "NAME")]
    receiver: Option<String>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

#[derive(Args)]
pub(super) struct AlertAcknowledgeArguments {
    /// Number of the alert, as in `hookgate alerts`
    #[arg(value_name = "ID")]
    id: u64,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Runs a subcommand, or lists the alerts. Exits with 1 where an alert is open or a receiver failed.
pub(super) fn run(listing: &AlertListArguments, command: Option<AlertsCommand>) -> ExitCode {
    let is_well = match command {
        None => on_gate(&listing.admin, async |client| {
            show(client, listing.json).await
        }),
        Some(AlertsCommand::Test(arguments)) => on_gate(&arguments.admin, async |client| {
            test(client, &arguments).await
        }),
        Some(AlertsCommand::Acknowledge(arguments)) => on_gate(&arguments.admin, async |client| {
            acknowledge(client, &arguments).await
        }),
    };
    match is_well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => failure::end(Err(failure)),
    }
}

fn on_gate(
    admin: &AdminOptions,
    work: impl AsyncFnOnce(&AdminClient) -> Result<bool, CommandFailure>,
) -> Result<bool, CommandFailure> {
    admin.client().and_then(|client| block_on(work(&client)))
}

async fn show(client: &AdminClient, json: bool) -> Result<bool, CommandFailure> {
    let found: AlertList = client.get("listing alerts", LIST_ALERTS.path).await?;
    print_list(&found, json);
    // Open alerts end the command with 1, so that scripts can use it as a check.
    Ok(found.alerts.is_empty())
}

async fn acknowledge(
    client: &AdminClient,
    arguments: &AlertAcknowledgeArguments,
) -> Result<bool, CommandFailure> {
    let path = ACKNOWLEDGE_ALERT.at(&[&arguments.id.to_string()]);
    let found: AlertList = client.post("acknowledging the alert", &path).await?;
    print_list(&found, arguments.json);
    Ok(true)
}

async fn test(
    client: &AdminClient,
    arguments: &AlertTestArguments,
) -> Result<bool, CommandFailure> {
    let path = match &arguments.receiver {
        Some(receiver) => TEST_ALERT_RECEIVER.at(&[receiver]),
        None => TEST_ALERTS.path.to_owned(),
    };
    let doing = "sending a test message";
    let found: AlertTestList = client.post(doing, &path).await?;
    match arguments.json {
        true => print_json(&found),
        false => {
            print(&test_text(&found.receivers));
        }
    }
    Ok(found.receivers.iter().all(|one| one.accepted))
}

fn print_list(found: &AlertList, json: bool) {
    match json {
        true => print_json(found),
        false => {
            print(&text(found));
        }
    }
}

fn text(found: &AlertList) -> String {
    let mut text = String::new();
    if found.alerts.is_empty() {
        text.push_str("no alert is open\n");
    } else {
        text.push_str(&alerts(&found.alerts));
    }
    if found.receivers.is_empty() {
        text.push_str("no receiver gets alerts: add `[alerts.NAME]` to the config\n");
    } else {
        let _ = write!(text, "\n{}", receivers(&found.receivers));
    }
    text
}

fn alerts(alerts: &[AlertDocument]) -> String {
    let mut table = list(&["ID", "CONDITION", "SINCE", "ACKNOWLEDGED", "PROBLEM"]);
    for alert in alerts {
        let known = match &alert.acknowledged_by {
            Some(by) => Cell::new(format!("by {}", clean(by))),
            None => Cell::new("no").fg(Color::Red),
        };
        table.add_row(vec![
            Cell::new(alert.id),
            Cell::new(clean(&alert.condition)),
            Cell::new(times::relative(alert.since)),
            known,
            Cell::new(clean(&alert.text)),
        ]);
    }
    lines(table)
}

fn receivers(receivers: &[AlertReceiverDocument]) -> String {
    let mut table = list(&["RECEIVER", "TYPE", "WAITING", "LAST MESSAGE", "ERROR"]);
    for receiver in receivers {
        let error = match &receiver.last_error {
            Some(error) => Cell::new(clean(error)).fg(Color::Red),
            None => Cell::new("-"),
        };
        table.add_row(vec![
            Cell::new(clean(&receiver.name)),
            Cell::new(clean(&receiver.kind)),
            Cell::new(receiver.waiting),
            Cell::new(times::relative_or_dash(receiver.last_accepted)),
            error,
        ]);
    }
    lines(table)
}

fn test_text(tests: &[AlertTestDocument]) -> String {
    if tests.is_empty() {
        return "no receiver gets alerts: add `[alerts.NAME]` to the config\n".to_owned();
    }
    let mut table = list(&["RECEIVER", "TYPE", "OUTCOME"]);
    for test in tests {
        let outcome = match &test.error {
            Some(error) => Cell::new(clean(error)).fg(Color::Red),
            None => Cell::new("accepted").fg(Color::Green),
        };
        table.add_row(vec![
            Cell::new(clean(&test.name)),
            Cell::new(clean(&test.kind)),
            outcome,
        ]);
    }
    lines(table)
}
