//! `hookgate store migrate`: creates and upgrades the tables in PostgreSQL, for a service that may not do it itself.

use std::path::PathBuf;

use clap::Args;

use crate::cli::config_option::ConfigOption;
use crate::cli::failure::CommandFailure;
use crate::cli::output::print;
use crate::cli::store_database::{NamedDatabase, PostgresArguments};
use crate::model::error::chain;
use crate::store::{self, StoreError};

#[derive(Args)]
pub(super) struct StoreMigrateArguments {
    /// `postgres://` URL with a role that may create tables
    #[arg(value_name = "URL", conflicts_with = "config")]
    url: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigOption,
    #[command(flatten)]
    postgres: PostgresArguments,
    /// Change nothing; fail if migrations are missing
    #[arg(long)]
    check: bool,
}

/// Runs the missing migrations, or reports them with `--check`.
pub(super) fn migrate(arguments: &StoreMigrateArguments) -> Result<(), CommandFailure> {
    let database = match &arguments.url {
        Some(url) => NamedDatabase::of_text(url, &arguments.postgres)?,
        None => NamedDatabase::of_config(&arguments.config.required()?)?,
    };
    let doing = format!("migrating the store `{}`", database.shown());
    let settings = match database {
        NamedDatabase::Postgres(settings) => settings,
        NamedDatabase::Sqlite(_) => {
            return Err(CommandFailure::usage("the store is a database file")
                .doing(&doing)
                .help("the gate migrates it when it opens it"));
        }
    };
    let failed = |err: StoreError| CommandFailure::new(chain(&err)).doing(&doing);
    let schema = &settings.schema;
    if arguments.check {
        let versions = store::versions(&settings).map_err(failed)?;
        if versions.found < versions.known {
            return Err(CommandFailure::new(format!(
                "the schema `{schema}` has version {}, and this hookgate needs version {}",
                versions.found, versions.known
            ))
            .doing(&doing)
            .help("run `hookgate store migrate` without `--check`"));
        }
        print(&format!(
            "the schema `{schema}` has version {}: no migration is missing\n",
            versions.found
        ));
        return Ok(());
    }
    let versions = store::migrate(&settings).map_err(failed)?;
    print(&match versions.found < versions.known {
        true => format!(
            "migrated the schema `{schema}` from version {} to {}\n",
            versions.found, versions.known
        ),
        false => format!(
            "the schema `{schema}` has version {}: no migration was missing\n",
            versions.found
        ),
    });
    Ok(())
}
