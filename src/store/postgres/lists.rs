//! Lists of events, deliveries and attempts.

use crate::model::delivery::DeliveryId;
use crate::model::ids::RequestId;
use crate::store::error::StoreError;
use crate::store::postgres::store::PostgresStore;
use crate::store::rows::StoredEvent;
use crate::store::search::{
    AttemptRow, DeliveryRow, DeliverySearch, EventRow, EventSearch, ListPage,
};

impl PostgresStore {
    pub(in crate::store) async fn event(
        &self,
        _uid: RequestId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn events(
        &self,
        _search: EventSearch,
        _page: ListPage,
    ) -> Result<Vec<EventRow>, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn events_with_text(
        &self,
        _search: EventSearch,
        _text: String,
        _page: ListPage,
    ) -> Result<(Vec<EventRow>, Option<i64>), StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn deliveries(
        &self,
        _search: DeliverySearch,
        _page: ListPage,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn attempts(
        &self,
        _delivery: DeliveryId,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        Err(StoreError::Closed)
    }
}
