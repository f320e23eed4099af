//! Connecting to the first server that accepts writes, and setting up the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio_postgres::{AsyncMessage, Config, NoTls};

use crate::model::database::{PostgresHost, PostgresSettings};
use crate::store::error::StoreError;
use crate::store::postgres::session::Session;

/// Longest time for connecting, TLS, authentication and the set-up of the session together.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a session. `duty` appears in the server's list of sessions. Must run on the store's thread.
pub(super) async fn open(settings: &PostgresSettings, duty: &str) -> Result<Session, StoreError> {
    let failed = |err: tokio_postgres::Error| StoreError::Connect {
        what: "no server can be used".to_owned(),
        source: Some(err.into()),
    };
    let mut config = Config::new();
    for host in &settings.hosts {
        match host {
            PostgresHost::Tcp(name, port) => config.host(name).port(*port),
            PostgresHost::Unix(folder, port) => config.host_path(folder).port(*port),
        };
    }
    config
        .dbname(&settings.database)
        .user(&settings.user)
        .application_name(format!("hookgate/{} {duty}", settings.node))
        .target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
    if let Some(password) = &settings.password {
        config.password(password.expose());
    }
    let connected = tokio::time::timeout(PATIENCE, config.connect(NoTls)).await;
    let (client, mut connection) = connected
        .map_err(|_| StoreError::Connect {
            what: "no server answered in time".to_owned(),
            source: None,
        })?
        .map_err(failed)?;
    let has_warned = Arc::new(AtomicBool::new(false));
    let warned = Arc::clone(&has_warned);
    let driver = tokio::task::spawn_local(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message
                && notice.code().code() == "01000"
            {
                warned.store(true, Ordering::SeqCst);
            }
        }
    });
    let session = Session::new(client, driver, has_warned);
    let set_up = format!(
        "SET search_path = \"{}\"; SET lock_timeout = '2s';
        SET idle_in_transaction_session_timeout = '5s'; SET TimeZone = 'UTC';
        SET client_connection_check_interval = '2s'",
        settings.schema
    );
    session.batch(&set_up).await.map_err(failed)?;
    Ok(session)
}
