//! `hookgate store copy`: backups of a file, and copies between SQLite and PostgreSQL.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::config_option;
use crate::cli::failure::CommandFailure;
use crate::cli::output::print;
use crate::cli::store_database::{NamedDatabase, PostgresArguments};
use crate::model::error::chain;
use crate::store::{self, StoreError, Transfer};

#[derive(Args)]
pub(super) struct StoreCopyArguments {
    /// Source and target, each the path of a file or a `postgres://` URL, unless a config has it
    #[arg(value_name = "FROM TO", num_args = 0..=2)]
    stores: Vec<PathBuf>,
    /// Config whose `[store]` is the source (default, without FROM: the environment variable HOOKGATE_CONFIG, then
    /// `./hookgate.toml`, then `/etc/hookgate/hookgate.toml`)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Config whose `[store]` is the target
    #[arg(long, value_name = "FILE")]
    to_config: Option<PathBuf>,
    #[command(flatten)]
    postgres: PostgresArguments,
}

/// Copies a store.
pub(super) fn copy(arguments: &StoreCopyArguments) -> Result<(), CommandFailure> {
    let (from, to) = sides(arguments)?;
    let doing = format!("copying the store `{}` to `{}`", from.shown(), to.shown());
    let bar = bar("copying");
    let mut progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let copied = match (&from, &to) {
        (NamedDatabase::Sqlite(from), NamedDatabase::Sqlite(to)) => {
            store::copy(from, to, &mut progress).map(|()| None)
        }
        (NamedDatabase::Sqlite(from), NamedDatabase::Postgres(to)) => {
            store::transfer(&Transfer::ToPostgres(from, to), &mut progress).map(Some)
        }
        (NamedDatabase::Postgres(from), NamedDatabase::Sqlite(to)) => {
            store::transfer(&Transfer::ToSqlite(from, to), &mut progress).map(Some)
        }
        (NamedDatabase::Postgres(_), NamedDatabase::Postgres(_)) => {
            return Err(CommandFailure::usage(
                "both stores are in PostgreSQL, which has tools of its own",
            )
            .doing(&doing)
            .help("use `pg_dump` and `pg_restore`"));
        }
    };
    bar.finish_and_clear();
    let rows = copied.map_err(failed(&doing))?;
    print(&match rows {
        None => format!("copied to `{}`\n", to.shown()),
        Some(rows) => format!(
            "copied {rows} rows to `{}`, and found them equal on both sides\n",
            to.shown()
        ),
    });
    Ok(())
}

/// Finds source and target. clap cannot express "each as an argument or by its config", so it is checked here.
fn sides(arguments: &StoreCopyArguments) -> Result<(NamedDatabase, NamedDatabase), CommandFailure> {
    let of_text = |text: &Path| NamedDatabase::of_text(text, &arguments.postgres);
    let of_config = |config: &Path| NamedDatabase::of_config(config);
    match (
        &*arguments.stores,
        arguments.config.as_deref(),
        arguments.to_config.as_deref(),
    ) {
        ([from, to], None, None) => Ok((of_text(from)?, of_text(to)?)),
        ([to], Some(config), None) => Ok((of_config(config)?, of_text(to)?)),
        ([from], None, Some(config)) => Ok((of_text(from)?, of_config(config)?)),
        ([], Some(from), Some(to)) => Ok((of_config(from)?, of_config(to)?)),
        ([_, _], Some(_), _) => Err(CommandFailure::usage("`--config` already names the source")
            .help("give the target only")),
        ([_, _] | [_], _, Some(_)) => Err(CommandFailure::usage(
            "`--to-config` already names the target",
        )
        .help("give the source only")),
        ([to], None, None) => {
            let found = config_option::find(None).ok_or_else(no_source)?;
            Ok((of_config(&found.path)?, of_text(to)?))
        }
        _ => Err(CommandFailure::usage("a copy needs a source and a target")
            .help("use `hookgate store copy FROM TO`, or `hookgate store copy --config FILE TO`")),
    }
}

/// Creates the error for one store on the command line, which is the target, and no config that names the source. The
/// operator may have meant it as the source.
fn no_source() -> CommandFailure {
    let places = config_option::absent_places();
    CommandFailure::usage(
        "a store alone is TO, and FROM is by default the store of the config: no config file found",
    )
    .help(format!(
        "to copy this store, add the target: `hookgate store copy FROM TO`; to copy the store of a config, add \
         `--config FILE`; {places}"
    ))
}

/// Returns the conversion of an error of the store while doing something.
pub(super) fn failed(doing: &str) -> impl Fn(StoreError) -> CommandFailure {
    move |err| CommandFailure::new(chain(&err)).doing(doing)
}

/// Creates a progress bar. It appears on standard error, and only if that is a terminal.
pub(super) fn bar(doing: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(doing);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {percent}%, {eta} left") {
        bar.set_style(style);
    }
    bar
}
