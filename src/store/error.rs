//! Errors of the store.

use std::path::PathBuf;

/// Why the store did not do a task. In every case but [`StoreError::Unknown`] no part of the task was done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say they are")]
pub enum StoreError {
    /// The file or its folder is missing or not accessible.
    #[error(
        "cannot open the store `{}`: check that its folder exists and that this user may read and write there",
        path.display()
    )]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    /// Another process holds the lock of the file.
    #[error("the store `{}` is in use by another process: stop that process first", path.display())]
    InUse { path: PathBuf },
    /// A later version of hookgate wrote the file.
    #[error(
        "the store `{}` has the schema version {found}, and this hookgate knows versions up to {known}: \
         run the hookgate that wrote it, or a later one",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    /// The file holds content that no configured key decrypts.
    #[error(
        "the store `{}` is encrypted with a key that is missing from `encryption_key`: \
         add that key again, behind the new ones",
        path.display()
    )]
    Key { path: PathBuf },
    /// The file, or a row in it, is damaged.
    #[error("the store is damaged: {what}")]
    Damaged { what: String },
    /// A write failed: the disk is full, read-only or failing, or another process holds a lock.
    #[error("the store could not be written: check the disk and its free space")]
    Write(#[source] rusqlite::Error),
    /// A write failed a moment ago. The store rejects all tasks until the file is open again and checked.
    #[error("a write failed, and the store is being opened again: retry later")]
    Reopening,
    /// PostgreSQL is not reachable, refuses the role, or cannot serve as a store.
    #[error("cannot use the store in PostgreSQL: {what}")]
    Connect {
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The database or its role cannot serve as a store. Waiting does not change that.
    #[error("the database cannot be used as a store: {what}")]
    Setup {
        what: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A later version of hookgate migrated the schema.
    #[error(
        "the schema `{schema}` has version {found}, and this hookgate knows versions up to {known}: \
         run a later hookgate"
    )]
    NewerSchema {
        schema: String,
        found: i32,
        known: i32,
    },
    /// The schema holds content that no configured key decrypts.
    #[error(
        "the schema `{schema}` is encrypted with a key that is missing from `encryption_key`: \
         add that key again, behind the new ones, on every node"
    )]
    SchemaKey { schema: String },
    /// PostgreSQL rejected a statement, or the connection broke outside of a commit. No part of the task was done.
    #[error("PostgreSQL could not do a task")]
    Postgres(#[source] tokio_postgres::Error),
    /// The connection broke during a commit, and no server answered in time whether it succeeded. The task may be done.
    #[error("the connection to PostgreSQL broke during a commit: whether it succeeded is unknown")]
    Unknown,
    /// A query failed, or ran past its deadline.
    #[error("the store could not be read")]
    Read(#[source] rusqlite::Error),
    /// One more event would exceed a limit of the config.
    #[error("the store is full: {limit}")]
    Full { limit: &'static str },
    /// Too many tasks wait for the writer.
    #[error("the store has too many writes waiting: retry later")]
    Busy,
    /// The store is closed, or its writer thread ended.
    #[error("the store is closed")]
    Closed,
    /// The output of an export or a salvage could not be written.
    #[error("the output could not be written")]
    Output(#[source] std::io::Error),
}
