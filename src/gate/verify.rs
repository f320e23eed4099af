//! Compares the signature of a request, and fetches the key that this needs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::signature::{PendingVerification, VerifiedSignature};

use crate::gate::budget::BudgetShare;
use crate::gate::reject::Reject;
use crate::keys::{KeyCache, KeyFault};
use crate::model::clock::CpuTicks;
use crate::model::ids::RouteName;

/// Compares the signature, after fetching the key where the scheme needs one.
///
/// The source pays for the processor time of this, unless the signature is right. It pays before the gate waits for
/// a key: otherwise a client could make the gate parse for free by closing the connection.
pub(super) async fn verify(
    keys: &Arc<KeyCache>,
    mut pending: PendingVerification<'_>,
    body: &Bytes,
    route: &RouteName,
    share: Option<&BudgetShare>,
) -> Result<VerifiedSignature, Reject> {
    // Of the processor's counter, which costs less than the clock, since most requests are charged nothing.
    let began = CpuTicks::read();
    let charge = |since: CpuTicks| {
        let work = CpuTicks::duration(CpuTicks::read().since(since));
        share.map_or(Duration::ZERO, |share| share.charge(work, body.len()))
    };
    // Schemes with tokens parse the body here, so this counts as work too.
    let need = pending.need(body).inspect_err(|_| {
        charge(began);
    })?;
    let Some(need) = need else {
        let signed = pending.finish(body, None);
        return Ok(signed.inspect_err(|_| {
            charge(began);
        })?);
    };
    let paid = charge(began);
    let mut quota = KeyQuota::new(share);
    let finding = keys.find(&need, route, || quota.take());
    let found = Box::pin(finding).await;
    // An unknown key name is the request's fault, an unreachable key source is not: only the latter gets a 503, so
    // that the sender retries.
    let found = found.map_err(|fault| match fault {
        KeyFault::Unknown => Reject::MalformedMaterial {
            name: "the token's `kid`".into(),
            fault: "matches no key of the sender",
        },
        KeyFault::Unavailable(fault) => Reject::KeyUnavailable { fault },
        KeyFault::Spent => Reject::SourceBudget {
            retry_after: quota.wait,
        },
    })?;
    let began = CpuTicks::read();
    let signed = pending.finish(body, Some(&found));
    match &signed {
        Ok(_) => {
            quota.give_back();
            if let Some(share) = share {
                share.forgive(paid);
            }
        }
        Err(_) => {
            charge(began);
        }
    }
    Ok(signed?)
}

/// Counts the keys that one request makes the gate fetch, at the cost of its source.
struct KeyQuota<'a> {
    share: Option<&'a BudgetShare>,
    taken: u32,
    /// Time until the next fetch is allowed, set when a fetch was denied.
    wait: Duration,
}

impl<'a> KeyQuota<'a> {
    fn new(share: Option<&'a BudgetShare>) -> Self {
        Self {
            share,
            taken: 0,
            wait: Duration::ZERO,
        }
    }

    /// Takes one fetch. Returns false where the source has used up its fetches.
    fn take(&mut self) -> bool {
        let Some(share) = self.share else {
            return true;
        };
        match share.take_key() {
            Ok(()) => {
                self.taken += 1;
                true
            }
            Err(wait) => {
                self.wait = wait;
                false
            }
        }
    }

    fn give_back(&self) {
        for _ in 0..self.taken {
            if let Some(share) = self.share {
                share.forgive_key();
            }
        }
    }
}
