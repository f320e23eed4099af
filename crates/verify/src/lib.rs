#![doc = include_str!("../README.md")]

mod builder;
mod error;
mod sender_key;
mod verifier;

// These modules are for hookgate itself, and may change in any release.
#[doc(hidden)]
pub mod document;
#[doc(hidden)]
pub mod identity;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod providers;
#[doc(hidden)]
pub mod scheme;
#[doc(hidden)]
pub mod signature;

pub use crate::builder::{BuildError, VerifierBuilder};
pub use crate::error::VerifyError;
pub use crate::model::secret::Secret;
pub use crate::providers::ids as provider_ids;
pub use crate::scheme::{SchemeError, SignError};
pub use crate::sender_key::{KeyError, KeyRequest, SenderKey};
pub use crate::verifier::{BodyVerification, ReceivedHead, VerifiedEvent, Verifier};
