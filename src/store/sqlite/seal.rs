//! Encryption of private content in the store: heads, bodies and first bytes of responses.
//!
//! It uses AES-256-GCM with a random nonce, under a key derived for each event from the master key and the event's uid,
//! so no key encrypts enough for two nonces to collide. The additional data binds each ciphertext to its event and
//! part, so that no row can be moved elsewhere. Each row names the number of its master key. The first key of the
//! config encrypts, all keys decrypt.
//!
//! From its first key on, a store encrypts everything. The number of the last event before that is stored beside each
//! key, with a proof made with the key. The gate did not write a later row in clear, and never opens it.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use rusqlite::{Connection, OptionalExtension, params};

use crate::model::secret::Secret;
use crate::store::error::StoreError;
use crate::store::sqlite::connect::open_failed;

/// Number in place of a key for content in clear.
const CLEAR: i64 = 0;

/// Returns the error for a failure of the random number generator or the cipher.
pub(super) fn seal_failed() -> StoreError {
    let text = "the content could not be encrypted".to_owned();
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR);
    StoreError::Write(rusqlite::Error::SqliteFailure(code, Some(text)))
}

/// The part of an event that is encrypted.
#[derive(Clone, Copy)]
pub(super) enum SealedPart {
    Head,
    Body,
    /// The response of this attempt of this delivery.
    Answer(i64, u32),
}

/// The keys, with their numbers in one store.
#[derive(Default)]
pub(super) struct ContentSealer {
    keys: Vec<(i64, hkdf::Prk)>,
    /// The last event that may be in clear. Without a key this is `None`, and every event may be.
    last_clear: Option<i64>,
}

/// The content could not be decrypted: another key encrypted it, or it is damaged.
pub(super) struct UnsealError;

impl SealedPart {
    fn text(self) -> String {
        match self {
            Self::Head => "head".to_owned(),
            Self::Body => "body".to_owned(),
            Self::Answer(delivery, attempt) => format!("answer {delivery} {attempt}"),
        }
    }
}

/// Derives the master key, and the value that identifies it in the file.
fn derive(secret: &Secret) -> Option<(hkdf::Prk, [u8; 16])> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"hookgate store");
    let key = salt.extract(secret.expose());
    let mut print = [0; 32];
    let okm = key.expand(&[b"print"], hkdf::HKDF_SHA256).ok()?;
    okm.fill(&mut print).ok()?;
    let print = print.first_chunk().copied()?;
    Some((key, print))
}

/// Computes the proof that the gate wrote the number of the last event in clear.
fn prove(key: &hkdf::Prk, last_clear: i64) -> Option<[u8; 32]> {
    let number = last_clear.to_le_bytes();
    let info: [&[u8]; 2] = [b"last clear", &number];
    let mut proof = [0; 32];
    key.expand(&info, hkdf::HKDF_SHA256)
        .ok()?
        .fill(&mut proof)
        .ok()?;
    Some(proof)
}

/// Number of a key, with the last event in clear and its proof.
type KeyRow = (i64, Option<i64>, Option<Vec<u8>>);

impl ContentSealer {
    /// Finds the numbers of the keys. If `is_writing`, assigns one to the first key if it has no number.
    pub(super) fn open(
        conn: &Connection,
        secrets: &[Secret],
        is_writing: bool,
    ) -> rusqlite::Result<Self> {
        let derived: Vec<_> = secrets.iter().filter_map(derive).collect();
        // A file with an older schema, which is only read, lacks these columns.
        let sql = "SELECT count(*) FROM pragma_table_info('sealing_key') WHERE name = 'last_clear'";
        let has_columns: bool = conn.query_row(sql, [], |row| row.get(0))?;
        let find = |print: &[u8; 16]| {
            let sql = match has_columns {
                true => "SELECT id, last_clear, last_clear_seal FROM sealing_key WHERE print = ?1",
                false => "SELECT id, NULL, NULL FROM sealing_key WHERE print = ?1",
            };
            let row = conn.query_row(sql, [&print[..]], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            });
            row.optional()
        };
        let mut sealer = Self::default();
        for (key, print) in &derived {
            let found: Option<KeyRow> = find(print)?;
            if let Some((number, last_clear, proof)) = found {
                let proven = last_clear.filter(|last| {
                    prove(key, *last).as_ref().map(|proof| &proof[..]) == proof.as_deref()
                });
                let last_clear = match (last_clear, proven) {
                    (Some(_), Some(proven)) => Some(proven),
                    // Something other than the gate changed the number, so trust no event in clear.
                    (Some(_), None) => Some(-1),
                    (None, _) => None,
                };
                // If keys disagree, trust the smallest number, which accepts the fewest events in clear.
                sealer.last_clear = sealer.last_clear.into_iter().chain(last_clear).min();
                sealer.keys.push((number, key.clone()));
            }
        }
        if is_writing {
            sealer.number_keys(conn, &derived)?;
        }
        Ok(sealer)
    }

    /// Assigns a number to the first key if it lacks one, and stores the last event in clear beside each key.
    fn number_keys(
        &mut self,
        conn: &Connection,
        derived: &[(hkdf::Prk, [u8; 16])],
    ) -> rusqlite::Result<()> {
        let Some((first, print)) = derived.first() else {
            // New events are stored in clear from now on, so the stored numbers are void. The next key computes them
            // again.
            let sql = "UPDATE sealing_key SET last_clear = NULL, last_clear_seal = NULL
                WHERE last_clear IS NOT NULL";
            conn.execute(sql, [])?;
            return Ok(());
        };
        let last_clear = match self.last_clear {
            Some(known) => known,
            None => last_clear(conn)?,
        };
        self.last_clear = Some(last_clear);
        let sql = "INSERT INTO sealing_key (print) VALUES (?1) ON CONFLICT DO NOTHING";
        if conn.execute(sql, [&print[..]])? > 0 {
            self.keys
                .insert(0, (conn.last_insert_rowid(), first.clone()));
        }
        for (number, key) in &self.keys {
            let sql = "UPDATE sealing_key SET last_clear = ?2, last_clear_seal = ?3
                WHERE id = ?1 AND last_clear IS NULL";
            let proof = prove(key, last_clear).map(|proof| proof.to_vec());
            conn.execute(sql, params![number, last_clear, proof])?;
        }
        Ok(())
    }

    /// Returns whether the gate cannot have written this row, because it is in clear.
    pub(super) fn is_forged(&self, number: i64, event: i64) -> bool {
        number == CLEAR && self.last_clear.is_some_and(|last| event > last)
    }

    fn key(master: &hkdf::Prk, uid: &[u8; 16]) -> Option<LessSafeKey> {
        let info: [&[u8]; 2] = [b"event", uid];
        let okm = master.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }

    fn aad(uid: &[u8; 16], part: SealedPart) -> Aad<Vec<u8>> {
        let mut aad = uid.to_vec();
        aad.extend_from_slice(part.text().as_bytes());
        Aad::from(aad)
    }

    /// Encrypts a part. Returns the stored bytes and the number of the key.
    pub(super) fn seal(
        &self,
        uid: &[u8; 16],
        part: SealedPart,
        plain: &[u8],
    ) -> Result<(i64, Vec<u8>), UnsealError> {
        let Some((number, master)) = self.keys.first() else {
            return Ok((CLEAR, plain.to_vec()));
        };
        // Random nonces are safe here, because each event has its own key and few parts.
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| UnsealError)?;
        let key = Self::key(master, uid).ok_or(UnsealError)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = sealed.get_mut(NONCE_LEN..).ok_or(UnsealError)?;
        let tag = key
            .seal_in_place_separate_tag(nonce, Self::aad(uid, part), text)
            .map_err(|_| UnsealError)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok((*number, sealed))
    }

    /// Returns whether content is stored unencrypted.
    pub(super) fn is_clear(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn open_part(
        &self,
        (number, event): (i64, i64),
        uid: &[u8; 16],
        part: SealedPart,
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, UnsealError> {
        if number == CLEAR {
            // An attempt with an empty response has nothing to encrypt.
            return match self.is_forged(number, event) && !stored.is_empty() {
                true => Err(UnsealError),
                false => Ok(stored),
            };
        }
        let known = self.keys.iter().find(|(known, _)| *known == number);
        let (_, master) = known.ok_or(UnsealError)?;
        let key = Self::key(master, uid).ok_or(UnsealError)?;
        let mut sealed = stored;
        let nonce = sealed.first_chunk::<NONCE_LEN>().ok_or(UnsealError)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key
            .open_within(nonce, Self::aad(uid, part), &mut sealed, NONCE_LEN..)
            .map_err(|_| UnsealError)?;
        let length = plain.len();
        sealed.truncate(length);
        Ok(sealed)
    }

    /// Verifies that the last encrypted events can be decrypted. If not, the config has lost a key, and starting would
    /// hide that.
    pub(super) fn check_keys(&self, conn: &Connection, path: &Path) -> Result<(), StoreError> {
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
            let is_clear = self.is_forged(key, event);
            let part = SealedPart::Head;
            if !is_clear && self.open_part((key, event), &uid, part, head).is_err() {
                return Err(StoreError::Key {
                    path: path.to_owned(),
                });
            }
        }
        Ok(())
    }
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
