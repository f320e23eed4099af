//! Connecting to the first server that accepts writes, and setting up the session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::poll_fn;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::model::database::{PostgresHost, PostgresSettings, PostgresTls};
use crate::net::client::{OwnTls, system_roots};
use crate::store::error::StoreError;
use crate::store::postgres::host_failure::{self, HostFailure};
use crate::store::postgres::session::Session;

/// Longest time for connecting, TLS, authentication and the set-up of the session together. The client library bounds
/// only the connect: a server that hangs after it would hold a duty of this node forever.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long sent data may stay without an acknowledgement. A primary that lost its power closes no connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Oldest server version that has all statements and settings that the store uses.
const OLDEST_VERSION: u32 = 15;

/// The highest timeline of each database cluster that this process has written to, by the cluster's identifier. A
/// promotion raises it, so an old primary that returns is behind it.
static TIMELINES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Set when this process has warned of a server that may lose what it has confirmed.
static HAS_WARNED: AtomicBool = AtomicBool::new(false);

/// Opens a session. `duty` appears in the server's list of sessions. Must run on the store's thread.
pub(super) async fn open(settings: &PostgresSettings, duty: &str) -> Result<Session, StoreError> {
    let mut failures = Vec::new();
    // In order, each with its own deadline: a host that hangs must not use up the time of those behind it.
    for host in &settings.hosts {
        let opened = tokio::time::timeout(PATIENCE, open_host(settings, host, duty)).await;
        match opened {
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(failure)) => failures.push(failure),
            Err(_) => failures.push(host_failure::no_answer(host, PATIENCE)),
        }
    }
    Err(host_failure::combine(failures))
}

async fn open_host(
    settings: &PostgresSettings,
    host: &PostgresHost,
    duty: &str,
) -> Result<Session, HostFailure> {
    let config = config(settings, host, duty);
    let explain = |err: tokio_postgres::Error| host_failure::of_connect(settings, host, &err);
    // A Unix socket has no TLS.
    let tls = match (&settings.tls, host) {
        (PostgresTls::Disabled, _) | (_, PostgresHost::Unix(..)) => None,
        (PostgresTls::Verified { ca, client }, PostgresHost::Tcp(..)) => {
            // Read for each connection, so that renewed files need no restart.
            let client = client.as_ref();
            let identity = client.map(|(cert, key)| (cert.as_path(), key.as_path()));
            let own = OwnTls::read(system_roots, ca.as_deref(), identity);
            Some(own.map_err(|err| host_failure::of_files(host, &err))?)
        }
    };
    let connected = match tls {
        None => {
            let (client, connection) = config.connect(NoTls).await.map_err(explain)?;
            drive(client, connection)
        }
        Some(own) => {
            let mut tls = own.config().as_ref().clone();
            // A server that knows ALPN rejects every protocol but its own.
            tls.alpn_protocols.clear();
            let connect = config.connect(MakeRustlsConnect::new(tls));
            let (client, connection) = connect.await.map_err(explain)?;
            drive(client, connection)
        }
    };
    // Before the set-up, whose statements an old server may not know.
    check_version(host, &connected.version)?;
    check_encoding(settings, host, &connected.encoding)?;
    set_up(settings, host, connected.session).await
}

fn config(settings: &PostgresSettings, host: &PostgresHost, duty: &str) -> Config {
    let mut config = Config::new();
    match host {
        PostgresHost::Tcp(name, port) => config.host(name).port(*port),
        PostgresHost::Unix(folder, port) => config.host_path(folder).port(*port),
    };
    let mode = match settings.tls {
        PostgresTls::Disabled => tokio_postgres::config::SslMode::Disable,
        PostgresTls::Verified { .. } => tokio_postgres::config::SslMode::Require,
    };
    // A list may mix sockets and names, and a socket cannot fulfill `Require`.
    let mode = match host {
        PostgresHost::Tcp(..) => mode,
        PostgresHost::Unix(..) => tokio_postgres::config::SslMode::Disable,
    };
    config
        .dbname(&settings.database)
        .user(&settings.user)
        .application_name(format!("hookgate/{} {duty}", settings.node))
        .ssl_mode(mode)
        .connect_timeout(PATIENCE)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(2))
        .keepalives_retries(3);
    if let Some(password) = &settings.password {
        config.password(password.expose());
    }
    config
}

/// A connected session, before its set-up.
struct ConnectedSession {
    session: Session,
    /// Version of the server, such as `15.18 (Debian 15.18-0+deb12u1)`.
    version: String,
    /// Encoding of the database.
    encoding: String,
}

/// Starts the task that moves the messages of a connection.
fn drive<S, T>(client: Client, mut connection: Connection<S, T>) -> ConnectedSession
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    // The server reports these while it authenticates, so they cost no question.
    let parameter = |name| connection.parameter(name).unwrap_or_default().to_owned();
    let (version, encoding) = (parameter("server_version"), parameter("server_encoding"));
    let has_warned = Arc::new(AtomicBool::new(false));
    let warned = Arc::clone(&has_warned);
    let driver = tokio::task::spawn_local(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            // A canceled wait for a standby arrives as a plain warning, after which the commit still succeeds.
            if let AsyncMessage::Notice(notice) = message
                && notice.code().code() == "01000"
            {
                warned.store(true, Ordering::SeqCst);
            }
        }
    });
    ConnectedSession {
        session: Session::new(client, driver, has_warned),
        version,
        encoding,
    }
}

fn check_version(host: &PostgresHost, version: &str) -> Result<(), HostFailure> {
    let major = version.split(|char: char| !char.is_ascii_digit()).next();
    let major: Option<u32> = major.and_then(|major| major.parse().ok());
    match major {
        Some(..OLDEST_VERSION) => Err(HostFailure::setup(format!(
            "the server {host} has PostgreSQL {version}, and hookgate needs version {OLDEST_VERSION} or later: upgrade \
            the server"
        ))),
        // A server that hides its version is judged by what it can do.
        Some(_) | None => Ok(()),
    }
}

fn check_encoding(
    settings: &PostgresSettings,
    host: &PostgresHost,
    encoding: &str,
) -> Result<(), HostFailure> {
    match encoding {
        // `SQL_ASCII` stores bytes as they are.
        "UTF8" | "SQL_ASCII" | "" => Ok(()),
        encoding => Err(HostFailure::setup(format!(
            "the database `{database}` on the server {host} has the encoding {encoding}, in which some events cannot be \
            stored: create one with `CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0`",
            database = settings.database
        ))),
    }
}

/// Sets the parameters of a session and checks the server.
async fn set_up(
    settings: &PostgresSettings,
    host: &PostgresHost,
    session: Session,
) -> Result<Session, HostFailure> {
    // Only this schema: a table of the same name elsewhere must never be used. A stopped client must not keep a lock for
    // longer than 5 seconds, since all nodes wait for it. Each work sets its own `statement_timeout`.
    let sql = format!(
        "SET search_path = \"{}\"; SET lock_timeout = '2s'; SET statement_timeout = 0;
        SET idle_in_transaction_session_timeout = '5s'; SET client_connection_check_interval = '2s';
        SET TimeZone = 'UTC';
        SELECT current_setting('transaction_read_only'), current_setting('fsync')",
        settings.schema
    );
    let explain = |err: tokio_postgres::Error| host_failure::of_connect(settings, host, &err);
    let (read_only, fsync) = ask(&session, &sql).await.map_err(explain)?;
    // A standby accepts sessions, so only this shows that a write would fail. It may be the primary later.
    if read_only.as_deref() != Some("off") {
        return Err(HostFailure::transient(format!(
            "the server {host} is read-only: it is a standby, or `default_transaction_read_only` is on"
        )));
    }
    if fsync.as_deref() == Some("off") && !HAS_WARNED.swap(true, Ordering::SeqCst) {
        tracing::warn!(
            %host,
            "the database may lose events when its machine crashes: set `fsync = on` in postgresql.conf"
        );
    }
    let sql = "SELECT pg_walfile_name(pg_current_wal_lsn()), (SELECT system_identifier FROM pg_control_system())";
    match ask(&session, sql).await {
        Ok((Some(file), Some(cluster))) => {
            // The first eight digits of the file's name are the timeline.
            let timeline = file.get(..8).unwrap_or_default();
            check_timeline(host, &cluster, timeline)?;
        }
        Ok(_) => {}
        // Some managed services do not let a role ask. They also never bring back an old primary.
        Err(err) if err.as_db_error().is_some() => {}
        Err(err) => return Err(host_failure::of_connect(settings, host, &err)),
    }
    Ok(session)
}

/// Runs statements, and returns the first two columns of the first row. Nothing is prepared, which a pooler could lose.
async fn ask(
    session: &Session,
    sql: &str,
) -> Result<(Option<String>, Option<String>), tokio_postgres::Error> {
    let answer = session.client.simple_query(sql).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let text = |column: usize| {
        let text = row.and_then(|row| row.try_get(column).ok().flatten());
        text.map(str::to_owned)
    };
    Ok((text(0), text(1)))
}

/// Rejects a server that is behind one which this process has used: what it stores would be lost, or stored twice.
fn check_timeline(host: &PostgresHost, cluster: &str, timeline: &str) -> Result<(), HostFailure> {
    let mut timelines = TIMELINES.lock();
    let highest = timelines.entry(cluster.to_owned()).or_default();
    // Both are hexadecimal with leading zeros, so their texts compare as the numbers do.
    if timeline < highest.as_str() {
        return Err(HostFailure::transient(format!(
            "the server {host} is an old primary: its timeline {timeline} is behind {highest}, which a promotion began; \
            stop it, and make it a standby of the new primary"
        )));
    }
    // Reached only with a timeline that is as high or higher, so the mark never falls.
    highest.clear();
    highest.push_str(timeline);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> PostgresHost {
        PostgresHost::Tcp("db1".to_owned(), 5432)
    }

    /// Fails when an old primary that returned after a promotion is used again.
    #[test]
    fn timelines_only_rise() {
        for (timeline, is_used) in [
            ("00000001", true),
            ("00000001", true),
            ("0000000A", true),
            ("00000009", false),
            ("0000000B", true),
        ] {
            let checked = check_timeline(&host(), "a cluster of this test", timeline);
            assert_eq!(checked.is_ok(), is_used, "{timeline}");
        }
        assert!(check_timeline(&host(), "another cluster", "00000001").is_ok());
    }

    /// Fails when a server is used that lacks what the store needs, or a newer one is rejected.
    #[test]
    fn old_servers_are_rejected() {
        for (version, is_used) in [
            ("9.6.24", false),
            ("14.9 (Debian 14.9-1)", false),
            ("15.18 (Debian 15.18-0+deb12u1)", true),
            ("18beta1", true),
            ("", true),
        ] {
            assert_eq!(
                check_version(&host(), version).is_ok(),
                is_used,
                "{version}"
            );
        }
    }
}
