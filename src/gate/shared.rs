//! The part of the gate that all routes share: rates of sources, keys that senders publish, and the time for a body.

use std::sync::Arc;
use std::time::Duration;

use crate::gate::rate_limit::{SourceCharge, SourceLimiters};
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::keys::KeyCache;
use crate::model::source::SourceKey;

/// The gate of one configuration snapshot. The rules of the request's route are passed to each call.
pub(crate) struct Gate {
    source_limiters: Option<Arc<SourceLimiters>>,
    pub(super) keys: Arc<KeyCache>,
    pub(super) body_timeout: Duration,
}

impl Gate {
    /// Creates a gate. Without limiters, sources have no rate.
    pub(crate) fn new(
        source_limiters: Option<Arc<SourceLimiters>>,
        keys: Arc<KeyCache>,
        body_timeout: Duration,
    ) -> Self {
        Self {
            source_limiters,
            keys,
            body_timeout,
        }
    }

    /// Returns a gate that counts nothing, to check an earlier request again.
    pub(crate) fn bare(&self) -> Self {
        Self::new(None, Arc::clone(&self.keys), self.body_timeout)
    }

    /// Charges the request to its source's rate; the charge is refunded if the signature is right.
    pub(super) fn charge_source(&self, verdict: &Verdict) -> Result<Option<SourceCharge>, Reject> {
        let Some(limiters) = &self.source_limiters else {
            return Ok(None);
        };
        // At the time when the request began: this check reads no clock of its own.
        match limiters.charge(SourceKey::of(verdict.source.ip), verdict.began) {
            Ok(charge) => Ok(Some(charge)),
            Err(retry_after) => Err(Reject::SourceRate { retry_after }),
        }
    }
}
