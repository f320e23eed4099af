//! Steps that operators apply to deliveries: retry, cancel, discard.

use crate::store::error::StoreError;
use crate::store::postgres::store::PostgresStore;
use crate::store::search::StepSelection;

impl PostgresStore {
    pub(in crate::store) async fn change(
        &self,
        _selection: StepSelection,
        _now_ms: i64,
    ) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }
}
