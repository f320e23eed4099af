//! Replays: delivering old events again, as new deliveries in the order of the events.

use crate::store::error::StoreError;
use crate::store::postgres::store::PostgresStore;
use crate::store::search::{ReplayRow, ReplaySearch};

impl PostgresStore {
    pub(in crate::store) async fn count_replay(
        &self,
        _replay: &ReplaySearch,
    ) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn begin_replay(
        &self,
        _replay: ReplaySearch,
        _now_ms: i64,
    ) -> Result<ReplayRow, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn step_replay(
        &self,
        _id: i64,
        _limit: u64,
        _now_ms: i64,
    ) -> Result<Option<ReplayRow>, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn pause_replay(
        &self,
        _id: i64,
        _is_paused: bool,
    ) -> Result<Option<ReplayRow>, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn replays(
        &self,
        _limit: u64,
    ) -> Result<Vec<ReplayRow>, StoreError> {
        Err(StoreError::Closed)
    }
}
