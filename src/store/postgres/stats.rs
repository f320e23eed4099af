//! Statistics of the store.

use crate::store::error::StoreError;
use crate::store::options::StoreStatistics;
use crate::store::postgres::store::PostgresStore;

impl PostgresStore {
    pub(in crate::store) async fn stats(&self) -> Result<StoreStatistics, StoreError> {
        Err(StoreError::Closed)
    }
}
