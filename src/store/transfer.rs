//! Copies a store between SQLite and PostgreSQL, while no gate uses either.
//!
//! Rows move in the order of their keys and keep their numbers, because sealed bytes are bound to them. Each page and the
//! key of its last row are one transaction, so that a copy that was cut off goes on behind it. At the end both sides are
//! read again and compared. Until then the copy cannot be used: a file has another name, and gates reject a schema.

use std::path::Path;

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::postgres::probe::block;
use crate::store::postgres::transfer::{PostgresSource, PostgresTarget};
use crate::store::sqlite::transfer::{SqliteSource, SqliteTarget};
use crate::store::transfer_tables::{
    TABLES, TableDigest, TransferRow, TransferTable, TransferValue,
};

/// The two databases of a copy.
pub(crate) enum Transfer<'a> {
    ToPostgres(&'a Path, &'a PostgresSettings),
    ToSqlite(&'a PostgresSettings, &'a Path),
}

enum TransferSource {
    Sqlite(SqliteSource),
    Postgres(PostgresSource),
}

enum TransferTarget {
    Sqlite(SqliteTarget),
    Postgres(PostgresTarget),
}

/// Copies a store into the other kind of database. `progress` gets the number of rows that are read, and that will be.
/// Blocks.
///
/// # Errors
/// Also fails if a gate uses one of the databases, the target has data of its own, or both differ at the end.
pub(crate) fn transfer(
    transfer: &Transfer<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, StoreError> {
    block(async || {
        let (source, target) = match transfer {
            Transfer::ToPostgres(from, to) => {
                // The source comes first, so that a wrong one leaves no empty target behind.
                let source = SqliteSource::open(from)?;
                let target = PostgresTarget::begin(to, &source.fingerprint()?).await?;
                (
                    TransferSource::Sqlite(source),
                    TransferTarget::Postgres(target),
                )
            }
            Transfer::ToSqlite(from, to) => {
                let source = PostgresSource::open(from).await?;
                let target = SqliteTarget::begin(to, &source.fingerprint().await?)?;
                (
                    TransferSource::Postgres(source),
                    TransferTarget::Sqlite(target),
                )
            }
        };
        run(source, target, progress).await
    })
}

async fn run(
    source: TransferSource,
    target: TransferTarget,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, StoreError> {
    let mut rows = 0;
    for table in TABLES {
        rows += source.count(table).await?;
    }
    // Each row is read once to copy it, and once from each side to compare them.
    let total = rows.saturating_mul(3);
    let mut done = 0;
    for table in TABLES {
        let begun = target.position(table).await?;
        if begun.is_some() {
            // Rows of an earlier run count as read, or the progress would not reach its end.
            done += target.count(table).await?;
        }
        let mut after = begun.unwrap_or_else(|| table.start());
        loop {
            progress(done, total);
            let page = source.page(table, &after).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = table.key_of(last);
            done += page.len() as u64;
            target.write(table, &page).await?;
        }
    }
    // Before the comparison, so that it reads the rows as a gate will find them.
    target.derive(source.last_number().await?).await?;
    for table in TABLES {
        // Both sides are read again, because a copy that went on has never seen its first rows.
        let mut digests = [TableDigest::default(), TableDigest::default()];
        for (digest, side) in digests.iter_mut().zip([Side::Source, Side::Target]) {
            let mut after = table.start();
            loop {
                progress(done, total);
                let page = match side {
                    Side::Source => source.page(table, &after).await?,
                    Side::Target => target.page(table, &after).await?,
                };
                let Some(last) = page.last() else {
                    break;
                };
                after = table.key_of(last);
                done += page.len() as u64;
                page.iter().for_each(|row| digest.add(row));
            }
        }
        let [from, to] = digests.map(TableDigest::finish);
        if from != to {
            return Err(differs(table, &from, &to));
        }
    }
    // Only an equal copy loses its mark, without which a gate would use it.
    target.finish().await?;
    Ok(rows)
}

/// The side of a copy that is read for the comparison.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Target,
}

fn differs(table: &TransferTable, from: &(u64, String), to: &(u64, String)) -> StoreError {
    StoreError::Damaged {
        what: format!(
            "the copy differs from its source in the table `{}`: {} rows with the digest {}, instead of {} rows with \
            the digest {}: remove the copy, and copy again",
            table.name, to.0, to.1, from.0, from.1
        ),
    }
}

impl TransferSource {
    async fn count(&self, table: &TransferTable) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(source) => source.count(table),
            Self::Postgres(source) => source.count(table).await,
        }
    }

    async fn page(
        &self,
        table: &TransferTable,
        after: &[TransferValue],
    ) -> Result<Vec<TransferRow>, StoreError> {
        match self {
            Self::Sqlite(source) => source.page(table, after),
            Self::Postgres(source) => source.page(table, after).await,
        }
    }

    async fn last_number(&self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(source) => source.last_number(),
            Self::Postgres(source) => source.last_number().await,
        }
    }
}

impl TransferTarget {
    async fn position(&self, table: &TransferTable) -> Result<Option<TransferRow>, StoreError> {
        match self {
            Self::Sqlite(target) => target.position(table),
            Self::Postgres(target) => target.position(table).await,
        }
    }

    async fn count(&self, table: &TransferTable) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(target) => target.count(table),
            Self::Postgres(target) => target.count(table).await,
        }
    }

    async fn write(&self, table: &TransferTable, rows: &[TransferRow]) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(target) => target.write(table, rows),
            Self::Postgres(target) => target.write(table, rows).await,
        }
    }

    async fn page(
        &self,
        table: &TransferTable,
        after: &[TransferValue],
    ) -> Result<Vec<TransferRow>, StoreError> {
        match self {
            Self::Sqlite(target) => target.page(table, after),
            Self::Postgres(target) => target.page(table, after).await,
        }
    }

    async fn derive(&self, last_number: i64) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(target) => target.derive(last_number),
            Self::Postgres(target) => target.derive(last_number).await,
        }
    }

    async fn finish(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(target) => target.finish(),
            Self::Postgres(target) => target.finish().await,
        }
    }
}
