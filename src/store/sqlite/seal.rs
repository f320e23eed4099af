//! Sealing of what is private in the store: heads, bodies, first bytes of answers.
//!
//! AES-256-GCM with a random nonce, under a key that is derived for each event from the master key and the event's uid: no
//! key seals enough for two nonces to meet. What is sealed is bound to its event and its part, so that no row can be moved
//! to another place. Beside each row stands the number of its master key; the first key of the config seals, all open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use rusqlite::Connection;

use crate::model::secret::Secret;

/// The number of "in clear".
const CLEAR: i64 = 0;

/// What of an event is sealed.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Head,
    Body,
    /// Of this attempt of this delivery.
    Answer(i64, u32),
}

/// The keys with their numbers in one store.
pub(super) struct Sealer {
    keys: Vec<(i64, hkdf::Prk)>,
}

/// What could not be opened: another key, or damage.
pub(super) struct Unopened;

impl Part {
    fn text(self) -> String {
        match self {
            Self::Head => "head".to_owned(),
            Self::Body => "body".to_owned(),
            Self::Answer(delivery, attempt) => format!("answer {delivery} {attempt}"),
        }
    }
}

/// A key as it stands in memory, and what names it in the file.
fn derive(secret: &Secret) -> Option<(hkdf::Prk, [u8; 16])> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"hookgate store");
    let key = salt.extract(secret.expose());
    let mut print = [0; 32];
    let okm = key.expand(&[b"print"], hkdf::HKDF_SHA256).ok()?;
    okm.fill(&mut print).ok()?;
    let print = print.first_chunk().copied()?;
    Some((key, print))
}

impl Sealer {
    /// Finds the numbers of the keys. Where `is_writing`, the first one gets a number if it has none.
    pub(super) fn open(
        conn: &Connection,
        secrets: &[Secret],
        is_writing: bool,
    ) -> rusqlite::Result<Self> {
        let mut keys = Vec::new();
        for (place, (key, print)) in secrets.iter().filter_map(derive).enumerate() {
            if place == 0 && is_writing {
                conn.execute(
                    "INSERT INTO sealing_key (print) VALUES (?1) ON CONFLICT DO NOTHING",
                    [&print[..]],
                )?;
            }
            let mut stmt = conn.prepare("SELECT id FROM sealing_key WHERE print = ?1")?;
            let mut rows = stmt.query([&print[..]])?;
            if let Some(row) = rows.next()? {
                keys.push((row.get(0)?, key));
            }
        }
        Ok(Self { keys })
    }

    fn key(master: &hkdf::Prk, uid: &[u8; 16]) -> Option<LessSafeKey> {
        let info: [&[u8]; 2] = [b"event", uid];
        let okm = master.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }

    fn aad(uid: &[u8; 16], part: Part) -> Aad<Vec<u8>> {
        let mut aad = uid.to_vec();
        aad.extend_from_slice(part.text().as_bytes());
        Aad::from(aad)
    }

    /// The bytes as they are stored, and the number of the key.
    pub(super) fn seal(
        &self,
        uid: &[u8; 16],
        part: Part,
        plain: &[u8],
    ) -> Result<(i64, Vec<u8>), Unopened> {
        let Some((number, master)) = self.keys.first() else {
            return Ok((CLEAR, plain.to_vec()));
        };
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Unopened)?;
        let key = Self::key(master, uid).ok_or(Unopened)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = sealed.get_mut(NONCE_LEN..).ok_or(Unopened)?;
        let tag = key
            .seal_in_place_separate_tag(nonce, Self::aad(uid, part), text)
            .map_err(|_| Unopened)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok((*number, sealed))
    }

    /// Whether what is stored goes in as it is.
    pub(super) fn is_clear(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn open_part(
        &self,
        number: i64,
        uid: &[u8; 16],
        part: Part,
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, Unopened> {
        if number == CLEAR {
            return Ok(stored);
        }
        let known = self.keys.iter().find(|(known, _)| *known == number);
        let (_, master) = known.ok_or(Unopened)?;
        let key = Self::key(master, uid).ok_or(Unopened)?;
        let mut sealed = stored;
        let nonce = sealed.first_chunk::<NONCE_LEN>().ok_or(Unopened)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key
            .open_within(nonce, Self::aad(uid, part), &mut sealed, NONCE_LEN..)
            .map_err(|_| Unopened)?;
        let length = plain.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}
