//! The table of operator actions.

use crate::store::audit::{ActionRow, ActionSearch, OperatorAction};
use crate::store::error::StoreError;
use crate::store::postgres::store::PostgresStore;
use crate::store::search::ListPage;

impl PostgresStore {
    pub(in crate::store) async fn record_action(
        &self,
        _action: OperatorAction,
    ) -> Result<i64, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn actions(
        &self,
        _search: ActionSearch,
        _page: ListPage,
    ) -> Result<Vec<ActionRow>, StoreError> {
        Err(StoreError::Closed)
    }
}
