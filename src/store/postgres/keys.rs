//! The numbers of encryption keys in the database, and the check that the config still has the keys.

use hookgate_verify::model::secret::Secret;

use crate::store::error::StoreError;
use crate::store::postgres::session::Session;
use crate::store::seal::{ContentSealer, DerivedKey, SealedPart, SealingKeyRow};

/// Finds the numbers of the keys, and assigns one to the first key if it has no number.
pub(super) async fn open(
    session: &Session,
    secrets: &[Secret],
) -> Result<ContentSealer, StoreError> {
    let derived = DerivedKey::derive_all(secrets);
    let mut sealer = read(session, &derived).await?;
    let failed = StoreError::Postgres;
    let Some(first) = derived.first() else {
        // Events are stored in clear from now on, so the stored numbers are void.
        let sql = "UPDATE sealing_key SET last_clear = NULL, last_clear_seal = NULL
            WHERE last_clear IS NOT NULL";
        session.execute(sql, &[]).await.map_err(failed)?;
        return Ok(sealer);
    };
    let last_clear = match sealer.last_clear() {
        Some(known) => known,
        None => last_clear(session).await?,
    };
    sealer.set_last_clear(last_clear);
    let sql = "INSERT INTO sealing_key (print) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id";
    let row = session.query_opt(sql, &[&&first.print[..]]).await;
    if let Some(row) = row.map_err(failed)? {
        sealer.add_first(row.get(0), first);
    }
    for (number, proof) in sealer.proofs(last_clear) {
        let sql = "UPDATE sealing_key SET last_clear = $2, last_clear_seal = $3
            WHERE id = $1 AND last_clear IS NULL";
        let written = session.execute(sql, &[&number, &last_clear, &proof]).await;
        written.map_err(failed)?;
    }
    Ok(sealer)
}

/// Reads the keys that have a number, without changing anything.
pub(super) async fn read(
    session: &Session,
    derived: &[DerivedKey],
) -> Result<ContentSealer, StoreError> {
    let mut sealer = ContentSealer::default();
    for key in derived {
        let sql = "SELECT id, last_clear, last_clear_seal FROM sealing_key WHERE print = $1";
        let row = session.query_opt(sql, &[&&key.print[..]]).await;
        if let Some(row) = row.map_err(StoreError::Postgres)? {
            let row = SealingKeyRow {
                number: row.get(0),
                last_clear: row.get(1),
                last_clear_seal: row.get(2),
            };
            sealer.add_numbered(key, &row);
        }
    }
    Ok(sealer)
}

/// Verifies that the last encrypted events can be decrypted. If not, the config has lost a key, and starting would hide
/// that.
pub(super) async fn check(
    sealer: &ContentSealer,
    session: &Session,
    schema: &str,
) -> Result<(), StoreError> {
    let sql = "SELECT event.uid, content.sealing_key, content.head, event.id FROM content
        JOIN event ON event.id = content.event ORDER BY content.event DESC LIMIT 8";
    let rows = session.query(sql, &[]).await;
    for row in rows.map_err(StoreError::Postgres)? {
        let (uid, key): (Vec<u8>, i64) = (row.get(0), row.get(1));
        let (head, event): (Vec<u8>, i64) = (row.get(2), row.get(3));
        let uid = uid.first_chunk::<16>().copied().unwrap_or_default();
        // An event in clear that should be encrypted proves nothing about the keys.
        let is_clear = sealer.is_forged(key, event);
        if !is_clear
            && sealer
                .open_part((key, event), &uid, SealedPart::Head, head)
                .is_err()
        {
            return Err(StoreError::SchemaKey {
                schema: schema.to_owned(),
            });
        }
    }
    Ok(())
}

/// Returns the highest number of an event that may be in clear: the last one in clear, or the last of all if no key was
/// ever in use.
async fn last_clear(session: &Session) -> Result<i64, StoreError> {
    let sql = "SELECT coalesce(CASE WHEN EXISTS (SELECT 1 FROM sealing_key)
        THEN (SELECT max(event) FROM content WHERE sealing_key = 0)
        ELSE (SELECT max(id) FROM event) END, 0)";
    let row = session.query_one(sql, &[]).await;
    Ok(row.map_err(StoreError::Postgres)?.get(0))
}
