//! Taking due deliveries, under the limits of all nodes together.

use crate::model::delivery::DeliveryId;
use crate::store::error::StoreError;
use crate::store::nodes::BreakerReport;
use crate::store::postgres::store::PostgresStore;
use crate::store::rows::DestinationId;
use crate::store::take::{TakeRequest, TakeResult};

impl PostgresStore {
    pub(in crate::store) async fn take(
        &self,
        _request: TakeRequest,
    ) -> Result<TakeResult, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn next_due(
        &self,
        _destination: DestinationId,
    ) -> Result<Option<i64>, StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) async fn give_back(
        &self,
        _delivery: DeliveryId,
        _attempt: u32,
    ) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    pub(in crate::store) fn report_breaker(
        &self,
        _destination: DestinationId,
        _report: BreakerReport,
    ) {
    }
}
