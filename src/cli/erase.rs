//! `hookgate events erase`: erases events, one or all that match, from the store and from memory.
//!
//! It always counts first and asks for confirmation. The gate works in steps, so that the progress can be shown and Ctrl-C
//! ends the work between two of them.

use std::pin::pin;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::admin::documents::EraseStep;
use crate::admin::resources::ERASE_EVENTS;
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::{block_on, confirm, interrupted};
use crate::cli::failure::CommandFailure;
use crate::cli::filters::{self, EventFilters};
use crate::cli::output::{print, print_json};

#[derive(Args)]
pub(super) struct EventsEraseArguments {
    /// Event id, from the column EVENT of `hookgate events list`; or use filters instead
    #[arg(value_name = "UID")]
    uid: Option<String>,
    /// Erase all events, without a filter
    #[arg(long, conflicts_with = "uid")]
    all: bool,
    /// Only count the events, erase nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: EventFilters,
    /// Text in the body, type, ids or request target, in upper or lower case
    #[arg(long, value_name = "TEXT", help_heading = filters::EVENTS, conflicts_with = "field")]
    text: Option<String>,
    /// Value at a location of the body: a JSON pointer and a value, such as `/customer/email=ann@example.com`
    #[arg(long, value_name = "POINTER=VALUE", help_heading = filters::EVENTS)]
    field: Option<String>,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Erases the events of the arguments.
pub(super) fn erase(arguments: &EventsEraseArguments) -> Result<(), CommandFailure> {
    let selection = selection(arguments)?;
    let client = arguments.admin.client()?;
    block_on(run(&client, arguments, selection))
}

/// Builds the selection as the request has it, without cursor and dry run.
fn selection(arguments: &EventsEraseArguments) -> Result<Map<String, Value>, CommandFailure> {
    let mut search = Map::new();
    for (name, value) in arguments.filters.pairs() {
        search.insert(name.to_owned(), value.into());
    }
    if let Some(text) = &arguments.text {
        search.insert("text".to_owned(), text.as_str().into());
    }
    let mut selection = Map::new();
    let field = arguments.field.as_deref().map(field).transpose()?;
    match &arguments.uid {
        Some(_) if !search.is_empty() || field.is_some() => {
            return Err(
                CommandFailure::usage("an event id and filters cannot be combined")
                    .help("use either an event id or filters"),
            );
        }
        Some(uid) => {
            selection.insert("event".to_owned(), uid.as_str().into());
        }
        // An empty variable in a script must not erase all events; `--all` states that this is intended.
        None if search.is_empty() && field.is_none() && !arguments.all => {
            return Err(CommandFailure::usage("no events selected").help(
                "add an event id, filters or `--all`; `hookgate events erase --help` has examples",
            ));
        }
        None => {
            selection.insert("search".to_owned(), search.into());
            selection.insert("all".to_owned(), arguments.all.into());
        }
    }
    if let Some(field) = field {
        selection.insert("field".to_owned(), field);
    }
    Ok(selection)
}

/// Parses `POINTER=VALUE`. A pointer may contain no `=`, a value may.
fn field(text: &str) -> Result<Value, CommandFailure> {
    let parts = text
        .split_once('=')
        .filter(|(pointer, _)| pointer.starts_with('/'));
    let (pointer, value) = parts.ok_or_else(|| {
        CommandFailure::usage(format!("`{text}` is not a location with a value"))
            .help("for example `--field /customer/email=ann@example.com`")
    })?;
    Ok(json!({ "pointer": pointer, "value": value }))
}

async fn run(
    client: &AdminClient,
    arguments: &EventsEraseArguments,
    selection: Map<String, Value>,
) -> Result<(), CommandFailure> {
    // A dry run first: the number goes into the question.
    let found = all_steps(client, &selection, true).await?;
    if arguments.dry_run || (found.count == 0 && found.memory == 0) {
        match arguments.json {
            true => print_json(&found),
            false => {
                print(&format!(
                    "`erase` would erase {} and {} in memory\n",
                    events(found.count),
                    entries(found.memory)
                ));
            }
        }
        return Ok(());
    }
    let question = format!(
        "Erase {} and {} in memory, for good",
        events(found.count),
        entries(found.memory)
    );
    if !confirm(&question, arguments.yes)? {
        return Err(CommandFailure::new("nothing was erased"));
    }
    let erased = all_steps(client, &selection, false).await?;
    match arguments.json {
        true => print_json(&erased),
        false => {
            print(&describe(&erased));
        }
    }
    Ok(())
}

/// Repeats the request until the gate has read all of the store. Returns the sum of all steps.
async fn all_steps(
    client: &AdminClient,
    selection: &Map<String, Value>,
    is_dry_run: bool,
) -> Result<EraseStep, CommandFailure> {
    let doing = match is_dry_run {
        true => "counting the events to erase",
        false => "erasing events",
    };
    let bar = bar(doing);
    // One future for the whole loop, so that a Ctrl-C between two requests is not lost.
    let mut ended = pin!(interrupted()?);
    let mut sum: Option<EraseStep> = None;
    loop {
        let mut document = selection.clone();
        document.insert("dry_run".to_owned(), is_dry_run.into());
        if let Some(cursor) = sum.as_ref().and_then(|sum| sum.next.clone()) {
            document.insert("cursor".to_owned(), cursor.into());
        }
        let step = client.post_many(doing, ERASE_EVENTS.path, &document);
        let step: EraseStep = tokio::select! {
            step = step => step?,
            () = &mut ended => {
                let so_far = sum.map_or(0, |sum| sum.count);
                let text = format!("stopped at {} so far; a step that has begun still ends", events(so_far));
                return Err(CommandFailure::new(text).doing(doing));
            }
        };
        let before = sum.take();
        let added = |value: fn(&EraseStep) -> u64| {
            let before = before.as_ref().map_or(0, value);
            before.saturating_add(value(&step))
        };
        let total = EraseStep {
            count: added(|step| step.count),
            cancelled: added(|step| step.cancelled),
            in_flight: added(|step| step.in_flight),
            memory: added(|step| step.memory),
            ..step.clone()
        };
        bar.set_position(total.percent.into());
        bar.set_message(events(total.count));
        let is_last = total.next.is_none();
        if is_last {
            bar.finish_and_clear();
            return Ok(total);
        }
        sum = Some(total);
    }
}

/// Creates a progress bar. It appears on standard error, and only if that is a terminal.
fn bar(doing: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(100).with_prefix(doing);
    let style = "{prefix} {bar:40} {percent} %, {msg}; Ctrl-C stops";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

fn describe(erased: &EraseStep) -> String {
    let mut out = format!(
        "{} erased, and {} in memory\n",
        events(erased.count),
        entries(erased.memory)
    );
    if erased.cancelled > 0 {
        out.push_str(&format!(
            "{} ended without an attempt\n",
            crate::cli::confirm::deliveries(erased.cancelled)
        ));
    }
    if erased.in_flight > 0 {
        out.push_str(&format!(
            "{} had an attempt in progress, whose request may have reached the app\n",
            crate::cli::confirm::deliveries(erased.in_flight)
        ));
    }
    match (erased.scrubbed, &erased.node) {
        (Some(false), Some(_)) => out.push_str(
            "the database's server removes old versions of the rows: run `VACUUM` on the tables of the store\n",
        ),
        (Some(false), None) => out.push_str(
            "a reader holds the store's log: the gate goes on emptying it by itself\n",
        ),
        (Some(true) | None, _) => {}
    }
    if let Some(node) = &erased.node {
        out.push_str(&format!(
            "memory was searched on node `{node}` only: run the command with `--admin` of each other node too\n"
        ));
    }
    out.push_str("backups, logs and the apps are not reached\n");
    out
}

fn events(count: u64) -> String {
    match count {
        1 => "1 event".to_owned(),
        _ => format!("{count} events"),
    }
}

fn entries(count: u64) -> String {
    match count {
        1 => "1 entry".to_owned(),
        _ => format!("{count} entries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_a_pointer_with_a_value() {
        let parsed = field("/customer/email=a=b").unwrap();
        assert_eq!(
            parsed,
            json!({ "pointer": "/customer/email", "value": "a=b" })
        );
        assert_eq!(field("/a=").unwrap()["value"], "");
        assert!(field("email=ann").is_err() && field("/email").is_err());
    }

    #[test]
    fn the_result_says_what_is_left() {
        let step = EraseStep {
            dry_run: false,
            count: 2,
            cancelled: 1,
            in_flight: 1,
            memory: 3,
            next: None,
            percent: 100,
            scrubbed: Some(true),
            node: None,
        };
        assert_eq!(
            describe(&step),
            "2 events erased, and 3 entries in memory\n1 delivery ended without an attempt\n\
             1 delivery had an attempt in progress, whose request may have reached the app\n\
             backups, logs and the apps are not reached\n"
        );
        let shared = EraseStep {
            scrubbed: Some(false),
            node: Some("a".to_owned()),
            ..step
        };
        let text = describe(&shared);
        assert!(
            text.contains("VACUUM") && text.contains("node `a` only"),
            "{text}"
        );
    }
}
