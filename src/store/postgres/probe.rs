//! Checks of a database before a gate uses it, for `hookgate check` and `hookgate store migrate`.

use tokio::task::LocalSet;

use crate::model::database::{CommitDurability, PostgresSettings};
use crate::store::error::StoreError;
use crate::store::postgres::session::Session;
use crate::store::postgres::{connect, migrate, pooler};

/// The version of a schema beside that of this program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SchemaVersions {
    /// Version of the tables; 0 if there are no tables.
    pub(crate) found: i32,
    /// Version that this program writes.
    pub(crate) known: i32,
}

/// Connects, and checks everything that a gate needs at its start. Returns warnings. Blocks.
///
/// # Errors
/// Returns the first reason why a gate could not start or work.
pub(crate) fn probe(settings: &PostgresSettings) -> Result<Vec<String>, StoreError> {
    block(async || {
        let session = connect::open(settings, "check").await?;
        pooler::refuse(settings, &session).await?;
        let found = read_versions(&session, settings).await?;
        migrate::refuse_copy(&session, &settings.schema).await?;
        // The right to create is needed only while a migration is missing.
        if found.found < found.known {
            check_creation(&session, settings).await?;
        }
        durability_warnings(&session, settings).await
    })
}

/// Reads the version of the schema. Blocks.
pub(crate) fn versions(settings: &PostgresSettings) -> Result<SchemaVersions, StoreError> {
    block(async || {
        let session = connect::open(settings, "migrate").await?;
        read_versions(&session, settings).await
    })
}

/// Runs the missing migrations, and returns the version before. Blocks.
pub(crate) fn migrate(settings: &PostgresSettings) -> Result<SchemaVersions, StoreError> {
    block(async || {
        let session = connect::open(settings, "migrate").await?;
        // Before the migration, after which the former version is no longer known.
        let found = read_versions(&session, settings).await?;
        migrate::migrate(&session, settings).await?;
        Ok(found)
    })
}

/// Runs work with sessions outside of a store's thread.
pub(in crate::store) fn block<T>(
    work: impl AsyncFnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| StoreError::Connect {
            what: "its runtime could not be started".to_owned(),
            source: Some(err.into()),
        })?;
    LocalSet::new().block_on(&runtime, work())
}

async fn read_versions(
    session: &Session,
    settings: &PostgresSettings,
) -> Result<SchemaVersions, StoreError> {
    // Before the tables are read, which would fail with fewer words.
    check_use(session, settings).await?;
    let found = migrate::version(session, &settings.schema).await?;
    Ok(SchemaVersions {
        found,
        known: migrate::FORM,
    })
}

/// Checks the rights to use what exists of the schema.
async fn check_use(session: &Session, settings: &PostgresSettings) -> Result<(), StoreError> {
    let PostgresSettings { schema, user, .. } = settings;
    let sql = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1";
    let row = session.query_opt(sql, &[schema]).await;
    let Some(row) = row.map_err(StoreError::Postgres)? else {
        return Ok(());
    };
    if !row.get::<_, bool>(0) {
        return Err(lacks(format!(
            "the user `{user}` may not use the schema `{schema}`: as its owner, run \
            `GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}`"
        )));
    }
    // Sequences of identity columns need no right of their own.
    let sql = "SELECT string_agg(relname, ', ' ORDER BY relname) FROM (
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND CASE c.relkind
            WHEN 'r' THEN NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
            WHEN 'v' THEN NOT has_table_privilege(c.oid, 'SELECT')
            WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE')
                AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i')
            ELSE false END
        LIMIT 5) t";
    let row = session.query_one(sql, &[schema]).await;
    let tables: Option<String> = row.map_err(StoreError::Postgres)?.get(0);
    match tables {
        None => Ok(()),
        Some(tables) => Err(lacks(format!(
            "the user `{user}` lacks rights on tables of the schema `{schema}` ({tables}): as their owner, run \
            `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}` and \
            `GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {user}`"
        ))),
    }
}

/// Checks the rights to create the schema, or tables in it.
async fn check_creation(session: &Session, settings: &PostgresSettings) -> Result<(), StoreError> {
    let sql = "SELECT has_database_privilege(current_database(), 'CREATE'),
        (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1)";
    let row = session.query_one(sql, &[&settings.schema]).await;
    let row = row.map_err(StoreError::Postgres)?;
    let (may_create_schema, may_create_tables): (bool, Option<bool>) = (row.get(0), row.get(1));
    // Without the schema there are no rights on it yet, so the right to create it decides.
    match may_create_tables.unwrap_or(may_create_schema) {
        true => Ok(()),
        false => Err(migrate::cannot_create(settings)),
    }
}

/// Compares what the server makes durable with what the config expects.
async fn durability_warnings(
    session: &Session,
    settings: &PostgresSettings,
) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT current_setting('fsync') = 'on', current_setting('synchronous_standby_names') <> ''";
    let row = session.query_one(sql, &[]).await;
    let row = row.map_err(StoreError::Postgres)?;
    let (is_synced, has_standby): (bool, bool) = (row.get(0), row.get(1));
    let mut warnings = Vec::new();
    if !is_synced {
        warnings.push(
            "the database may lose events when its machine crashes: set `fsync = on` in postgresql.conf".to_owned(),
        );
    }
    // The default durability needs no standby, so only the stronger one expects one.
    if settings.durability == CommitDurability::Applied && !has_standby {
        warnings.push(
            "`durability = \"applied\"` has no effect: the server has no `synchronous_standby_names`".to_owned(),
        );
    }
    Ok(warnings)
}

fn lacks(what: String) -> StoreError {
    StoreError::Setup { what, source: None }
}
