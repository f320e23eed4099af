//! Encryption of private content in the store: heads, bodies and first bytes of responses.
//!
//! It uses AES-256-GCM with a random nonce, under a key derived for each event from the master key and the event's uid,
//! so no key encrypts enough for two nonces to collide. The additional data binds each ciphertext to its event and
//! part, so that no row can be moved elsewhere. Each row names the number of its master key. The first key of the
//! config encrypts, all keys decrypt.
//!
//! From its first key on, a store encrypts everything. The number of the last event before that is stored beside each
//! key, with a proof made with the key. The gate did not write a later row in clear, and never opens it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use hookgate_verify::model::secret::Secret;

use crate::store::error::StoreError;

/// Number in place of a key for content in clear.
pub(in crate::store) const CLEAR: i64 = 0;

/// Returns the error for a failure of the random number generator or the cipher.
pub(in crate::store) fn seal_failed() -> StoreError {
    let text = "the content could not be encrypted".to_owned();
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR);
    StoreError::Write(rusqlite::Error::SqliteFailure(code, Some(text)))
}

/// The part of an event that is encrypted.
#[derive(Clone, Copy)]
pub(in crate::store) enum SealedPart {
    Head,
    Body,
    /// The response of this attempt of this delivery.
    Answer(i64, u32),
    /// A document about a certificate, which belongs to no event.
    Certificate,
}

/// The keys, with their numbers in one store.
#[derive(Default)]
pub(in crate::store) struct ContentSealer {
    keys: Vec<(i64, hkdf::Prk)>,
    /// The last event that may be in clear. Without a key this is `None`, and every event may be.
    last_clear: Option<i64>,
}

/// The content could not be decrypted: another key encrypted it, or it is damaged.
pub(in crate::store) struct UnsealError;

impl SealedPart {
    fn text(self) -> String {
        match self {
            Self::Head => "head".to_owned(),
            Self::Body => "body".to_owned(),
            Self::Certificate => "certificate".to_owned(),
            Self::Answer(delivery, attempt) => format!("answer {delivery} {attempt}"),
        }
    }
}

/// Derives the master key, and the value that identifies it in the file.
fn derive(secret: &Secret) -> Option<DerivedKey> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"hookgate store");
    let key = salt.extract(secret.expose());
    let mut print = [0; 32];
    let okm = key.expand(&[b"print"], hkdf::HKDF_SHA256).ok()?;
    okm.fill(&mut print).ok()?;
    let print = print.first_chunk().copied()?;
    Some(DerivedKey { key, print })
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

/// The stored row of a key: its number, and the last event in clear with its proof.
pub(in crate::store) struct SealingKeyRow {
    pub(in crate::store) number: i64,
    pub(in crate::store) last_clear: Option<i64>,
    pub(in crate::store) last_clear_seal: Option<Vec<u8>>,
}

/// A master key, with the value that identifies it in the store.
pub(in crate::store) struct DerivedKey {
    key: hkdf::Prk,
    pub(in crate::store) print: [u8; 16],
}

impl DerivedKey {
    /// Derives the keys of a config.
    pub(in crate::store) fn derive_all(secrets: &[Secret]) -> Vec<Self> {
        secrets.iter().filter_map(derive).collect()
    }

    fn prove(&self, last_clear: i64) -> Option<[u8; 32]> {
        prove(&self.key, last_clear)
    }
}

impl ContentSealer {
    /// Adds a key that has a number in the store, with the stored last event in clear and its proof.
    pub(in crate::store) fn add_numbered(&mut self, key: &DerivedKey, row: &SealingKeyRow) {
        let proven = row.last_clear.filter(|last| {
            key.prove(*last).as_ref().map(|proof| &proof[..]) == row.last_clear_seal.as_deref()
        });
        let last_clear = match (row.last_clear, proven) {
            (Some(_), Some(proven)) => Some(proven),
            // Something other than the gate changed the number, so trust no event in clear.
            (Some(_), None) => Some(-1),
            (None, _) => None,
        };
        // If keys disagree, trust the smallest number, which accepts the fewest events in clear.
        self.last_clear = self.last_clear.into_iter().chain(last_clear).min();
        self.keys.push((row.number, key.key.clone()));
    }

    /// Adds the key that encrypts from now on, which just got its number.
    pub(in crate::store) fn add_first(&mut self, number: i64, key: &DerivedKey) {
        self.keys.insert(0, (number, key.key.clone()));
    }

    /// Returns the last event that may be in clear, if a key was ever in use.
    pub(in crate::store) fn last_clear(&self) -> Option<i64> {
        self.last_clear
    }

    pub(in crate::store) fn set_last_clear(&mut self, last_clear: i64) {
        self.last_clear = Some(last_clear);
    }

    /// Returns the number of each key, with the proof to store beside it.
    pub(in crate::store) fn proofs(&self, last_clear: i64) -> Vec<(i64, Option<Vec<u8>>)> {
        let proof = |key| prove(key, last_clear).map(|proof| proof.to_vec());
        self.keys
            .iter()
            .map(|(number, key)| (*number, proof(key)))
            .collect()
    }

    /// Returns whether the gate cannot have written this row, because it is in clear.
    pub(in crate::store) fn is_forged(&self, number: i64, event: i64) -> bool {
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
    pub(in crate::store) fn seal(
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
    pub(in crate::store) fn is_clear(&self) -> bool {
        self.keys.is_empty()
    }

    pub(in crate::store) fn open_part(
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
}
