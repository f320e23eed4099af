//! Reasons why a request is not accepted as an event of its sender.

use std::time::Duration;

use crate::scheme::MaterialFault;

/// Reason why a request is not accepted as an event of its sender.
///
/// The texts are for the operator. A sender should learn no more than the status of the response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifyError {
    /// No secret is valid at this time.
    #[error("no secret is valid now")]
    NoCurrentSecret,
    /// A header, parameter or field that the scheme needs is missing.
    #[error("{name} is missing")]
    MissingMaterial {
        /// Name of the header, parameter or field.
        name: Box<str>,
    },
    /// A header, parameter or field that the scheme needs cannot be read.
    #[error("{name} {fault}")]
    MalformedMaterial {
        /// Name of the header, parameter or field.
        name: Box<str>,
        /// The fault, as the end of a sentence.
        fault: &'static str,
    },
    /// The signed time is too far from the clock.
    #[error("the signed time differs from the clock by {age_seconds} s, and {} s are allowed", tolerance.as_secs())]
    StaleTimestamp {
        /// Age of the signature in seconds; negative if it is from the future.
        age_seconds: i64,
        /// The allowed difference in both directions.
        tolerance: Duration,
    },
    /// No valid secret made the signature.
    #[error("no valid secret made the signature")]
    BadSignature,
    /// The body is larger than allowed once it is decompressed.
    #[error("the decompressed body exceeds {limit} bytes")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The signature is right, but the event belongs to another customer of the sender.
    #[error("the event belongs to another customer of the sender")]
    WrongTenant,
    /// The sender publishes its key at a URL that has to be read first.
    #[error("the sender's key at {url} has to be fetched first")]
    KeyNeeded {
        /// The URL of the key.
        url: Box<str>,
    },
    /// A name that identifies the event occurs more than once, so two readers could take different values.
    #[error("{fault}")]
    Identity {
        /// The fault, as a sentence.
        fault: &'static str,
    },
}

impl From<MaterialFault> for VerifyError {
    fn from(fault: MaterialFault) -> Self {
        match fault {
            MaterialFault::Missing { name } => Self::MissingMaterial { name },
            MaterialFault::Malformed { name, fault } => Self::MalformedMaterial { name, fault },
        }
    }
}
