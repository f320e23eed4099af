//! Reasons why a server of the database cannot be used, in words that say what to do.

use std::error::Error;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::model::database::{PostgresHost, PostgresSettings};
use crate::model::error::chain;
use crate::net::client::ClientError;
use crate::store::error::StoreError;

/// The reason why one server cannot be used.
pub(super) struct HostFailure {
    /// True if waiting does not help: a person has to change something.
    is_setup: bool,
    what: String,
}

impl HostFailure {
    pub(super) fn setup(what: String) -> Self {
        Self {
            is_setup: true,
            what,
        }
    }

    pub(super) fn transient(what: String) -> Self {
        Self {
            is_setup: false,
            what,
        }
    }
}

/// Joins the failures of all servers. Only if each of them needs a person, waiting is useless.
pub(super) fn combine(failures: Vec<HostFailure>) -> StoreError {
    // One server that may come back is reason enough to wait, as during a failover of the others.
    let is_setup = !failures.is_empty() && failures.iter().all(|failure| failure.is_setup);
    let texts: Vec<_> = failures.into_iter().map(|failure| failure.what).collect();
    let what = texts.join("; ");
    match is_setup {
        true => StoreError::Setup { what, source: None },
        false => StoreError::Connect { what, source: None },
    }
}

/// Describes a server that did not finish the set-up of a session in time.
pub(super) fn no_answer(host: &PostgresHost, patience: Duration) -> HostFailure {
    HostFailure::transient(format!(
        "the server {host} did not answer within {} seconds: check that it runs, and that no firewall drops the \
        connection",
        patience.as_secs()
    ))
}

/// Describes certificate files that cannot be used.
pub(super) fn of_files(host: &PostgresHost, err: &ClientError) -> HostFailure {
    HostFailure::setup(format!(
        "TLS with the server {host} cannot be set up: {}: check `ca`, `cert` and `key` of `[store]`",
        chain(err)
    ))
}

/// Describes an error of connecting, authentication or set-up.
pub(super) fn of_connect(
    settings: &PostgresSettings,
    host: &PostgresHost,
    err: &tokio_postgres::Error,
) -> HostFailure {
    let PostgresSettings { user, database, .. } = settings;
    // The server's own code is exact, so it goes before the texts of the library.
    if let Some(db) = err.as_db_error() {
        return of_server(settings, host, db.code(), db.message());
    }
    let text = causes(err);
    // The library has no kinds for these, so its texts decide.
    if text.contains("password missing") {
        return HostFailure::setup(format!(
            "the server {host} asks for the password of the user `{user}`: add `password` to `[store]`"
        ));
    }
    if text.contains("server does not support TLS") {
        return HostFailure::setup(format!(
            "the server {host} does not support TLS: set `ssl = on` in its postgresql.conf; on this machine, \
            `?sslmode=disable` in `url` connects without"
        ));
    }
    if text.contains("invalid peer certificate") {
        return HostFailure::setup(format!(
            "the certificate of the server {host} cannot be trusted: {text}: check that `ca` of `[store]` has the \
            authority that signed it, and that the certificate names this host"
        ));
    }
    if text.contains("TLS handshake") {
        return HostFailure::setup(format!(
            "TLS with the server {host} failed: {text}: if the server asks for a client certificate, set `cert` and \
            `key` of `[store]`"
        ));
    }
    HostFailure::transient(format!(
        "cannot connect to the server {host} as `{user}` for the database `{database}`: {text}"
    ))
}

/// Describes an error that the server itself reported.
fn of_server(
    settings: &PostgresSettings,
    host: &PostgresHost,
    code: &SqlState,
    message: &str,
) -> HostFailure {
    let PostgresSettings {
        user,
        database,
        schema,
        ..
    } = settings;
    if *code == SqlState::INVALID_PASSWORD {
        return HostFailure::setup(match settings.password {
            Some(_) => format!(
                "the server {host} rejects the password of the user `{user}`: check `password` of `[store]`, and that \
                the role exists"
            ),
            None => format!(
                "the server {host} asks for the password of the user `{user}`: add `password` to `[store]`"
            ),
        });
    }
    if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        return HostFailure::setup(format!(
            "the server {host} does not let the user `{user}` into the database `{database}`: {message}: create the \
            role with `CREATE ROLE {user} LOGIN`, and allow it in pg_hba.conf"
        ));
    }
    if *code == SqlState::INVALID_CATALOG_NAME {
        return HostFailure::setup(format!(
            "the server {host} has no database `{database}`: create it with \
            `CREATE DATABASE {database} OWNER {user}`"
        ));
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return HostFailure::setup(format!(
            "the user `{user}` lacks a right in the database `{database}` on the server {host}: {message}: as an \
            administrator, run `GRANT CONNECT, CREATE ON DATABASE {database} TO {user}`"
        ));
    }
    // Other connections end by themselves, so waiting may help here, unlike in the cases above.
    if *code == SqlState::TOO_MANY_CONNECTIONS {
        return HostFailure::transient(format!(
            "the server {host} has no connection left: {message}: raise `max_connections`; each node uses up to 13"
        ));
    }
    if *code == SqlState::CANNOT_CONNECT_NOW {
        return HostFailure::transient(format!("the server {host} is not ready: {message}"));
    }
    // 08P01 is a pooler's answer to a parameter that it does not know, and 42704 that of an old server.
    let is_setup = matches!(code.code(), "08P01" | "42704" | "22023");
    let what = format!(
        "the server {host} cannot open a session for `{user}` in the database `{database}`, schema `{schema}`: {message}"
    );
    match is_setup {
        true => HostFailure::setup(what),
        false => HostFailure::transient(what),
    }
}

/// Joins the causes of an error, without the library's own words for the first one.
fn causes(err: &tokio_postgres::Error) -> String {
    match err.source() {
        Some(source) if !err.to_string().contains("TLS") => chain(source),
        _ => chain(err),
    }
}
