//! Retention: deleting events, attempts and claims after their time.

use crate::store::error::StoreError;
use crate::store::options::{PurgeResult, RetentionLimits};
use crate::store::postgres::store::PostgresStore;

impl PostgresStore {
    pub(in crate::store) async fn purge(
        &self,
        _retention: &RetentionLimits,
        _now_ms: i64,
    ) -> Result<PurgeResult, StoreError> {
        Err(StoreError::Closed)
    }
}
