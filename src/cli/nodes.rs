//! `hookgate nodes`: lists the nodes that share the store of a running gate.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Cell, Color};

use crate::admin::documents::{NodeDocument, NodeList};
use crate::admin::resources::LIST_NODES;
use crate::cli::admin_client::AdminClient;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::block_on;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{BAD, clean, lines, list, print, print_json, styled};
use crate::cli::times;

#[derive(Args)]
pub(super) struct NodesArguments {
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Runs `hookgate nodes`. Exits with 1 where a node has a problem.
pub(super) fn run(arguments: &NodesArguments) -> ExitCode {
    let looked = arguments
        .admin
        .client()
        .and_then(|client| block_on(show(&client, arguments.json)));
    match looked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => failure::end(Err(failure)),
    }
}

async fn show(client: &AdminClient, json: bool) -> Result<bool, CommandFailure> {
    let found: NodeList = client.get("listing nodes", LIST_NODES.path).await?;
    match json {
        true => print_json(&found),
        false => {
            print(&text(&found.nodes));
        }
    }
    Ok(found.nodes.iter().all(|node| node.warnings.is_empty()))
}

fn text(nodes: &[NodeDocument]) -> String {
    let mut table = list(&[
        "NODE",
        "STATE",
        "VERSION",
        "STARTED",
        "LAST BEAT",
        "CONFIG",
        "CLOCK",
        "REQUESTS NOW",
        "ATTEMPTS NOW",
        "BREAKERS",
    ]);
    for node in nodes {
        let state = match (node.alive, node.this) {
            (true, true) => Cell::new("alive, asked"),
            (true, false) => Cell::new("alive"),
            (false, _) => Cell::new("ended").fg(Color::DarkGrey),
        };
        table.add_row(vec![
            Cell::new(clean(&node.name)),
            state,
            Cell::new(clean(&node.version)),
            Cell::new(times::relative(node.started)),
            Cell::new(times::relative(node.ended.unwrap_or(node.last_beat))),
            Cell::new(clean(&node.config)),
            Cell::new(format!("{:+} ms", node.clock_offset_ms)),
            Cell::new(node.in_flight),
            Cell::new(node.attempts_in_flight),
            Cell::new(match node.open_breakers.is_empty() {
                true => "-".to_owned(),
                false => clean(&node.open_breakers.join(", ")),
            }),
        ]);
    }
    let warnings = nodes.iter().flat_map(|node| &node.warnings);
    let warnings: String = warnings
        .map(|text| format!("{} {}\n", styled(BAD, "!"), clean(text)))
        .collect();
    format!("{}{warnings}", lines(table))
}
