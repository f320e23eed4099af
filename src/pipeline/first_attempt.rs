//! The first attempt of hybrid mode, after its event was stored.
//!
//! Its outcome, now or when it ends, goes to the deliverer, which judges it like every other attempt.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::RETRY_AFTER;
use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::deliver::{DeliveryEngine, FirstAttempt};
use crate::model::clock::{ClockReading, instant};
use crate::model::delivery::DeliveryId;
use crate::model::error;
use crate::net::response::ResponseBody;
use crate::pipeline::exchange::ExchangeResult;
use crate::record::deliveries::AttemptedEvent;
use crate::store::rows::{DestinationId, KEPT_ANSWER};

/// How long to wait for the beginning of a response. It is useful to store, but must not delay the outcome for long.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// A running exchange with the app.
pub(super) type ExchangeFuture = Pin<Box<dyn Future<Output = Option<ExchangeResult>> + Send>>;

/// The state of the exchange when its event is stored.
pub(super) enum LateExchange {
    Ended(ExchangeResult),
    Running(ExchangeFuture),
}

/// The identity of the attempt.
pub(super) struct FirstAttemptContext {
    pub(super) destination: DestinationId,
    pub(super) delivery: DeliveryId,
    pub(super) started: ClockReading,
    pub(super) event: AttemptedEvent,
}

impl FirstAttemptContext {
    /// Reports the outcome to the deliverer. `None` means that the exchange was given up.
    pub(super) async fn report(
        self,
        deliverer: Arc<DeliveryEngine>,
        result: Option<ExchangeResult>,
    ) {
        let attempt = self.attempt(result).await;
        deliverer.finish_first(attempt).await;
    }

    /// Waits for the end of the exchange and reports it.
    pub(super) async fn wait(
        self,
        deliverer: Arc<DeliveryEngine>,
        exchanging: ExchangeFuture,
        permit: OwnedSemaphorePermit,
    ) {
        let result = exchanging.await;
        self.report(deliverer, result).await;
        drop(permit);
    }

    async fn attempt(self, result: Option<ExchangeResult>) -> FirstAttempt {
        let took = instant().saturating_duration_since(self.started.mono);
        let mut attempt = FirstAttempt {
            destination: self.destination,
            delivery: self.delivery,
            started: self.started,
            took,
            status: None,
            response_start: Bytes::new(),
            retry_after: None,
            error: None,
            event: self.event,
        };
        match result {
            Some(Ok(forwarded)) => {
                attempt.status = Some(forwarded.status);
                attempt.retry_after = forwarded.response.headers().get(RETRY_AFTER).cloned();
                // The sender does not get an error page of the app, but operators look for it here.
                let body = match forwarded.error_page {
                    Some(page) => *page,
                    None => forwarded.response.into_body(),
                };
                attempt.response_start = start_of(body).await;
            }
            Some(Err(err)) => attempt.error = Some((err.kind(), error::chain(&err))),
            None => {
                attempt.error = Some((
                    "abandoned",
                    "hookgate gave up waiting for the response".to_owned(),
                ))
            }
        }
        attempt
    }
}

/// Returns as much of the body as is stored and arrives soon.
async fn start_of(mut body: ResponseBody) -> Bytes {
    let mut start = BytesMut::new();
    let reading = async {
        while start.len() < KEPT_ANSWER {
            let Some(Ok(frame)) = body.frame().await else {
                return;
            };
            let data = frame.into_data().unwrap_or_default();
            let room = KEPT_ANSWER.saturating_sub(start.len()).min(data.len());
            start.extend_from_slice(data.get(..room).unwrap_or_default());
        }
    };
    // If time runs out, the part that has arrived is enough.
    let _ = tokio::time::timeout(START_PATIENCE, reading).await;
    start.freeze()
}
