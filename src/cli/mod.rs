//! The command line: one file for each command, and the texts of `--help`.
//!
//! A command parses its arguments, calls the modules below, and prints the result. It holds no logic of the gate
//! itself. Exit codes: 0 done, 1 failed, 2 wrong usage or config.

mod admin_address;
mod admin_client;
mod admin_options;
mod alerts;
mod capture;
pub(crate) mod check;
mod check_acme;
mod check_sockets;
mod completions;
pub(crate) mod config;
mod config_file;
mod config_option;
mod confirm;
mod deliveries;
mod demo;
mod destinations;
mod erase;
mod events;
mod exchange;
mod explain;
mod failure;
mod filters;
mod listen;
mod listing;
mod man;
mod nodes;
pub(crate) mod output;
mod promote;
mod providers;
mod reload;
mod replay;
mod replay_file;
mod run;
mod secrets;
mod send;
mod signer;
mod status;
mod store;
mod store_copy;
mod store_database;
mod store_migrate;
#[cfg(test)]
mod testing;
mod times;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::config_option::ConfigOption;

#[derive(Parser)]
#[command(
    name = "hookgate",
    version,
    about = "An edge proxy that verifies webhooks and forwards only the genuine ones",
    long_about = "An edge proxy that verifies webhooks and forwards only the genuine ones.\n\n\
        hookgate runs in front of your app. It terminates TLS and checks each webhook: is it genuine (signature), \
        fresh (timestamp), allowed (source, rate, size) and new (event id)? Only webhooks that pass reach your app, \
        byte for byte. One TOML file configures it; `hookgate check` validates that file.",
    after_help = "Examples:\n  \
        hookgate demo                                           try it: no config, no network\n  \
        hookgate providers show stripe                          how Stripe signs, and a route to paste\n  \
        hookgate check --config /etc/hookgate/hookgate.toml     validate a config\n  \
        hookgate run --config /etc/hookgate/hookgate.toml       run the gate\n  \
        hookgate status                                         see how a running gate does\n\n\
        `hookgate COMMAND --help` has examples for each command.\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage or config.",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Run the gate
    #[command(
        long_about = "Run the gate in the foreground, with one config file and those that it includes.\n\n\
            SIGHUP reloads all files. A file with an error changes nothing: the gate keeps its current config. SIGUSR2 \
            starts the program again, and the new process takes over without a refused connection. SIGTERM and SIGINT \
            stop the gate after it has finished the requests in flight.",
        after_help = "Examples:\n  \
            hookgate run --config /etc/hookgate/hookgate.toml\n  \
            kill -HUP $(pidof hookgate)     reload the config; under systemd: systemctl reload hookgate\n  \
            kill -USR2 $(pidof hookgate)    run the program's file again, for example after an upgrade\n\n\
            Exit codes: 0 stopped by a signal, 1 failed, 2 the config cannot be used."
    )]
    Run {
        #[command(flatten)]
        config: ConfigOption,
    },
    /// Reload the config of a running service, or upgrade it if its program has changed
    #[command(
        long_about = "Reload the config of a running service, or upgrade it if its program has changed.\n\n\
            If another file has the path of the program by now, the gate starts it. The new process takes over the \
            sockets and the store as soon as it is ready, and the old one finishes its requests in flight. If the new \
            process fails, the old one goes on, and this command fails.\n\n\
            The command connects to the control socket in the runtime folder of the service, which is private to it. \
            `systemctl reload hookgate` runs this command.",
        after_help = "Examples:\n  \
            systemctl reload hookgate\n  \
            hookgate reload --socket /run/hookgate/control.sock\n\n\
            Exit codes: 0 done, 1 failed, and the gate runs as before, 2 wrong usage."
    )]
    Reload(reload::ReloadArguments),
    /// Validate a config file and show all errors at once
    #[command(
        long_about = "Validate a config file and show all errors at once, each with its line and a suggested fix.\n\n\
            It also checks what the file refers to on this machine: certificates and keys, secrets, the names of \
            upstreams, and the PostgreSQL database of the store, to which it connects. It does not need a running \
            gate and changes nothing.",
        after_help = "Examples:\n  \
            hookgate check --config /etc/hookgate/hookgate.toml\n  \
            hookgate check --config hookgate.toml --offline   without names and databases of the network\n  \
            hookgate check --config hookgate.toml --json      for a program, such as a CI job\n\n\
            Exit codes: 0 no errors (there may be warnings), 2 errors."
    )]
    Check {
        #[command(flatten)]
        config: ConfigOption,
        /// Print one JSON document instead of text
        #[arg(long)]
        json: bool,
        /// Resolve no names and connect to no database
        #[arg(long)]
        offline: bool,
    },
    /// Try the gate: send signed events and attacks through it, on loopback only
    #[command(
        long_about = "Try the gate with real TLS and real signatures, on loopback only.\n\n\
            The demo makes a temporary certificate and starts a small app with the gate in front of it. It sends \
            signed Stripe, GitHub, Shopify, Slack and Standard Webhooks events, then attacks, and prints the verdict \
            for each. Then it stays up and prints curl commands to try by hand.",
        after_help = "Examples:\n  \
            hookgate demo          print the table, then wait for your own requests; Ctrl-C stops it\n  \
            hookgate demo --once   print the table and exit\n\n\
            Exit codes: 0 all lines of the table are as they should be, 1 some are not."
    )]
    Demo {
        /// Exit after the table
        #[arg(long)]
        once: bool,
    },
    /// Explain why a request was rejected: the check, what it expected and found, the cause, and how to fix it
    #[command(
        long_about = "Explain why a request was rejected: the check, what it expected and found, the cause, and how \
            to fix it.\n\n\
            It runs the same checks as the gate. If the signature is invalid, it tries the usual causes one by one \
            (another secret, a changed body, another URL) until the real verification passes. It never prints a \
            secret.\n\n\
            The request is a file that `hookgate capture` or `hookgate listen --save` wrote, or the id of a request \
            that a running gate rejected and kept (`keep_rejected`). The id is `request_id` in the log line and \
            `Hookgate-Request-Id` in the response.",
        after_help = "Examples:\n  \
            hookgate explain 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12                   a request that the running gate \
            rejected\n  \
            hookgate explain --config hookgate.toml request.http                    a file, by the route that host \
            and path match\n  \
            hookgate explain --config hookgate.toml --route stripe request.http     a file, by this route\n\n\
            Exit codes: 0 rejected, and the reason was explained; 1 the request would pass; 2 wrong usage or config, \
            or no such request."
    )]
    Explain(explain::ExplainArguments),
    /// Save a request from a running gate as a file, for `explain` and `replay-file`
    #[command(
        long_about = "Save a request from a running gate as a file, for `explain` and `replay-file`.\n\n\
            The request is an event in the inbox, or one of the last rejected requests (`keep_rejected`). The file \
            holds the body byte for byte. Header values that may be tokens are masked, and the file lists them. The \
            file of a rejected request holds at most the first 64 KiB of the body. `hookgate listen --save` writes \
            the same format.",
        after_help = "Examples:\n  \
            hookgate capture 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12 > event.http\n  \
            hookgate capture 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12 --out event.http     readable by you only\n  \
            hookgate replay-file event.http --to http://127.0.0.1:9000                 send it again\n  \
            hookgate explain --config hookgate.toml event.http                         explain why it is rejected\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage."
    )]
    Capture(capture::CaptureArguments),
    /// List the supported providers, or show one in detail
    #[command(
        args_conflicts_with_subcommands = true,
        long_about = "List the supported providers, one line each.\n\n\
            ID is the value for `provider` in a route. PROOF is how hookgate tests its implementation: with test \
            vectors from the provider's own library or documentation, or by the documentation only.",
        after_help = "Examples:\n  \
            hookgate providers                     list all providers\n  \
            hookgate providers show stripe         what is signed and what is not, and a route to paste\n  \
            hookgate providers show stripe --json  the same for a program\n  \
            hookgate providers refresh-ranges      download the address ranges that providers publish\n\n\
            Exit codes: 0 done, 2 no such provider."
    )]
    Providers {
        /// Print one JSON document instead of text
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        command: Option<ProvidersCommand>,
    },
    /// Show the state of a running gate on one screen
    #[command(
        long_about = "Show the state of a running gate on one screen: problems that need attention, each route with \
            its last hour, each destination with its pending deliveries, and the expiry of certificates.",
        after_help = "Examples:\n  \
            hookgate status                            show it once\n  \
            hookgate status --watch                    refresh every two seconds; Ctrl-C stops it\n  \
            hookgate status --json | jq .status.needs  only what needs attention, for a program\n\n\
            Exit codes: 0 all is well, 1 something needs attention or the gate does not respond, 2 wrong usage."
    )]
    Status(status::StatusArguments),
    /// List the nodes that share the store of a running gate
    #[command(
        long_about = "List the nodes that share the store of a running gate: which are alive, their versions, configs, \
            clocks and load. With an SQLite file the list has the gate itself only.",
        after_help = "Examples:\n  \
            hookgate nodes\n  \
            hookgate nodes --json | jq '.nodes[] | select(.alive) | .name'\n\n\
            Exit codes: 0 all is well, 1 a node has a problem or the gate does not respond, 2 wrong usage."
    )]
    Nodes(nodes::NodesArguments),
    /// List the open alerts of a running gate; acknowledge them, or send a test message
    #[command(
        args_conflicts_with_subcommands = true,
        long_about = "List the open alerts of a running gate, and the receivers that are notified about them \
            (`[alerts.NAME]`).",
        after_help = "Examples:\n  \
            hookgate alerts                        open alerts and the state of the receivers\n  \
            hookgate alerts test                   send a test message to every receiver\n  \
            hookgate alerts acknowledge 12         no further message until it is over or gets worse\n  \
            hookgate alerts --json | jq '.alerts[].text'\n\n\
            Exit codes: 0 no alert is open, 1 an alert is open or the gate does not respond, 2 wrong usage."
    )]
    Alerts {
        #[command(flatten)]
        listing: alerts::AlertListArguments,
        #[command(subcommand)]
        command: Option<alerts::AlertsCommand>,
    },
    /// List, show or follow the events in the inbox of a running gate
    Events {
        #[command(subcommand)]
        command: events::EventsCommand,
    },
    /// List or show deliveries of a running gate; retry, cancel or discard them
    Deliveries {
        #[command(subcommand)]
        command: deliveries::DeliveriesCommand,
    },
    /// Deliver old events again
    #[command(
        args_conflicts_with_subcommands = true,
        long_about = "Deliver old events again: create a new delivery for each delivery that matches the filters.\n\n\
            The command shows the number of deliveries and asks for confirmation first. The gate then works through \
            the replay in the background. Live traffic takes precedence, and a replay continues after a restart. \
            Events whose body is no longer stored are skipped.",
        after_help = "Examples:\n  \
            hookgate replay --event 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12      one event, to all its destinations\n  \
            hookgate replay --destination github/ci --since 2h                the last two hours of one destination\n  \
            hookgate replay --route stripe --type 'invoice.*' --dry-run       only count\n  \
            hookgate replay list                                              show the progress of all replays\n  \
            hookgate replay pause 3                                           pause replay 3\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage."
    )]
    Replay {
        #[command(flatten)]
        begin: replay::ReplayBeginArguments,
        #[command(subcommand)]
        command: Option<replay::ReplayCommand>,
    },
    /// List the destinations of a running gate; pause or resume them
    Destinations {
        #[command(subcommand)]
        command: destinations::DestinationsCommand,
    },
    /// List the secrets of a running gate: when they expire, and which ones still match
    Secrets {
        #[command(subcommand)]
        command: secrets::SecretsCommand,
    },
    /// Show what a route in monitor mode would have rejected, and the config line to change
    #[command(
        long_about = "Show what a route in monitor mode would have rejected in the last 24 hours, the latest of these \
            requests, and the config line to change. The command itself changes nothing.\n\n\
            The counts are in the memory of the gate: they survive a reload, but not a restart.",
        after_help = "Examples:\n  \
            hookgate promote stripe\n  \
            hookgate promote stripe --config hookgate.toml    name the line in this file\n  \
            hookgate promote stripe --json | jq .would_refuse\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage."
    )]
    Promote(promote::PromoteArguments),
    /// Check, copy or export the database file of a store; the gate may be running
    Store {
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// Send test events of a provider, with valid signatures or invalid on purpose
    #[command(
        long_about = "Send test events of a provider to any URL, signed as the provider signs them.\n\n\
            Each event is new: its ids and timestamps are generated when it is sent. With `--bad` the event is \
            invalid on purpose, to test that the receiver rejects it. `--list` shows which events can be sent.",
        after_help = "Examples:\n  \
            hookgate send --list\n  \
            hookgate send https://localhost:8443/stripe --provider stripe --type invoice.paid --secret-env \
            STRIPE_SECRET\n  \
            hookgate send --config hookgate.toml --route github --type push --insecure\n  \
            hookgate send http://127.0.0.1:8080/in --provider github --secret-file secret --data @push.json\n  \
            hookgate send ... --set data.object.amount_paid=500\n  \
            hookgate send ... --bad timestamp            signed an hour ago: must be rejected\n  \
            hookgate send ... --count 1000 --concurrency 20 --rate 200\n  \
            hookgate send ... --print > event.http       save it for `hookgate replay-file`\n\n\
            Exit codes: 0 all responses were 2xx, or with `--bad` 4xx (a replay: rejected, or recognized as a \
            duplicate); 1 some were not; 2 wrong usage."
    )]
    Send(Box<send::SendArguments>),
    /// Receive webhooks during development: print them, verify them, send the response you choose
    #[command(
        long_about = "Receive webhooks during development.\n\n\
            The command prints each request. With a provider and its secret it also verifies the signature, and \
            prints the reason if it is invalid. `GET /_events` returns the latest requests as JSON (at most 1000 \
            requests and 64 MiB), and `DELETE /_events` clears them. Both require a `Host` that is an IP address or \
            `localhost`.",
        after_help = "Examples:\n  \
            hookgate listen\n  \
            hookgate listen --provider stripe --secret-env STRIPE_SECRET\n  \
            hookgate listen --respond sequence:500,500,200      fail twice, then succeed\n  \
            hookgate listen --respond flaky:0.3                 fail three times out of ten\n  \
            hookgate listen --save requests --count 1           save one request as a file, then exit\n  \
            curl http://127.0.0.1:8080/_events\n\n\
            Exit codes: 0 stopped by Ctrl-C or `--count`, 1 failed, 2 wrong usage."
    )]
    Listen(Box<listen::ListenArguments>),
    /// Send a saved request again, byte for byte
    #[command(
        long_about = "Send a saved request again.\n\n\
            Headers and body are sent exactly as they are in the file. A receiver that checks the timestamp rejects \
            an old signature: `--resign` signs the request again with the current time.",
        after_help = "Examples:\n  \
            hookgate replay-file requests/1764000000000-000001.http --to http://127.0.0.1:8080\n  \
            hookgate replay-file event.http --to https://localhost:8443/stripe --insecure --resign --provider stripe \
            \\\n      \
            --secret-env STRIPE_SECRET\n\n\
            Exit codes: 0 the response was 2xx, 1 it was not, 2 wrong usage."
    )]
    ReplayFile(Box<replay_file::ReplayFileArguments>),
    /// Print the JSON Schema of the config file
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the completion script for your shell
    #[command(after_help = "Examples:\n  \
            hookgate completions bash > /etc/bash_completion.d/hookgate\n  \
            hookgate completions zsh > \"${fpath[1]}/_hookgate\"\n  \
            hookgate completions fish > ~/.config/fish/completions/hookgate.fish")]
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Print the man page hookgate(1), or write all man pages into a folder
    #[command(
        long_about = "Print the man page hookgate(1), or write all man pages into a folder: one for each command, and \
            hookgate.toml(5) with every key of the config file.",
        after_help = "Examples:\n  \
            hookgate man | man -l -                     read hookgate(1) without installing it\n  \
            sudo hookgate man /usr/local/share/man      install all pages; then `man hookgate.toml`\n  \
            hookgate man ~/.local/share/man             install them for yourself\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage."
    )]
    Man(man::ManArguments),
}

#[derive(Subcommand)]
enum ProvidersCommand {
    /// Show one provider: what it signs and what not, how it retries, and a route to paste
    #[command(after_help = "Examples:\n  \
            hookgate providers show github\n\n\
            Exit codes: 0 done, 2 no such provider.")]
    Show {
        /// Provider id, from `hookgate providers`
        id: String,
        /// Print one JSON document instead of text
        #[arg(long)]
        json: bool,
    },
    /// Download the address ranges that providers publish, for `allow_ips = ["provider"]`
    #[command(
        long_about = "Download the address ranges that providers publish, for routes with `allow_ips = \
            [\"provider\"]`.\n\n\
            The ranges are saved in the state folder. A gate reads them when it starts or reloads. A gate with \
            `refresh_ranges = \"24h\"` in `[server]` does the same by itself and does not need this command.\n\n\
            A download changes nothing if it fails, is empty, contains private or reserved addresses, or differs too \
            much from the known ranges. `--accept` accepts a list that only differs.",
        after_help = "Examples:\n  \
            hookgate providers refresh-ranges            all providers that publish ranges\n  \
            hookgate providers refresh-ranges github     one provider\n  \
            systemctl reload hookgate                    make the gate use them\n\n\
            Exit codes: 0 all are up to date, 1 some could not be updated, 2 no such provider."
    )]
    RefreshRanges(providers::refresh::RefreshArguments),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the config file, for completion and validation in editors
    #[command(after_help = "Examples:\n  \
            hookgate config schema > hookgate.schema.json\n  \
            echo '#:schema ./hookgate.schema.json' | cat - hookgate.toml     add the line that editors look for")]
    Schema,
}

/// Parses the command line and runs the command. Wrong usage ends the process with exit code 2.
#[must_use]
pub fn main() -> ExitCode {
    match CommandLine::parse().command {
        CliCommand::Run { config } => match config.required() {
            Ok(path) => run::run(&path),
            Err(failure) => failure::end(Err(failure)),
        },
        CliCommand::Check {
            config,
            json,
            offline,
        } => match config.required() {
            Ok(path) => check::run(&path, json, offline),
            Err(failure) => failure::end(Err(failure)),
        },
        CliCommand::Reload(arguments) => reload::run(arguments),
        CliCommand::Demo { once } => demo::run(once),
        CliCommand::Providers { json, command } => match command {
            None => providers::list(json),
            Some(ProvidersCommand::Show { id, json }) => providers::show(&id, json),
            Some(ProvidersCommand::RefreshRanges(arguments)) => providers::refresh::run(arguments),
        },
        CliCommand::Explain(arguments) => explain::run(&arguments),
        CliCommand::Capture(arguments) => capture::run(&arguments),
        CliCommand::Status(arguments) => status::run(&arguments),
        CliCommand::Nodes(arguments) => nodes::run(&arguments),
        CliCommand::Alerts { listing, command } => alerts::run(&listing, command),
        CliCommand::Events { command } => events::run(command),
        CliCommand::Deliveries { command } => deliveries::run(command),
        CliCommand::Replay { begin, command } => replay::run(&begin, command),
        CliCommand::Destinations { command } => destinations::run(command),
        CliCommand::Secrets { command } => secrets::run(command),
        CliCommand::Promote(arguments) => promote::run(&arguments),
        CliCommand::Store { command } => store::run(command),
        CliCommand::Send(arguments) => send::run(&arguments),
        CliCommand::Listen(arguments) => listen::run(&arguments),
        CliCommand::ReplayFile(arguments) => replay_file::run(&arguments),
        CliCommand::Config {
            command: ConfigCommand::Schema,
        } => config::print_schema(),
        CliCommand::Completions { shell } => {
            completions::print::<CommandLine>(shell);
            ExitCode::SUCCESS
        }
        CliCommand::Man(arguments) => man::run::<CommandLine>(&arguments),
    }
}
