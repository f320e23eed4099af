//! Event identity from a provider file: the dedup key, and the events inside a batch.

use std::fmt;

use crate::scheme::spec::family::{SchemeFamily, SchemeSpec};
use crate::scheme::spec::location::FieldLocation;

/// Dedup key of a sender's events. Without parts nothing identifies an event, and there is no dedup.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IdentityKey {
    /// Parts of the key. All of them must be present, and together they are the key.
    pub parts: Vec<KeyPart>,
}

/// One part of a dedup key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyPart {
    /// The digest of the signed bytes.
    SignedBytes,
    /// The first of these locations with a value.
    Fields(Vec<FieldLocation>),
}

/// Location of the events in a body with several of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchSpec {
    /// Steps to the elements; `*` matches each element of an array.
    pub elements: Vec<String>,
    /// Steps from an element to its type, if it has one.
    pub event_type: Option<Vec<String>>,
}

impl IdentityKey {
    /// Returns the key that consists of one id: the first of these locations with a value.
    #[must_use]
    pub fn of_fields(fields: &[FieldLocation]) -> Self {
        let part = (!fields.is_empty()).then(|| KeyPart::Fields(fields.to_vec()));
        Self {
            parts: part.into_iter().collect(),
        }
    }

    /// Returns whether requests of this sender have no key.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns whether equal signed bytes have equal keys, whatever else differs.
    #[must_use]
    pub fn is_signed_bytes(&self) -> bool {
        self.parts == [KeyPart::SignedBytes]
    }

    /// Returns every location that the key reads.
    pub fn fields(&self) -> impl Iterator<Item = &FieldLocation> {
        self.parts.iter().flat_map(|part| match part {
            KeyPart::SignedBytes => [].iter(),
            KeyPart::Fields(fields) => fields.iter(),
        })
    }
}

impl fmt::Display for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return f.write_str("nothing");
        }
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str(" with ")?;
            }
            part.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = match self {
            Self::SignedBytes => return f.write_str("the digest of the signed bytes"),
            Self::Fields(fields) => fields,
        };
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                f.write_str(" or ")?;
            }
            field.fmt(f)?;
        }
        Ok(())
    }
}

impl SchemeSpec {
    /// Returns whether requests carry a signature: a shared token signs nothing.
    #[must_use]
    pub fn signs_bytes(&self) -> bool {
        !matches!(self.family, SchemeFamily::Token(_))
    }

    /// Returns whether the signature covers every part of a key, so that only the sender can make a request under it.
    #[must_use]
    pub fn signs_key(&self, key: &IdentityKey) -> bool {
        !key.is_nothing() && key.fields().all(|field| self.signs_field(field))
    }
}
