//! Explains why a request was rejected: the check, its evidence and the likely cause.
//!
//! Runs for operators, off the hot path. The gate's own checks run once more over the request, at the time of its
//! arrival and without claims and limits. If the signature does not verify, hypotheses are tried one after the other:
//! each changes one thing (a secret's line end, the URL, the encoding of a signature) and runs the real verification
//! again. The change that makes it pass is the cause.
//!
//! This module must never verify by itself. All tries are bounded, and no text that it returns may hold a secret or a
//! valid signature.

mod body;
mod case;
pub(crate) mod cause;
mod evidence;
mod explainer;
mod explanation;
mod head;
mod investigate;
mod json;
mod past_request;
mod repeat;
mod request_checks;
mod secret;
mod sender;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod trial;
mod url;

pub(crate) use crate::explain::explainer::RefusalExplainer;
pub(crate) use crate::explain::explanation::RefusalExplanation;
pub(crate) use crate::explain::past_request::{PastRequest, RecordedRefusal};
pub(crate) use crate::explain::repeat::{EarlierRequest, is_repeat};
