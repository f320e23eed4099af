//! The numbers of encryption keys in the file, and the check that the config still has the keys.

use std::path::Path;

use hookgate_verify::model::secret::Secret;
use rusqlite::{Connection, OptionalExtension, params};

use crate::store::error::StoreError;
use crate::store::seal::{CLEAR, ContentSealer, DerivedKey, SealedPart, SealingKeyRow};
use crate::store::sqlite::connect::open_failed;

/// Finds the numbers of the keys. If `is_writing`, assigns one to the first key if it has no number.
pub(super) fn open(
    conn: &Connection,
    secrets: &[Secret],
    is_writing: bool,
) -> rusqlite::Result<ContentSealer> {
    let derived = DerivedKey::derive_all(secrets);
    // A file with an older schema, which is only read, lacks these columns.
    let sql = "SELECT count(*) FROM pragma_table_info('sealing_key') WHERE name = 'last_clear'";
    let has_columns: bool = conn.query_row(sql, [], |row| row.get(0))?;
    let find = |print: &[u8; 16]| {
        let sql = match has_columns {
            true => "SELECT id, last_clear, last_clear_seal FROM sealing_key WHERE print = ?1",
            false => "SELECT id, NULL, NULL FROM sealing_key WHERE print = ?1",
        };
        let row = conn.query_row(sql, [&print[..]], |row| {
            Ok(SealingKeyRow {
                number: row.get(0)?,
                last_clear: row.get(1)?,
                last_clear_seal: row.get(2)?,
            })
        });
        row.optional()
    };
    let mut sealer = ContentSealer::default();
    for key in &derived {
        if let Some(row) = find(&key.print)? {
            sealer.add_numbered(key, &row);
        }
    }
    if is_writing {
        number_keys(conn, &mut sealer, &derived)?;
    }
    Ok(sealer)
}

/// Assigns a number to the first key if it lacks one, and stores the last event in clear beside each key.
fn number_keys(
    conn: &Connection,
    sealer: &mut ContentSealer,
    derived: &[DerivedKey],
) -> rusqlite::Result<()> {
    let Some(first) = derived.first() else {
        // New events are stored in clear from now on, so the stored numbers are void. The next key computes them
        // again.
        let sql = "UPDATE sealing_key SET last_clear = NULL, last_clear_seal = NULL
            WHERE last_clear IS NOT NULL";
        conn.execute(sql, [])?;
        return Ok(());
    };
    let last_clear = match sealer.last_clear() {
        Some(known) => known,
        None => last_clear(conn)?,
    };
    sealer.set_last_clear(last_clear);
    let sql = "INSERT INTO sealing_key (print) VALUES (?1) ON CONFLICT DO NOTHING";
    if conn.execute(sql, [&first.print[..]])? > 0 {
        sealer.add_first(conn.last_insert_rowid(), first);
    }
    for (number, proof) in sealer.proofs(last_clear) {
        let sql = "UPDATE sealing_key SET last_clear = ?2, last_clear_seal = ?3
            WHERE id = ?1 AND last_clear IS NULL";
        conn.execute(sql, params![number, last_clear, proof])?;
    }
    Ok(())
}

/// Verifies that the last encrypted events can be decrypted. If not, the config has lost a key, and starting would hide
/// that.
pub(super) fn check_keys(
    sealer: &ContentSealer,
    conn: &Connection,
    path: &Path,
) -> Result<(), StoreError> {
    let failed = |err| open_failed(path, err);
    let sql = "SELECT event.uid, content.sealing_key, content.head, event.id FROM content
        JOIN event ON event.id = content.event ORDER BY content.event DESC LIMIT 8";
    let mut stmt = conn.prepare(sql).map_err(failed)?;
    let rows = stmt
        .query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .map_err(failed)?;
    for row in rows {
        let (uid, key, head, event): ([u8; 16], i64, Vec<u8>, i64) = row.map_err(failed)?;
        // An event in clear that should be encrypted proves nothing about the keys.
        let is_clear = sealer.is_forged(key, event);
        let part = SealedPart::Head;
        if !is_clear && sealer.open_part((key, event), &uid, part, head).is_err() {
            return Err(StoreError::Key {
                path: path.to_owned(),
            });
        }
    }
    Ok(())
}

/// Returns the last event before the first encrypted one. All events up to it are in clear, all later ones are
/// encrypted. Returns the last event of all if no event is encrypted.
fn last_clear(conn: &Connection) -> rusqlite::Result<i64> {
    let last: i64 = conn.query_row("SELECT last_event FROM total", [], |row| row.get(0))?;
    let sql = "SELECT event, sealing_key FROM content WHERE event > ?1 ORDER BY event LIMIT 1";
    let mut stmt = conn.prepare(sql)?;
    // Encrypted events come after those in clear, so a binary search finds the border.
    let (mut clear, mut sealed) = (0, last.saturating_add(1));
    while sealed - clear > 1 {
        let middle = clear + (sealed - clear) / 2;
        let found: Option<(i64, i64)> = stmt
            .query_row([middle - 1], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((event, CLEAR)) => clear = event.max(middle),
            _ => sealed = middle,
        }
    }
    let any: bool = conn.query_row("SELECT EXISTS (SELECT 1 FROM sealing_key)", [], |row| {
        row.get(0)
    })?;
    Ok(if any { clear } else { last })
}
