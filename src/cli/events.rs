//! `hookgate events`: lists, shows and follows the events in the inbox of a running gate.

use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Args, Subcommand};

use crate::admin::documents::{EventDetail, EventDocument, EventList, StateCounts};
use crate::admin::path::with_query;
use crate::admin::resources::{LIST_EVENTS, SHOW_EVENT, SHOW_EVENT_BODY, TAIL_EVENTS};
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::{block_on, interrupted};
use crate::cli::deliveries;
use crate::cli::erase::{self, EventsEraseArguments};
use crate::cli::failure::{self, CommandFailure};
use crate::cli::filters::{self, EventFilters};
use crate::cli::listing::{ListDefinition, ListOptions};
use crate::cli::output::{
    FAINT, STRONG, clean, clean_or_dash, facts, lines, list, print, print_json, styled,
};
use crate::cli::times;

/// Subcommands of `hookgate events`.
#[derive(Subcommand)]
pub(super) enum EventsCommand {
    /// List events, newest first
    #[command(after_help = "Examples:\n  \
            hookgate events list                                       the newest 50 events\n  \
            hookgate events list --route stripe --since 2h             one route, the last two hours\n  \
            hookgate events list --state dead --all                    all events with a dead letter\n  \
            hookgate events list --text 'order 4711' --since 7d        search in bodies\n  \
            hookgate events list --type 'invoice.*' --json             for a program\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    List(EventsListArguments),
    /// Show one event: its source, headers and deliveries
    #[command(after_help = "Examples:\n  \
            hookgate events show 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12\n  \
            hookgate events show 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12 --body > body.json\n\n\
            Header values that may be secrets of the sender are never shown.\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Show(EventsShowArguments),
    /// Show events as they are accepted, until Ctrl-C
    #[command(after_help = "Examples:\n  \
            hookgate events tail\n  \
            hookgate events tail --route github --since 10m            start with the last ten minutes\n  \
            hookgate events tail --json | jq -r .type                  one JSON document per line\n\n\
            Exit codes: 0 stopped by Ctrl-C, 1 failed, 2 wrong usage.")]
    Tail(EventsTailArguments),
    /// Erase events for good: one, or all that match
    #[command(after_help = "Examples:\n  \
            hookgate events erase 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12\n  \
            hookgate events erase --text ann@example.com --dry-run     only count what mentions a person\n  \
            hookgate events erase --field /customer/email=ann@example.com\n  \
            hookgate events erase --route stripe --before 90d --yes --json\n\n\
            Erases bodies, headers, ids, deliveries and responses from the store, and what the gate has in memory. Open\n\
            deliveries end. Dedup keys stay, so that a retry of the sender is no new event. Backups, logs and apps are not\n\
            reached.\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage.")]
    Erase(EventsEraseArguments),
}

#[derive(Args)]
pub(super) struct EventsListArguments {
    #[command(flatten)]
    paging: ListOptions,
    #[command(flatten)]
    filters: EventFilters,
    /// Text in the body, type, ids or request target, in upper or lower case; slow, since it reads each body
    #[arg(long, value_name = "TEXT", help_heading = filters::EVENTS)]
    text: Option<String>,
    #[command(flatten)]
    admin: AdminOptions,
}

#[derive(Args)]
pub(super) struct EventsShowArguments {
    /// Event id, from the column EVENT of `hookgate events list`
    uid: String,
    /// Print one JSON document instead of text
    #[arg(long, conflicts_with = "body")]
    json: bool,
    /// Print only the body, byte for byte
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

#[derive(Args)]
pub(super) struct EventsTailArguments {
    /// Print one JSON document per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filters: EventFilters,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Runs a subcommand and returns its exit code.
pub(super) fn run(command: EventsCommand) -> ExitCode {
    failure::end(match command {
        EventsCommand::List(arguments) => arguments
            .admin
            .client()
            .and_then(|client| block_on(list_events(&client, &arguments))),
        EventsCommand::Show(arguments) => arguments
            .admin
            .client()
            .and_then(|client| block_on(show(&client, &arguments))),
        EventsCommand::Tail(arguments) => arguments
            .admin
            .client()
            .and_then(|client| block_on(tail(&client, &arguments))),
        EventsCommand::Erase(arguments) => erase::erase(&arguments),
    })
}

const LISTING: ListDefinition<EventList, EventDocument> = ListDefinition {
    doing: "listing events",
    path: LIST_EVENTS.path,
    open: |part| (part.events, part.next),
    close: |events, next| EventList { events, next },
    table,
};

async fn list_events(
    client: &AdminClient,
    arguments: &EventsListArguments,
) -> Result<(), CommandFailure> {
    let mut pairs = arguments.filters.pairs();
    pairs.extend(arguments.text.clone().map(|text| ("text", text)));
    LISTING.print(client, pairs, &arguments.paging).await
}

const HEADER: [&str; 7] = [
    "RECEIVED",
    "AGE",
    "EVENT",
    "ROUTE",
    "TYPE",
    "PROVIDER'S ID",
    "DELIVERIES",
];

fn table(events: &[EventDocument], is_first: bool) -> String {
    if events.is_empty() && is_first {
        return "no event matches\n".to_owned();
    }
    let mut table = list(match is_first {
        true => &HEADER,
        false => &[],
    });
    for event in events {
        table.add_row(row(event));
    }
    lines(table)
}

fn row(event: &EventDocument) -> [String; 7] {
    [
        times::exact(event.received),
        times::relative(event.received),
        event.uid.clone(),
        clean(&event.route),
        clean_or_dash(event.event_type.as_deref()),
        clean_or_dash(event.event_id.as_deref()),
        counts(&event.deliveries),
    ]
}

/// Formats counts of deliveries, such as `2 delivered, 1 dead`; a dash if there are no deliveries.
pub(super) fn counts(counts: &StateCounts) -> String {
    let some = counts
        .with_names()
        .into_iter()
        .filter(|(_, count)| *count > 0);
    let some: Vec<_> = some
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    match some.is_empty() {
        true => "-".to_owned(),
        false => some.join(", "),
    }
}

async fn show(client: &AdminClient, arguments: &EventsShowArguments) -> Result<(), CommandFailure> {
    let doing = format!("showing event `{}`", arguments.uid);
    let uid = &[arguments.uid.as_str()];
    // The body has a resource of its own: it may be large, and need not be text.
    if arguments.body {
        let body = client.bytes(&doing, &SHOW_EVENT_BODY.at(uid)).await?;
        return write_body(&body).map_err(|failure| failure.doing(&doing));
    }
    let event: EventDetail = client.get(&doing, &SHOW_EVENT.at(uid)).await?;
    if arguments.json {
        print_json(&event);
    } else {
        print(&text(&event));
    }
    Ok(())
}

/// Writes a body to standard output: byte for byte to a file or pipe, but escaped to a terminal.
fn write_body(body: &Bytes) -> Result<(), CommandFailure> {
    let mut out = std::io::stdout();
    if !out.is_terminal() {
        let _ = out.write_all(body).and_then(|()| out.flush());
        return Ok(());
    }
    let text = std::str::from_utf8(body).map_err(|_| {
        CommandFailure::new("the body is not text, so a terminal cannot show it")
            .help("redirect it to a file or a program: `--body > FILE`")
    })?;
    // `clean` would escape a tab, which is common in formatted JSON.
    let shown = text.lines().map(|line| clean(&line.replace('\t', "    ")));
    for line in shown {
        print(&format!("{line}\n"));
    }
    Ok(())
}

fn text(event: &EventDetail) -> String {
    // With `keep_body` off, the store deletes the body after the last delivery, and the digest remains.
    // A token without payload gets no digest either.
    let is_hidden = event.body.sha256.is_empty();
    let body = match (event.body.is_kept, event.body.size) {
        (true, Some(size)) if is_hidden => format!("{size} bytes, which this token may not see"),
        (true, Some(size)) => format!("{size} bytes; `--body` prints it"),
        _ => "deleted after its deliveries ended".to_owned(),
    };
    let over = if event.tls { "over TLS" } else { "without TLS" };
    let host = clean_or_dash(event.host.as_deref());
    let rows = [
        ("event", event.uid.clone()),
        ("route", clean(&event.route)),
        ("provider", clean(&event.provider)),
        ("type", clean_or_dash(event.event_type.as_deref())),
        ("provider's id", clean_or_dash(event.event_id.as_deref())),
        ("webhook-id", clean(&event.webhook_id)),
        ("received", times::both(event.received)),
        ("from", format!("{} {over}", event.source)),
        (
            "request",
            format!("{} {}", event.method, clean(&event.target)),
        ),
        ("host", host),
        ("body", body),
        (
            "sha-256",
            clean_or_dash((!is_hidden).then_some(event.body.sha256.as_str())),
        ),
    ];
    let mut out = facts(&rows);
    out.push_str(&format!("\n{}\n", styled(STRONG, "Headers")));
    for header in &event.headers {
        let value = match &header.value {
            Some(value) => clean(value),
            None => styled(FAINT, "(not shown: may be a secret)"),
        };
        out.push_str(&format!("  {}: {value}\n", header.name));
    }
    out.push_str(&format!("\n{}\n", styled(STRONG, "Deliveries")));
    out.push_str(&deliveries::table(&event.deliveries, true));
    out
}

async fn tail(client: &AdminClient, arguments: &EventsTailArguments) -> Result<(), CommandFailure> {
    let doing = "following events";
    let path = with_query(TAIL_EVENTS.path, &arguments.filters.pairs());
    let mut tail = client.lines(doing, &path).await?;
    // One future for the whole loop, so that a Ctrl-C between two lines is not lost.
    let mut ended = pin!(interrupted()?);
    if !arguments.json {
        anstream::eprintln!("{}", styled(FAINT, "waiting for events; Ctrl-C stops it"));
    }
    loop {
        let line = tokio::select! {
            line = tail.next() => line.map_err(|failure| failure.doing(doing))?,
            _ = &mut ended => return Ok(()),
        };
        let Some(line) = line else {
            return Err(CommandFailure::new("the gate ended the stream")
                .doing(doing)
                .help("the gate stopped, or its store failed: see its log"));
        };
        let text = String::from_utf8_lossy(&line);
        let shown = match arguments.json {
            true => format!("{text}\n"),
            false => tail_line(&text),
        };
        // The reader closed the pipe.
        if !print(&shown) {
            return Ok(());
        }
    }
}

fn tail_line(line: &str) -> String {
    match serde_json::from_str::<EventDocument>(line) {
        Ok(event) => {
            let [received, _, uid, route, event_type, id, _] = row(&event);
            format!(
                "{} {uid} {} {event_type} {id} {} bytes, {}\n",
                styled(FAINT, &received),
                styled(STRONG, &route),
                event.body_size,
                deliveries_made(&event.deliveries),
            )
        }
        // Not an event: the gate sends `{"missed":true}` where it skipped some to keep up.
        Err(_) => styled(
            FAINT,
            "more events arrived than the stream can show; `hookgate events list` shows them\n",
        ),
    }
}

fn deliveries_made(counts: &StateCounts) -> String {
    let all = counts
        .with_names()
        .into_iter()
        .map(|(_, count)| count)
        .sum();
    crate::cli::confirm::deliveries(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::documents::{BodySummary, DeliveryStateName, HeaderDocument};
    use crate::cli::testing::{self, UID, WHEN, delivery, plain};

    fn event(event_type: &str) -> EventDocument {
        EventDocument {
            uid: UID.to_owned(),
            route: "github".to_owned(),
            provider: "github".to_owned(),
            event_id: None,
            event_type: Some(event_type.to_owned()),
            webhook_id: "msg_1".to_owned(),
            received: WHEN,
            body_size: 17,
            deliveries: testing::counts(2, 1),
        }
    }

    #[test]
    fn a_list_has_one_line_for_each() {
        // Text of a sender moves no cursor.
        let shown = plain(&table(&[event("push"), event("a\u{1b}[2Jb")], true));
        let expected = format!(
            "RECEIVED AGE EVENT ROUTE TYPE PROVIDER'S ID DELIVERIES\n\
             2025-11-24 16:00:00Z AGE ago {UID} github push - 2 delivered, 1 dead\n\
             2025-11-24 16:00:00Z AGE ago {UID} github a\\u{{1b}}[2Jb - 2 delivered, 1 dead\n"
        );
        assert_eq!(shown, expected);
        assert_eq!(plain(&table(&[], true)), "no event matches\n");
        assert_eq!(table(&[], false).trim(), "");
    }

    #[test]
    fn a_part_that_follows_has_no_header() {
        let shown = plain(&table(&[event("push")], false));
        assert!(shown.starts_with("2025-11-24"), "{shown}");
    }

    #[test]
    fn lines_of_a_tail() {
        let line = serde_json::to_string(&event("push")).unwrap();
        let expected = format!("2025-11-24 16:00:00Z {UID} github push - 17 bytes, 3 deliveries\n");
        assert_eq!(plain(&tail_line(&line)), expected);
        let missed = plain(&tail_line("{\"missed\":true}"));
        assert!(missed.starts_with("more events arrived"), "{missed}");
    }

    #[test]
    fn one_event_is_shown_whole() {
        let header = |name: &str, value: Option<&str>| HeaderDocument {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        let event = EventDetail {
            uid: UID.to_owned(),
            route: "github".to_owned(),
            provider: "github".to_owned(),
            event_id: Some("evt_1".to_owned()),
            event_type: None,
            webhook_id: "msg_1".to_owned(),
            received: WHEN,
            source: "192.0.2.7".to_owned(),
            tls: true,
            method: "POST".to_owned(),
            target: "/github".to_owned(),
            host: None,
            headers: vec![
                header("content-type", Some("application/json")),
                header("authorization", None),
            ],
            body: BodySummary {
                is_kept: true,
                size: Some(17),
                sha256: "07".repeat(32),
            },
            deliveries: vec![delivery(1, DeliveryStateName::Dead)],
        };
        let expected = format!(
            "event {UID}\nroute github\nprovider github\ntype -\nprovider's id evt_1\nwebhook-id msg_1\n\
             received 2025-11-24 16:00:00Z (AGE ago)\nfrom 192.0.2.7 over TLS\nrequest POST /github\nhost -\n\
             body 17 bytes; `--body` prints it\nsha-256 {}\n\nHeaders\n  content-type: application/json\n  \
             authorization: (not shown: may be a secret)\n\nDeliveries\n\
             ID CREATED AGE DESTINATION TYPE STATE ATTEMPTS LAST ATTEMPT\n\
             1 2025-11-24 16:00:00Z AGE ago github/ci push dead 2 503 status\n",
            "07".repeat(32)
        );
        assert_eq!(plain(&text(&event)), expected);
    }
}
