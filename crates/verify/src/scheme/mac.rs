//! HMACs and plain digests behind one type, keyed once and cloned for each request.

use aws_lc_rs::digest as plain;
use hmac::{Hmac, KeyInit, Mac as _};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use sha3::{Digest as _, Keccak256};
use subtle::{Choice, ConstantTimeEq};

use crate::scheme::spec::DigestAlgorithm;

/// Length of the longest digest in bytes, that of SHA-512.
const MAX_DIGEST: usize = 64;

/// A digest of any supported algorithm.
#[derive(Clone, Copy)]
pub(super) struct DigestBytes {
    bytes: [u8; MAX_DIGEST],
    len: usize,
}

impl DigestBytes {
    /// Copies the bytes; returns `None` if they are longer than any digest.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let mut digest = Self {
            bytes: [0; MAX_DIGEST],
            len: bytes.len(),
        };
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }

    /// Compares in constant time. Digests of one algorithm have equal lengths, so the length check leaks nothing.
    pub(super) fn ct_eq(&self, other: &Self) -> Choice {
        self.as_bytes().ct_eq(other.as_bytes())
    }

    /// Returns 32 bytes: the digest, cut or zero-padded.
    pub(super) fn first_32(&self) -> [u8; 32] {
        // Half of a SHA-512 still has 256 bits, which is enough to identify the signed bytes.
        let mut first = [0; 32];
        for (to, from) in first.iter_mut().zip(self.bytes) {
            *to = from;
        }
        first
    }
}

/// An HMAC with its key, and perhaps some text.
#[derive(Clone)]
pub(super) enum KeyedMac {
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    // Boxed: their states are twice as large, and every request moves a `KeyedMac` several times.
    Sha384(Box<Hmac<Sha384>>),
    Sha512(Box<Hmac<Sha512>>),
}

impl KeyedMac {
    /// Takes a key of any length. Returns `None` for a digest that no sender uses in an HMAC.
    pub(super) fn new(algorithm: DigestAlgorithm, key: &[u8]) -> Option<Self> {
        match algorithm {
            DigestAlgorithm::Md5 => Hmac::new_from_slice(key).map(Self::Md5),
            DigestAlgorithm::Sha1 => Hmac::new_from_slice(key).map(Self::Sha1),
            DigestAlgorithm::Sha256 => Hmac::new_from_slice(key).map(Self::Sha256),
            DigestAlgorithm::Sha384 => Hmac::new_from_slice(key).map(Box::new).map(Self::Sha384),
            DigestAlgorithm::Sha512 => Hmac::new_from_slice(key).map(Box::new).map(Self::Sha512),
            // No sender uses Keccak-256 in an HMAC.
            DigestAlgorithm::Keccak256 => return None,
        }
        .ok()
    }

    /// Feeds the next piece of text.
    pub(super) fn update(&mut self, text: &[u8]) {
        match self {
            Self::Md5(mac) => mac.update(text),
            Self::Sha1(mac) => mac.update(text),
            Self::Sha256(mac) => mac.update(text),
            Self::Sha384(mac) => mac.update(text),
            Self::Sha512(mac) => mac.update(text),
        }
    }

    /// Returns the digest of the text so far.
    pub(super) fn finish(self) -> Option<DigestBytes> {
        match self {
            Self::Md5(mac) => DigestBytes::new(&mac.finalize().into_bytes()),
            Self::Sha1(mac) => DigestBytes::new(&mac.finalize().into_bytes()),
            Self::Sha256(mac) => DigestBytes::new(&mac.finalize().into_bytes()),
            Self::Sha384(mac) => DigestBytes::new(&mac.finalize().into_bytes()),
            Self::Sha512(mac) => DigestBytes::new(&mac.finalize().into_bytes()),
        }
    }
}

/// Returns a plain digest; `None` for a digest that is too weak without a key.
pub(super) fn digest(algorithm: DigestAlgorithm, text: &[u8]) -> Option<DigestBytes> {
    let algorithm = match algorithm {
        // MD5 is broken without a key: an attacker can make collisions.
        DigestAlgorithm::Md5 => return None,
        DigestAlgorithm::Keccak256 => return DigestBytes::new(&Keccak256::digest(text)),
        DigestAlgorithm::Sha1 => &plain::SHA1_FOR_LEGACY_USE_ONLY,
        DigestAlgorithm::Sha256 => &plain::SHA256,
        DigestAlgorithm::Sha384 => &plain::SHA384,
        DigestAlgorithm::Sha512 => &plain::SHA512,
    };
    DigestBytes::new(plain::digest(algorithm, text).as_ref())
}

/// Returns the length of an algorithm's digest, in bytes.
pub(super) fn digest_len(algorithm: DigestAlgorithm) -> usize {
    match algorithm {
        DigestAlgorithm::Md5 => 16,
        DigestAlgorithm::Sha1 => 20,
        DigestAlgorithm::Sha256 | DigestAlgorithm::Keccak256 => 32,
        DigestAlgorithm::Sha384 => 48,
        DigestAlgorithm::Sha512 => 64,
    }
}
