//! The inbox: it makes a verified event durable before the sender gets a response.
//!
//! `pipeline` passes in admitted events. The event, its claims and its deliveries form one transaction of the store. An
//! `AcceptOutcome` exists only for a commit that the disk has confirmed: no other code creates one.

pub(crate) mod retention;
pub(crate) mod subscriptions;

use std::time::Duration;

use hookgate_verify::identity::dedup_key::DedupKey;
use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::scheme::standard_webhooks::message_id;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use crate::gate::dedup::DedupKeys;
use crate::gate::event::{BorrowedRequest, Event};
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::model::clock::{ClockReading, millis};
use crate::model::delivery::DeliveryId;
use crate::model::error;
use crate::model::ids::RouteName;
use crate::net::event_headers::set_marks;
use crate::store::rows::{
    ClaimRow, CommitOutcome, DestinationId, NewDelivery, NewEvent, SpentClaim, StoredEvent,
};
use crate::store::shared_claim::{SharedClaim, SharedClaimEnd, SharedClaimOutcome};
use crate::store::{Store, StoreError};

/// Accepts verified events into the store.
#[derive(Clone)]
pub(crate) struct Inbox {
    store: Store,
}

/// A commit that the disk has confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AcceptOutcome {
    /// The event is stored with these deliveries.
    Stored(Vec<(DestinationId, DeliveryId)>),
    /// The store already had the event; this is the status that the first sender got.
    Duplicate(u16),
}

/// The conditions under which an event is accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptOptions {
    /// The status of the response to the sender, and later to a duplicate.
    pub status: u16,
    /// How long the first attempts are delayed.
    pub delay: Duration,
    /// Priority -1, 0 or 1; a higher one goes first.
    pub priority: i8,
    /// True if its only delivery is already being attempted (hybrid mode).
    pub is_in_flight: bool,
}

impl AcceptOptions {
    /// Returns the terms of a normal event: no delay and normal priority.
    pub(crate) fn usual(status: u16) -> Self {
        Self {
            status,
            delay: Duration::ZERO,
            priority: 0,
            is_in_flight: false,
        }
    }
}

impl Inbox {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Commits an event. It is durable when this returns.
    ///
    /// # Errors
    /// Returns an error if a condition of a destination fails on the event, or if the store does not accept it. Nothing
    /// is stored then.
    pub(crate) async fn accept(
        &self,
        event: &Event,
        verdict: &Verdict,
        keys: Option<DedupKeys>,
        outlets: &RouteSubscriptions,
        terms: AcceptOptions,
    ) -> Result<AcceptOutcome, Reject> {
        let now = ClockReading::read();
        // Evaluate all conditions before the commit: if one fails, nothing may be stored.
        let wanted = outlets.wanted(event, verdict)?;
        // Due times and expiries are of the store's clock, which setting the wall clock does not move.
        let store_now = self.store.now();
        let due_ms = store_now.unix_ms.saturating_add(millis(terms.delay));
        let deliveries = wanted.iter().map(|(destination, order_key)| NewDelivery {
            destination: *destination,
            due_ms,
            priority: terms.priority,
            order_key: *order_key,
            is_in_flight: terms.is_in_flight,
        });
        let new = NewEvent {
            event: stored(event, verdict, outlets, now),
            claims: claims(keys.unwrap_or_default().deciding(), outlets, store_now),
            status: terms.status,
            deliveries: deliveries.collect(),
        };
        match self.store.commit(new).await {
            Ok(CommitOutcome::New(numbers)) => {
                // As part of the transaction these keys could make this event a duplicate of another.
                let watched = keys.and_then(|keys| keys.watched);
                if watched.is_some() {
                    self.remember(watched.into_iter(), outlets, terms.status);
                }
                let destinations = wanted.into_iter().map(|(destination, _)| destination);
                // The store returns the numbers in the order of the deliveries.
                Ok(AcceptOutcome::Stored(destinations.zip(numbers).collect()))
            }
            Ok(CommitOutcome::Duplicate(status)) => Ok(AcceptOutcome::Duplicate(status)),
            Err(err) => Err(refusal(&err)),
        }
    }

    /// Returns whether any destination gets no attempts now, because it is paused or disabled.
    pub(crate) fn is_held(&self, outlets: &RouteSubscriptions) -> bool {
        let mut all = outlets.ids();
        all.any(|id| self.store.is_held(id))
    }

    /// Stores that the app of a proxy route took an event, so that dedup survives a restart. Does not wait: if the
    /// process dies before the write, a copy reaches the app again.
    pub(crate) fn remember(
        &self,
        keys: impl Iterator<Item = DedupKey>,
        outlets: &RouteSubscriptions,
        status: u16,
    ) {
        let spent = claims(keys, outlets, self.store.now())
            .into_iter()
            .map(|claim| SpentClaim {
                route: outlets.route().clone(),
                claim,
                status,
            });
        self.store.spend(spent.collect());
    }
}

impl Inbox {
    /// Claims the keys of an event on all nodes that share the store.
    ///
    /// # Errors
    /// Returns an error if the store cannot say who has the event.
    pub(crate) async fn claim_shared(
        &self,
        route: &RouteName,
        keys: &[[u8; 16]],
        lease: Duration,
    ) -> Result<SharedClaimOutcome, StoreError> {
        self.store.claim_shared(route, keys.to_vec(), lease).await
    }

    /// Ends a claim of this node. Does not wait.
    pub(crate) fn end_shared(&self, claim: SharedClaim, end: SharedClaimEnd) {
        self.store.end_shared(claim, end);
    }

    /// Returns the end of a window that begins now, by the store's clock.
    pub(crate) fn expires_ms(&self, window: Duration) -> i64 {
        self.store.now().unix_ms.saturating_add(millis(window))
    }
}

fn refusal(err: &StoreError) -> Reject {
    Reject::NotStored {
        fault: error::chain(err).into(),
    }
}

fn claims(
    keys: impl Iterator<Item = DedupKey>,
    outlets: &RouteSubscriptions,
    now: ClockReading,
) -> Vec<ClaimRow> {
    let Some(window) = outlets.window() else {
        return Vec::new();
    };
    let expires_ms = now.unix_ms.saturating_add(millis(window));
    let each = keys.map(|key| ClaimRow {
        key: key.to_bytes(),
        expires_ms,
    });
    each.collect()
}

fn stored(
    event: &Event,
    verdict: &Verdict,
    outlets: &RouteSubscriptions,
    now: ClockReading,
) -> StoredEvent {
    let request = event.received();
    let target = request.uri.path_and_query();
    StoredEvent {
        uid: verdict.request_id,
        route: outlets.route().clone(),
        provider: outlets.provider().to_owned(),
        webhook_id: message_id(event.id().map(EventId::as_str), event.digest()),
        event_id: event.id().cloned(),
        event_type: event.event_type().map(Into::into),
        received_ms: now.unix_ms,
        source: event.source().ip,
        is_tls: event.source().is_tls,
        method: request.method.clone(),
        target: target.map_or("/", |target| target.as_str()).to_owned(),
        host: host(request),
        headers: stored_headers(event),
        body: Some(request.body.clone()),
        digest: Sha256::digest(request.body).into(),
    }
}

/// Returns the host of the request. A host in the target takes precedence (RFC 9112, section 3.2.2).
fn host(request: BorrowedRequest<'_>) -> Option<String> {
    let authority = request.uri.authority().map(|authority| authority.as_str());
    let sent = || {
        let value = request.headers.get(header::HOST);
        value.and_then(|value: &HeaderValue| value.to_str().ok())
    };
    authority.or_else(sent).map(str::to_owned)
}

/// Returns the headers to store: all that `deliver` may send, with the marks of dedup. The host has its own column.
fn stored_headers(event: &Event) -> HeaderMap {
    let mut headers = event.received().headers.clone();
    headers.remove(header::HOST);
    set_marks(&mut headers, event.marks());
    headers
}
