//! The command line of `hookgate send`.

use std::num::NonZeroU32;

use clap::Args;

use crate::cli::exchange::ConnectOptions;
use crate::cli::send::defect::RequestDefect;
use crate::cli::signer::SignerOptions;

#[derive(Args)]
pub(in crate::cli) struct SendArguments {
    /// URL to send to; not needed with `--config`, which has the URL of the route
    pub(super) url: Option<String>,
    #[command(flatten)]
    pub(super) signer: SignerOptions,
    /// Event type, from `--list`
    #[arg(long = "type", value_name = "TYPE")]
    pub(super) event_type: Option<String>,
    /// Body to send instead of a payload: text, `@FILE`, or `@-` for standard input
    #[arg(long, value_name = "TEXT")]
    pub(super) data: Option<String>,
    /// Value to set in the JSON body, by its path: `data.object.amount=500`
    #[arg(long, value_name = "PATH=VALUE")]
    pub(super) set: Vec<String>,
    /// Header to add, or to replace if the provider sends it: `Name: value`
    #[arg(long, value_name = "HEADER")]
    pub(super) header: Vec<String>,
    /// List the events that can be sent
    #[arg(long)]
    pub(super) list: bool,
    /// Send an invalid request on purpose; the command succeeds if the receiver rejects it
    #[arg(long, value_name = "KIND", value_enum)]
    pub(super) bad: Option<RequestDefect>,
    /// Body size for `--bad oversize` (default: one byte more than the route or provider allows, else 2 MiB)
    #[arg(long, value_name = "BYTES")]
    pub(super) size: Option<usize>,
    /// Number of events; each has its own ids and timestamps
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) count: NonZeroU32,
    /// Maximum number of events per second
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<NonZeroU32>,
    /// Maximum number of requests in flight
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) concurrency: NonZeroU32,
    /// Print the signed request as a file instead of sending it
    #[arg(long, conflicts_with_all = ["json", "count"])]
    pub(super) print: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) connect: ConnectOptions,
}
