//! `hookgate store`: works on the file of a store directly, beside a running gate or without one.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::admin::input;
use crate::admin::wire::{Counts, Moment};
use crate::cli::config_file::{self, ConfigFile};
use crate::cli::events::counts;
use crate::cli::failure::{self, Failure};
use crate::cli::output::{clean, facts, print, print_json};
use crate::cli::times;
use crate::model::clock::Now;
use crate::model::error::chain;
use crate::model::secret::Secret;
use crate::store::partial::Partial;
use crate::store::{self, StoreError};

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);

/// What can be done with the file of a store.
#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// Check the whole file for damage
    #[command(after_help = "Examples:\n  \
            hookgate store check --config /etc/hookgate/hookgate.toml\n  \
            hookgate store check /var/lib/hookgate/hookgate.db --json\n\n\
            A running gate is not held up by it.\n\n\
            Exit codes: 0 it is whole, 1 it is damaged, or failed, 2 wrong usage or config.")]
    Check(Look),
    /// Show what is in the file
    #[command(after_help = "Examples:\n  \
            hookgate store stats --config /etc/hookgate/hookgate.toml\n  \
            hookgate store stats /var/lib/hookgate/hookgate.db --json\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage or config.")]
    Stats(Look),
    /// Copy a store, whole and as of one moment, as a backup does
    #[command(
        long_about = "Copy a store, whole and as of one moment, as a backup does.\n\n\
            A gate may run on it meanwhile. The copy is a store of its own: what is sealed stays sealed with the same key, and \
            a gate that runs on the copy delivers what was open.",
        after_help = "Examples:\n  \
            hookgate store copy --config /etc/hookgate/hookgate.toml /backup/hookgate.db\n  \
            hookgate store copy /var/lib/hookgate/hookgate.db /backup/hookgate.db\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage or config."
    )]
    Copy(Copy),
    /// Write events with their bodies and deliveries as JSON lines
    #[command(after_help = "Examples:\n  \
            hookgate store export --config /etc/hookgate/hookgate.toml --since 1d > events.jsonl\n  \
            hookgate store export /backup/hookgate.db --key-file /etc/hookgate/store.key --out events.jsonl\n  \
            hookgate store export /var/lib/hookgate/hookgate.db --salvage --out events.jsonl\n\n\
            Each line is one event with its body, deliveries and attempts, the oldest first. All of it is in clear: what your \
            customers' events hold, and tokens that senders show in headers.\n\n\
            Exit codes: 0 done, 1 failed, 2 wrong usage or config.")]
    Export(Export),
}

/// Which store.
#[derive(Args)]
#[group(id = "place", required = true, multiple = false, args = ["path", "config"])]
pub(super) struct Place {
    /// The file of the store
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// A config whose `[store]` says where it is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Look {
    #[command(flatten)]
    place: Place,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Copy {
    /// From where, unless `--config` says it, and to where: a file that is not there yet
    #[arg(value_name = "FROM TO", required = true, num_args = 1..=2)]
    paths: Vec<PathBuf>,
    /// A config whose `[store]` says from where
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Export {
    #[command(flatten)]
    place: Place,
    /// Only events received since then: 2h, 7d, 2026-11-25, 2026-11-25T08:30:00Z, or seconds since the epoch
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// A file that must not be there yet, for its owner only; else standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Read what can be read of a damaged store, and say on standard error what cannot; no gate may run on it
    #[arg(long)]
    salvage: bool,
    /// A file with a key that the store is sealed with, as `encryption_key` in `[store]` has it; `--config` knows its own
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

/// Runs one of them.
pub(super) fn run(command: StoreCommand) -> ExitCode {
    failure::end(match command {
        StoreCommand::Check(arguments) => check(&arguments),
        StoreCommand::Stats(arguments) => stats(&arguments),
        StoreCommand::Copy(arguments) => copy(&arguments),
        StoreCommand::Export(arguments) => export(&arguments),
    })
}

impl Place {
    /// The file, and the config that told it.
    fn find(&self) -> Result<(PathBuf, Option<ConfigFile>), Failure> {
        match (&self.path, &self.config) {
            (Some(path), _) => Ok((bare(path), None)),
            (None, config) => {
                let config = ConfigFile::load(config.as_deref().unwrap_or(Path::new("")))?;
                Ok((file_of(&config)?, Some(config)))
            }
        }
    }
}

/// The path of `sqlite:PATH`.
fn bare(path: &Path) -> PathBuf {
    let text = path.to_str();
    let bare = text.and_then(|text| text.strip_prefix("sqlite:"));
    bare.map_or_else(|| path.to_owned(), PathBuf::from)
}

/// The file that `[store]` names.
fn file_of(config: &ConfigFile) -> Result<PathBuf, Failure> {
    let Some(url) = config.text("store", "url") else {
        return Err(Failure::usage("the config has no `[store]` with a `url`")
            .help("name the file itself: `hookgate store check /var/lib/hookgate/hookgate.db`"));
    };
    match url.strip_prefix("sqlite:") {
        Some(path) => Ok(config.resolve(path)),
        None => Err(Failure::usage(format!("`{}` is not a file", clean(url)))
            .help("`sqlite:PATH` is the store that these commands know")),
    }
}

fn failed(doing: &str) -> impl Fn(StoreError) -> Failure {
    move |err| Failure::new(chain(&err)).doing(doing)
}

fn spinner(message: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(TICK);
    spinner
}

/// Drawn on standard error, and only where that is a terminal.
fn bar(doing: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(doing);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {percent}%, {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn check(arguments: &Look) -> Result<(), Failure> {
    let (path, _) = arguments.place.find()?;
    let doing = format!("checking the store `{}`", path.display());
    let spinner = spinner(doing.clone());
    let found = store::check(&path).map_err(failed(&doing));
    spinner.finish_and_clear();
    let faults = found?;
    if arguments.json {
        print_json(&json!({ "store": path, "is_whole": faults.is_empty(), "faults": faults }));
    } else {
        for fault in &faults {
            for line in fault.lines() {
                print(&format!("{}\n", clean(line)));
            }
        }
    }
    match faults.len() {
        0 if arguments.json => {}
        0 => {
            print(&format!("the store `{}` is whole\n", path.display()));
        }
        count => {
            let places = if count == 1 { "place" } else { "places" };
            return Err(Failure::new(format!("it is damaged, in {count} {places}"))
                .doing(&doing)
                .help("stop the gate, keep the file, and go on with a backup; `hookgate store export --salvage` reads what can be read"));
        }
    }
    Ok(())
}

fn stats(arguments: &Look) -> Result<(), Failure> {
    let (path, _) = arguments.place.find()?;
    let doing = format!("looking into the store `{}`", path.display());
    let stats = store::stats_of(&path).map_err(failed(&doing))?;
    let oldest = stats.oldest_open_ms.map(Moment);
    let deliveries = Counts::new(stats.deliveries);
    if arguments.json {
        print_json(&json!({
            "store": path,
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
        ("store", path.display().to_string()),
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

/// Bytes in the largest unit that fits at least once.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut shown = format!("{bytes} bytes");
    let mut whole = bytes;
    let mut rest = 0;
    for unit in UNITS {
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

fn copy(arguments: &Copy) -> Result<(), Failure> {
    let (from, to) = match (&arguments.config, &*arguments.paths) {
        (Some(config), [to]) => (file_of(&ConfigFile::load(config)?)?, bare(to)),
        (None, [from, to]) => (bare(from), bare(to)),
        (Some(_), _) => {
            return Err(Failure::usage("with `--config` only the target is named"));
        }
        (None, _) => {
            return Err(Failure::usage("a copy needs a source and a target")
                .help("`hookgate store copy FROM TO`, or `--config FILE TO`"));
        }
    };
    let doing = format!(
        "copying the store `{}` to `{}`",
        from.display(),
        to.display()
    );
    let bar = bar("copying");
    let copied = store::copy(&from, &to, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    copied.map_err(failed(&doing))?;
    print(&format!("copied to `{}`\n", to.display()));
    Ok(())
}

fn export(arguments: &Export) -> Result<(), Failure> {
    let since = match arguments.since.as_deref() {
        None => None,
        Some(text) => match input::parse_time(text, Now::read().unix_ms) {
            Some(since) => Some(since),
            None => {
                return Err(
                    Failure::usage(format!("`--since` is `{text}`, which is no time"))
                        .help(format!("use {}", input::TIMES)),
                );
            }
        },
    };
    let (path, config) = arguments.place.find()?;
    let doing = format!("exporting the store `{}`", path.display());
    let mut keys: Vec<Secret> = Vec::new();
    for file in &arguments.key_file {
        keys.push(config_file::read_secret(file)?);
    }
    if let Some(config) = config.filter(|_| keys.is_empty()) {
        keys = config.secrets("store", "encryption_key")?;
    }
    let scratch = std::env::temp_dir();
    let written = match &arguments.out {
        Some(out) => {
            let failed = |err: io::Error| {
                Failure::new(format!("cannot make `{}`: {err}", out.display())).doing(&doing)
            };
            // For its owner only: what comes out is in clear.
            let partial = Partial::begin(out).map_err(failed)?;
            let folder = out.parent().filter(|folder| *folder != Path::new(""));
            let source = Source {
                path: &path,
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
            let source = Source {
                path: &path,
                keys: &keys,
                since_ms: since,
                salvage: arguments.salvage.then_some(&*scratch),
            };
            write(&source, io::stdout().lock(), &ProgressBar::hidden())
        }
    };
    match written {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(StoreError::Output(err)) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(err @ StoreError::Key { .. }) => Err(failed(&doing)(err)
            .help("`--key-file FILE` with the key, or `--config FILE` whose `[store]` has it")),
        written => written.map_err(failed(&doing)),
    }
}

/// Parameters of an export.
struct Source<'a> {
    path: &'a Path,
    keys: &'a [Secret],
    since_ms: Option<i64>,
    /// Damage is put up with; where a copy may be made.
    salvage: Option<&'a Path>,
}

fn write(source: &Source<'_>, out: impl Write, bar: &ProgressBar) -> Result<(), StoreError> {
    let mut out = BufWriter::new(out);
    let Source {
        path,
        keys,
        since_ms,
        salvage,
    } = *source;
    if let Some(scratch) = salvage {
        let found = store::salvage(path, keys, since_ms, scratch, &mut out)?;
        eprintln!("{}", salvaged(&found));
    } else {
        store::export(path, keys, since_ms, &mut out, &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })?;
    }
    out.flush().map_err(StoreError::Output)
}

/// Describes the result of a salvage.
fn salvaged(found: &store::Salvaged) -> String {
    let mut text = format!(
        "{} events whole, {} in part, {} unreadable",
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
            "; of the log, {} commits behind its damage were read, {} of its pages do not fit their checksum",
            found.discarded_commits, found.damaged_frames
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_one_unit() {
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
    fn the_config_says_where_the_store_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookgate.toml");
        let place = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let place = Place {
                path: None,
                config: Some(path.clone()),
            };
            place.find().map(|(path, _)| path)
        };
        let found = place("[store]\nurl = \"sqlite:data/hookgate.db\"\n").unwrap();
        assert_eq!(found, folder.path().join("data/hookgate.db"));
        let failure = place("").unwrap_err().plain();
        assert!(failure.contains("the config has no `[store]`"), "{failure}");
        let failure = place("[store]\nurl = \"postgres://x\"\n")
            .unwrap_err()
            .plain();
        assert!(
            failure.contains("`postgres://x` is not a file"),
            "{failure}"
        );
        assert_eq!(bare(Path::new("sqlite:/a/b")), Path::new("/a/b"));
    }
}
