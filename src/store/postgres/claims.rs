//! Claims: the dedup keys of events that an app or the inbox has taken.

use crate::model::ids::RouteName;
use crate::store::error::StoreError;
use crate::store::postgres::store::PostgresStore;
use crate::store::rows::SpentClaim;

impl PostgresStore {
    pub(in crate::store) fn spend(&self, _claims: Vec<SpentClaim>) {}

    pub(in crate::store) fn claims(
        &self,
        _route: &RouteName,
        _now_ms: i64,
        _limit: u64,
    ) -> Result<Vec<SpentClaim>, StoreError> {
        Err(StoreError::Closed)
    }
}
