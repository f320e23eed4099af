//! `hookgate store`: checks, measures, copies and exports the database of a store.
//!
//! It opens the database directly, so it works while the gate runs, and without a gate.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use hookgate_verify::model::secret::Secret;
use indicatif::ProgressBar;
use serde_json::json;

use crate::admin::documents::{ApiTimestamp, StateCounts};
use crate::admin::parameters;
use crate::cli::config_file::{self, ConfigFile};
use crate::cli::config_option::ConfigOption;
use crate::cli::events::counts;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{clean, facts, print, print_json};
use crate::cli::store_copy::{StoreCopyArguments, bar, failed};
use crate::cli::store_database::{NamedDatabase, PostgresArguments};
use crate::cli::store_migrate::StoreMigrateArguments;
use crate::cli::{store_copy, store_migrate, times};
use crate::model::clock::ClockReading;
use crate::model::database::DatabaseLocation;
use crate::store::partial::PartialFile;
use crate::store::{self, StoreError};

/// Time between two steps of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Subcommands of `hookgate store`.
#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Check the whole store for damage
    #[command(after_help = "Examples:\n  \
            hookgate store check --config /etc/hookgate/hookgate.toml\n  \
            hookgate store check /var/lib/hookgate/hookgate.db --json\n\n\
            The gate may be running; the check does not block it.\n\n\
            Exit codes: 0 no damage, 1 damaged or failed, 2 wrong usage or config.")]
    Check(StoreReadArguments),
    /// Show the number of events and deliveries, and the size of the store
    #[command(after_help = "Examples:\n  \
            hookgate store stats --config /etc/hookgate/hookgate.toml\n  \
            hookgate store stats /var/lib/hookgate/hookgate.db --json\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage or config.")]
    Stats(StoreReadArguments),
    /// Copy a store: as a consistent backup, or between SQLite and PostgreSQL
    #[command(
        long_about = "Copy a store: as a consistent backup, or between SQLite and PostgreSQL.\n\n\
            From file to file, the copy is a snapshot of one moment, and the gate may be running. The copy is a \
            complete store: encrypted events stay encrypted with the same key, and a gate that runs on the copy makes \
            the deliveries that were still open.\n\n\
            Between a file and PostgreSQL, stop all gates first. Events, deliveries and attempts keep their numbers, and \
            encrypted events stay encrypted. A copy that was cut off goes on when the same command runs again, and no \
            gate uses it before it is complete. At the end both sides are compared. To copy PostgreSQL to PostgreSQL, \
            use `pg_dump`.\n\n\
            Certificates of `[tls.acme]` and alerts are not copied. Keep the folder `acme` of the state folder: a gate that \
            starts on PostgreSQL takes its certificates from there and shares them, and each node of a shared store has \
            them there. Alerts begin again, and open problems are reported again.",
        after_help = "Examples:\n  \
            hookgate store copy --config /etc/hookgate/hookgate.toml /backup/hookgate.db\n  \
            hookgate store copy /var/lib/hookgate/hookgate.db /backup/hookgate.db\n  \
            hookgate store copy /var/lib/hookgate/hookgate.db --to-config new.toml\n  \
            hookgate store copy hookgate.db postgres://hookgate@db1/hookgate --password-file store.password\n  \
            hookgate store copy --config /etc/hookgate/hookgate.toml hookgate.db\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage or config."
    )]
    Copy(StoreCopyArguments),
    /// Export events with their bodies and deliveries as JSON lines
    #[command(after_help = "Examples:\n  \
            hookgate store export --config /etc/hookgate/hookgate.toml --since 1d > events.jsonl\n  \
            hookgate store export /backup/hookgate.db --key-file /etc/hookgate/store.key --out events.jsonl\n  \
            hookgate store export /var/lib/hookgate/hookgate.db --salvage --out events.jsonl\n\n\
            Each line is one event with its body, deliveries and attempts, oldest first. The export is not encrypted: \
            it contains the data of your customers, and tokens that senders put into headers.\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage or config.")]
    Export(StoreExportArguments),
    /// Create or upgrade the tables of a store in PostgreSQL
    #[command(
        long_about = "Create or upgrade the tables of a store in PostgreSQL.\n\n\
            A gate does this at its start. Run the command before a new version starts, with a role that may create \
            tables, if the gate's own role may not. Gates of the version before keep running meanwhile.",
        after_help = "Examples:\n  \
            hookgate store migrate --config /etc/hookgate/hookgate.toml --check\n  \
            hookgate store migrate postgres://owner@db1/hookgate --password-file owner.password\n\n\
            Exit codes: 0 done, 1 failed or, with `--check`, migrations are missing; 2 wrong usage or config."
    )]
    Migrate(StoreMigrateArguments),
}

/// Arguments that select a store: the path of its file, its URL, or a config.
#[derive(Args)]
#[group(id = "place", multiple = false, args = ["store", "config"])]
pub(super) struct StoreLocation {
    /// Database file of the store, or its `postgres://` URL
    #[arg(value_name = "STORE")]
    store: Option<PathBuf>,
    /// Config whose `[store]` has the location (default, without STORE: the environment variable HOOKGATE_CONFIG, then
    /// `./hookgate.toml`, then `/etc/hookgate/hookgate.toml`)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    postgres: PostgresArguments,
}

#[derive(Args)]
pub(super) struct StoreReadArguments {
    #[command(flatten)]
    location: StoreLocation,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct StoreExportArguments {
    #[command(flatten)]
    location: StoreLocation,
    /// Only events received at or after this time: 2h, 7d, 2026-11-25, 2026-11-25T08:30:00Z, or seconds since the epoch
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// File to write, readable by you only; it must not exist yet (default: standard output)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Recover what is readable in a damaged store, and report the rest on standard error. Stop the gate first
    #[arg(long)]
    salvage: bool,
    /// File with an encryption key of the store, as in `encryption_key` of `[store]`; not needed with `--config`
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

/// Runs a subcommand and returns its exit code.
pub(super) fn run(command: StoreCommand) -> ExitCode {
    failure::end(match command {
        StoreCommand::Check(arguments) => check(&arguments),
        StoreCommand::Stats(arguments) => stats(&arguments),
        StoreCommand::Copy(arguments) => store_copy::copy(&arguments),
        StoreCommand::Export(arguments) => export(&arguments),
        StoreCommand::Migrate(arguments) => store_migrate::migrate(&arguments),
    })
}

impl StoreLocation {
    /// Finds the store, and returns the config that names it, if one was given.
    fn find(&self) -> Result<(NamedDatabase, Option<ConfigFile>), CommandFailure> {
        match (&self.store, &self.config) {
            (Some(store), _) => Ok((NamedDatabase::of_text(store, &self.postgres)?, None)),
            (None, config) => {
                let config = config.clone();
                let path = ConfigOption { config }.required()?;
                let config = ConfigFile::load(&path)?;
                Ok((NamedDatabase::of_config(&path)?, Some(config)))
            }
        }
    }
}

fn spinner(message: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(TICK);
    spinner
}

fn check(arguments: &StoreReadArguments) -> Result<(), CommandFailure> {
    let (database, _) = arguments.location.find()?;
    let shown = database.shown();
    let doing = format!("checking the store `{shown}`");
    // SQLite checks the file in one call, so there is no progress to measure.
    let spinner = spinner(doing.clone());
    let found = store::check(&database.location()).map_err(failed(&doing));
    spinner.finish_and_clear();
    let faults = found?;
    if arguments.json {
        print_json(&json!({ "store": shown, "is_whole": faults.is_empty(), "faults": faults }));
    } else {
        for fault in &faults {
            // A fault may have several lines; `clean` would escape the line ends.
            for line in fault.lines() {
                print(&format!("{}\n", clean(line)));
            }
        }
    }
    match faults.len() {
        0 if arguments.json => {}
        0 => {
            print(&format!("the store `{shown}` has no damage\n"));
        }
        count => {
            let places = if count == 1 { "place" } else { "places" };
            return Err(
                CommandFailure::new(format!("the store is damaged in {count} {places}"))
                    .doing(&doing)
                    .help(
                        "stop the gate, keep the store, and restore a backup; for a file, \
                     `hookgate store export --salvage` recovers what is readable",
                    ),
            );
        }
    }
    Ok(())
}

fn stats(arguments: &StoreReadArguments) -> Result<(), CommandFailure> {
    let (database, _) = arguments.location.find()?;
    let shown = database.shown();
    let doing = format!("reading the store `{shown}`");
    let stats = store::stats_of(&database.location()).map_err(failed(&doing))?;
    // The same words and forms as in the admin API, so that scripts can read both.
    let oldest = stats.oldest_open_ms.map(ApiTimestamp);
    let deliveries = StateCounts::new(stats.deliveries);
    if arguments.json {
        print_json(&json!({
            "store": shown,
            "events": stats.events,
            "deliveries": deliveries,
            "claims": stats.claims,
            "size": stats.size,
            "spare": stats.spare,
            "oldest_open": oldest,
        }));
        return Ok(());
    }
    print(&facts(&[
        ("store", shown),
        ("events", stats.events.to_string()),
        ("deliveries", counts(&deliveries)),
        (
            "oldest open",
            oldest.map_or_else(|| "-".to_owned(), times::both),
        ),
        ("claims", stats.claims.to_string()),
        ("size", size(stats.size)),
        ("unused", size(stats.spare)),
    ]));
    Ok(())
}

/// Formats bytes in the largest unit that fits at least once, with one decimal.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = format!("{bytes} bytes");
    let mut whole = bytes;
    let mut rest = 0;
    for unit in UNITS {
        // The first decimal of the next unit, cut off, not rounded: 1023.9 KiB must not become 1024.0 KiB.
        rest = (whole % 1024) * 10 / 1024;
        whole /= 1024;
        if whole == 0 {
            return shown;
        }
        shown = format!("{whole}.{rest} {unit}");
    }
    let _ = rest;
    shown
}

fn export(arguments: &StoreExportArguments) -> Result<(), CommandFailure> {
    let since = match arguments.since.as_deref() {
        None => None,
        Some(text) => match parameters::parse_time(text, ClockReading::read().unix_ms) {
            Some(since) => Some(since),
            None => {
                return Err(
                    CommandFailure::usage(format!("`--since`: `{text}` is not a time"))
                        .help(format!("use {}", parameters::TIMES)),
                );
            }
        },
    };
    let (database, config) = arguments.location.find()?;
    let shown = database.shown();
    let doing = format!("exporting the store `{shown}`");
    if arguments.salvage && matches!(database, NamedDatabase::Postgres(_)) {
        return Err(
            CommandFailure::usage("`--salvage` reads the pages of a damaged file")
                .doing(&doing)
                .help("restore a backup of the database, and export without `--salvage`"),
        );
    }
    let mut keys: Vec<Secret> = Vec::new();
    for file in &arguments.key_file {
        keys.push(config_file::read_secret(file)?);
    }
    // Keys of the command line win: the config may name a key that only the service can read.
    if let Some(config) = config.filter(|_| keys.is_empty()) {
        keys = config.secrets("store", "encryption_key")?;
    }
    // A salvage may need a copy of the file. With `--out` it goes into the folder of the output, where there must be
    // room for the data anyway.
    let scratch = std::env::temp_dir();
    let written = match &arguments.out {
        Some(out) => {
            let failed = |err: io::Error| {
                CommandFailure::new(format!("cannot create `{}`: {err}", out.display()))
                    .doing(&doing)
            };
            // Readable by its owner only, since the export is not encrypted. The file gets its name at the end, so that
            // an export that failed never looks complete.
            let partial = PartialFile::begin(out).map_err(failed)?;
            let folder = out.parent().filter(|folder| *folder != Path::new(""));
            let source = ExportSource {
                database: &database,
                keys: &keys,
                since_ms: since,
                salvage: arguments
                    .salvage
                    .then_some(folder.unwrap_or(Path::new("."))),
            };
            let bar = bar("exporting");
            let written = write(&source, partial.file(), &bar);
            bar.finish_and_clear();
            if written.is_ok() {
                partial.finish().map_err(failed)?;
            }
            written
        }
        None => {
            let source = ExportSource {
                database: &database,
                keys: &keys,
                since_ms: since,
                salvage: arguments.salvage.then_some(&*scratch),
            };
            write(&source, io::stdout().lock(), &ProgressBar::hidden())
        }
    };
    match written {
        // A reader that closed the pipe, such as `head`, is not a failure.
        Err(StoreError::Output(err)) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(err @ (StoreError::Key { .. } | StoreError::SchemaKey { .. })) => Err(failed(&doing)(
            err,
        )
        .help("add `--key-file FILE` with the key, or `--config FILE` whose `[store]` has it")),
        written => written.map_err(failed(&doing)),
    }
}

/// Parameters of an export: the file, its keys, the time limit, and how to treat damage.
struct ExportSource<'a> {
    database: &'a NamedDatabase,
    keys: &'a [Secret],
    since_ms: Option<i64>,
    /// Folder for a temporary copy if damage is tolerated; `None` fails at the first damage.
    salvage: Option<&'a Path>,
}

fn write(source: &ExportSource<'_>, out: impl Write, bar: &ProgressBar) -> Result<(), StoreError> {
    let mut out = BufWriter::new(out);
    let ExportSource {
        database,
        keys,
        since_ms,
        salvage,
    } = *source;
    if let Some(scratch) = salvage {
        let DatabaseLocation::Sqlite(file) = database.location() else {
            // `export` rejects the option for a database before this.
            return Err(StoreError::Closed);
        };
        let found = store::salvage(&file.path, keys, since_ms, scratch, &mut out)?;
        anstream::eprintln!("{}", salvaged(&found));
    } else {
        store::export(
            &database.location(),
            keys,
            since_ms,
            &mut out,
            &mut |done, total| {
                bar.set_length(total);
                bar.set_position(done);
            },
        )?;
    }
    // Explicit: dropping the buffer would lose an error, and an incomplete export would look complete.
    out.flush().map_err(StoreError::Output)
}

/// Describes the result of a salvage in one line.
fn salvaged(found: &store::SalvageResult) -> String {
    let mut text = format!(
        "{} events complete, {} partial, {} unreadable",
        found.whole, found.in_part, found.unreadable
    );
    if found.carved > 0 {
        text.push_str(&format!(
            "; {} of them were on pages that nothing leads to any more, and may have been removed before",
            found.carved
        ));
    }
    if found.discarded_commits > 0 || found.damaged_frames > 0 {
        text.push_str(&format!(
            "; in the write-ahead log, {} commits after the damage were read, {} of its pages do not match their \
            checksum",
            found.discarded_commits, found.damaged_frames
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_unit() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (5_368_709_120, "5.0 GiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn the_config_has_the_location_of_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookgate.toml");
        let place = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let place = StoreLocation {
                store: None,
                config: Some(path.clone()),
                postgres: PostgresArguments::default(),
            };
            place.find().map(|(database, _)| database.shown())
        };
        let found = place("[store]\nurl = \"sqlite:data/hookgate.db\"\n").unwrap();
        assert_eq!(
            found,
            folder.path().join("data/hookgate.db").display().to_string()
        );
        let failure = place("").unwrap_err().plain();
        assert!(failure.contains("the config has no `[store]`"), "{failure}");
        let url = "[store]\nurl = \"postgres://ann@127.0.0.1/hooks?sslmode=disable\"\n";
        let found = place(url).unwrap();
        assert!(found.starts_with("postgres://ann@127.0.0.1"), "{found}");
        assert!(found.ends_with("(schema hookgate)"), "{found}");
    }
}
