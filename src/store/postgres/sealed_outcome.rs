//! Outcomes of attempts with encrypted response bytes, as the writer records them.

use crate::store::postgres::order::OrderedKey;
use crate::store::rows::FinishedAttempt;

/// An attempt that has ended, with its response bytes already encrypted.
pub(super) struct SealedOutcome {
    pub(super) finished: FinishedAttempt,
    pub(super) order: Option<OrderedKey>,
    pub(super) sealing_key: i64,
    pub(super) answer: Vec<u8>,
}
