//! The end of an attempt: its record and the next state of the delivery.

use std::sync::Arc;

use crate::store::error::StoreError;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::store::PostgresStore;
use crate::store::rows::FinishedAttempt;

/// An attempt that has ended, with its response bytes already encrypted.
pub(super) struct SealedOutcome {}

/// Records groups of outcomes until the queue is closed and empty.
pub(super) async fn write_groups(_shared: Arc<NodeShared>) {}

impl PostgresStore {
    pub(in crate::store) async fn finish(
        &self,
        _finished: FinishedAttempt,
    ) -> Result<bool, StoreError> {
        Err(StoreError::Closed)
    }
}
