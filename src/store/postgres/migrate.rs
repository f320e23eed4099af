//! Schema version of the database, and forward migrations.
//!
//! A migration only adds what the version before it ignores, so that old and new nodes run side by side during an
//! upgrade. What an old version needs goes only when no node of that version can be alive.

use tokio_postgres::error::SqlState;

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::postgres::session::Session;

/// The migrations in order. Each leads from the previous version, the first from an empty schema.
const MIGRATIONS: [&str; 4] = [
    include_str!("migrations/0001_inbox.sql"),
    include_str!("migrations/0002_certificates.sql"),
    include_str!("migrations/0003_alerts.sql"),
    include_str!("migrations/0004_functions.sql"),
];

/// The schema version that this program writes.
pub(super) const FORM: i32 = MIGRATIONS.len() as i32;

/// Number of the advisory lock that nodes take before they migrate, so that one of them does.
const MIGRATION_LOCK: i64 = 0x686f_6f6b_6761_7465;

/// Creates the schema if it is missing, and runs the missing migrations in one transaction.
pub(super) async fn migrate(
    session: &Session,
    settings: &PostgresSettings,
) -> Result<(), StoreError> {
    let schema = &settings.schema;
    let found = form(session, schema).await?;
    check(found, schema)?;
    // A newer node may have migrated already: its version must stay, or it would migrate again at its next start.
    if found.form >= FORM {
        return Ok(());
    }
    match run(session, schema).await {
        // The server's message only names an object, and the operator needs the statement that grants the right.
        Err(StoreError::Postgres(err)) if err.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Err(cannot_create(settings))
        }
        done => done,
    }
}

/// Returns the error for a role that may not create what is missing.
pub(super) fn cannot_create(settings: &PostgresSettings) -> StoreError {
    let PostgresSettings {
        user,
        database,
        schema,
        ..
    } = settings;
    StoreError::Setup {
        what: format!(
            "the user `{user}` may not create the tables of the schema `{schema}` in the database `{database}`: as an \
            administrator, run `CREATE SCHEMA {schema} AUTHORIZATION {user}`, or \
            `GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}` if the schema exists, or run \
            `hookgate store migrate` as a role that may create them"
        ),
        source: None,
    }
}

/// Reads the version of the schema; 0 if it has no tables yet.
///
/// # Errors
/// Also fails if only a later version of hookgate can use the schema.
pub(super) async fn version(session: &Session, schema: &str) -> Result<i32, StoreError> {
    let found = form(session, schema).await?;
    check(found, schema)?;
    Ok(found.form)
}

/// Returns whether the schema is a copy that is not complete.
pub(super) async fn is_copy(session: &Session, schema: &str) -> Result<bool, StoreError> {
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let table = format!("\"{schema}\".copy_progress");
    let row = session.query_one(sql, &[&table]).await;
    Ok(row.map_err(StoreError::Postgres)?.get(0))
}

/// Rejects a schema that `hookgate store copy` has not finished.
pub(super) async fn refuse_copy(session: &Session, schema: &str) -> Result<(), StoreError> {
    match is_copy(session, schema).await? {
        false => Ok(()),
        true => Err(StoreError::Setup {
            what: format!(
                "a copy into the schema `{schema}` is unfinished: run the same `hookgate store copy` again, or remove it \
                with `DROP SCHEMA {schema} CASCADE`"
            ),
            source: None,
        }),
    }
}

async fn run(session: &Session, schema: &str) -> Result<(), StoreError> {
    // The schema is part of the lock, since locks span the whole database. A node waits for another one that migrates.
    let begin = "BEGIN; SET LOCAL lock_timeout = '30s'";
    session.batch(begin).await.map_err(StoreError::Postgres)?;
    let sql = "SELECT pg_advisory_xact_lock($1::bigint # hashtext($2)::bigint)";
    let locked = session.query(sql, &[&MIGRATION_LOCK, &schema]).await;
    locked.map_err(StoreError::Postgres)?;
    // Read again under the lock: another node may have migrated meanwhile.
    let found = form(session, schema).await?;
    check(found, schema)?;
    if found.form == 0 {
        create(session, schema).await?;
    }
    let done = usize::try_from(found.form).unwrap_or(0);
    for sql in MIGRATIONS.iter().skip(done) {
        session.batch(sql).await.map_err(StoreError::Postgres)?;
    }
    // A newer node may have migrated further meanwhile, and its version must not be lowered.
    let sql = format!("UPDATE meta SET form = greatest(form, {FORM}); COMMIT");
    session.batch(&sql).await.map_err(StoreError::Postgres)
}

/// Returns an error unless this program can read the schema.
pub(super) async fn check_readable(session: &Session, schema: &str) -> Result<(), StoreError> {
    let found = form(session, schema).await?;
    match found.form {
        0 => Err(StoreError::Setup {
            what: format!("the schema `{schema}` has no store: check `schema` of `[store]`"),
            source: None,
        }),
        _ => check(found, schema),
    }
}

/// The version of a schema, and the oldest program that may use it.
#[derive(Clone, Copy)]
struct SchemaForm {
    form: i32,
    readable_from: i32,
}

fn check(found: SchemaForm, schema: &str) -> Result<(), StoreError> {
    check_version(found.readable_from, found.form, schema)
}

/// Returns an error if only later programs may use the schema. A newer schema is usable as long as its version says so:
/// the newer nodes of an upgrade run beside this one.
pub(super) fn check_version(readable_from: i32, form: i32, schema: &str) -> Result<(), StoreError> {
    match readable_from > FORM {
        true => Err(StoreError::NewerSchema {
            schema: schema.to_owned(),
            found: form,
            known: FORM,
        }),
        false => Ok(()),
    }
}

/// Creates an empty schema with its version.
async fn create(session: &Session, schema: &str) -> Result<(), StoreError> {
    // A role without the right to create schemas may use one that an administrator made for it.
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
    let exists: bool = session
        .query_one(sql, &[&schema])
        .await
        .map_err(StoreError::Postgres)?
        .get(0);
    if !exists {
        let sql = format!("CREATE SCHEMA \"{schema}\"");
        session.batch(&sql).await.map_err(StoreError::Postgres)?;
    }
    // Version 0, since the migrations follow in the same transaction.
    let sql = "CREATE TABLE meta (
            one boolean PRIMARY KEY DEFAULT true CHECK (one),
            form integer NOT NULL,
            readable_from integer NOT NULL
        );
        INSERT INTO meta VALUES (true, 0, 1)";
    session.batch(sql).await.map_err(StoreError::Postgres)
}

/// Reads the version of the schema; 0 if it has no tables yet.
async fn form(session: &Session, schema: &str) -> Result<SchemaForm, StoreError> {
    let table = format!("\"{schema}\".meta");
    // A query of a missing table would end the transaction, so ask for its existence first.
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let has_table: bool = session
        .query_one(sql, &[&table])
        .await
        .map_err(StoreError::Postgres)?
        .get(0);
    if !has_table {
        return Ok(SchemaForm {
            form: 0,
            readable_from: 0,
        });
    }
    let sql = format!("SELECT form, readable_from FROM {table}");
    let row = session.client.query_one(&sql, &[]).await;
    let row = row.map_err(StoreError::Postgres)?;
    Ok(SchemaForm {
        form: row.get(0),
        readable_from: row.get(1),
    })
}
