//! Databases that the arguments of `hookgate store` name: a file, a `postgres://` URL, or the store of a config.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hookgate_verify::document::report::ReportStyle;

use crate::cli::config_file::{self, ConfigFile};
use crate::cli::failure::CommandFailure;
use crate::config;
use crate::config::store_url::{self, StoreUrl};
use crate::config::{DEFAULT_SCHEMA, host_name};
use crate::model::database::{
    CommitDurability, DatabaseLocation, PostgresSettings, PostgresTls, SqliteFile,
};

/// A store that an argument names.
pub(super) enum NamedDatabase {
    /// Path of a database file.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(Box<PostgresSettings>),
}

/// Options for a `postgres://` URL on the command line.
#[derive(Args)]
#[cfg_attr(test, derive(Default))]
pub(super) struct PostgresArguments {
    /// File with the password for a `postgres://` URL; not needed with a config
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// PEM file with the authorities that may have signed the server's certificate (default: those of the system)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Schema with hookgate's tables
    #[arg(long, value_name = "NAME", default_value = DEFAULT_SCHEMA)]
    schema: String,
}

impl NamedDatabase {
    /// Reads `[store]` of a config.
    pub(super) fn of_config(path: &Path) -> Result<Self, CommandFailure> {
        let doing = format!("reading the config `{}`", path.display());
        let location = config::load_database(path).map_err(|report| {
            CommandFailure::usage(format!(
                "`[store]` cannot be used\n{}",
                report.render(ReportStyle::Plain).trim_end()
            ))
            .doing(&doing)
        })?;
        match location {
            None => Err(CommandFailure::usage("the config has no `[store]`")
                .doing(&doing)
                .help("give the path of the file, or the `postgres://` URL, instead")),
            Some(DatabaseLocation::Sqlite(file)) => Ok(Self::Sqlite(file.path)),
            Some(DatabaseLocation::Postgres(mut settings)) => {
                // Found also where systemd would put a credential for the service.
                let password = ConfigFile::load(path)?.secrets("store", "password")?;
                settings.password = password.into_iter().next().map(Arc::new);
                Ok(Self::Postgres(settings))
            }
        }
    }

    /// Reads a path, `sqlite:PATH` or a `postgres://` URL.
    pub(super) fn of_text(
        text: &Path,
        arguments: &PostgresArguments,
    ) -> Result<Self, CommandFailure> {
        // Only these prefixes begin a URL, since the path of a file may contain a colon too.
        let url = text.to_str().filter(|text| {
            ["sqlite:", "postgres:", "postgresql:"]
                .iter()
                .any(|scheme| text.starts_with(scheme))
        });
        let Some(url) = url else {
            return Ok(Self::Sqlite(text.to_owned()));
        };
        let url = store_url::parse(url).map_err(|fault| {
            let failure = CommandFailure::usage(fault.message);
            match fault.help {
                // On the command line the password has another place than in a config.
                Some(help) => failure.help(help.replace(
                    "add `password = { credential = \"store-password\" }`",
                    "use `--password-file FILE`",
                )),
                None => failure,
            }
        })?;
        let url = match url {
            StoreUrl::Sqlite(path) => return Ok(Self::Sqlite(path)),
            StoreUrl::Postgres(url) => url,
        };
        if url.is_plain && !url.is_local() {
            return Err(CommandFailure::usage(
                "`sslmode=disable` would send the password and all events over the network in clear",
            )
            .help("use `--config FILE` whose `[store]` has `insecure = true`"));
        }
        let password = arguments.password_file.as_deref();
        let password = password.map(config_file::read_secret).transpose()?;
        let tls = match url.is_plain || url.has_sockets_only() {
            true => PostgresTls::Disabled,
            false => PostgresTls::Verified {
                ca: arguments.ca.clone(),
                client: None,
            },
        };
        Ok(Self::Postgres(Box::new(PostgresSettings {
            hosts: url.hosts,
            database: url.database,
            user: url.user,
            password: password.map(Arc::new),
            tls,
            schema: config::schema_of(&arguments.schema).map_err(|fault| {
                let failure = CommandFailure::usage(format!("`--schema`: {}", fault.message));
                match fault.help {
                    Some(help) => failure.help(help),
                    None => failure,
                }
            })?,
            node: host_name(),
            durability: CommitDurability::default(),
            state_folder: None,
        })))
    }

    /// Returns the location. Commands write nothing to the disk of a file, so it may be full.
    pub(super) fn location(&self) -> DatabaseLocation {
        match self {
            Self::Sqlite(path) => DatabaseLocation::Sqlite(SqliteFile {
                path: path.clone(),
                min_free: 0,
            }),
            Self::Postgres(settings) => DatabaseLocation::Postgres(settings.clone()),
        }
    }

    /// Formats the database for messages, without a password.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(settings) => format!("{settings} (schema {})", settings.schema),
        }
    }
}
