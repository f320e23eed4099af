//! The command line: one file per command. Exit codes: 0 done, 1 failed, 2 wrong usage or config.
//!
//! Commands talk to the person at the terminal; what they do is done by the rooms below.

mod admin_address;
mod admin_client;
mod ask;
mod capture;
pub mod check;
mod completions;
pub mod config;
mod config_file;
mod deliveries;
mod demo;
mod destinations;
mod door;
mod events;
mod exchange;
mod explain;
mod failure;
mod filters;
mod listen;
mod listing;
pub mod output;
mod promote;
mod providers;
mod replay;
mod replay_file;
mod run;
mod secrets;
mod send;
mod signer;
mod status;
mod store;
#[cfg(test)]
mod testing;
mod times;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Wrong usage or a config that cannot be used; clap ends with the same code.
pub const EXIT_USAGE: u8 = 2;

#[derive(Parser)]
#[command(
    name = "hookgate",
    version,
    about = "An edge proxy that verifies webhooks and forwards only the genuine ones",
    long_about = "An edge proxy that verifies webhooks and forwards only the genuine ones.\n\n\
        hookgate stands in front of your app, terminates TLS, and decides for each webhook whether it is \
        genuine, fresh, allowed and new. One TOML file says how; one binary does it.",
    after_help = "Examples:\n  \
        hookgate demo                                           see what it does; needs nothing\n  \
        hookgate check --config /etc/hookgate/hookgate.toml     see what is wrong with a config\n  \
        hookgate run --config /etc/hookgate/hookgate.toml       run it\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage or config.",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gate
    #[command(
        long_about = "Run the gate in the foreground, with one config file.\n\n\
            SIGHUP reloads the file: all of it or, where it has an error, nothing. SIGTERM and SIGINT end the process \
            after what is in flight has been finished.",
        after_help = "Examples:\n  \
            hookgate run --config /etc/hookgate/hookgate.toml\n  \
            kill -HUP $(pidof hookgate)     reload; under systemd: systemctl reload hookgate\n\n\
            Exit codes: 0 ended by a signal, 1 failed, 2 the config cannot be used."
    )]
    Run {
        /// The config file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show everything that is wrong with a config file
    #[command(after_help = "Examples:\n  \
            hookgate check --config /etc/hookgate/hookgate.toml\n\n\
            Exit codes: 0 no errors, 2 errors.")]
    Check {
        /// The config file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show what the gate does: real signed events and attacks through the real gate, on loopback
    #[command(
        long_about = "Show what the gate does, with real TLS and real signatures, on loopback only.\n\n\
            Makes a throw-away certificate, starts a small app and the gate in front of it, sends signed Stripe, \
            GitHub, Shopify, Slack and Standard Webhooks events, then attacks, and prints what became of each. Then \
            it stays up and prints curl commands to try by hand.",
        after_help = "Examples:\n  \
            hookgate demo          look, then try by hand; Ctrl-C ends it\n  \
            hookgate demo --once   look and end\n\n\
            Exit codes: 0 all lines of the table are as they should be, 1 some are not."
    )]
    Demo {
        /// End after the table
        #[arg(long)]
        once: bool,
    },
    /// Say why a request was refused: which check, what it expected and found, what is behind it, how to mend it
    #[command(
        long_about = "Say why a request was refused: which check, what it expected and found, what is behind it, how to mend it.\n\n\
            Runs the gate's own checks over the request, and where the signature is the matter, tries what usually goes \
            wrong, one thing after the other, until the real verification passes. No secret is ever printed.\n\n\
            The request is a file as `hookgate capture` and `hookgate listen --save` write it, or the id of a request that \
            a running gate has refused and kept (`keep_rejected`).",
        after_help = "Examples:\n  \
            hookgate explain --config hookgate.toml request.http                    by the route that host and path lead to\n  \
            hookgate explain --config hookgate.toml --route stripe request.http     by this route\n  \
            hookgate explain 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12                   what the running gate has refused\n\n\
            Exit codes: 0 it is refused, and that was explained; 1 it would pass; 2 wrong usage or config, or no such request."
    )]
    Explain(explain::Arguments),
    /// Save a request that a running gate knows as a file, for `explain` and `replay-file`
    #[command(
        long_about = "Save a request that a running gate knows as a file, for `explain` and `replay-file`.\n\n\
            That is an event of the inbox, or one of the last refused requests (`keep_rejected`). The body stands in the file \
            byte for byte. What may be a sender's token is masked, and the file says where; of a refused request the first \
            64 KiB of the body are there at most. `hookgate listen --save` writes the same kind of file.",
        after_help = "Examples:\n  \
            hookgate capture 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12 > event.http\n  \
            hookgate capture 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12 --out event.http     for its owner only\n  \
            hookgate replay-file event.http --to http://127.0.0.1:9000                 send it again\n  \
            hookgate explain --config hookgate.toml event.http                         why it is refused\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage."
    )]
    Capture(capture::Arguments),
    /// List the providers that hookgate knows, and show one in full
    #[command(
        args_conflicts_with_subcommands = true,
        long_about = "List the providers that hookgate knows, one line each.\n\n\
            PROOF says what shows that a provider's file is right: vectors that the provider's own library or \
            documentation made, or its documentation only.",
        after_help = "Examples:\n  \
            hookgate providers                     who is known\n  \
            hookgate providers show stripe         what is signed and what is not, and a route to paste\n  \
            hookgate providers show stripe --json  the same for a program\n  \
            hookgate providers refresh-ranges      the address ranges that they publish today\n\n\
            Exit codes: 0 done, 2 no such provider."
    )]
    Providers {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        command: Option<ProvidersCommand>,
    },
    /// Show how a running gate does, in one screen
    #[command(
        long_about = "Show how a running gate does, in one screen: what needs a person, every route with its last hour, \
            destinations with what waits there, certificates with their ends.",
        after_help = "Examples:\n  \
            hookgate status                         once\n  \
            hookgate status --watch                 again every two seconds; Ctrl-C ends it\n  \
            hookgate status --json | jq .status.needs\n\n\
            Exit codes: 0 all is well, 1 something needs a person or the gate does not answer, 2 wrong usage."
    )]
    Status(status::Arguments),
    /// Look at the events in the inbox of a running gate
    Events {
        #[command(subcommand)]
        command: events::EventsCommand,
    },
    /// Look at deliveries in the inbox of a running gate; retry, cancel, discard them
    Deliveries {
        #[command(subcommand)]
        command: deliveries::DeliveriesCommand,
    },
    /// Deliver old events again
    #[command(
        args_conflicts_with_subcommands = true,
        long_about = "Deliver old events again: a new delivery for each one that matches the filters.\n\n\
            Shows how many that are and asks first. The gate works it off by itself, slowly enough that live traffic goes \
            first, and goes on with it after a restart. Events whose body was not kept are left out.",
        after_help = "Examples:\n  \
            hookgate replay --event 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12      one event, to all its destinations\n  \
            hookgate replay --destination github/ci --since 2h                what one destination got in two hours\n  \
            hookgate replay --route stripe --type 'invoice.*' --dry-run       only count\n  \
            hookgate replay list                                              how far they are\n  \
            hookgate replay pause 3                                           stop one\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage."
    )]
    Replay {
        #[command(flatten)]
        begin: replay::Begin,
        #[command(subcommand)]
        command: Option<replay::ReplayCommand>,
    },
    /// Look at the destinations of a running gate; pause and resume them
    Destinations {
        #[command(subcommand)]
        command: destinations::DestinationsCommand,
    },
    /// Look at the secrets of a running gate: when they end, and which still match
    Secrets {
        #[command(subcommand)]
        command: secrets::SecretsCommand,
    },
    /// Say what a route in monitor mode would have refused, and which line of the config to change
    #[command(
        long_about = "Say what a route in monitor mode would have refused in the last 24 hours, the last of these requests, and \
            which line of the config to change. It changes nothing.\n\n\
            Counts live in the gate's memory: they outlive a reload, not a restart.",
        after_help = "Examples:\n  \
            hookgate promote stripe\n  \
            hookgate promote stripe --config hookgate.toml    the line of this file\n  \
            hookgate promote stripe --json | jq .would_refuse\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage."
    )]
    Promote(promote::Arguments),
    /// Check, copy or export the file of a store, beside a running gate or without one
    Store {
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// Send a provider's events, signed as it signs them, or wrong on purpose
    #[command(
        long_about = "Send a provider's events to any URL, signed as it signs them.\n\n\
            Each event is a new one: its ids and times are made when it is sent. With `--bad` it is wrong on purpose, to see \
            that it is refused. `--list` shows what can be sent.",
        after_help = "Examples:\n  \
            hookgate send --list\n  \
            hookgate send https://localhost:8443/stripe --provider stripe --type invoice.paid --secret-env STRIPE_SECRET\n  \
            hookgate send --config hookgate.toml --route github --type push --insecure\n  \
            hookgate send http://127.0.0.1:8080/in --provider github --secret-file secret --data @push.json\n  \
            hookgate send ... --set data.object.amount_paid=500\n  \
            hookgate send ... --bad timestamp            signed an hour ago: has to be refused\n  \
            hookgate send ... --count 1000 --concurrency 20 --rate 200\n  \
            hookgate send ... --print > event.http       for `hookgate replay-file`\n\n\
            Exit codes: 0 all were answered 2xx, or with `--bad` refused with 4xx (a replay: refused, or known as a \
            duplicate); 1 some were not; 2 wrong usage."
    )]
    Send(Box<send::Arguments>),
    /// Receive webhooks while developing: print them, verify them, answer as told
    #[command(
        long_about = "Receive webhooks while developing.\n\n\
            Prints each request. With a provider and its secret it says whether the request is genuine, or why not. \
            What came last (1000 requests, 64 MiB at most) is given by `GET /_events` and forgotten by `DELETE /_events`, \
            for whoever asks by address or as `localhost`.",
        after_help = "Examples:\n  \
            hookgate listen\n  \
            hookgate listen --provider stripe --secret-env STRIPE_SECRET\n  \
            hookgate listen --respond sequence:500,500,200      fails twice, then takes it\n  \
            hookgate listen --respond flaky:0.3                 fails three times out of ten\n  \
            hookgate listen --save requests --count 1           keep one as a file, and end\n  \
            curl http://127.0.0.1:8080/_events\n\n\
            Exit codes: 0 ended by Ctrl-C or `--count`, 1 failed, 2 wrong usage."
    )]
    Listen(Box<listen::Arguments>),
    /// Send a request that was kept as a file again, byte for byte
    #[command(
        long_about = "Send a request that was kept as a file again.\n\n\
            Headers and body go out as they stand in the file. An old signature is refused by a receiver that looks at its \
            time: `--resign` signs anew, with the time of now.",
        after_help = "Examples:\n  \
            hookgate replay-file requests/1764000000000-000001.http --to http://127.0.0.1:8080\n  \
            hookgate replay-file event.http --to https://localhost:8443/stripe --insecure --resign --provider stripe \\\n      \
            --secret-env STRIPE_SECRET\n\n\
            Exit codes: 0 it was answered 2xx, 1 it was not, 2 wrong usage."
    )]
    ReplayFile(Box<replay_file::Arguments>),
    /// Describe the config file
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a script that completes hookgate's commands in your shell
    #[command(after_help = "Examples:\n  \
            hookgate completions bash > /etc/bash_completion.d/hookgate\n  \
            hookgate completions zsh > \"${fpath[1]}/_hookgate\"\n  \
            hookgate completions fish > ~/.config/fish/completions/hookgate.fish")]
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum ProvidersCommand {
    /// Show one provider: how it signs, what is not signed, how it retries, and a route to paste
    #[command(after_help = "Examples:\n  \
            hookgate providers show github\n\n\
            Exit codes: 0 done, 2 no such provider.")]
    Show {
        /// The provider's id, as in the list
        id: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Ask providers for the address ranges that they publish, and keep them for the gate
    #[command(
        long_about = "Ask providers for the address ranges that they publish, and keep them for the gate.\n\n\
            What is kept stands in the state folder, where a gate takes it up when it starts or is reloaded. A gate \
            with `refresh_ranges = \"24h\"` in `[server]` does the same by itself and needs no command.\n\n\
            An answer that fails, is empty, holds addresses from which nobody sends, or differs absurdly from what was \
            known changes nothing. `--accept` takes one that only differs.",
        after_help = "Examples:\n  \
            hookgate providers refresh-ranges            all\n  \
            hookgate providers refresh-ranges github     one\n  \
            systemctl reload hookgate                    use them\n\n\
            Exit codes: 0 all are up to date, 1 some stayed as they were, 2 no such provider."
    )]
    RefreshRanges(providers::refresh::Arguments),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the config file, for editors
    #[command(after_help = "Examples:\n  \
            hookgate config schema > hookgate.schema.json\n  \
            echo '#:schema ./hookgate.schema.json' | cat - hookgate.toml     what editors look for")]
    Schema,
}

/// Reads the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run::run(&config),
        Command::Check { config, json } => check::run(&config, json),
        Command::Demo { once } => demo::run(once),
        Command::Providers { json, command } => match command {
            None => providers::list(json),
            Some(ProvidersCommand::Show { id, json }) => providers::show(&id, json),
            Some(ProvidersCommand::RefreshRanges(arguments)) => providers::refresh::run(arguments),
        },
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Capture(arguments) => capture::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Events { command } => events::run(command),
        Command::Deliveries { command } => deliveries::run(command),
        Command::Replay { begin, command } => replay::run(&begin, command),
        Command::Destinations { command } => destinations::run(command),
        Command::Secrets { command } => secrets::run(command),
        Command::Promote(arguments) => promote::run(&arguments),
        Command::Store { command } => store::run(command),
        Command::Send(arguments) => send::run(&arguments),
        Command::Listen(arguments) => listen::run(&arguments),
        Command::ReplayFile(arguments) => replay_file::run(&arguments),
        Command::Config {
            command: ConfigCommand::Schema,
        } => config::print_schema(),
        Command::Completions { shell } => {
            completions::print::<Arguments>(shell);
            ExitCode::SUCCESS
        }
    }
}
